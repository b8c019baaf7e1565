// Spikes of traces by OASIS, one decay: gpucells/ops/oasis_ar1.py has the mathematics, and the same functions.
//
// Bound by latency: a thread a trace, and each frame waits for the one before. A trace takes some 25 flops, one division
// and 60 bytes a frame for the first pass, a tenth of that for each of the 4 to 12 Newton steps, which see pools only.
// 2000 traces are 16 warps' worth for each of 4 multiprocessors: most of a card stays idle, and that is accepted, for
// traces of 2000 x 50000 frames need some 40 x 50000 dependent double operations, not more, however many there are.
//
// traces, c, s are (n_frames, n_traces), pools are (5, n_frames, n_traces): threads that are at the same frame, as in
// the first pass and in writing, read side by side. No library has this.
//
// block: 32 of the 256 that it may have, so that a few traces are spread over multiprocessors; grid: ceil(n_traces / 32)
// macros, from gpucells/ops/oasis_ar1.py: its numbers
#include "oasis.cuh"

struct Pools {
  double* data;       // of this trace, first row
  long long stride;   // from a pool to the next
  long long plane;    // from a row of all pools to the next
  __device__ double& at(int row, long long i) const { return data[row * plane + i * stride]; }
};

// What a trace is solved for and where its solution stands.
struct Decay {
  double g, per_frame, per_square;
};

__device__ inline double height(const Decay& d, double v, double decay, double shift, double end) {
  return (v - shift * (1 - decay) * d.per_frame - end * decay) * d.per_square / (1 - decay * decay);
}

// y: the first pass, each frame a pool; otherwise pools themselves, or their copies in `source`.
__device__ long long join(const Pools& pools, const Pools& source, const float* y, double offset, long long count,
                          const Decay& d, double shift, double penalty, double floor, double keep) {
  long long k = 0;
  double top = 0.0, top_decay = 0.0;  // h and g^l of pool k - 1
  for (long long i = 0; i < count; i++) {
    double v, decay = d.g, length = 1.0, size = 0.0;
    if (y) {
      v = (double)y[i * pools.stride] - offset;
    } else {
      v = source.at(0, i);
      decay = source.at(1, i);
      length = source.at(2, i);
      size = source.at(3, i);
    }
    const double end = i == count - 1 ? penalty : 0.0;
    double h = height(d, v, decay, shift, end);
    while (k > 0 && (size < keep || fmax(top, 0.0) * top_decay + floor > h)) {
      k--;
      v = pools.at(0, k) + top_decay * v;
      decay *= top_decay;
      if (decay < 1e-100) decay = 0.0;
      length += pools.at(2, k);
      size = pools.at(3, k);
      h = height(d, v, decay, shift, end);
      if (k > 0) {
        top = pools.at(4, k - 1);
        top_decay = pools.at(1, k - 1);
      }
    }
    pools.at(0, k) = v;
    pools.at(1, k) = decay;
    pools.at(2, k) = length;
    pools.at(3, k) = size;
    pools.at(4, k) = h;
    top = h;
    top_decay = decay;
    k++;
  }
  return k;
}

__device__ inline void step(const Pools& pools, long long count, const Trace& trace, const Decay& d, double* baseline,
                            double* penalty) {
  double vv = 0, av = 0, aa = 0, am = 0, mm = 0;
  for (long long i = 0; i < count; i++) {
    if (pools.at(4, i) > 0) {
      const double v = pools.at(0, i), decay = pools.at(1, i), a = (1 - decay) * d.per_frame;
      const double m = i == count - 1 ? 1.0 : 1 - decay, w = d.per_square / (1 - decay * decay);
      vv += v * v * w;
      av += a * v * w;
      aa += a * a * w;
      am += a * m * w;
      mm += m * m * w;
    }
  }
  balance(trace.square - vv, trace.total - av, trace.n - aa, mm, am, trace, baseline, penalty);
}

// The sum of squares of y - b - c, and in `mean` that of y - c.
__device__ inline double squares(const Pools& pools, long long count, const Trace& trace, const Decay& d, double b,
                                 double* mean) {
  double rss = trace.square - 2 * b * trace.total + trace.n * b * b, rest = trace.total;
  for (long long i = 0; i < count; i++) {
    const double h = pools.at(4, i), decay = pools.at(1, i), a = (1 - decay) * d.per_frame;
    if (h > 0) {
      rss += h * (h * ((1 - decay * decay) / d.per_square) - 2 * (pools.at(0, i) - b * a));
      rest -= h * a;
    }
  }
  *mean = rest / trace.n;
  return rss;
}

