"""CaImAn's result file (``cnm.save('x.hdf5')``) as cells.

Its footprints have norm 1 and pixels counted down the columns; its ``C`` includes the baseline, and ``C + YrA`` is what
was measured. Cells are accepted as ``idx_components`` says, all of them where it says nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.errors import ResultFileError
from gpucells.model.cells import Cells
from gpucells.model.provenance import Provenance

if TYPE_CHECKING:
    import h5py

Float32 = NDArray[np.float32]
REJECTED = "rejected in the file"
BLOCK_BYTES = 32 << 20
#: One number a cell, which is of its trace: its name there, ours.
OF_TRACES = {"bl": "deconvolution_baseline", "neurons_sn": "deconvolution_noise", "lam": "deconvolution_penalty"}
MEASURES = ("SNR_comp", "r_values", "ecc")


def recognises(path: Path) -> bool:
    """Say whether a file is CaImAn's, by its two main datasets."""
    import h5py

    try:
        if not path.is_file() or not h5py.is_hdf5(path):
            return False
        with path.open("rb") as stream, h5py.File(stream, "r") as file:
            return "estimates/A" in file and "estimates/C" in file
    except (OSError, RuntimeError, ValueError):
        return False


def read(path: Path) -> Cells:
    """Read it.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    Cells
        ``f0`` NaN but in files of gpucells. ``denoised`` and ``spikes`` where it has spikes. In ``quality`` CaImAn's
        measures by its names.

    Raises
    ------
    ResultFileError
        It is damaged, without a size of the image, or of a volume.
    """
    import h5py

    try:
        with path.open("rb") as stream, h5py.File(stream, "r") as file:
            return _read(file, path)
    except ResultFileError:
        raise
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, IndexError) as error:
        raise ResultFileError(f"{path} cannot be read as a result of CaImAn: {error}", "it may be damaged") from error


def _read(file: h5py.File, path: Path) -> Cells:
    estimates = file["estimates"]
    shape = _image_shape(file, path)
    footprints, largest = _footprints(estimates, shape)
    n_cells = footprints.shape[0]
    if estimates["C"].ndim != 2 or estimates["C"].shape[0] != n_cells:
        raise ResultFileError(f"{path} has {n_cells} footprints and traces of shape {estimates['C'].shape}")
    residuals = next((name for name in ("YrA", "R") if _is_like(estimates, name, estimates["C"])), None)
    spikes = _rows(estimates["S"], largest) if _is_like(estimates, "S", estimates["C"]) else None
    model = _rows(estimates["C"], largest)
    traces = model if residuals is None else model + _rows(estimates[residuals], largest)
    chosen = _numbers(estimates, "idx_components")
    accepted = np.ones(n_cells, bool) if chosen is None else np.isin(np.arange(n_cells), chosen)
    images, in_time = _background(estimates, shape)
    own = _own(file, n_cells)
    if spikes is not None and "has_model" in own:
        spikes[~own["has_model"]] = np.nan
        if residuals is None:
            model = model.copy()
        model[~own["has_model"]] = np.nan
    return Cells(
        footprints=footprints,
        traces=traces,
        image_shape=shape,
        f0=own.get("f0", np.full(n_cells, np.nan, np.float32)),
        accepted=accepted,
        rejection=_rejection(accepted, own.get("rejection")),
        pixel_size_um=own.get("pixel_size_um"),
        quality=_quality(estimates, largest),
        denoised=None if spikes is None else model,
        spikes=spikes,
        background_images=images,
        background_traces=in_time,
        summary_images=_summary(estimates, shape),
        frame_rate_hz=_frame_rate(file),
        method="caiman",
        settings=_params(file),
        provenance=Provenance(source=str(path)),
    )


def _own(file: h5py.File, n_cells: int) -> dict[str, Any]:
    """Return what gpucells wrote beside CaImAn's own, where that is of as many cells."""
    group = file.get("gpucells")
    if group is None or any(len(group[name]) != n_cells for name in ("f0", "rejection", "has_model")):
        return {}
    found: dict[str, Any] = {
        "f0": group["f0"][()].astype(np.float32),
        "rejection": tuple(bytes(reason).decode(errors="replace") for reason in group["rejection"][()]),
        "has_model": group["has_model"][()].astype(bool),
    }
    return found | ({"pixel_size_um": float(group["pixel_size_um"][()])} if "pixel_size_um" in group else {})


