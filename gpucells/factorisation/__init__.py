"""Constrained matrix factorisation: the rounds, updates and background that CNMF and CNMF-E share."""
