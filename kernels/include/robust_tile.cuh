// What a warp does with the pixels of one tile (gpucells/ops/pixel_tiles.py): clipped residuals, and what they and the
// curvature that is left add to the tile's sums. A lane is a frame and has a column of its own, so that nothing is shared.
#define AHEAD 4  // samples on their way at once, each 128 bytes a warp
#define FAR 1e30f     // stands for infinity
#define NODE_ROWS 14  // partial sums of four nodes
#define NEAR (4 * FIELD)

// What the four nodes around a tile have and get. Nodes: above left, above right, below left, below right.
struct Nodes {
  float x[4], pull[4];
  float curve[10];  // left: above, across, below; right: the same; left with right: 0-0, 0-1, 1-0, 1-1 (1 is below)
};

// A row of pixels sees one row of nodes: what it shows of them, and what its pixels sum up for them.
struct Row {
  float left, right, pull_left, pull_right, own_left, own_right, both;
};

struct Tile {
  const float* movie;  // the lane's frame; pixels are n_frames apart
  long long n_frames;
  bool inside;  // the frame exists
  const int* pixels;
  const float4* facts;  // offset, kappa, and what the pixel shows of the nodes on its left and right
  const float* weights;
  const int *runs, *places, *cells;
  int n_cells;
  const float* x;      // of the tile's footprints by local number, or, in a crowded tile, of all components
  const float* scale;  // of all components
  float* sums;         // gradients, curvatures, curvatures with nodes, pairs
  float safe;
  bool quadratic;
};

__device__ __forceinline__ float sample(const Tile& tile, int i, int end) {
  return tile.inside && i < end ? tile.movie[(long long)tile.pixels[i] * tile.n_frames] : 0.0f;
}

// Take offset and field off; frames that do not exist are dark.
__device__ __forceinline__ float residual_of(const Tile& tile, float seen, const float4& fact, const Row& row) {
  float r = tile.inside ? seen - fact.x : 0.0f;
  if (FIELD) r -= fact.z * row.left;
  if (FIELD) r -= fact.w * row.right;
  return r;
}

// Clip a residual where the loss turns linear; add up the loss and say how much of its curvature is left.
__device__ __forceinline__ float clip(float r, float limit, float safe, float& share, float& loss) {
  const float c = fminf(r, limit);
  share = r < limit ? 1.0f : __fdividef(safe * limit, fmaxf(r, 1e-20f));
  loss += c * (r - 0.5f * c);
  return c;
}

__device__ __forceinline__ void add_to_row(const float4& fact, float r, float share, Row& row) {
  if (!FIELD) return;
  const float left = fact.z * share, right = fact.w * share;
  row.pull_left += fact.z * r;
  row.pull_right += fact.w * r;
  row.own_left += fact.z * left;
  row.own_right += fact.w * right;
  row.both += fact.z * right;
}

__device__ __forceinline__ void end_row(float v, Row& row, Nodes& nodes) {
  const float u = 1.0f - v, above = u * u, across = u * v, below = v * v;
  nodes.pull[0] += u * row.pull_left;
  nodes.pull[1] += u * row.pull_right;
  nodes.pull[2] += v * row.pull_left;
  nodes.pull[3] += v * row.pull_right;
  nodes.curve[0] += above * row.own_left;
  nodes.curve[1] += across * row.own_left;
  nodes.curve[2] += below * row.own_left;
  nodes.curve[3] += above * row.own_right;
  nodes.curve[4] += across * row.own_right;
  nodes.curve[5] += below * row.own_right;
  nodes.curve[6] += above * row.both;
  nodes.curve[7] += across * row.both;
  nodes.curve[8] += across * row.both;
  nodes.curve[9] += below * row.both;
  row.pull_left = row.pull_right = row.own_left = row.own_right = row.both = 0.0f;
}

__device__ __forceinline__ void add_near(const Tile& tile, int cell, float v, float left, float right) {
  if (!FIELD) return;
  float* near_nodes = tile.sums + (2 * tile.n_cells + NEAR * cell) * WARP;
  near_nodes[0] += (1.0f - v) * left;
  near_nodes[WARP] += (1.0f - v) * right;
  near_nodes[2 * WARP] += v * left;
  near_nodes[3 * WARP] += v * right;
}