def _rejection(accepted: NDArray[np.bool_], told: tuple[str, ...] | None) -> tuple[str, ...]:
    reasons = told or ("",) * len(accepted)
    return tuple("" if kept else reason or REJECTED for kept, reason in zip(accepted, reasons, strict=True))


def _image_shape(file: h5py.File, path: Path) -> tuple[int, int]:
    places = (("", "dims"), ("estimates", "dims"), ("params/data", "dims"))
    dims = next(
        (found for group, name in places if (found := _numbers(file.get(group or "/"), name)) is not None), None
    )
    if dims is None or len(dims) != 2:
        raise ResultFileError(
            f"{path} says that an image has the size {None if dims is None else dims.tolist()}",
            "height and width are needed; volumes are not read",
        )
    return int(dims[0]), int(dims[1])


def _footprints(estimates: h5py.Group, shape: tuple[int, int]) -> tuple[sparse.csr_array, Float32]:
    stored = estimates["A"]
    if hasattr(stored, "keys"):
        parts = tuple(stored[name][()] for name in ("data", "indices", "indptr"))
        columns = sparse.csc_array(parts, shape=tuple(int(n) for n in stored["shape"][()]))
    else:
        columns = sparse.csc_array(stored[()])
    return footprints_of(columns, shape)


def footprints_of(columns: sparse.csc_array, shape: tuple[int, int]) -> tuple[sparse.csr_array, Float32]:
    """Turn ``A``, ``(n_pixels, n_cells)`` in Fortran order, into footprints; return the maxima that they had, too."""
    if columns.shape[0] != shape[0] * shape[1]:
        raise ResultFileError(f"footprints have {columns.shape[0]} pixels, the image is {shape[0]} x {shape[1]}")
    column, row = np.divmod(columns.indices.astype(np.int64), shape[0])
    entries = columns.data.astype(np.float64), row * shape[1] + column, columns.indptr
    rows = sparse.csr_array(entries, shape=columns.shape[::-1])
    rows.sort_indices()
    largest = np.asarray(rows.max(axis=1).toarray()).ravel() if rows.shape[0] else np.zeros(0)
    largest = np.where(largest > 0, largest, 1)
    rows.data /= np.repeat(largest, np.diff(rows.indptr))
    return rows.astype(np.float32), largest.astype(np.float32)


