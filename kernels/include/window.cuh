// Position in the movie of a place in the window of a seed.
__device__ __forceinline__ long long pixel_of(const long long* seed, int place, long long side, long long width) {
  return (seed[0] - side / 2 + place / (int)side) * width + seed[1] - side / 2 + place % (int)side;
}
