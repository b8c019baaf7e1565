"""CIAtah's results: one struct a method, whose name says the method; the file of sorted cells beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpucells.errors import GpucellsError, ResultFileError
from gpucells.io.ciatah_names import METHODS, OURS
from gpucells.io.matlab import MatFile, UnreadableError, is_mat_with, open_mat
from gpucells.io.matlab_cells import read_footprints, read_own, read_settings, read_traces, rejection
from gpucells.model.cells import Cells
from gpucells.model.provenance import Provenance

#: Variable to method. The loader takes the last one that is there, and EM is CELLMax.
_BY_VARIABLE = {names.variable: method for method, names in METHODS.items() if method != "PCAICA_old"}
#: Images, as measured, by the model; a tuple's first that exists.
_FIELDS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "CELLMax": ("cellImages", ("cellTraces", "dsCellTraces"), ("scaledProbability", "dsScaledProbability")),
    "PCAICA": ("IcaFilters", ("IcaTraces",), ()),
    "EXTRACT": ("filters", ("traces",), ()),
    "CNMF": ("extractedImages", ("extractedSignals",), ("extractedSignalsEst",)),
    "CNMFE": ("extractedImages", ("extractedSignalsEst",), ("extractedSignals",)),
    "ROI": ("filters", ("tracesDemix", "traces"), ()),
}
_FIELDS["EM"] = _FIELDS["CELLMax"]
#: Whose traces CIAtah multiplies by the maximum of each cell's image on loading.
_NORMALISED = ("CELLMax", "EM", "CNMF", "CNMFE")
_SETTINGS = ("CELLMaxoptions", "config", "cnmfOptions", "params")


def recognises(path: Path) -> bool:
    """Say whether a file is a result of CIAtah."""
    return is_mat_with(path, set(_BY_VARIABLE))


def read(path: Path) -> Cells:
    """Read a result of CIAtah.

    Parameters
    ----------
    path : Path
        Such as ``m_cellmaxAnalysis.mat``. Where one file of sorted cells of that method has the same beginning of its
        name, its decisions are the cells' ``accepted``.

    Returns
    -------
    Cells
        Traces in the units in which CIAtah loads them, dF/F by its own convention, and ``f0`` NaN; of a file that
        gpucells wrote in the movie's units, with ``f0``.

    Raises
    ------
    ResultFileError
        It is damaged, holds no result, or one that only MATLAB can read; several sorted files.
    """
    with open_mat(path) as file:
        held = [name for name in _BY_VARIABLE if name in file.names()]
        if not held:
            raise ResultFileError(f"{path} has none of CIAtah's variables", f"such as {next(iter(_BY_VARIABLE))}")
        variable = held[-1]
        values = _read(file, variable, _BY_VARIABLE[variable], str(path))
    decided = _decisions(path, _BY_VARIABLE[variable], len(values["accepted"]))
    if decided is not None:
        values |= {"accepted": decided, "rejection": _reasons(decided, values["rejection"])}
    return Cells(**values)


def _read(file: MatFile, root: str, method: str, source: str) -> dict[str, Any]:
    fields = file.fields(root)
    image_field, measured, modelled = _FIELDS[method]
    if image_field not in fields:
        raise UnreadableError(f"{root} has no {image_field}", f"it has {', '.join(fields) or 'no fields'}")
    transposed = "gpucells" in fields and bool(np.any(file.read(f"{root}.gpucells.transposed")))
    order = file.read(f"{root}.imageSaveDimOrder") if "imageSaveDimOrder" in fields else "xyz"
    footprints, maxima, shape = read_footprints(file, f"{root}.{image_field}", transposed, order == "zxy")
    n_cells = footprints.shape[0]
    own = read_own(file, root, n_cells)
    scale = own.pop("units_f0", np.ones(n_cells, np.float32))
    has_model = own.pop("has_model", np.ones(n_cells, np.bool_))
    if method in _NORMALISED:
        scale = scale * np.where(maxima > 0, maxima, np.float32(1))
    model_place = _first(fields, modelled)
    place = _first(fields, measured) or model_place
    if place is None:
        raise UnreadableError(f"{root} has no traces", f"it has {', '.join(fields)}")
    values: dict[str, Any] = {"traces": _scaled(file, f"{root}.{place}", n_cells, scale)}
    if model_place not in (None, place) and _is_model(file, root, fields, f"{model_place}"):
        values["denoised"] = _scaled(file, f"{root}.{model_place}", n_cells, scale)
        values["denoised"][~has_model] = np.nan
    if "extractedPeaks" in fields:
        values["spikes"] = _scaled(file, f"{root}.extractedPeaks", n_cells, scale)
        values["spikes"][~has_model] = np.nan
    for name in ("denoised", "spikes"):
        if name in values and values[name].shape != values["traces"].shape:
            del values[name]  # of the movie with fewer frames
    accepted = np.ones(n_cells, np.bool_)
    options = _first(fields, _SETTINGS)
    plain: dict[str, Any] = {
        "f0": np.full(n_cells, np.nan, np.float32),
        "accepted": accepted,
        "rejection": rejection(accepted),
        "method": {theirs: ours for ours, theirs in OURS.items()}.get(method, "cellmax"),
        "provenance": Provenance(source=source),
        "settings": {} if own or options is None else read_settings(file, f"{root}.{options}"),
    }
    return {"footprints": footprints, "image_shape": shape} | values | plain | own


def _first(fields: list[str], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in fields), None)


def _scaled(file: MatFile, place: str, n_cells: int, scale: NDArray[np.float32]) -> NDArray[np.float32]:
    found = read_traces(file, place, n_cells)
    found *= scale[:, None]
    return found


def _is_model(file: MatFile, root: str, fields: list[str], name: str) -> bool:
    """Say whether a trace is the model's: where there is none, gpucells writes the measured one twice."""
    return f"{name}Type" not in fields or file.read(f"{root}.{name}Type") == "model"


def _decisions(path: Path, method: str, n_cells: int) -> NDArray[np.bool_] | None:
    """Return the decisions of the sorted file beside a result."""
    names = METHODS[method]
    if not path.name.endswith(names.suffix):
        return None
    prefix = path.name.removesuffix(names.suffix)
    start = prefix + names.sorted_suffix.rpartition("_")[0] + "_"
    found = sorted(one for one in path.parent.iterdir() if one.name.startswith(start) and one.suffix == ".mat")
    if len(found) > 1:
        raise ResultFileError(
            f"{path} has {len(found)} files of decisions: {', '.join(one.name for one in found)}",
            "keep the one that counts",
        )
    if not found:
        return None
    try:
        with open_mat(found[0]) as file:
            values = np.ravel(file.read(names.sorted_variable))
    except GpucellsError as error:
        raise ResultFileError(f"decisions beside {path}: {error.message}", error.hint) from error
    if len(values) != n_cells:
        raise ResultFileError(
            f"{found[0]} decides on {len(values)} cells, and {path} has {n_cells}", "they are of two runs; move it away"
        )
    return np.asarray(values == 1)  # 2 and 3 are undecided


def _reasons(accepted: NDArray[np.bool_], known: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("" if kept else text or "rejected in the file" for kept, text in zip(accepted, known, strict=True))
