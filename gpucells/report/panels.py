"""The parts of the picture, one function each, drawn into given axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from gpucells.model.cells import Float32
from gpucells.report.facts import Facts, readable
from gpucells.report.outlines import outline, stamp, stamp_side
from gpucells.report.palette import ACCEPTED, FALSE, INK, MISSED, PAPER, QUIET, REJECTED, RULE
from gpucells.report.thinning import thin

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Points a trace is drawn with: about one a pixel of the picture, lowest and highest.
TRACE_POINTS = 2400
HISTOGRAM_BINS = 36


def draw_map(axes: Axes, facts: Facts, image: NDArray[np.uint8], title: str, numbered: Sequence[int] = ()) -> None:
    """Draw the outlines of all cells on an image, with the numbers of some.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    facts : Facts
        What to draw.
    image : numpy.ndarray
        ``(height, width)`` uint8.
    title : str
        Above the image.
    numbered : sequence of int
        Cells whose numbers are written.
    """
    cells = facts.cells
    height, width = cells.image_shape
    axes.imshow(image, cmap="gray", vmin=0, vmax=290, interpolation="nearest")  # white stays free for numbers
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), xticks=[], yticks=[])
    axes.set_frame_on(False)
    axes.set_title(title, loc="left", fontsize=11, color=INK, pad=6)
    false = set() if facts.marks is None else set(facts.marks.false.tolist())
    thickness = 1.3 if cells.n_cells <= 400 else 0.65
    groups = (
        (facts.rejected, REJECTED, thickness * 0.85),
        ([k for k in facts.accepted if k not in false], ACCEPTED, thickness),
        (sorted(false), FALSE, thickness * 1.3),
    )
    for members, colour, line_width in groups:
        lines = [line for cell in members for line in outline(cells.footprints, int(cell), width)]
        axes.add_collection(LineCollection(lines, colors=colour, linewidths=line_width))
    if facts.marks is not None:
        missed = [line for k in facts.marks.missed for line in outline(facts.marks.footprints, int(k), width)]
        axes.add_collection(LineCollection(missed, colors=MISSED, linewidths=thickness * 1.2, linestyles=(0, (3, 2))))
    centres = cells.centroids()
    for cell in numbered:
        row, column = centres[cell]
        text = axes.text(column, row, str(cell), color=PAPER, fontsize=7, ha="center", va="center", clip_on=True)
        text.set_path_effects([withStroke(linewidth=1.6, foreground="#000000b0")])
    _bar_of_length(axes, facts)


def _bar_of_length(axes: Axes, facts: Facts) -> None:
    """Draw a bar of about a fifth of the width, where the size of a pixel is known."""
    pixel = facts.cells.pixel_size_um
    height, width = facts.cells.image_shape
    if pixel is None:
        return
    length = round_number(width * pixel / 5)
    right, bottom = width * 0.97, height * 0.965
    axes.plot([right - length / pixel, right], [bottom, bottom], color=PAPER, linewidth=3, solid_capstyle="butt")
    text = axes.text(right, bottom - height * 0.015, f"{length:g} µm", color=PAPER, fontsize=9, ha="right", va="bottom")
    text.set_path_effects([withStroke(linewidth=2, foreground="#000000a0")])


def draw_traces(axes: Axes, facts: Facts, chosen: Sequence[int]) -> None:
    """Draw traces above each other, each in units of its own noise, with bars for time and height.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    facts : Facts
        What to draw.
    chosen : sequence of int
        The cells, from the top.
    """
    cells = facts.cells
    axes.axis("off")
    if not len(chosen) or cells.n_frames < 1:
        _say_nothing(axes, "no traces")
        return
    rate = cells.frame_rate_hz
    scaled = [np.nan_to_num(cells.traces[k] / facts.noise[k]) for k in chosen]
    peaks = [float(np.quantile(trace, 0.999)) for trace in scaled]
    spacing = max(0.75 * float(np.quantile(peaks, 0.75)), 4.0)
    duration = (cells.n_frames - 1) / (rate or 1) or 1.0
    for place, (cell, trace) in enumerate(zip(chosen, scaled, strict=True)):
        frames, values = thin(trace, TRACE_POINTS)
        colour = INK if cells.accepted[cell] else REJECTED
        # Earlier ones lie above: a tall transient runs over the trace before it and stays legible.
        axes.plot(frames / (rate or 1), values - place * spacing, color=colour, linewidth=0.7, zorder=-place)
        axes.text(-0.008 * duration, -place * spacing, str(cell), ha="right", va="center", fontsize=8, color=QUIET)
        snr = f"{facts.snr[cell]:.0f}"
        axes.text(1.008 * duration, -place * spacing, snr, ha="left", va="center", fontsize=8, color=QUIET)
    top, bottom = spacing * 1.15, -(len(chosen) - 0.35) * spacing
    axes.set(xlim=(-0.03 * duration, 1.035 * duration), ylim=(bottom - 0.9 * spacing, max(top, peaks[0] * 1.02)))
    axes.text(1.008 * duration, spacing * 0.62, "SNR", ha="left", va="center", fontsize=8, color=QUIET)
    axes.text(-0.008 * duration, spacing * 0.62, "cell", ha="right", va="center", fontsize=8, color=QUIET)
    length = round_number(duration / 12)
    tall = round_number(spacing * 0.8)
    base = bottom - 0.8 * spacing
    axes.plot([0, 0, length], [base + tall, base, base], color=INK, linewidth=1.8, solid_joinstyle="miter")
    unit = f"{length:g} s" if rate else f"{length:g} frames"
    axes.text(length * 1.15, base + 0.05 * spacing, f"{unit},  {tall:g} × noise", fontsize=9, color=INK, va="bottom")


def draw_gallery(axes: Axes, facts: Facts, columns: int) -> None:
    """Draw footprints: the best accepted cells, middling ones, the weakest, and rejected ones.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    facts : Facts
        What to draw.
    columns : int
        Footprints in a row.
    """
    axes.axis("off")
    rows = gallery_rows(facts, columns)
    if not rows:
        _say_nothing(axes, "no footprints")
        return
    cells = facts.cells
    width = cells.image_shape[1]
    side = stamp_side(cells.footprints, width)
    gap, line = side * 0.1, side * 1.62
    for row, (name, members) in enumerate(rows):
        axes.text(0, row * line - side * 0.06, name, fontsize=9, color=INK, va="bottom")
        for column, cell in enumerate(members):
            left, top = column * (side + gap), row * line
            image = stamp(cells.footprints, cell, width, side)
            axes.imshow(image, cmap="gray", vmin=0, vmax=1, extent=(left, left + side, top + side, top))
            colour = ACCEPTED if cells.accepted[cell] else REJECTED
            axes.plot([left, left + side], [top + side, top + side], color=colour, linewidth=2.5)
            axes.text(left + side / 2, top + side * 1.06, str(cell), fontsize=7.5, color=QUIET, ha="center", va="top")
    axes.set(xlim=(0, columns * (side + gap)), ylim=(len(rows) * line - 0.25 * side, -0.35 * side))
    axes.set_aspect("equal", anchor="NW")


def gallery_rows(facts: Facts, columns: int) -> list[tuple[str, list[int]]]:
    """Return heading and cells of each row of the gallery; no cell twice."""
    accepted, rejected = facts.accepted.tolist(), facts.rejected.tolist()
    rows = [("Accepted: highest SNR", accepted[:columns])]
    if len(accepted) > 2 * columns:
        start = (len(accepted) - columns) // 2
        rows.append(("Accepted: around the median SNR", accepted[start : start + columns]))
    if len(accepted) > columns:
        rows.append(("Accepted: lowest SNR", accepted[max(columns, len(accepted) - columns) :]))
    picked = rejected[:: max(1, len(rejected) // columns)][:columns]
    rows.append(("Rejected", picked))
    return [(name, members) for name, members in rows if members]


def draw_histogram(axes: Axes, facts: Facts, measure: str) -> None:
    """Draw how a measure is spread over accepted and rejected cells, and the thresholds of rejection.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    facts : Facts
        What to draw.
    measure : str
        Its name in the table of quality.
    """
    values = facts.cells.quality[measure]
    accepted = facts.cells.accepted
    axes.set_title(readable(measure), loc="left", fontsize=10, color=INK, pad=4)
    axes.tick_params(labelsize=8, colors=QUIET, length=2.5)
    for name, spine in axes.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_color(RULE)
    axes.set_yticks([])
    edges = histogram_edges(values, facts.thresholds.get(measure, (None, None)))
    if edges is None:
        _say_nothing(axes, "no finite values")
        axes.set_xticks([])
        return
    # What lies outside the axis is counted in the outermost bars rather than left out.
    groups = [np.clip(values[mask & np.isfinite(values)], edges[0], edges[-1]) for mask in (accepted, ~accepted)]
    axes.hist(groups, bins=edges.tolist(), stacked=True, color=[ACCEPTED, REJECTED], rwidth=0.92)
    axes.set_xlim(edges[0], edges[-1])
    axes.margins(y=0.14)
    for bound, side in zip(facts.thresholds.get(measure, ()), (edges[0], edges[-1]), strict=False):
        if bound is not None and edges[0] <= bound <= edges[-1]:
            axes.axvspan(bound, side, color=RULE, alpha=0.55, linewidth=0, zorder=0)  # what is rejected
            axes.axvline(bound, color=INK, linewidth=1.1, linestyle=(0, (4, 2)))
            axes.annotate(
                f"{bound:g}", (bound, 1), (3, -1), xycoords=("data", "axes fraction"), textcoords="offset points",
                fontsize=8, color=INK, va="top",
            )  # fmt: skip


def histogram_edges(values: Float32, bounds: tuple[float | None, float | None]) -> NDArray[np.float64] | None:
    """Return edges over the 1st to 99th percentile and the thresholds; None where no value is finite."""
    finite = values[np.isfinite(values)].astype(np.float64)
    if finite.size == 0:
        return None
    low, high = np.quantile(finite, [0.01, 0.99])
    spread = high - low
    # A threshold far away from all values would flatten them; near ones are shown.
    near = [b for b in bounds if b is not None and low - 2 * spread <= b <= high + 2 * spread]
    low, high = min([low, *near]), max([high, *near])
    margin = 0.03 * (high - low) or max(abs(high) * 0.05, 0.5)
    return np.linspace(low - margin, high + margin, HISTOGRAM_BINS + 1)


def draw_table(axes: Axes, title: str, rows: Sequence[tuple[str, ...]]) -> None:
    """Write a table.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    title : str
        Above it.
    rows : sequence of tuple of str
        The first column stands left, the others right.
    """
    axes.axis("off")
    axes.set(xlim=(0, 1), ylim=(len(rows) + 1.2, 0))
    axes.text(0, 0, title, fontsize=11, color=INK, va="top")
    n_columns = max((len(row) for row in rows), default=1)
    places = [0.0, *(1 - 0.24 * (n_columns - 1 - column) for column in range(1, n_columns))]
    for line, row in enumerate(rows, start=1):
        for column, text in enumerate(row):
            side, colour = ("right", INK) if column else ("left", QUIET)
            axes.text(places[column], line + 0.3, shortened(text, 44), fontsize=9, color=colour, va="top", ha=side)


def shortened(text: str, length: int) -> str:
    """Return a text of at most ``length`` characters, without mathematics that matplotlib would set."""
    plain = " ".join(text.split()).replace("$", r"\$")
    return plain if len(plain) <= length else plain[: length - 1] + "…"


def round_number(value: float) -> float:
    """Return 1, 2 or 5 times a power of ten, not above ``value`` if that is positive."""
    if not value > 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    return float(max(step for step in (1, 2, 5) if step * power <= value * 1.0001) * power)


def _say_nothing(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=10, color=QUIET)
