"""CIAtah's summary figure: cells in colours, their images, traces, and outlines on a frame of the movie."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gpucells.io.atomic_file import written_atomically
from gpucells.model.cells import Cells
from gpucells.report.outlines import LEVEL, footprint_pixels, outline, to_grey
from gpucells.report.palette import INK, PAPER, QUIET
from gpucells.report.panels import shortened
from gpucells.report.thinning import thin

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Float32 = NDArray[np.float32]
N_TRACES, POINTS = 40, 1600
GREY = (0.72, 0.72, 0.72)


def draw_object_maps(
    cells: Cells, frame: Float32, path: str | os.PathLike[str], title: str, overwrite: bool = False
) -> None:  # fmt: skip
    """Draw the figure into a PNG file.

    Parameters
    ----------
    cells : Cells
        Accepted ones are in colours, the others grey.
    frame : numpy.ndarray
        ``(height, width)`` of the movie.
    path : path-like
        Where it goes.
    title : str
        Above it.
    overwrite : bool
        Replace a file of that name.

    Raises
    ------
    ResultFileError
        The file cannot be written; none is left half done.
    """
    figure = Figure(figsize=(16, 8), dpi=110, facecolor=PAPER)
    FigureCanvasAgg(figure)
    figure.text(0.02, 0.965, shortened(title, 190), fontsize=12, color=INK, va="center")
    grid = figure.add_gridspec(2, 4, left=0.02, right=0.98, top=0.9, bottom=0.04, wspace=0.12, hspace=0.16)
    colours = _colours(cells)
    _picture(figure.add_subplot(grid[0, 0]), _cell_map(cells, colours), "Cell map, at half of each maximum")
    largest = cells.footprints.max(axis=0).toarray() if cells.n_cells else np.zeros(cells.image_shape)
    axes = figure.add_subplot(grid[0, 1])
    shown = axes.imshow(np.asarray(largest, np.float32).reshape(cells.image_shape), cmap="viridis", vmin=0, vmax=1)
    _picture(axes, None, "Maximum of all images")
    figure.colorbar(shown, ax=axes, fraction=0.046)
    grey = to_grey(np.asarray(frame, np.float32))
    _picture(figure.add_subplot(grid[1, 0]), grey, "A frame of the movie")
    axes = figure.add_subplot(grid[1, 1])
    _picture(axes, grey, "The same, with outlines")
    for cell in np.flatnonzero(cells.accepted):
        lines = outline(cells.footprints, int(cell), cells.image_shape[1])
        axes.add_collection(LineCollection(lines, colors=[colours[cell]], linewidths=1))
    _traces(figure.add_subplot(grid[:, 2:]), cells, colours)
    with written_atomically(path, overwrite=overwrite) as file:
        figure.savefig(file, format="png")


def _colours(cells: Cells) -> NDArray[np.float64]:
    """Return a colour a cell, neighbours in the list far apart; grey for those that are not accepted."""
    from matplotlib import colormaps

    place = np.random.default_rng(0).permutation(cells.n_cells) / max(1, cells.n_cells - 1)
    colours = np.asarray(colormaps["viridis"](place))[:, :3].reshape(-1, 3)
    colours[~cells.accepted] = GREY
    return colours


def _cell_map(cells: Cells, colours: NDArray[np.float64]) -> NDArray[np.float64]:
    image = np.zeros((*cells.image_shape, 3))
    for cell in np.argsort(cells.accepted, kind="stable"):  # accepted cells lie above
        rows, columns, weights = footprint_pixels(cells.footprints, int(cell), cells.image_shape[1])
        high = weights > LEVEL * weights.max(initial=0)
        image[rows[high], columns[high]] = colours[cell]
    return image


def _picture(axes: Axes, image: NDArray[np.float64] | NDArray[np.uint8] | None, title: str) -> None:
    if image is not None:
        axes.imshow(image, cmap="gray", vmin=0, vmax=255 if image.dtype == np.uint8 else 1)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, loc="left", fontsize=10, color=INK)


def _traces(axes: Axes, cells: Cells, colours: NDArray[np.float64]) -> None:
    axes.set_title("Cell activity traces, each to its own maximum", loc="left", fontsize=10, color=INK)
    axes.set(yticks=[], xlabel="seconds" if cells.frame_rate_hz else "frames")
    axes.tick_params(labelsize=8, colors=QUIET)
    for place, cell in enumerate(np.flatnonzero(cells.accepted)[:N_TRACES]):
        trace = np.nan_to_num(cells.traces[cell])
        frames, values = thin(trace / max(float(trace.max(initial=0)), 1e-12), POINTS)
        axes.plot(frames / (cells.frame_rate_hz or 1), values - place, color=colours[cell], linewidth=0.6)
