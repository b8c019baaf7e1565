// Robust regression of every frame on the footprints and a field: projected semismooth Newton, as gpucells/ops/
// robust_traces.py has it. A step is three kernels: sum up over the pixels, gather the sums, solve for the step.
//
// All arrays by frame are in blocks of WARP frames, (n_blocks, n_rows, WARP): a lane is a frame, lanes never meet, and a
// warp reads and writes 128 bytes. Nothing is added up in an order that depends on the run: same input, same bits.
//
// Per sample of the movie and step: 4 bytes; 22 flops for the field and the loss, 11 for a footprint that covers the
// pixel, 3 for a pair; no shared memory where at most two footprints cover the pixel, but at the end of a run of such
// pixels. 512 x 512 x 5000 with 2000 random cells of 145 px and nodes 21 px apart: 5.2 GB of movie; 52,000 partial sums
// a frame, written and read once, 2.1 GB; 25,000 sums a frame, written, .5 GB; then .8 GB of them in each sweep of the
// descent. Floor of a step at 3 TB/s: 1.7 ms for the movie, 2.6 ms with the sums, .3 ms more for each sweep; 1.3e9
// samples of 36 flops are 1 ms at 50 TF. So sum_pixels is bound by memory and, not far below, by issued instructions;
// solve_step by memory and latency, and where it takes more than ten sweeps it is the longer part.
// What a faster one would do: wider tiles of several warps (fewer partial sums), curvatures in bfloat16 for the sweeps
// (an inexact step is still a step), skipping components that no longer change.
//
// macros, from gpucells/ops/robust_traces_cuda.py: WARP, WARPS a block of sum_pixels and gather_sums, FRAMES and ROWS of
// solve_step, RUN_FACTS, FIELD (1 where there are nodes); those of gpucells/ops/pixel_tiles.py say what a tile is
#include "robust_tile.cuh"

// A warp has a tile and WARP frames, and no other warp writes what it writes. The sums are in dynamic shared memory,
// shared_rows rows of WARP floats a warp, 96 at most, and copied at the end. A tile is crowded where a pixel alone needs
// more (9 footprints with a field, 12 without): its sums, and all where kappa has a scale, are in global memory from the
// start, each lane adding to numbers of its own, which is slow and has no limit.
// grid: (n_listed, ceil(n_blocks of the launch / WARPS)), block: (WARP, WARPS)
extern "C" __global__ void __launch_bounds__(128, 5) sum_pixels(
    const float* __restrict__ movie, long long n_pixels, long long n_frames, long long first_frame,
    const int* __restrict__ pixels, const float* __restrict__ facts, const float* __restrict__ weights,
    const int* __restrict__ runs, const float* __restrict__ shares, const int* __restrict__ places,
    const int* __restrict__ cells, const int* __restrict__ first_run, const int* __restrict__ first_cell,
    const int* __restrict__ first_row, const int* __restrict__ node, const int* __restrict__ listed, long long n_tiles,
    long long n_columns, const float* __restrict__ x, long long n_components, const float* __restrict__ scale,
    const float* __restrict__ safe, const int* __restrict__ done, long long n_groups, long long quadratic,
    long long crowded, long long scaled, long long shared_rows, long long first_block, long long n_blocks,
    float* __restrict__ partial, long long n_partial, float* __restrict__ loss) {
  extern __shared__ float memory[];
  const int lane = threadIdx.x, t = listed[blockIdx.x];
  const long long k = (long long)blockIdx.y * WARPS + threadIdx.y, b = first_block + k;
  if (k >= n_blocks) return;
  bool any = false;
  for (int g = 0; g < WARP / FRAMES; ++g) any |= !done[b * (WARP / FRAMES) + g];
  if (!any) return;

  const long long frame = first_frame + b * WARP + lane, column = b * n_components * WARP + lane;
  const int n = first_cell[t + 1] - first_cell[t], n_sums = first_row[t + 1] - first_row[t] - NODE_ROWS * FIELD;
  float* out = partial + (k * n_partial + first_row[t]) * WARP + lane;
  float* own = memory + threadIdx.y * shared_rows * WARP + lane;
  Tile tile;
  tile.movie = movie + frame;
  tile.n_frames = n_frames;
  tile.inside = frame < n_frames;
  tile.pixels = pixels;
  tile.facts = reinterpret_cast<const float4*>(facts);
  tile.weights = weights;
  tile.runs = runs;
  tile.places = places;
  tile.cells = cells + first_cell[t];
  tile.n_cells = n;
  tile.scale = scale + column;
  tile.safe = safe[b * WARP + lane];
  tile.quadratic = quadratic != 0;

  Nodes nodes = {};
  if (FIELD) {
    const float* above = x + column + (long long)node[t] * WARP;
    nodes.x[0] = above[0];
    nodes.x[1] = above[WARP];
    nodes.x[2] = above[n_columns * WARP];
    nodes.x[3] = above[(n_columns + 1) * WARP];
  }
  float total;
  if (crowded) {
    tile.x = x + column;
    tile.sums = out + NODE_ROWS * FIELD * WARP;
    for (int j = 0; j < n_sums; ++j) tile.sums[j * WARP] = 0.0f;
    total = !FIELD && scaled ? walk<false, true>(tile, shares, first_run[t], first_run[t + 1], nodes)
                             : walk<false, false>(tile, shares, first_run[t], first_run[t + 1], nodes);
  } else {
    tile.x = own;
    tile.sums = own + n * WARP;
    for (int j = 0; j < n; ++j) own[j * WARP] = x[column + (long long)tile.cells[j] * WARP];
    for (int j = 0; j < n_sums; ++j) tile.sums[j * WARP] = 0.0f;
    total = walk<true, false>(tile, shares, first_run[t], first_run[t + 1], nodes);
    for (int j = 0; j < n_sums; ++j) out[(NODE_ROWS * FIELD + j) * WARP] = tile.sums[j * WARP];
  }
  loss[(b * n_tiles + t) * WARP + lane] = total;
  if (FIELD) {
#pragma unroll
    for (int j = 0; j < 4; ++j) out[j * WARP] = nodes.pull[j];
#pragma unroll
    for (int j = 0; j < 10; ++j) out[(4 + j) * WARP] = nodes.curve[j];
  }
}

