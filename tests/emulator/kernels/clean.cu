// Kernels without a fault: what they compute is checked, and no sanitizer may complain about them in any order.
#include "lanes.cuh"
#include <cuda_fp16.h>

__constant__ float WEIGHTS[2] = {0.25f, 0.75f};

extern "C" __global__ void __launch_bounds__(64) last_block(const float* __restrict__ x, int n, float* part,
                                                            unsigned* done, float* out) {
  __shared__ bool last;
  const int t = threadIdx.x;
  float v = 0;
  for (int i = blockIdx.x * blockDim.x + t; i < n; i += gridDim.x * blockDim.x) v += x[i];
  v = sum_of_block(v);
  if (t == 0) {
    part[blockIdx.x] = v;
    __threadfence();
    last = atomicAdd(done, 1u) == gridDim.x - 1;
  }
  __syncthreads();
  if (last && t == 0) {
    __threadfence();
    float all = 0;
    for (unsigned b = 0; b < gridDim.x; ++b) all += part[b];
    *out = all;
  }
}

extern "C" __global__ void atomics(int* i, float* f, double* d, unsigned long long* u) {
  const int me = blockIdx.x * blockDim.x + threadIdx.x;
  atomicAdd(&i[0], 1);
  atomicMax(&i[1], me);
  atomicMin(&i[2], me);
  atomicExch(&i[3], 7);
  atomicOr(&i[4], 1 << me % 5);
  atomicSub(&i[5], 2);
  atomicAdd(f, 0.5f);
  atomicAdd(d, 0.25);
  atomicAdd(u, 1ull << 33);
  unsigned long long seen = atomicCAS(&u[1], 0ull, 0ull), expected;  // a plain read would race with the others' CAS
  do {
    expected = seen;
    seen = atomicCAS(&u[1], expected, expected < me ? me : expected);
  } while (seen != expected);
}

extern "C" __global__ void warps(const int* x, int* out, int n) {
  const int t = threadIdx.x;
  const int v = x[t];
  out[t] = __shfl_up_sync(0xffffffffu, v, 3);
  out[n + t] = __shfl_xor_sync(0xffffffffu, v, 5, 8);
  out[2 * n + t] = __popc(__ballot_sync(0xffffffffu, v & 1));
  out[3 * n + t] = __reduce_max_sync(0xffffffffu, v);
  if (t % 32 < 16) out[4 * n + t] = __shfl_down_sync(0x0000ffffu, v, 1, 16);
  out[5 * n + t] = __syncthreads_count(v > 10);
  out[6 * n + t] = __any_sync(0xffffffffu, v > 38) + 2 * __all_sync(0xffffffffu, v >= 0) + 4 * __syncthreads_or(v < 0)
                   + 8 * __syncthreads_and(v >= 0);
  out[7 * n + t] = __shfl_sync(0xffffffffu, v, t + 1) - __reduce_add_sync(0xffffffffu, v);
}

template <typename T, int N>
__global__ void transpose(const T* a, T* b, int height, int width) {
  __shared__ T tile[N][N + 1];
  int x = blockIdx.x * N + threadIdx.x, y = blockIdx.y * N + threadIdx.y;
  if (x < width && y < height) tile[threadIdx.y][threadIdx.x] = a[y * width + x];
  __syncthreads();
  x = blockIdx.y * N + threadIdx.x, y = blockIdx.x * N + threadIdx.y;
  if (x < height && y < width) b[y * height + x] = tile[threadIdx.x][threadIdx.y];
}

extern "C" __global__ void neighbours_of_warp(float* x, int n) {
  extern __shared__ __align__(16) unsigned char raw[];
  float* s = reinterpret_cast<float*>(raw);
  const int t = threadIdx.x;
  if (t >= n) return;  // a mask may name lanes that have returned
  s[t] = x[t];
  __syncwarp();
  x[t] = WEIGHTS[0] * s[t] + WEIGHTS[1] * s[t ^ 1];
}

extern "C" __global__ void types(const ushort4* four, const __half* h, const float2* pairs, const bool* flags,
                                 const long long* wide, float* out) {
  const ushort4 v = four[threadIdx.x];
  const float2 p = pairs[threadIdx.x];
  out[threadIdx.x] = v.x + v.y + v.z + v.w + __half2float(h[threadIdx.x]) + fmaf(p.x, p.y, 1.0f)
                     + (flags[threadIdx.x] ? 100.0f : 0.0f) + (float)__ldg(wide + threadIdx.x);
}

extern "C" __global__ void shrink(float* x) { x[0] *= 0.5f; }

extern "C" __global__ void fused(const float* x, float* out) {
  out[0] = x[0] * x[0] - 1.0f;
  out[1] = __fsub_rn(__fmul_rn(x[0], x[0]), 1.0f);
}

extern "C" __global__ void scale(const float* a, double* b, int n, float by) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) b[i] = a[i] * by;
}

extern "C" __global__ void add_one(const float* a, float* b, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) b[i] = a[i] + 1;
}

extern "C" __global__ void order_of_blocks(int* next, int* place) {
  if (threadIdx.x == 0) place[blockIdx.x] = atomicAdd(next, 1);
}

extern "C" __global__ void dynamic_size(float* x, int n) {
  extern __shared__ float s[];
  s[n - 1] = 3;
  x[0] = s[n - 1];
}
