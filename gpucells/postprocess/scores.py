"""How well a set of cells agrees with the true ones: the figures, and their table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
FIGURES = [
    *("found", "truth", "matched", "ignored", "duplicates", "precision", "recall", "f1"),
    *("trace_r_median", "trace_r_p10", "trace_r_all", "footprint_cosine", "area_ratio"),
    *("crosstalk", "crosstalk_median", "recall_by_snr", "recall_by_overlap"),
]
LISTS = ["pairs", "pair_cosine", "pair_trace_r", "missed", "false", "duplicate", "excused"]


@dataclass(frozen=True)
class Scores:
    """Scores of found cells against true ones; figures are NaN where there is nothing to average.

    Parameters
    ----------
    found, truth : int
        Number of found cells, and of true cells that count (not at the border, SNR high enough).
    recall_by_snr, recall_by_overlap : dict
        Recall of the true cells of one bin.
    trace_r_all : float
        Mean trace correlation over all true cells that count, misses as 0.
    area_ratio : float
        Median over matched cells of found by true area: the number of pixels above 0.2 of the footprint's maximum.
    crosstalk, crosstalk_median : float
        Mean and median, over matched cells, of the share of the found trace that comes from the true neighbours.
    pairs : numpy.ndarray
        ``(matched, 2)`` indices of found and true cell.
    pair_cosine, pair_trace_r : numpy.ndarray
        ``(matched,)`` footprint cosine and trace correlation.
    missed, false, duplicate, excused : numpy.ndarray
        Indices of missed true cells, and of false, duplicate (also counted as false) and ignored found cells.
    """

    found: int
    truth: int
    recall_by_snr: dict[str, float]
    recall_by_overlap: dict[str, float]
    trace_r_all: float
    area_ratio: float
    crosstalk: float
    crosstalk_median: float
    pairs: Indices
    pair_cosine: NDArray[np.float64]
    pair_trace_r: NDArray[np.float64]
    missed: Indices
    false: Indices
    duplicate: Indices
    excused: Indices

    @property
    def matched(self) -> int:
        """True cells that were found."""
        return len(self.pairs)

    @property
    def ignored(self) -> int:
        """Found cells that lie on true cells that do not count, and so are neither right nor wrong."""
        return len(self.excused)

    @property
    def duplicates(self) -> int:
        """Found cells that fit a true cell which another found cell was matched to."""
        return len(self.duplicate)

    @property
    def precision(self) -> float:
        """``matched / (found - ignored)``; 0 where nothing was found."""
        return self.matched / max(self.found - self.ignored, 1)

    @property
    def recall(self) -> float:
        """``matched / truth``; 0 where there is nothing to find."""
        return self.matched / max(self.truth, 1)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.matched / max(self.found - self.ignored + self.truth, 1)

    @property
    def trace_r_median(self) -> float:
        """Median trace correlation of matched cells."""
        return _quantile(self.pair_trace_r, 0.5)

    @property
    def trace_r_p10(self) -> float:
        """10th percentile of the trace correlation of matched cells."""
        return _quantile(self.pair_trace_r, 0.1)

    @property
    def footprint_cosine(self) -> float:
        """Median footprint cosine of matched cells."""
        return _quantile(self.pair_cosine, 0.5)

    def as_dict(self, lists: bool = False) -> dict[str, Any]:
        """Return the figures JSON-like (NaN as None); with ``lists`` also the indices and the figures of each pair."""
        return {name: _plain(getattr(self, name)) for name in FIGURES + (LISTS if lists else [])}

    def rows(self) -> list[tuple[str, str]]:
        """Return what a table shows: name and value of each figure, as text."""
        rows = [
            ("cells found / true", f"{self.found} / {self.truth}"),
            ("matched, ignored, duplicates", f"{self.matched}, {self.ignored}, {self.duplicates}"),
            ("precision, recall, F1", f"{self.precision:.3f}, {self.recall:.3f}, {self.f1:.3f}"),
            ("trace correlation: median", _figure(self.trace_r_median)),
            ("  10th percentile", _figure(self.trace_r_p10)),
            ("  mean, misses as 0", _figure(self.trace_r_all)),
            ("footprint cosine, area ratio", f"{_figure(self.footprint_cosine)}, {_figure(self.area_ratio)}"),
            ("cross-talk: mean, median", f"{_figure(self.crosstalk)}, {_figure(self.crosstalk_median)}"),
        ]
        for title, bins in (("SNR", self.recall_by_snr), ("overlap", self.recall_by_overlap)):
            known = {name: value for name, value in bins.items() if not np.isnan(value)}
            if known:
                rows.append((f"recall by {title}", ", ".join(f"{name}: {v:.2f}" for name, v in known.items())))
        return rows

    def table(self) -> str:
        """Return the figures as lines of plain text."""
        rows = self.rows()
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _figure(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    return None if isinstance(value, float) and np.isnan(value) else value


def _quantile(values: NDArray[np.float64], q: float) -> float:
    return float(np.quantile(values, q)) if len(values) else np.nan
