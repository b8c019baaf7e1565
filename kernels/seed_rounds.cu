// What is decided for each seed between the passes of seed_passes.cu over the movie: which pixels count, at which frames a
// trace is active, what is connected to the seed, whether a fit has settled.
//
// Bound by latency: a block a seed, some thousand frames or pixels each, which its barriers separate into steps.
//
// block: (32, WARPS), grid: n_seeds. The four blocks of end_round keep ptxas from spills on sm_100 and sm_120.
// macros, from gpucells/ops/seed_rounds.py: WARPS
#include "difference_noise.cuh"
#include "finite.cuh"
#include "window.cuh"

// The places of each window that count, in order.
extern "C" __global__ void __launch_bounds__(256) list_windows(
    const bool* __restrict__ inside, const long long* __restrict__ seeds, long long height, long long width,
    long long side, long long n_window, int* __restrict__ window, long long* __restrict__ n_listed) {
  const long long seed = blockIdx.x;
  int n = 0, total;
  for (long long first = 0; first < n_window; first += 32 * WARPS) {
    const long long place = first + thread_of_block();
    const long long row = seeds[2 * seed] - side / 2 + place / side;
    const long long column = seeds[2 * seed + 1] - side / 2 + place % side;
    const bool counts = place < n_window && row >= 0 && row < height && column >= 0 && column < width
                        && inside[row * width + column];
    const int at = n + block_scan(counts, &total);
    if (counts) window[seed * n_window + at] = (int)place;
    n += total;
  }
  if (thread_of_block() == 0) n_listed[seed] = n;
}

// The pixels of an image that are above 0.
extern "C" __global__ void __launch_bounds__(256) list_supports(
    const float* __restrict__ images, const long long* __restrict__ seeds, long long width, long long side,
    long long n_window, long long* __restrict__ support, float* __restrict__ values,
    long long* __restrict__ n_support) {
  const long long seed = blockIdx.x;
  int n = 0, total;
  for (long long first = 0; first < n_window; first += 32 * WARPS) {
    const long long place = first + thread_of_block();
    const float value = place < n_window ? images[seed * n_window + place] : 0.0f;
    const long long at = seed * n_window + n + block_scan(value > 0.0f, &total);
    if (value > 0.0f) {
      support[at] = pixel_of(seeds + 2 * seed, (int)place, side, width);
      values[at] = value;
    }
    n += total;
  }
  if (thread_of_block() == 0) n_support[seed] = n;
}

// The frames at which a trace is active, and what it is there. The noise is that of the trace before it
// was cut off. For the first image the brightest frames are enough, later all that are above noise.
extern "C" __global__ void __launch_bounds__(256) choose_frames(
    const float* __restrict__ traces, const float* __restrict__ free, long long n_frames, long long first,
    int* __restrict__ active, float* __restrict__ shape, long long* __restrict__ n_active,
    long long* __restrict__ n_support, bool* __restrict__ running) {
  const long long seed = blockIdx.x;
  if (!running[seed]) return;
  const float* trace = traces + seed * n_frames;
  float peak = -LARGEST;
  for (long long t = thread_of_block(); t < n_frames; t += 32 * WARPS) peak = fmaxf(peak, trace[t]);
  peak = block_max(peak);
  const float noise = difference_noise(free + seed * n_frames, n_frames);
  const float level = first ? fminf(fmaxf(0.3f * peak, 3.0f * noise), peak)
                            : fminf(3.0f * 1.4142f * noise, 0.5f * peak);
  int n = 0, total;
  for (long long begin = 0; begin < n_frames; begin += 32 * WARPS) {
    const long long t = begin + thread_of_block();
    const float value = t < n_frames ? trace[t] : 0.0f;
    const bool chosen = t < n_frames && (value > level || (first && value == level));
    const long long at = seed * n_frames + n + block_scan(chosen, &total);
    if (chosen) {
      active[at] = (int)t;
      shape[at] = value;
    }
    n += total;
  }
  if (thread_of_block() == 0) {
    n_active[seed] = n;
    if (n == 0) n_support[seed] = 0;
    if (n == 0) running[seed] = false;
  }
}

