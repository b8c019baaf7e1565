"""CNMF: non-negative, sparse footprints times traces that obey a calcium response, on a low-rank background."""
