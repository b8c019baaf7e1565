r"""The filter that CNMF-E finds cells with: a Gaussian as wide as a cell, less its mean over a disc.

.. math:: h(u) = g(u) - \operatorname{mean}_{|u| \le 2\sigma} g \quad (|u| \le 2\sigma), \qquad
          g(u) = e^{-|u|^2 / 2\sigma^2}

(Zhou et al. 2018, eLife 7:e28728). What does not vary over the disc leaves nothing, so that diffuse background goes,
and what is as wide as a cell stays. Around a bright cell it leaves a dark surround.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gpucells.errors import SettingsError
from gpucells.preprocess.spatial_filter import SpatialFilter

SIGMA_RADII = 0.5  # standard deviation in cell radii, as the other filter takes cells (preprocess/spatial_filter.py)
REACH_SIGMAS = 2.0  # radius of the disc: a cell 13 px wide has a Gaussian of 3 px, as in the paper's software


def zero_mean_gaussian(sigma_px: float) -> NDArray[np.float64]:
    """Compute the kernel.

    Parameters
    ----------
    sigma_px : float
        Standard deviation of the Gaussian (px).

    Returns
    -------
    numpy.ndarray
        ``(n, n)`` float64, odd, 3 px wide at least; sum 0, Gaussian of sum 1 before its mean was taken off.

    Raises
    ------
    SettingsError
        The standard deviation is not positive.
    """
    if not sigma_px > 0:
        raise SettingsError(f"sigma_px = {sigma_px}", "it must be above 0")
    reach = max(1, int(REACH_SIGMAS * sigma_px))
    squared = np.arange(-reach, reach + 1) ** 2
    distance = squared[:, None] + squared
    disc = distance <= reach**2
    gaussian = np.where(disc, np.exp(-distance / (2 * sigma_px**2)), 0)
    gaussian /= gaussian.sum()
    return np.where(disc, gaussian - 1 / disc.sum(), 0)


def zero_mean_filter(height: int, width: int, radius_px: float, workers: int = 1) -> SpatialFilter:
    """Make the filter for cells of a size.

    Parameters
    ----------
    height, width : int
        Of a frame (px).
    radius_px : float
        Cell radius (px).
    workers : int
        Threads of the transforms.
    """
    return SpatialFilter.of_kernel(height, width, zero_mean_gaussian(SIGMA_RADII * radius_px), workers)
