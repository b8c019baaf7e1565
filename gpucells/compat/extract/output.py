"""EXTRACT's output structure, made of cells."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.compat.centred import is_centred
from gpucells.compat.extract.config import Config
from gpucells.compat.parameters import is_empty
from gpucells.compat.structure import Structure
from gpucells.export.extract_mat import MEASURES, cellcheck
from gpucells.model.cells import Cells

Float32 = NDArray[np.float32]


def make_output(cells: Cells, config: Config, seconds: float, version: str) -> Structure:
    """Give cells EXTRACT's names, shapes and units.

    Parameters
    ----------
    cells : Cells
        Accepted and rejected.
    config : Config
        Of the run, filled up.
    seconds : float
        That it took.
    version : str
        Of this package.
    """
    good = cells.accepted_only()
    traces = good.traces / _divisor(good, config)[:, None]
    images = cells.summary_images
    info = Structure(
        version=f"gpucells {version}",
        runtime=seconds,
        upload_time=np.zeros(1),
        runtime_partition=np.array([seconds]),
        summary_image=images["correlation"],
        max_image=images["max"],
        F_per_pixel=images["mean"],
        cellcheck=Structure(cellcheck(good), names=list(MEASURES), is_bad=np.zeros(good.n_cells, bool)),
        summary=_summary(cells, config),
        cells=cells,
    )
    return Structure(
        spatial_weights=_images(good, bool(config.use_sparse_arrays)),
        temporal_weights=np.ascontiguousarray(traces.T, np.float32),
        info=info,
        config=config,
    )


def _divisor(good: Cells, config: Config) -> Float32:
    """Return what each trace is divided by: the mean of a baseline image over the footprint, as in EXTRACT."""
    if not config.preprocess:
        if is_empty(config.F_per_pixel):
            return np.ones(good.n_cells, np.float32)
        image = np.asarray(config.F_per_pixel, np.float32).reshape(good.image_shape)
        mass = np.maximum(np.asarray(good.footprints.sum(axis=1)).ravel(), 1e-12)
        return np.asarray(good.footprints @ image.ravel() / mass, np.float32)
    baseline = np.nan_to_num(good.f0, nan=0.0)
    if config.skip_dff or is_centred(good):
        return np.maximum(baseline, 1).astype(np.float32)
    return np.where(baseline > 0, baseline, 1).astype(np.float32)


def _images(cells: Cells, as_sparse: bool) -> Any:
    if as_sparse:
        return _in_matlabs_order(cells)
    return np.ascontiguousarray(np.moveaxis(cells.images(), 0, 2))


def _in_matlabs_order(cells: Cells) -> sparse.csc_array:
    """Return footprints as ``(height * width, K)``, whose pixels count down the columns of the image."""
    height, width = cells.image_shape
    found = cells.footprints.tocoo()
    row, column = np.divmod(found.col, width)
    shape = (height * width, cells.n_cells)
    return sparse.csc_array((found.data, (column * height + row, found.row)), shape=shape, dtype=np.float32)


def _summary(cells: Cells, config: Config) -> list[Structure]:
    """Return what EXTRACT has a partition, of which there is one here.

    ``S_bad`` is ``(height * width, n_bad)``, pixels in MATLAB's order, ``T_bad`` ``(n_bad, n_frames)``: cells are rows
    there, unlike in ``temporal_weights``. Both are empty where the output is to be compact.
    """
    bad = cells.select(np.zeros(cells.n_cells, bool) if config.compact_output else ~cells.accepted)
    footprints = _in_matlabs_order(bad)
    return [
        Structure(
            summary_image=cells.summary_images["correlation"],
            max_image=cells.summary_images["max"],
            fov_occupation=np.ones(cells.image_shape, bool),
            S_bad=footprints if config.use_sparse_arrays else footprints.toarray(order="F"),
            T_bad=np.asarray(bad.traces / _divisor(bad, config)[:, None], np.float32),
            reasons=list(bad.rejection),
        )
    ]
