"""Cell diameter and transient decay from a few hundred frames of a movie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpucells.errors import InputError
from gpucells.preprocess.probe_decay import decay, spot_trace
from gpucells.preprocess.probe_size import Spots, find_spots

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]

FALLBACK_DIAMETER_PX = 12.0  # EXTRACT's default average radius is 6 px
FALLBACK_DECAY_FRAMES = 10.0  # half a second at 20 Hz: GCaMP6f at a usual rate
SMALLEST_DIAMETER_PX = 2.0
TRIALS_PX = (3.0, 4.5, 7.0, 10.5, 16.0, 24.0, 36.0, 54.0)
FRAMES = 250  # averaged frames that size is measured on
MOST_AVERAGED = 4  # frames averaged into one: still shorter than most transients
FEW_SPOTS = 5  # below this the estimate is said to rest on few


@dataclass(frozen=True)
class Estimate:
    """What a movie says of itself.

    Parameters
    ----------
    diameter_px : float
        Width of a typical cell: of the disc with the area of its part above .3 of its maximum (px).
    decay_frames : float
        1/e decay time of transients (frames).
    n_seeds : int
        Bright spots that the estimate rests on; 0 where both numbers are defaults.
    warnings : tuple of str
        What the user should know.
    """

    diameter_px: float
    decay_frames: float
    n_seeds: int
    warnings: tuple[str, ...]


def estimate(frames: Float32, inside: Bool, diameter_px: float | None = None) -> Estimate:
    """Estimate the width of cells and the decay of their transients.

    Parameters
    ----------
    frames : numpy.ndarray
        ``(n_frames, height, width)`` consecutive frames in any unit, a few hundred to 1500; float32.
    inside : numpy.ndarray
        ``(height, width)`` bool, pixels that carry signal.
    diameter_px : float, optional
        Width of a cell, where known; then only the decay is estimated.

    Returns
    -------
    Estimate

    Raises
    ------
    InputError
        Frames that are no movie, or a mask of another shape.
    """
    if frames.ndim != 3 or inside.shape != frames.shape[1:]:
        raise InputError(
            f"frames have shape {frames.shape}, the mask {inside.shape}",
            "give (n_frames, height, width) and (height, width)",
        )
    slow = _average_frames(frames, inside)
    warnings: list[str] = []
    if diameter_px is None:
        spots = _search(slow, inside)
        diameter_px = max(SMALLEST_DIAMETER_PX, float(np.median(spots.widths_px))) if spots else FALLBACK_DIAMETER_PX
        if spots is None:
            warnings.append(
                f"no spots stand out: cell diameter {FALLBACK_DIAMETER_PX:g} px assumed; set cell_diameter_px"
            )
    else:
        spots = find_spots(slow, inside, diameter_px)
    n_seeds = len(spots.widths_px) if spots else 0
    decays = np.full(1, np.nan)
    if spots is not None and n_seeds:
        clean = np.where(np.isfinite(frames), frames, 0)
        traces = [
            spot_trace(clean, seed, image, spots.pitch, diameter_px)
            for seed, image in zip(spots.fits.seeds, spots.fits.images, strict=True)
        ]
        decays = decay(np.stack(traces))
    known = decays[np.isfinite(decays)]
    decay_frames = float(np.median(known)) if len(known) else FALLBACK_DECAY_FRAMES
    if not len(known):
        warnings.append(f"no transients stand out: a decay of {FALLBACK_DECAY_FRAMES:g} frames assumed")
    elif n_seeds < FEW_SPOTS:
        warnings.append(f"the estimates rest on {n_seeds} bright spots only")
    return Estimate(float(diameter_px), max(1.0, decay_frames), n_seeds, tuple(warnings))


def _average_frames(frames: Float32, inside: Bool) -> Float32:
    """Average a few frames into one, take each pixel's median off, empty what is outside or not finite."""
    n_averaged = max(1, min(MOST_AVERAGED, len(frames) // FRAMES))
    n_frames = len(frames) // n_averaged
    parts = frames[: n_frames * n_averaged].reshape(n_frames, n_averaged, *frames.shape[1:])
    slow = parts.mean(axis=1, dtype=np.float32)
    if len(slow):
        slow -= np.median(slow, axis=0)
    slow[:, ~inside] = 0
    return np.asarray(np.nan_to_num(slow, copy=False, nan=0.0, posinf=0.0, neginf=0.0))


def _search(slow: Float32, inside: Bool) -> Spots | None:
    """Find the trial width that what is measured with it confirms."""
    found: list[Spots] = []
    for trial in TRIALS_PX:
        if trial > 3 and trial > 0.5 * min(inside.shape):
            break
        spots = find_spots(slow, inside, trial)
        if len(spots.widths_px):
            found.append(spots)
    if not found:
        return None
    trials = np.log([spots.diameter_px for spots in found])
    excess = np.log([float(np.median(spots.widths_px)) for spots in found]) - trials
    crossings = [i for i in range(len(found) - 1) if excess[i] > 0 >= excess[i + 1]]
    if not crossings:
        return found[0] if excess[0] <= 0 else found[-1]
    i = max(crossings, key=lambda i: len(found[i].widths_px))
    step = excess[i] / (excess[i] - excess[i + 1])
    crossing = float(np.exp(trials[i] + step * (trials[i + 1] - trials[i])))
    final = find_spots(slow, inside, crossing)
    return final if len(final.widths_px) else found[i]
