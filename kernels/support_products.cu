// Those entries of movie @ traces.T that are asked for: a pixel's row times a cell's trace.
//
// Bound by memory: 8 bytes and 2 flops a sample of an entry, the trace's 4 from a cache, since a cell's entries lie side by
// side. Where cells cover the image once, that is the movie: 5.2 GB, 1.6 ms at 3.35 TB/s for 512 x 512 x 5000. cuBLAS would
// multiply all pixels with all cells; a sparse library's sampled product wants the traces the other way round in memory.
//
// A warp an entry, lanes are frames: both reads are coalesced. Sums are float32, one a lane, added in a fixed order.
//
// block: (32, WARPS); grid: ceil(n_entries / WARPS)
// macros, from gpucells/ops/support_products.py: WARPS
#include "warp_sum.cuh"

extern "C" __global__ void __launch_bounds__(256) support_products(
    const float* __restrict__ movie, const float* __restrict__ traces, long long n_frames,
    const long long* __restrict__ cells, const long long* __restrict__ pixels, long long n_entries,
    float* __restrict__ out) {
  const long long entry = (long long)blockIdx.x * WARPS + threadIdx.y;
  if (entry >= n_entries) return;  // a whole warp, and there is no barrier of the block
  const float* row = movie + pixels[entry] * n_frames;
  const float* trace = traces + cells[entry] * n_frames;
  float sum = 0.0f;
  for (long long t = threadIdx.x; t < n_frames; t += 32) sum += row[t] * trace[t];
  sum = warp_sum(sum);
  if (threadIdx.x == 0) out[entry] = sum;
}
