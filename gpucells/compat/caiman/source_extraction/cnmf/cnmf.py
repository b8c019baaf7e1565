"""``CNMF``: CaImAn's object of a run, on gpucells' CNMF and CNMF-E."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from gpucells.compat.caiman.estimates_background import fit_ring
from gpucells.compat.caiman.movies import as_movie, open_files
from gpucells.compat.caiman.parameter_others import CNMF_ARGUMENTS
from gpucells.compat.caiman.source_extraction.cnmf.estimates import BY_CELL, Estimates
from gpucells.compat.caiman.source_extraction.cnmf.params import CNMFParams
from gpucells.compat.caiman.translate import Call, ring_radius_px, translate
from gpucells.compat.told_once import tell_once
from gpucells.errors import InputError, SettingsError
from gpucells.export.caiman import write_content
from gpucells.io import caiman_file
from gpucells.io.results import load_cells
from gpucells.model.movie import Movie
from gpucells.pipeline import extract_cells
from gpucells.progress import silent


class CNMF:
    """Source extraction by CNMF, or by CNMF-E with ``method_init='corr_pnr'``.

    Parameters
    ----------
    n_processes : int
        Of no effect: threads share the work.
    *arguments, **named
        CaImAn's arguments in its order: ``k``, ``gSig``, ``merge_thresh``, ``p``, …; where ``params`` is given they do
        not count, as in CaImAn.
    params : CNMFParams, optional
        All parameters.
    dview
        Of no effect.
    Ain : array or sparse, optional
        ``(n_pixels, n_cells)`` footprints or masks in Fortran order: these cells are refined and no others looked for.
    Cin, b_in, f_in : array, optional
        Of no effect: traces and background are solved for.

    Attributes
    ----------
    estimates : Estimates
        The components, without those that the run itself rejected.
    cells : Cells
        gpucells' own result, with those.
    """

    def __init__(self, n_processes: int = 1, *arguments: Any, **named: Any) -> None:
        given = dict(zip(CNMF_ARGUMENTS, arguments, strict=False)) | named
        params, self.dview = given.pop("params", None), given.pop("dview", None)
        footprints = given.pop("Ain", None)
        for name in ("Cin", "b_in", "f_in"):
            if given.pop(name, None) is not None:
                tell_once(f"{name} is not used: traces and background are solved for")
        self.params: CNMFParams = CNMFParams(**given) if params is None else params
        self.n_processes, self.dims = n_processes, self.params.data["dims"]
        self.mmap_file: str | None = None
        self.skip_refinement = self.remove_very_bad_comps = False
        self.cells: Any = None
        self.estimates = Estimates(A=footprints, dims=self.dims)

    def __repr__(self) -> str:
        return f"CNMF({self.estimates!r})"

    __str__ = __repr__

    def __getitem__(self, idx: int) -> dict[str, Any]:
        return self.estimates[idx]

    def fit(self, images: Any, indices: Any = (slice(None), slice(None))) -> CNMF:
        """Find the cells of a movie.

        The result is always the full one, also where CaImAn's default ends after the initialisation with ``S`` None.

        Parameters
        ----------
        images : array
            ``(n_frames, height, width)`` in memory or a memory map; ``(n_pixels, n_frames)`` where
            ``params.data['dims']`` is known.
        indices : tuple of slice
            Rows and columns to look at.
        """
        movie = as_movie(images, self.params.data["dims"])
        if any(part != slice(None) for part in indices):
            movie = (movie.read() if isinstance(movie, Movie) else movie)[(slice(None), *indices)]
        name = getattr(images, "filename", None)
        self.mmap_file = None if name is None else str(name)
        if self.params.patch["only_init"]:
            tell_once("patch/only_init: fit returns the full result, with spikes, and not the initialisation alone")
        shape = (movie.height, movie.width) if isinstance(movie, Movie) else tuple(movie.shape[1:])
        call = translate(self.params, shape)
        start = self._start(shape, call)
        held = {} if start is None else {"search_after_init": False}
        self.cells = extract_cells(movie, call.method, settings=call.settings | held, init=start, **call.run)
        self.dims = self.cells.image_shape
        self.estimates = Estimates.of(self.cells.accepted_only())
        self.estimates.mmap_file = self.mmap_file
        if call.method == "cnmfe" and self.params.init["nb"] <= 0 and self.params.init["ring_size_factor"] is not None:
            self._add_ring(movie)
        return self

    def _start(self, shape: tuple[int, ...], call: Call) -> Any:
        footprints = self.estimates.A
        if footprints is None:
            return None if call.seeds is None else np.asarray(call.seeds, np.float64)
        if footprints.shape[1] == 0:
            raise InputError("there are no components to begin from", "fit without Ain, or choose some")
        columns = sparse.csc_array(footprints, dtype=np.float32)
        if columns.shape[0] != shape[0] * shape[1]:
            raise InputError(
                f"Ain has {columns.shape[0]} rows, the images {shape[0]} x {shape[1]} pixels", "give (pixels, cells)"
            )
        return caiman_file.footprints_of(columns, (shape[0], shape[1]))[0]

    def _add_ring(self, movie: Any) -> None:
        n_pixels, n_frames = self.estimates.A.shape[0], self.estimates.C.shape[1]
        fit_ring(self.estimates, movie, ring_radius_px(self.params), int(self.params.init["ssub_B"]))
        self.estimates.b, self.estimates.f = np.zeros((n_pixels, 0), np.float32), np.zeros((0, n_frames), np.float32)

    def refit(self, images: Any, dview: Any = None) -> CNMF:
        """Begin from the components of this object, those of ``idx_components`` where they were evaluated.

        Parameters
        ----------
        images : array
            As :meth:`fit` takes them.
        dview
            Of no effect.
        """
        again = CNMF(self.n_processes, params=copy.deepcopy(self.params), dview=dview)
        chosen = copy.copy(self.estimates)
        if chosen.idx_components is not None:
            chosen.select_components(use_object=True)
        again.estimates = Estimates(A=chosen.A, dims=chosen.dims)
        return again.fit(images)

    def fit_file(self, motion_correct: bool = False, indices: Any = None, include_eval: bool = False) -> CNMF:
        """Find the cells of the registered movie ``params.data['fnames']``.

        Parameters
        ----------
        motion_correct : bool
            Must be False: registration is another tool's work.
        indices : tuple of slice, optional
            As :meth:`fit` takes them.
        include_eval : bool
            Evaluate the components, keep the good ones, and work dF/F out.
        """
        if motion_correct:
            raise SettingsError(
                "motion_correct = True: gpucells does not register movies",
                "register the movie with another tool, such as CaImAn's MotionCorrect, and give the file it wrote",
            )
        data = self.params.data
        if not data["fnames"]:
            raise SettingsError("params.data['fnames'] is empty", "give the movie's file")
        with open_files(data["fnames"], data["var_name_hdf5"]) as movie:
            self.fit(movie, indices or (slice(None), slice(None)))
            self.mmap_file = self.estimates.mmap_file = str(data["fnames"][0])
            if include_eval:
                self.estimates.evaluate_components(movie, self.params)
                self.estimates.select_components(use_object=True)
                self.estimates.detrend_df_f()
        return self

    def save(self, filename: str | os.PathLike[str]) -> None:
        """Write an HDF5 file as CaImAn does; an existing one is replaced, as there.

        Parameters
        ----------
        filename : path-like
            Ends in ``.hdf5``. A name without a folder is in the current folder; CaImAn puts it in
            its folder for temporary files.
        """
        if Path(filename).suffix != ".hdf5":
            raise InputError(
                f"{filename} does not end in .hdf5", "CaImAn reads no other ending; export_cells writes others"
            )
        estimates = self.estimates.__dict__ | {"ssub_B": None}
        if self.estimates.discarded_components is not None:
            gone = self.estimates.discarded_components
            estimates["discarded_components"] = {name: getattr(gone, name) for name in ("A", *BY_CELL)}
        estimates = {name: value for name, value in estimates.items() if name not in ("viewer", "ssub_B")}
        content = {
            "dims": self.dims, "dview": None, "mmap_file": self.mmap_file, "n_processes": self.n_processes,
            "skip_refinement": False, "remove_very_bad_comps": False, "estimates": estimates,
            "params": {group: _storable(values) for group, values in self.params.to_dict().items()},
        }  # fmt: skip
        write_content(Path(filename), content, True, 0, silent)

    # As in CaImAn, what estimates do can be asked of the object.

    def deconvolve(self, p: int | None = None, **options: Any) -> CNMF:
        """Deconvolve the traces again.

        Parameters
        ----------
        p : int, optional
            Order of the response.
        **options
            Others of the group ``temporal``.
        """
        params = copy.deepcopy(self.params)
        params.set("temporal", options | ({} if p is None else {"p": p}))
        self.estimates.deconvolve(params)
        return self

    def compute_residuals(self, Yr: Any) -> CNMF:
        """Set ``estimates.YrA`` anew from the movie."""
        self.estimates.compute_residuals(Yr)
        return self

    def remove_components(self, ind_rm: Any) -> None:
        """Take components out."""
        kept = np.setdiff1d(np.arange(self.estimates.A.shape[1]), ind_rm)
        self.estimates.select_components(kept, save_discarded_components=False)


def _storable(values: dict[str, Any]) -> dict[str, Any]:
    """Leave out what an HDF5 file cannot hold: slices."""
    return {
        name: (None if name == "indices" else [str(v) for v in value] if name == "fnames" and value else value)
        for name, value in values.items()
    }


def load_CNMF(filename: str | os.PathLike[str], n_processes: int = 1, dview: Any = None) -> CNMF:
    """Read a result: CaImAn's ``.hdf5``, or any other that :func:`gpucells.load_cells` reads.

    Parameters
    ----------
    filename : path-like
        The file.
    n_processes, dview
        Of no effect.
    """
    found = CNMF(n_processes, dview=dview)
    if not caiman_file.recognises(Path(filename)):
        found.cells = load_cells(filename)
        found.dims, found.estimates = found.cells.image_shape, Estimates.of(found.cells)
        found.estimates.idx_components = np.flatnonzero(found.cells.accepted)
        found.estimates.idx_components_bad = np.flatnonzero(~found.cells.accepted)
        return found
    content = caiman_file.read_content(Path(filename))
    for group, values in content.pop("params", {}).items():
        if isinstance(values, dict):
            found.params.restore(group, values)
    found.params.check_consistency()
    estimates = content.pop("estimates")
    _fill(found.estimates, estimates)
    if isinstance(estimates.get("discarded_components"), dict):
        found.estimates.discarded_components = Estimates()
        _fill(found.estimates.discarded_components, estimates["discarded_components"])
    found.dims, found.mmap_file = content.get("dims"), content.get("mmap_file")
    if found.estimates.dims is None:
        found.estimates.dims = found.dims
    return found


def _fill(estimates: Estimates, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(estimates, name, value)
    if isinstance(estimates.g, int | float | np.number):  # a missing one is stored as 0
        estimates.g = None
    for name in ("bl", "c1", "lam", "neurons_sn"):  # which CaImAn may have stored as text
        stored = getattr(estimates, name)
        if isinstance(stored, np.ndarray) and stored.dtype.kind in "SUO":
            setattr(estimates, name, caiman_file.as_numbers(stored))
    estimates.R = estimates.YrA if estimates.R is None else estimates.R
    estimates.nr = None if estimates.A is None else estimates.A.shape[1]
