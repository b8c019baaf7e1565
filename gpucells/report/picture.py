"""The picture: maps, traces, footprints, measures and what the run did, on one sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gpucells.report.facts import Facts, short_settings
from gpucells.report.outlines import background_images
from gpucells.report.palette import ACCEPTED, FALSE, INK, MISSED, PAPER, QUIET, REJECTED, RULE
from gpucells.report.panels import draw_gallery, draw_histogram, draw_map, draw_table, draw_traces, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Inches and dots an inch: 1920 dots wide, legible when shown at 1600.
WIDTH_IN, DPI = 16.0, 120
_MARGIN_IN, _GAP_IN = 0.45, 0.35
_HEADER_IN = 1.05
_TRACES_IN = 7.2
_HISTOGRAMS_IN = 1.75
_GALLERY_IN = 4.25
_TABLE_ROWS = 12
_TABLE_LINE_IN = 0.21
_N_TRACES = 25
_MAX_HISTOGRAMS = 12
#: Images wider than this many times their height lie below each other, so that each has the full width.
_WIDE = 2.2


_IMAGE_TITLES = {
    "correlation": "Local correlation",
    "max": "Maximum over time",
    "mean": "Mean over time",
    "noise": "Noise",
}


class _Sheet:
    """A figure filled from the top, in inches."""

    def __init__(self, height_in: float) -> None:
        self.figure = Figure(figsize=(WIDTH_IN, height_in), dpi=DPI, facecolor=PAPER)
        FigureCanvasAgg(self.figure)
        self._height_in = height_in

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Return axes at a place given in inches from the left and from the top."""
        place = (left / WIDTH_IN, 1 - (top + height) / self._height_in, width / WIDTH_IN, height / self._height_in)
        return self.figure.add_axes(place)


