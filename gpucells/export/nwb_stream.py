"""Masks and traces as pynwb takes them block by block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpucells.export.values import Kind, trace_block
from gpucells.model.cells import Cells
from gpucells.progress import Event, ProgressSink

#: Pixels of a mask's tile: only tiles that a cell touches are stored, the others are 0 by HDF5's fill value.
TILE = 64
#: Frames and ROIs of a chunk of traces: 512 KiB, one ROI is read without all others, one stretch of time too.
CHUNK = (4096, 32)
#: Bytes of a block of traces: pynwb takes blocks of all series in turn, so several are held at once.
BLOCK_BYTES = 8 << 20
#: Noise does not shrink much, and level 1 is several times faster than the default.
PACKED: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
Selection = tuple[slice, ...]


def mask_data(cells: Cells, progress: ProgressSink) -> Any:
    """Return the footprints as data for pynwb, a cell's own tiles at a time.

    Parameters
    ----------
    cells : Cells
        The result.
    progress : ProgressSink
        Told of every cell.

    Returns
    -------
    H5DataIO or numpy.ndarray
        Of shape ``(n_cells, width, height)`` float32; an array where that is empty.
    """
    height, width = cells.image_shape
    tile = (1, min(TILE, width), min(TILE, height))

    def pieces() -> Iterator[tuple[Selection, Any]]:
        footprints = cells.footprints
        for k in range(cells.n_cells):
            part = slice(footprints.indptr[k], footprints.indptr[k + 1])
            rows, columns = np.divmod(footprints.indices[part], width)
            if len(rows):
                box = _tiles(columns, tile[1], width), _tiles(rows, tile[2], height)
                patch = np.zeros((1, *(one.stop - one.start for one in box)), np.float32)
                patch[0, columns - box[0].start, rows - box[1].start] = footprints.data[part]
                yield (slice(k, k + 1), *box), patch
            progress(Event("write masks", k + 1, cells.n_cells, "cells"))

    return _streamed(pieces, (cells.n_cells, width, height), tile)


def _tiles(places: Any, tile: int, size: int) -> slice:
    """Return the whole tiles that hold all places."""
    return slice(int(places.min()) // tile * tile, min(size, (int(places.max()) // tile + 1) * tile))


def trace_data(cells: Cells, kind: Kind, progress: ProgressSink) -> Any:
    """Return traces as data for pynwb, whole chunks at a time.

    Parameters
    ----------
    cells : Cells
        The result.
    kind : str
        Which of its traces.
    progress : ProgressSink
        Told of every block of cells.

    Returns
    -------
    H5DataIO or numpy.ndarray
        Of shape ``(n_frames, n_cells)`` float32; an array where that is empty.
    """
    n_frames, n_cells = cells.n_frames, cells.n_cells
    chunk = (min(CHUNK[0], n_frames), min(CHUNK[1], n_cells))
    step = max(1, BLOCK_BYTES // max(1, 4 * chunk[1] * n_frames)) * chunk[1]

    def pieces() -> Iterator[tuple[Selection, Any]]:
        for start in range(0, n_cells, step):
            some = slice(start, min(start + step, n_cells))
            yield (slice(0, n_frames), some), np.asarray(trace_block(cells, kind, some), np.float32).T
            progress(Event(f"write {kind}", some.stop, n_cells, "cells"))

    return _streamed(pieces, (n_frames, n_cells), chunk)


def in_chunks(array: Any) -> Any:
    """Return an array as it is, to be stored in chunks."""
    from pynwb import H5DataIO

    return H5DataIO(np.ascontiguousarray(array), chunks=True, **PACKED) if array.size else np.asarray(array)


def _streamed(pieces: Any, shape: tuple[int, ...], chunk: tuple[int, ...]) -> Any:
    """Wrap pieces, each a place and its values, as an iterator that pynwb writes from; what has no size is empty."""
    from hdmf.data_utils import AbstractDataChunkIterator, DataChunk
    from pynwb import H5DataIO

    if 0 in shape:
        return np.zeros(shape, np.float32)

    class Pieces(AbstractDataChunkIterator):  # type: ignore[misc]
        """Of :func:`pieces`; made here, because pynwb is imported only where NWB is written."""

        def __init__(self) -> None:
            self._rest = pieces()

        def __iter__(self) -> Any:
            return self

        def __next__(self) -> Any:
            place, values = next(self._rest)
            return DataChunk(data=values, selection=place)

        def recommended_chunk_shape(self) -> tuple[int, ...]:
            return chunk

        def recommended_data_shape(self) -> tuple[int, ...]:
            return shape

        @property
        def dtype(self) -> Any:
            return np.dtype(np.float32)

        @property
        def maxshape(self) -> tuple[int, ...]:
            return shape

    return H5DataIO(Pieces(), chunks=chunk, **PACKED)
