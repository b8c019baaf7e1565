"""Every method on every folder: find the movies, run, write what CIAtah's loader expects, go on after failures."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gpucells.compat.centred import is_centred
from gpucells.compat.ciatah.folders import Recording, find_movies, locked, prefix_of, recordings, subject_of
from gpucells.compat.ciatah.names import GENERAL, METHODS, translated
from gpucells.compat.ciatah.run_table import append_run
from gpucells.errors import GpucellsError, InputError, SettingsError
from gpucells.export.ciatah import Options, write_ciatah
from gpucells.export.formats import export_cells
from gpucells.export.values import has
from gpucells.io.ciatah_names import ciatah_names
from gpucells.io.join import natural_key
from gpucells.io.open_movie import open_movie
from gpucells.io.results import load_cells
from gpucells.model.cells import Cells
from gpucells.model.movie import Movie
from gpucells.pipeline import apply_footprints, extract_cells
from gpucells.progress import ProgressSink, silent
from gpucells.settings import nearest

log = logging.getLogger(__name__)

_HDF5 = (".h5", ".hdf5")
_ROI = {"traces": "mean", "neuropil": False}  # CIAtah's: unweighted mean above the threshold


@dataclass(frozen=True)
class Done:
    """What became of one method in one folder.

    Parameters
    ----------
    folder : Path
        Of the recording.
    method : str
        CIAtah's name.
    status : str
        ``done``, ``skipped`` where the result was there and is kept, ``failed``.
    cells, accepted : int
        Found, and accepted; 0 where not done.
    seconds : float
        That it took.
    files : tuple of Path
        What was written, or is kept.
    error : str
        Why it failed; or what of it failed after the result was written.
    """

    folder: Path
    method: str
    status: Literal["done", "skipped", "failed"]
    cells: int = 0
    accepted: int = 0
    seconds: float = 0.0
    files: tuple[Path, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class _Choice:
    """What the call says, the same for all folders."""

    pattern: re.Pattern[str]
    overwrite: bool
    dataset: str
    axes: str
    grid_width: Any
    grid_spacing: Any
    n_pcs_n_ics: Any
    frame_rate_hz: float | None
    view_results: bool
    save_nwb: bool
    nwb_metadata: str | None
    keep_rejected: bool
    dff: Literal["auto"] | bool
    database_folder: Path
    options: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Mapping[str, Any]]
    run: Mapping[str, Any]
    progress: ProgressSink
    made: dict[tuple[Path, str], Cells] = field(default_factory=dict)  # this folder's, for ROI


def model_extract_signals_from_movie(
    folders_or_files: str | Path | Sequence[str | Path],
    methods: str | Sequence[str] = ("CNMF",),
    *,
    file_filter_regexp: str = "concat",
    overwrite: bool = True,
    dataset: str = "/1",
    grid_width: Any = None,
    grid_spacing: Any = None,
    n_pcs_n_ics: Any = None,
    frame_rate_hz: float | None = None,
    view_results: bool = True,
    save_nwb: bool = False,
    nwb_metadata: str | Path | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    axes: Literal["TXY", "TYX"] = "TXY",
    dff: Literal["auto"] | bool = "auto",
    keep_rejected: bool = False,
    database_folder: str | Path | None = None,
    progress: ProgressSink = silent,
    run: Mapping[str, Any] | None = None,
    **others: Any,
) -> list[Done]:
    """Find the cells of recordings by CIAtah's methods, and write what CIAtah's loader expects.

    Parameters
    ----------
    folders_or_files : path or list of paths
        Folders of recordings; or movies, which belong to the recording of their folder.
    methods : str or list of str
        CIAtah's names: CELLMax, EM, PCAICA, PCAICA_old, CNMF, CNMFE, EXTRACT, ROI; one after another.
    file_filter_regexp : str
        Found in the names of a folder's movies, which are joined in time in natural order.
    overwrite : bool
        Run again what has a result; it is replaced when the new one is whole.
    dataset : str
        Of HDF5 files.
    grid_width, grid_spacing, n_pcs_n_ics
        A cell's diameter (px), the distance of neighbours (px), ``[nPC, nIC]``; or a mapping of them by subject or
        name of the folder.
    frame_rate_hz : float, optional
        Frames a second, where the movie does not say.
    view_results, save_nwb : bool
        Draw ``objMapsGeneral_*.png``; write ``nwbFiles/*.nwb``, too.
    nwb_metadata : path, optional
        YAML file with what NWB wants to know of the session, as the format ``nwb`` takes it.
    options : mapping, optional
        Of a method's screen by CIAtah's names: ``{"PCAICA": {"mu": 0.1}}``.
    settings : mapping, optional
        Of a method by our names, on top.
    axes : {"TXY", "TYX"}
        How HDF5 files are stored: ``TXY`` by MATLAB as ``[height width frames]``; ``TYX`` by Python as ``(frames,
        height, width)``, which MATLAB sees transposed: images are then written as it sees the movie.
    dff : bool or "auto"
        Whether the movie is dF/F, so that traces are left as they are; auto: where its mean is about 0.
    keep_rejected : bool
        Write the rejected cells, too, and a file of decisions that tells them.
    database_folder : path, optional
        Where the table of run times is; beside the first recording's folder where not given.
    progress : ProgressSink
        Told of every step.
    run : mapping, optional
        Fields of :class:`gpucells.settings.RunSettings`, such as ``{"preset": "one_photon"}``.
    **others
        Options of CIAtah's general screen that change nothing here.

    Returns
    -------
    list of Done
        One a folder and method. What failed is there with its error, and logged; the others went on.

    Raises
    ------
    SettingsError
        A method or an option is unknown; nothing has been run then.
    """
    chosen = [methods] if isinstance(methods, str) else list(methods)
    GENERAL.translate(others)
    found = recordings(folders_or_files)
    choice = _Choice(
        _pattern(file_filter_regexp), overwrite, dataset, axes, grid_width, grid_spacing, n_pcs_n_ics, frame_rate_hz,
        view_results, save_nwb, None if nwb_metadata is None else str(nwb_metadata), keep_rejected, dff,
        Path(database_folder) if database_folder is not None else found[0].folder.resolve().parent,
        options or {}, settings or {}, run or {}, progress,
    )  # fmt: skip
    _check(chosen, choice)
    rows = []
    for number, recording in enumerate(found, 1):
        choice.made.clear()
        rows += [_tried(recording, method, choice, f"{number}/{len(found)}") for method in chosen]
    for row in rows:
        if row.error:
            log.error("%s, %s, %s: %s", row.folder, row.method, row.status, row.error)
    return rows


def _pattern(expression: str) -> re.Pattern[str]:
    try:
        return re.compile(expression, re.IGNORECASE)
    except re.error as error:
        raise SettingsError(f"file_filter_regexp = {expression!r}: {error}", "write a regular expression") from None


def _check(methods: Sequence[str], choice: _Choice) -> None:
    """Refuse what is unknown before anything runs."""
    for name in (*methods, *choice.options, *choice.settings):
        if name not in METHODS:
            raise SettingsError(
                f"CIAtah has no method {name!r}", nearest(name, METHODS) or f"one of {', '.join(METHODS)}"
            )
    for name, given in choice.options.items():
        translated(name, given, 12.0)  # any width will do to know the names


def _tried(recording: Recording, method: str, choice: _Choice, of: str) -> Done:
    """Run one method on one folder; an error is what is returned, so that the next one can go on."""
    started = time.perf_counter()
    try:
        recording = replace(recording, movies=find_movies(recording, choice.pattern))
        existing = _existing(recording.folder, method)
        if existing and not choice.overwrite:
            return Done(recording.folder, method, "skipped", files=tuple(existing))
        suffix = ciatah_names(method).suffix
        target = existing[0] if existing else recording.folder / (prefix_of(recording) + suffix)
        with locked(target):
            return _run(recording, method, choice, target, of, started)
    except GpucellsError as error:
        failure = str(error)
    except Exception as error:  # a defect with one recording must not lose the others
        log.debug("%s, %s", recording.folder, method, exc_info=True)
        failure = f"{type(error).__name__}: {error}"
    return Done(recording.folder, method, "failed", seconds=time.perf_counter() - started, error=failure)


def _existing(folder: Path, method: str) -> list[Path]:
    suffix = ciatah_names(method).suffix
    return sorted((p for p in folder.glob(f"*{suffix}") if not p.name.startswith(".")), key=natural_key)


def _run(recording: Recording, method: str, choice: _Choice, target: Path, of: str, started: float) -> Done:
    with _opened(recording.movies, choice) as movie:
        cells = _solved(movie, recording, method, choice)
        frame = movie.read(slice(movie.n_frames // 2, movie.n_frames // 2 + 1))[0]
    if choice.dff is True or (choice.dff == "auto" and is_centred(cells)):
        cells = replace(cells, f0=np.full(cells.n_cells, np.nan, np.float32))
    choice.made[recording.folder, method] = cells
    written = cells if choice.keep_rejected else cells.accepted_only()
    transposed = choice.axes == "TYX" and recording.movies[0].suffix.lower() in _HDF5
    layout = Options(method=method, transposed=transposed, decisions=choice.keep_rejected)
    write_ciatah(written, target, layout, overwrite=choice.overwrite, progress=choice.progress)
    seconds = time.perf_counter() - started
    files, problems = _extras(recording, method, choice, target, written, frame, of, seconds)
    found = cells.n_cells, int(cells.accepted.sum())
    return Done(recording.folder, method, "done", *found, seconds, (target, *files), "; ".join(problems))


def _opened(movies: tuple[Path, ...], choice: _Choice) -> Movie:
    files = list(movies)
    if movies[0].suffix.lower() not in _HDF5:
        return open_movie(files, frame_rate_hz=choice.frame_rate_hz, sort_files=False)
    dataset = choice.dataset.strip("/")
    return open_movie(files, dataset, choice.frame_rate_hz, axes=choice.axes, sort_files=False)


def _solved(movie: Movie, recording: Recording, method: str, choice: _Choice) -> Cells:
    diameter = _of_recording(choice.grid_width, recording)
    given = dict(choice.options.get(method, {}))
    spacing = _of_recording(choice.grid_spacing, recording)
    if method in ("CELLMax", "EM") and spacing is not None:
        given = {"gridSpacing": spacing} | given
    settings, run = translated(method, given, diameter)
    settings = _numbers(method, _of_recording(choice.n_pcs_n_ics, recording)) | settings
    if {"n_pcs", "n_ics"} & settings.keys():
        settings = {"whole_field": True} | settings  # CIAtah's numbers are of the whole field
    run = ({} if diameter is None else {"cell_diameter_px": float(diameter)}) | run | dict(choice.run)
    if method == "ROI":
        images = _images(recording, given.get("signalExtractionMethod"), choice)
        settings = _ROI | settings | dict(choice.settings.get(method, {}))
        return apply_footprints(movie, images, settings=settings, method="roi", progress=choice.progress, **run)
    settings |= dict(choice.settings.get(method, {}))
    return extract_cells(movie, METHODS[method], settings=settings, progress=choice.progress, **run)


def _of_recording(value: Any, recording: Recording) -> Any:
    """Return a value that may be one for all, or a mapping by subject or name of the folder."""
    if not isinstance(value, Mapping):
        return value
    keys = recording.folder.resolve().name, subject_of(recording)
    for key in keys:
        if key in value:
            return value[key]
    raise SettingsError(f"no value for {keys[0]} or {keys[1]} among {', '.join(map(str, value))}", "add it")


def _numbers(method: str, pair: Any) -> dict[str, Any]:
    if pair is None:
        return {}
    if np.shape(pair) != (2,):
        raise SettingsError(f"n_pcs_n_ics = {pair!r}", "give two numbers, [nPC, nIC]")
    if method in ("PCAICA", "PCAICA_old"):
        return {"n_pcs": int(pair[0]), "n_ics": int(pair[1])}
    return {"n_cells": int(pair[1])} if method == "CNMF" else {}


def _images(recording: Recording, method: str | None, choice: _Choice) -> Cells:
    """Return the images that ROI is to use: of this run, or of a file in the folder."""
    if method is not None and method not in METHODS:
        raise SettingsError(f"signalExtractionMethod = {method!r}", nearest(method, METHODS))
    wanted = [method] if method is not None else [name for name in METHODS if name != "ROI"]
    made = [cells for (_, name), cells in choice.made.items() if name in wanted]
    if made:
        return made[-1]
    for name in wanted:
        for path in _existing(recording.folder, name):
            return load_cells(path)
    raise InputError(
        f"ROI needs images, and {recording.folder} has none of {', '.join(wanted)}", "run another method before it"
    )


def _extras(
    recording: Recording, method: str, choice: _Choice, target: Path, cells: Cells, frame: Any, of: str, seconds: float
) -> tuple[list[Path], list[str]]:  # fmt: skip
    """Write what goes with a result; a failure of these does not take it back."""
    stem = target.name.removesuffix(".mat")
    accepted = int(cells.accepted.sum())
    title = f"{of}: {recording.folder.name} | accepted | {method} | {accepted} cells, {cells.n_cells} total"
    files: list[Path] = []
    problems: list[str] = []

    def table() -> Path:
        return append_run(choice.database_folder, recording.folder, method, cells, seconds)

    def picture() -> Path:
        from gpucells.report.object_maps import draw_object_maps

        path = recording.folder / f"objMapsGeneral_{stem}.png"
        draw_object_maps(cells, frame, path, title, overwrite=True)
        return path

    def nwb() -> Path:
        path = recording.folder / "nwbFiles" / f"{stem}.nwb"
        path.parent.mkdir(exist_ok=True)
        # CIAtah's loader is to find dF/F: divided by a baseline or, of a movie that is dF/F, as measured.
        layout = {"ciatah": has(cells, "dff"), "metadata": choice.nwb_metadata}
        export_cells(cells, path, "nwb", layout, overwrite=True, progress=choice.progress)
        return path

    wanted = {"run-time table": table} | ({"figure": picture} if choice.view_results else {})
    for name, make in (wanted | ({"NWB": nwb} if choice.save_nwb else {})).items():
        try:
            files.append(make())
        except Exception as error:  # noqa: BLE001 - the result is written, and stays
            problems.append(f"the {name} was not written: {error}")
    return files, problems
