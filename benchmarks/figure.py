"""Draw the picture of README.md from a result: the accepted cells on the movie's maximum, and traces of some.

gpucells extract ../shared/data/real_1p_ca1.h5 --method cnmfe --preset one_photon -o ca1.h5
python benchmarks/figure.py ca1.h5 docs/figures/real_1p_ca1.png
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

import gpucells
from gpucells.report.facts import gather_facts
from gpucells.report.outlines import background_images
from gpucells.report.panels import draw_map, draw_traces

N_TRACES = 16
WIDTH_IN, HEIGHT_IN, DPI = 10.0, 4.6, 110
COLOURS = 64  # a drawing needs no more, and the file is a third as large


def draw(cells: gpucells.Cells) -> Figure:
    facts = gather_facts(cells.accepted_only())
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    chosen = [int(cell) for cell in facts.accepted[:N_TRACES]]
    height, width = cells.image_shape
    image = background_images(cells.summary_images, cells.footprints, cells.image_shape)["max"]
    left = figure.add_axes((0.01, 0.02, 0.88 * HEIGHT_IN / WIDTH_IN * width / height, 0.88))
    draw_map(left, facts, image, f"{len(facts.accepted)} cells", chosen)
    right = figure.add_axes((0.47, 0.0, 0.51, 0.92))
    right.set_title(f"the {len(chosen)} of highest SNR", loc="left", fontsize=11, pad=4)
    draw_traces(right, facts, chosen)
    return figure


def main(result: str, picture: str) -> None:
    drawn = io.BytesIO()
    draw(gpucells.load_cells(result)).savefig(drawn, format="png")
    Image.open(drawn).convert("RGB").quantize(COLOURS).save(Path(picture), optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
