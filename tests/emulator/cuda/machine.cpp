// The machine that runs a kernel: each CUDA thread of a block is a fiber with its own stack, blocks run one after
// another. A fiber runs until a barrier or a warp's collective and parks there; the scheduler runs one warp until all
// its lanes are at the block's barrier or have returned, so that warps are as far apart as they can be. The order of
// blocks, warps and lanes is a parameter: 0 forward, 1 reverse, n > 1 random with seed n.
//
// ThreadSanitizer is told of one fiber a CUDA thread and of the order that CUDA itself promises: __syncthreads,
// __syncwarp, __threadfence, and the start and end of the launch. Nothing else, so it finds races in any order of run.
#include "fibers.h"

namespace emulator {
namespace {
void fail(const std::string& why) {
  if (!error.empty()) return;
  char where[64];
  snprintf(where, sizeof where, " (block %u,%u,%u)", block.x, block.y, block.z);
  error = why + where;
}

std::string file_and_line(const char* file, int line) {
  const char* slash = strrchr(file, '/');
  return std::string(slash ? slash + 1 : file) + ":" + std::to_string(line);
}

std::string where_threads_are() {
  std::map<std::string, int> count;
  for (int i = 0; i < n_threads; ++i) {
    const Thread& t = threads[i];
    char mask[24] = "";
    if (t.state == READY) continue;  // it has not come anywhere yet
    if (t.state == AT_COLLECTIVE) snprintf(mask, sizeof mask, " with mask %08x", t.mask);
    std::string where = "returned";
    if (t.state != RETURNED)
      where = (t.state == AT_BARRIER ? "at the barrier " : "at the warp's collective ")
              + file_and_line(t.file, t.line) + mask;
    ++count[where];
  }
  std::string text;
  for (const auto& [what, n] : count) text += (text.empty() ? ": " : ", ") + std::to_string(n) + " threads " + what;
  return text;
}

bool same_place(const Thread& a, const Thread& b) { return a.line == b.line && !strcmp(a.file, b.file); }

void permute(int* index, int n) {
  for (int i = 0; i < n; ++i) index[i] = order == 1 ? n - 1 - i : i;
  for (int i = n - 1; order > 1 && i > 0; --i) {
    random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17;
    std::swap(index[i], index[random_state % (i + 1)]);
  }
}

uint64_t fold(Collective kind, uint64_t a, uint64_t b) {
  switch (kind) {
    case ADD: return a + b;
    case MIN: return (int64_t)a < (int64_t)b ? a : b;
    case MAX: return (int64_t)a > (int64_t)b ? a : b;
    case BIT_AND: return a & b;
    case BIT_OR: return a | b;
    default: return a ^ b;
  }
}

void deliver(Thread* warp, unsigned waiting) {  // these lanes are all in one collective
  uint64_t votes = 0, folded = 0;
  unsigned tags = 0;
  bool first = true;
  for (int j = 0; j < 32; ++j)
    if (waiting >> j & 1) {
      votes |= (warp[j].value & 1) << j, tags |= (warp[j].syncs & 1) << j;
      folded = first ? warp[j].value : fold(warp[j].kind, folded, warp[j].value), first = false;
    }
  for (int j = 0; j < 32; ++j)
    if (waiting >> j & 1) {
      Thread& t = warp[j];
      t.state = READY, t.partner_tags = tags, t.syncs += t.kind == WARP_SYNC, t.mask = waiting;
      t.result = t.kind == BALLOT ? votes : t.kind == ALL ? votes == waiting : t.kind == ANY ? votes != 0
               : t.kind != SHUFFLE ? folded
               : waiting >> t.source & 1 ? warp[t.source].value : ~0ull;  // undefined in CUDA: NaN and -1 here
    }
}

bool complete_warp(Thread* warp, int lanes) {  // true if a collective of this warp was completed
  bool any = false;
  for (int l = 0; l < lanes; ++l) {
    const Thread& me = warp[l];
    if (me.state != AT_COLLECTIVE) continue;
    if (!(me.mask >> l & 1)) {
      fail("a lane calls a warp's collective with a mask that leaves it out" + where_threads_are());
      return false;
    }
    unsigned waiting = 0;  // CUDA waits for the lanes of the mask that have not returned
    bool complete = true;
    for (int j = 0; j < lanes; ++j) {
      const Thread& t = warp[j];
      if (!(me.mask >> j & 1) || t.state == RETURNED) continue;
      waiting |= 1u << j;
      complete &= t.state == AT_COLLECTIVE && t.mask == me.mask && t.kind == me.kind && same_place(t, me);
    }
    if (complete) deliver(warp, waiting), any = true;
  }
  return any;
}

bool complete_barrier() {
  const Thread* first = nullptr;
  uint64_t n = 0, count = 0;
  for (int i = 0; i < n_threads; ++i) {
    const Thread& t = threads[i];
    if (t.state == RETURNED) continue;
    if (t.state != AT_BARRIER) return false;
    if (!first) first = &t;
    if (!same_place(t, *first)) {
      fail("threads of one block wait at different barriers" + where_threads_are());
      return false;
    }
    ++n, count += t.value;
  }
  ++n_barriers;
  for (int i = 0; i < n_threads; ++i)
    if (threads[i].state == AT_BARRIER) {
      Thread& t = threads[i];
      t.state = READY, t.result = t.kind == SYNC_COUNT ? count : t.kind == SYNC_AND ? count == n : count > 0;
    }
  return n > 0;
}

char* map(char* at, size_t bytes) {
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (at ? MAP_FIXED : 0);
  void* made = mmap(at, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (made == MAP_FAILED) perror("the emulator cannot map memory"), abort();
  return static_cast<char*>(made);
}

void clear_shared() {  // 0xFF is NaN and -1: what a kernel reads before it wrote shows
#ifdef EMULATOR_TSAN   // fresh pages, else TSan would call the use of one place by two blocks a race
  map(stacks, n_threads * STACK), map(arena, ARENA);
#endif
  n_variables = 0, static_bytes = 0;
  allow(arena, ARENA, true);
  memset(arena, 0xFF, GAP + STATIC + GAP + dynamic_bytes + GAP);
  allow(arena, ARENA, false);
  dynamic = arena + GAP + STATIC + GAP;
  allow(dynamic, dynamic_bytes, true);
}

void check_gap([[maybe_unused]] const char* what, [[maybe_unused]] const char* from) {
#ifndef EMULATOR_ASAN
  for (size_t i = 0; i < GAP; ++i)
    if (from[i] != char(0xFF)) return fail(what);
#endif
}

void check_shared() {
  for (int i = 0; i < n_variables; ++i)
    check_gap("written beyond the end of a __shared__ variable", arena + variables[i].offset + variables[i].bytes);
  check_gap("written before the first __shared__ variable", arena);
  check_gap("written before dynamic shared memory", dynamic - GAP);
  check_gap("written beyond the end of dynamic shared memory", dynamic + dynamic_bytes);
}

bool run_warp(int number) {  // as far as it goes; true if a lane ran
  Thread* warp = threads + 32 * number;
  const int lanes = std::min(32, n_threads - 32 * number);
  int turn[32];
  bool ran = false;
  do {
    permute(turn, lanes);
    for (int i = 0; i < lanes && error.empty(); ++i)
      if (warp[turn[i]].state == READY) resume(warp[turn[i]]), ran = true;
  } while (error.empty() && complete_warp(warp, lanes));
  return ran;
}

void run_block() {
  clear_shared();
  for (int i = 0; i < n_threads; ++i) prepare(threads[i], i);
  release(&start_tag);
  const int warps = (n_threads + 31) / 32;
  int turn[MOST_THREADS / 32];
  for (bool progress = true; progress && error.empty();) {
    progress = false;
    permute(turn, warps);
    for (int i = 0; i < warps && error.empty(); ++i) progress |= run_warp(turn[i]);
    if (error.empty()) progress |= complete_barrier();
  }
  if (error.empty() && std::any_of(threads, threads + n_threads, [](const Thread& t) { return t.state != RETURNED; }))
    fail("deadlock" + where_threads_are());
#ifdef EMULATOR_TSAN  // a fiber destroyed lends its number to a new one, and TSan takes the two for one thread
  for (int i = 0; i < n_threads; ++i) fibers.push_back(threads[i].tsan);
  for (; fibers.size() > MOST_FIBERS; fibers.pop_front()) __tsan_destroy_fiber(fibers.front());
#endif
  check_shared();
}

const Kernel* find(const char* name) {
  const Kernel* kernel = kernels;
  while (kernel && strcmp(kernel->name, name)) kernel = kernel->next;
  return kernel;
}
}  // namespace

// ---- what kernels call, on fibers
const uint3& thread_index() { return running->index; }
const uint3& block_index() { return block; }
const uint3& block_size() { return block_dim; }
const uint3& grid_size() { return grid_dim; }
int lane() { return running->lane; }
void* dynamic_shared() { return dynamic; }
void fence() { release(&fence_tag), acquire(&fence_tag); }

void stop(const char* what, const char* file, int line) {
  fail(what + (" at " + file_and_line(file, line)));
  running->state = RETURNED;
  park();
  abort();  // a stopped launch resumes no fiber
}

uint64_t block_collective(Collective kind, uint64_t value, const char* file, int line) {
  Thread* t = running;
  t->kind = kind, t->value = value, t->file = file, t->line = line, t->state = AT_BARRIER;
  char* tag = barrier_tag();
  release(tag);
  park();
  acquire(tag);
  return t->result;
}

uint64_t warp_collective(Collective kind, const char* file, int line, unsigned mask, uint64_t value, int source) {
  Thread* t = running;
  t->kind = kind, t->mask = mask, t->value = value, t->source = source, t->file = file, t->line = line;
  t->state = AT_COLLECTIVE;
  if (kind == WARP_SYNC) release(lane_tag(t, t->syncs));  // of a warp's collectives it alone orders memory
  park();
  for (int j = 0; kind == WARP_SYNC && j < 32; ++j)
    if (t->mask >> j & 1) acquire(lane_tag(t - t->lane + j, t->partner_tags >> j));
  return t->result;
}

void* static_shared(const void* key, size_t bytes, size_t alignment) {
  size_t end = GAP;
  for (int i = 0; i < n_variables; ++i) {
    if (variables[i].key == key) return arena + variables[i].offset;
    end = variables[i].offset + variables[i].bytes + GAP;
  }
  static_bytes += bytes;
  if (static_bytes > 48 << 10 || n_variables == MOST_SHARED_VARIABLES)
    stop("more than 48 KiB or 64 variables of static __shared__ memory", "", 0);
  if (static_bytes + dynamic_bytes > shared_limit)
    stop("static and dynamic shared memory together are more than the limit", "", 0);
  end = (end + std::max<size_t>(alignment, 16) - 1) & -std::max<size_t>(alignment, 16);
  variables[n_variables++] = {key, end, bytes};
  allow(arena + end, bytes, true);
  return arena + end;
}

Kernel::Kernel(const char* name, void (*call)(void**), void (*signature)(char*), int most_threads)
    : name(name), call(call), signature(signature), most_threads(most_threads), next(kernels) { kernels = this; }
}  // namespace emulator

using namespace emulator;

const char* emulator_signatures() {
  static std::string all;
  char text[4096];
  all.clear();
  for (const Kernel* kernel = kernels; kernel; kernel = kernel->next) {
    *text = 0;
    kernel->signature(text);
    all += std::string(kernel->name) + ";" + std::to_string(kernel->most_threads) + ";" + text + "\n";
  }
  return all.c_str();
}

const char* emulator_launch(const char* name, const Launch* launch, void** args) {
  grid_dim = {launch->grid[0], launch->grid[1], launch->grid[2]};
  block_dim = {launch->block[0], launch->block[1], launch->block[2]};
  n_threads = block_dim.x * block_dim.y * block_dim.z;
  dynamic_bytes = launch->dynamic_bytes, shared_limit = launch->shared_limit, order = launch->order;
  random_state = 0x9E3779B97F4A7C15ull * (order + 1);
  body = find(name)->call, arguments = args, error.clear();
  const size_t blocks = (size_t)grid_dim.x * grid_dim.y * grid_dim.z;
#ifdef EMULATOR_TSAN
  main_tsan = __tsan_get_current_fiber();
  char* tags = map(nullptr, blocks * BLOCK_TAGS);
#endif
  if (!stacks) stacks = map(nullptr, MOST_THREADS * STACK), arena = map(nullptr, ARENA);
  const unsigned csr = _mm_getcsr();
  if (launch->flush_denormals) _mm_setcsr(csr | FLUSH_DENORMALS);
  int* turn = static_cast<int*>(malloc(blocks * sizeof(int)));
  permute(turn, (int)blocks);
  for (size_t i = 0; i < blocks && error.empty(); ++i) {
    const unsigned b = turn[i];
    block = {b % grid_dim.x, b / grid_dim.x % grid_dim.y, b / (grid_dim.x * grid_dim.y)};
#ifdef EMULATOR_TSAN
    block_tags = tags + i * BLOCK_TAGS;
#endif
    run_block();
  }
  acquire(&end_tag);
  _mm_setcsr(csr);
  free(turn);
  return error.empty() ? nullptr : error.c_str();
}
