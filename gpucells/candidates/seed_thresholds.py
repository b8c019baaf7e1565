r"""Thresholds for seeds that come from the movie: where its negative has none.

Cells only go up; noise and background go both ways. The negated movie therefore has the noise and the background of the
movie and no cells, and the local maxima of its images are what chance makes: as many of them pass a pair of thresholds
as of the movie's own do by chance. With :math:`n_+` and :math:`n_-` maxima above both thresholds, the lowest pair is
taken that keeps

.. math:: n_- + 3 \le 0.2 \, n_+ ,

the pair with the most :math:`n_+` where several do (Barber and Candès 2015, Ann. Stat. 43:2055, who have 1 for our 3).

Two things break the symmetry, and are taken out on both sides alike:

- The filter makes a dark surround around a bright cell, and the negated movie a bright one. At the frame at which a
  surround is brightest the cell beside it is several times as bright with the other sign; chance makes both signs about
  equally high. Maxima beside what is half as high again, of the other sign and at that frame, do not count.
- Vessels, the edge of a lens and motion fluctuate much more than the rest. A few of the highest maxima of the negated
  movie are left out together with all within :data:`APART_RADII` of them, if that lets lower thresholds do elsewhere.
  There, seeds have to be half as bright again as what the negated movie has. Whichever maxima were left out because
  they are high, the rest would look better than it is: every second one says what to leave out, the others, counted
  twice, what passes elsewhere.

Where no pair does, half of the seeds may be chance, and 5 stands for the 3: :math:`n_- + 5 \le 0.5 \, n_+`. Nothing is
taken for a cell where hardly anything rises higher than the negated movie does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from gpucells.preprocess.zero_mean_gaussian import SIGMA_RADII, zero_mean_gaussian

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]
_Given = tuple[float | None, float | None]  # the user's own thresholds

# Share of seeds that may be chance (what follows judges each by its footprint and trace), and what is added to the
# number of the negated movie's: it takes fifteen maxima above all of those before thresholds are taken from counts.
STRICT, LENIENT = (0.2, 3), (0.5, 5)
OUTWEIGHED = 1.5  # by as much the other sign has to be higher; symmetric fluctuations have .5 to 1.5, surrounds 2 to 8
SEEN = (
    0.75  # share of the negated movie's maxima that has to be no surround, or it is reckoned what noise alone reaches
)
ABOVE_ALL = 1.25  # times the negated movie's highest peak, where too few stand out to count
APART_RADII = 2.0  # around what fluctuates more than the rest, in cell radii
MOST_APART = 1 / 3  # share of the image that may be set apart
GAIN = 1.1  # by as much the seeds have to become more for it
STEPS, LEVELS = 12, 100  # numbers of maxima to set apart, and thresholds of the correlation, that are tried


@dataclass(frozen=True)
class Peaks:
    """Local maxima of the product of both images.

    Parameters
    ----------
    at : numpy.ndarray
        ``(n, 2)`` row and column, the highest first.
    corr, pnr : numpy.ndarray
        ``(n,)`` values of both images there.
    opposite : numpy.ndarray
        ``(n,)`` how much higher the other sign is around it at the frame of its peak, in the movie's own units.
    """

    at: NDArray[np.int64]
    corr: Float32
    pnr: Float32
    opposite: Float32

    @cached_property
    def counts(self) -> Bool:
        """``(n,)`` bool, those that are no surround."""
        return np.asarray(self.opposite < OUTWEIGHED)

    def some(self, which: Bool) -> Peaks:
        """Return those."""
        return Peaks(self.at[which], self.corr[which], self.pnr[which], self.opposite[which])

    def within(self, area: Bool) -> Bool:
        """``(n,)`` bool, which lie in an area ``(height, width)``."""
        return np.asarray(area[self.at[:, 0], self.at[:, 1]])


@dataclass(frozen=True)
class Thresholds:
    """What a seed has to reach, and what that rests on.

    Parameters
    ----------
    min_corr, min_pnr : float
        Local correlation and peak over noise.
    least : numpy.ndarray
        ``(height, width)`` float32 that the product of both has to be above: 0 but where the movie fluctuates much more
        than elsewhere.
    peaks : Peaks
        Local maxima of the movie.
    null : Peaks
        Local maxima of the negated movie that are no surround of a cell.
    n_hidden : int
        Local maxima of the negated movie that are such surrounds.
    reason : str
        What the thresholds come from, for people.
    warnings : tuple of str
        What the user should know.
    """

    min_corr: float
    min_pnr: float
    least: Float32
    peaks: Peaks
    null: Peaks
    n_hidden: int
    reason: str
    warnings: tuple[str, ...] = ()

    def passed_by(self, corr: Float32, pnr: Float32) -> Bool:
        """``(height, width)`` bool, where images of that size are above all thresholds."""
        above = (corr >= self.min_corr) & (pnr >= self.min_pnr)
        return np.asarray(above & (np.maximum(corr, 0) * np.maximum(pnr, 0) > self.least))

    def passing(self, peaks: Peaks) -> Bool:
        """``(n,)`` bool, which peaks are above all thresholds."""
        above = (peaks.corr >= self.min_corr) & (peaks.pnr >= self.min_pnr)
        return np.asarray(above & (peaks.corr * peaks.pnr > self.least[tuple(peaks.at.T)]))

    @property
    def n_passed(self) -> int:
        """Local maxima of the movie that pass."""
        return int(self.passing(self.peaks).sum())

    @property
    def n_null_passed(self) -> int:
        """Those of the negated movie that pass."""
        return int(self.passing(self.null).sum())


@dataclass(frozen=True)
class _Choice:
    n: int
    min_corr: float
    min_pnr: float


def noise_peak(n_samples: int, radius_px: float) -> float:
    r"""Height that filtered white noise reaches about once in a movie, in units of its noise.

    The expected Euler characteristic of the part of a smooth Gaussian image of :math:`A` px above :math:`z` is
    :math:`A \lambda (2\pi)^{-3/2} z e^{-z^2/2}`, with :math:`\lambda` the variance of its slope (Adler 1981); frames
    add up.

    Parameters
    ----------
    n_samples : int
        Pixels times frames.
    radius_px : float
        Cell radius (px) that the filter is made for.
    """
    kernel = np.pad(zero_mean_gaussian(SIGMA_RADII * radius_px), 1)
    roughness = float((np.diff(kernel, axis=0) ** 2).sum() / (kernel**2).sum())
    scale = n_samples * roughness * (2 * math.pi) ** -1.5
    if scale <= math.exp(0.5):  # z exp(-z^2/2) is largest at 1
        return 1.0
    height = 5.0
    for _ in range(50):  # z = sqrt(2 log(scale z)) contracts by 1/z^2
        height = math.sqrt(2 * math.log(scale * height))
    return height


def choose_thresholds(
    upward: Peaks,
    downward: Peaks,
    inside: Bool,
    radius_px: float,
    floor: float,
    min_corr: float | None = None,
    min_pnr: float | None = None,
) -> Thresholds:
    """Choose thresholds by the maxima of the movie and of its negative.

    Parameters
    ----------
    upward, downward : Peaks
        Of the movie and of its negative.
    inside : numpy.ndarray
        ``(height, width)`` bool, the pixels that count.
    radius_px : float
        Cell radius (px).
    floor : float
        Peak over noise that noise alone reaches.
    min_corr, min_pnr : float, optional
        Kept where given.
    """
    own, null = upward.some(upward.counts), downward.some(downward.counts)
    hidden = len(downward.at) - len(null.at)
    lowest = floor if len(null.at) < SEEN * len(downward.at) or not len(null.at) else 0.0
    warnings: list[str] = []
    given, chance = (min_corr, min_pnr), STRICT
    choice, apart = _with_parts_apart(own, null, inside, radius_px, lowest, floor, given, STRICT)
    if choice is None:
        lowest, chance = max(lowest, floor), LENIENT
        choice, apart = _with_parts_apart(own, null, inside, radius_px, lowest, floor, given, LENIENT)
    if choice is None:
        reason = "the negated movie's peaks are about as many and as high as the movie's: a quarter above the highest"
        if min_corr is None or min_pnr is None:
            warnings.append(
                "hardly anything stands out from what goes down as often as up: no or few cells, or a strong background"
            )
        choice = _above_all(null, lowest, given)
    else:
        reason = f"maxima of the negated movie, which has no cells: {chance[0]:.0%} of the seeds may be chance"
        if chance is LENIENT:
            warnings.append("much goes down as far as up: up to half of the seeds may be chance")
        if lowest and choice.min_pnr < 1.05 * lowest:
            reason = f"what noise alone reaches once in the movie ({lowest:.1f}); the negated movie has less"
        if apart.any():
            reason += f"; {apart[inside].mean():.0%} of the image fluctuates more, seeds there must be brighter"
    if min_corr is not None and min_pnr is not None:
        reason, warnings = "given", []
    least = _least(null, apart, radius_px)
    return Thresholds(choice.min_corr, choice.min_pnr, least, upward, null, hidden, reason, tuple(warnings))


def _with_parts_apart(
    own: Peaks,
    null: Peaks,
    inside: Bool,
    radius_px: float,
    lowest: float,
    floor: float,
    given: _Given,
    chance: tuple[float, int],
) -> tuple[_Choice | None, Bool]:
    """Choose for the whole image, or without what fluctuates most if that gives clearly more seeds."""
    nothing = np.zeros(inside.shape, bool)
    best, best_apart = _choose(own, null, lowest, given, chance), nothing
    if len(null.at) < 4 or (given[0] is not None and given[1] is not None):
        return best, best_apart
    rank = np.arange(len(null.at))
    marks, judges = null.some(rank % 2 == 0), null.some(rank % 2 == 1)
    for n in np.unique(np.geomspace(1, len(marks.at), STEPS).astype(int)):
        apart = _around(marks.at[:n], inside.shape, radius_px)
        if apart[inside].mean() > MOST_APART:
            break
        choice = _choose(
            own.some(~own.within(apart)), judges.some(~judges.within(apart)), max(lowest, floor), given, chance, 2
        )
        if choice is not None and (best is None or choice.n > GAIN * best.n):
            best, best_apart = choice, apart
    return best, best_apart


def _around(at: NDArray[np.int64], shape: tuple[int, int], radius_px: float) -> Bool:
    marks = np.ones(shape, bool)
    marks[tuple(at.T)] = False
    return np.asarray(ndimage.distance_transform_edt(marks) <= APART_RADII * radius_px)


def _choose(
    own: Peaks, null: Peaks, lowest: float, given: _Given, chance: tuple[float, int], each: int = 1
) -> _Choice | None:
    """Return the pair that the most maxima pass while few of the negated movie's do, each of which stands for several.

    None where there is no such pair.
    """
    corr, pnr = given
    usable = own.pnr >= (lowest if pnr is None else pnr)
    order = np.argsort(-own.pnr[usable], kind="stable")
    own_corr, own_pnr = own.corr[usable][order], own.pnr[usable][order]
    best: _Choice | None = None
    for level in _levels(own_corr) if corr is None else [corr]:
        heights = own_pnr[own_corr >= level]
        if not len(heights):
            continue
        if pnr is not None:
            heights = np.append(heights[:0], np.full(len(heights), pnr, np.float32))
        against = np.sort(null.pnr[null.corr >= level])
        n_null = len(against) - np.searchsorted(against, heights)
        n_own = np.arange(1, len(heights) + 1)
        enough = np.flatnonzero(each * (n_null + chance[1]) <= chance[0] * n_own)
        if pnr is not None:
            enough = enough[enough == len(heights) - 1]
        if not len(enough):
            continue
        found = _Choice(int(n_own[enough[-1]]), float(level), float(heights[enough[-1]]))
        # Of pairs that the same number pass the highest.
        if best is None or (found.n, found.min_corr * found.min_pnr) > (best.n, best.min_corr * best.min_pnr):
            best = found
    return best


def _levels(corr: Float32) -> NDArray[np.floating]:
    levels = np.unique(np.maximum(corr, 0))
    return levels if len(levels) <= LEVELS else levels[np.linspace(0, len(levels) - 1, LEVELS).astype(int)]


def _above_all(null: Peaks, floor: float, given: _Given) -> _Choice:
    corr, pnr = given
    if corr is None:
        corr = max(0.0, float(np.median(null.corr))) if len(null.corr) else 0.0
    if pnr is None:
        pnr = max(floor, ABOVE_ALL * float(null.pnr[null.corr >= corr].max(initial=0)))
    return _Choice(0, corr, pnr)


def _least(null: Peaks, apart: Bool, radius_px: float) -> Float32:
    """``(height, width)`` product of both images that a seed has to be above, where parts are set apart."""
    if not apart.any():
        return np.zeros(apart.shape, np.float32)
    heights = np.zeros(apart.shape, np.float32)
    heights[tuple(null.at.T)] = OUTWEIGHED * null.corr * null.pnr
    reach = int(APART_RADII * radius_px)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    widest = ndimage.maximum_filter(heights, footprint=np.hypot(y, x) <= reach, mode="constant")
    return np.where(apart, widest, 0).astype(np.float32)
