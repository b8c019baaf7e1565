def deconvolve_cuda(*a): raise NotImplementedError
