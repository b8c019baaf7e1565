"""What a movie says of itself before a run: how wide and how slow its cells are, and where they may be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpucells.candidates.corr_pnr import CorrPnr, find_seeds, near_px
from gpucells.candidates.seed_thresholds import Thresholds
from gpucells.factorisation.state import State
from gpucells.io.open_movie import open_movie
from gpucells.methods.cnmfe.initialise import seed_images
from gpucells.methods.cnmfe.settings import CnmfeSettings
from gpucells.methods.registry import MethodSettings, find_method
from gpucells.model.movie import Movie
from gpucells.ops.fold_frames import PixelSummary, fold_frames
from gpucells.ops.pixel_levels import row_quantile
from gpucells.preprocess.noise_units import to_noise_units
from gpucells.progress import Event, ProgressSink, silent
from gpucells.settings import RunSettings
from gpucells.tiles.look import Look
from gpucells.tiles.plan import FirstLook, frames_to_average, look_first

Float32 = NDArray[np.float32]

STAGE = "estimate"
STEPS = 4  # reading, background, images and thresholds, seeds


@dataclass(frozen=True)
class MovieEstimate:
    """What some frames of a movie tell.

    Parameters
    ----------
    source : str
        The movie's name.
    n_frames, n_frames_seen : int
        Of the movie, and those that this rests on.
    frame_rate_hz : float or None
        Where known.
    cell_diameter_px : float
        Width of a cell (px), given or estimated.
    diameter_given : bool
        Whether the user said it.
    n_spots : int
        Bright spots that diameter and decay rest on.
    decay_frames : float
        1/e decay of transients (frames).
    frames_to_average : int
        Frames averaged into one while cells are found.
    images : CorrPnr
        Local correlation and peak over noise, ``(height, width)`` each.
    thresholds : Thresholds
        ``min_corr`` and ``min_pnr``, and what they rest on.
    seeds : numpy.ndarray
        ``(n_seeds, 2)`` row and column of what passes them, the brightest first.
    warnings : tuple of str
        What the user should know.
    """

    source: str
    n_frames: int
    n_frames_seen: int
    frame_rate_hz: float | None
    cell_diameter_px: float
    diameter_given: bool
    n_spots: int
    decay_frames: float
    frames_to_average: int
    images: CorrPnr
    thresholds: Thresholds
    seeds: NDArray[np.int64]
    warnings: tuple[str, ...]

    @property
    def decay_s(self) -> float | None:
        """1/e decay of transients (s); None where the frame rate is not known."""
        return None if self.frame_rate_hz is None else self.decay_frames / self.frame_rate_hz

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers by name, for programs."""
        return {
            "source": self.source,
            "n_frames": self.n_frames,
            "n_frames_seen": self.n_frames_seen,
            "frame_rate_hz": self.frame_rate_hz,
            "cell_diameter_px": self.cell_diameter_px,
            "decay_frames": self.decay_frames,
            "decay_s": self.decay_s,
            "n_spots": self.n_spots,
            "frames_to_average": self.frames_to_average,
            "min_corr": self.thresholds.min_corr,
            "min_pnr": self.thresholds.min_pnr,
            "reason": self.thresholds.reason,
            "n_seeds": len(self.seeds),
            "seeds": self.seeds.tolist(),
            "warnings": list(self.warnings),
        }

    def rows(self) -> list[tuple[str, str, str]]:
        """Name, value and what it rests on, for people."""
        spots = f"{self.n_spots} bright spots" if self.n_spots else "assumed"
        decay = f"{self.decay_frames:.1f} frames"
        decay += ", frame rate not known" if self.decay_s is None else f", {self.decay_s:.2f} s"
        found, limits = len(self.seeds), self.thresholds
        return [
            ("cell diameter", f"{self.cell_diameter_px:.1f} px", "given" if self.diameter_given else spots),
            ("transient decay", decay, f"1/e, {spots}"),
            ("frames to average", f"{self.frames_to_average}", "as many as the decay allows"),
            ("min_corr", f"{limits.min_corr:.2f}", limits.reason),
            ("min_pnr", f"{limits.min_pnr:.1f}", limits.reason),
            ("seeds", f"{found}", f"of {len(limits.peaks.at)} local maxima; {self._chance()}"),
            ("frames seen", f"{self.n_frames_seen} of {self.n_frames}", "the peak of more frames is higher"),
        ]

    def _chance(self) -> str:
        null = self.thresholds.null
        return f"{self.thresholds.n_null_passed} of {len(null.at)} of the negated movie would pass, by chance"