// A run of pixels under the same N footprints, N at most 2: all sums stay in registers until its end. Where there is none
// the loops go over one that weighs nothing, and the compiler takes it out.
template <int N>
__device__ __forceinline__ float few_cells(const Tile& tile, const int* run, float v, Row& row) {
  constexpr int SOME = N > 0 ? N : 1;
  const int first = run[0], end = run[RUN_FACTS];
  const int* place = tile.places + run[3];
  const float* weight = tile.weights + run[1];
  float x[SOME], pull[SOME], own[SOME], left[SOME], right[SOME], both = 0.0f, loss = 0.0f;
#pragma unroll
  for (int j = 0; j < SOME; ++j) {
    x[j] = N > 0 ? tile.x[place[j] * WARP] : 0.0f;
    pull[j] = own[j] = left[j] = right[j] = 0.0f;
  }
  for (int i = first; i < end; i += AHEAD) {
    float seen[AHEAD];
#pragma unroll
    for (int k = 0; k < AHEAD; ++k) seen[k] = sample(tile, i + k, end);
#pragma unroll
    for (int k = 0; k < AHEAD; ++k) {
      if (i + k >= end) break;
      const float4 fact = tile.facts[i + k];
      float w[SOME], share, r = residual_of(tile, seen[k], fact, row);
#pragma unroll
      for (int j = 0; j < SOME; ++j) {
        w[j] = N > 0 ? weight[(i + k - first) * N + j] : 0.0f;
        r -= w[j] * x[j];
      }
      r = clip(r, tile.quadratic ? FAR : fact.y, tile.safe, share, loss);
      add_to_row(fact, r, share, row);
#pragma unroll
      for (int j = 0; j < SOME; ++j) {
        const float curved = w[j] * share;
        pull[j] += w[j] * r;
        own[j] += w[j] * curved;
        left[j] += fact.z * curved;
        right[j] += fact.w * curved;
      }
      if (N == 2) both += w[0] * w[SOME - 1] * share;
    }
  }
  if (N > 0) {
#pragma unroll
    for (int j = 0; j < SOME; ++j) {
      tile.sums[place[j] * WARP] += pull[j];
      tile.sums[(tile.n_cells + place[j]) * WARP] += own[j];
      add_near(tile, place[j], v, left[j], right[j]);
    }
  }
  if (N == 2) tile.sums[((2 + NEAR) * tile.n_cells + place[2]) * WARP] += both;
  return loss;
}

// A run of pixels under any number of footprints. LOCAL: traces are by local number, as in shared memory.
template <bool LOCAL, bool SCALED>
__device__ __forceinline__ float many_cells(const Tile& tile, const int* run, float v, Row& row) {
  const int first = run[0], end = run[RUN_FACTS], n = run[2];
  const int* place = tile.places + run[3];
  float loss = 0.0f;
  for (int i = first; i < end; ++i) {
    const float4 fact = tile.facts[i];
    const float* weight = tile.weights + run[1] + (i - first) * n;
    float share, limit = fact.y, mixed = 0.0f, total = 1e-6f, r = residual_of(tile, sample(tile, i, end), fact, row);
    for (int j = 0; j < n; ++j) {
      const long long at = (long long)(LOCAL ? place[j] : tile.cells[place[j]]) * WARP;
      r -= weight[j] * tile.x[at];
      if (SCALED) mixed += weight[j] * tile.scale[at];
      if (SCALED) total += weight[j];
    }
    if (SCALED) limit *= __fdividef(mixed, total);
    r = clip(r, tile.quadratic ? FAR : limit, tile.safe, share, loss);
    add_to_row(fact, r, share, row);
    const int* pair = place + n;
    for (int j = 0; j < n; ++j) {
      const float curved = weight[j] * share;
      tile.sums[place[j] * WARP] += weight[j] * r;
      tile.sums[(tile.n_cells + place[j]) * WARP] += weight[j] * curved;
      add_near(tile, place[j], v, fact.z * curved, fact.w * curved);
      for (int k = j + 1; k < n; ++k) {
        tile.sums[((2 + NEAR) * tile.n_cells + *pair++) * WARP] += weight[k] * curved;
      }
    }
  }
  return loss;
}

template <bool LOCAL, bool SCALED>
__device__ __forceinline__ float walk(const Tile& tile, const float* shares, int first, int last, Nodes& nodes) {
  Row row = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
  float loss = 0.0f;
  for (int k = first; k < last; ++k) {
    const int* run = tile.runs + (long long)k * RUN_FACTS;
    const float v = FIELD ? shares[k] : 0.0f;
    row.left = (1.0f - v) * nodes.x[0] + v * nodes.x[2];
    row.right = (1.0f - v) * nodes.x[1] + v * nodes.x[3];
    if (!LOCAL || run[2] > 2) {
      loss += many_cells<LOCAL, SCALED>(tile, run, v, row);
    } else if (run[2] == 2) {
      loss += few_cells<2>(tile, run, v, row);
    } else if (run[2] == 1) {
      loss += few_cells<1>(tile, run, v, row);
    } else {
      loss += few_cells<0>(tile, run, v, row);
    }
    if (FIELD && run[4]) end_row(v, row, nodes);
  }
  return loss;
}
