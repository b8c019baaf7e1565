"""Where cells are and what they look like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.errors import SettingsError
from gpucells.simulate.settings import SimulationSettings

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

FAINTEST = 0.02  # of the maximum: what is fainter is left out of a footprint
EDGE_LEVEL = 0.2  # of the maximum: where the edge of a cell is drawn
ROUNDS = 200  # tries to place each missing cell before giving up


@dataclass(frozen=True)
class Footprints:
    """Shapes before any optics.

    Parameters
    ----------
    rows : scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` float32, each maximum 1.
    at_border : numpy.ndarray
        ``(n_cells,)`` bool: part of the cell brighter than 0.2 of its maximum lies outside the image.
    """

    rows: sparse.csr_array
    at_border: NDArray[np.bool_]


def make_footprints(settings: SimulationSettings, rng: np.random.Generator) -> Footprints:
    """Place cells at random, no two centres closer than ``min_distance``, and draw them.

    Raises
    ------
    SettingsError
        So many cells do not fit that far apart.
    """
    height, width = settings.shape[1:]
    centres = place(settings.cell_count, (height, width), settings.min_distance * settings.cell_diameter_px, rng)
    data, indices, indptr, cut = [], [], [0], []
    for centre in centres:
        values, rows, columns = _draw(settings, centre, rng)
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        cut.append(bool((values[~inside] >= EDGE_LEVEL).any()))
        peak = values[inside].max(initial=1e-6)
        keep = inside & (values >= FAINTEST * peak)
        data.append((values[keep] / peak).astype(np.float32))
        indices.append((rows[keep] * width + columns[keep]).astype(np.int32))
        indptr.append(indptr[-1] + int(keep.sum()))
    parts = (
        np.concatenate([np.zeros(0, np.float32), *data]),
        np.concatenate([np.zeros(0, np.int32), *indices]),
        np.asarray(indptr, dtype=np.int32),
    )
    matrix = sparse.csr_array(parts, shape=(len(centres), height * width))
    return Footprints(matrix, np.asarray(cut, dtype=np.bool_))


def place(n: int, image_shape: tuple[int, int], min_distance: float, rng: np.random.Generator) -> Float64:
    """Choose centres at random.

    Parameters
    ----------
    n : int
        How many.
    image_shape : tuple of int
        ``(height, width)``.
    min_distance : float
        Smallest distance of two (px).
    rng : numpy.random.Generator
        Where chance comes from.

    Returns
    -------
    numpy.ndarray
        ``(n, 2)`` rows and columns.

    Raises
    ------
    SettingsError
        They do not fit.
    """
    centres = np.zeros((0, 2))
    for _ in range(ROUNDS):
        for candidate in rng.uniform(-0.5, np.asarray(image_shape) - 0.5, (max(n, 8), 2)):
            if len(centres) == n:
                return centres
            if (np.hypot(*(centres - candidate).T) >= min_distance).all():
                centres = np.concatenate([centres, candidate[None]])
    if len(centres) == n:
        return centres
    raise SettingsError(
        f"only {len(centres)} of {n} cells fit {min_distance:.1f} px apart into {image_shape[0]} x {image_shape[1]} px",
        "lower n_cells or min_distance",
    )


def _draw(
    settings: SimulationSettings, centre: Float64, rng: np.random.Generator
) -> tuple[Float64, NDArray[np.int64], NDArray[np.int64]]:
    """Return the values of one cell and their rows and columns, also where those are outside the image."""
    spread = settings.diameter_spread
    radius = settings.cell_diameter_px / 2 * (1 + rng.uniform(-spread, spread))
    stretch, tilt = rng.uniform(1.0, 1.3), rng.uniform(0, np.pi)
    waves, darkness = rng.normal(0, (0.06, 0.05, 0.025), (2, 3)), rng.uniform(0, 1)
    reach = int(np.ceil(radius * (4.0 if settings.halo else 2.0) + 2))
    first = np.round(centre).astype(np.int64)
    rows, columns = (axis.ravel() for axis in np.mgrid[-reach : reach + 1, -reach : reach + 1] + first[:, None, None])
    dy, dx = rows - centre[0], columns - centre[1]
    along = (dx * np.cos(tilt) + dy * np.sin(tilt)) / np.sqrt(stretch)
    across = (dy * np.cos(tilt) - dx * np.sin(tilt)) * np.sqrt(stretch)
    angle = np.arctan2(across, along)
    orders = np.arange(2, 5)[:, None]
    outline = radius * (1 + waves[0] @ np.cos(orders * angle) + waves[1] @ np.sin(orders * angle))
    distance = np.hypot(along, across) / outline  # 1 on the outline, at half the brightness
    if settings.kind == "two_photon":
        soft = 0.7 / radius  # an optical section blurs the edge by about 0.7 px
        values = _step(1 - distance, soft)
        values *= 1 - settings.ring * (0.4 + 0.6 * darkness) * _step(0.55 - distance, 1.5 * soft)
    else:
        values = np.exp(-np.log(2) * distance**2) + settings.halo * np.exp(-np.log(2) * (distance / 2.5) ** 2)
    values /= values.max()
    return values, rows, columns


def _step(x: Float64, width: float) -> Float64:
    return np.asarray(1 / (1 + np.exp(np.clip(-x / width, -50, 50))))
