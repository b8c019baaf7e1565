"""A suite2p folder: ``plane0`` with ``F.npy``, ``Fneu.npy``, ``spks.npy``, ``stat.npy``, ``iscell.npy``, ``ops.npy``.

The layout is that of suite2p's documentation (https://suite2p.readthedocs.io/en/latest/outputs.html); no code of it was
used. What a file means here:

==============  ======================================================================================================
``F.npy``       ``traces + f0``, so that it is fluorescence such as suite2p's; the trace alone where ``f0`` is unknown
``Fneu.npy``    0, with ``neucoeff`` 0 in ``ops``: the methods have taken the background off already, and nothing may
                be taken off twice; ``F - c * Fneu`` is ``F`` with any ``c`` that a script has
``spks.npy``    the spikes; 0 where there are none to tell of, as suite2p's window does not open a folder without
``iscell.npy``  accepted or not; its second column, suite2p's probability, is the same, as no classifier has spoken
``stat.npy``    a dictionary a cell: ``ypix``, ``xpix``, ``lam`` (the footprint, maximum 1), ``med``, ``npix``,
                ``npix_norm``, ``overlap``, ``radius``, ``aspect_ratio`` and ``compact`` of its weights, ``std`` and
                ``skew`` of its trace; and ``f0``, which suite2p does not have
``ops.npy``     ``Ly``, ``Lx``, ``nframes``, ``xrange``, ``yrange``, ``diameter``; where known ``fs``, ``tau``,
                ``meanImg``, ``max_proj``, ``Vcorr``; ``gpucells``: method and settings. Nothing is made up: without a
                frame rate there is no ``fs``
==============  ======================================================================================================

suite2p's window needs ``fs`` and ``tau``, roiextractors ``fs``. The two pickles are of plain dictionaries and arrays,
as NumPy 1.26 and later read them. :mod:`gpucells.io.suite2p_folder` reads the folder without unpickling.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse

from gpucells.export.values import Float32, blocks, trace_block
from gpucells.io.atomic_folder import folder_written_atomically
from gpucells.io.cells_file import as_json
from gpucells.io.suite2p_folder import IMAGES, recognises
from gpucells.model.cells import Cells
from gpucells.progress import Event, ProgressSink
from gpucells.settings import Settings


class Options(Settings):
    """What suite2p has and a result does not."""

    tau_s: float | None = Field(
        None,
        gt=0,
        description="decay of the indicator, ops['tau'], which suite2p's window needs; left out where not given",
    )


def write(cells: Cells, path: Path, options: Options, overwrite: bool, progress: ProgressSink) -> None:
    """Write the folder, whole or not at all.

    Parameters
    ----------
    cells : Cells
        The result.
    path : Path
        The folder to make, in which ``plane0`` will be.
    options : Options
        See there.
    overwrite : bool
        Whether an existing suite2p folder may be replaced.
    progress : ProgressSink
        Told of every block of cells.

    Raises
    ------
    ResultFileError
        See :func:`gpucells.io.atomic_folder.folder_written_atomically`.
    InputError
        A setting is of a type that JSON does not have.
    """
    shape = cells.traces.shape
    with folder_written_atomically(path, overwrite, recognises) as folder:
        plane = folder / "plane0"
        plane.mkdir()
        with (plane / "F.npy").open("wb") as of_f, (plane / "spks.npy").open("wb") as of_spikes:
            stat = _masks(cells)
            _start(of_f, shape)
            _start(of_spikes, shape)
            for some in blocks(cells.n_cells, 4 * cells.n_frames):
                f = trace_block(cells, "traces", some) + np.nan_to_num(cells.f0[some, None])
                of_f.write(np.ascontiguousarray(f, np.float32).data)
                _add_moments(stat[some], f)
                if cells.spikes is not None:  # NaN, of rejected cells, would spread in suite2p's sums over cells
                    of_spikes.write(np.nan_to_num(trace_block(cells, "spikes", some)).data)
                progress(Event("write suite2p", some.stop, cells.n_cells, "cells"))
            if cells.spikes is None:
                _fill_with_zeros(of_spikes, shape)
        with (plane / "Fneu.npy").open("wb") as file:
            _start(file, shape)
            _fill_with_zeros(file, shape)
        np.save(plane / "iscell.npy", np.repeat(cells.accepted[:, None], 2, axis=1).astype(np.float32))
        np.save(plane / "stat.npy", _as_objects(stat))
        np.save(plane / "ops.npy", _as_objects(_ops(cells, options)))


def _start(file: Any, shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})


def _fill_with_zeros(file: Any, shape: tuple[int, ...]) -> None:
    file.truncate(file.tell() + 4 * shape[0] * shape[1])  # takes no room on most file systems


def _as_objects(value: Any) -> NDArray[Any]:
    """Make what suite2p saves of a list of dictionaries, or of one: an array of objects."""
    array = np.empty(np.shape(value), object)
    array[...] = value
    return array


def _masks(cells: Cells) -> list[dict[str, Any]]:
    footprints = sparse.csr_array(cells.footprints)
    mean_size = max(1.0, len(footprints.data) / max(1, cells.n_cells))
    shared = np.bincount(footprints.indices, minlength=footprints.shape[1]) > 1
    stat = []
    for k in range(cells.n_cells):
        own = slice(footprints.indptr[k], footprints.indptr[k + 1])
        pixels, lam = footprints.indices[own], footprints.data[own]
        y, x = np.divmod(pixels.astype(np.int32), np.int32(cells.image_shape[1]))
        stat.append(
            {
                "ypix": y,
                "xpix": x,
                "lam": lam.astype(np.float32),
                "med": [int(np.median(y)), int(np.median(x))] if len(y) else [0, 0],
                "npix": len(pixels),
                "npix_norm": len(pixels) / mean_size,
                "overlap": shared[pixels],
                "f0": float(cells.f0[k]),
                **_form(y, x, lam),
            }
        )
    return stat


def _form(y: NDArray[Any], x: NDArray[Any], lam: Float32) -> dict[str, float]:
    """Radius (px), ratio of the axes, and compactness, of which an even disk has its radius, 1 and 1."""
    total = float(lam.sum())
    if total <= 0:
        return {"radius": 0.0, "aspect_ratio": 1.0, "compact": 1.0}
    away = np.stack([y - (lam @ y) / total, x - (lam @ x) / total])
    # Of an even disk the standard deviation along each axis is half the radius; 1/12 is that of a single pixel.
    major, minor = 2 * np.sqrt(np.linalg.eigvalsh((away * lam) @ away.T / total)[::-1].clip(0) + 1 / 12)
    # And the mean distance from the centre is two thirds of the radius.
    compact = np.hypot(*away).mean() / (2 / 3 * np.sqrt(len(y) / np.pi))
    return {
        "radius": float(np.sqrt(major * minor)),
        "aspect_ratio": float(major / minor),
        "compact": max(1.0, float(compact)),
    }


def _add_moments(stat: list[dict[str, Any]], f: Float32) -> None:
    """Add standard deviation and skewness of the traces of some cells; 0 of one that never changes."""
    for entry, trace in zip(stat, f, strict=True):
        known = trace[np.isfinite(trace)].astype(np.float64)
        known -= known.mean() if len(known) else 0.0
        std = float(np.sqrt(np.mean(known**2))) if len(known) else 0.0
        entry |= {"std": std, "skew": float(np.mean((known / std) ** 3)) if std > 0 else 0.0}


def _ops(cells: Cells, options: Options) -> dict[str, Any]:
    height, width = cells.image_shape
    area = float(np.median(np.diff(cells.footprints.indptr))) if cells.n_cells else 0.0
    diameter = max(1.0, 2 * float(np.sqrt(area / np.pi)))
    ops: dict[str, Any] = {
        "Ly": height,
        "Lx": width,
        "yrange": [0, height],
        "xrange": [0, width],
        "nframes": cells.n_frames,
        "nplanes": 1,
        "nchannels": 1,
        "neucoeff": 0.0,
        "diameter": [diameter, diameter],
        "gpucells": json.loads(as_json({"method": cells.method, "settings": cells.settings})),
    }
    if cells.frame_rate_hz is not None:
        ops["fs"] = cells.frame_rate_hz
    if options.tau_s is not None:
        ops["tau"] = options.tau_s
    return ops | {key: cells.summary_images[name] for key, name in IMAGES.items() if name in cells.summary_images}
