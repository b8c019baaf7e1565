// Sum over the 32 lanes of a full warp, in the same order on every run; every lane gets it.
__device__ __forceinline__ float warp_sum(float value) {
  for (int apart = 16; apart > 0; apart /= 2) value += __shfl_xor_sync(0xffffffffu, value, apart);
  return value;
}

// The same of integers; __reduce_add_sync does it in one instruction, from sm_80 on.
__device__ __forceinline__ int warp_sum(int value) {
  for (int apart = 16; apart > 0; apart /= 2) value += __shfl_xor_sync(0xffffffffu, value, apart);
  return value;
}
