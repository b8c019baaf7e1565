// Products with frames of the file's own type: footprints times frames, and frames times traces where the cells are.
//
// Bound by memory: 2 bytes a sample of 16 bits, read once from memory; 2 flops and 2 bytes (from L2, in pieces of 32 bytes:
// a footprint's pixels lie side by side in rows) a sample of an entry. 512 x 512 x 256 uint16 is 134 MB, 40 us at
// 3.35 TB/s. cuBLAS would want the block as float32 and footprints with every pixel; cuSPARSE the block as float32.
//
// Sums go in a fixed order: the same bits on every run. What is NaN or infinite counts as 0.
//
// block: (32, WARPS); no more than 2 KiB of shared memory
// macros, from gpucells/ops/frame_products.py: T_FRAME, WARPS, GROUP (frames of a warp), SLICE (pixels of a partial sum),
// ROWS (dense rows that are summed at once)
#include "finite.cuh"
#include "warp_sum.cuh"

// A warp has a cell and GROUP frames; lanes are pixels. grid: (ceil(n_cells / WARPS), at most ceil(n_frames / GROUP)):
// blocks of one column have other cells and the same frames, which L2 holds.
extern "C" __global__ void __launch_bounds__(256) project_cells(
    const T_FRAME* __restrict__ frames, long long n_frames, long long n_pixels, const long long* __restrict__ start,
    const int* __restrict__ pixels, const float* __restrict__ weights, float* __restrict__ out, long long n_cells) {
  const long long cell = (long long)blockIdx.x * WARPS + threadIdx.y;
  if (cell >= n_cells) return;  // a whole warp, and there is no barrier of the block
  for (long long t0 = (long long)blockIdx.y * GROUP; t0 < n_frames; t0 += (long long)gridDim.y * GROUP) {
    float sum[GROUP] = {};
    for (long long e = start[cell] + threadIdx.x; e < start[cell + 1]; e += 32) {
      const float weight = weights[e];
      const T_FRAME* at = frames + t0 * n_pixels + pixels[e];
#pragma unroll
      for (int f = 0; f < GROUP; ++f) {
        if (t0 + f < n_frames) sum[f] += weight * finite_or_zero((float)at[f * n_pixels]);
      }
    }
#pragma unroll
    for (int f = 0; f < GROUP; ++f) {
      const float all = warp_sum(sum[f]);
      if (threadIdx.x == 0 && t0 + f < n_frames) out[cell * n_frames + t0 + f] = all;
    }
  }
}

// Images with every pixel: a block has GROUP frames and SLICE pixels of a row. grid: (n_slices, as above, n_rows)
extern "C" __global__ void __launch_bounds__(256) project_rows(
    const T_FRAME* __restrict__ frames, long long n_frames, long long n_pixels, const float* __restrict__ rows,
    float* __restrict__ partial, long long n_slices) {
  __shared__ float part[GROUP][WARPS];
  const long long row = blockIdx.z, p0 = (long long)blockIdx.x * SLICE;
  const long long end = p0 + SLICE < n_pixels ? p0 + SLICE : n_pixels;
  for (long long t0 = (long long)blockIdx.y * GROUP; t0 < n_frames; t0 += (long long)gridDim.y * GROUP) {
    float sum[GROUP] = {};
    for (long long p = p0 + threadIdx.y * 32 + threadIdx.x; p < end; p += 32 * WARPS) {
      const float weight = rows[row * n_pixels + p];
#pragma unroll
      for (int f = 0; f < GROUP; ++f) {
        if (t0 + f < n_frames) sum[f] += weight * finite_or_zero((float)frames[(t0 + f) * n_pixels + p]);
      }
    }
#pragma unroll
    for (int f = 0; f < GROUP; ++f) {
      const float all = warp_sum(sum[f]);
      if (threadIdx.x == 0) part[f][threadIdx.y] = all;
    }
    __syncthreads();
    if (threadIdx.y == 0 && threadIdx.x < GROUP && t0 + threadIdx.x < n_frames) {
      float all = 0.0f;
      for (int w = 0; w < WARPS; ++w) all += part[threadIdx.x][w];
      partial[(row * n_slices + blockIdx.x) * n_frames + t0 + threadIdx.x] = all;
    }
    __syncthreads();  // the next frames go to the same places
  }
}

