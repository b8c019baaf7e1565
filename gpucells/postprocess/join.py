"""From the components of every tile to the components of the image.

A cell belongs to the tile whose core holds its centroid. Two tiles see the same cell from nearly the same data, so
near a border its centroid may fall to either side in each: cells are kept a little beyond the core, and of two that
are one the one that lies deeper in its own core stays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.model.components import Components, Filters, Rejected
from gpucells.postprocess.join_backgrounds import join_backgrounds
from gpucells.tiles.given_footprints import of_tile
from gpucells.tiles.grid import Tile, core_weights

Float32 = NDArray[np.float32]

SAME_CELL = 0.6  # footprint cosine above which cells of two tiles are one


@dataclass(frozen=True)
class _Cells:
    footprints: sparse.csr_array
    depth: NDArray[np.float64]
    kept: NDArray[np.bool_]


def join_tiles(
    tiles: list[Tile],
    parts: list[Components],
    image_shape: tuple[int, int],
    radius_px: float,
    hats: sparse.csr_array,
    held: sparse.csr_array | None = None,
    n_background: int | str = "auto",
) -> Components:
    """Join tiles.

    Parameters
    ----------
    tiles : list of Tile
        Whose cores partition the image.
    parts : list of Components
        One a tile, over the tile's own pixels.
    image_shape : tuple of int
        ``(height, width)``.
    radius_px : float
        Cells are kept this far beyond their tile's core (px).
    hats : scipy.sparse.csr_array
        ``(n_hats, n_pixels)`` nodes of the background over the whole image.
    held : scipy.sparse.csr_array, optional
        ``(n_cells, n_pixels)`` footprints that were given to be left as they are: all stay, in their order, each with
        the trace of the tile in whose core it lies deepest.
    n_background : int or "auto"
        Components to keep of backgrounds of low rank.

    Returns
    -------
    Components
        Over the image's pixels.
    """
    if held is not None:
        joined = _join_held(tiles, parts, held, image_shape, hats)
    else:
        joined = _join_found(tiles, parts, image_shape, radius_px, hats)
    if parts[0].background_images is None:
        return joined
    images, traces = _join_low_rank(tiles, parts, image_shape, n_background)
    return replace(joined, background_images=images, background_traces=traces)


def _join_low_rank(
    tiles: list[Tile], parts: list[Components], image_shape: tuple[int, int], n: int | str
) -> tuple[Float32, Float32]:
    """Bring the tiles' backgrounds of low rank to one, each on its core."""
    cores, traces = [], []
    for tile, part in zip(tiles, parts, strict=True):
        assert part.background_images is not None
        assert part.background_traces is not None
        images = part.background_images.reshape(len(part.background_traces), *tile.shape)[:, *tile.core_within]
        cores.append(images.reshape(len(images), images.shape[1] * images.shape[2]))
        traces.append(part.background_traces)
    if len(tiles) == 1:  # as the tile has it
        return cores[0], traces[0]
    joined, common = join_backgrounds(cores, traces, n, min(core.shape[1] for core in cores))
    whole = np.zeros((len(common), *image_shape), np.float32)
    for tile, core in zip(tiles, joined, strict=True):
        box = whole[:, tile.core_rows, tile.core_columns]
        box[...] = core.reshape(box.shape)
    return whole.reshape(len(common), image_shape[0] * image_shape[1]), common


def _join_found(
    tiles: list[Tile], parts: list[Components], image_shape: tuple[int, int], radius_px: float, hats: sparse.csr_array
) -> Components:
    found = [_of_core(tile, part.footprints, image_shape, radius_px) for tile, part in zip(tiles, parts, strict=True)]
    tried = [
        _of_core(tile, part.rejected.footprints, image_shape, 0.0) for tile, part in zip(tiles, parts, strict=True)
    ]
    owner = np.concatenate([np.full(cells.kept.sum(), i) for i, cells in enumerate(found)])
    footprints = sparse.csr_array(sparse.vstack([cells.footprints[cells.kept] for cells in found]))
    depth = np.concatenate([cells.depth[cells.kept] for cells in found])
    single = _singles(footprints, depth, owner)
    names = parts[0].quality
    baseline, noise, gain = _join_maps(tiles, parts, image_shape)
    return Components(
        footprints=sparse.csr_array(footprints[single]),
        traces=_gather([part.traces for part in parts], found)[single],
        baseline=baseline,
        noise=noise,
        gain=gain,
        field=_join_fields(tiles, parts, hats, image_shape),
        quality={name: _gather([part.quality[name] for part in parts], found)[single] for name in names},
        rejected=Rejected(
            sparse.csr_array(sparse.vstack([cells.footprints[cells.kept] for cells in tried])),
            _gather([part.rejected.traces for part in parts], tried),
            tuple(
                reason
                for part, cells in zip(parts, tried, strict=True)
                for reason, keep in zip(part.rejected.reasons, cells.kept, strict=True)
                if keep
            ),
            {name: _gather([part.rejected.quality[name] for part in parts], tried) for name in names},
        ),
        warnings=tuple(dict.fromkeys(warning for part in parts for warning in part.warnings)),
        filters=_join_filters(tiles, parts, found, image_shape, single),
    )  # fmt: skip


def _join_filters(
    tiles: list[Tile], parts: list[Components], found: list[_Cells], image_shape: tuple[int, int],
    single: NDArray[np.int64],
) -> Filters | None:  # fmt: skip
    """Put together the filters of the cells that stay, where the method has some."""
    filters = [part.filters for part in parts if part.filters is not None]
    if len(filters) < len(parts):
        return None
    on_image = [
        replace(some.selected(cells.kept), squares=_moved(tile, some.squares, image_shape))
        for tile, some, cells in zip(tiles, filters, found, strict=True)
    ]
    return Filters.joined(on_image).selected(single)


