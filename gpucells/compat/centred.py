"""Whether a movie is dF/F already, so that its traces are not divided once more."""

from __future__ import annotations

import numpy as np

from gpucells.model.cells import Cells

LEVEL, SHARE = 0.01, 0.1  # of the noise: EXTRACT's own test of a movie that has no baseline


def is_centred(cells: Cells) -> bool:
    """Say whether the movie's mean is about 0, as that of dF/F is and that of light is not.

    Parameters
    ----------
    cells : Cells
        With the summary images ``mean`` and ``noise``; those of a movie without pixels that count say no.
    """
    images = cells.summary_images
    if not np.isfinite(images["mean"]).any() or not np.isfinite(images["noise"]).any():
        return False
    mean, noise = np.nanmean(images["mean"]), np.nanmedian(images["noise"])
    return bool(mean < LEVEL or mean < SHARE * noise)
