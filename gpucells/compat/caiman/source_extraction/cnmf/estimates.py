"""What CaImAn calls estimates: footprints, traces, background and quality of a result, and what is done with them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.compat.caiman import estimates_background, estimates_plots, estimates_traces
from gpucells.compat.caiman.source_extraction.cnmf.params import CNMFParams
from gpucells.compat.told_once import tell_once
from gpucells.errors import InputError
from gpucells.export import caiman_estimates as caiman
from gpucells.io import caiman_file
from gpucells.model.cells import Cells

#: Attributes with one entry a cell.
BY_CELL = (
    "C", "S", "YrA", "R", "F_dff", "F_dff_dec", "S_dff", "bl", "c1", "g", "neurons_sn", "lam", "center",
    "coordinates", "SNR_comp", "r_values", "cnn_preds", "ecc",
)  # fmt: skip


class Estimates:
    """Results by CaImAn's names.

    ``A`` is ``(n_pixels, n_cells)`` sparse with pixels in Fortran order and columns of norm 1; ``C``, ``S``, ``YrA``
    (also ``R``) are ``(n_cells, n_frames)``, ``C`` with the baseline ``bl``, ``C + YrA`` as measured; ``b`` and ``f``
    the background, ``W`` and ``b0`` that of CNMF-E. ``docs/compat/caiman.md`` lists them all.

    Parameters
    ----------
    A, b, C, f, R : array, optional
        As above.
    dims : tuple of int, optional
        ``(height, width)``.
    """

    # Each is None until something sets it.
    A: Any
    b: Any
    C: Any
    f: Any
    R: Any
    W: Any
    b0: Any
    YrA: Any
    S: Any
    sn: Any
    g: Any
    bl: Any
    c1: Any
    neurons_sn: Any
    lam: Any
    center: Any
    merged_ROIs: Any
    coordinates: Any
    F_dff: Any
    F_dff_dec: Any
    S_dff: Any
    idx_components: Any
    idx_components_bad: Any
    SNR_comp: Any
    r_values: Any
    cnn_preds: Any
    ecc: Any
    dims: Any
    A_thr: Any
    discarded_components: Any
    Cn: Any
    nr: Any
    accepted_list: Any
    rejected_list: Any
    sv: Any
    groups: Any
    mmap_file: Any
    frame_rate_hz: Any
    ssub_B: Any
    viewer: Any

    def __init__(
        self, A: Any = None, b: Any = None, C: Any = None, f: Any = None, R: Any = None, dims: Any = None
    ) -> None:
        for name in Estimates.__annotations__:
            setattr(self, name, None)
        self.A, self.b, self.C, self.f, self.R, self.YrA, self.dims = A, b, C, f, R, R, dims
        self.shifts: list[Any] = []
        self.nr = None if A is None else A.shape[1]

    @classmethod
    def of(cls, cells: Cells) -> Estimates:
        """Make estimates of cells; of those that have no model ``C`` is the trace as measured."""
        norm, everything = caiman.norms(cells), slice(None)
        found = cls(caiman.unit_footprints(cells).astype(np.float32), dims=cells.image_shape)
        found.C = caiman.rows_of(cells, "C", everything, norm)
        found.S = None if cells.spikes is None else caiman.rows_of(cells, "S", everything, norm)
        found.YrA = found.R = caiman.rows_of(cells, "YrA", everything, norm)
        found.b, found.f = caiman.background(cells)
        for name, value in caiman.numbers(cells).items():
            setattr(found, name, value)
        found.center = cells.centroids()
        noise, correlation = cells.summary_images.get("noise"), cells.summary_images.get("correlation")
        found.sn = None if noise is None else caiman.flat(noise)
        found.Cn, found.frame_rate_hz = correlation, cells.frame_rate_hz
        return found

    def to_cells(self) -> Cells:
        """Return the estimates as cells: what :func:`gpucells.export_cells` and ``compare`` take."""
        if self.A is None or self.C is None:
            raise InputError("there are no components yet", "call fit first")
        footprints, largest = caiman_file.footprints_of(sparse.csc_array(self.A), self.dims)
        scale = largest[:, None]
        n_cells = footprints.shape[0]
        accepted = np.ones(n_cells, bool)
        if self.idx_components is not None:
            accepted = np.isin(np.arange(n_cells), self.idx_components)
        quality = {
            name: np.asarray(v, np.float32)
            for name in ("SNR_comp", "r_values")
            if (v := getattr(self, name)) is not None
        }
        quality |= {
            ours: np.asarray(v * largest, np.float32) for theirs, ours in caiman.OF_TRACES
            if (v := getattr(self, theirs)) is not None
        }  # fmt: skip
        images = (
            None
            if self.b is None or not self.b.shape[1]
            else caiman.unflat(np.asarray(self.b.T, np.float32), self.dims)
        )
        pictures = {} if self.Cn is None else {"correlation": np.asarray(self.Cn, np.float32)}
        if self.sn is not None:
            pictures["noise"] = caiman.unflat(np.asarray(self.sn, np.float32), self.dims)
        measured = self.C if self.YrA is None else self.C + self.YrA
        return Cells(
            footprints, np.asarray(measured * scale, np.float32), tuple(self.dims),
            np.full(n_cells, np.nan, np.float32), accepted,
            tuple("" if good else caiman_file.REJECTED for good in accepted), quality,
            None if self.S is None else np.asarray(self.C * scale, np.float32),
            None if self.S is None else np.asarray(self.S * scale, np.float32), images,
            None if images is None else np.asarray(self.f, np.float32), pictures, self.frame_rate_hz, method="caiman",
        )  # fmt: skip

    def __getitem__(self, idx: int) -> dict[str, Any]:
        return {name: getattr(self, name)[idx] for name in ("C", "S", "YrA") if getattr(self, name) is not None} | {
            "A": self.A[:, idx]
        }

    def __repr__(self) -> str:
        n = 0 if self.A is None else self.A.shape[1]
        return f"Estimates({n} components, dims={self.dims})"

    # Which components

    def select_components(
        self, idx_components: Any = None, use_object: bool = False, save_discarded_components: bool = True
    ) -> Estimates:
        """Keep some components, in place.

        Parameters
        ----------
        idx_components : sequence of int, optional
            Which.
        use_object : bool
            Those of ``idx_components`` of the object.
        save_discarded_components : bool
            Keep the others in ``discarded_components``, for :meth:`restore_discarded_components`.
        """
        chosen = self.idx_components if use_object else idx_components
        if chosen is None:
            raise InputError("no components were chosen", "give idx_components, or evaluate_components first")
        kept = np.asarray(chosen, np.int64).ravel()
        others = np.setdiff1d(np.arange(self.A.shape[1]), kept)
        if save_discarded_components:
            self.discarded_components = self._part(others)
        self._take(self._part(kept))
        self.idx_components = self.idx_components_bad = None
        return self

    def restore_discarded_components(self) -> None:
        """Put back what :meth:`select_components` set aside; the components then come after those that stayed."""
        gone = self.discarded_components
        if gone is None:
            return
        n = self.A.shape[1]
        self.A = sparse.csc_matrix(sparse.hstack([self.A, gone.A]))
        for name in BY_CELL:
            mine, theirs = getattr(self, name), getattr(gone, name)
            both = mine is not None and theirs is not None
            joined = [*mine, *theirs] if isinstance(mine, list) else np.concatenate([mine, theirs]) if both else None
            setattr(self, name, joined)
        self.idx_components, self.idx_components_bad = np.arange(n), np.arange(n, self.A.shape[1])
        self.nr, self.discarded_components = self.A.shape[1], None

    def _part(self, which: NDArray[Any]) -> Estimates:
        part = Estimates(sparse.csc_matrix(self.A)[:, which], dims=self.dims)
        for name in BY_CELL:
            value = getattr(self, name)
            if value is not None:
                setattr(part, name, [value[i] for i in which] if isinstance(value, list) else np.asarray(value)[which])
        return part

    def _take(self, part: Estimates) -> None:
        for name in ("A", *BY_CELL):
            setattr(self, name, getattr(part, name))
        self.nr = self.A.shape[1]

    def evaluate_components(self, imgs: Any, params: CNMFParams, dview: Any = None) -> Estimates:
        """Say which components are good: ``idx_components`` and ``idx_components_bad``.

        One is good where its r value reaches ``rval_thr`` or its SNR is above ``min_SNR``, and neither is below its
        lowest. Both numbers are the run's, of the movie without background and neighbours: CaImAn takes them of the
        movie as it is, and, of an array in memory, takes the last axis for time. There is no network.

        Parameters
        ----------
        imgs : array
            The movie; only looked at where the numbers are missing.
        params : CNMFParams
            Its group ``quality``.
        dview
            Of no effect.
        """
        self._measure(imgs)
        bars = params.quality
        if bars["use_cnn"]:
            tell_once("evaluate_components has no network (use_cnn): SNR and r value decide")
        good = (self.r_values >= bars["rval_thr"]) | (self.SNR_comp > bars["min_SNR"])
        good &= (self.r_values >= bars["rval_lowest"]) & (self.SNR_comp >= bars["SNR_lowest"])
        self.idx_components, self.idx_components_bad = np.flatnonzero(good), np.flatnonzero(~good)
        return self

    def _measure(self, imgs: Any) -> None:
        if self.SNR_comp is not None and self.r_values is not None:
            return
        import gpucells
        from gpucells.compat.caiman.movies import as_movie

        cells = gpucells.apply_footprints(as_movie(imgs, self.dims), self.to_cells().footprints, method="cnmf")
        measured = caiman.numbers(cells)
        self.SNR_comp, self.r_values = measured["SNR_comp"], measured["r_values"]

    def filter_components(
        self, imgs: Any, params: CNMFParams, new_dict: dict[str, Any] | None = None, dview: Any = None,
        select_mode: str = "All",
    ) -> Estimates:  # fmt: skip
        """Evaluate again, with other bars.

        Parameters
        ----------
        imgs, params, dview
            As :meth:`evaluate_components` takes them.
        new_dict : dict, optional
            Bars that change in ``params``.
        select_mode : str
            ``All`` components; or ``Accepted`` or ``Rejected``: only those are judged anew, the others stay.
        """
        before = self.idx_components, self.idx_components_bad
        params.set("quality", new_dict or {})
        self.evaluate_components(imgs, params)
        if select_mode == "Accepted" and before[0] is not None:
            self._set_good(np.intersect1d(self.idx_components, before[0]))
        elif select_mode == "Rejected" and before[1] is not None:
            self._set_good(np.union1d(np.intersect1d(self.idx_components, before[1]), before[0]))
        return self

    def _set_good(self, good: Iterable[Any]) -> None:
        self.idx_components = np.asarray(good, np.int64)
        self.idx_components_bad = np.setdiff1d(np.arange(self.A.shape[1]), self.idx_components)

    # What is done with them

    normalize_components = estimates_traces.normalize_components
    detrend_df_f = estimates_traces.detrend_df_f
    deconvolve = estimates_traces.deconvolve
    compute_background = estimates_background.compute_background
    compute_residuals = estimates_background.compute_residuals
    plot_contours = estimates_plots.plot_contours
    plot_contours_nb = estimates_plots.plot_contours
    view_components = estimates_plots.view_components
    nb_view_components = estimates_plots.view_components
    hv_view_components = estimates_plots.view_components
    play_movie = estimates_plots.play_movie

    def save_NWB(self, filename: str, imaging_rate: float = 30.0, overwrite: bool = False, **metadata: Any) -> None:
        """Write an NWB file.

        Images are the right way round where they are not square, and CNMF-E's results can be written, unlike CaImAn's.

        Parameters
        ----------
        filename : str
            The file to make.
        imaging_rate : float
            Frames a second, where the run was not told.
        overwrite : bool
            Whether an existing file may be replaced.
        **metadata
            ``metadata`` is a YAML file with the facts of the session (``docs/nwb.md``). CaImAn's own arguments for
            these warn: nothing is made up about a session.
        """
        from gpucells import export_cells

        options: dict[str, Any] = {} if self.frame_rate_hz else {"frame_rate_hz": imaging_rate}
        if "metadata" in metadata:
            options["metadata"] = metadata.pop("metadata")
        for name in metadata:
            tell_once(f"save_NWB does not honour {name}: facts of a session come from the YAML file metadata=")
        export_cells(self.to_cells(), filename, "nwb", options, overwrite)