// A warp adds up the partial sums of one gradient or curvature, in the order of the tiles.
// grid: (ceil(n_sums / WARPS), n_blocks of the launch), block: (WARP, WARPS)
extern "C" __global__ void __launch_bounds__(128) gather_sums(
    const float* __restrict__ partial, long long n_partial, const int* __restrict__ sum_start,
    const int* __restrict__ sum_row, const int* __restrict__ done, long long n_groups, long long first_block,
    float* __restrict__ sums, long long n_sums) {
  const long long row = (long long)blockIdx.x * WARPS + threadIdx.y, b = first_block + blockIdx.y;
  if (row >= n_sums) return;
  bool any = false;
  for (int g = 0; g < WARP / FRAMES; ++g) any |= !done[b * (WARP / FRAMES) + g];
  if (!any) return;
  const float* part = partial + blockIdx.y * n_partial * WARP + threadIdx.x;
  float sum = 0.0f;
  for (int k = sum_start[row]; k < sum_start[row + 1]; ++k) sum += part[(long long)sum_row[k] * WARP];
  sums[(b * n_sums + row) * WARP + threadIdx.x] = sum;
}

// A block judges the last step of FRAMES frames, and solves their bounded quadratic problems for the next one: coordinate
// descent over the graph of overlaps, colour by colour, components of one colour sharing no pixel. Kept is what lowered a
// frame's loss; what raised it is taken back, and the next step is one that must not (safe).
// grid: n_groups, block: (FRAMES, ROWS)
extern "C" __global__ void __launch_bounds__(256, 4) solve_step(
    const float* __restrict__ sums, long long n_sums, const float* __restrict__ loss, long long n_tiles, float* x,
    float* best, float* step, long long n_components, double* __restrict__ best_loss, float* __restrict__ safe,
    int* __restrict__ done, long long n_groups, const float* __restrict__ penalty, const float* __restrict__ lower,
    const float* __restrict__ norm, const float* __restrict__ least, const int* __restrict__ edge_start, const int* __restrict__ edge_cell,
    const int* __restrict__ edge_slot, const int* __restrict__ colour_start, const int* __restrict__ colour_cell,
    long long n_colours, long long n_sweeps, float tolerance, float worse, long long quadratic,
    long long last, long long finish) {
  __shared__ double part[ROWS][FRAMES];
  __shared__ int held[FRAMES];
  __shared__ int biggest[2];
  const int lane = threadIdx.x, row = threadIdx.y;
  const long long group = blockIdx.x, b = group / (WARP / FRAMES);
  if (done[group]) return;
  const long long frame = group % (WARP / FRAMES) * FRAMES + lane;
  float* const value = x + b * n_components * WARP + frame;
  float* const kept = best + b * n_components * WARP + frame;
  float* const move = step + b * n_components * WARP + frame;
  const float* const pull = sums + b * n_sums * WARP + frame;
  const float* const curve = pull + n_components * WARP;

  double total = 0.0;
  for (long long k = row; k < n_tiles; k += ROWS) total += (double)loss[(b * n_tiles + k) * WARP + frame];
  for (long long c = row; c < n_components; c += ROWS) total += (double)(penalty[c] * value[c * WARP]);
  part[row][lane] = total;
  __syncthreads();
  if (row == 0) {
    for (int k = 1; k < ROWS; ++k) total += part[k][lane];
    if (quadratic) total = (double)FAR;  // from nothing, a least-squares step first; its loss is not the one that counts
    double* const least = best_loss + b * WARP + frame;
    const bool rose = total > *least * (1.0 + (double)worse) + 1e-12;
    if (!rose) *least = total;
    held[lane] = rose;
    safe[b * WARP + frame] = rose ? 1.0f : 0.0f;
    if (lane == 0) biggest[0] = biggest[1] = 0;
  }
  __syncthreads();
  const bool hold = held[lane] != 0;
  for (long long c = row; c < n_components; c += ROWS) {
    if (hold) {
      value[c * WARP] = kept[c * WARP];
    } else {
      kept[c * WARP] = value[c * WARP];
    }
    move[c * WARP] = 0.0f;
  }
  __syncthreads();
  if (last) return;

  float largest = 0.0f;
  for (long long sweep = 0; sweep < n_sweeps; ++sweep) {
    float change = 0.0f;
    for (long long colour = 0; colour < n_colours; ++colour) {
      for (int i = colour_start[colour] + row; i < colour_start[colour + 1]; i += ROWS) {
        const long long c = colour_cell[i];
        float left = pull[c * WARP] - penalty[c];
        for (int e = edge_start[c]; e < edge_start[c + 1]; ++e) {
          left -= curve[(long long)edge_slot[e] * WARP] * move[(long long)edge_cell[e] * WARP];
        }
        const float found = fmaxf(__fdividef(left, fmaxf(curve[c * WARP], least[c])), lower[c] - value[c * WARP]);
        const float now = hold ? 0.0f : found;
        change = fmaxf(change, fabsf(now - move[c * WARP]) * norm[c]);
        move[c * WARP] = now;
      }
      __syncthreads();
    }
    // Numbers that are not negative are in the same order as their bits; the largest is the same whoever comes first.
    atomicMax(&biggest[sweep % 2], __float_as_int(change));
    __syncthreads();
    change = __int_as_float(biggest[sweep % 2]);
    if (row == 0 && lane == 0) biggest[(sweep + 1) % 2] = 0;
    largest = fmaxf(largest, change);
    if (change <= 1e-4f * largest || change < 1e-6f) break;
  }

  bool settled = largest < tolerance && !quadratic;
  for (int f = 0; f < FRAMES; ++f) settled &= !held[f];
  if (settled) {
    if (row == 0 && lane == 0) done[group] = 1;
    return;
  }
  for (long long c = row; c < n_components; c += ROWS) {
    const float now = value[c * WARP] + move[c * WARP];
    value[c * WARP] = now;
    if (finish) kept[c * WARP] = now;
  }
}
