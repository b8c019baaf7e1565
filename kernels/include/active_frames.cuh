// What a warp does together with the frames of one pixel in which its cells have light: listing them, reading the movie
// there, adding up over them.
#define ALL 0xffffffffu

__device__ __forceinline__ float warp_sum(float value) {
  for (int by = 16; by > 0; by >>= 1) value += __shfl_xor_sync(ALL, value, by);
  return value;
}

// What a warp reads of its pixel.
struct Pixel {
  const int* cells;  // n of them
  int n, known_begin, known_end;
  const float* samples;
  float offset, kappa;
};

// Lists the next frames that count, from the 32 of a word on, as many as there is room for; returns the word to go on
// with. All lanes see the list.
__device__ __forceinline__ long long list_frames(
    const Pixel& pixel, const unsigned int* active, long long n_words, long long from, long long capacity, int* frames,
    int& n_listed) {
  const int lane = threadIdx.x % 32;
  __syncwarp();  // the list before may still be read
  n_listed = 0;
  for (; from < n_words; from += 32) {
    unsigned mine = 0;
    if (from + lane < n_words) {
      for (int k = 0; k < pixel.n; ++k) mine |= active[pixel.cells[k] * n_words + from + lane];
    }
    for (unsigned left = __ballot_sync(ALL, mine != 0); left != 0; left &= left - 1) {
      const int next = __ffs((int)left) - 1;
      const unsigned bits = __shfl_sync(ALL, mine, next);
      const int n_bits = __popc(bits);
      if (n_listed + n_bits > capacity) {
        __syncwarp();
        return from + next;
      }
      const int place = n_listed + __popc(bits & ((1u << lane) - 1));
      if (bits >> lane & 1) frames[place] = (int)((from + next) * 32 + lane);
      n_listed += n_bits;
    }
  }
  __syncwarp();
  return n_words;
}

// The pixel's samples in the frames listed, without its offset and its known light.
__device__ __forceinline__ void read_samples(
    const Pixel& pixel, const int* known_component, const float* known_weight, const float* known_traces,
    long long n_frames, const int* frames, int n_listed, float* y) {
  const int lane = threadIdx.x % 32;
#pragma unroll 4
  for (int i = lane; i < n_listed; i += 32) y[i] = pixel.samples[frames[i]] - pixel.offset;
  for (int e = pixel.known_begin; e < pixel.known_end; ++e) {
    const float* row = known_traces + known_component[e] * n_frames;
    const float weight = known_weight[e];
#pragma unroll 4
    for (int i = lane; i < n_listed; i += 32) y[i] -= weight * row[frames[i]];
  }
}
