// A small bounded lasso in every pixel, by cyclic coordinate descent on its normal equations; and taking regressors away
// while the residual allows (gpucells/ops/masked_lasso.py has the equations and the rule that ends the sweeps).
//
// A warp has a pixel. Its Gram matrix is gathered once and stays in shared memory with all that the sweeps need, so the
// number of sweeps moves no memory; pixels with more than SIDE regressors have theirs in a scratch array, in L1 and L2.
// A coefficient's step is worked out by all lanes alike, and lane j adds it to the gradients j, j + 32, ...
//
// Bound by latency: the n steps of a sweep follow each other; other warps hide it, as many as shared memory lets in (40 KiB
// a block of 4 pixels). Bytes a pixel with n regressors: 24 n, and 8 n^2 of the Gram matrix (L2); flops 2 n^2 a
// sweep, double precision. 512 x 512 pixels with 5 regressors and 20 sweeps: 84 MB, 28 us at 3 TB/s; 0.26 Gflop.
//
// block: (32, WARPS); grid: ceil(n_pixels / WARPS)
// macros, from gpucells/ops/masked_lasso.py: WARPS, SIDE
#define VECTORS 8  // of n numbers behind the matrix

struct Problem {
  int n;
  double *v, *u, *lower;
  double stop;
  long long n_sweeps;
};

// Coefficients, what is left of the gradient, and 1 / V_kk: 0 for what stays where it is.
struct State {
  double *w, *gradient, *inverse;
};

__device__ __forceinline__ double pair_of(
    int i, int j, const double* dense, long long n_dense, const long long* start, const int* columns,
    const double* values) {
  if (n_dense > 0) return dense[i * n_dense + j];
  long long low = start[i], high = start[i + 1];
  while (low < high) {
    const long long middle = (low + high) / 2;
    if (columns[middle] < j) low = middle + 1; else high = middle;
  }
  return low < start[i + 1] && columns[low] == j ? values[low] : 0.0;
}

__device__ __forceinline__ void descend(const Problem& of, const State& at) {
  const int lane = threadIdx.x;
#pragma unroll 1
  for (long long sweep = 0; sweep < of.n_sweeps; ++sweep) {
    double moved = 0.0;
#pragma unroll 1
    for (int k = 0; k < of.n; ++k) {
      const double old = at.w[k], wanted = old - at.gradient[k] * at.inverse[k], low = of.lower[k];
      const double fresh = wanted > low ? wanted : low, step = fresh - old;
      if (step == 0.0) continue;  // the same in all lanes
      __syncwarp();               // all have read
      if (lane == 0) at.w[k] = fresh;
#pragma unroll 1
      for (int j = lane; j < of.n; j += 32) at.gradient[j] += step * of.v[k * of.n + j];
      const double square = step * step * of.v[k * of.n + k];
      moved = square > moved ? square : moved;
      __syncwarp();
    }
    if (moved <= of.stop) break;
  }
}

// What the others are when k is taken away.
__device__ __forceinline__ void without(int k, const Problem& of, const State& at, const State& trial) {
  __syncwarp();  // the trial before may still be read
#pragma unroll 1
  for (int j = threadIdx.x; j < of.n; j += 32) {
    trial.w[j] = j == k ? 0.0 : at.w[j];
    trial.inverse[j] = j == k ? 0.0 : at.inverse[j];
    trial.gradient[j] = at.gradient[j] - at.w[k] * of.v[k * of.n + j];
  }
  __syncwarp();
  descend(of, trial);
}

__device__ __forceinline__ void take_away(
    const Problem& of, const State& at, const State& trial, const int* regressors, const int* stays, double energy,
    double limit) {
  while (true) {
    int best = -1;
    double least = limit;
#pragma unroll 1
    for (int k = 0; k <= of.n; ++k) {  // the last turn does the best one again, and keeps it
      const int removed = k < of.n ? k : best;
      if (removed < 0) return;
      if (k < of.n && (stays[regressors[k]] || at.inverse[k] == 0.0 || at.w[k] == 0.0)) continue;
      without(removed, of, at, trial);
      if (k == of.n) break;
      double rest = energy;
#pragma unroll 1
      for (int j = 0; j < of.n; ++j) rest += trial.w[j] * (trial.gradient[j] - of.u[j]);
      if (rest < least) {
        least = rest;
        best = k;
      }
    }
    __syncwarp();
#pragma unroll 1
    for (int j = threadIdx.x; j < of.n; j += 32) {
      at.w[j] = trial.w[j];
      at.gradient[j] = trial.gradient[j];
      at.inverse[j] = trial.inverse[j];
    }
    __syncwarp();
  }
}

