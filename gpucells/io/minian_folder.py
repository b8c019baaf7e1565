"""A folder of minian's as cells: each variable is a Zarr group ``NAME.zarr`` with the dimensions that it names.

Names and dimensions are those of minian's documentation (https://minian.readthedocs.io): ``A`` (unit_id, height,
width), ``YrA`` (traces as measured), ``C`` (denoised) and ``S`` (spikes; unit_id, frame), ``b0`` and ``c0`` (what of a
trace is a constant, and a decay from before the recording), ``b`` and ``f`` (background), ``max_proj``. The model is
``A (C + b0 + c0) + b f``. Footprints are divided by their maximum and traces multiplied by it. Where there is no
``YrA``, the traces are ``C + b0 + c0``, without noise. minian keeps only cells that it accepts, and no baseline
fluorescence.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.errors import MissingDependencyError, ResultFileError
from gpucells.model.cells import Cells
from gpucells.model.provenance import Provenance

_IMAGES = {"max_proj": "max", "mean": "mean", "correlation": "correlation", "noise": "noise"}
_BLOCK_BYTES = 8 << 20  # of dense footprints, of which there are some copies


def recognises(path: Path) -> bool:
    """Say whether a path is a folder with minian's footprints, and traces, in Zarr."""
    try:
        return _is_variable(path / "A.zarr") and any(_is_variable(path / f"{name}.zarr") for name in ("C", "YrA"))
    except OSError:
        return False


def _is_variable(path: Path) -> bool:
    return (path / ".zgroup").is_file() or (path / "zarr.json").is_file()


def read(path: Path) -> Cells:
    """Read the folder.

    Parameters
    ----------
    path : Path
        What :func:`recognises`.

    Returns
    -------
    Cells
        See the module; what ``gpucells export`` adds is read too.

    Raises
    ------
    MissingDependencyError
        The package ``zarr`` is not installed.
    ResultFileError
        A variable is missing or damaged, or has other dimensions.
    """
    try:
        import zarr
    except ImportError:
        raise MissingDependencyError(
            f"{path} is Zarr, and zarr is not installed", "pip install 'gpucells[zarr]'"
        ) from None
    try:
        return _read(path, _Variables(path, zarr))
    except ResultFileError:
        raise
    except Exception as error:  # zarr and its codecs have many
        raise ResultFileError(f"{path} cannot be read as minian's: {error!r}", "copy the whole folder again") from error


class _Variables:
    """The variables of a folder, opened by name."""

    def __init__(self, path: Path, zarr: Any) -> None:
        self._path, self._zarr = path, zarr
        self._units: NDArray[Any] | None = None

    def open(self, name: str, *dims: str) -> tuple[Any, list[str], NDArray[np.int64] | None] | None:
        """Return a variable's array, its dimensions, and where our cells are in it; None where there is none.

        Raises
        ------
        ResultFileError
            It has other dimensions, or lacks cells that ``A`` has.
        """
        if not _is_variable(self._path / f"{name}.zarr"):
            return None
        group = self._zarr.open_group(str(self._path / f"{name}.zarr"), mode="r")
        array = group[name]
        found = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS", dims)
        if sorted(found) != sorted(dims):
            raise ResultFileError(f"{self._path}: {name} has dimensions {tuple(found)}", f"they should be {dims}")
        order = self._order(group, name, array.shape[list(found).index("unit_id")]) if "unit_id" in dims else None
        return array, list(found), order

    def _order(self, group: Any, name: str, n_cells: int) -> NDArray[np.int64]:
        units = np.asarray(group["unit_id"][:]) if "unit_id" in group else np.arange(n_cells)
        if self._units is None:
            self._units = units
        place = {unit: k for k, unit in enumerate(units.tolist())}
        missing = [unit for unit in self._units.tolist() if unit not in place]
        if missing:
            raise ResultFileError(f"{self._path}: {name} lacks unit_id {missing[0]}, which A has", "save both again")
        return np.array([place[unit] for unit in self._units.tolist()], np.int64)

    def values(self, name: str, *dims: str) -> NDArray[np.float32] | None:
        """Read a variable as a whole, our cells in our order."""
        found = self.open(name, *dims)
        if found is None:
            return None
        array, stored, order = found
        values = np.asarray(array[...], np.float32).transpose([stored.index(dim) for dim in dims])
        return values if order is None or np.array_equal(order, np.arange(len(values))) else values[order]


def _read(path: Path, variables: _Variables) -> Cells:
    masks = variables.open("A", "unit_id", "height", "width")  # the first that is opened: its order of cells is ours
    if masks is None or masks[1] != ["unit_id", "height", "width"]:
        raise ResultFileError(f"{path}: A is not (unit_id, height, width)", "transpose it")
    footprints, peak, shape = _footprints(masks[0])
    series = {name: variables.values(name, "unit_id", "frame") for name in ("YrA", "C", "S")}
    traces, denoised, spikes = series.values()
    if traces is None:
        assert denoised is not None  # recognises() has seen one of them
        traces = denoised.copy()
        for name in ("b0", "c0"):
            part = variables.values(name, "unit_id", "frame")
            traces += 0 if part is None else part
    for values in (traces, denoised, spikes):
        if values is not None:
            np.multiply(values, peak[:, None], out=values)
    n_cells = len(traces)
    labels, f0 = variables.values("accepted", "unit_id"), variables.values("f0", "unit_id")
    accepted = np.ones(n_cells, bool) if labels is None else labels > 0
    b, f = variables.values("b", "height", "width"), variables.values("f", "frame")
    images = {ours: variables.values(name, "height", "width") for name, ours in _IMAGES.items()}
    opened = variables.open("YrA", "unit_id", "frame")
    facts: dict[str, Any] = dict(opened[0].attrs) if opened is not None else {}
    return Cells(
        footprints=footprints,
        traces=traces,
        image_shape=shape,
        f0=np.full(n_cells, np.nan, np.float32) if f0 is None else f0,
        accepted=accepted,
        rejection=tuple("" if kept else "rejected in the file" for kept in accepted),
        denoised=denoised,
        spikes=spikes,
        background_images=None if b is None or f is None else b[None],
        background_traces=None if b is None or f is None else f[None],
        summary_images={name: image for name, image in images.items() if image is not None and image.shape == shape},
        frame_rate_hz=facts.get("frame_rate_hz"),
        pixel_size_um=facts.get("pixel_size_um"),
        method=facts.get("method", "minian"),
        settings=facts.get("settings", {}),
        provenance=Provenance(source=str(path)),
    )


def _footprints(array: Any) -> tuple[sparse.csr_array, NDArray[np.float32], tuple[int, int]]:
    """Read the footprints a few at a time; also the maximum of each, by which it is divided."""
    n_cells, height, width = array.shape
    step = max(1, _BLOCK_BYTES // (4 * height * width))
    parts = [sparse.csr_array((0, height * width), dtype=np.float32)]
    peaks = [np.zeros(0, np.float32)]
    for start in range(0, n_cells, step):
        dense = np.nan_to_num(np.asarray(array[start : start + step], np.float32)).reshape(-1, height * width)
        peak = dense.max(axis=1)
        peak[peak <= 0] = 1
        parts.append(sparse.csr_array(dense / peak[:, None]))
        peaks.append(peak)
    return sparse.csr_array(sparse.vstack(parts, format="csr")), np.concatenate(peaks), (height, width)
