"""CNMF: constrained non-negative matrix factorisation (Pnevmatikakis et al. 2016; Giovannucci et al. 2019)."""