def estimate_movie(
    movie: Movie | str | Path | NDArray[Any] | list[str | Path],
    run: RunSettings | None = None,
    method: str = "extract",
    settings: dict[str, Any] | None = None,
    min_corr: float | None = None,
    min_pnr: float | None = None,
    progress: ProgressSink = silent,
    **run_overrides: Any,
) -> MovieEstimate:
    """Estimate cell diameter, decay and thresholds for seeds from some frames of a movie.

    Parameters
    ----------
    movie : Movie, path, array, or list of paths
        Anything :func:`gpucells.open_movie` takes.
    run, method, settings
        As in :func:`gpucells.extract_cells`; of the method only what it says about averaging.
    min_corr, min_pnr : float, optional
        Thresholds of the user's own; the seeds are then those that pass them.
    progress : ProgressSink
        Told of every step.
    **run_overrides
        Fields of :class:`gpucells.settings.RunSettings`, such as ``cell_diameter_px=12``.

    Raises
    ------
    InputError, SettingsError
    """
    chosen = (run or RunSettings.from_values({})).changed(**run_overrides)
    averaging = find_method(method).settings(chosen.preset, dict(settings or {}))
    if not isinstance(movie, Movie):
        with open_movie(movie, frame_rate_hz=chosen.frame_rate_hz, pixel_size_um=chosen.pixel_size_um) as opened:
            return _estimate(opened, chosen, averaging, (min_corr, min_pnr), progress)
    return _estimate(movie, chosen, averaging, (min_corr, min_pnr), progress)


def _estimate(
    movie: Movie,
    run: RunSettings,
    settings: MethodSettings,
    given: tuple[float | None, float | None],
    progress: ProgressSink,
) -> MovieEstimate:
    def tell(done: int) -> None:
        progress(Event(STAGE, done, STEPS, "steps"))

    tell(0)
    first = look_first(movie, run)
    factor = frames_to_average(settings, first.estimated.decay_frames, movie.n_frames)
    tell(1)
    averaged = _averaged(first.seen, factor)
    radius = first.estimated.diameter_px / 2
    state = State.of(to_noise_units(averaged, first.inside, 0.5), radius, CnmfeSettings.for_preset("one_photon", {}))
    tell(2)
    _, _, images, thresholds = seed_images(state.residual(out=state.units.movie), state, *given)
    tell(3)
    seeds = find_seeds(images, thresholds, radius, near_px(radius))
    tell(4)
    return _as_estimate(movie, run, first, factor, images, thresholds, seeds)


def _averaged(seen: Look, factor: int) -> Float32:
    """``(height, width, n)`` averages, each block about its own baseline: what fades between two is no signal."""
    shape = seen.frames.shape[1:]
    stops = [*seen.starts[1:], len(seen.frames)]
    blocks = [seen.frames[start:stop] for start, stop in zip(seen.starts, stops, strict=True)]
    factor = max(1, min(factor, *(len(block) for block in blocks)))
    counts = [len(block) // factor for block in blocks]
    pixels, first = np.empty((int(np.prod(shape)), sum(counts)), np.float32), 0
    for block, count in zip(blocks, counts, strict=True):
        fold_frames(block[: count * factor], factor, pixels, first, PixelSummary.empty(len(pixels)))
        if len(blocks) > 1:
            part = pixels[:, first : first + count]
            part -= row_quantile(part, 0.5)[:, None]
        first += count
    return pixels.reshape(*shape, -1)


def _as_estimate(
    movie: Movie,
    run: RunSettings,
    first: FirstLook,
    factor: int,
    images: CorrPnr,
    thresholds: Thresholds,
    seeds: NDArray[np.int64],
) -> MovieEstimate:
    warnings = first.warnings + thresholds.warnings
    if not len(seeds):
        warnings += ("no seed passes the thresholds",)
    return MovieEstimate(
        movie.source, movie.n_frames, len(first.seen.frames), movie.frame_rate_hz, first.estimated.diameter_px,
        run.cell_diameter_px is not None, first.estimated.n_seeds, first.estimated.decay_frames, factor, images,
        thresholds, seeds, warnings,
    )  # fmt: skip
