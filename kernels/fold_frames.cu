// From frames to pixels' traces and back: averaging, whitening and summing up while the axes change places.
//
// Bound by memory: every sample is read once and written once. Both sides are coalesced through a tile of TILE x TILE
// samples in shared memory: a warp reads neighbouring pixels of one frame and writes neighbouring frames of one pixel.
// The column of padding puts the lanes of a warp into different banks when they read the tile the other way round.
//
// block: (TILE, ROWS); a thread has every ROWS-th row of the tile. Four blocks fill a multiprocessor of sm_75, and the
// bound that this gives to registers (64) keeps ptxas 13 from a spill of 12 bytes that it makes on sm_80 without it
// macros, from gpucells/ops/fold_frames.py: TILE, ROWS, and T_FRAME, the movie's own type
#include "finite.cuh"

// grid: ceil(n_image / TILE); a block goes through all frames of its pixels, so that each pixel's sums have one owner.
// What fills no average at the end is only summed up. Sums are float32 inside an average, float64 over the averages.
extern "C" __global__ void __launch_bounds__(256, 4) fold_frames(
    const T_FRAME* __restrict__ frames, long long n_frames, long long n_image, long long factor,
    float* __restrict__ averaged, long long n_columns, long long first, double* __restrict__ total,
    float* __restrict__ maximum, float* __restrict__ minimum, bool* __restrict__ broken) {
  __shared__ float tile[TILE][TILE + 1];
  __shared__ double row_total[ROWS][TILE];
  __shared__ float row_high[ROWS][TILE], row_low[ROWS][TILE];
  __shared__ bool row_bad[ROWS][TILE];
  const int x = threadIdx.x, y = threadIdx.y;
  const long long p0 = (long long)blockIdx.x * TILE, pixel = p0 + x;
  const bool inside = pixel < n_image;
  const long long n_averaged = n_frames / factor;
  const float inverse = 1.0f / (float)factor;

  double all = 0.0;
  float high = -LARGEST, low = LARGEST;
  bool bad = false;
  // One average more than there are: the frames left over, which may be none.
  for (long long k0 = 0; k0 <= n_averaged; k0 += TILE) {
    float tile_sum = 0.0f;
    for (int row = y; row < TILE; row += ROWS) {
      const long long begin = (k0 + row) * factor;
      const long long end = begin + factor < n_frames ? begin + factor : n_frames;
      float sum = 0.0f;
      if (inside) {
        for (long long t = begin; t < end; ++t) {
          const float seen = (float)frames[t * n_image + pixel], value = finite_or_zero(seen);
          bad |= !(value == seen);
          sum += value;
          high = fmaxf(high, value);
          low = fminf(low, value);
        }
      }
      tile[row][x] = sum * inverse;
      tile_sum += sum;
    }
    all += (double)tile_sum;
    __syncthreads();
    for (int row = y; row < TILE; row += ROWS) {
      if (p0 + row < n_image && k0 + x < n_averaged) averaged[(p0 + row) * n_columns + first + k0 + x] = tile[x][row];
    }
    __syncthreads();  // the next averages go to the same tile
  }

  row_total[y][x] = all;
  row_high[y][x] = high;
  row_low[y][x] = low;
  row_bad[y][x] = bad;
  __syncthreads();
  if (y == 0 && inside && n_frames > 0) {
    for (int row = 1; row < ROWS; ++row) {
      all += row_total[row][x];
      high = fmaxf(high, row_high[row][x]);
      low = fminf(low, row_low[row][x]);
      bad |= row_bad[row][x];
    }
    total[pixel] += all;
    maximum[pixel] = fmaxf(maximum[pixel], high);
    minimum[pixel] = fminf(minimum[pixel], low);
    broken[pixel] |= bad;
  }
}

// grid: (ceil(n_pixels / TILE), at most ceil(n_frames / TILE)): blocks take turns where there are fewer of them.
extern "C" __global__ void __launch_bounds__(256, 4) whiten_frames(
    const T_FRAME* __restrict__ frames, long long n_frames, long long n_image, const float* __restrict__ baseline,
    const float* __restrict__ noise, const long long* __restrict__ pixels, long long n_pixels,
    float* __restrict__ out, long long n_columns, long long first) {
  __shared__ float tile[TILE][TILE + 1];
  const int x = threadIdx.x, y = threadIdx.y;
  const long long p0 = (long long)blockIdx.x * TILE;
  const long long pixel = p0 + x < n_pixels ? pixels[p0 + x] : -1;
  const float offset = pixel < 0 ? 0.0f : baseline[pixel];
  const float weight = pixel < 0 ? 0.0f : 1.0f / noise[pixel];
  for (long long t0 = (long long)blockIdx.y * TILE; t0 < n_frames; t0 += (long long)gridDim.y * TILE) {
    for (int row = y; row < TILE; row += ROWS) {
      if (pixel < 0 || t0 + row >= n_frames) continue;
      tile[row][x] = (finite_or_zero((float)frames[(t0 + row) * n_image + pixel]) - offset) * weight;
    }
    __syncthreads();
    for (int row = y; row < TILE; row += ROWS) {
      if (p0 + row < n_pixels && t0 + x < n_frames) out[(p0 + row) * n_columns + first + t0 + x] = tile[x][row];
    }
    __syncthreads();
  }
}

// grid: as that of whiten_frames.
extern "C" __global__ void __launch_bounds__(256, 4) unfold_frames(
    const float* __restrict__ traces, long long n_pixels, long long n_columns, long long first,
    const float* __restrict__ scale, float* __restrict__ frames, long long n_frames) {
  __shared__ float tile[TILE][TILE + 1];
  const int x = threadIdx.x, y = threadIdx.y;
  const long long p0 = (long long)blockIdx.x * TILE;
  const float factor = p0 + x < n_pixels ? scale[p0 + x] : 0.0f;
  for (long long t0 = (long long)blockIdx.y * TILE; t0 < n_frames; t0 += (long long)gridDim.y * TILE) {
    for (int row = y; row < TILE; row += ROWS) {
      if (p0 + row < n_pixels && t0 + x < n_frames) tile[row][x] = traces[(p0 + row) * n_columns + first + t0 + x];
    }
    __syncthreads();
    for (int row = y; row < TILE; row += ROWS) {
      if (p0 + x < n_pixels && t0 + row < n_frames) frames[(t0 + row) * n_pixels + p0 + x] = tile[x][row] * factor;
    }
    __syncthreads();
  }
}