// Marks what comes after a marked pixel along one row or column without a gap; returns whether there was any.
__device__ __forceinline__ bool sweep(const float* image, bool* marks, int at, int by, int n, float edge) {
  bool reached = false, changed = false;
  for (int i = 0; i < n; ++i, at += by) {
    const bool bright = image[at] > edge, marked = marks[at];
    changed |= bright && reached && !marked;
    if (bright && reached) marks[at] = true;
    reached = bright && (reached || marked);
  }
  return changed;
}

// Scales an image to a maximum of 1, keeps what is connected to the seed's pixel (4 neighbours, above the
// edge), lists it, and looks whether image and trace have settled since the round before. A thread has a whole row, then
// a whole column, so that a round of sweeps gets around one more bend. first: of the first image, that only says where.
extern "C" __global__ void __launch_bounds__(256, 4) end_round(
    const long long* __restrict__ seeds, long long width, long long side, long long n_window, long long n_frames,
    long long first, float cut, float edge, float settled, float* __restrict__ images, float* __restrict__ old_images,
    float* __restrict__ traces, float* __restrict__ old_traces, bool* __restrict__ marks,
    long long* __restrict__ support, float* __restrict__ values, long long* __restrict__ n_support,
    bool* __restrict__ running) {
  const long long seed = blockIdx.x;
  const int thread = thread_of_block(), n_threads = 32 * WARPS, n_places = (int)n_window, n = (int)side;
  if (!running[seed]) return;
  float *image = images + seed * n_window, *old_image = old_images + seed * n_window;
  float *trace = traces + seed * n_frames, *old_trace = old_traces + seed * n_frames;
  bool* mark = marks + seed * n_window;
  float peak = 0.0f;
  for (int i = thread; i < n_places; i += n_threads) peak = fmaxf(peak, image[i]);
  peak = block_max(peak);
  const float inverse = peak > 0.0f ? 1.0f / peak : 0.0f;  // an empty image ends below: nothing is above the edge
  for (int i = thread; i < n_places; i += n_threads) {
    const float value = image[i] * inverse;
    image[i] = value < cut ? 0.0f : value;
    mark[i] = false;
  }
  __syncthreads();
  if (thread == 0) {  // the seed's pixel may be a hole between bright ones
    const int centre = n_places / 2;
    int start = centre;
    for (int i = 0; i < 9; ++i) {
      const int at = centre + (i / 3 - 1) * n + i % 3 - 1;
      if (image[at] > image[start]) start = at;
    }
    mark[start] = image[start] > edge;
  }
  bool changed = true;
  while (changed) {
    changed = false;
    __syncthreads();
    for (int i = thread; i < n; i += n_threads) {
      changed |= sweep(image, mark, i * n, 1, n, edge);
      changed |= sweep(image, mark, i * n + n - 1, -1, n, edge);
    }
    __syncthreads();
    for (int i = thread; i < n; i += n_threads) {
      changed |= sweep(image, mark, i, n, n, edge);
      changed |= sweep(image, mark, i + n * (n - 1), -n, n, edge);
    }
    changed = __syncthreads_or(changed);
  }

  int listed = 0, total;
  float moved = 0.0f, whole = 0.0f;
  for (int begin = 0; begin < n_places; begin += n_threads) {
    const int i = begin + thread;
    const bool kept = i < n_places && mark[i];
    const float value = kept ? image[i] : 0.0f;
    const long long at = seed * n_window + listed + block_scan(kept, &total);
    if (kept) {
      support[at] = pixel_of(seeds + 2 * seed, i, side, width);
      values[at] = value;
    }
    if (i < n_places) {
      image[i] = value;
      moved += fabsf(value - old_image[i]);
      whole += value;
      if (!first) old_image[i] = value;
    }
    listed += total;
  }
  bool still = block_sum(moved) < settled * fmaxf(block_sum(whole), 1e-6f);
  moved = whole = 0.0f;
  for (long long t = thread; t < n_frames && !first; t += n_threads) {
    const float value = trace[t] * peak;
    moved += fabsf(value - old_trace[t]);
    whole += value;
    trace[t] = old_trace[t] = value;
  }
  still &= block_sum(moved) < settled * fmaxf(block_sum(whole), 1e-6f);
  if (thread == 0) {
    n_support[seed] = listed;
    if (listed == 0 || (still && !first)) running[seed] = false;
  }
}
