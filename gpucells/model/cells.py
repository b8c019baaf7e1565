"""The result: cells, on the host."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.errors import InputError
from gpucells.model.provenance import Provenance

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Cells:
    """Footprints, traces and quality of the cells of one movie.

    Parameters
    ----------
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` float32, pixels in C order of ``(height, width)``, each row's maximum 1.
    traces : numpy.ndarray
        ``(n_cells, n_frames)`` float32, as measured, in the movie's units above the cell's baseline ``f0``;
        EXTRACT's default cuts them off at a low quantile, so that noise cannot be read from them (``no_constraint``).
        NaN at frames that the movie lacks.
    image_shape : tuple of int
        ``(height, width)``.
    f0 : numpy.ndarray
        ``(n_cells,)`` baseline fluorescence in the movie's units; NaN where the movie has none.
    accepted : numpy.ndarray
        ``(n_cells,)`` bool.
    rejection : tuple of str
        Why each cell was rejected; empty for an accepted one.
    quality : dict
        Name of a measure to ``(n_cells,)`` float32.
    denoised, spikes : numpy.ndarray or None
        ``(n_cells, n_frames)`` by the method's model, where it has one.
    background_images, background_traces : numpy.ndarray or None
        ``(n_background, height, width)`` and ``(n_background, n_frames)``.
    summary_images : dict
        ``mean``, ``max``, ``correlation``, ``noise``: ``(height, width)`` float32.
    frame_rate_hz, pixel_size_um : float or None
        None where unknown.
    method : str
        Name in the registry of methods.
    settings : dict
        Every setting of the run, JSON-like.
    provenance : Provenance
        Versions, device, seed, input, timings.
    """

    footprints: sparse.csr_array
    traces: Float32
    image_shape: tuple[int, int]
    f0: Float32
    accepted: NDArray[np.bool_]
    rejection: tuple[str, ...]
    quality: dict[str, Float32] = field(default_factory=dict)
    denoised: Float32 | None = None
    spikes: Float32 | None = None
    background_images: Float32 | None = None
    background_traces: Float32 | None = None
    summary_images: dict[str, Float32] = field(default_factory=dict)
    frame_rate_hz: float | None = None
    pixel_size_um: float | None = None
    method: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        n_cells = self.traces.shape[0]
        n_pixels = self.image_shape[0] * self.image_shape[1]
        if self.footprints.shape != (n_cells, n_pixels):
            raise InputError(
                f"footprints have shape {self.footprints.shape}, but traces and image say {(n_cells, n_pixels)}"
            )
        lengths = {"f0": len(self.f0), "accepted": len(self.accepted), "rejection": len(self.rejection)}
        lengths |= {name: len(column) for name, column in self.quality.items()}
        wrong = {name: length for name, length in lengths.items() if length != n_cells}
        if wrong:
            raise InputError(f"{n_cells} cells, but these have another length: {wrong}")

    @property
    def n_cells(self) -> int:
        """Number of cells, accepted or not."""
        return int(self.traces.shape[0])

    @property
    def n_frames(self) -> int:
        """Number of frames of the traces."""
        return int(self.traces.shape[1])

    @property
    def dff(self) -> Float32:
        """``(n_cells, n_frames)`` relative change of fluorescence; NaN where the movie has no baseline."""
        return np.asarray(self.traces / self.f0[:, None], dtype=np.float32)

    def images(self) -> Float32:
        """Return the footprints as ``(n_cells, height, width)`` float32 (dense: mind the memory)."""
        return np.asarray(self.footprints.toarray(), dtype=np.float32).reshape(-1, *self.image_shape)

    def centroids(self) -> NDArray[np.float64]:
        """Return the weighted centres, ``(n_cells, 2)`` as (row, column) in px."""
        rows, columns = np.divmod(np.arange(self.footprints.shape[1]), self.image_shape[1])
        mass = np.maximum(np.asarray(self.footprints.sum(axis=1), dtype=np.float64).ravel(), 1e-12)
        return np.stack([self.footprints @ rows / mass, self.footprints @ columns / mass], axis=1)

    def select(self, which: NDArray[Any]) -> Cells:
        """Return only the cells that a boolean mask or an index array picks, in that order."""
        index = np.flatnonzero(which) if which.dtype == np.bool_ else np.asarray(which)
        changes: dict[str, Any] = {
            "footprints": sparse.csr_array(self.footprints[index]),
            "rejection": tuple(self.rejection[i] for i in index),
            "quality": {name: column[index] for name, column in self.quality.items()},
        }
        for name in ("traces", "f0", "accepted", "denoised", "spikes"):
            value = getattr(self, name)
            changes[name] = None if value is None else value[index]
        return replace(self, **changes)

    def accepted_only(self) -> Cells:
        """Return only the accepted cells."""
        return self.select(self.accepted)

    def __repr__(self) -> str:
        height, width = self.image_shape
        return (
            f"Cells({self.n_cells} found, {int(self.accepted.sum())} accepted, {self.n_frames} frames, "
            f"{height} x {width} px, method={self.method!r})"
        )


FIELD_NAMES = tuple(f.name for f in fields(Cells))
