// Robust regression of pixels on the traces of their cells: all Newton steps from one read of the frames that count.
//
// A warp has a pixel. It lists the frames in which any of the pixel's cells has light (bits of `active`, 32 frames a
// word), copies the pixel's samples there, without offset and known light, to shared memory, and steps on what it
// copied. A pixel with more frames than fit goes through them piece by piece, and reads them again in every step. Lanes
// add up every 32nd frame, and shuffles add up the lanes: always in the same order. There is no barrier of the block. The
// bounds of blocks a multiprocessor (4, 3) keep ptxas from spilling for an occupancy that shared memory does not allow.
//
// Bound by memory as long as few frames count: 4 bytes a sample and 4 more for each known component there (from L2),
// once; then some 12 flops and 8 bytes of shared memory a sample, cell and step. Floor at 512 x 512 x 5000 float32 with
// every pixel in a cell and every frame counted: 5.2 GB, 1.75 ms at 3 TB/s; less in proportion to the sectors (8 frames)
// in which no cell has light. A faster one would read 4 words at once before it copies, and take pixels of the same
// cells together, so that they share the list and the traces.
//
// grid: a warp a pixel, WARPS a block or fewer; shared memory: `capacity` floats for each row of the frames a warp keeps
// macros, from gpucells/ops/robust_footprints_cuda.py: WARPS, SWEEPS, and WIDTH, unknowns that are held in registers
#include "active_frames.cuh"
#include "finite.cuh"

// Where trace samples are not 0, how many these are, and their norm. grid: ceil(n_cells / WARPS)
extern "C" __global__ void __launch_bounds__(128) mark_active(
    const float* __restrict__ traces, long long n_cells, long long n_frames, unsigned int* __restrict__ active,
    long long n_words, float* __restrict__ norm, int* __restrict__ n_active) {
  const int lane = threadIdx.x % 32;
  const long long cell = (long long)blockIdx.x * WARPS + threadIdx.x / 32;
  if (cell >= n_cells) return;
  float squares = 0.0f;
  int n_here = 0;
  for (long long word = 0; word < n_words; ++word) {
    const long long t = word * 32 + lane;
    const float x = t < n_frames ? traces[cell * n_frames + t] : 0.0f;
    const unsigned bits = __ballot_sync(ALL, x != 0.0f);
    squares += x * x;
    n_here += __popc(bits);
    if (lane == 0) active[cell * n_words + word] = bits;
  }
  squares = warp_sum(squares);
  if (lane == 0) norm[cell] = sqrtf(squares), n_active[cell] = n_here;
}

// Share of a sample's curvature that counts; `safe` for a step that cannot overshoot.
__device__ __forceinline__ float share_of(float r, float kappa, bool safe) {
  return r < kappa ? 1.0f : safe ? __fdividef(kappa, fmaxf(r, 1e-20f)) : 0.0f;
}

