"""CNMF-E on one tile: its way to look for cells, and the rounds of a factorisation with a ring background.

Paper: Zhou et al. 2018, eLife 7:e28728. ``docs/methods/cnmfe.md`` says where this differs and why.
"""

from __future__ import annotations

from functools import partial

from gpucells.factorisation import rounds
from gpucells.methods.cnmfe.initialise import find

solve = partial(rounds.solve, find)
