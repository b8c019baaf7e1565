"""EXTRACT: robust estimation of cells (Inan, Erdogdu & Schnitzer 2017; Inan, Dinc et al. 2021)."""
