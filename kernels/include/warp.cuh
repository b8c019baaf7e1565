#define ALL_LANES 0xffffffffu

// Sum over the lanes of a warp, the same in all of them and in every run: lanes add in a fixed order.
__device__ __forceinline__ float warp_sum(float value) {
  for (int by = 16; by > 0; by /= 2) value += __shfl_xor_sync(ALL_LANES, value, by);
  return value;
}
