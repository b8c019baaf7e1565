"""How wide the cells of a movie are: trial widths, until trial and measure agree.

A filter made for smaller cells cuts a cell down but leaves it wider than the trial; one made for larger cells shows it
whole and thus narrower than the trial. So of all trials the one that counts is that whose spots are as wide as it is,
and of several such (boutons, cells, patches of neuropil) the one whose spots carry the most signal.

Many spots are evidence, one is not: a vessel that moves or a patch of background may outshine all cells together. So a
spot carries its amplitude and not its energy, hardly anything if it goes down nearly as far as up, and no more than the
third strongest at its trial. Amplitudes count times the width: counting alone would prefer boutons, of which more
fit, by the square of the width, and the area that spots cover would prefer patches by as much.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpucells.preprocess.probe_frames import ProbeFrames
from gpucells.preprocess.probe_spots import LOWEST_PEAK, Spots, find_spots, weighted_median

Float64 = NDArray[np.float64]

TRIALS_PX = tuple(2.2 * 1.4**i for i in range(11))  # 2.2 to 64 px
LARGEST_SHARE = 0.5  # of the image's shorter side that a cell may take
AGREEMENT = 0.25  # standard deviation of ln(width/trial) that still counts as agreement
ALIKE = 1.5  # a spot counts for the result if it is at most this factor wider or narrower than the trial
EVIDENCE = 3  # spots that make a width credible: no spot carries more than this one, counted from the strongest
RIVAL = 0.7  # of the largest support: as much at another width leaves doubt
RISE_POWER = 3  # how sharply: cells rise by .6 to .9, drifting background by .5 and less
CLEAR_RISE = 0.5  # a spot that stands out goes up three times as far as down: with its noise, a faint cell does so
LONE_RISE = 0.6  # where no three stand out, the strongest goes up four times as far as down or is no cell
LOW = 0.4  # of the largest support: two trials in a row below it, and the cells are wider than that
MANY = 5.0  # agreeing spots without which no trial is left out
ROUNDS = 3  # refinements of the trial
KEPT = 0.6  # of the support, or the refinement follows a few spots away from the many
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
    lone : bool
        Whether one or two spots are all that stands out.
    """

    diameter_px: float
    spots: Spots
    rival_px: float | None
    lone: bool


def find_size(probe: ProbeFrames) -> Size | None:
    """Find the width that the spots found with it confirm; None where there is no such spot."""
    largest = max(TRIALS_PX[0], LARGEST_SHARE * min(probe.inside.shape))
    found = _try(probe, [trial for trial in TRIALS_PX if trial <= largest])
    if not any((_agreement(spots) * spots.peaks).max() > LOWEST_PEAK for spots in found):
        return None
    support = supports(found)
    best = found[int(support.argmax())]
    lone = not _many_stand_out(found)
    if lone and best.rises[np.argmax(_agreement(best) * best.peaks)] < LONE_RISE:
        return None
    diameter_px, spots = _refine(probe, best, largest)
    for index in np.argsort(-support)[1:]:
        if lone or len(spots.peaks) >= EVIDENCE or support[index] < LOW * support.max():
            break
        # The spots fell apart on a closer look: the next best width, if it keeps as many.
        other_px, others = _refine(probe, found[index], largest)
        if len(others.peaks) >= EVIDENCE:
            diameter_px, spots = other_px, others
    rivals = [
        (amount, other.trial_px)
        for amount, other in zip(support, found, strict=True)
        if amount > RIVAL * support.max() and abs(np.log(other.trial_px / diameter_px)) > np.log(1.9)
    ]
    return Size(diameter_px, spots, max(rivals)[1] if rivals else None, lone)


def _try(probe: ProbeFrames, trials_px: list[float]) -> list[Spots]:
    """Spots at each trial that has any, narrowest first; from the widest down, as the narrow ones take the time."""
    found: list[Spots] = []
    for trial in reversed(trials_px):
        spots = find_spots(probe, trial)
        if len(spots.peaks):
            found.insert(0, spots)
        if spots.pitch == 1 and len(found) > 2:
            support = supports(found)
            enough = _agreement(found[int(support.argmax())]).sum() >= MANY
            if enough and (support[:2] < LOW * support.max()).all():
                break
    return found


def _agreement(spots: Spots) -> Float64:
    """How well each spot agrees with the trial, 0 to 1."""
    return np.asarray(np.exp(-((np.log(spots.widths_px / spots.trial_px) / AGREEMENT) ** 2) / 2), np.float64)


def _carried(spots: Spots) -> Float64:
    """Return what each spot carries, in units of the noise, strongest first."""
    return np.sort(_agreement(spots) * spots.peaks * spots.rises**RISE_POWER)[::-1]


def _many_stand_out(found: list[Spots]) -> bool:
    """Whether any trial has the spots that make a width credible."""
    clear = ((_agreement(spots) * spots.peaks > LOWEST_PEAK) & (spots.rises > CLEAR_RISE) for spots in found)
    return any(which.sum() >= EVIDENCE for which in clear)


def supports(found: list[Spots]) -> Float64:
    """Return what the spots at each trial carry together, each by how well it agrees with the trial.

    Parameters
    ----------
    found : list of Spots
        One a trial, none empty.

    Returns
    -------
    numpy.ndarray
        ``(n_trials,)`` in units of the noise and px.
    """
    carried = [_carried(spots) for spots in found]
    if _many_stand_out(found):  # elsewhere one or two are the best there is
        limits = [amounts[EVIDENCE - 1] if len(amounts) >= EVIDENCE else 0.0 for amounts in carried]
        carried = [np.minimum(amounts, limit) for amounts, limit in zip(carried, limits, strict=True)]
    return np.asarray([c.sum() * spots.trial_px for c, spots in zip(carried, found, strict=True)], np.float64)


def _refine(probe: ProbeFrames, spots: Spots, largest: float) -> tuple[float, Spots]:
    first = spots
    for round_ in range(ROUNDS + 1):
        alike = spots.pick(np.abs(np.log(spots.widths_px / spots.trial_px)) <= np.log(ALIKE))
        if not len(alike.peaks):
            alike = spots
        width = _typical(alike)
        error = np.log(width / spots.trial_px)
        trial = float(np.clip(spots.trial_px * np.exp(STEP * error), TRIALS_PX[0], largest))
        if abs(error) < SETTLED or round_ == ROUNDS or trial == spots.trial_px:
            break
        following = find_spots(probe, trial)
        if not len(following.peaks):
            break
        kept, before = supports([following, first])
        if kept < KEPT * before:
            break
        spots = following
    return width, alike


def _typical(spots: Spots) -> float:
    """Width in the middle, of whole spots where there are enough: what the border cuts is narrower."""
    if spots.whole.sum() >= EVIDENCE:
        spots = spots.pick(spots.whole)
    return weighted_median(spots.widths_px, spots.weights)
