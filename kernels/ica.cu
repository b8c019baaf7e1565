// What fixed-point ICA asks of its components' samples: the contrast's slope in their place, and the sums of its curvature
// and of the contrast itself, row by row.
//
// The products before and after it, components = unmixing @ data and scores @ data', are cuBLAS's, block of samples by
// block of samples, so that no array of all samples and components is made (gpucells/ops/ica.py). As library calls the
// slope, the curvature and two sums would read a block's components five times and write them three times; here they are
// read and written once.
//
// Bound by memory: 8 bytes a component and sample in float32, about 5 flops (skew, cube), 15 (gauss) or 40 (tanh). 80
// components, 64 MB of them at once: 38 us at 3.35 TB/s; the two products take 4 n_features flops for each of them.
//
// A row is shared out to gridDim.x thread blocks, threads take samples that lie side by side, and each thread block writes
// two float64 sums, added in a fixed order; the caller adds those of a row.
//
// block: 256; grid: (parts of a row, components)
// macros, from gpucells/ops/ica.py: T_DATA; CONTRAST 0 skew, 1 tanh, 2 cube, 3 gauss

extern "C" __global__ void __launch_bounds__(256) ica_scores(
    T_DATA* __restrict__ components, long long n_samples, double alpha, double* __restrict__ sums) {
  __shared__ double part[2][256];
  T_DATA* row = components + (long long)blockIdx.y * n_samples;
  double curvature = 0.0, contrast = 0.0;
  const T_DATA a = (T_DATA)alpha;
  for (long long i = (long long)blockIdx.x * 256 + threadIdx.x; i < n_samples; i += (long long)gridDim.x * 256) {
    const T_DATA u = row[i];
    T_DATA slope;
    if (CONTRAST == 0) {
      slope = u * u;
      curvature += 2.0 * (double)u;
      contrast += (double)(slope * u);
    } else if (CONTRAST == 1) {
      slope = tanh(a * u);
      curvature += (double)(a * ((T_DATA)1 - slope * slope));
      const T_DATA size = a * u < (T_DATA)0 ? -a * u : a * u;
      contrast += (double)(size + log1p(exp((T_DATA)-2 * size)) - (T_DATA)0.6931471805599453);
    } else if (CONTRAST == 3) {
      const T_DATA square = u * u;  // once: in float64 the other way spilled
      const T_DATA bell = exp((T_DATA)-0.5 * square);
      slope = u * bell;
      curvature += (double)(((T_DATA)1 - square) * bell);
      contrast -= (double)bell;
    } else {
      slope = u * u * u;
      curvature += 3.0 * (double)(u * u);
      contrast += (double)(slope * u);
    }
    row[i] = slope;
  }
  part[0][threadIdx.x] = curvature;
  part[1][threadIdx.x] = contrast;
  __syncthreads();
  for (int apart = 128; apart > 0; apart /= 2) {
    if ((int)threadIdx.x < apart) {
      part[0][threadIdx.x] += part[0][threadIdx.x + apart];
      part[1][threadIdx.x] += part[1][threadIdx.x + apart];
    }
    __syncthreads();
  }
  if (threadIdx.x < 2) sums[((long long)blockIdx.y * gridDim.x + blockIdx.x) * 2 + threadIdx.x] = part[threadIdx.x][0];
}
