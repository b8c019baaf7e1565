// One or more sweeps of coordinate descent over a non-negative factor: every item (column) is a quadratic problem of its
// own in n_components unknowns, with one matrix for all.
//
// At 50 components and 65,536 items of float32: 39 MB (the factor twice, cross once), 12 us at 3.35 TB/s; 0.33 GFLOP.
// Bound by shared memory: two reads a multiplication, one of them the same for a whole warp. The products with the matrix
// itself, which cuBLAS makes, read that twice an iteration: 313 us for 2,000 columns. No library has the sweep: a
// component's turn needs the results of those before it, and as library calls each turn would read the whole factor.
//
// A thread an item: its values stay in shared memory during all sweeps, component by component, and neighbours are
// neighbours there as in the factor, so that all is coalesced. The turn's row of the Gram matrix goes to one of two
// buffers, so that one barrier a turn does.
//
// block: 128 threads, of which items_a_block have an item; grid: ceil(n_items / items_a_block)
// dynamic shared memory: (items_a_block + 3) n_components values: the tile, one column more to each row so that they start
//   in different banks, and two rows of the Gram matrix
// macros, from gpucells/ops/nmf_hals.py: T_FACTOR

extern "C" __global__ void __launch_bounds__(128) nmf_hals(
    T_FACTOR* __restrict__ factor, long long n_components, long long n_columns, long long first,
    const T_FACTOR* __restrict__ gram, const T_FACTOR* __restrict__ cross, long long n_items,
    const long long* __restrict__ order, long long n_sweeps, long long items_a_block, T_FACTOR* __restrict__ violation) {
  extern __shared__ T_FACTOR shared[];
  const long long stride = items_a_block + 1;
  T_FACTOR* tile = shared + threadIdx.x;  // this thread's column
  T_FACTOR* rows = shared + n_components * stride;
  const long long item = (long long)blockIdx.x * items_a_block + threadIdx.x;
  const bool mine = threadIdx.x < items_a_block && item < n_items;
  T_FACTOR* values = factor + first + item;
  if (mine) {
    for (long long r = 0; r < n_components; ++r) tile[r * stride] = values[r * n_columns];
  }
  T_FACTOR total = 0;
  long long turn = 0;
  for (long long sweep = 0; sweep < n_sweeps; ++sweep) {
    for (long long i = 0; i < n_components; ++i, ++turn) {
      const long long t = order[i];
      T_FACTOR* row = rows + (turn & 1) * n_components;
      for (long long r = threadIdx.x; r < n_components; r += 128) row[r] = gram[t * n_components + r];
      __syncthreads();  // who is past it has left the other buffer, which the next turn fills
      if (!mine) continue;
      T_FACTOR slope = -cross[t * n_items + item];
#pragma unroll 4
      for (long long r = 0; r < n_components; ++r) slope += row[r] * tile[r * stride];
      const T_FACTOR old = tile[t * stride], curvature = row[t];
      if (sweep == 0) total += old > 0 ? (slope < 0 ? -slope : slope) : (slope < 0 ? -slope : (T_FACTOR)0);
      const T_FACTOR next = curvature > 0 ? old - slope / curvature : old;
      tile[t * stride] = next > 0 ? next : (T_FACTOR)0;
    }
  }
  if (!mine) return;  // no barrier follows
  violation[item] = total;
  for (long long r = 0; r < n_components; ++r) values[r * n_columns] = tile[r * stride];
}