// Pixels of at most WIDTH cells: unknowns, gradient and curvature in registers, the same in all lanes. A place without
// a cell has a trace of zeros, and stays at 0. Rows of shared memory: the samples and WIDTH traces, the first of which
// takes the place of the list of frames.
extern "C" __global__ void __launch_bounds__(128, 4) footprints_of_few(
    const float* __restrict__ movie, long long n_frames, const float* __restrict__ offset,
    const float* __restrict__ kappa, const int* __restrict__ known_start, const int* __restrict__ known_component,
    const float* __restrict__ known_weight, const float* __restrict__ known_traces, const float* __restrict__ traces,
    const unsigned int* __restrict__ active, long long n_words, const float* __restrict__ norm,
    const float* __restrict__ penalty, const int* __restrict__ pixels, long long n_solved,
    const int* __restrict__ start, const int* __restrict__ cells, float* __restrict__ values, long long n_steps,
    float tolerance, float worse, float curvature_floor, long long capacity) {
  extern __shared__ float room[];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const long long problem = (long long)blockIdx.x * (blockDim.x / 32) + warp;
  if (problem >= n_solved) return;
  const long long p = pixels[problem], first = start[p];
  const Pixel pixel = {cells + first,        (int)(start[p + 1] - first), known_start[p], known_start[p + 1],
                       movie + p * n_frames, offset[p],                   kappa[p]};
  float* y = room + warp * (1 + WIDTH) * capacity;
  float* x = y + capacity;

  float s[WIDTH], best[WIDTH], cost[WIDTH], own[WIDTH];
#pragma unroll
  for (int k = 0; k < WIDTH; ++k) {
    const bool there = k < pixel.n;
    s[k] = best[k] = there ? fmaxf(values[first + k], 0.0f) : 0.0f;
    cost[k] = there ? penalty[pixel.cells[k]] : 0.0f;
    own[k] = there ? norm[pixel.cells[k]] : 0.0f;
  }
  float best_loss = LARGEST;
  bool safe = true, kept = false;
  int n_listed = 0;
  for (long long iteration = 0; iteration <= n_steps; ++iteration) {
    float loss = 0.0f, gradient[WIDTH] = {}, curvature[WIDTH][WIDTH] = {};
    for (long long from = 0; from < n_words;) {
      if (kept) {
        from = n_words;
      } else {
        int* frames = reinterpret_cast<int*>(x);
        const bool begins = from == 0;
        from = list_frames(pixel, active, n_words, from, capacity, frames, n_listed);
        kept = begins && from == n_words;
        read_samples(pixel, known_component, known_weight, known_traces, n_frames, frames, n_listed, y);
#pragma unroll
        for (int k = WIDTH - 1; k >= 0; --k) {
          const float* row = traces + pixel.cells[k < pixel.n ? k : 0] * n_frames;
#pragma unroll 4
          for (int i = lane; i < n_listed; i += 32) x[k * capacity + i] = k < pixel.n ? row[frames[i]] : 0.0f;
        }
      }
      for (int i = lane; i < n_listed; i += 32) {
        float seen[WIDTH], r = y[i];
#pragma unroll
        for (int k = 0; k < WIDTH; ++k) {
          seen[k] = x[k * capacity + i];
          r -= s[k] * seen[k];
        }
        const float clipped = fminf(r, pixel.kappa), share = share_of(r, pixel.kappa, safe);
        loss += clipped * (r - 0.5f * clipped);
#pragma unroll
        for (int k = 0; k < WIDTH; ++k) {
          gradient[k] += seen[k] * clipped;
#pragma unroll
          for (int j = 0; j <= k; ++j) curvature[k][j] += seen[k] * share * seen[j];
        }
      }
    }
    loss = warp_sum(loss);
#pragma unroll
    for (int k = 0; k < WIDTH; ++k) {
      loss += cost[k] * s[k];
      gradient[k] = warp_sum(gradient[k]) - cost[k];
#pragma unroll
      for (int j = 0; j <= k; ++j) curvature[j][k] = curvature[k][j] = warp_sum(curvature[k][j]);
    }
    if (loss > best_loss * (1.0f + worse)) {  // taken back; measured again for a step that cannot overshoot
      safe = true;
#pragma unroll
      for (int k = 0; k < WIDTH; ++k) s[k] = best[k];
      continue;
    }
    safe = false;
    best_loss = loss;
    float step[WIDTH], inverse[WIDTH], largest = 0.0f;
#pragma unroll
    for (int k = 0; k < WIDTH; ++k) {
      best[k] = s[k];
      step[k] = 0.0f;
      inverse[k] = __fdividef(1.0f, fmaxf(curvature[k][k], curvature_floor * own[k] * own[k] + 1e-20f));
    }
    if (iteration == n_steps) break;
    for (int sweep = 0; sweep < SWEEPS; ++sweep) {
      float change = 0.0f;
#pragma unroll
      for (int k = 0; k < WIDTH; ++k) {
        float partial = gradient[k];
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
          if (j != k) partial -= curvature[k][j] * step[j];
        }
        const float moved = fmaxf(partial * inverse[k], -s[k]);
        change = fmaxf(change, fabsf(moved - step[k]) * own[k]);
        step[k] = moved;
      }
      largest = fmaxf(largest, change);
      if (change <= 1e-4f * largest) break;
    }
    if (largest < tolerance) break;
#pragma unroll
    for (int k = 0; k < WIDTH; ++k) s[k] += step[k];
  }
#pragma unroll
  for (int k = 0; k < WIDTH; ++k) {
    if (lane == k && k < pixel.n) values[first + k] = best[k];
  }
}

