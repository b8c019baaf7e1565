"""The page: everything it shows is in the one file, and every text in it is data, never markup."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpucells.model.cells import Float32
from gpucells.report import palette
from gpucells.report.facts import Facts, Marks, readable, short_settings
from gpucells.report.outlines import Line, background_images, outline, stamp, stamp_side
from gpucells.report.thinning import thin

#: Bytes of all traces together (before base64 makes them 4/3 as long): a page of thousands of cells stays below 20 MB.
TRACE_BYTES = 6_000_000
#: Points of a trace: enough for a wide screen, and few enough that little is lost to a table of many cells.
MAX_POINTS, MIN_POINTS = 4000, 200
#: Side of an image (px) above which it is shown with fewer pixels.
MAX_IMAGE_PX = 1024

_IMAGE_LABELS = {"correlation": "local correlation", "max": "maximum", "mean": "mean", "noise": "noise"}


def make_page(facts: Facts) -> str:
    """Return the page as HTML."""
    files = resources.files("gpucells.report")
    parts = {name: files.joinpath(f"page.{name}").read_text(encoding="utf-8") for name in ("css", "js")}
    for name in ("ACCEPTED", "REJECTED", "FALSE", "MISSED", "INK", "QUIET", "RULE", "PAPER"):
        parts["css"] = parts["css"].replace(f"var(--{name.lower()})", getattr(palette, name))
    parts |= {"title": html.escape(facts.title), "data": as_script_json(page_data(facts))}
    # In one pass, so that a title that looks like a placeholder stays a title.
    template = files.joinpath("page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def as_script_json(value: Any) -> str:
    """Return JSON that cannot end the script element it stands in."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def page_data(facts: Facts) -> dict[str, Any]:
    """Return what the page's script draws from."""
    cells = facts.cells
    height, width = cells.image_shape
    provenance = cells.provenance
    return {
        "title": facts.title,
        "subtitle": facts.subtitle,
        "figures": _figures(facts),
        "width": width,
        "height": height,
        "rate": cells.frame_rate_hz,
        "frames": cells.n_frames,
        "pixel_um": cells.pixel_size_um,
        "images": _images(facts),
        "cells": _cell_columns(facts),
        "measures": _measures(facts),
        "missed": _missed(facts.marks, width),
        "traces": _traces(facts),
        "stamps": _stamps(facts),
        "reasons": [list(item) for item in facts.reasons],
        "stages": [[s.stage, _short(s.wall_s), _short(s.cpu_s), int(s.peak_bytes)] for s in provenance.stages],
        "settings": [list(item) for item in short_settings(cells.settings)],
        "origin": _origin(facts),
        "warnings": list(provenance.warnings),
    }


def _figures(facts: Facts) -> list[list[str]]:
    n_accepted = len(facts.accepted)
    counts = (
        (facts.cells.n_cells, "found", ""),
        (n_accepted, "accepted", "accepted"),
        (facts.cells.n_cells - n_accepted, "rejected", "rejected"),
    )
    figures = [[f"{value:,}", name, kind] for value, name, kind in counts]
    if facts.marks is not None:
        figures += [[value, name, ""] for name, value in facts.marks.figures]
    return figures


def _origin(facts: Facts) -> list[list[str]]:
    provenance = facts.cells.provenance
    rows = [
        ("movie", provenance.source),
        ("identity", provenance.input_identity),
        ("made", provenance.created),
        ("device", provenance.device),
        ("seed", str(provenance.seed)),
        *provenance.versions.items(),
    ]
    return [[name, str(value)] for name, value in rows if value]


def _cell_columns(facts: Facts) -> dict[str, Any]:
    cells = facts.cells
    width = cells.image_shape[1]
    false = set() if facts.marks is None else set(facts.marks.false.tolist())
    return {
        "kind": [
            "false" if cell in false else "accepted" if accepted else "rejected"
            for cell, accepted in enumerate(cells.accepted.tolist())
        ],
        "reason": list(cells.rejection),
        "order": facts.order.tolist(),
        "snr": _numbers(facts.snr),
        "noise": _numbers(facts.noise),
        "f0": _numbers(cells.f0),
        "centre": [[_short(column), _short(row)] for row, column in cells.centroids().tolist()],
        "outline": [_flat(outline(cells.footprints, cell, width)) for cell in range(cells.n_cells)],
    }