__device__ inline long long sparsify(const Pools& pools, const Pools& spare, long long count, const Trace& trace,
                                     const Decay& d, double b) {
  double largest = 0.0, mean;
  for (long long i = 0; i < count; i++) {
    const double before = i > 0 ? fmax(pools.at(4, i - 1), 0.0) * pools.at(1, i - 1) : 0.0;
    const double size = fmax(pools.at(4, i), 0.0) - before;
    for (int row = 0; row < 3; row++) spare.at(row, i) = pools.at(row, i);
    spare.at(3, i) = size;
    largest = fmax(largest, size);
  }
  double low = 0.0, high = 1.001 * largest;
  long long kept = count;
  for (int halving = 0; halving <= HALVINGS; halving++) {
    const double keep = halving < HALVINGS ? 0.5 * (low + high) : low;
    kept = join(pools, spare, nullptr, 0.0, count, d, b, 0.0, 0.0, keep);
    if (squares(pools, kept, trace, d, b, &mean) <= trace.target) {
      low = keep;
    } else {
      high = keep;
    }
  }
  return kept;
}

__device__ inline void write(const Pools& pools, long long count, double g, float* c, float* s) {
  double before = 0.0;
  long long t = 0;
  for (long long i = 0; i < count; i++) {
    double value = fmax(pools.at(4, i), 0.0);
    const long long end = t + (long long)pools.at(2, i);
    s[t * pools.stride] = t > 0 ? (float)(value - before) : 0.0f;
    for (bool first = true; t < end; t++, first = false) {
      if (!first) s[t * pools.stride] = 0.0f;
      c[t * pools.stride] = (float)value;
      value = value * g > 1e-30 ? value * g : 0.0;
    }
    before = value;
  }
}

extern "C" __global__ void __launch_bounds__(256) oasis_ar1(
    const float* __restrict__ traces, const double* __restrict__ coefficients, const double* __restrict__ noise,
    double* __restrict__ baseline, double* __restrict__ penalty, const double* __restrict__ floor,
    const double* __restrict__ least, double* __restrict__ pools_of_all, double* __restrict__ spare_of_all,
    float* __restrict__ c, float* __restrict__ s, long long n_frames, long long n_traces, long long n_spare,
    long long mode, bool free) {
  const long long k = (long long)blockIdx.x * 32 + threadIdx.x;
  if (k >= n_traces || noise[k] < 0) return;
  const float* y = traces + k;
  const Pools pools = {pools_of_all + k, n_traces, n_frames * n_traces};
  const Pools spare = {spare_of_all + k, n_traces, n_spare * n_traces};
  const double g = coefficients[k];
  const Decay d = {g, 1 / (1 - g), 1 - g * g};
  Trace trace;
  begin(&trace, y, n_frames, n_traces, free, baseline[k], least[k], mode == L1_PENALTY, noise[k]);

  double lam = mode == L1_PENALTY ? penalty[k] : 0.0;
  double b = free ? fmax(-0.5 * trace.scale, trace.lowest) : 0.0;
  double shift = b + (1 - g) * lam;
  bool again = true, done = false, last = false;  // again: from frames, not from pools
  long long count = n_frames;
  for (int round = 0; round <= MAX_STEPS && !last; round++) {
    last = done;
    count = join(pools, pools, again ? y : nullptr, trace.offset, again ? n_frames : count, d, shift, lam, 0.0, 0.0);
    if (done || round == MAX_STEPS) break;
    double new_b = b, new_lam = lam;
    step(pools, count, trace, d, &new_b, &new_lam);
    if (round >= DAMPED_STEPS) {
      new_b = 0.5 * (b + new_b);
      new_lam = 0.5 * (lam + new_lam);
    }
    const double new_shift = new_b + (1 - g) * new_lam;
    done = fabs(new_b - b) + (1 - g) * fabs(new_lam - lam) <= TOLERANCE * trace.scale;
    again = !(new_shift >= shift && new_lam >= lam);
    b = new_b;
    lam = new_lam;
    shift = new_shift;
  }
  if (mode == SPIKE_FLOOR) {
    for (int round = 0; round < BASELINE_ROUNDS; round++) {
      count = join(pools, pools, y, trace.offset, n_frames, d, b, 0.0, floor[k], 0.0);
      double mean;
      squares(pools, count, trace, d, b, &mean);
      const double refitted = fmax(mean, trace.lowest);
      if (!free || fabs(refitted - b) <= 1e-4 * noise[k]) break;
      b = refitted;
    }
  } else if (mode == FEWEST_SPIKES) {
    count = sparsify(pools, spare, count, trace, d, b);
  }
  write(pools, count, g, c + k, s + k);
  baseline[k] = b + trace.offset;
  penalty[k] = mode <= L1_PENALTY ? lam : 0.0;
}