// Pixels of any number of cells: the curvature in blocks of WIDTH x WIDTH, one pass over the frames each, with traces
// from L1 and L2; what is too large for registers in `scratch`, of which every warp has its own part and which L1 holds
// as long as a pixel has some tens of cells. The k-th unknown belongs to lane k % 32.
// grid: as many warps as `scratch` has parts; they take turns. Rows of shared memory: samples, residual, frames.
extern "C" __global__ void __launch_bounds__(128, 3) footprints_of_many(
    const float* __restrict__ movie, long long n_frames, const float* __restrict__ offset,
    const float* __restrict__ kappa, const int* __restrict__ known_start, const int* __restrict__ known_component,
    const float* __restrict__ known_weight, const float* __restrict__ known_traces, const float* __restrict__ traces,
    const unsigned int* __restrict__ active, long long n_words, const float* __restrict__ norm,
    const float* __restrict__ penalty, const int* __restrict__ pixels, long long n_solved,
    const int* __restrict__ start, const int* __restrict__ cells, float* __restrict__ values, long long n_steps,
    float tolerance, float worse, float curvature_floor, long long capacity, float* scratch, long long n_parts,
    long long n_rows, long long widest) {
  extern __shared__ float room[];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const long long part = (long long)blockIdx.x * (blockDim.x / 32) + warp;
  if (part >= n_parts) return;
  float* y = room + warp * 3 * capacity;
  float* residual = y + capacity;
  int* frames = reinterpret_cast<int*>(residual + capacity);
  float* s = scratch + part * n_rows * widest;
  float *best = s + widest, *step = best + widest, *left = step + widest, *inverse = left + widest;
  float* curvature = inverse + widest;

  for (long long problem = part; problem < n_solved; problem += n_parts) {
    const long long p = pixels[problem], first = start[p];
    const int n = (int)(start[p + 1] - first);
    const Pixel pixel = {cells + first, n, known_start[p], known_start[p + 1], movie + p * n_frames, offset[p],
                         kappa[p]};
    for (int k = lane; k < n; k += 32) s[k] = best[k] = fmaxf(values[first + k], 0.0f);
    float best_loss = LARGEST;
    bool safe = true, kept = false;
    int n_listed = 0;
    for (long long iteration = 0; iteration <= n_steps; ++iteration) {
      float loss = 0.0f;
      __syncwarp();  // the sweeps may still read the curvature
      for (int k = lane; k < n; k += 32) {
        left[k] = -penalty[pixel.cells[k]];  // the gradient, and in the sweeps what is left of it
        loss -= left[k] * s[k];
      }
      for (int k = lane; k < n * n; k += 32) curvature[k] = 0.0f;
      for (long long from = 0; from < n_words;) {
        if (kept) {
          from = n_words;
        } else {
          const bool begins = from == 0;
          from = list_frames(pixel, active, n_words, from, capacity, frames, n_listed);
          kept = begins && from == n_words;
          read_samples(pixel, known_component, known_weight, known_traces, n_frames, frames, n_listed, y);
        }
        __syncwarp();  // all of s
        for (int i = lane; i < n_listed; i += 32) {
          float r = y[i];
          for (int k = 0; k < n; ++k) r -= s[k] * traces[pixel.cells[k] * n_frames + frames[i]];
          const float clipped = fminf(r, pixel.kappa);
          loss += clipped * (r - 0.5f * clipped);
          residual[i] = r;
        }
        for (int k0 = 0; k0 < n; k0 += WIDTH) {
          for (int j0 = 0; j0 <= k0; j0 += WIDTH) {
            const float *of_k[WIDTH], *of_j[WIDTH];
            float slope[WIDTH] = {}, block[WIDTH][WIDTH] = {};
#pragma unroll
            for (int a = 0; a < WIDTH; ++a) {  // what is beyond the last cell is computed and not kept
              of_k[a] = traces + pixel.cells[min(k0 + a, n - 1)] * n_frames;
              of_j[a] = traces + pixel.cells[min(j0 + a, n - 1)] * n_frames;
            }
            for (int i = lane; i < n_listed; i += 32) {
              const float r = residual[i], clipped = fminf(r, pixel.kappa), share = share_of(r, pixel.kappa, safe);
              float other[WIDTH];
#pragma unroll
              for (int b = 0; b < WIDTH; ++b) other[b] = of_j[b][frames[i]];
#pragma unroll
              for (int a = 0; a < WIDTH; ++a) {
                const float seen = of_k[a][frames[i]];
                slope[a] += seen * clipped;
#pragma unroll
                for (int b = 0; b < WIDTH; ++b) block[a][b] += seen * share * other[b];
              }
            }
#pragma unroll
            for (int a = 0; a < WIDTH; ++a) {
              const int k = k0 + a;
              if (j0 == 0) slope[a] = warp_sum(slope[a]);
              if (j0 == 0 && k < n && lane == k % 32) left[k] += slope[a];
#pragma unroll
              for (int b = 0; b < WIDTH; ++b) {
                const int j = j0 + b;
                const float sum = warp_sum(block[a][b]);
                if (k < n && j <= k && lane == 0) {
                  curvature[k * n + j] += sum;
                  if (j < k) curvature[j * n + k] += sum;
                }
              }
            }
          }
        }
      }
      loss = warp_sum(loss);
      __syncwarp();  // all of the curvature
      if (loss > best_loss * (1.0f + worse)) {
        safe = true;
        for (int k = lane; k < n; k += 32) s[k] = best[k];
        continue;
      }
      safe = false;
      best_loss = loss;
      for (int k = lane; k < n; k += 32) {
        best[k] = s[k];
        step[k] = 0.0f;
        const float own = norm[pixel.cells[k]];
        inverse[k] = __fdividef(1.0f, fmaxf(curvature[k * n + k], curvature_floor * own * own + 1e-20f));
      }
      if (iteration == n_steps) break;
      float largest = 0.0f;
      for (int sweep = 0; sweep < SWEEPS; ++sweep) {
        float change = 0.0f;
        for (int k = 0; k < n; ++k) {
          float moved = 0.0f;
          if (lane == k % 32) {
            const float to = fmaxf((left[k] + curvature[k * n + k] * step[k]) * inverse[k], -s[k]);
            moved = to - step[k];
            step[k] = to;
          }
          moved = __shfl_sync(ALL, moved, k % 32);
          change = fmaxf(change, fabsf(moved) * norm[pixel.cells[k]]);
          for (int j = lane; j < n; j += 32) left[j] -= curvature[k * n + j] * moved;
        }
        largest = fmaxf(largest, change);
        if (change <= 1e-4f * largest) break;
      }
      if (largest < tolerance) break;
      for (int k = lane; k < n; k += 32) s[k] += step[k];
    }
    for (int k = lane; k < n; k += 32) values[first + k] = best[k];
  }
}