def _rows(dataset: h5py.Dataset, scale: Float32) -> Float32:
    """Read traces a block at a time: they may be stored in twice the precision."""
    found = np.empty(dataset.shape, np.float32)
    step = max(1, BLOCK_BYTES // max(1, dataset.shape[1] * dataset.dtype.itemsize))
    for first in range(0, len(found), step):
        some = slice(first, first + step)
        found[some] = dataset[some]
        found[some] *= scale[some, None]
    return found


def _is_like(group: h5py.Group, name: str, other: h5py.Dataset) -> bool:
    return name in group and getattr(group[name], "shape", None) == other.shape and group[name].dtype.kind in "fiu"


def _numbers(group: h5py.Group | None, name: str) -> NDArray[Any] | None:
    """Read numbers, which CaImAn may have stored as text; None where they are missing or no numbers."""
    if group is None or name not in group or not hasattr(group[name], "dtype"):
        return None
    values = np.asarray(group[name][()])
    if values.ndim == 0 and values.dtype.kind in "OSU":
        return None
    values = as_numbers(values)
    return values if values.dtype.kind in "fiub" else None


def as_numbers(values: NDArray[Any]) -> NDArray[Any]:
    """Return numbers that may be stored as text; NaN for text that is no number."""
    if values.dtype.kind not in "OSU":
        return values
    return np.array([_number(text) for text in values.ravel()], np.float64).reshape(values.shape)


def _number(text: Any) -> float:
    try:
        return float(text.decode().strip("[] ") if isinstance(text, bytes) else text)
    except ValueError:
        return float("nan")


def _quality(estimates: h5py.Group, largest: Float32) -> dict[str, Float32]:
    found, n_cells = dict[str, Float32](), len(largest)

    def add(name: str, values: NDArray[Any] | None, scale: Float32 | float = 1) -> None:
        if values is not None and values.shape == (n_cells,):
            found[name] = (values * scale).astype(np.float32)

    for theirs in MEASURES:
        add(theirs, _numbers(estimates, theirs))
    predictions = _numbers(estimates, "cnn_preds")
    add("cnn_preds", predictions[:, -1] if predictions is not None and predictions.ndim == 2 else predictions)
    for theirs, ours in OF_TRACES.items():
        add(ours, _numbers(estimates, theirs), largest)
    response = _numbers(estimates, "g")
    if response is not None and response.shape[:1] == (n_cells,):
        for lag, column in enumerate(response.reshape(n_cells, -1).T[:2] if n_cells else ()):
            add(f"ar_{lag + 1}", column)
    return found


def _background(estimates: h5py.Group, shape: tuple[int, int]) -> tuple[Float32 | None, Float32 | None]:
    images, traces = _numbers(estimates, "b"), _numbers(estimates, "f")
    n_pixels, n_frames = shape[0] * shape[1], estimates["C"].shape[1]
    if images is None or traces is None or images.size == 0:
        constant = _numbers(estimates, "b0")
        if constant is None or constant.size != n_pixels:
            return None, None
        images, traces = constant.reshape(-1, 1), np.ones((1, n_frames))
    if images.shape != (n_pixels, len(traces)) or traces.shape[1:] != (n_frames,):
        return None, None
    return _images(images.T, shape), traces.astype(np.float32)


def _images(pixels: NDArray[Any], shape: tuple[int, int]) -> Float32:
    turned = pixels.reshape(-1, shape[1], shape[0]).swapaxes(1, 2)
    return np.ascontiguousarray(turned, np.float32)


def _summary(estimates: h5py.Group, shape: tuple[int, int]) -> dict[str, Float32]:
    found = dict[str, Float32]()
    correlation, noise = _numbers(estimates, "Cn"), _numbers(estimates, "sn")
    if correlation is not None and correlation.shape == shape:
        found["correlation"] = correlation.astype(np.float32)
    if noise is not None and noise.size == shape[0] * shape[1]:
        found["noise"] = _images(noise.reshape(1, -1), shape)[0]
    return found


def _frame_rate(file: h5py.File) -> float | None:
    group = file.get("params/data")
    rate = group["fr"][()] if group is not None and "fr" in group else None
    return float(rate) if isinstance(rate, np.number) and rate > 0 else None


def _params(file: h5py.File) -> dict[str, Any]:
    """Return every parameter that JSON can hold, by group."""
    return {name: _as_json(group) for name, group in file["params"].items()} if "params" in file else {}


def _as_json(group: h5py.Group) -> Any:
    if not hasattr(group, "keys"):
        return _plain(group[()])
    return {name: _as_json(item) for name, item in group.items()} | {n: _plain(v) for n, v in group.attrs.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        text = value.decode(errors="replace")
        return None if text == "NoneType" else text
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value.tolist()]
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def read_content(path: Path) -> dict[str, Any]:
    """Read the whole file as nested dictionaries, as CaImAn's own reader has them.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict
        Arrays, numbers and text by name, None for what is nothing; ``A`` a ``csc_matrix``, ``W`` a ``csr_matrix``,
        ``dims`` a tuple.

    Raises
    ------
    ResultFileError
        It is damaged.
    """
    import h5py

    try:
        with path.open("rb") as stream, h5py.File(stream, "r") as file:
            return _content(file)
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise ResultFileError(f"{path} cannot be read as a result of CaImAn: {error}", "it may be damaged") from error


def _content(group: h5py.Group) -> dict[str, Any]:
    found: dict[str, Any] = dict(group.attrs)
    for name, item in group.items():
        if hasattr(item, "dtype"):
            value = item[()]
            value = value.decode(errors="replace") if isinstance(value, bytes) else value
            value = value.item() if isinstance(value, np.generic) else value
            value = None if isinstance(value, str) and value == "NoneType" else value
            found[name] = tuple(value.tolist()) if name == "dims" and isinstance(value, np.ndarray) else value
        elif {"data", "indices", "indptr", "shape"} <= set(item):
            parts = tuple(item[part][()] for part in ("data", "indices", "indptr"))
            matrix = sparse.csc_matrix(parts, shape=tuple(int(n) for n in item["shape"][()]))
            found[name] = matrix.tocsr() if name == "W" else matrix
        else:
            found[name] = _content(item)
    return found
