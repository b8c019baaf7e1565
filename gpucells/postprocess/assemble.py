"""From components and traces to the result that a user keeps."""

from __future__ import annotations

import hashlib
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.model.cells import Cells
from gpucells.model.components import FinalCells
from gpucells.model.movie import Movie
from gpucells.model.provenance import Provenance, StageCost
from gpucells.tiles.final_traces import stretch
from gpucells.tiles.working_movie import Summary

Float32 = NDArray[np.float32]

PACKAGES = ("gpucells", "numpy", "scipy", "numba", "h5py", "tifffile")


def assemble(
    movie: Movie, final: FinalCells, factor: int, summary: Summary, correlation: Float32, method: str,
    settings: dict[str, object],
) -> Cells:  # fmt: skip
    """Put accepted and rejected cells, images and settings together.

    Parameters
    ----------
    movie : Movie
        The source.
    final : FinalCells
        Of the whole image.
    factor : int
        Frames averaged into one by the solver: rejected cells' traces are stretched by it.
    summary, correlation
        Images of the movie.
    method, settings
        What was run.
    """
    components, traces = final.components, final.traces
    rejected = components.rejected
    footprints = sparse.csr_array(sparse.vstack([components.footprints, rejected.footprints])).astype(np.float32)
    n_cells, n_rejected = len(traces), len(rejected.reasons)
    shape = (movie.height, movie.width)
    baseline = components.baseline
    mass = np.maximum(np.asarray(footprints.sum(axis=1), np.float32).ravel(), 1e-12)
    f0 = np.asarray(footprints @ baseline / mass, np.float32)
    return Cells(
        footprints=footprints,
        traces=np.concatenate([traces, stretch(rejected.traces, factor, movie.n_frames)]).astype(np.float32),
        image_shape=shape,
        f0=np.where(f0 > 0, f0, np.nan).astype(np.float32),
        accepted=np.arange(n_cells + n_rejected) < n_cells,
        rejection=("",) * n_cells + rejected.reasons,
        quality={name: np.concatenate([column, rejected.quality[name]]) for name, column in components.quality.items()}
        | {name: _and_none(column, n_rejected) for name, column in final.quality.items()},
        denoised=None if final.denoised is None else _and_none(final.denoised, n_rejected),
        spikes=None if final.spikes is None else _and_none(final.spikes, n_rejected),
        background_images=None if final.background_images is None else final.background_images.reshape(-1, *shape),
        background_traces=final.background_traces,
        summary_images={
            "mean": summary.mean,
            "max": summary.maximum,
            "correlation": correlation,
            "noise": components.noise.reshape(shape) * np.float32(np.sqrt(factor)),
            "inside": summary.inside.astype(np.float32),
        }
        | ({"background_gain": components.gain.reshape(shape)} if components.background_images is None else {}),
        frame_rate_hz=movie.frame_rate_hz,
        pixel_size_um=movie.pixel_size_um,
        method=method,
        settings=settings,
    )


def _and_none(values: Float32, n_rejected: int) -> Float32:
    """Add NaN for the rejected cells, which the last passes leave out."""
    missing = np.full((n_rejected, *values.shape[1:]), np.nan, np.float32)
    return np.concatenate([values, missing]).astype(np.float32)


def provenance(movie: Movie, device: str, seed: int, costs: list[StageCost], warnings: tuple[str, ...]) -> Provenance:
    """Say where a result came from.

    Parameters
    ----------
    movie : Movie
        The source; three of its frames are read.
    device : str
        ``"cpu"``, ``"cuda:0"``, or several GPUs as ``"cuda:0,1"``.
    seed : int
        Of everything random.
    costs : list of StageCost
        What each stage took.
    warnings : tuple of str
        What the user should know.
    """
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return Provenance(
        versions=versions,
        device=device,
        seed=seed,
        source=movie.source,
        input_identity=identity(movie),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        stages=tuple(costs),
        warnings=warnings,
    )


def identity(movie: Movie) -> str:
    """Tell movies apart by shape, type and three frames: the first, the middle and the last."""
    digest = hashlib.sha256()
    for index in sorted({0, movie.n_frames // 2, movie.n_frames - 1}):
        digest.update(np.ascontiguousarray(movie.read(slice(index, index + 1))).tobytes())
    shape = " x ".join(map(str, movie.shape))
    return f"{shape} {movie.dtype} sha256:{digest.hexdigest()[:32]}"
