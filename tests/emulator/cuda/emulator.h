// CUDA's names for g++: this header goes before an unchanged kernel file. Keywords become macros, threadIdx and its like
// calls of the machine; only __shared__ declarations are rewritten before g++ sees them (source.py).
// Left out on purpose: __activemask, grid-wide sync, inline PTX, cooperative groups. Guard such code by __EMULATOR__.
#pragma once
#define __EMULATOR__ 1
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <type_traits>
#include <utility>
#include "machine.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __managed__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define __builtin_assume(x) ((void)0)
#define __builtin_assume_aligned(p, ...) (p)  // an assumption that g++ would use to hide a misaligned access
#define warpSize 32

// ---- vector types: those of 3 are aligned as one element, as in CUDA
struct int3 { int x, y, z; };
struct float3 { float x, y, z; };
inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }
inline int3 make_int3(int x, int y, int z) { return {x, y, z}; }
inline float3 make_float3(float x, float y, float z) { return {x, y, z}; }
struct dim3 { unsigned x = 1, y = 1, z = 1; };
#define EMULATOR_VECTOR(T, N)                                                   \
  struct alignas(2 * sizeof(T)) N##2 { T x, y; };                               \
  struct alignas(sizeof(T) > 4 ? 16 : 4 * sizeof(T)) N##4 { T x, y, z, w; };    \
  inline N##2 make_##N##2(T x, T y) { return {x, y}; }                          \
  inline N##4 make_##N##4(T x, T y, T z, T w) { return {x, y, z, w}; }
EMULATOR_VECTOR(float, float) EMULATOR_VECTOR(double, double) EMULATOR_VECTOR(int, int)
EMULATOR_VECTOR(unsigned, uint) EMULATOR_VECTOR(short, short) EMULATOR_VECTOR(unsigned short, ushort)
EMULATOR_VECTOR(signed char, char) EMULATOR_VECTOR(unsigned char, uchar)
EMULATOR_VECTOR(long long, longlong) EMULATOR_VECTOR(unsigned long long, ulonglong)

