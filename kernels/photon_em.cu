// Counts over what a model of sparse components expects of them, and the sums of that ratio over frames that EM needs.
//
// A block of frames at a time: ratio = counts / (sum of weight * trace), 0 where the model is; the sums over pixels that
// the traces need are those of footprint_products over the ratio, which is no larger than RATIO_BYTES, not a movie's size.
//
// Bound by memory: of a sample sizeof(T_COUNT) bytes are read and 4 written, and 4 an entry read again by
// footprint_products, mostly from the second-level cache; 4 flops an entry, a division and perhaps a logarithm. Floor at
// 512 x 512 x 5000 uint16 with six entries a pixel: 2.6 GB of counts and 5.2 GB of ratio a round, 2.3 ms at 3.35 TB/s.
// Traces come from the caches: neighbouring pixels share them, and the blocks in flight have the same frames. Library
// calls would need the model of all pixels as an array, and a sampled product for the images.
//
// A warp a pixel, lanes are frames: all reads of counts and traces are coalesced. Only this warp adds to its pixel's
// sums, in the order of the frames, in float64: the same on every run.
//
// block: (32, PIXELS); grid: ceil(n_pixels / PIXELS)
// macros, from gpucells/ops/photon_em.py: T_COUNT, PIXELS a block, CHUNK frames a warp has in registers
#include "warp_sum.cuh"

extern "C" __global__ void __launch_bounds__(256) photon_ratio(
    const T_COUNT* __restrict__ counts, long long n_pixels, long long n_frames, const long long* __restrict__ start,
    const int* __restrict__ components, const float* __restrict__ weights, const float* __restrict__ traces,
    const float* __restrict__ partners, long long t0, float least, float* __restrict__ ratio, long long n_some,
    double* __restrict__ sums, double* __restrict__ logs, long long what) {
  const long long p = (long long)blockIdx.x * PIXELS + threadIdx.y;
  if (p >= n_pixels) return;  // a whole warp, and there is no barrier of the block
  const long long begin = start[p], end = start[p + 1];
  double log_sum = 0.0;
  for (long long first = 0; first < n_some; first += CHUNK) {
    const long long at = first + threadIdx.x;  // of lane's frame k: at + 32 k
    float model[CHUNK / 32];
#pragma unroll
    for (int k = 0; k < CHUNK / 32; ++k) model[k] = 0.0f;
    for (long long e = begin; e < end; ++e) {
      const float* trace = traces + components[e] * n_frames + t0 + at;
      const float weight = weights[e];
#pragma unroll
      for (int k = 0; k < CHUNK / 32; ++k) {
        if (at + 32 * k < n_some) model[k] += weight * trace[32 * k];
      }
    }
    float log_part = 0.0f;
#pragma unroll
    for (int k = 0; k < CHUNK / 32; ++k) {
      if (at + 32 * k < n_some) {
        const float seen = (float)counts[p * n_frames + t0 + at + 32 * k];
        if ((what & 2) && model[k] > least && seen > 0.0f) log_part += seen * logf(model[k]);
        model[k] = model[k] > least ? seen / model[k] : 0.0f;
        ratio[p * n_some + at + 32 * k] = model[k];
      }
    }
    log_sum += (double)log_part;
    if (what & 1) {
      for (long long e = begin; e < end; ++e) {
        const float* partner = partners + components[e] * n_frames + t0 + at;
        float sum = 0.0f;
#pragma unroll
        for (int k = 0; k < CHUNK / 32; ++k) {
          if (at + 32 * k < n_some) sum += model[k] * partner[32 * k];
        }
        sum = warp_sum(sum);
        if (threadIdx.x == 0) sums[e] += (double)sum;
      }
    }
  }
  if (what & 2) {
    for (int apart = 16; apart > 0; apart /= 2) log_sum += __shfl_xor_sync(0xffffffffu, log_sum, apart);
    if (threadIdx.x == 0) logs[p] += log_sum;
  }
}
