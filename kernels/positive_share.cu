// In how many of a cell's pixels a frame is brighter than the model: the residual of every pixel, and its sign counted.
//
// A thread has a frame, and goes over RUN pixels; a block has neighbouring frames of the same pixels, so that samples and
// traces are read 128 bytes a warp. Counts are integers, so the order in which blocks add to them does not show.
//
// Bound by memory: 4 bytes a sample, read once, with 2 flops and 4 bytes of a trace (from L1 and L2) for each cell of the
// pixel, and at most one atomic addition in L2 for each cell of the pixel and sample above the model. Floor at
// 512 x 512 x 5000 float32, all pixels covered: 5.2 GB, 1.75 ms at 3 TB/s. A faster one would count in a register as long
// as the pixels that follow each other belong to the same cell.
//
// grid: (ceil(n_covered / RUN), at most ceil(n_frames / 256)): blocks take turns where there are fewer of them
// macros, from gpucells/ops/positive_share.py: RUN
extern "C" __global__ void __launch_bounds__(256) positive_share(
    const float* __restrict__ movie, long long n_frames, const int* __restrict__ pixels, long long n_covered,
    const int* __restrict__ start, const int* __restrict__ cells, const float* __restrict__ weights,
    const float* __restrict__ least, const float* __restrict__ traces, int* __restrict__ count) {
  const long long first = (long long)blockIdx.x * RUN;
  const long long end = first + RUN < n_covered ? first + RUN : n_covered;
  for (long long t = (long long)blockIdx.y * blockDim.x + threadIdx.x; t < n_frames;
       t += (long long)gridDim.y * blockDim.x) {
    for (long long i = first; i < end; ++i) {
      float residual = movie[pixels[i] * n_frames + t];
      for (int e = start[i]; e < start[i + 1]; ++e) residual -= weights[e] * traces[cells[e] * n_frames + t];
      if (!(residual > 0.0f)) continue;
      for (int e = start[i]; e < start[i + 1]; ++e) {
        if (weights[e] > least[cells[e]]) atomicAdd(&count[cells[e] * n_frames + t], 1);
      }
    }
  }
}
