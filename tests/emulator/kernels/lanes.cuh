// Pasted into clean.cu by its include, shared memory and all.
template <class T>
__device__ T sum_of_block(T value) {
  __shared__ T parts[32];
  for (int by = 16; by > 0; by /= 2) value += __shfl_down_sync(0xffffffffu, value, by);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
  __syncthreads();
  value = 0;
  for (int w = 0; w < blockDim.x / 32; ++w) value += parts[w];
  __syncthreads();
  return value;
}
