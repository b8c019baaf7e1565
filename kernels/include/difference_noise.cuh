#include "block.cuh"

// Bits of the t-th absolute second difference: of numbers that are not negative, they are ordered as the numbers are.
__device__ __forceinline__ unsigned second_difference_bits(const float* x, long long t) {
  return __float_as_uint(fabsf(x[t] - 2.0f * x[t + 1] + x[t + 2]));
}

// Noise of a trace from the median of its absolute second differences, by a block of 256 threads. The median is exact:
// its bits are found 8 at a time, by counting. Five passes over a trace that is in the caches.
__device__ __forceinline__ float difference_noise(const float* x, long long n_frames) {
  __shared__ int count[256];
  __shared__ int digit, below_digit, equal;
  __shared__ unsigned next;
  if (n_frames < 3) return 0.0f;  // the same in all threads
  const int thread = thread_of_block();
  const long long n = n_frames - 2;
  unsigned found = 0;
  int rank = (int)((n - 1) / 2);  // of the lower of the two in the middle, among those that begin as found does
  for (int shift = 24; shift >= 0; shift -= 8) {
    const unsigned known = shift == 24 ? 0u : ~0u << (shift + 8);
    count[thread] = 0;
    __syncthreads();
    for (long long t = thread; t < n; t += 256) {
      const unsigned bits = second_difference_bits(x, t);
      if ((bits & known) == found) atomicAdd(&count[bits >> shift & 255u], 1);
    }
    __syncthreads();
    int total;
    const int mine = count[thread], below = block_scan(mine, &total);
    if (below <= rank && rank < below + mine) {  // one thread
      digit = thread;
      below_digit = below;
      equal = mine;
      next = ~0u;
    }
    __syncthreads();
    found |= (unsigned)digit << shift;
    rank -= below_digit;
  }
  const float lower = __uint_as_float(found);
  float upper = lower;
  if (n % 2 == 0 && rank + 1 >= equal) {  // the same in all threads
    for (long long t = thread; t < n; t += 256) {
      const unsigned bits = second_difference_bits(x, t);
      if (bits > found) atomicMin(&next, bits);
    }
    __syncthreads();
    upper = __uint_as_float(next);
  }
  return 0.5f * (lower + upper) / (0.6745f * 2.449490f);
}
