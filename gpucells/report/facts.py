"""What the picture and the page say, worked out once for both."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.errors import InputError
from gpucells.model.cells import Cells, Float32
from gpucells.model.truth import Truth
from gpucells.postprocess.match import score_cells

TruthLike: TypeAlias = "Truth | sparse.csr_array"

#: Names under which a method may keep its signal-to-noise ratio, best first.
_SNR_NAMES = ("snr", "trace_snr", "temporal_snr", "peak_snr")
#: Rows of noise to work on at once, in samples: 64 MB of float32.
_BLOCK_SAMPLES = 1 << 24


@dataclass(frozen=True)
class Marks:
    """How accepted cells compare with true ones.

    Parameters
    ----------
    footprints : scipy.sparse.csr_array
        ``(n_true, n_pixels)``.
    missed : numpy.ndarray
        Rows of ``footprints`` that no accepted cell matches.
    false : numpy.ndarray
        Accepted cells, as numbers in the result, that match no true one.
    figures : tuple of (str, str)
        Name and value, to show.
    """

    footprints: sparse.csr_array
    missed: NDArray[np.int64]
    false: NDArray[np.int64]
    figures: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Facts:
    """A result and what there is to say about it.

    Parameters
    ----------
    cells : Cells
        The result.
    title : str
        The movie's name, or what the caller wants above.
    noise : numpy.ndarray
        ``(n_cells,)`` standard deviation of each trace's noise, in the trace's unit; never 0.
    snr : numpy.ndarray
        ``(n_cells,)`` the method's own where it has one, else peak over noise; NaN counts as 0.
    order : numpy.ndarray
        All cells, best SNR first.
    thresholds : dict
        Measure to ``(lowest, highest)`` accepted value, None where the settings have none.
    reasons : tuple of (str, int)
        Reason of rejection and how many cells it met, most frequent first.
    marks : Marks or None
        Comparison with the truth, where there is one.
    """

    cells: Cells
    title: str
    noise: Float32
    snr: Float32
    order: NDArray[np.int64]
    thresholds: dict[str, tuple[float | None, float | None]]
    reasons: tuple[tuple[str, int], ...]
    marks: Marks | None

    @property
    def accepted(self) -> NDArray[np.int64]:
        """Accepted cells, best SNR first."""
        return self.order[self.cells.accepted[self.order]]

    @property
    def rejected(self) -> NDArray[np.int64]:
        """Rejected cells, best SNR first."""
        return self.order[~self.cells.accepted[self.order]]

    @property
    def measures(self) -> list[str]:
        """Names of the quality measures, the signal-to-noise ratio first (files keep them in alphabetical order)."""
        return sorted(self.cells.quality, key=lambda name: name not in _SNR_NAMES)

    @property
    def subtitle(self) -> str:
        """One line on the movie and the run."""
        cells = self.cells
        height, width = cells.image_shape
        length = f"{cells.n_frames:,} frames"
        if cells.frame_rate_hz:
            length += f" ({duration(cells.n_frames / cells.frame_rate_hz)} at {cells.frame_rate_hz:g} Hz)"
        size = f"{width} × {height} px"
        if cells.pixel_size_um:
            size += f" ({width * cells.pixel_size_um:,.0f} × {height * cells.pixel_size_um:,.0f} µm)"
        version = cells.provenance.versions.get("gpucells")
        run = [f"gpucells {version}" if version else "", cells.provenance.device, cells.provenance.created[:10]]
        return "  ·  ".join(part for part in (cells.method, length, size, *run) if part)


def gather_facts(cells: Cells, truth: TruthLike | None = None, title: str | None = None) -> Facts:
    """Work out what a report says.

    Parameters
    ----------
    cells : Cells
        The result.
    truth : Truth, or sparse array (n_true, n_pixels), optional
        True cells to compare the accepted ones with.
    title : str, optional
        The movie's name by default.

    Raises
    ------
    InputError
        The truth is of another image or another number of frames.
    """
    noise = trace_noise(cells.traces)
    peak = np.fmax.reduce(cells.traces, axis=1, initial=0) / noise
    measured = next((cells.quality[name] for name in _SNR_NAMES if name in cells.quality), peak)
    snr = np.nan_to_num(np.asarray(measured, dtype=np.float32), posinf=0, neginf=0)
    return Facts(
        cells=cells,
        title=title or PurePath(cells.provenance.source.replace("\\", "/")).name or "Cells",
        noise=noise,
        snr=snr,
        order=np.argsort(-snr, kind="stable"),
        thresholds=find_thresholds(cells.settings, tuple(cells.quality)),
        reasons=count_reasons(cells),
        marks=None if truth is None else mark_against(cells, truth),
    )


def trace_noise(traces: Float32) -> Float32:
    """Return each trace's noise, ``(n_cells,)``: from the median absolute difference of successive samples.

    A difference of two samples has √2 of their noise, and the median absolute value of a normal variable is 0.6745 of
    its standard deviation. Transients last longer than a sample and so hardly count. Many methods cut a trace off at a
    floor, where it has no noise: only samples above the lowest value count. A trace without noise gets 1.
    """
    noise = np.ones(len(traces), dtype=np.float32)
    if traces.shape[1] < 2:
        return noise
    step = max(1, _BLOCK_SAMPLES // traces.shape[1])
    for start in range(0, len(traces), step):
        some = traces[start : start + step]
        free = some > np.nanmin(np.where(np.isfinite(some), some, np.inf), axis=1, keepdims=True)  # a lost frame is not
        counts = free[:, 1:] & free[:, :-1]
        change = np.sort(np.where(counts, np.abs(np.diff(some, axis=1)), np.inf), axis=1)
        middle = counts.sum(axis=1) // 2
        known = counts.any(axis=1)
        noise[start : start + step][known] = change[known, middle[known]] / (0.6745 * np.sqrt(2))
    noise[~(noise > 0)] = 1
    return noise


def count_reasons(cells: Cells) -> tuple[tuple[str, int], ...]:
    """Count the reasons of rejection.

    What follows a colon, and numbers, are details of one cell and are left out. A cell with several reasons, separated
    by semicolons, counts for each.
    """
    counts: Counter[str] = Counter()
    for text, accepted in zip(cells.rejection, cells.accepted, strict=True):
        if not accepted:
            heads = (part.partition(": ")[0] for part in text.split(";"))
            plain = {re.sub(r"(?<![\w.])[-+]?\d[\d.,]*(e[-+]?\d+)?", "…", head).strip(" …:") for head in heads}
            counts.update(plain - {""} or {"no reason given"})
    return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def find_thresholds(
    settings: Mapping[str, Any], measures: tuple[str, ...]
) -> dict[str, tuple[float | None, float | None]]:
    """Find the rejection thresholds among the settings.

    The threshold of a measure is a number called ``min_<measure>`` or ``max_<measure>`` (or ``<measure>_min``,
    ``<measure>_max``), at any depth of the settings; values that are not finite bound nothing.
    """
    numbers: dict[str, float] = {}
    for name, value in flat_settings(settings):
        if isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value):
            numbers.setdefault(name.rpartition(".")[2], float(value))
    found = {}
    for measure in measures:
        low, high = (
            next((numbers[name] for name in (f"{side}_{measure}", f"{measure}_{side}") if name in numbers), None)
            for side in ("min", "max")
        )
        if low is not None or high is not None:
            found[measure] = (low, high)
    return found


def flat_settings(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every setting with its dotted name."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat_settings(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def short_settings(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return settings as text, without the groups of their names where the last part alone tells them apart."""
    flat = list(flat_settings(settings))
    uses = Counter(name.rpartition(".")[2] for name, _ in flat)
    short = ((name.rpartition(".")[2], name, value) for name, value in flat)
    return [(last if uses[last] == 1 else name, "–" if value is None else str(value)) for last, name, value in short]


