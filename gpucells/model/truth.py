"""What is known about a simulated movie: the cells that are in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.errors import InputError

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Truth:
    """Footprints and traces that a movie was made from.

    Parameters
    ----------
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` float32, pixels in C order of ``(height, width)``.
    traces : numpy.ndarray
        ``(n_cells, n_frames)`` float32.
    image_shape : tuple of int
        ``(height, width)``.
    spikes : numpy.ndarray
        ``(n_cells, n_frames)`` float32, 0 where nothing happened.
    snr : numpy.ndarray
        ``(n_cells,)`` matched-filter SNR of the cell's largest transients, knowing footprint and noise.
    max_overlap : numpy.ndarray
        ``(n_cells,)`` largest footprint cosine with another cell.
    at_border : numpy.ndarray
        ``(n_cells,)`` bool: the image's border cuts the cell.
    """

    footprints: sparse.csr_array
    traces: Float32
    image_shape: tuple[int, int]
    spikes: Float32
    snr: Float32
    max_overlap: Float32
    at_border: NDArray[np.bool_]

    def __post_init__(self) -> None:
        n_cells = self.traces.shape[0]
        expected = (n_cells, self.image_shape[0] * self.image_shape[1])
        if self.footprints.shape != expected:
            raise InputError(f"true footprints have shape {self.footprints.shape}, traces and image say {expected}")
        if self.spikes.shape != self.traces.shape:
            raise InputError(f"true spikes have shape {self.spikes.shape}, traces {self.traces.shape}")
        for name in ("snr", "max_overlap", "at_border"):
            if len(getattr(self, name)) != n_cells:
                raise InputError(f"{n_cells} true cells, but {len(getattr(self, name))} values of {name}")

    @property
    def n_cells(self) -> int:
        """Number of cells, whether or not they can be found."""
        return int(self.traces.shape[0])

    def as_datasets(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that a file keeps, by name; ``footprints_shape`` is kept as an attribute."""
        return {
            "footprints_data": self.footprints.data.astype(np.float32, copy=False),
            "footprints_indices": self.footprints.indices.astype(np.int32, copy=False),
            "footprints_indptr": self.footprints.indptr.astype(np.int32, copy=False),
            "traces": self.traces,
            "spikes": self.spikes,
            "snr": self.snr,
            "max_overlap": self.max_overlap,
            "at_border": self.at_border,
        }

    def write_into(self, group: Any) -> None:
        """Write the arrays into an open, empty HDF5 group (or anything with its ``create_dataset`` and ``attrs``)."""
        for name, array in self.as_datasets().items():
            group.create_dataset(name, data=array)
        group.attrs["footprints_shape"] = np.asarray(self.footprints.shape)
        group.attrs["image_shape"] = np.asarray(self.image_shape)

    @classmethod
    def from_datasets(cls, datasets: Mapping[str, NDArray[Any]], image_shape: tuple[int, int]) -> Truth:
        """Make a truth from what :meth:`as_datasets` gives.

        Raises
        ------
        InputError
            An array is missing, or shapes do not go together.
        """
        names = ("data", "indices", "indptr")
        missing = [f"footprints_{name}" for name in names if f"footprints_{name}" not in datasets]
        missing += [name for name in ("traces",) if name not in datasets]
        if missing:
            raise InputError(f"the truth lacks {', '.join(missing)}", "see Truth.as_datasets for what it needs")
        n_pixels, last = image_shape[0] * image_shape[1], int(np.max(datasets["footprints_indices"], initial=0))
        if last >= max(n_pixels, 1):
            raise InputError(f"true footprints reach pixel {last}, the image has {n_pixels}")
        traces = np.asarray(datasets["traces"], dtype=np.float32)
        n_cells = len(traces)
        parts = tuple(datasets[f"footprints_{name}"] for name in names)
        footprints = sparse.csr_array(parts, shape=(n_cells, n_pixels))
        overlap = datasets["max_overlap"] if "max_overlap" in datasets else largest_overlap(footprints)
        return cls(
            footprints=footprints,
            traces=traces,
            image_shape=image_shape,
            spikes=np.asarray(datasets.get("spikes", np.zeros_like(traces)), dtype=np.float32),
            snr=np.asarray(datasets.get("snr", np.full(n_cells, np.inf)), dtype=np.float32),
            max_overlap=np.asarray(overlap, dtype=np.float32),
            at_border=np.asarray(datasets.get("at_border", np.zeros(n_cells)), dtype=np.bool_),
        )


def unit_rows(footprints: Any) -> sparse.csr_array:
    """Return the rows scaled to Euclidean norm 1, float64; empty rows stay empty.

    Parameters
    ----------
    footprints : sparse or dense array
        ``(n_cells, n_pixels)``.
    """
    rows = sparse.csr_array(footprints, dtype=np.float64)
    norms = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    return sparse.csr_array(sparse.diags_array(scale) @ rows)


def largest_overlap(footprints: Any) -> Float32:
    """Return each footprint's largest cosine with another one, ``(n_cells,)`` float32 from 0 to 1."""
    unit = unit_rows(footprints)
    if unit.shape[0] < 2:
        return np.zeros(unit.shape[0], dtype=np.float32)
    cosine = sparse.csr_array(unit @ unit.T).tolil()
    cosine.setdiag(0)
    return np.asarray(cosine.tocsr().max(axis=1).todense(), dtype=np.float32).ravel()
