// Quantile and noise of every pixel from some of its frames, and the movie in units of them, in place.
//
// Bound by memory: standardise_pixels reads and writes every sample, 8 bytes for about 8 operations, and does 2 x 32
// rounds of 32 compares a lane to select, the same for any number of frames; the second reading of a row, 20 kB a warp,
// is for the caches to answer. whiten_pixels reads and writes the samples of its pixels. At 512 x 512 x 5000 10.5 GB,
// 3.1 ms at 3.35 TB/s. CuPy would sort, which is movie-sized memory, and whiten in three passes.
//
// A warp a pixel, and no barrier of the block. Lanes read neighbouring frames and put what is sampled into the warp's own
// shared memory; selection then goes bit by bit from the highest: with the bits found so far, how many samples are less?
// It is exact, and its time does not depend on the values. A faster one would have four loads under way a lane instead of
// one, and find several bits a round by a histogram.
//
// block: (32, WARPS); grid: ceil(n_pixels / WARPS). Shared memory: 2 x SAMPLES floats a warp, 32 KiB a block.
// macros, from gpucells/ops/pixel_levels.py: WARPS, and SAMPLES, a multiple of 32 and the most that are taken of a pixel
#include "finite.cuh"
#include "warp_sum.cuh"

#define NORMAL_SECOND_DIFFERENCE 1.65218083f  // .6745 sqrt(6), as gpucells/ops/difference_noise.py has it

// Every how many frames, and where lane 0 .. 31 and those 32 frames later are among the samples.
struct Stride {
  int every, number, past, numbers, frames;
  __device__ __forceinline__ Stride(int every_, int lane)
      : every(every_), number(lane / every_), past(lane % every_), numbers(32 / every_), frames(32 % every_) {}
  __device__ __forceinline__ void next() {
    number += numbers;
    past += frames;
    if (past >= every) {
      past -= every;
      ++number;
    }
  }
};

// The sample that ``at`` others come before, of ``count`` in shared memory; all lanes get it.
__device__ __forceinline__ float select(const float* samples, int count, int at, int lane) {
  unsigned int keys[SAMPLES / 32];
#pragma unroll
  for (int i = 0; i < SAMPLES / 32; ++i) {
    // As an unsigned number, a float's bits sort as the float does once the sign is turned around.
    const unsigned int bits = i * 32 + lane < count ? __float_as_uint(samples[i * 32 + lane]) : 0x7fffffffu;
    keys[i] = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  }
  unsigned int found = 0u;
  for (unsigned int bit = 0x80000000u; bit != 0u; bit >>= 1) {
    int less = 0;
#pragma unroll
    for (int i = 0; i < SAMPLES / 32; ++i) less += keys[i] < (found | bit) ? 1 : 0;
    if (warp_sum(less) <= at) found |= bit;
  }
  return __uint_as_float(found & 0x80000000u ? found & 0x7fffffffu : ~found);
}

extern "C" __global__ void __launch_bounds__(128, 5) standardise_pixels(
    float* __restrict__ movie, long long n_pixels, long long n_frames, int level_every, int level_count, int level_at,
    int noise_every, int noise_count, float* __restrict__ level, float* __restrict__ noise,
    bool* __restrict__ finite) {
  __shared__ float seen[WARPS][SAMPLES], second[WARPS][SAMPLES];
  const int lane = threadIdx.x, warp = threadIdx.y;
  const long long pixel = (long long)blockIdx.x * WARPS + warp;
  if (pixel >= n_pixels) return;  // a whole warp, and there is no barrier of the block
  float* row = movie + pixel * n_frames;

  Stride sampled(level_every, lane), measured(noise_every, lane);
  bool bad = false;
  for (long long t = lane; t < n_frames; t += 32) {
    const float value = row[t];
    bad |= !(fabsf(value) <= LARGEST);
    if (sampled.past == 0) seen[warp][sampled.number] = value;
    if (measured.past == 0 && t + 2 < n_frames) {
      second[warp][measured.number] = fabsf(value - 2.0f * row[t + 1] + row[t + 2]);
    }
    sampled.next();
    measured.next();
  }
  __syncwarp();

  bad = __any_sync(0xffffffffu, bad);
  float middle = 0.0f, spread = 0.0f;
  if (!bad) {
    middle = select(seen[warp], level_count, level_at, lane);
    if (noise_count > 0) {
      spread = select(second[warp], noise_count, noise_count / 2, lane) / NORMAL_SECOND_DIFFERENCE;
    }
  }
  const float weight = spread > 0.0f ? 1.0f / spread : 1.0f;
  for (long long t = lane; t < n_frames; t += 32) row[t] = bad ? 0.0f : (row[t] - middle) * weight;
  if (lane == 0) {
    level[pixel] = middle;
    noise[pixel] = spread;
    finite[pixel] = !bad;
  }
}

// The same with levels and noises that are known, for some pixels.
// grid: ceil(n_some / WARPS)
extern "C" __global__ void __launch_bounds__(128) whiten_pixels(
    float* __restrict__ movie, long long n_frames, const long long* __restrict__ pixels, long long n_some,
    const float* __restrict__ level, const float* __restrict__ noise, const bool* __restrict__ live) {
  const long long number = (long long)blockIdx.x * WARPS + threadIdx.y;
  if (number >= n_some) return;
  const long long pixel = pixels[number];
  float* row = movie + pixel * n_frames;
  const bool counts = live[pixel];
  const float offset = level[pixel], weight = 1.0f / noise[pixel];
  for (long long t = threadIdx.x; t < n_frames; t += 32) row[t] = counts ? (row[t] - offset) * weight : 0.0f;
}
