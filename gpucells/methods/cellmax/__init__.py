"""CELLMax-style EM: an independent maximum-likelihood method (``docs/methods/cellmax.md``)."""
