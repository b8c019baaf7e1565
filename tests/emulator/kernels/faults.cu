// One planted fault a kernel. Every kernel is `void NAME(float* x, int n)`, launched with one array of n elements, so that
// a test is one line of a table; n is 64 and a block has 64 threads unless the table says otherwise.

extern "C" __global__ void no_barrier(float* x, int n) {
  __shared__ float s[64];
  const int t = threadIdx.x;
  s[t] = x[t];
  if (blockIdx.x == 0) x[t] = s[n - 1 - t];  // fault: the other warp's half is read before it is written
}

extern "C" __global__ void barrier_too_early(float* x, int n) {
  __shared__ float s[64];
  const int t = threadIdx.x;
  for (int round = 0; round < 3; ++round) {
    s[t] = x[t];
    __syncthreads();
    x[t] += s[n - 1 - t];  // fault: no second barrier before the next round overwrites s
  }
}

extern "C" __global__ void blocks_race(float* x, int n) {
  x[threadIdx.x] = blockIdx.x;  // fault: every block writes the same place
}

extern "C" __global__ void plain_count(float* x, int n) {
  x[0] += 1;  // fault: not atomic
}

extern "C" __global__ void last_block_without_fence(float* part, int n) {
  __shared__ bool last;
  float* done = part + n - 1;
  __syncthreads();
  if (threadIdx.x == 0) {
    part[blockIdx.x] = blockIdx.x;
    last = atomicAdd(done, 1.0f) == n + gridDim.x - 1;  // fault: no __threadfence() between the part and the count
  }
  __syncthreads();
  if (last && threadIdx.x == 0)
    for (unsigned b = 0; b < gridDim.x; ++b) part[32] += part[b];
}

extern "C" __global__ void no_syncwarp(float* x, int n) {
  __shared__ float s[64];
  const int t = threadIdx.x;
  s[t] = x[t];
  x[t] = s[t ^ 1];  // fault: lanes of a warp no longer run in step
}

extern "C" __global__ void shuffle_is_no_barrier(float* x, int n) {
  __shared__ float s[64];
  const int t = threadIdx.x;
  s[t] = x[t];
  const float v = __shfl_sync(~0u, x[t], 0);  // fault: it orders no memory
  x[t] = v + s[t ^ 1];
}

extern "C" __global__ void read_beyond_global(float* x, int n) { x[threadIdx.x] = x[threadIdx.x + 1]; }
extern "C" __global__ void write_beyond_global(float* x, int n) { x[threadIdx.x + 1] = 1; }
extern "C" __global__ void write_before_global(float* x, int n) { x[(int)threadIdx.x - 1] = 1; }

extern "C" __global__ void read_beyond_static(float* x, int n) {
  __shared__ float s[32];
  if (threadIdx.x < 32) s[threadIdx.x] = 1;
  __syncthreads();
  x[threadIdx.x] = s[n - 1 - threadIdx.x];
}
extern "C" __global__ void write_beyond_static(float* x, int n) {
  __shared__ float s[32];
  s[threadIdx.x] = x[threadIdx.x];
}
extern "C" __global__ void pointer_beyond_static(float* x, int n) {  // through a pointer, where the bound is not known
  __shared__ float s[32];
  float* p = s;
  p[threadIdx.x] = x[threadIdx.x];
}
extern "C" __global__ void read_beyond_dynamic(float* x, int n) {
  extern __shared__ float s[];
  if (threadIdx.x < 32) s[threadIdx.x] = 1;
  __syncthreads();
  x[threadIdx.x] = s[n - 1 - threadIdx.x];
}
extern "C" __global__ void write_beyond_dynamic(float* x, int n) {
  extern __shared__ float s[];
  s[threadIdx.x] = x[threadIdx.x];
}
extern "C" __global__ void beyond_local(float* x, int n) {
  float v[4] = {1, 2, 3, 4};
  x[threadIdx.x] = v[n / 16];
}

extern "C" __global__ void unwritten_shared(float* x, int n) {
  __shared__ float s[64];
  if (threadIdx.x) s[threadIdx.x] = 1;
  __syncthreads();
  x[threadIdx.x] = s[threadIdx.x];
}

extern "C" __global__ void unwritten_dynamic(float* x, int n) {
  extern __shared__ float s[];
  x[threadIdx.x] = s[threadIdx.x];
}

extern "C" __global__ void divergent_barrier(float* x, int n) {
  if (threadIdx.x < 40) __syncthreads();
  else __syncwarp();
}
extern "C" __global__ void two_barriers(float* x, int n) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
extern "C" __global__ void mask_names_others(float* x, int n) {
  if (threadIdx.x % 32 < 16) x[threadIdx.x] = __shfl_down_sync(0xffff0000u, x[threadIdx.x], 1);
}
extern "C" __global__ void mask_names_absent(float* x, int n) {
  if (threadIdx.x % 32 < 16) x[threadIdx.x] = __shfl_down_sync(~0u, x[threadIdx.x], 1);
  else __syncthreads();
}
extern "C" __global__ void lane_has_returned(float* x, int n) {
  if (threadIdx.x % 32 >= 16) return;
  x[threadIdx.x] = __shfl_down_sync(~0u, x[threadIdx.x], 16);
}

extern "C" __global__ void misaligned(float* x, int n) {
  const float4 v = *(const float4*)(x + 1);
  x[0] = v.x;
}
extern "C" __global__ void overflow(float* x, int n) { x[threadIdx.x] = n * 0x7fffff * 64; }
extern "C" __global__ void cast_overflow(float* x, int n) { x[threadIdx.x] = (int)(x[threadIdx.x] * 1e30f); }
extern "C" __global__ void failing_assert(float* x, int n) { assert(n < 64); }
extern "C" __global__ void trap(float* x, int n) { if (threadIdx.x == 5) __trap(); }
extern "C" __global__ void endless(float* x, int n) { while (n) x[threadIdx.x] += n; }
extern "C" __global__ void too_much_shared(float* x, int n) {
  __shared__ float s[10000], t[10000];
  s[threadIdx.x] = t[threadIdx.x] = 0;
}
