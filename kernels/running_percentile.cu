// Quantile of a sliding window of every trace, exact: a wavelet matrix over the bits of the samples.
//
// From the highest bit down, samples are parted stably by one bit. A window stays one piece of the row through that, so
// that how many of its samples have a 0 there says which half the wanted one is in, and where the window went. All
// windows are searched at once; the time depends neither on the window's length nor on the values.
//
// Bound by a cache: a level reads and writes every sample (8 bytes), and each window's two searches read two counts a bound
// and read and write 12 bytes: some 80 bytes and 60 integer operations a frame and level, 32 levels, fewer where samples
// share bits. What a block works on is 32 bytes a frame, .64 MB for 20,000 frames: it stays in a cache of 50 MB for 80
// blocks. From memory alone, 1000 such traces are 50 GB, 15 ms at 3.35 TB/s; with every 10th frame 7 ms. A heap or a
// histogram that slides along needs a frame's answer before the next one's; CuPy's filters sort or count every window anew,
// O(window) a frame.
//
// A block a trace, blocks take turns. Positions in a trace are 32-bit, places in an array 64-bit.
// block: (32, 8); grid: as many as there is scratch for. Shared memory: that of block_scan.
#include "block.cuh"
#include "finite.cuh"

#define THREADS 256
#define SIGN 0x80000000u

// Marks of a level, one bit a sample, and how many there are before each word of them.
struct Marks {
  unsigned int* words;
  int* counts;

  // Keep what a warp's lanes say of the 32 samples from ``base`` on.
  __device__ __forceinline__ void keep(int base, bool marked) {
    const unsigned int word = __ballot_sync(0xffffffffu, marked);
    if (threadIdx.x == 0) words[base / 32] = word;
  }
  // Count them, once all are kept; returns how many there are.
  __device__ __forceinline__ int count(int n_words) {
    __syncthreads();
    int all = 0;
#pragma unroll 1
    for (int base = 0; base < n_words; base += THREADS) {
      const int w = base + thread_of_block();
      int some = 0;
      const int before = block_scan(w < n_words ? __popc(words[w]) : 0, &some);
      if (w < n_words) counts[w] = all + before;
      all += some;
    }
    __syncthreads();
    return all;
  }
  __device__ __forceinline__ int before(int i) const {
    return counts[i / 32] + __popc(words[i / 32] & ((1u << (i % 32)) - 1u));
  }
};

// As an unsigned number, a float's bits sort as the float does once the sign is turned around.
__device__ __forceinline__ unsigned int key_of(float value) {
  const unsigned int bits = __float_as_uint(value);
  return bits & SIGN ? ~bits : bits | SIGN;
}

__device__ __forceinline__ float value_of(unsigned int key) { return __uint_as_float(key & SIGN ? key & ~SIGN : ~key); }

// Which of ``count`` samples in order a quantile lies at, and how far towards the next one.
__device__ __forceinline__ int place_of(double quantile, int count, double* past) {
  const double place = __dmul_rn(quantile, (double)(count - 1));  // rounded as on the host
  *past = place - floor(place);
  return (int)floor(place);
}

extern "C" __global__ void __launch_bounds__(256, 4) running_percentile(
    const float* __restrict__ traces, long long n_traces, long long n_frames, const double* __restrict__ quantiles,
    int before, int after, int step, double per_step, double per_rest, long long n_places,
    unsigned int* __restrict__ keys, unsigned int* __restrict__ words, int* __restrict__ counts, long long n_words,
    int* __restrict__ search, float* __restrict__ out) {
  const int thread = thread_of_block(), n = (int)n_frames, searches = 2 * (int)n_places, warp_base = 32 * threadIdx.y;
  unsigned int* now = keys + (long long)blockIdx.x * 2 * n_frames;
  unsigned int* next = now + n_frames;
  Marks marks = {words + (long long)blockIdx.x * n_words, counts + (long long)blockIdx.x * n_words};
  int* low = search + (long long)blockIdx.x * 7 * n_places;  // a window's first sample, the one after its last, and
  int* high = low + searches;                                // how many in it come before the wanted one; each window
  int* rank = high + searches;                               // twice: for the next sample in order, too
  int* size = rank + searches;                               // of each window

  for (long long trace = blockIdx.x; trace < n_traces; trace += gridDim.x) {
    const float* row = traces + trace * n_frames;
    float* result = out + trace * n_frames;
    const double quantile = quantiles[trace];

#pragma unroll 1
    for (int base = warp_base; base <= n; base += THREADS) {
      const int t = base + (int)threadIdx.x;
      marks.keep(base, t < n && fabsf(row[t < n ? t : 0]) <= LARGEST);
    }
    const int kept = marks.count(n / 32 + 1);
#pragma unroll 1
    for (int t = thread; t < n; t += THREADS) {
      if (fabsf(row[t]) <= LARGEST) now[marks.before(t)] = key_of(row[t]);
    }
#pragma unroll 1
    for (int q = thread; q < searches; q += THREADS) {
      const int t = (int)min((long long)(q / 2) * step, n_frames - 1);
      low[q] = marks.before(max(t - before, 0));
      high[q] = marks.before((int)min((long long)t + after, n_frames));
      double past;
      const int place = place_of(quantile, high[q] - low[q], &past);
      if (q % 2 == 0) size[q / 2] = high[q] - low[q];
      rank[q] = q % 2 && past > 0.0 ? place + 1 : place;
    }
    __syncthreads();

#pragma unroll 1
    for (int bit = 31; bit >= 0; --bit) {
#pragma unroll 1
      for (int base = warp_base; base <= kept; base += THREADS) {
        const int i = base + (int)threadIdx.x;
        marks.keep(base, i < kept && !(now[i < kept ? i : 0] >> bit & 1u));
      }
      const int zeros = marks.count(kept / 32 + 1);
      if (zeros == 0 || zeros == kept) continue;  // nothing moves
#pragma unroll 1
      for (int i = thread; i < kept; i += THREADS) {
        const int of_zeros = marks.before(i);
        next[now[i] >> bit & 1u ? zeros + i - of_zeros : of_zeros] = now[i];
      }
#pragma unroll 1
      for (int q = thread; q < searches; q += THREADS) {
        const int from = marks.before(low[q]), to = marks.before(high[q]);
        const bool in_zeros = rank[q] < to - from;
        low[q] = in_zeros ? from : zeros + low[q] - from;
        high[q] = in_zeros ? to : zeros + high[q] - to;
        if (!in_zeros) rank[q] -= to - from;
      }
      __syncthreads();
      unsigned int* other = now;
      now = next;
      next = other;
    }

#pragma unroll 1
    for (int place = thread; place < (int)n_places; place += THREADS) {
      const int t = (int)min((long long)place * step, n_frames - 1);
      float value = __uint_as_float(0x7fc00000u);  // not a number: nothing was measured in this window
      if (size[place] > 0) {
        double past;
        place_of(quantile, size[place], &past);
        const double a = value_of(now[low[2 * place]]), b = value_of(now[low[2 * place + 1]]);
        value = (float)(a + (b - a) * past);
      }
      result[t] = value;
    }
    __syncthreads();
#pragma unroll 1
    for (int t = thread; t < n; t += THREADS) {
      const int from = t / step * step, to = n - 1 - from > step ? from + step : n - 1;
      if (t == from || t == to) continue;
      const double a = result[from], b = result[to];
      result[t] = (float)(a + (b - a) * ((t - from) * (to - from == step ? per_step : per_rest)));
    }
  }
}
