// main() of the process that a sanitized launch runs in: reads the launch from the file that launch.py wrote, writes the
// arrays back beside it. Every region of memory is a heap block of its own, so AddressSanitizer guards both its ends.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef EMULATOR_ASAN
#include <sanitizer/asan_interface.h>
#endif

#include <string>
#include <vector>

#include "machine.h"


static FILE* in;
static void read(void* to, size_t bytes) {
  if (bytes && fread(to, 1, bytes, in) != bytes) fputs("the file of the launch is cut off", stderr), exit(3);
}
static uint64_t number() { uint64_t n; read(&n, 8); return n; }

int main(int argc, char** argv) {  // nothing: print the signatures; NAME FILE: launch that kernel
  if (argc == 1) return puts(emulator_signatures()) < 0;
  in = fopen(argv[2], "rb");
  if (!in) return perror(argv[2]), 3;
  emulator::Launch launch;
  read(&launch, sizeof launch);
  struct Region { char* data; size_t bytes; };
  std::vector<Region> regions(number());
  for (Region& region : regions) {
    const size_t before = number();  // keeps the address modulo 256, for misaligned loads to be seen
    region.bytes = number();
    char* block = static_cast<char*>(aligned_alloc(256, (before + region.bytes + 255) / 256 * 256 + 256));
    region.data = block + before;
    read(region.data, region.bytes);
#ifdef EMULATOR_ASAN
    __asan_poison_memory_region(block, before);
    __asan_poison_memory_region(region.data + region.bytes, 256);
#endif
  }
  struct Argument { uint64_t region, offset; void* pointer; std::vector<char> scalar; };
  std::vector<Argument> arguments(number());
  std::vector<void*> places;
  for (Argument& a : arguments) {
    a.region = number(), a.offset = number();  // region 0: the bytes of a scalar follow, `offset` of them
    if (a.region) a.pointer = regions[a.region - 1].data + a.offset;
    else a.scalar.resize(a.offset), read(a.scalar.data(), a.offset);
    places.push_back(a.region ? static_cast<void*>(&a.pointer) : a.scalar.data());
  }
  fclose(in);
  if (const char* error = emulator_launch(argv[1], &launch, places.data())) return fputs(error, stderr), 4;
  FILE* out = fopen((std::string(argv[2]) + ".out").c_str(), "wb");
  for (const Region& region : regions) fwrite(region.data, 1, region.bytes, out);
  return fclose(out);
}
