"""CNMF-E: constrained matrix factorisation for one-photon movies (Zhou et al. 2018)."""
