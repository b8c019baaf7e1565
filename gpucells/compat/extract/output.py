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
from gpucells.model.cells import Cells

Float32 = NDArray[np.float32]

#: EXTRACT's 30 measures in their order, and the column of our quality table that is the same.
MEASURES: dict[str, str] = {
    "T_maxval": "trace_snr",
    "T_corruption": "temporal_corruption",
    "T_max_corr": "neighbour_correlation",
    "S_area_1": "",
    "S_smooth_area_1": "",
    "S_area_2": "",
    "S_smooth_area_2": "",
    "S_max_corr": "neighbour_overlap",
    "S_corruption": "spatial_corruption",
    "S_eccent": "eccentricity",
    "S_circularity": "circularity",
    **{f"ST{kind}_index_{i}": "" for kind in (1, 2, 3) for i in (1, 2, 3, 4, 5)},
    **{f"ST_corr_{i}": "" for i in (1, 2, 3)},
    "T_dup_val": "",
}
FAULTS = 9  # rows of EXTRACT's is_attr_bad


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
        summary_image=images["correlation"],
        max_image=images["max"],
        F_per_pixel=images["mean"],
        cellcheck=_cellcheck(good),
        summary=_summary(cells, bool(config.compact_output)),
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
    height, width = cells.image_shape
    if not as_sparse:
        return np.ascontiguousarray(np.moveaxis(cells.images(), 0, 2))
    return _in_matlabs_order(cells.footprints, height, width)


def _in_matlabs_order(footprints: sparse.csr_array, height: int, width: int) -> sparse.csc_array:
    """Return ``(height * width, K)`` whose pixels count down the columns of the image."""
    found = footprints.tocoo()
    row, column = np.divmod(found.col, width)
    shape = (height * width, footprints.shape[0])
    return sparse.csc_array((found.data, (column * height + row, found.row)), shape=shape, dtype=np.float32)


def _summary(cells: Cells, compact: bool) -> list[Structure]:
    """Return what EXTRACT has a partition, of which there is one here; rejected images are sparse."""
    bad = cells.select(~cells.accepted)
    one = Structure(summary_image=cells.summary_images["correlation"], max_image=cells.summary_images["max"])
    if not compact:
        one.S_bad = _in_matlabs_order(bad.footprints, *cells.image_shape)
        one.T_bad = bad.traces.T
        one.reasons = list(bad.rejection)
    return [one]


def _cellcheck(good: Cells) -> Structure:
    missing = np.full(good.n_cells, np.nan, np.float32)
    rows = [good.quality.get(ours, missing) if ours else missing for ours in MEASURES.values()]
    return Structure(
        metrics=np.stack(rows),
        names=list(MEASURES),
        is_attr_bad=np.zeros((FAULTS, good.n_cells), bool),
        is_bad=np.zeros(good.n_cells, bool),
    )
