// The ring model's weights from products of neighbouring blocks, and what the ring tells of a block.
//
// Products come from cuBLAS (gpucells/ops/ring_weights_cuda.py): one batched product a row of tiles, as its tuned kernels
// use the tensor cores that cards have for float64, and the copies it wants are small beside the arithmetic. cuSOLVER's
// batched Cholesky takes matrices of one size, and stops at a singular one; rings at the border are smaller, and blocks
// that never change make theirs singular. So matrices are gathered into shared memory and solved there in one go.

// A place in the upper half of a matrix of n rows and one more column, the right-hand side; rows one after the other.
__device__ __forceinline__ long long row_of(long long n, long long k) { return k * n - k * (k - 1) / 2; }

// Ridge regression of one block on its ring: G + ridge tr(G) I = U' D U, then two triangular systems, all in float64. The
// right-hand side goes through the elimination as one more column, which is the first of them.
//
// A thread block has a block of the movie. Rows below the pivot are shared out to warps, columns to lanes; one barrier a
// pivot, since rows are not scaled. Every number is worked out by one thread, in a fixed order.
//
// Bound by latency: n steps with a barrier each, then n of one warp; other thread blocks hide it: they take 8 KiB each for
// 40 neighbours and 15 KiB for 56; beyond 100, matrices lie in a scratch array. Bytes: 4 n^2 gathered, in runs of what lies
// side by side, from L2 or memory; flops n^3 / 3. 64 x 64 blocks with 40 neighbours: 26 MB, 8 us at 3.35 TB/s; 0.09 Gflop.
//
// block: (32, WARPS); grid: blocks of the movie; shared: 24 widest bytes, and 4 widest (widest + 3) unless in scratch
// macros, from gpucells/ops/ring_weights_cuda.py: WARPS
extern "C" __global__ void __launch_bounds__(128) solve_rings(
    const double* __restrict__ sums, const long long* __restrict__ lead, const long long* __restrict__ follow,
    const int* __restrict__ start, const int* __restrict__ columns, double ridge, double dependent, long long first,
    long long widest, double* __restrict__ scratch, long long in_shared, float* __restrict__ weights,
    float* __restrict__ explained) {
  extern __shared__ double space[];
  const long long i = first + blockIdx.x;
  const int* ring = columns + start[i];
  const int n = start[i + 1] - start[i], lane = threadIdx.x, warp = threadIdx.y;
  if (n == 0) return;  // the whole thread block
  double *wanted = space, *total = space + widest, *inverse = space + 2 * widest;
  double* left = in_shared ? space + 3 * widest : scratch + blockIdx.x * (widest * (widest + 3) / 2);

  for (int a = warp; a < n; a += WARPS) {
    const long long p = ring[a], from = lead[p];
    double* row = left + row_of(n, a);
    for (int b = a + lane; b < n; b += 32) row[b] = sums[from + follow[ring[b]]];
    if (lane == 0) row[n] = wanted[a] = sums[p < i ? from + follow[i] : lead[i] + follow[p]];
  }
  __syncthreads();
  double shift = 0.0;
  for (int a = 0; a < n; ++a) shift += ridge * left[row_of(n, a) + a];
  __syncthreads();  // all have read
  for (int a = warp * 32 + lane; a < n; a += 32 * WARPS) total[a] = left[row_of(n, a) + a] += shift;
  __syncthreads();

  for (int k = 0; k < n; ++k) {
    const double* row = left + row_of(n, k);
    const double pivot = row[k], by = pivot > dependent * total[k] ? 1.0 / pivot : 0.0;
    if (warp == 0 && lane == 0) inverse[k] = by;
    for (int a = k + 1 + warp; a < n; a += WARPS) {
      double* below = left + row_of(n, a);
      const double share = row[a] * by;
      for (int j = a + lane; j <= n; j += 32) below[j] -= share * row[j];
    }
    __syncthreads();
  }
  if (warp > 0) return;  // there is no barrier of the block below

  double gain = 0.0;
  double* solved = total;
  for (int k = n - 1; k >= 0; --k) {
    const double* row = left + row_of(n, k);
    double sum = 0.0;
    for (int j = k + 1 + lane; j < n; j += 32) sum += row[j] * solved[j];
    for (int apart = 16; apart > 0; apart /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, apart);
    const double weight = (row[n] - sum) * inverse[k];
    gain += weight * (wanted[k] + shift * weight);
    if (lane == 0) {
      solved[k] = weight;
      weights[start[i] + k] = (float)weight;
    }
    __syncwarp();
  }
  const double energy = sums[lead[i] + follow[i]];
  if (lane == 0) explained[i] = energy > 0.0 ? (float)(gain / energy) : 0.0f;
}

// A block's mean plus its ring's weighted deviations; or, where clipping, its samples where they are not too far above.
//
// A thread has a frame, so all reads are coalesced. Thread blocks that run at the same time have other blocks of the
// movie and the same frames, which L2 holds.
//
// Bound by L2: 4 bytes and 3 flops a neighbour and sample. 64 x 64 blocks with 40 neighbours, 1000 frames: 0.66 GB from L2,
// 33 MB from and to memory, 10 us at 3.35 TB/s. cuSPARSE would want a copy of the movie with its means taken off.
//
// block: 256; grid: (blocks of the movie, frames / 256 or 65535)
extern "C" __global__ void __launch_bounds__(256) predict_blocks(
    const float* __restrict__ movie, long long n_frames, const int* __restrict__ start,
    const int* __restrict__ columns, const float* __restrict__ weights, const float* __restrict__ means,
    const float* __restrict__ above, long long clipping, long long t0, long long first, float* __restrict__ out,
    long long n_out) {
  const long long i = first + blockIdx.x;
  const float mean = means[i];
  for (long long t = (long long)blockIdx.y * 256 + threadIdx.x; t < n_out; t += (long long)gridDim.y * 256) {
    float value = mean;
    for (int e = start[i]; e < start[i + 1]; ++e) {
      const long long other = columns[e];
      value += weights[e] * (movie[other * n_frames + t0 + t] - means[other]);
    }
    if (clipping) {
      const float seen = movie[i * n_frames + t0 + t];
      if (!(seen - value > above[i])) value = seen;
    }
    out[(long long)blockIdx.x * n_out + t] = value;
  }
}
