"""Pictures of estimates. What is drawn is an ordinary matplotlib figure; nothing opens a window by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gpucells.compat.caiman.utils.visualization import get_contours
from gpucells.compat.told_once import tell_once
from gpucells.report.contours import draw_component, draw_contours

if TYPE_CHECKING:
    from gpucells.compat.caiman.source_extraction.cnmf.estimates import Estimates


def plot_contours(
    self: Estimates, img: Any = None, idx: Any = None, thr_method: str = "max", thr: float = 0.2,
    display_numbers: bool = True, params: Any = None, cmap: str = "viridis", **others: Any,
) -> Estimates:  # fmt: skip
    """Draw outlines on an image in the current figure; sets ``coordinates``.

    Parameters
    ----------
    img : numpy.ndarray, optional
        ``(height, width)``; the local correlation where not given.
    idx : sequence of int, optional
        Components for the left picture, the others go to a second one; all in one where not given.
    thr_method, thr : str and float
        ``max``: outlines at this share of the maximum; ``nrg``: around this share of the energy.
    display_numbers : bool
        Write the components' numbers, from 1.
    cmap : str
        Colours of the image.
    params, **others
        Of no effect.
    """
    image = picture(self, img)
    self.coordinates = get_contours(self.A, self.dims, thr=thr, thr_method=thr_method)
    parts = [self.coordinates]
    if idx is not None:
        chosen = {int(i) for i in np.ravel(idx)}
        good = [one for i, one in enumerate(self.coordinates) if i in chosen]
        parts = [good, [one for i, one in enumerate(self.coordinates) if i not in chosen]]
    draw_contours(image, parts, display_numbers, cmap)
    return self


def view_components(
    self: Estimates, Yr: Any = None, img: Any = None, idx: Any = None, denoised_color: Any = None,
    cmap: str = "viridis", thr: float = 0.2, **others: Any,
) -> Estimates:  # fmt: skip
    """Draw a component: footprint, place, trace; a slider goes through them where the backend has a window.

    Parameters
    ----------
    Yr
        Of no effect: traces are in the estimates.
    img : numpy.ndarray, optional
        ``(height, width)``; the local correlation where not given.
    idx : sequence of int, optional
        Which components; all where not given.
    denoised_color : str, optional
        Colour of ``C``.
    cmap : str
        Colours of the image.
    thr : float
        Of no effect.
    **others
        Of no effect.
    """
    which = np.arange(self.A.shape[1]) if idx is None else np.ravel(np.asarray(idx, np.int64))
    measured = self.C if self.YrA is None else self.C + self.YrA

    def footprint(k: int) -> Any:
        return self.A[:, [k]].toarray().reshape(self.dims, order="F")

    self.viewer = draw_component(picture(self, img), which, footprint, measured, self.C, denoised_color or "C1", cmap)
    return self


def play_movie(self: Estimates, *arguments: Any, **options: Any) -> None:
    """Do nothing, with a warning: the movie is looked at with a viewer."""
    tell_once("play_movie plays nothing: gpucells draws no movies")


def picture(self: Estimates, img: Any) -> Any:
    """Return the image to draw on: the one given, the correlation, or the footprints over each other."""
    if img is not None:
        return np.asarray(img)
    if self.Cn is not None:
        return self.Cn
    largest = self.A.max(axis=1).toarray() if self.A.shape[1] else np.zeros(self.A.shape[0])
    return np.reshape(largest, self.dims, order="F")
