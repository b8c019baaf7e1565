// Spikes of traces with a rise and a decay: gpucells/ops/oasis_ar2.py has the mathematics, and the same functions.
//
// Bound by latency: a thread a trace, each frame waits for the next or the one before. A round is two passes back and two
// forth, some 80 flops, one division in frames with spikes, and 150 bytes a frame; 8 to 15 rounds are usual. As with one
// decay most of a card stays idle: the time is that of one trace, up to as many as there are threads.
//
// traces, path, inside, c, s are (n_frames, n_traces), gains are (4, n_frames, n_traces): all threads of a warp are at
// the same frame, so that they read side by side. No library has this.
//
// block: 32 of the 256 that it may have, so that a few traces are spread over multiprocessors; grid: ceil(n_traces / 32)
// macros, from gpucells/ops/oasis_ar2.py: its numbers
#include "oasis.cuh"

struct Response {
  double g1, g2;
  const float* y;
  double offset;
  double* gains;
  double* path;
  bool* inside;
  long long n, stride, plane;
  __device__ double sample(long long t) const { return (double)y[t * stride] - offset; }
  __device__ double& gain(int row, long long t) const { return gains[row * plane + t * stride]; }
  __device__ double& c(long long t) const { return path[t * stride]; }
  __device__ bool& in(long long t) const { return inside[t * stride]; }
  __device__ double spike(long long t) const {
    return c(t) - (t > 0 ? g1 * c(t - 1) : 0.0) - (t > 1 ? g2 * c(t - 2) : 0.0);
  }
};

__device__ inline void find_gains(const Response& r) {
  const double g1 = r.g1, g2 = r.g2;
  double q11 = 0, q12 = 0, q22 = 0, y1 = 0, y2 = 0, b1 = 0, b2 = 0, m1 = 0, m2 = 0;
  for (long long t = r.n - 1; t >= 0; t--) {
    const double h = 1 + q11, hy = r.sample(t) + y1, hb = 1 + b1;
    if (r.in(t)) {
      const double hm = m1 + 1, per_h = 1 / h, k = -q12 * per_h;
      r.gain(0, t) = k;
      r.gain(1, t) = hy * per_h;
      r.gain(2, t) = hb * per_h;
      r.gain(3, t) = hm * per_h;
      y1 = y2 + hy * k;
      b1 = b2 + hb * k;
      m1 = m2 + hm * k - g1;
      y2 = 0;
      b2 = 0;
      m2 = -g2;
      q11 = q22 + q12 * k;
      q12 = 0;
      q22 = 0;
    } else {
      const double hm = m1;
      y1 = y2 + hy * g1;
      b1 = b2 + hb * g1;
      m1 = m2 + hm * g1;
      y2 = hy * g2;
      b2 = hb * g2;
      m2 = hm * g2;
      const double new11 = (h * g1 + 2 * q12) * g1 + q22;
      q12 = (h * g1 + q12) * g2;
      q22 = h * g2 * g2;
      q11 = new11;
    }
  }
}

struct Moments {
  double yy, yb, bb, mm, mb;
};

__device__ inline Moments find_moments(const Response& r) {
  Moments sum = {0, 0, 0, 0, 0};
  double y1 = 0, y2 = 0, b1 = 0, b2 = 0, m1 = 0, m2 = 0;
  for (long long t = 0; t < r.n; t++) {
    double cy, cb, cm;
    if (r.in(t)) {
      const double k = r.gain(0, t);
      cy = k * y1 + r.gain(1, t);
      cb = k * b1 + r.gain(2, t);
      cm = k * m1 + r.gain(3, t);
    } else {
      cy = r.g1 * y1 + r.g2 * y2;
      cb = r.g1 * b1 + r.g2 * b2;
      cm = r.g1 * m1 + r.g2 * m2;
    }
    const double ry = r.sample(t) - cy, rb = 1 - cb;
    sum.yy += ry * ry;
    sum.yb += ry * rb;
    sum.bb += rb * rb;
    sum.mm += cm * cm;
    sum.mb += cm;
    y2 = y1;
    b2 = b1;
    m2 = m1;
    y1 = cy;
    b1 = cb;
    m1 = cm;
  }
  return sum;
}

__device__ inline void follow(const Response& r, double b, double lam) {
  double c1 = 0, c2 = 0;
  for (long long t = 0; t < r.n; t++) {
    double next = r.g1 * c1 + r.g2 * c2;
    if (r.in(t)) next = r.gain(0, t) * c1 + r.gain(1, t) - b * r.gain(2, t) - lam * r.gain(3, t);
    c2 = c1;
    c1 = next;
    r.c(t) = next;
  }
}

__device__ inline long long exchange(const Response& r, double b, double lam, double small, long long stretch) {
  long long wrong = 0, next_change = r.n + stretch;
  double p1 = 0, p2 = 0;
  bool rising = false;
  for (long long t = r.n - 1; t >= -1; t--) {
    const double p = t >= 0 ? r.sample(t) - b - r.c(t) + r.g1 * p1 + r.g2 * p2 : -1e300;
    const long long later = t + 1;
    if (later < r.n && next_change - later >= stretch) {
      bool is_wrong;
      if (r.in(later)) {
        is_wrong = r.spike(later) < -small;
      } else {
        is_wrong = p1 > lam + small && rising && p <= p1;
      }
      if (is_wrong) {
        r.in(later) = !r.in(later);
        wrong++;
        next_change = later;
      }
    }
    rising = p > p1 || t == r.n - 1;
    p2 = p1;
    p1 = p;
  }
  return wrong;
}

