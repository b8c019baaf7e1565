// What the kernels of OASIS share: a trace's sums, and the baseline and penalty that go with a set of spikes.
//
// As in gpucells/ops/oasis_ar1.py, where it is explained.

struct Trace {
  double n, offset, total, square;  // frames; what is taken off every sample; sums of what is left, and of its square
  double scale, target, lowest;     // standard deviation; wanted sum of squares or -1; lowest baseline, less offset
  bool free;                        // whether the baseline is fitted
};

__device__ inline void begin(Trace* trace, const float* y, long long n_frames, long long stride, bool free,
                             double baseline, double least, bool penalised, double noise) {
  double mean = 0.0, total = 0.0, square = 0.0;
  if (free) {
    for (long long t = 0; t < n_frames; t++) mean += y[t * stride];
  }
  trace->n = (double)n_frames;
  trace->offset = free ? mean / trace->n : baseline;
  for (long long t = 0; t < n_frames; t++) {
    const double deviation = y[t * stride] - trace->offset;
    total += deviation;
    square += deviation * deviation;
  }
  trace->total = total;
  trace->square = square;
  trace->scale = sqrt(square / trace->n);
  trace->target = penalised ? -1.0 : noise * noise * trace->n;
  trace->lowest = least - trace->offset;
  trace->free = free;
}

__device__ inline double penalty_for(double target, double fixed, double slope, double penalty) {
  if (fixed >= target) return 0.0;
  return slope > 0 ? sqrt((target - fixed) / slope) : penalty;
}

__device__ inline void balance(double yy, double y1, double ones, double mm, double m1, const Trace& trace,
                               double* baseline, double* penalty) {
  if (trace.free && ones > 1e-9 * trace.n) {
    const double at_zero = y1 / ones, slope = m1 / ones;
    double lam = *penalty;
    if (trace.target >= 0) lam = penalty_for(trace.target, yy - at_zero * y1, mm + slope * m1, lam);
    if (at_zero + slope * lam >= trace.lowest) {
      *baseline = at_zero + slope * lam;
      *penalty = lam;
      return;
    }
    *baseline = trace.lowest;
  } else if (trace.free) {
    *baseline = fmax(*baseline, trace.lowest);
  }
  if (trace.target >= 0) {
    const double b = *baseline;
    *penalty = penalty_for(trace.target, yy - 2 * b * y1 + b * b * ones, mm, *penalty);
  }
}
