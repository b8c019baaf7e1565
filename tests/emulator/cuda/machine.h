// What a kernel compiled by g++ and the machine that runs it agree on. The machine (machine.cpp) is compiled without
// sanitizer instrumentation, so that ThreadSanitizer sees the accesses of the kernel alone.
#pragma once
#include <stddef.h>
#include <stdint.h>

struct uint3 { unsigned x, y, z; };

namespace emulator {
enum Collective { SYNC, SYNC_COUNT, SYNC_AND, SYNC_OR,  // of a block
                  WARP_SYNC, SHUFFLE, BALLOT, ALL, ANY, ADD, MIN, MAX, BIT_AND, BIT_OR, BIT_XOR };  // of a warp

const uint3& thread_index();
const uint3& block_index();
const uint3& block_size();
const uint3& grid_size();
int lane();
void fence();
[[noreturn]] void stop(const char* what, const char* file, int line);
uint64_t block_collective(Collective kind, uint64_t value, const char* file, int line);
uint64_t warp_collective(Collective kind, const char* file, int line, unsigned mask, uint64_t value = 0,
                         int source = 0);
void* dynamic_shared();
// The place of a __shared__ declaration in the running block; `key` tells declarations apart.
void* static_shared(const void* key, size_t bytes, size_t alignment);

struct Kernel {
  const char* name;
  void (*call)(void** arguments);
  void (*signature)(char* text);  // "c*f4:4,i4": pointer to const float of alignment 4, then a 32-bit integer
  int most_threads;               // of __launch_bounds__, else 0
  Kernel* next;
  Kernel(const char* name, void (*call)(void**), void (*signature)(char*), int most_threads);  // adds it to the list
};

struct Launch {  // as launch.py packs it
  unsigned grid[3], block[3];
  uint64_t dynamic_bytes, shared_limit;
  int32_t order, flush_denormals;
};
}  // namespace emulator

#define EMULATOR_EXPORT extern "C" __attribute__((visibility("default")))
// Returns "NAME;MOST_THREADS;TYPE,TYPE,…,\n" of every kernel.
EMULATOR_EXPORT const char* emulator_signatures();
// Returns nullptr, or what went wrong.
EMULATOR_EXPORT const char* emulator_launch(const char* name, const emulator::Launch* launch, void** args);
