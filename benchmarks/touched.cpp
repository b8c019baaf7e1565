// What a kernel on the emulator loads and stores, each 32-byte sector once a launch: the least that a GPU whose caches
// lose nothing would move. Appended to a kernel's translation unit, which g++ compiles with -fsanitize=kernel-address
// and a call for every access; these are the functions that are called, and nothing in them may be counted itself.
#include <cstdint>
#include <cstdlib>

#define UNSEEN __attribute__((no_sanitize("kernel-address")))
#define PUBLIC extern "C" UNSEEN __attribute__((visibility("default")))

namespace touched {
struct Page {  // 4 KiB of memory: 128 sectors, loaded and stored
  uint64_t number;  // 0 where free: nobody's memory
  uint64_t sectors[2][2];
};
constexpr uint64_t ROOM = 1 << 18;  // for a gigabyte
static Page pages[ROOM];
static uint32_t used[ROOM / 2];
static uint64_t n_used;
static Page* last;

UNSEEN static Page* find(uint64_t number, bool add) {
  uint64_t at = number * 0x9E3779B97F4A7C15ull >> 46;  // Knuth's multiplicative hash, 18 bits
  while (pages[at].number != number && pages[at].number) at = (at + 1) % ROOM;
  if (pages[at].number) return &pages[at];
  if (!add) return nullptr;
  if (n_used == ROOM / 2) abort();
  used[n_used++] = (uint32_t)at;
  pages[at].number = number;
  return &pages[at];
}

UNSEEN static void mark(const void* at, uint64_t n_bytes, int store) {
  for (uint64_t sector = (uint64_t)at >> 5; sector <= ((uint64_t)at + n_bytes - 1) >> 5; ++sector) {
    if (!last || last->number != sector >> 7) last = find(sector >> 7, true);
    last->sectors[store][(sector >> 6) & 1] |= 1ull << (sector & 63);
  }
}
}  // namespace touched

#define ACCESS(n) \
  PUBLIC void __asan_load##n##_noabort(void* at) { touched::mark(at, n, 0); } \
  PUBLIC void __asan_store##n##_noabort(void* at) { touched::mark(at, n, 1); }
ACCESS(1) ACCESS(2) ACCESS(4) ACCESS(8) ACCESS(16)
PUBLIC void __asan_loadN_noabort(void* at, long n) { touched::mark(at, n, 0); }
PUBLIC void __asan_storeN_noabort(void* at, long n) { touched::mark(at, n, 1); }
PUBLIC void __asan_handle_no_return() {}
PUBLIC void __asan_before_dynamic_init(const void*) {}
PUBLIC void __asan_after_dynamic_init() {}

// Sectors of a piece of memory that have been loaded (store 0) or stored (1).
PUBLIC uint64_t touched_sectors(uint64_t address, uint64_t n_bytes, int store) {
  uint64_t count = 0;
  for (uint64_t sector = address >> 5; n_bytes && sector <= (address + n_bytes - 1) >> 5; ++sector) {
    const touched::Page* page = touched::find(sector >> 7, false);
    if (!page) sector |= 127;
    else count += page->sectors[store][(sector >> 6) & 1] >> (sector & 63) & 1;
  }
  return count;
}

PUBLIC void touched_forget() {
  while (touched::n_used) touched::pages[touched::used[--touched::n_used]] = touched::Page{};
  touched::last = nullptr;
}