def _measures(facts: Facts) -> list[dict[str, Any]]:
    return [
        {
            "label": readable(name),
            "values": _numbers(facts.cells.quality[name]),
            "bounds": [_short(bound) for bound in facts.thresholds.get(name, (None, None))],
        }
        for name in facts.measures
    ]


def _missed(marks: Marks | None, width: int) -> list[list[list[float]]] | None:
    """Return outlines of missed cells; None where there is no truth to miss them by."""
    return None if marks is None else [_flat(outline(marks.footprints, int(k), width)) for k in marks.missed]


def _flat(lines: list[Line]) -> list[list[float]]:
    """Return each line as x, y, x, y, … to a tenth of a pixel."""
    return [np.round(line.astype(np.float64), 1).ravel().tolist() for line in lines]


def _images(facts: Facts) -> list[dict[str, str]]:
    cells = facts.cells
    images = background_images(cells.summary_images, cells.footprints, cells.image_shape)
    step = -(-max(cells.image_shape) // MAX_IMAGE_PX)
    return [
        {"name": name, "label": _IMAGE_LABELS.get(name, name), "src": png_url(image[::step, ::step])}
        for name, image in images.items()
    ]


def _stamps(facts: Facts) -> dict[str, Any]:
    """Return all footprints in one picture, a square each, row after row."""
    cells = facts.cells
    width = cells.image_shape[1]
    side = stamp_side(cells.footprints, width)
    across = max(1, int(np.ceil(np.sqrt(cells.n_cells))))
    sheet = np.zeros((max(1, -(-cells.n_cells // across)) * side, across * side), dtype=np.uint8)
    for cell in range(cells.n_cells):
        row, column = divmod(cell, across)
        place = (slice(row * side, (row + 1) * side), slice(column * side, (column + 1) * side))
        sheet[place] = stamp(cells.footprints, cell, width, side) * 255
    return {"side": side, "across": across, "src": png_url(sheet)}


def _traces(facts: Facts) -> dict[str, Any]:
    cells = facts.cells
    several = 1 if cells.denoised is None else 2
    points = int(np.clip(TRACE_BYTES // max(1, cells.n_cells * several), MIN_POINTS, MAX_POINTS)) // 2 * 2
    frames = thin(np.zeros(cells.n_frames, dtype=np.float32), points)[0]
    data: dict[str, Any] = {"x": [_short(frame, 7) for frame in frames.tolist()]}
    data["measured"] = _packed(cells.traces, points)
    data["denoised"] = None if cells.denoised is None else _packed(cells.denoised, points)
    return data


def _packed(traces: Float32, points: int) -> dict[str, Any]:
    """Return traces thinned and in 256 steps between each one's own lowest and highest value."""
    lows, highs, parts = [], [], []
    for trace in traces:
        values = np.nan_to_num(thin(trace, points)[1], posinf=0, neginf=0).astype(np.float64)
        low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
        parts.append(np.round((values - low) * (255 / (high - low) if high > low else 0)).astype(np.uint8).tobytes())
        lows.append(_short(low, 6))
        highs.append(_short(high, 6))
    return {"low": lows, "high": highs, "bytes": base64.b64encode(b"".join(parts)).decode("ascii")}


def png_url(image: NDArray[np.uint8]) -> str:
    """Return a grey image as a ``data:`` address."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(stream, format="png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _numbers(values: NDArray[Any]) -> list[float | None]:
    return [_short(value) for value in np.asarray(values, dtype=np.float64).tolist()]


def _short(value: float | None, digits: int = 4) -> float | None:
    """Return a number with few digits; None for what JSON cannot hold."""
    return float(f"{value:.{digits}g}") if value is not None and np.isfinite(value) else None
