// The rank-one fits of a batch of seeds, all at once: the passes over the movie. What is decided between them is in
// seed_rounds.cu.
//
// Launches go over the steps of a round, blocks over the seeds and their frames or pixels. A seed that is done or lost
// is no longer running, and its blocks end at once: the host never waits for a round. What the frames have in common
// (fit_traces, weigh_frames): a lane has a frame, so that a warp reads 128 bytes of a pixel, and the warps of a block
// share the pixels; all Newton steps of a block find its samples in the caches. What the pixels have in common
// (fit_images, subtract_images): a warp has a pixel and its lanes the active frames.
//
// Bound by memory, and by latency where there are few seeds. A round reads a seed's support once (200 px x 5,000 frames
// x 4 bytes = 4 MB, 10 flops a sample and step) and the active frames of its window (37 x 37 px, a tenth of the frames:
// 3 MB where whole sectors are active). Windows do not overlap: a round of a batch is at most one pass over the movie,
// 5.2 GB at 512 x 512 x 5,000 float32. A faster fit_traces would keep a block's samples in registers between steps; a
// faster fit_images would gather the active frames once a round.
//
// block: (32, WARPS); grids are lines: as many blocks in a row as a seed needs. Four blocks a multiprocessor bound the
// registers to 64, which keeps ptxas from spills of 4 to 8 bytes that it makes in subtract_images without it.
// macros, from gpucells/ops/seed_passes.py: WARPS; GROUP, the pixels that settle together; DOMINANCE
#include "finite.cuh"
#include "warp_sum.cuh"
#include "window.cuh"

// Curvature that is kept where nearly every sample is an outlier.
__device__ __forceinline__ float least_curvature(float floor, float energy) { return 1e-20f + floor * energy; }

// grid: n_seeds x ceil(n_frames / 32). Newton steps of every frame's robust problem, from the trace there is; free is
// the last step before it is cut off at zero.
extern "C" __global__ void __launch_bounds__(256, 4) fit_traces(
    const float* __restrict__ movie, const long long* __restrict__ support, const float* __restrict__ values,
    const long long* __restrict__ n_support, const bool* __restrict__ running, long long n_window, long long n_frames,
    long long steps, float kappa, float floor, float* __restrict__ traces, float* __restrict__ free) {
  __shared__ float slopes[WARPS][32], curvatures[WARPS][32], energies[WARPS];
  const long long chunks = (n_frames + 31) / 32, seed = blockIdx.x / chunks;
  const int lane = threadIdx.x, warp = threadIdx.y;
  if (!running[seed]) return;
  const long long t = blockIdx.x % chunks * 32 + lane, t_read = t < n_frames ? t : n_frames - 1;
  float now = traces[seed * n_frames + t_read], step = 0.0f;
  for (long long k = 0; k < steps; ++k) {
    float slope = 0.0f, curvature = 0.0f, energy = 0.0f;
    for (long long i = warp; i < n_support[seed]; i += WARPS) {
      const float a = values[seed * n_window + i];
      const float r = movie[support[seed * n_window + i] * n_frames + t_read] - a * now;
      slope += a * (r < kappa ? r : kappa);
      curvature += r < kappa ? a * a : 0.0f;
      energy += a * a;
    }
    slopes[warp][lane] = slope;
    curvatures[warp][lane] = curvature;
    if (lane == 0) energies[warp] = energy;
    __syncthreads();
    slope = curvature = energy = 0.0f;
    for (int w = 0; w < WARPS; ++w) {
      slope += slopes[w][lane];
      curvature += curvatures[w][lane];
      energy += energies[w];
    }
    __syncthreads();  // the next step's sums go to the same places
    step = now + slope / fmaxf(curvature, least_curvature(floor, energy));
    now = fmaxf(0.0f, step);
  }
  if (warp == 0 && t < n_frames) {
    traces[seed * n_frames + t] = now;
    free[seed * n_frames + t] = step;
  }
}

// grid: n_seeds x ceil(n_frames / 32), of which as many work as there are active frames. A frame counts for the first
// image by how much the seed outshines its window in it.
extern "C" __global__ void __launch_bounds__(256) weigh_frames(
    const float* __restrict__ movie, const long long* __restrict__ seeds, const int* __restrict__ window,
    const long long* __restrict__ n_listed, const int* __restrict__ active, const long long* __restrict__ n_active,
    long long width, long long side, long long n_window, long long n_frames, float* __restrict__ shape) {
  __shared__ float brightest[WARPS][32];
  const long long chunks = (n_frames + 31) / 32, seed = blockIdx.x / chunks, n = n_active[seed];
  const long long first = blockIdx.x % chunks * 32, j = first + threadIdx.x;
  if (first >= n) return;
  const long long t = active[seed * n_frames + (j < n ? j : n - 1)];
  float top = 1e-6f;
  for (long long i = threadIdx.y; i < n_listed[seed]; i += WARPS) {
    const long long pixel = pixel_of(seeds + 2 * seed, window[seed * n_window + i], side, width);
    top = fmaxf(top, movie[pixel * n_frames + t]);
  }
  brightest[threadIdx.y][threadIdx.x] = top;
  __syncthreads();
  if (threadIdx.y == 0 && j < n) {
    for (int w = 1; w < WARPS; ++w) top = fmaxf(top, brightest[w][threadIdx.x]);
    float weight = shape[seed * n_frames + j];
    const float share = fminf(weight / top, 1.0f);
    for (int power = 0; power < DOMINANCE; ++power) weight *= share;
    shape[seed * n_frames + j] = weight;
  }
}

