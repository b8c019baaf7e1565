"""A suite2p folder as cells: ``F.npy``, ``Fneu.npy``, ``spks.npy``, ``stat.npy``, ``iscell.npy``, ``ops.npy``.

The layout is that of suite2p's documentation (https://suite2p.readthedocs.io/en/latest/outputs.html). suite2p's ``F``
is the mean of the pixels weighted by ``lam`` and does not change with the scale of ``lam``; so ``lam`` is divided by
its maximum and the traces, ``F - neucoeff * Fneu``, are left in the movie's units. They contain the baseline, which
suite2p does not store (``f0`` is NaN); a folder of ``gpucells export`` has it, and the traces are above it. The two
pickles in it are read as plain data (:mod:`gpucells.io.plain_pickle`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.errors import InputError, ResultFileError
from gpucells.io.plain_pickle import read_pickled_npy
from gpucells.model.cells import Cells
from gpucells.model.provenance import Provenance

#: Image in ``ops``, and its name here.
IMAGES = {"meanImg": "mean", "max_proj": "max", "Vcorr": "correlation"}
NEUROPIL_COEFFICIENT = 0.7  # suite2p's default, where ops does not say
_ROWS = 64  # traces at a time
_LONGEST_SETTING = 100  # entries; what is longer is data


def recognises(path: Path) -> bool:
    """Say whether a path is a suite2p folder, one with a single plane in it, or its ``stat.npy``."""
    return _plane(path) is not None


def read(path: Path) -> Cells:
    """Read a plane.

    Parameters
    ----------
    path : Path
        What :func:`recognises`.

    Returns
    -------
    Cells
        See the module. ``spikes`` None where ``spks.npy`` is missing or 0 throughout.

    Raises
    ------
    ResultFileError
        The files do not fit each other, one is missing or damaged, or there are several planes.
    InputError
        A pickle asks for more than plain data.
    """
    plane = _plane(path)
    assert plane is not None
    try:
        return _read(plane, path)
    except (ResultFileError, InputError):
        raise
    except FileNotFoundError as error:
        raise ResultFileError(f"{plane} lacks {Path(error.filename).name}", "copy the whole folder again") from None
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ResultFileError(f"{plane} cannot be read as a plane of suite2p: {error!r}", "copy it again") from error


def _plane(path: Path) -> Path | None:
    try:
        if path.name == "stat.npy" and path.is_file():
            path = path.parent
        if (path / "stat.npy").is_file():
            return path if (path / "F.npy").is_file() else None
        for parent in (path, path / "suite2p"):
            planes = sorted(parent.glob("plane*/stat.npy"))
            if planes:
                return planes[0].parent if len(planes) == 1 else parent
    except OSError:
        pass
    return None


def _read(plane: Path, source: Path) -> Cells:
    if not (plane / "stat.npy").is_file():
        several = ", ".join(sorted(found.parent.name for found in plane.glob("plane*/stat.npy")))
        raise ResultFileError(f"{plane} has several planes: {several}", "give the folder of one")
    ops, stat = _ops(plane), read_pickled_npy(plane / "stat.npy")
    f = np.load(plane / "F.npy").astype(np.float32, copy=False)
    if f.ndim != 2 or len(f) != len(stat):
        raise ResultFileError(f"{plane} has traces {f.shape}, but {len(stat)} ROIs", "are its files of one run?")
    shape = int(ops["Ly"]), int(ops["Lx"])
    f0 = np.array([roi.get("f0", np.nan) for roi in stat], np.float32)
    accepted = np.ones(len(stat), bool)
    if (plane / "iscell.npy").is_file():
        labels = np.load(plane / "iscell.npy")
        accepted = (labels[:, 0] if labels.ndim > 1 else labels) > 0
    ours = ops.get("gpucells") or {}
    return Cells(
        footprints=_footprints(stat, shape),
        traces=_traces(plane, f, ops, f0),
        image_shape=shape,
        f0=f0,
        accepted=accepted,
        rejection=tuple("" if kept else "rejected in the file" for kept in accepted),
        spikes=_spikes(plane, f.shape),
        summary_images=_images(ops, shape),
        frame_rate_hz=float(ops["fs"]) if ops.get("fs") else None,
        method=ours.get("method", "suite2p"),
        settings=ours.get("settings") or {key: value for key, value in ops.items() if _is_setting(value)},
        provenance=Provenance(source=str(source)),
    )


def _ops(plane: Path) -> dict[str, Any]:
    """Read ``ops.npy``; what suite2p 1 has split it into, where it is missing."""
    parts = ("ops", "db", "settings", "reg_outputs", "detect_outputs")
    found = {name: plane / f"{name}.npy" for name in parts if (plane / f"{name}.npy").is_file()}
    if "ops" in found:
        found = {"ops": found["ops"]}
    ops: dict[str, Any] = {}
    for file in found.values():
        ops |= dict(read_pickled_npy(file))
    if not {"Ly", "Lx"} <= set(ops):
        raise ResultFileError(f"{plane} does not say the size of the image", "its ops.npy needs Ly and Lx")
    return ops


def _footprints(stat: list[dict[str, Any]], shape: tuple[int, int]) -> sparse.csr_array:
    pixels, weights = [], []
    for k, roi in enumerate(stat):
        y, x = (np.asarray(roi[axis], np.int64).ravel() for axis in ("ypix", "xpix"))
        lam = np.asarray(roi["lam"], np.float32).ravel()
        if len(y) and (min(y.min(), x.min()) < 0 or y.max() >= shape[0] or x.max() >= shape[1]):
            raise ResultFileError(
                f"ROI {k} reaches row {y.max()}, column {x.max()}, outside the {shape[0]} x {shape[1]} px of ops.npy",
                "are stat.npy and ops.npy of one run?",
            )
        pixels.append(y * shape[1] + x)
        weights.append(lam / lam.max() if len(lam) and lam.max() > 0 else lam)
    ends = np.cumsum([0, *map(len, pixels)])
    flat = (np.concatenate([np.zeros(0, kind), *parts]) for parts, kind in ((weights, np.float32), (pixels, np.int64)))
    footprints = sparse.csr_array((*flat, ends), shape=(len(stat), shape[0] * shape[1]), dtype=np.float32)
    footprints.sum_duplicates()
    return footprints


def _traces(plane: Path, f: NDArray[np.float32], ops: dict[str, Any], f0: NDArray[np.float32]) -> NDArray[np.float32]:
    """Take what is not the trace off ``f``, in place."""
    f -= np.nan_to_num(f0)[:, None]
    share = float(ops.get("neucoeff", NEUROPIL_COEFFICIENT))
    file = plane / "Fneu.npy"
    if share and f.size and file.is_file():
        neuropil = np.load(file, mmap_mode="r")
        for start in range(0, len(f), _ROWS):
            f[start : start + _ROWS] -= np.float32(share) * neuropil[start : start + _ROWS]
    return f


def _spikes(plane: Path, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    file = plane / "spks.npy"
    if not file.is_file():
        return None
    spikes = np.load(file).astype(np.float32, copy=False)
    return spikes if spikes.shape == shape and spikes.any() else None


def _images(ops: dict[str, Any], shape: tuple[int, int]) -> dict[str, NDArray[np.float32]]:
    """Take the images; those of the part that registration left are put where that was."""
    images = {}
    for key, name in IMAGES.items():
        found = np.asarray(ops.get(key, 0), np.float32)
        if found.ndim == 2 and found.shape != shape and {"yrange", "xrange"} <= set(ops):
            (top, bottom), (left, right) = ops["yrange"], ops["xrange"]
            whole = np.zeros(shape, np.float32)
            if whole[top:bottom, left:right].shape == found.shape:
                whole[top:bottom, left:right] = found
                found = whole
        if found.shape == shape:
            images[name] = found
    return images


def _is_setting(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_setting(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return len(value) <= _LONGEST_SETTING and all(map(_is_setting, value))
    return isinstance(value, str | int | float | None)
