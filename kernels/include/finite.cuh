#define LARGEST 3.4028235e38f  // finite number of single precision; NVRTC has no FLT_MAX and no INFINITY

// What is not finite counts as 0: a lost frame must not spoil what is summed up over its neighbours.
__device__ __forceinline__ float finite_or_zero(float value) { return fabsf(value) <= LARGEST ? value : 0.0f; }
