// What sparse components leave of a movie, and how much of the background each pixel shows.
//
// Floors at 512 x 512 x 5000 float32 (1.3e9 samples), one cell and four nodes of background a pixel:
//   subtract_components: 8 bytes and 11 flops a sample, 10.5 GB. Bound by memory. Traces come from the caches: a
//     block's pixels are neighbours and share them, and the blocks in flight have the same frames.
//   fit_gain: 4 bytes and about 60 flops a sample, 5.2 GB. Eight passes over the pixel's frames, each with a sum that
//     the next one needs: seven go over shared memory (64 bytes a sample), and the movie is read once. What bounds it
//     then is shared memory and the caches, for every pixel reads its own five traces; 40 KiB a block leave one block
//     to a multiprocessor of sm_75 and five to one of sm_90. Faster would be several pixels a block that share the
//     traces, with what is held in registers, and the field's mean from the means of the nodes' traces.
//
// macros, from gpucells/ops/residual.py: PIXELS a block and CHUNK frames a warp in subtract_components, LEVEL_STEPS

// block: (32, PIXELS), a warp a pixel; grid: (ceil(n_pixels / PIXELS), at most ceil(n_frames / CHUNK)).
// No __restrict__ on movie and out: they may be the same array.
extern "C" __global__ void __launch_bounds__(256) subtract_components(
    const float* movie, long long n_pixels, long long n_frames, const float* __restrict__ offset,
    const long long* __restrict__ start, const int* __restrict__ components, const float* __restrict__ weights,
    const float* __restrict__ traces, float* out) {
  const long long p = (long long)blockIdx.x * PIXELS + threadIdx.y;
  if (p >= n_pixels) return;
  const long long begin = start[p], end = start[p + 1], row = p * n_frames;
  const float constant = offset[p];
  for (long long t0 = (long long)blockIdx.y * CHUNK + threadIdx.x; t0 < n_frames; t0 += (long long)gridDim.y * CHUNK) {
    float left[CHUNK / 32];
#pragma unroll
    for (int k = 0; k < CHUNK / 32; ++k) left[k] = t0 + 32 * k < n_frames ? movie[row + t0 + 32 * k] - constant : 0.0f;
    for (long long e = begin; e < end; ++e) {
      const float* trace = traces + components[e] * n_frames + t0;
      const float weight = weights[e];
#pragma unroll
      for (int k = 0; k < CHUNK / 32; ++k) {
        if (t0 + 32 * k < n_frames) left[k] -= weight * trace[32 * k];
      }
    }
#pragma unroll
    for (int k = 0; k < CHUNK / 32; ++k) {
      if (t0 + 32 * k < n_frames) out[row + t0 + 32 * k] = left[k];
    }
  }
}

// The sum over a block of 256 threads, known to all of them, always added up in the same order.
__device__ __forceinline__ float block_sum(float value) {
  __shared__ float of_warp[8];
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  __syncthreads();  // the sum before this one has been read
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
  __syncthreads();
  float sum = of_warp[0];
  for (int warp = 1; warp < 8; ++warp) sum += of_warp[warp];
  return sum;
}

// Components by pixel, and their traces.
struct Images {
  const long long* start;
  const int* index;
  const float* weight;
  const float* traces;

  __device__ __forceinline__ float at(long long pixel, long long t, long long n_frames) const {
    float sum = 0.0f;
#pragma unroll 1
    for (long long e = start[pixel]; e < start[pixel + 1]; ++e) sum += weight[e] * traces[index[e] * n_frames + t];
    return sum;
  }
};

// One pixel's samples: what cells and offset leave of it, and the background at gain 1.
struct Pixel {
  const float* movie;
  Images cells, hats;
  float offset;
  float* held;  // the first n_held frames of the residual, then of the field; a thread reads what it wrote itself
  long long number, n_frames, n_held;

  __device__ __forceinline__ void compute(long long t, float& residual, float& field) const {
    residual = movie[t] - cells.at(number, t, n_frames) - offset;
    field = hats.at(number, t, n_frames);
  }
  __device__ __forceinline__ void get(long long t, float& residual, float& field) const {
    if (t < n_held) {
      residual = held[t];
      field = held[n_held + t];
    } else {
      compute(t, residual, field);
    }
  }
};

// grid: n_pixels; block: 256, a thread has every 256th frame. Dynamic shared memory: 8 bytes for each of the n_held
// first frames; the others are computed again in every pass, from the movie and the traces. The 4 bounds registers to
// 64; without it ptxas takes fewer and spills up to 24 bytes on sm_80, 90 and 100.
extern "C" __global__ void __launch_bounds__(256, 4) fit_gain(
    const float* __restrict__ movie, long long n_frames, const long long* __restrict__ cell_start,
    const int* __restrict__ cell_index, const float* __restrict__ cell_weight, const float* __restrict__ cell_traces,
    const long long* __restrict__ hat_start, const int* __restrict__ hat_index, const float* __restrict__ hat_weight,
    const float* __restrict__ hat_traces, const float* __restrict__ start_gain, const float* __restrict__ start_offset,
    float kappa, float near, float fewest, long long n_held, float* __restrict__ gain, float* __restrict__ offset,
    float* __restrict__ certainty) {
  extern __shared__ float held[];
  const long long p = blockIdx.x;
  const Pixel pixel = {movie + p * n_frames,
                       {cell_start, cell_index, cell_weight, cell_traces},
                       {hat_start, hat_index, hat_weight, hat_traces},
                       start_offset[p], held, p, n_frames, n_held};
  float residual, field, sum = 0.0f;
  for (long long t = threadIdx.x; t < n_frames; t += 256) {
    pixel.compute(t, residual, field);
    if (t < n_held) {
      held[t] = residual;
      held[n_held + t] = field;
    }
    sum += field;
  }
  const float mean = block_sum(sum) / (float)n_frames;

  sum = 0.0f;
  for (long long t = threadIdx.x; t < n_frames; t += 256) {
    pixel.get(t, residual, field);
    sum += (field - mean) * (field - mean);
  }
  const float energy = 1e-6f + block_sum(sum);

  float share = start_gain[p];
  for (int step = 0; step < 2; ++step) {  // clipped residuals: cells that the model lacks do not pull
    sum = 0.0f;
    for (long long t = threadIdx.x; t < n_frames; t += 256) {
      pixel.get(t, residual, field);
      sum += fminf(residual - share * field, kappa) * (field - mean);
    }
    share += block_sum(sum) / energy;
  }

  float level = 0.0f;  // Huber's estimate of location
  for (int step = 0; step < LEVEL_STEPS; ++step) {
    float pull = 0.0f, n_near = 0.0f;
    for (long long t = threadIdx.x; t < n_frames; t += 256) {
      pixel.get(t, residual, field);
      const float distance = residual - share * field - level;
      pull += fminf(fmaxf(distance, -near), near);
      n_near += fabsf(distance) < near ? 1.0f : 0.0f;
    }
    pull = block_sum(pull);
    level += pull / fmaxf(block_sum(n_near), fewest);
  }
  if (threadIdx.x == 0) {
    gain[p] = share;
    offset[p] = pixel.offset + level;
    certainty[p] = energy;
  }
}
