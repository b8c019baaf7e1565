"""The fits of seeds on a GPU: the passes over the movie, and their order.

All seeds of a batch take every step together; one that has settled or failed is passed over by the kernels
(``kernels/seed_passes.cu``, ``kernels/seed_rounds.cu``), so that nothing is waited for until the fits are copied to
the host.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpucells.device.arrays import namespace_of, to_host
from gpucells.device.kernels import Array, Define, Kernel, Scalar
from gpucells.ops.robust_single import BLOCK, CURVATURE_FLOOR
from gpucells.ops.seed_fits import DOMINANCE, IMAGE_STEPS, IMAGE_TOLERANCE, ROUNDS
from gpucells.ops.seed_rounds import (
    ACTIVE,
    FREE,
    IMAGES,
    N_ACTIVE,
    PLACES,
    RUNNING,
    SEEDS,
    SHAPE,
    SIZES,
    SUPPORT,
    TRACES,
    WARPS,
    SeedBatch,
    written,
)  # fmt: skip

Float32 = NDArray[np.float32]

NO_LIMIT = float(np.finfo(np.float32).max)  # a kappa that makes a robust fit one of least squares

_MOVIE = Array("movie", "float32", ("height", "width", "n_frames"))
_KAPPA = (Scalar("kappa", "float32"), Scalar("floor", "float32"))


def _kernel(name: str, registers: int, *parameters: Array | Scalar) -> Kernel:
    defines = (Define("WARPS", (WARPS,)), Define("GROUP", (BLOCK,)), Define("DOMINANCE", (DOMINANCE,)))
    return Kernel("seed_passes.cu", name, parameters, threads=32 * WARPS, registers=registers, defines=defines)


FIT_TRACES = _kernel(
    "fit_traces", 64, _MOVIE, *SUPPORT, RUNNING, *SIZES[2:], Scalar("steps"), *_KAPPA, *written(TRACES, FREE)
)
WEIGH_FRAMES = _kernel("weigh_frames", 48, _MOVIE, SEEDS, *PLACES, ACTIVE, N_ACTIVE, *SIZES, *written(SHAPE))
FIT_IMAGES = _kernel(
    "fit_images", 64, _MOVIE, SEEDS, *PLACES, ACTIVE, SHAPE, N_ACTIVE, RUNNING, *SIZES, Scalar("steps"),
    Scalar("tolerance", "float32"), *_KAPPA, *written(IMAGES),
)  # fmt: skip
SUBTRACT_IMAGES = _kernel(
    "subtract_images", 64, *written(_MOVIE), SEEDS, *PLACES, ACTIVE, SHAPE, N_ACTIVE, TRACES, IMAGES, *SIZES,
    Scalar("grow"),
)  # fmt: skip


def _pass(kernel: Kernel, n_items: int, a_block: int, batch: SeedBatch, **arguments: Any) -> None:
    """Launch as many blocks for every seed as its items take."""
    kernel.launch((batch.n_seeds * -(-n_items // a_block),), (32, WARPS), **arguments)


def _of_pixels(movie: Any, batch: SeedBatch) -> dict[str, Any]:
    """Return what kernels take that go over the windows' pixels and the active frames."""
    return {"movie": movie, "seeds": batch.seeds, "side": batch.side, **batch.places, **batch.frames}


def _fit_traces(movie: Any, batch: SeedBatch, steps: int, kappa: float) -> None:
    _pass(
        FIT_TRACES, movie.shape[2], 32, batch, movie=movie, running=batch.running, steps=steps, kappa=kappa,
        floor=CURVATURE_FLOOR, traces=batch.traces, free=batch.free, **batch.support,
    )  # fmt: skip


def _fit_images(movie: Any, batch: SeedBatch, steps: int, kappa: float) -> None:
    _pass(
        FIT_IMAGES, batch.side**2, BLOCK, batch, running=batch.running, images=batch.images, steps=steps,
        tolerance=IMAGE_TOLERANCE, kappa=kappa, floor=CURVATURE_FLOOR, **_of_pixels(movie, batch),
    )  # fmt: skip


def fit_on_device(
    movie: Any, inside: NDArray[np.bool_], seeds: NDArray[np.int64], half: int, kappa: float
) -> tuple[Float32, Float32, NDArray[np.int64]]:
    """Fit all seeds of a batch.

    Parameters
    ----------
    movie, inside, seeds, half, kappa
        As of :func:`gpucells.ops.seed_fits.fit_seeds`, the movie CuPy's; at least one seed.

    Returns
    -------
    images, traces, areas : numpy.ndarray
        ``(n, side, side)`` and ``(n, n_frames)`` float32, ``(n,)`` int64. Where a fit failed the area is 0, and image
        and trace are what it left.
    """
    batch = SeedBatch(movie, inside, seeds, half)
    batch.support_neighbours(inside, seeds)
    _fit_traces(movie, batch, 1, NO_LIMIT)  # their mean
    batch.choose_frames(first=True)
    _pass(WEIGH_FRAMES, movie.shape[2], 32, batch, **_of_pixels(movie, batch))
    _fit_images(movie, batch, 0, NO_LIMIT)  # the weighted mean frame, but for a factor
    batch.end_round(first=True)
    for turn in range(ROUNDS):
        _fit_traces(movie, batch, 3 if turn == 0 else 2, kappa)
        batch.choose_frames()
        _fit_images(movie, batch, IMAGE_STEPS, kappa)
        batch.end_round()
    images = to_host(batch.images).reshape(-1, batch.side, batch.side)
    return images, to_host(batch.traces), to_host(batch.support["n_support"])


def subtract_on_device(
    movie: Any, inside: NDArray[np.bool_], seeds: NDArray[np.int64], images: Float32, grow: int
) -> None:
    """Subtract the plain projections on the images of a batch, in place.

    Parameters
    ----------
    movie, inside, seeds, images, grow
        As of :func:`gpucells.ops.seed_fits.subtract_seeds`, the movie CuPy's; at least one seed.
    """
    batch = SeedBatch(movie, inside, seeds, images.shape[1] // 2)
    batch.images = namespace_of(movie).asarray(images.reshape(len(seeds), -1), np.float32)
    batch.support_images()
    _fit_traces(movie, batch, 1, NO_LIMIT)
    batch.choose_frames()
    _pass(
        SUBTRACT_IMAGES, batch.side**2, WARPS, batch, traces=batch.traces, images=batch.images, grow=grow,
        **_of_pixels(movie, batch),
    )  # fmt: skip
