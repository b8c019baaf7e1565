"""The picture of an estimate for PCA-ICA: spectrum and floor, skewness of components, contours of the cells."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gpucells.io.atomic_file import written_atomically
from gpucells.report.palette import ACCEPTED, INK, MISSED, PAPER, QUIET, RULE
from gpucells.report.panels import shortened
from gpucells.tiles.estimate_components import ComponentsEstimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Float64 = NDArray[np.float64]

WIDTH_IN, HEIGHT_IN, DPI = 16.0, 5.8, 120
ROUNDING = 1e-8  # share of the largest eigenvalue
HALF = 0.5  # of a footprint's maximum, where its contour is


def draw_components(estimate: ComponentsEstimate, path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Draw an estimate into a PNG file.

    Parameters
    ----------
    estimate : ComponentsEstimate
        What to draw.
    path : path-like
        Where it goes.
    overwrite : bool
        Replace a file of that name.

    Raises
    ------
    ResultFileError
        The file cannot be written; none is left half done.
    """
    with written_atomically(path, overwrite=overwrite) as file:
        make_figure(estimate).savefig(file, format="png")


def make_figure(estimate: ComponentsEstimate) -> Figure:
    """Return the figure: three panels side by side."""
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, facecolor=PAPER)
    FigureCanvasAgg(figure)
    figure.text(0.03, 0.96, shortened(estimate.source, 90), fontsize=18, color=INK, va="top", weight="bold")
    facts = (
        f"{estimate.n_cells:,} cells  ·  n_ics {estimate.ics[0]} to {estimate.ics[1]}  ·  "
        f"n_pcs {estimate.pcs[0]} to {estimate.pcs[1]}  ·  {estimate.n_frames:,} averaged frames"
        + (f"  ·  of the fullest of {estimate.n_tiles} tiles" if estimate.n_tiles > 1 else "")
    )
    figure.text(0.03, 0.885, facts, fontsize=11, color=INK, va="top")
    left, middle, right = (figure.add_axes(box) for box in ((0.05, 0.11, 0.26, 0.66), (0.37, 0.11, 0.26, 0.66),
                                                           (0.67, 0.05, 0.31, 0.75)))  # fmt: skip
    _spectrum(left, estimate.eigenvalues, estimate.floor)
    _skewness(middle, estimate)
    _cells(right, estimate)
    return figure


def spectrum_figure(eigenvalues: Float64, floor: float, ranks: Any, chosen: Any) -> Figure:
    """Return a figure of a spectrum alone, with some of its components marked.

    Parameters
    ----------
    eigenvalues : numpy.ndarray
        All of them, the largest first.
    floor : float
        What noise alone reaches, in their units.
    ranks, chosen : numpy.ndarray
        Ranks, from 1, and eigenvalues of the components to mark.
    """
    figure = Figure(figsize=(6.4, 4.8), dpi=DPI, facecolor=PAPER)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.13, 0.12, 0.83, 0.78))
    axes.plot(ranks, chosen, "o", ms=6, mfc="none", mec=INK, label=f"in use: {len(ranks):,}")
    _spectrum(axes, eigenvalues, floor)
    return figure


def _spectrum(axes: Axes, eigenvalues: Float64, floor: float) -> None:
    values = eigenvalues[eigenvalues > ROUNDING * eigenvalues.max(initial=0)]
    rank = np.arange(1, len(values) + 1)
    above = values > floor
    axes.plot(rank[above], values[above], ".", color=ACCEPTED, ms=4, label=f"stand out: {int(above.sum()):,}")
    axes.plot(rank[~above], values[~above], ".", color=QUIET, ms=3, label=f"noise: {int((~above).sum()):,}")
    if np.isfinite(floor) and floor > 0:
        axes.axhline(floor, color=INK, linewidth=1.1, linestyle=(0, (4, 2)), label="floor of noise")
    if len(values):
        axes.set(xscale="log", yscale="log")
    _dress(axes, "Spectrum", "principal component", "eigenvalue")


def _skewness(axes: Axes, estimate: ComponentsEstimate) -> None:
    rank, has = np.arange(1, len(estimate.skewness) + 1), estimate.has_cell
    axes.plot(rank[has], estimate.skewness[has], ".", color=ACCEPTED, ms=6, label=f"with a cell: {int(has.sum()):,}")
    axes.plot(rank[~has], estimate.skewness[~has], "x", color=QUIET, ms=4, label=f"without: {int((~has).sum()):,}")
    _dress(axes, "Skewness", "independent component", "third moment")


def _dress(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=9.5, color=INK)
    axes.set_ylabel(y, fontsize=9.5, color=INK)
    axes.tick_params(labelsize=8, colors=QUIET, which="both")
    for spine in axes.spines.values():
        spine.set_color(RULE)
    axes.set_title(title, loc="left", fontsize=10, color=INK, pad=6)
    axes.legend(fontsize=8.5, framealpha=0.85, edgecolor=RULE, loc="upper right", labelcolor=INK)


def _cells(axes: Axes, estimate: ComponentsEstimate) -> None:
    picture = estimate.picture
    low, high = np.quantile(picture, [0.02, 0.998])
    axes.imshow(picture, cmap="gray", vmin=low, vmax=max(high, low + 1e-3), interpolation="nearest")
    for row in range(estimate.footprints.shape[0]):
        image = estimate.footprints[[row]].toarray().reshape(picture.shape)
        axes.contour(image, levels=[HALF], colors=[MISSED], linewidths=0.8)
    axes.set(xticks=[], yticks=[])
    axes.set_frame_on(False)
    axes.set_title("Brightest frames, and the cells' contours", loc="left", fontsize=10, color=INK, pad=6)
