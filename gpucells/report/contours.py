"""Outlines on an image, and single components, drawn with pyplot as scripts of other tools expect it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpucells.report.outlines import to_grey

COLOURS = ("w", "r")


def draw_contours(
    image: Any, parts: Sequence[Sequence[dict[str, Any]]], numbers: bool, cmap: str, second: Any = None
) -> Any:
    """Draw outlines in the current figure, or a new one where it has something in it.

    Parameters
    ----------
    image : numpy.ndarray
        ``(height, width)``.
    parts : sequence
        Outlines for one picture each, with ``coordinates`` ``(n, 2)`` as (x, y), ``CoM`` (row, column), ``neuron_id``.
    numbers : bool
        Write ``neuron_id`` beside each.
    cmap : str
        Colours of the image.
    second : numpy.ndarray, optional
        Another image for the second picture.
    """
    from matplotlib import pyplot as plt

    figure = plt.gcf() if not plt.gcf().axes else plt.figure()
    for place, outlines in enumerate(parts):
        axes = figure.add_subplot(1, len(parts), place + 1)
        axes.imshow(to_grey(np.asarray(second if place and second is not None else image, np.float32)), cmap=cmap)
        for one in outlines:
            axes.plot(*np.asarray(one["coordinates"]).T, color=COLOURS[place % 2], linewidth=1)
            if numbers:
                axes.text(one["CoM"][1], one["CoM"][0], str(one["neuron_id"]), color=COLOURS[place % 2])
        axes.set_axis_off()
    return figure


def draw_component(
    image: Any, which: Any, footprint: Callable[[int], Any], measured: Any, denoised: Any, colour: str, cmap: str
) -> Any:
    """Draw one component, and a slider through the others.

    Parameters
    ----------
    image : numpy.ndarray
        ``(height, width)``.
    which : numpy.ndarray
        Numbers of the components.
    footprint : callable
        Returns ``(height, width)`` of one.
    measured, denoised : numpy.ndarray
        ``(n_cells, n_frames)``.
    colour : str
        Of the denoised trace.
    cmap : str
        Colours of the image.

    Returns
    -------
    object
        The slider, which works as long as it is kept; None where there is at most one component.
    """
    from matplotlib import pyplot as plt
    from matplotlib.widgets import Slider

    figure = plt.figure()
    left, right = figure.add_subplot(2, 2, 1), figure.add_subplot(2, 2, 2)
    below = figure.add_subplot(2, 1, 2)

    def show(place: float) -> None:
        for axes in (left, right, below):
            axes.clear()
        left.imshow(to_grey(np.asarray(image, np.float32)), cmap=cmap)
        if not len(which):
            return
        cell = int(which[int(place)])
        weights = footprint(cell)
        right.imshow(weights, cmap=cmap)
        left.contour(weights, [0.2 * max(float(weights.max()), 1e-12)], colors="w")
        below.plot(measured[cell], linewidth=0.6)
        below.plot(denoised[cell], color=colour, linewidth=1)
        below.set_title(f"component {cell + 1}")
        figure.canvas.draw_idle()

    show(0)
    if len(which) < 2:
        return None
    slider = Slider(figure.add_axes((0.15, 0.01, 0.7, 0.03)), "", 0, len(which) - 1, valinit=0, valstep=1)
    slider.on_changed(show)
    return slider