def mark_against(cells: Cells, truth: TruthLike) -> Marks:
    """Compare accepted cells with true ones: by the whole protocol, or by footprints where that is all there is."""
    accepted = np.flatnonzero(cells.accepted)
    found = cells.accepted_only()
    whole = truth if isinstance(truth, Truth) else None
    footprints = sparse.csr_array(truth.footprints if isinstance(truth, Truth) else cast("Any", truth))
    if footprints.shape[1] != cells.footprints.shape[1]:
        raise InputError(
            f"the truth has {footprints.shape[1]} pixels, the cells have {cells.footprints.shape[1]}",
            "give the truth of this movie",
        )
    if whole is not None:
        known = {name: getattr(whole, name) for name in ("at_border", "snr", "max_overlap")}
        scores = score_cells(found.footprints, found.traces, footprints, whole.traces, cells.image_shape, **known)
    else:
        # One shared trace makes every correlation 1: the footprints alone decide.
        ramp = np.arange(4, dtype=np.float32)
        traces = np.tile(ramp, (found.n_cells, 1)), np.tile(ramp, (footprints.shape[0], 1))
        scores = score_cells(found.footprints, traces[0], footprints, traces[1], cells.image_shape)
    figures = [(name, f"{value:.3f}") for name, value in
               (("precision", scores.precision), ("recall", scores.recall), ("F1", scores.f1))]  # fmt: skip
    if whole is not None and len(scores.pair_trace_r):
        figures.append(("trace correlation", f"{scores.trace_r_median:.3f}"))
    return Marks(footprints, scores.missed, accepted[scores.false], tuple(figures))


def duration(seconds: float) -> str:
    """Return a time as people say it."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def readable(name: str) -> str:
    """Return a measure's name for a heading: ``spatial_corruption`` becomes ``spatial corruption``."""
    for suffix, unit in (("_px", " (px)"), ("_um", " (µm)"), ("_s", " (s)"), ("_hz", " (Hz)")):
        if name.endswith(suffix):
            return name[: -len(suffix)].replace("_", " ") + unit
    return name.replace("_", " ").replace("snr", "SNR")