extern "C" __global__ void __launch_bounds__(128) masked_lasso(
    const long long* __restrict__ start, const int* __restrict__ regressors, const long long* __restrict__ entries,
    long long n_pixels, const double* __restrict__ dense, long long n_dense, const long long* __restrict__ gram_start,
    const int* __restrict__ gram_columns, const double* __restrict__ gram, const double* __restrict__ products,
    const double* __restrict__ penalty, const double* __restrict__ weight, const double* __restrict__ lower,
    const int* __restrict__ stays, double tolerance, long long n_sweeps, long long prune,
    const double* __restrict__ energy, const double* __restrict__ limit, const long long* __restrict__ scratch_start,
    double* __restrict__ scratch, double* __restrict__ out) {
  __shared__ double space[WARPS][SIDE * (SIDE + VECTORS)];
  const long long pixel = (long long)blockIdx.x * WARPS + threadIdx.y;
  if (pixel >= n_pixels) return;  // a whole warp, and there is no barrier of the block
  const int lane = threadIdx.x;
  const long long first = start[pixel];
  const int n = (int)(start[pixel + 1] - first);
  double* mine = n > SIDE ? scratch + scratch_start[pixel] : space[threadIdx.y];
  double* vectors = mine + (long long)n * n;
  const State at = {vectors, vectors + n, vectors + 2 * n}, trial = {vectors + 5 * n, vectors + 6 * n, vectors + 7 * n};

  Problem of = {n, mine, vectors + 3 * n, vectors + 4 * n, 0.0, n_sweeps};
  double size = 0.0;
  bool finite = true;
#pragma unroll 1
  for (int i = lane; i < n; i += 32) {
    const int k = regressors[first + i];
    const long long e = entries[first + i];
    const double low = lower[k], began = out[e];
#pragma unroll 1
    for (int j = 0; j < n; ++j) {
      of.v[i * n + j] =
          pair_of(min(k, regressors[first + j]), max(k, regressors[first + j]), dense, n_dense, gram_start,
                  gram_columns, gram);
    }
    const double own = of.v[i * n + i], u = products[e];
    of.u[i] = u;
    of.lower[i] = low;
    at.inverse[i] = own > 0.0 ? 1.0 / own : 0.0;
    at.w[i] = own > 0.0 ? (began > low ? began : low) : (low > 0.0 ? low : 0.0);
    const double alone = u * u * at.inverse[i];
    size = alone > size ? alone : size;
    const double gradient = penalty[pixel] * weight[k] - u;
    finite = finite && fabs(gradient) <= 1.7e308;
    at.gradient[i] = gradient;
  }
  for (int by = 16; by > 0; by /= 2) {
    const double other = __shfl_xor_sync(0xffffffffu, size, by);
    size = other > size ? other : size;
  }
  finite = __all_sync(0xffffffffu, finite);
  __syncwarp();  // votes and shuffles do not order memory
#pragma unroll 1
  for (int i = lane; i < n; i += 32) {
#pragma unroll 1
    for (int j = 0; j < n; ++j) at.gradient[i] += of.v[i * n + j] * at.w[j];
  }
  __syncwarp();
  of.stop = tolerance * fabs(tolerance) * size;  // below 0: never
  if (finite) {
    descend(of, at);
    if (prune) take_away(of, at, trial, regressors + first, stays, energy[pixel], limit[pixel]);
  }
#pragma unroll 1
  for (int i = lane; i < n; i += 32) out[entries[first + i]] = finite ? at.w[i] : 0.0;
}