// A lane has an entry of the support, a warp an eighth of the frames. Sums are float32 in a warp's share, float64 beyond.
// grid: ceil(n_entries / 32)
extern "C" __global__ void __launch_bounds__(256) accumulate_entries(
    const T_FRAME* __restrict__ frames, long long n_frames, long long n_pixels, const float* __restrict__ traces,
    long long n_cells, const long long* __restrict__ start, const int* __restrict__ pixels, long long n_entries,
    double* __restrict__ out) {
  __shared__ float part[WARPS][32];
  const long long entry = (long long)blockIdx.x * 32 + threadIdx.x;
  float sum = 0.0f;
  if (entry < n_entries) {
    long long cell = 0, after = n_cells;  // the last cell whose entries begin at this one or before
    while (after - cell > 1) {
      const long long middle = (cell + after) / 2;
      if (start[middle] <= entry) cell = middle; else after = middle;
    }
    const T_FRAME* at = frames + pixels[entry];
    const float* trace = traces + cell * n_frames;
#pragma unroll 4
    for (long long t = threadIdx.y; t < n_frames; t += WARPS) {
      sum += trace[t] * finite_or_zero((float)at[t * n_pixels]);
    }
  }
  part[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || entry >= n_entries) return;
  double all = 0.0;
  for (int w = 0; w < WARPS; ++w) all += (double)part[w][threadIdx.x];
  out[entry] += all;
}

// The same for every pixel, ROWS traces at once, and where with_sums the samples' sum and sum of squares, in float64.
// grid: ceil(n_pixels / 32)
extern "C" __global__ void __launch_bounds__(256) accumulate_rows(
    const T_FRAME* __restrict__ frames, long long n_frames, long long n_pixels, const float* __restrict__ traces,
    long long n_rows, double* __restrict__ out, double* __restrict__ total, double* __restrict__ energy,
    long long with_sums) {
  __shared__ double part[WARPS][32];
  const long long pixel = (long long)blockIdx.x * 32 + threadIdx.x;
  const bool inside = pixel < n_pixels;
  for (long long row = 0; row < n_rows || row == 0; row += ROWS) {
    float sum[ROWS] = {};
    double samples = 0.0, squares = 0.0;
    const bool sums = row == 0 && with_sums != 0;
    for (long long t = threadIdx.y; inside && t < n_frames; t += WARPS) {
      const float value = finite_or_zero((float)frames[t * n_pixels + pixel]);
#pragma unroll
      for (int r = 0; r < ROWS; ++r) {
        if (row + r < n_rows) sum[r] += traces[(row + r) * n_frames + t] * value;
      }
      if (sums) {
        samples += (double)value;
        squares += (double)value * (double)value;
      }
    }
#pragma unroll
    for (int r = 0; r < ROWS + 2; ++r) {
      part[threadIdx.y][threadIdx.x] = r < ROWS ? (double)sum[r < ROWS ? r : 0] : r == ROWS ? samples : squares;
      __syncthreads();
      const bool wanted = r < ROWS ? row + r < n_rows : sums;
      if (threadIdx.y == 0 && inside && wanted) {
        double all = 0.0;
        for (int w = 0; w < WARPS; ++w) all += part[w][threadIdx.x];
        if (r < ROWS) out[(row + r) * n_pixels + pixel] += all;
        if (r == ROWS) total[pixel] += all;
        if (r == ROWS + 1) energy[pixel] += all;
      }
      __syncthreads();  // the next sum goes to the same places
    }
  }
}