__device__ inline void fit(const Response& r, const Trace& trace, double* b, double* lam) {
  const double small = TOLERANCE * trace.scale;
  for (int round = 0; round < MAX_ROUNDS; round++) {
    find_gains(r);
    if (round >= HELD_ROUNDS) {
      const Moments sum = find_moments(r);
      balance(sum.yy, sum.yb, sum.bb, sum.mm, sum.mb, trace, b, lam);
    }
    follow(r, *b, *lam);
    const long long stretch = round < FAST_ROUNDS ? 1 : round < STRETCH_ROUNDS ? STRETCH : r.n;
    if (exchange(r, *b, *lam, small, stretch) == 0 && round > HELD_ROUNDS) break;
  }
}

// Sizes go where the gains were, which are found anew when S has changed.
__device__ inline double merge_neighbours(const Response& r) {
  double largest = 0;
  for (long long t = 0; t < r.n;) {
    r.gain(0, t) = 0;
    if (!r.in(t)) {
      t++;
      continue;
    }
    double total = 0, highest = 0;
    long long at = t;
    for (; t < r.n && r.in(t); t++) {
      const double spike = r.spike(t);
      r.gain(0, t) = spike;
      total += spike;
      if (spike > highest) {
        at = t;
        highest = spike;
      }
    }
    r.gain(0, at) = total;
    largest = fmax(largest, total);
  }
  return largest;
}

__device__ inline long long drop(const Response& r, double floor) {
  long long dropped = 0, at = -1;
  double size = 1e300, before = 1e300;
  for (long long t = 0; t <= r.n; t++) {
    if (t < r.n && !r.in(t)) continue;
    const double spike = t < r.n ? r.spike(t) : 1e300;
    if (size < floor && size <= before && size < spike) {
      r.in(at) = false;
      dropped++;
    }
    at = t;
    before = size;
    size = spike;
  }
  return dropped;
}

__device__ inline double above_floor(const Response& r, const Trace& trace, double b, double floor) {
  for (long long round = 0; round < r.n + FLOOR_STEPS; round++) {
    find_gains(r);
    if (trace.free) {
      const Moments sum = find_moments(r);
      double none = 0;
      balance(sum.yy, sum.yb, sum.bb, sum.mm, sum.mb, trace, &b, &none);
    }
    follow(r, b, 0.0);
    const double share = (double)(round + 1) / FLOOR_STEPS;
    if (drop(r, floor * (share < 1 ? share : 1.0)) == 0 && round >= FLOOR_STEPS) break;
  }
  return b;
}

__device__ inline void fewest(const Response& r, const Trace& trace, double b, double largest, double* sizes) {
  double low = 0, high = 1.001 * largest;
  for (long long t = 0; t < r.n; t++) sizes[t * r.stride] = r.gain(0, t);
  for (int halving = 0; halving <= HALVINGS; halving++) {
    const double keep = halving < HALVINGS ? 0.5 * (low + high) : low;
    for (long long t = 0; t < r.n; t++) r.in(t) = sizes[t * r.stride] > keep;
    find_gains(r);
    const Moments sum = find_moments(r);
    if (sum.yy + b * (b * sum.bb - 2 * sum.yb) <= trace.target) {
      low = keep;
    } else {
      high = keep;
    }
  }
}

extern "C" __global__ void __launch_bounds__(256) oasis_ar2(
    const float* __restrict__ traces, const double* __restrict__ coefficients, const double* __restrict__ noise,
    double* __restrict__ baseline, double* __restrict__ penalty, const double* __restrict__ floor,
    const double* __restrict__ least, double* __restrict__ gains, double* __restrict__ path,
    bool* __restrict__ inside, double* __restrict__ sizes, float* __restrict__ c, float* __restrict__ s,
    long long n_frames, long long n_traces, long long mode, bool free) {
  const long long k = (long long)blockIdx.x * 32 + threadIdx.x;
  if (k >= n_traces || noise[k] < 0) return;
  Trace trace;
  begin(&trace, traces + k, n_frames, n_traces, free, baseline[k], least[k], mode == L1_PENALTY, noise[k]);
  const Response r = {coefficients[2 * k], coefficients[2 * k + 1], traces + k, trace.offset, gains + k, path + k,
                      inside + k, n_frames, n_traces, n_frames * n_traces};
  for (long long t = 0; t < n_frames; t++) r.in(t) = false;
  double b = baseline[k] - trace.offset, lam = penalty[k];
  fit(r, trace, &b, &lam);
  if (mode > L1_PENALTY) {
    const double largest = merge_neighbours(r);
    const bool few = mode == FEWEST_SPIKES;
    if (few) {
      trace.free = false;
      fewest(r, trace, b, largest, sizes + k);
    }
    trace.target = -1;
    b = above_floor(r, trace, b, few ? 0.0 : floor[k]);
    lam = 0;
  }
  for (long long t = 0; t < n_frames; t++) {
    c[t * n_traces + k] = (float)fmax(r.c(t), 0.0);
    s[t * n_traces + k] = r.in(t) && t > 0 ? (float)fmax(r.spike(t), 0.0) : 0.0f;
  }
  baseline[k] = b + trace.offset;
  penalty[k] = lam;
}
