// Footprints times the movie: each footprint's weighted sum of pixels, frame by frame.
//
// Bound by memory: 4 bytes and 2 flops a sample of an entry. Where footprints cover the image once, that is the movie:
// 5.2 GB, 1.6 ms at 3.35 TB/s for 512 x 512 x 5000. cuSPARSE's CSR times a dense matrix reads as much; this needs no second
// layout of the movie and adds in a fixed order.
//
// A thread a frame, a block a footprint and THREADS frames: reads of the movie are coalesced, pixels and weights come from
// the cache for all threads at once. Sums are float32, over the pixels in their order.
//
// block: (THREADS,); grid: (n_cells, ceil(n_frames / THREADS))
// macros, from gpucells/ops/footprint_products.py: THREADS
extern "C" __global__ void __launch_bounds__(128) footprint_products(
    const float* __restrict__ movie, long long n_frames, const long long* __restrict__ start,
    const long long* __restrict__ pixels, const float* __restrict__ weights, float* __restrict__ out) {
  const long long cell = blockIdx.x;
  const long long frame = (long long)blockIdx.y * THREADS + threadIdx.x;
  if (frame >= n_frames) return;
  float sum = 0.0f;
  const long long end = start[cell + 1];
  for (long long e = start[cell]; e < end; ++e) sum += weights[e] * movie[pixels[e] * n_frames + frame];
  out[cell * n_frames + frame] = sum;
}
