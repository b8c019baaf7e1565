// What a block of BLOCK_WARPS full warps works out together. Every thread must call; all get the same answer, and the
// same in every run: threads add in a fixed order, atomics count integers. Threads are numbered along x first.
#include "warp_sum.cuh"
#define BLOCK_WARPS 8

__device__ __forceinline__ int thread_of_block() { return (int)(threadIdx.y * blockDim.x + threadIdx.x); }

__device__ __forceinline__ float block_sum(float value) {
  __shared__ float part[BLOCK_WARPS];
  value = warp_sum(value);
  if (thread_of_block() % 32 == 0) part[thread_of_block() / 32] = value;
  __syncthreads();
  value = 0.0f;
  for (int w = 0; w < BLOCK_WARPS; ++w) value += part[w];
  __syncthreads();  // before the next call writes to the same places
  return value;
}

__device__ __forceinline__ float block_max(float value) {
  __shared__ float part[BLOCK_WARPS];
  for (int by = 16; by > 0; by /= 2) value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, by));
  if (thread_of_block() % 32 == 0) part[thread_of_block() / 32] = value;
  __syncthreads();
  value = part[0];
  for (int w = 1; w < BLOCK_WARPS; ++w) value = fmaxf(value, part[w]);
  __syncthreads();
  return value;
}

// Sum of the values of the threads before this one; total is that of all.
__device__ __forceinline__ int block_scan(int value, int* total) {
  __shared__ int part[BLOCK_WARPS];
  const int lane = thread_of_block() % 32, warp = thread_of_block() / 32;
  int upto = value;
  for (int by = 1; by < 32; by *= 2) {
    const int below = __shfl_up_sync(0xffffffffu, upto, by);
    if (lane >= by) upto += below;
  }
  if (lane == 31) part[warp] = upto;
  __syncthreads();
  int before = upto - value, all = 0;
  for (int w = 0; w < BLOCK_WARPS; ++w) {
    if (w < warp) before += part[w];
    all += part[w];
  }
  __syncthreads();
  *total = all;
  return before;
}
