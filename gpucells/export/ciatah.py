"""A result as the file that CIAtah's loaders read, one layout for each of its methods.

Images have maximum 1 and traces are dF/F, so that every loader returns dF/F, whether it multiplies by the maximum of a
cell's image (CELLMax, CNMF, CNMF-E) or not. What the layouts have no place for is in a field ``gpucells``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

import gpucells
from gpucells.errors import SettingsError
from gpucells.export.extract_mat import extract_info
from gpucells.export.matlab import Array, write_mat, write_mat_to
from gpucells.export.matlab_cells import images, own_fields, settings_struct, traces
from gpucells.io.atomic_file import written_atomically
from gpucells.io.ciatah_names import METHODS, OURS, ciatah_file_name, ciatah_names
from gpucells.model.cells import Cells
from gpucells.progress import ProgressSink, silent
from gpucells.settings import Settings

__all__ = [
    "Options",
    "ciatah_file_name",
    "ciatah_method",
    "ciatah_names",
    "decisions_path",
    "write",
    "write_ciatah",
]

Method = Literal["CELLMax", "EM", "PCAICA", "PCAICA_old", "CNMF", "CNMFE", "EXTRACT", "ROI"]


class Options(Settings):
    """Options of the format ``ciatah``."""

    method: Method | None = Field(
        None, description="whose layout CIAtah is to find in the file; that of the result's method where not given"
    )
    transposed: bool = Field(
        False,
        description="whether MATLAB sees the movie with rows and columns exchanged, as it does HDF5 files written "
        "(frames, height, width) by Python: images are then written to match what it sees",
    )
    decisions: bool = Field(
        False,
        description="also write the file of sorted cells beside it, from which CIAtah takes accepted and rejected as "
        "a person's decisions",
    )
    version: Literal["auto", "5", "7.3"] = Field("auto", description="of the MAT file; auto is 5 below 2 GB, 7.3 above")


def ciatah_method(cells: Cells, method: str | None = None) -> str:
    """Return CIAtah's name of a result's method, or check the one that is given.

    Raises
    ------
    SettingsError
        CIAtah has no such method.
    """
    if method is None:
        method = OURS.get(cells.method)
        if method is None:
            raise SettingsError(
                f"CIAtah has no method that is called {cells.method!r}", f"set method to one of {', '.join(METHODS)}"
            )
    ciatah_names(method)
    return method


def write(cells: Cells, path: Path, options: Options, overwrite: bool, progress: ProgressSink) -> None:
    """Write the file; see :func:`write_ciatah`.

    Parameters
    ----------
    cells : Cells
        The result.
    path : Path
        The file to make.
    options : Options
        See there.
    overwrite : bool
        Whether an existing file may be replaced.
    progress : ProgressSink
        Told of every block.
    """
    write_ciatah(cells, path, options, overwrite, progress)


def write_ciatah(
    cells: Cells, path: Path, options: Options | None = None, overwrite: bool = False, progress: ProgressSink = silent
) -> None:
    """Write a result as CIAtah's file of one method.

    Parameters
    ----------
    cells : Cells
        The result.
    path : Path
        CIAtah finds it by the end of its name: :func:`ciatah_file_name` makes one.
    options : Options, optional
        See there.
    overwrite : bool
        Whether existing files may be replaced.
    progress : ProgressSink
        Told of every block.

    Raises
    ------
    SettingsError
        CIAtah has no method of that name; version 5 cannot hold it.
    ResultFileError
        A file exists, its folder is missing or cannot be written to, or the disk is full. Nothing is left behind.
    """
    method = ciatah_method(cells, (options or Options()).method)
    chosen = options or Options()
    names = ciatah_names(method)
    variables = _variables(cells, method, names.variable, chosen.transposed)
    if not chosen.decisions:
        write_mat(path, variables, overwrite, chosen.version, progress)
        return
    decisions = {
        names.sorted_variable: cells.accepted[None, :],
        "decisionsBy": f"gpucells {gpucells.__version__}, by its measures of quality; no person has looked",
    }
    with (
        written_atomically(path, overwrite) as main,
        written_atomically(decisions_path(path, method), overwrite) as beside,
    ):
        write_mat_to(main, variables, chosen.version, progress)
        write_mat_to(beside, decisions, "5")
        main.flush()
        os.fsync(main.fileno())  # a full disk shows before either has its name


def decisions_path(path: Path, method: str) -> Path:
    """Return where the sorted file of a method's file goes, by CIAtah's names.

    Parameters
    ----------
    path : Path
        The method's file, such as ``m_cellmaxAnalysis.mat``; of another name, what stands before ``.mat`` is taken.
    method : str
        CIAtah's name.
    """
    names = ciatah_names(method)
    prefix = path.name.removesuffix(names.suffix) if path.name.endswith(names.suffix) else path.stem
    return path.with_name(prefix + names.sorted_suffix)


def _variables(cells: Cells, method: str, variable: str, transposed: bool) -> dict[str, Any]:
    pictures = images(cells, transposed)
    measured = traces(cells)
    model = None if cells.denoised is None else traces(cells, "denoised")
    own = {"gpucells": own_fields(cells, transposed)}
    stamp = {"time": {"dateTime": cells.provenance.created}} if cells.provenance.created else {}
    source = cells.provenance.source
    match method:
        case "CELLMax" | "EM":
            found = _cellmax(cells, pictures, measured, model, transposed)
            # CIAtah's run-time table asks this variable for the number of cells.
            options = {"emOptions": {"CELLMaxoptions": {"numSignalsDetected": cells.n_cells}}}
            return {variable: found | own} | options
        case "PCAICA" | "PCAICA_old":
            counts = settings_struct(cells)
            numbers = {
                to: counts[name]
                for to, name in (("nPCs", "n_pcs"), ("nICs", "n_ics"))
                if isinstance(counts.get(name), int)
            }
            order = {"imageSaveDimOrder": "xyz", "traceSaveDimOrder": "[nComponents frames]", "movieList": source}
            return {variable: {"IcaFilters": pictures, "IcaTraces": measured} | order | numbers | stamp | own}
        case "EXTRACT":
            about = {"info": extract_info(cells, transposed), "config": settings_struct(cells), "file": source}
            return {variable: {"filters": pictures, "traces": measured} | about | stamp | own}
        case "CNMF" | "CNMFE":
            found = _cnmf(cells, method, pictures, measured, model)
            return {variable: found | {"movieList": source} | stamp | own}
        case _:
            found = {"filters": pictures, "traces": measured, "signalExtractionMethod": "ROI"}
            return {variable: found | own, "tracesSaveDimOrder": "[signalNo frameNo]"}


def _cellmax(cells: Cells, pictures: Array, measured: Array, model: Array | None, transposed: bool) -> dict[str, Any]:
    """Make CELLMax's struct.

    The loader takes ``scaledProbability`` first and ``cellTraces`` where there is none; the latter must exist. The
    fields ``scaledProbabilityDff`` and ``cellTracesDff`` are left out: both traces are dF/F already, and an empty field
    of that name breaks the class.
    """
    centres = cells.centroids() + 1  # MATLAB counts from 1; x is the column that it sees
    return {
        "cellImages": pictures,
        **({} if model is None else {"scaledProbability": model}),
        "cellTraces": measured,
        "centroids": centres if transposed else centres[:, ::-1],
        "CELLMaxoptions": settings_struct(cells),
        "versionCellmax": f"gpucells {gpucells.__version__}",
        "movieFilename": cells.provenance.source,
        "runCompletedNoErrors": True,
    }


def _cnmf(cells: Cells, method: str, pictures: Array, measured: Array, model: Array | None) -> dict[str, Any]:
    """Make the struct of CNMF, measured first, or of CNMF-E, the model's first; both fields must exist."""
    first, second = ("extractedSignals", "extractedSignalsEst")
    if method == "CNMFE":
        first, second = second, first
    found: dict[str, Any] = {
        "extractedImages": pictures,
        first: measured,
        f"{first}Type": "dfof",
        second: measured if model is None else model,
        f"{second}Type": "dfof" if model is None else "model",
        "success": True,
    }
    if cells.spikes is not None:
        found["extractedPeaks"] = traces(cells, "spikes")
    if cells.background_traces is not None:
        found["extractedSignalsBackground"] = cells.background_traces
    if method == "CNMF":
        return found | {"cnmfOptions": settings_struct(cells), "versionOutput": f"gpucells {gpucells.__version__}"}
    return found | {"params": settings_struct(cells)}