namespace emulator {
template <class To, class From> To bits(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}

enum Direction { FROM, UP, DOWN, XOR };
template <class T> T shuffle(Direction way, const char* file, int line, unsigned mask, T value, int by, int width = 32) {
  static_assert(sizeof(T) <= 8, "a shuffle takes at most 8 bytes");
  const int me = lane(), first = me & -width, last = me | (width - 1);
  int source = me;
  if (way == FROM) source = first | (by & (width - 1));
  if (way == UP && me - by >= first) source = me - by;
  if (way == DOWN && me + by <= last) source = me + by;
  if (way == XOR && (me ^ by) <= last) source = me ^ by;
  uint64_t raw = 0;
  memcpy(&raw, &value, sizeof value);
  raw = warp_collective(SHUFFLE, file, line, mask, raw, source);
  memcpy(&value, &raw, sizeof value);
  return value;
}
template <class T> T reduce(Collective kind, const char* file, int line, unsigned mask, T value) {
  static_assert(std::is_integral_v<T> && sizeof(T) == 4, "__reduce_*_sync takes int or unsigned");
  return (T)warp_collective(kind, file, line, mask, (uint64_t)(int64_t)value);
}
inline void sync_warp(const char* file, int line, unsigned mask = ~0u) { warp_collective(WARP_SYNC, file, line, mask); }

template <class T> T& shared() {
  static char key;
  return *static_cast<T*>(static_shared(&key, sizeof(T), alignof(T)));
}

// Atomics have relaxed order, as CUDA's have: they order nothing but themselves.
template <class T, class Change> T change(T* place, Change to) {
  T old, made;
  __atomic_load(place, &old, __ATOMIC_RELAXED);
  do made = to(old);
  while (!__atomic_compare_exchange(place, &old, &made, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return old;
}

template <class T> struct Is { typedef T type; };
template <class T> void describe(char* text) {  // appends f4 i8 u2 b1, V16 for a struct; [c]*...:alignment for a pointer
  text += strlen(text);
  if constexpr (std::is_pointer_v<T>) {
    typedef std::remove_pointer_t<T> E;
    strcpy(text, std::is_const_v<E> ? "c*" : "*");
    if constexpr (std::is_void_v<E>) strcat(text, "V0:1");
    else {
      describe<std::remove_cv_t<E>>(text);
      sprintf(text + strlen(text), ":%d", (int)alignof(E));
    }
  } else {
    const char kind = std::is_same_v<T, bool> ? 'b' : std::is_floating_point_v<T> ? 'f' : !std::is_integral_v<T> ? 'V'
                    : std::is_signed_v<T> ? 'i' : 'u';
    sprintf(text, "%c%d", kind, (int)sizeof(T));
  }
}
template <auto F> struct Call;
template <class... A, void (*F)(A...)> struct Call<F> {
  template <size_t... I> static void go([[maybe_unused]] void** p, std::index_sequence<I...>) {
    F(*static_cast<std::remove_cv_t<A>*>(p[I])...);
  }
  static void call(void** arguments) { go(arguments, std::index_sequence_for<A...>{}); }
  static void signature(char* text) {
    ((describe<std::remove_cv_t<A>>(text), strcat(text, ",")), ...);
  }
};
}  // namespace emulator

// ---- indices, barriers, warps
#define threadIdx (emulator::thread_index())
#define blockIdx (emulator::block_index())
#define blockDim (emulator::block_size())
#define gridDim (emulator::grid_size())
#define EMULATOR_HERE __FILE__, __LINE__
#define __syncthreads() ((void)emulator::block_collective(emulator::SYNC, 0, EMULATOR_HERE))
#define __syncthreads_count(p) ((int)emulator::block_collective(emulator::SYNC_COUNT, !!(p), EMULATOR_HERE))
#define __syncthreads_and(p) ((int)emulator::block_collective(emulator::SYNC_AND, !!(p), EMULATOR_HERE))
#define __syncthreads_or(p) ((int)emulator::block_collective(emulator::SYNC_OR, !!(p), EMULATOR_HERE))
#define __syncwarp(...) emulator::sync_warp(EMULATOR_HERE, ##__VA_ARGS__)
#define __shfl_sync(...) emulator::shuffle(emulator::FROM, EMULATOR_HERE, __VA_ARGS__)
#define __shfl_up_sync(...) emulator::shuffle(emulator::UP, EMULATOR_HERE, __VA_ARGS__)
#define __shfl_down_sync(...) emulator::shuffle(emulator::DOWN, EMULATOR_HERE, __VA_ARGS__)
#define __shfl_xor_sync(...) emulator::shuffle(emulator::XOR, EMULATOR_HERE, __VA_ARGS__)
#define __ballot_sync(m, p) ((unsigned)emulator::warp_collective(emulator::BALLOT, EMULATOR_HERE, m, !!(p)))
#define __all_sync(m, p) ((int)emulator::warp_collective(emulator::ALL, EMULATOR_HERE, m, !!(p)))
#define __any_sync(m, p) ((int)emulator::warp_collective(emulator::ANY, EMULATOR_HERE, m, !!(p)))
#define __reduce_add_sync(...) emulator::reduce(emulator::ADD, EMULATOR_HERE, __VA_ARGS__)
#define __reduce_min_sync(...) emulator::reduce(emulator::MIN, EMULATOR_HERE, __VA_ARGS__)
#define __reduce_max_sync(...) emulator::reduce(emulator::MAX, EMULATOR_HERE, __VA_ARGS__)
#define __reduce_and_sync(...) emulator::reduce(emulator::BIT_AND, EMULATOR_HERE, __VA_ARGS__)
#define __reduce_or_sync(...) emulator::reduce(emulator::BIT_OR, EMULATOR_HERE, __VA_ARGS__)
#define __reduce_xor_sync(...) emulator::reduce(emulator::BIT_XOR, EMULATOR_HERE, __VA_ARGS__)
#define __threadfence() emulator::fence()
#define __threadfence_block() emulator::fence()
#define __threadfence_system() emulator::fence()
#define __trap() emulator::stop("__trap()", EMULATOR_HERE)
#undef assert
#define assert(x) ((x) ? (void)0 : emulator::stop("assert(" #x ") failed", EMULATOR_HERE))

// ---- minimum and maximum: of a number and NaN the number, as CUDA's
template <class A, class B> std::common_type_t<A, B> min(A a, B b) {
  typedef std::common_type_t<A, B> T;
  if constexpr (std::is_floating_point_v<T>) return (T)fmin((T)a, (T)b);
  else return (T)b < (T)a ? (T)b : (T)a;
}
template <class A, class B> std::common_type_t<A, B> max(A a, B b) {
  typedef std::common_type_t<A, B> T;
  if constexpr (std::is_floating_point_v<T>) return (T)fmax((T)a, (T)b);
  else return (T)a < (T)b ? (T)b : (T)a;
}

// ---- memory
template <class T> T __ldg(const T* p) { return *p; }
template <class T> T __ldcg(const T* p) { return *p; }
template <class T> T __ldcs(const T* p) { return *p; }
template <class T> T __ldca(const T* p) { return *p; }
template <class T> void __stcg(T* p, std::common_type_t<T> v) { *p = v; }
template <class T> void __stcs(T* p, std::common_type_t<T> v) { *p = v; }
template <class T, class U> T atomicAdd(T* p, U v) { return emulator::change(p, [=](T o) { return (T)(o + (T)v); }); }
template <class T, class U> T atomicSub(T* p, U v) { return emulator::change(p, [=](T o) { return (T)(o - (T)v); }); }
template <class T, class U> T atomicMax(T* p, U v) { return emulator::change(p, [=](T o) { return max(o, (T)v); }); }
template <class T, class U> T atomicMin(T* p, U v) { return emulator::change(p, [=](T o) { return min(o, (T)v); }); }
template <class T, class U> T atomicOr(T* p, U v) { return emulator::change(p, [=](T o) { return (T)(o | (T)v); }); }
template <class T, class U> T atomicAnd(T* p, U v) { return emulator::change(p, [=](T o) { return (T)(o & (T)v); }); }
template <class T, class U> T atomicXor(T* p, U v) { return emulator::change(p, [=](T o) { return (T)(o ^ (T)v); }); }
template <class T, class U> T atomicExch(T* p, U v) { return emulator::change(p, [=](T) { return (T)v; }); }
template <class T, class U, class V> T atomicCAS(T* p, U compare, V v) {
  return emulator::change(p, [=](T o) { return o == (T)compare ? (T)v : o; });
}

// ---- arithmetic: CUDA's fast intrinsics are computed exactly here, so their error does not show
// "_rn" of a product or sum is never fused into an FMA; without volatile g++ would fuse it after inlining.
inline float __fmul_rn(float a, float b) { volatile float r = a * b; return r; }
inline float __fadd_rn(float a, float b) { volatile float r = a + b; return r; }
inline float __fsub_rn(float a, float b) { volatile float r = a - b; return r; }
inline double __dmul_rn(double a, double b) { volatile double r = a * b; return r; }
inline double __dadd_rn(double a, double b) { volatile double r = a + b; return r; }
inline double __dsub_rn(double a, double b) { volatile double r = a - b; return r; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float __frsqrt_rn(float a) { return 1.0f / sqrtf(a); }
inline float rsqrtf(float a) { return 1.0f / sqrtf(a); }
inline double rsqrt(double a) { return 1.0 / sqrt(a); }
inline float rsqrt(float a) { return 1.0f / sqrtf(a); }
inline float fdividef(float a, float b) { return a / b; }
inline float __fdividef(float a, float b) { return a / b; }
inline float __saturatef(float a) { return a > 0 ? (a < 1 ? a : 1.0f) : 0.0f; }
inline float __expf(float a) { return expf(a); }
inline float __exp10f(float a) { return powf(10.0f, a); }
inline float __logf(float a) { return logf(a); }
inline float __log2f(float a) { return log2f(a); }
inline float __log10f(float a) { return log10f(a); }
inline float __powf(float a, float b) { return powf(a, b); }
inline float __sinf(float a) { return sinf(a); }
inline float __cosf(float a) { return cosf(a); }
inline float __tanf(float a) { return tanf(a); }
inline int __float_as_int(float a) { return emulator::bits<int>(a); }
inline unsigned __float_as_uint(float a) { return emulator::bits<unsigned>(a); }
inline float __int_as_float(int a) { return emulator::bits<float>(a); }
inline float __uint_as_float(unsigned a) { return emulator::bits<float>(a); }
inline long long __double_as_longlong(double a) { return emulator::bits<long long>(a); }
inline double __longlong_as_double(long long a) { return emulator::bits<double>(a); }
// CUDA's conversions to integers saturate; a plain cast that overflows is undefined and the sanitizer reports it.
inline int __float2int_rz(float a) {
  return a >= 2147483648.0f ? 2147483647 : a <= -2147483648.0f ? -2147483647 - 1 : a == a ? (int)a : 0;
}
inline int __float2int_rn(float a) { return __float2int_rz(nearbyintf(a)); }
inline int __float2int_rd(float a) { return __float2int_rz(floorf(a)); }
inline int __float2int_ru(float a) { return __float2int_rz(ceilf(a)); }
inline unsigned __float2uint_rz(float a) { return a >= 4294967296.0f ? ~0u : a > 0 ? (unsigned)a : 0u; }
inline unsigned __float2uint_rn(float a) { return __float2uint_rz(nearbyintf(a)); }
inline float __int2float_rn(int a) { return (float)a; }
inline float __uint2float_rn(unsigned a) { return (float)a; }
inline float __double2float_rn(double a) { return (float)a; }
inline int __popc(unsigned a) { return __builtin_popcount(a); }
inline int __popcll(unsigned long long a) { return __builtin_popcountll(a); }
inline int __clz(int a) { return a ? __builtin_clz((unsigned)a) : 32; }
inline int __clzll(long long a) { return a ? __builtin_clzll((unsigned long long)a) : 64; }
inline int __ffs(int a) { return __builtin_ffs(a); }
inline int __ffsll(long long a) { return __builtin_ffsll(a); }
inline unsigned __brev(unsigned a) {
  unsigned r = 0;
  for (int i = 0; i < 32; ++i) r |= (a >> i & 1) << (31 - i);
  return r;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }
inline int __mulhi(int a, int b) { return (int)((long long)a * b >> 32); }
