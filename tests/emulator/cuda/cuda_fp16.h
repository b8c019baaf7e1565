// What kernels need of NVIDIA's header of the same name: half as storage, converted to float in registers.
#pragma once

struct alignas(2) __half {
  _Float16 value;
  __half() = default;
  explicit __half(float from) : value((_Float16)from) {}
  explicit operator float() const { return (float)value; }
};
typedef __half half;
struct alignas(4) __half2 { __half x, y; };
typedef __half2 half2;

inline float __half2float(__half a) { return (float)a.value; }
inline __half __float2half(float a) { return __half(a); }
inline __half __float2half_rn(float a) { return __half(a); }
inline float2 __half22float2(__half2 a) { return {__half2float(a.x), __half2float(a.y)}; }
inline __half2 __floats2half2_rn(float x, float y) { return {__half(x), __half(y)}; }
inline __half2 __float22half2_rn(float2 a) { return {__half(a.x), __half(a.y)}; }
inline float __low2float(__half2 a) { return __half2float(a.x); }
inline float __high2float(__half2 a) { return __half2float(a.y); }

namespace emulator {
template <> inline void describe<__half>(char* text) { strcat(text, "f2"); }
}
