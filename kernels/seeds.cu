// The seed image of some pixels: their neighbours' brightness at the frame at which they are brightest.
//
// Bound by memory: a pixel's trace is read once, coalesced, and what follows are 24 samples scattered over its
// neighbours (a sector of 32 bytes each, 5 % of a trace of 5,000 frames). 4 bytes and one comparison a sample; the whole
// image of 512 x 512 x 5,000 float32 is 5.2 GB. What is brought up to date after a round is the windows of its seeds.
//
// block: (32, WARPS), a warp a pixel; grid: ceil(n_pixels / WARPS)
// macros, from gpucells/ops/seeds.py: WARPS, and REACH, half the side of the neighbourhood
#include "finite.cuh"
#include "warp_sum.cuh"

extern "C" __global__ void __launch_bounds__(256) seed_pixels(
    const float* __restrict__ movie, const bool* __restrict__ inside, const long long* __restrict__ pixels,
    long long n_pixels, long long height, long long width, long long n_frames, float* __restrict__ values) {
  const int lane = threadIdx.x;
  const long long which = (long long)blockIdx.x * WARPS + threadIdx.y;
  if (which >= n_pixels) return;
  const long long pixel = pixels[which], row = pixel / width, column = pixel % width;
  const float* trace = movie + pixel * n_frames;

  float top = -LARGEST;
  long long best = n_frames;
  for (long long t = lane; t < n_frames; t += 32) {
    if (trace[t] > top) {
      top = trace[t];
      best = t;
    }
  }
  for (int by = 16; by > 0; by /= 2) {
    const float other = __shfl_xor_sync(0xffffffffu, top, by);
    const long long at = __shfl_xor_sync(0xffffffffu, best, by);
    if (other > top || (other == top && at < best)) {  // of equally bright frames the first
      top = other;
      best = at;
    }
  }

  float total = 0.0f, count = 0.0f;
  if (top > 0.0f) {  // the same in all lanes; an emptied pixel's first frame would be as good as any
    const int side = 2 * REACH + 1;
    for (int k = lane; k < side * side; k += 32) {
      const long long y = row + k / side - REACH, x = column + k % side - REACH;
      if (k == side * side / 2 || y < 0 || y >= height || x < 0 || x >= width || !inside[y * width + x]) continue;
      total += movie[(y * width + x) * n_frames + best];
      count += 1.0f;
    }
  }
  total = warp_sum(total);
  count = warp_sum(count);
  if (lane == 0) values[which] = count > 0.0f ? total / count : 0.0f;
}