def _join_held(
    tiles: list[Tile], parts: list[Components], footprints: sparse.csr_array, image_shape: tuple[int, int],
    hats: sparse.csr_array,
) -> Components:  # fmt: skip
    n_cells, n_frames = footprints.shape[0], parts[0].traces.shape[1]
    traces = np.zeros((n_cells, n_frames), np.float32)
    quality = {name: np.full(n_cells, np.nan, np.float32) for name in parts[0].quality}
    deepest = np.full(n_cells, -np.inf)
    for tile, part in zip(tiles, parts, strict=True):
        held, cells = of_tile(tile, footprints, image_shape[1])
        depth = _of_core(tile, held, image_shape, 0.0).depth
        mine = depth > deepest[cells]
        deepest[cells[mine]] = depth[mine]
        traces[cells[mine]] = part.traces[mine]
        for name, column in quality.items():
            column[cells[mine]] = part.quality[name][mine]
    nobody = Rejected.nobody(footprints, traces, quality)
    warnings = tuple(dict.fromkeys(warning for part in parts for warning in part.warnings))
    baseline, noise, gain = _join_maps(tiles, parts, image_shape)
    return Components(
        footprints=footprints, traces=traces, baseline=baseline, noise=noise, gain=gain,
        field=_join_fields(tiles, parts, hats, image_shape), quality=quality, rejected=nobody, warnings=warnings,
    )  # fmt: skip


def _join_maps(
    tiles: list[Tile], parts: list[Components], image_shape: tuple[int, int]
) -> tuple[Float32, Float32, Float32]:
    """Put the cores' baseline, noise and gain together."""
    maps = {name: np.zeros(image_shape, np.float32) for name in ("baseline", "noise", "gain")}
    for tile, part in zip(tiles, parts, strict=True):
        for name, image in maps.items():
            image[tile.core_rows, tile.core_columns] = getattr(part, name).reshape(tile.shape)[tile.core_within]
    return maps["baseline"].ravel(), maps["noise"].ravel(), maps["gain"].ravel()


def _gather(arrays: list[Float32], cells: list[_Cells]) -> Float32:
    """Concatenate what belongs to the cells that each tile keeps."""
    return np.concatenate([array[some.kept] for array, some in zip(arrays, cells, strict=True)])


def _of_core(tile: Tile, footprints: sparse.csr_array, image_shape: tuple[int, int], margin_px: float) -> _Cells:
    """Move a tile's footprints to the image; say how deep each centroid lies in the core, and which are the tile's."""
    moved = _moved(tile, footprints, image_shape)
    rows, columns = np.divmod(moved.indices, image_shape[1])
    cells = np.repeat(np.arange(footprints.shape[0]), np.diff(footprints.indptr))
    mass = np.maximum(np.bincount(cells, footprints.data, footprints.shape[0]), 1e-12)
    depth = np.full(footprints.shape[0], np.inf)
    for positions, core, size in (
        (rows, tile.core_rows, image_shape[0]),
        (columns, tile.core_columns, image_shape[1]),
    ):
        centre = np.bincount(cells, footprints.data * positions, footprints.shape[0]) / mass
        inner = np.minimum(
            centre - core.start + 0.5 if core.start > 0 else np.inf,
            core.stop - 0.5 - centre if core.stop < size else np.inf,
        )
        depth = np.minimum(depth, inner)
    return _Cells(moved, depth, depth >= -margin_px)


def _moved(tile: Tile, images: sparse.csr_array, image_shape: tuple[int, int]) -> sparse.csr_array:
    """Move a tile's sparse images to the image."""
    rows, columns = np.divmod(images.indices, tile.shape[1])
    pixels = (rows + tile.rows.start) * image_shape[1] + columns + tile.columns.start
    shape = (images.shape[0], image_shape[0] * image_shape[1])
    return sparse.csr_array((images.data, pixels.astype(np.int32), images.indptr), shape=shape)


def _singles(footprints: sparse.csr_array, depth: NDArray[np.float64], owner: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the indices of the cells that stay when each cell that two tiles found is counted once."""
    norm = np.sqrt(np.asarray(footprints.multiply(footprints).sum(axis=1), np.float64).ravel())
    overlap = sparse.coo_array(sparse.triu(footprints @ footprints.T, k=1))
    first, second = overlap.coords
    same = (owner[first] != owner[second]) & (overlap.data > SAME_CELL * norm[first] * norm[second])
    lost = np.zeros(footprints.shape[0], bool)
    for a, b in zip(first[same], second[same], strict=True):
        if not lost[a] and not lost[b]:
            lost[b if depth[a] >= depth[b] else a] = True
    return np.flatnonzero(~lost)


def _join_fields(
    tiles: list[Tile], parts: list[Components], hats: sparse.csr_array, image_shape: tuple[int, int]
) -> Float32:
    """Average the background's nodes over the tiles, by how much of each node lies in a tile's core.

    At the edge of a halo a node is seen from one side only, and what is solved there says little.
    """
    weight = core_weights(tiles, hats, image_shape)
    share = weight / np.maximum(weight.sum(axis=0), 1e-12)
    total = np.zeros((hats.shape[0], parts[0].field.shape[1]), np.float32)
    for some, part in zip(share, parts, strict=True):
        nodes = slice(None) if part.nodes is None else part.nodes
        total[nodes] += some[nodes, None] * part.field
    return total
