// What the local correlation image needs of a movie, about what its mean is taken off and in which what is not above a
// threshold counts as 0: a pixel's sum and sum of squares, and its products with the neighbours to the right and below;
// those to the left and above have the others already. All this for the strips of a list: the whole image's, or those of
// the parts that have changed.
//
// Bound by memory: the movie is read once, 4 bytes and 14 flops a sample; at 512 x 512 x 5000 5.2 GB, 1.6 ms at
// 3.35 TB/s. A warp keeps STRIP pixels of an image row and reads the 2 STRIP + 3 rows of the movie that they and their
// neighbours are, 2.75 a pixel for STRIP = 4; what it does not have itself is a pixel of the strip below it, which comes
// next in the list and so is the same block's, or of the block beside it, which are at about the same frame: these reads
// are for the caches to answer. A faster one would keep the block's frames in shared memory.
//
// Lanes are frames, so that all reads are coalesced, and each has float32 sums of its own; those of a warp are added in a
// fixed order.
//
// block: (32, WARPS), a warp a strip; grid: ceil(n_strips / WARPS). Strip i is the (i % across)-th of row i / across, where
// across is ceil(width / STRIP)
// macros, from gpucells/ops/local_correlation.py: WARPS, STRIP
#include "warp_sum.cuh"

__device__ __forceinline__ float above(float value, float threshold) {
  return value <= threshold ? 0.0f : value;  // NaN stays: a pixel with one counts for nobody
}

extern "C" __global__ void __launch_bounds__(256) local_correlation(
    const float* __restrict__ movie, const float* __restrict__ mean, float threshold,
    const long long* __restrict__ strips, long long n_strips, long long height, long long width, long long n_frames,
    float* __restrict__ total, float* __restrict__ squares, float* __restrict__ products) {
  const int lane = threadIdx.x;
  const long long which = (long long)blockIdx.x * WARPS + threadIdx.y;
  if (which >= n_strips) return;  // a whole warp, and there is no barrier of the block
  const long long across = (width + STRIP - 1) / STRIP, y = strips[which] / across;
  const long long x0 = (strips[which] - y * across) * STRIP;
  const float* own = movie + (y * width + x0) * n_frames;
  const float* below = own + width * n_frames;
  const int n_own = width - x0 < STRIP + 1 ? (int)(width - x0) : STRIP + 1;  // pixels from x0 on that there are
  const bool last_row = y + 1 == height;
  const float* own_mean = mean + y * width + x0;
  const float* below_mean = own_mean + width;

  // Nobody asks for products with what lies beside the image: 0 on the right, the end of the row above on the left.
  float sum[STRIP] = {}, square[STRIP] = {}, right[STRIP] = {}, under[3][STRIP] = {};
  for (long long t = lane; t < n_frames; t += 32) {
    float a[STRIP + 1], b[STRIP + 2];
#pragma unroll
    for (int i = 0; i < STRIP + 1; ++i) a[i] = i < n_own ? above(own[i * n_frames + t] - own_mean[i], threshold) : 0.0f;
#pragma unroll
    for (int i = 0; i < STRIP + 2; ++i) {
      b[i] = !last_row && i <= n_own ? above(below[(i - 1) * n_frames + t] - below_mean[i - 1], threshold)
                                      : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < STRIP; ++i) {
      sum[i] += a[i];
      square[i] += a[i] * a[i];
      right[i] += a[i] * a[i + 1];
#pragma unroll
      for (int j = 0; j < 3; ++j) under[j][i] += a[i] * b[i + j];
    }
  }

  const long long n_pixels = height * width, first = y * width + x0;
#pragma unroll
  for (int i = 0; i < STRIP; ++i) {
    const float results[6] = {warp_sum(sum[i]),      warp_sum(square[i]),   warp_sum(right[i]),
                              warp_sum(under[0][i]), warp_sum(under[1][i]), warp_sum(under[2][i])};
    if (lane == 0 && i < n_own) {
      total[first + i] = results[0];
      squares[first + i] = results[1];
#pragma unroll
      for (int j = 0; j < 4; ++j) products[j * n_pixels + first + i] = results[2 + j];
    }
  }
}
