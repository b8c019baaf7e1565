"""How wide the cells of a movie are: trial widths, until trial and measure agree.

A filter made for smaller cells cuts a cell down but leaves it wider than the trial; one made for larger cells shows it
whole and thus narrower than the trial. So of all trials the one that counts is that whose spots are as wide as it is,
and of several such (boutons, cells, patches of neuropil) the one whose spots carry the most signal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpucells.preprocess.probe_frames import ProbeFrames
from gpucells.preprocess.probe_spots import Spots, find_spots, weighted_median

Float64 = NDArray[np.float64]

TRIALS_PX = tuple(2.2 * 1.4**i for i in range(11))  # 2.2 to 64 px
LARGEST_SHARE = 0.5  # of the image's shorter side that a cell may take
AGREEMENT = 0.25  # standard deviation of ln(width/trial) that still counts as agreement
ALIKE = 1.5  # a spot counts for the result if it is at most this factor wider or narrower than the trial
PLATEAU = 0.75  # of the largest support: among trials that carry as much, the widest, as boutons are no cells
RIVAL = 0.7  # of the largest support: as much at another width leaves doubt
ROUNDS = 3  # refinements of the trial
SETTLED = 0.04  # ln(width/trial) that needs no further round
STEP = 1.5  # a wrong trial pulls the measure about a third of the way along, so the trial moves this much farther


@dataclass(frozen=True)
class Size:
    """Width of cells, and what it rests on.

    Parameters
    ----------
    diameter_px : float
        Width (px).
    spots : Spots
        Of the last trial, those about as wide as it.
    rival_px : float or None
        Another width, about twice or half as large or beyond, at which spots stand out about as much.
    """

    diameter_px: float
    spots: Spots
    rival_px: float | None


def find_size(probe: ProbeFrames) -> Size | None:
    """Find the width that the spots found with it confirm; None where there are no spots."""
    largest = max(TRIALS_PX[0], LARGEST_SHARE * min(probe.inside.shape))
    found = [find_spots(probe, trial) for trial in TRIALS_PX if trial <= largest]
    found = [spots for spots in found if spots.peaks.any()]
    if not found:
        return None
    support = [_support(spots) for spots in found]
    best = int(np.argmax(support))
    while best + 1 < len(found) and support[best + 1] > PLATEAU * max(support):
        best += 1
    diameter_px, spots = _refine(probe, found[best], largest)
    rivals = [
        (amount, other.trial_px)
        for amount, other in zip(support, found, strict=True)
        if amount > RIVAL * max(support) and abs(np.log(other.trial_px / diameter_px)) > np.log(1.9)
    ]
    return Size(diameter_px, spots, max(rivals)[1] if rivals else None)


def _support(spots: Spots) -> float:
    """Signal energy of the spots, each by how well it agrees with the trial."""
    if not len(spots.widths_px):
        return 0.0
    off = np.log(spots.widths_px / spots.trial_px) / AGREEMENT
    return float((np.exp(-(off**2) / 2) * spots.peaks**2).sum())


def _refine(probe: ProbeFrames, spots: Spots, largest: float) -> tuple[float, Spots]:
    for round_ in range(ROUNDS + 1):
        alike = pick(spots, np.abs(np.log(spots.widths_px / spots.trial_px)) <= np.log(ALIKE))
        if not alike.peaks.any():
            alike = spots
        width = weighted_median(alike.widths_px, alike.peaks)
        error = np.log(width / spots.trial_px)
        trial = float(np.clip(spots.trial_px * np.exp(STEP * error), TRIALS_PX[0], largest))
        if abs(error) < SETTLED or round_ == ROUNDS or trial == spots.trial_px:
            break
        following = find_spots(probe, trial)
        if not following.peaks.any():
            break
        spots = following
    return width, alike


def pick(spots: Spots, which: NDArray[np.bool_]) -> Spots:
    """Return some of the spots."""
    return Spots(
        spots.trial_px, spots.pitch, spots.centres[which], spots.images[which], spots.widths_px[which],
        spots.peaks[which],
    )  # fmt: skip
