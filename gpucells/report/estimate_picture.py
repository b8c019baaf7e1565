"""The picture of an estimate: both images with thresholds and seeds, and the peaks of the movie and of its negative."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from gpucells.io.atomic_file import written_atomically
from gpucells.report.palette import ACCEPTED, INK, MISSED, PAPER, QUIET, REJECTED, RULE
from gpucells.report.panels import shortened
from gpucells.tiles.estimate_movie import MovieEstimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_IN, DPI = 16.0, 120
MARGIN_IN, GAP_IN, HEADER_IN, BAR_IN = 0.5, 0.55, 1.15, 0.5
TALLEST_IN = 9.0  # of an image
BRIGHTEST = 0.999  # quantile of an image that is drawn white


def draw_estimate(estimate: MovieEstimate, path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Draw an estimate into a PNG file.

    Parameters
    ----------
    estimate : MovieEstimate
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


def make_figure(estimate: MovieEstimate) -> Figure:
    """Return the figure: two images and a scatter side by side, as high as the images need."""
    height, width = estimate.images.corr.shape
    side = (WIDTH_IN - 2 * MARGIN_IN - 2 * GAP_IN) / 3
    tall = min(max(side * height / width, 0.5 * side), TALLEST_IN)
    whole = HEADER_IN + max(tall + BAR_IN, 0.8 * side) + MARGIN_IN + 0.3
    figure = Figure(figsize=(WIDTH_IN, whole), dpi=DPI, facecolor=PAPER)
    FigureCanvasAgg(figure)

    def axes(place: int, tall_in: float) -> Axes:
        left = MARGIN_IN + place * (side + GAP_IN)
        return figure.add_axes(
            (left / WIDTH_IN, 1 - (HEADER_IN + 0.3 + tall_in) / whole, side / WIDTH_IN, tall_in / whole)
        )

    _header(figure, estimate, whole)
    limits, images = estimate.thresholds, estimate.images
    highest = max(float(np.quantile(images.corr, BRIGHTEST)), 0.2)
    _image(axes(0, tall), figure, images.corr, limits.min_corr, "Local correlation", "min_corr", estimate, highest)
    top = max(float(np.quantile(images.pnr, BRIGHTEST)), 1.2 * min(limits.min_pnr, float(images.pnr.max(initial=0))), 1)
    _image(axes(1, tall), figure, images.pnr, limits.min_pnr, "Peak over noise", "min_pnr", estimate, top)
    _scatter(axes(2, max(tall, 0.75 * side)), estimate)
    return figure


def _header(figure: Figure, estimate: MovieEstimate, whole: float) -> None:
    left = MARGIN_IN / WIDTH_IN
    figure.text(left, 1 - 0.3 / whole, shortened(estimate.source, 90), fontsize=18, color=INK, va="top", weight="bold")
    limits = estimate.thresholds
    decay = "" if estimate.decay_s is None else f" ({estimate.decay_s:.2f} s)"
    facts = (
        f"cells {estimate.cell_diameter_px:.1f} px wide  ·  decay {estimate.decay_frames:.1f} frames{decay}  ·  "
        f"{estimate.frames_to_average} frames averaged  ·  min_corr {limits.min_corr:.2f}, min_pnr {limits.min_pnr:.1f}"
        f"  ·  {len(estimate.seeds):,} seeds"
    )
    figure.text(left, 1 - 0.68 / whole, facts, fontsize=11, color=INK, va="top")
    if estimate.warnings:
        text = shortened("warning: " + "; ".join(estimate.warnings), 190)
        figure.text(left, 1 - 0.92 / whole, text, fontsize=9.5, color=REJECTED, va="top")


def _image(
    axes: Axes, figure: Figure, image: NDArray[np.float32], threshold: float, title: str, name: str,
    estimate: MovieEstimate, top: float,
) -> None:  # fmt: skip
    height, width = image.shape
    low = min(max(0.0, float(np.quantile(image, 0.02))), threshold)
    drawn = axes.imshow(image, cmap="gray", vmin=low, vmax=max(top, low + 1e-3), interpolation="nearest")
    if min(image.shape) > 1 and float(image.min()) < threshold < float(image.max()):
        axes.contour(image, levels=[threshold], colors=[MISSED], linewidths=0.8)
    rows, columns = estimate.seeds.T
    size = 14 if len(estimate.seeds) <= 400 else 5
    axes.scatter(columns, rows, s=size, c=ACCEPTED, edgecolors=INK, linewidths=0.4, zorder=3)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), xticks=[], yticks=[])
    axes.set_frame_on(False)
    shown = f"{threshold:.2f}" if threshold < 2 else f"{threshold:.1f}"
    axes.set_title(f"{title}: contour at {name} = {shown}, dots are seeds", loc="left", fontsize=10, color=INK, pad=6)
    bar = figure.colorbar(drawn, ax=axes, orientation="horizontal", fraction=0.04, pad=0.02, aspect=45)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, colors=QUIET, length=2.5)


def _scatter(axes: Axes, estimate: MovieEstimate) -> None:
    """Draw correlation against peak over noise of all local maxima, those of the negated movie too."""
    limits = estimate.thresholds
    passed = limits.passing(limits.peaks)
    for peaks, colour, marker, label in (
        (limits.null, REJECTED, "x", "the negated movie's (no cells)"),
        (limits.peaks.some(~passed), QUIET, "o", "the movie's, below"),
        (limits.peaks.some(passed), ACCEPTED, "o", "seeds"),
    ):
        high = np.maximum(peaks.pnr, 0.5)
        text = f"{label}: {len(peaks.at):,}"
        if marker == "x":
            axes.scatter(high, peaks.corr, s=12, c=colour, marker=marker, linewidths=0.8, label=text)
        else:
            axes.scatter(high, peaks.corr, s=12, c=colour, marker=marker, linewidths=0, label=text)
    axes.axhline(limits.min_corr, color=INK, linewidth=1.1, linestyle=(0, (4, 2)))
    axes.axvline(limits.min_pnr, color=INK, linewidth=1.1, linestyle=(0, (4, 2)))
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("peak over noise", fontsize=9.5, color=INK)
    axes.set_ylabel("local correlation", fontsize=9.5, color=INK)
    axes.tick_params(labelsize=8, colors=QUIET, which="both")
    for spine in axes.spines.values():
        spine.set_color(RULE)
    axes.set_title("Local maxima and thresholds", loc="left", fontsize=10, color=INK, pad=6)
    axes.legend(fontsize=8.5, framealpha=0.85, edgecolor=RULE, loc="lower right", labelcolor=INK)