def draw_picture(facts: Facts) -> Figure:
    """Return the sheet; its height follows from the shape of the image and the number of measures."""
    measures = facts.measures[:_MAX_HISTOGRAMS]
    _, map_height, stacked = _map_size(facts)
    histogram_rows = -(-len(measures) // 6)
    maps_in = map_height * (2 if stacked else 1) + 0.3 * (2 if stacked else 1)
    tables_in = _TABLE_LINE_IN * (1.2 + max(len(rows) for _, rows in _table_rows(facts)))
    parts = [_HEADER_IN, maps_in, _TRACES_IN, histogram_rows * (_HISTOGRAMS_IN + 0.15), tables_in]
    sheet = _Sheet(2 * _MARGIN_IN + sum(parts) + _GAP_IN * (len(parts) - 1))
    top = _MARGIN_IN
    for part, draw in zip(parts, (_header, _maps, _middle, _histograms, _tables), strict=True):
        draw(sheet, facts, top)
        top += part + _GAP_IN
    return sheet.figure


def _map_size(facts: Facts) -> tuple[float, float, bool]:
    """Return width and height of a map (inches), and whether the two maps lie below each other."""
    height, width = facts.cells.image_shape
    inside = WIDTH_IN - 2 * _MARGIN_IN
    stacked = width > _WIDE * height
    map_width = inside if stacked else (inside - _GAP_IN) / 2
    map_height = min(map_width * height / width, 9.5)
    return map_height * width / height, map_height, stacked


def _header(sheet: _Sheet, facts: Facts, top: float) -> None:
    axes = sheet.axes(_MARGIN_IN, top, WIDTH_IN - 2 * _MARGIN_IN, _HEADER_IN)
    axes.axis("off")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.text(0, 0.98, shortened(facts.title, 60), fontsize=21, color=INK, va="top", weight="bold")
    axes.text(0, 0.42, shortened(facts.subtitle, 130), fontsize=10.5, color=QUIET, va="top")
    axes.plot([0, 1], [0.02, 0.02], color=RULE, linewidth=1)
    n_accepted = len(facts.accepted)
    numbers = [
        (f"{facts.cells.n_cells:,}", "found", INK),
        (f"{n_accepted:,}", "accepted", ACCEPTED),
        (f"{facts.cells.n_cells - n_accepted:,}", "rejected", REJECTED),
    ]
    if facts.marks is not None:
        numbers += [(value, name, INK) for name, value in facts.marks.figures[:3]]
    for place, (value, name, colour) in enumerate(reversed(numbers)):
        # The scores keep a distance from the counts.
        right = 1 - 0.07 * place - (0.015 if facts.marks is not None and place >= len(numbers) - 3 else 0)
        axes.text(right, 0.98, value, fontsize=19, color=colour, va="top", ha="right", weight="bold")
        axes.text(right, 0.42, name, fontsize=9.5, color=QUIET, va="top", ha="right")


def _maps(sheet: _Sheet, facts: Facts, top: float) -> None:
    map_width, map_height, stacked = _map_size(facts)
    images = background_images(facts.cells.summary_images, facts.cells.footprints, facts.cells.image_shape)
    names = list(images)  # correlation and maximum first, where they are there
    numbered = _chosen(facts)
    for place, name in enumerate((names * 2)[:2]):
        left = _MARGIN_IN if stacked or not place else WIDTH_IN / 2 + _GAP_IN / 2
        down = top + 0.3 + (place * (map_height + 0.3) if stacked else 0)
        axes = sheet.axes(left, down, map_width, map_height)
        draw_map(axes, facts, images[name], _IMAGE_TITLES.get(name, name.capitalize()), () if place else numbered)
        if not place:
            _legend(axes, facts)


def _legend(axes: Axes, facts: Facts) -> None:
    kinds: list[tuple[str, str, Any]] = [("accepted", ACCEPTED, "-"), ("rejected", REJECTED, "-")]
    if facts.marks is not None:
        kinds += [("not in the truth", FALSE, "-"), ("missed", MISSED, (0, (3, 2)))]
    handles = [Line2D([], [], color=colour, linestyle=style, linewidth=2.4) for _, colour, style in kinds]
    legend = axes.legend(
        handles, [name for name, _, _ in kinds], loc="lower right", bbox_to_anchor=(1, 1), ncols=len(kinds),
        frameon=True, facecolor="#2b333c", edgecolor="none", labelcolor=PAPER, fontsize=9, borderpad=0.35,
        handlelength=1.6, columnspacing=1.2, borderaxespad=0.25,
    )  # fmt: skip
    legend.set_zorder(5)


def _chosen(facts: Facts) -> list[int]:
    """Return the cells whose traces are shown: the best accepted, or the best of all where none is accepted."""
    best = facts.accepted if len(facts.accepted) else facts.order
    return [int(cell) for cell in best[:_N_TRACES]]


def _middle(sheet: _Sheet, facts: Facts, top: float) -> None:
    chosen = _chosen(facts)
    inside = WIDTH_IN - 2 * _MARGIN_IN
    left_part = inside * 0.63
    axes = sheet.axes(_MARGIN_IN, top + 0.3, left_part, _TRACES_IN - 0.3)
    of = f" of {len(facts.accepted):,} accepted" if len(facts.accepted) > len(chosen) else ""
    axes.set_title(f"Traces: the {len(chosen)} cells of highest SNR{of}", loc="left", fontsize=11, color=INK, pad=6)
    draw_traces(axes, facts, chosen)
    left = _MARGIN_IN + left_part + _GAP_IN
    right_part = inside - left_part - _GAP_IN
    axes = sheet.axes(left, top + 0.3, right_part, _GALLERY_IN)
    axes.set_title("Footprints", loc="left", fontsize=11, color=INK, pad=6)
    draw_gallery(axes, facts, columns=7)
    others = [name for name in ("mean", "noise") if name in facts.cells.summary_images]
    images = background_images(facts.cells.summary_images, facts.cells.footprints, facts.cells.image_shape)
    for place, name in enumerate(name for name in others if name in images):
        width = (right_part - 0.2) / 2
        down = top + 0.3 + _GALLERY_IN + 0.35
        axes = sheet.axes(left + place * (width + 0.2), down, width, _TRACES_IN - _GALLERY_IN - 0.65)
        axes.imshow(images[name], cmap="gray", vmin=0, vmax=255)
        axes.set_anchor("NW")
        axes.set_frame_on(False)
        axes.set(xticks=[], yticks=[])
        axes.set_title(_IMAGE_TITLES[name], loc="left", fontsize=11, color=INK, pad=6)


def _histograms(sheet: _Sheet, facts: Facts, top: float) -> None:
    measures = facts.measures[:_MAX_HISTOGRAMS]
    if not measures:
        return
    columns = min(6, len(measures))
    width = (WIDTH_IN - 2 * _MARGIN_IN - (columns - 1) * _GAP_IN) / columns
    for place, measure in enumerate(measures):
        row, column = divmod(place, columns)
        left = _MARGIN_IN + column * (width + _GAP_IN)
        down = top + 0.25 + row * (_HISTOGRAMS_IN + 0.15)
        draw_histogram(sheet.axes(left, down, width, _HISTOGRAMS_IN - 0.6), facts, measure)


def _tables(sheet: _Sheet, facts: Facts, top: float) -> None:
    width = (WIDTH_IN - 2 * _MARGIN_IN - 3 * _GAP_IN) / 4
    for place, (title, rows) in enumerate(_table_rows(facts)):
        if title or rows:
            height = _TABLE_LINE_IN * (1.2 + len(rows))
            draw_table(sheet.axes(_MARGIN_IN + place * (width + _GAP_IN), top, width, height), title, rows)


def _table_rows(facts: Facts) -> list[tuple[str, list[tuple[str, ...]]]]:
    """Return heading and rows of the four tables; what does not fit is counted in the last row."""
    reasons = [(reason, f"{count:,}") for reason, count in facts.reasons]
    stages = [
        (cost.stage, f"{cost.wall_s:.1f} s", f"{cost.peak_bytes / 1e6:,.0f} MB")
        for cost in facts.cells.provenance.stages
    ]
    settings = short_settings(facts.cells.settings)
    half = min(-(-len(settings) // 2), _TABLE_ROWS)
    tables: list[tuple[str, list[tuple[str, ...]]]] = [
        ("Why cells were rejected", list(reasons)),
        ("Time and peak memory", list(stages)),
        ("Settings", list(settings[:half])),
        ("", list(settings[half:])),
    ]
    return [(title, _cut(rows) if rows or not title else [("none",)]) for title, rows in tables]


def _cut(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    if len(rows) <= _TABLE_ROWS:
        return rows
    return [*rows[: _TABLE_ROWS - 1], (f"and {len(rows) - _TABLE_ROWS + 1} more",)]