// grid: n_seeds x ceil(n_window / GROUP). Every pixel's robust problem over the active frames: the least-squares answer
// and Newton steps from there, until a group of pixels moves by less than the tolerance, as on the CPU.
extern "C" __global__ void __launch_bounds__(256, 4) fit_images(
    const float* __restrict__ movie, const long long* __restrict__ seeds, const int* __restrict__ window,
    const long long* __restrict__ n_listed, const int* __restrict__ active, const float* __restrict__ shape,
    const long long* __restrict__ n_active, const bool* __restrict__ running, long long width, long long side,
    long long n_window, long long n_frames, long long steps, float tolerance, float kappa, float floor,
    float* __restrict__ images) {
  __shared__ float now[GROUP], moved[GROUP], size[GROUP];
  const long long groups = (n_window + GROUP - 1) / GROUP, seed = blockIdx.x / groups;
  const long long first = blockIdx.x % groups * GROUP, n_left = n_listed[seed] - first;
  if (!running[seed] || n_left <= 0) return;
  const int lane = threadIdx.x, warp = threadIdx.y, n = n_left < GROUP ? (int)n_left : GROUP;
  const int* frames = active + seed * n_frames;
  const float* trace = shape + seed * n_frames;
  const int* places = window + seed * n_window + first;
  float energy = 0.0f;
  for (long long j = lane; j < n_active[seed]; j += 32) energy += trace[j] * trace[j];
  energy = warp_sum(energy);
  const float least = least_curvature(floor, energy);

  for (int step = 0; step <= (int)steps; ++step) {  // the first is the least-squares answer
    for (int i = warp; i < n; i += WARPS) {
      const float* row = movie + pixel_of(seeds + 2 * seed, places[i], side, width) * n_frames;
      const float before = step == 0 ? 0.0f : now[i], limit = step == 0 ? LARGEST : kappa;
      float slope = 0.0f, curvature = 0.0f;
      for (long long j = lane; j < n_active[seed]; j += 32) {
        const float a = trace[j], r = row[frames[j]] - a * before;
        slope += a * (r < limit ? r : limit);
        curvature += r < limit ? a * a : 0.0f;
      }
      slope = warp_sum(slope);
      curvature = warp_sum(curvature);
      __syncwarp();  // all lanes have read now[i]
      if (lane == 0) {
        const float after = fmaxf(0.0f, before + slope / fmaxf(curvature, least));
        now[i] = after;
        moved[i] = fabsf(after - before);
        size[i] = before;
      }
    }
    __syncthreads();
    float change = 0.0f, whole = 0.0f;
    for (int i = lane; i < n; i += 32) {
      change += moved[i];
      whole += size[i];
    }
    change = warp_sum(change);
    whole = warp_sum(whole);
    __syncthreads();  // the next step's changes go to the same places
    if (step > 0 && change <= tolerance * whole) break;  // the same in all threads: each warp added up all
  }
  for (int i = 32 * warp + lane; i < n; i += 32 * WARPS) images[seed * n_window + places[i]] = now[i];
}

// grid: n_seeds x ceil(n_window / WARPS). Subtracts a trace from the pixels near its image, each by its own share of it.
extern "C" __global__ void __launch_bounds__(256, 4) subtract_images(
    float* __restrict__ movie, const long long* __restrict__ seeds, const int* __restrict__ window,
    const long long* __restrict__ n_listed, const int* __restrict__ active, const float* __restrict__ shape,
    const long long* __restrict__ n_active, const float* __restrict__ traces, const float* __restrict__ images,
    long long width, long long side, long long n_window, long long n_frames, long long grow) {
  const long long blocks = (n_window + WARPS - 1) / WARPS, seed = blockIdx.x / blocks;
  const long long which = blockIdx.x % blocks * WARPS + threadIdx.y;
  const int lane = threadIdx.x;
  if (which >= n_listed[seed]) return;  // a whole warp, and there is no barrier
  const int place = window[seed * n_window + which], reach = (int)grow, n = (int)side;
  bool near = false;
  for (int k = lane; k < (2 * reach + 1) * (2 * reach + 1); k += 32) {
    const int u = place / n + k / (2 * reach + 1) - reach, v = place % n + k % (2 * reach + 1) - reach;
    near |= u >= 0 && u < n && v >= 0 && v < n && images[seed * n_window + u * n + v] > 0.0f;
  }
  if (!__any_sync(0xffffffffu, near)) return;
  float* row = movie + pixel_of(seeds + 2 * seed, place, side, width) * n_frames;
  float dot = 0.0f, energy = 0.0f;
  for (long long j = lane; j < n_active[seed]; j += 32) {
    const float x = shape[seed * n_frames + j];
    dot += row[active[seed * n_frames + j]] * x;
    energy += x * x;
  }
  const float share = warp_sum(dot) / (1e-6f + warp_sum(energy));
  if (!(share > 0.0f)) return;
  __syncwarp();  // all lanes have read their frames
  for (long long t = lane; t < n_frames; t += 32) {
    const float x = traces[seed * n_frames + t];
    if (x > 0.0f) row[t] -= share * x;  // where the trace is silent, nothing is read or written
  }
}
