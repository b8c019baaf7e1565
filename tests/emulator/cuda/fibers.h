// CUDA threads as fibers, and what AddressSanitizer and ThreadSanitizer must be told of them. For machine.cpp alone.
#pragma once
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xmmintrin.h>

#include <algorithm>
#include <deque>
#include <map>
#include <string>

#ifndef __x86_64__
#error "write switch_stack and prepare() for this processor"
#endif
#ifdef EMULATOR_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef EMULATOR_TSAN
#include <sanitizer/tsan_interface.h>
#endif

namespace emulator {
namespace {
enum State { READY, AT_BARRIER, AT_COLLECTIVE, RETURNED };
constexpr int MOST_THREADS = 1024, MOST_SHARED_VARIABLES = 64;
constexpr size_t STACK = 256 << 10, GAP = 256, STATIC = (48 << 10) + MOST_SHARED_VARIABLES * GAP, DYNAMIC = 227 << 10;
constexpr size_t ARENA = GAP + STATIC + GAP + DYNAMIC + GAP;
constexpr unsigned FLUSH_DENORMALS = 0x8040;  // FTZ and DAZ of MXCSR: CuPy compiles with -ftz=true

struct Thread {
  uint3 index;
  int lane, line, source;
  State state;
  Collective kind;
  unsigned mask;
  const char* file;
  uint64_t value, result;
  void *stack_pointer, *tsan;
  char* stack;
  unsigned syncs, partner_tags;  // number of __syncwarp so far; which of its two tags each lane of the last one used
};
struct Variable { const void* key; size_t offset, bytes; };

Kernel* kernels;
Thread threads[MOST_THREADS], *running;
uint3 block, grid_dim, block_dim;
int n_threads, order, n_variables;
Variable variables[MOST_SHARED_VARIABLES];
size_t static_bytes, dynamic_bytes, shared_limit;
char *stacks, *arena, *dynamic;
void *main_stack_pointer, **arguments;
[[maybe_unused]] void* main_tsan;
std::deque<void*> fibers;
// Each costs ThreadSanitizer a millisecond and memory. Odd, so that threads of two blocks that do share a number have
// different places in their blocks.
constexpr size_t MOST_FIBERS = 1021;
void (*body)(void**);
uint64_t random_state;
unsigned n_barriers;
std::string error;
char start_tag, end_tag, fence_tag;
char* block_tags;  // of this block alone: a tag that two blocks used would put them in an order
constexpr size_t BLOCK_TAGS = 8 * (2 + 2 * MOST_THREADS);
[[maybe_unused]] const void* main_stack;
[[maybe_unused]] size_t main_stack_bytes;
[[maybe_unused]] void* main_fake_stack;

// ---- sanitizers
void acquire([[maybe_unused]] char* tag) {
#ifdef EMULATOR_TSAN
  __tsan_acquire(tag);
#endif
}
void release([[maybe_unused]] char* tag) {
#ifdef EMULATOR_TSAN
  __tsan_release(tag);
#endif
}
// Two tags a barrier, and two a lane for __syncwarp, used in turn: nobody may see what a faster thread did next.
char* barrier_tag() { return block_tags + 8 * (n_barriers & 1); }
char* lane_tag(const Thread* thread, unsigned turn) {
  return block_tags + 8 * (2 + 2 * (thread - threads) + (turn & 1));
}
void allow([[maybe_unused]] char* from, [[maybe_unused]] size_t bytes, [[maybe_unused]] bool allowed) {
#ifdef EMULATOR_ASAN
  if (allowed) __asan_unpoison_memory_region(from, bytes);
  else __asan_poison_memory_region(from, bytes);
#endif
}

// ---- fibers: swap the stack and the registers that a callee keeps (x86-64 System V); MXCSR stays as the launch set it
extern "C" void emulator_switch_stack(void** save, void* to);
asm(".text\n.type emulator_switch_stack,@function\nemulator_switch_stack:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp,(%rdi)\nmovq %rsi,%rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n"
    ".size emulator_switch_stack,.-emulator_switch_stack\n");

void park() {  // on a fiber: back to the scheduler
#ifdef EMULATOR_ASAN
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(running->state == RETURNED ? nullptr : &fake_stack, main_stack, main_stack_bytes);
#endif
#ifdef EMULATOR_TSAN
  __tsan_switch_to_fiber(main_tsan, __tsan_switch_to_fiber_no_sync);
#endif
  emulator_switch_stack(&running->stack_pointer, main_stack_pointer);
#ifdef EMULATOR_ASAN
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
}

void fiber() {
#ifdef EMULATOR_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &main_stack, &main_stack_bytes);
#endif
  acquire(&start_tag);
  body(arguments);
  release(&end_tag);
  running->state = RETURNED;
  park();
}

void resume(Thread& thread) {
  running = &thread;
#ifdef EMULATOR_ASAN
  __sanitizer_start_switch_fiber(&main_fake_stack, thread.stack, STACK);
#endif
#ifdef EMULATOR_TSAN
  __tsan_switch_to_fiber(thread.tsan, __tsan_switch_to_fiber_no_sync);
#endif
  emulator_switch_stack(&main_stack_pointer, thread.stack_pointer);
#ifdef EMULATOR_ASAN
  __sanitizer_finish_switch_fiber(main_fake_stack, nullptr, nullptr);
#endif
  running = nullptr;
}

void prepare(Thread& thread, unsigned number) {  // the first switch pops six registers and returns into fiber()
  thread.index = {number % block_dim.x, number / block_dim.x % block_dim.y, number / (block_dim.x * block_dim.y)};
  thread.lane = number % 32, thread.state = READY, thread.stack = stacks + number * STACK;
  void** top = reinterpret_cast<void**>(thread.stack + STACK);
  top[-2] = reinterpret_cast<void*>(&fiber);
  thread.stack_pointer = top - 8;
#ifdef EMULATOR_TSAN
  thread.tsan = __tsan_create_fiber(0);
#endif
}
}  // namespace
}  // namespace emulator
