"""CNMF on one tile: its way to look for cells, and the rounds of a factorisation.

Papers: Pnevmatikakis et al. 2016, Neuron 89:285; Friedrich, Zhou & Paninski 2017, PLoS Comput Biol 13:e1005423.
``docs/methods/cnmf.md`` says where this differs and why.
"""

from __future__ import annotations

from functools import partial

from gpucells.factorisation import rounds
from gpucells.methods.cnmf.initialise import find

solve = partial(rounds.solve, find)
