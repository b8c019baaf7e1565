// Temporal sweeps of HALS: rows of traces, each set to its best value given all others, in place and in order.
//
// A block has the frames of one tile for all rows, as many as shared memory holds (width = blockDim.x), and does all
// sweeps on it: traces are read and written once. Rows of a level share no pixel and are set at the same time, which gives
// what one row at a time does (gpucells/ops/hals.py). A row that overlaps nearly all, as a background does, is summed up by
// all threads, in a fixed order. Where not even one frame fits, traces stay where they are, and L2 holds the tile.
//
// Bound by latency of the levels, a barrier each; bytes: 12 a row and frame, and 4 more a sweep of products, from L2; flops:
// 2 a pair and frame and sweep. 1000 rows of 10 neighbours, 5000 frames, 2 sweeps: 60 MB, 20 us at 3 TB/s; 0.2 Gflop.
//
// block: (width, 256 / width); grid: ceil(n_frames / width); shared: 4 width n_rows bytes, or none
// macros, from gpucells/ops/hals.py: WIDE, the number of neighbours from which on all threads work on one row

extern "C" __global__ void __launch_bounds__(256) hals(
    float* __restrict__ traces, long long n_rows, long long n_frames, const float* __restrict__ products,
    const int* __restrict__ start, const int* __restrict__ columns, const float* __restrict__ gram,
    const float* __restrict__ inverse, const float* __restrict__ lower, const int* __restrict__ levels,
    long long n_levels, const int* __restrict__ order, long long n_sweeps, long long in_shared) {
  extern __shared__ float tile[];
  __shared__ float part[256];
  const int f = threadIdx.x, team = threadIdx.y, width = blockDim.x, n_teams = blockDim.y;
  const long long t = (long long)blockIdx.x * width + f;
  const bool inside = t < n_frames;
  float* held = in_shared ? tile + f : traces + t;
  const long long stride = in_shared ? width : n_frames;
  if (in_shared) {
    for (long long m = team; m < n_rows; m += n_teams) held[m * stride] = inside ? traces[m * n_frames + t] : 0.0f;
  }
  __syncthreads();

  for (long long sweep = 0; sweep < n_sweeps; ++sweep) {
    for (long long level = 0; level < n_levels; ++level) {
      for (int i = levels[level]; i < levels[level + 1]; ++i) {  // those that all work on, one after the other
        const int m = order[i];
        if (start[m + 1] - start[m] < WIDE) continue;  // the same in all threads
        float sum = 0.0f;
        for (int e = start[m] + team; inside && e < start[m + 1]; e += n_teams) sum += gram[e] * held[columns[e] * stride];
        part[team * width + f] = sum;
        __syncthreads();
        if (team == 0 && inside && inverse[m] > 0.0f) {
          float left = products[m * n_frames + t];
          for (int w = 0; w < n_teams; ++w) left -= part[w * width + f];
          const float fresh = held[m * stride] + left * inverse[m];
          held[m * stride] = fresh > lower[m] ? fresh : lower[m];
        }
        __syncthreads();
      }
      for (int i = levels[level] + team; i < levels[level + 1]; i += n_teams) {
        const int m = order[i];
        if (start[m + 1] - start[m] >= WIDE || !inside || inverse[m] == 0.0f) continue;
        float left = products[m * n_frames + t];
        for (int e = start[m]; e < start[m + 1]; ++e) left -= gram[e] * held[columns[e] * stride];
        const float fresh = held[m * stride] + left * inverse[m];
        held[m * stride] = fresh > lower[m] ? fresh : lower[m];
      }
      __syncthreads();
    }
  }
  if (in_shared && inside) {
    for (long long m = team; m < n_rows; m += n_teams) traces[m * n_frames + t] = held[m * stride];
  }
}
