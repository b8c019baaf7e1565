"""Cell diameter and transient decay from a few hundred frames of a movie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpucells.errors import InputError
from gpucells.preprocess.probe_decay import find_decay
from gpucells.preprocess.probe_frames import ProbeFrames
from gpucells.preprocess.probe_size import find_size
from gpucells.preprocess.probe_spots import find_spots

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]

FALLBACK_DIAMETER_PX = 12.0  # EXTRACT's default average radius is 6 px
FALLBACK_DECAY_FRAMES = 10.0  # half a second at 20 Hz: GCaMP6f at a usual rate
SMALLEST_DIAMETER_PX = 2.0
FEW_SPOTS = 5  # below this the estimate is said to rest on few


@dataclass(frozen=True)
class Estimate:
    """What a movie says of itself.

    Parameters
    ----------
    diameter_px : float
        Width of a typical cell: of the disc with the area of its part above .3 of its maximum, where a person draws the
        edge (px). That is 1.3 times the width at half maximum of a blurred, Gaussian cell, and hardly more than that of
        a sharp one.
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


def estimate(
    frames: NDArray[Any], inside: Bool, diameter_px: float | None = None, starts: Sequence[int] = (0,)
) -> Estimate:
    """Estimate the width of cells and the decay of their transients.

    Parameters
    ----------
    frames : numpy.ndarray
        ``(n_frames, height, width)`` frames in any unit, a few hundred to 1500: blocks of consecutive ones.
    inside : numpy.ndarray
        ``(height, width)`` bool, pixels that carry signal.
    diameter_px : float, optional
        Width of a cell, where known; then only the decay is estimated.
    starts : sequence of int
        First frame of each block, the first 0. Every block has its own baseline, and nothing is averaged, differenced
        or correlated from one block to the next, but for the noise: of its differences over n frames 2 span a join,
        which the median leaves alone.

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
    probe = ProbeFrames(frames, inside, starts)
    warnings: list[str] = []
    size = None
    if diameter_px is None:
        size = find_size(probe)
        diameter_px = FALLBACK_DIAMETER_PX if size is None else max(SMALLEST_DIAMETER_PX, size.diameter_px)
        spots = None if size is None else size.spots
        if size is None:
            warnings.append(f"no bright spots stand out: cells of {diameter_px:g} px assumed; set cell_diameter_px")
        elif size.rival_px is not None:
            warnings.append(
                f"spots of {diameter_px:.1f} px and of {size.rival_px:.1f} px stand out alike; the former are taken "
                "for cells: set cell_diameter_px if that is wrong"
            )
    else:
        spots = find_spots(probe, diameter_px)
    n_seeds = 0 if spots is None else len(spots.widths_px)
    decay_frames = np.nan if spots is None else find_decay(frames, inside, spots, diameter_px, starts)
    if not np.isfinite(decay_frames):
        decay_frames = FALLBACK_DECAY_FRAMES
        warnings.append(f"no transients stand out: a decay of {decay_frames:g} frames assumed")
    elif size is not None and size.lone:
        warnings.append("cell diameter and decay are estimated from one or two bright spots only")
    elif n_seeds < FEW_SPOTS:
        warnings.append(f"cell diameter and decay are estimated from {n_seeds} bright spots only")
    return Estimate(float(diameter_px), max(1.0, float(decay_frames)), n_seeds, tuple(warnings))
