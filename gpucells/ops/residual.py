"""What a model of sparse components leaves of a movie.

``residual = movie - offset - sum of components``, pixel by pixel, without the dense product ever existing.

A movie on a GPU goes to ``kernels/residual.cu``, all others to numba. Everything but the movie may be on the host.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from array_api_compat import is_cupy_array
from numpy.typing import NDArray
from scipy import sparse

from gpucells.device.arrays import to_host
from gpucells.device.kernels import Array, Define, Kernel, Scalar
from gpucells.ops.row_blocks import each_share

Float32 = NDArray[np.float32]

NEAR = np.float32(0.5)  # noises from the level within which a residual counts in proportion; farther ones by sign
USUAL = np.float32(
    0.3
)  # share of a level's frames within `NEAR`, less than the .38 of normal noise: no step overshoots
LANES = 16  # sums side by side
LEVEL_STEPS = 4  # from the level of the round before
PIXELS, CHUNK = 8, 128  # of subtract_components on a GPU: pixels a block, and frames that a warp has in registers
THREADS = 256  # a pixel, of fit_gain on a GPU
HELD_FRAMES = (
    5120  # of a pixel that fit_gain keeps in shared memory, 8 bytes each: 40 of the 48 KiB that all cards have
)

_MACROS = (Define("PIXELS", (PIXELS,)), Define("CHUNK", (CHUNK,)), Define("LEVEL_STEPS", (LEVEL_STEPS,)))
SUBTRACT_COMPONENTS = Kernel(
    "residual.cu",
    "subtract_components",
    (
        Array("movie", "float32", ("n_pixels", "n_frames")), Scalar("n_pixels"), Scalar("n_frames"),
        Array("offset", "float32", ("n_pixels",)), Array("start", "int64", ("n_starts",)),
        Array("components", "int32", ("n_entries",)), Array("weights", "float32", ("n_entries",)),
        Array("traces", "float32", ("n_components", "n_frames")),
        Array("out", "float32", ("n_pixels", "n_frames"), written=True),
    ),
    threads=32 * PIXELS, registers=64, defines=_MACROS,
)  # fmt: skip
FIT_GAIN = Kernel(
    "residual.cu",
    "fit_gain",
    (
        Array("movie", "float32", ("n_pixels", "n_frames")), Scalar("n_frames"),
        Array("cell_start", "int64", ("n_starts",)), Array("cell_index", "int32", ("n_cell_entries",)),
        Array("cell_weight", "float32", ("n_cell_entries",)), Array("cell_traces", "float32", ("n_cells", "n_frames")),
        Array("hat_start", "int64", ("n_starts",)), Array("hat_index", "int32", ("n_hat_entries",)),
        Array("hat_weight", "float32", ("n_hat_entries",)), Array("hat_traces", "float32", ("n_hats", "n_frames")),
        Array("start_gain", "float32", ("n_pixels",)), Array("start_offset", "float32", ("n_pixels",)),
        Scalar("kappa", "float32"), Scalar("near", "float32"), Scalar("fewest", "float32"), Scalar("n_held"),
        Array("gain", "float32", ("n_pixels",), written=True), Array("offset", "float32", ("n_pixels",), written=True),
        Array("certainty", "float32", ("n_pixels",), written=True),
    ),
    threads=THREADS, registers=64, defines=_MACROS,
)  # fmt: skip


def _by_pixel(images: sparse.csr_array) -> tuple[NDArray[np.int64], NDArray[np.int32], Float32]:
    """Return where each pixel's entries begin, their components, their weights."""
    columns = sparse.csc_array(images)
    return columns.indptr.astype(np.int64), columns.indices.astype(np.int32), columns.data.astype(np.float32)


def _float32_on_device(array: Any) -> Any:
    import cupy

    return cupy.ascontiguousarray(cupy.asarray(array), np.float32)


@numba.njit(cache=True, fastmath=True, error_model="numpy", nogil=True)
def _subtract(movie, offset, start, components, weights, traces, out, begin, end):  # type: ignore[no-untyped-def]
    for p in range(begin, end):
        row = out[p]
        source = movie[p]
        o = offset[p]
        for t in range(len(row)):
            row[t] = source[t] - o
        for e in range(start[p], start[p + 1]):
            trace = traces[components[e]]
            a = weights[e]
            for t in range(len(row)):
                row[t] -= a * trace[t]


def subtract_components(
    movie: Float32, images: sparse.csr_array, traces: Float32, offset: Float32 | None = None, out: Float32 | None = None
) -> Float32:
    """Subtract components from a movie.

    Parameters
    ----------
    movie : numpy.ndarray
        ``(n_pixels, n_frames)`` float32.
    images : scipy.sparse.csr_array
        ``(n_components, n_pixels)``.
    traces : numpy.ndarray
        ``(n_components, n_frames)`` float32.
    offset : numpy.ndarray, optional
        ``(n_pixels,)`` float32 to take off every pixel.
    out : numpy.ndarray, optional
        Where to put the result; may be ``movie`` itself.

    Returns
    -------
    numpy.ndarray
        ``(n_pixels, n_frames)`` float32.
    """
    if offset is None:
        offset = np.zeros(len(movie), np.float32)
    if is_cupy_array(movie):
        return _subtract_on_device(movie, images, traces, offset, out)
    result = np.empty_like(movie) if out is None else out
    arguments = (
        movie, np.ascontiguousarray(offset, np.float32), *_by_pixel(images), np.ascontiguousarray(traces, np.float32),
        result,
    )  # fmt: skip
    each_share(len(movie), lambda begin, end: _subtract(*arguments, begin, end))
    return result


def _subtract_on_device(movie: Any, images: sparse.csr_array, traces: Any, offset: Any, out: Any) -> Float32:
    import cupy

    result: Float32 = cupy.empty(movie.shape, np.float32) if out is None else out
    start, components, weights = (cupy.asarray(part) for part in _by_pixel(images))
    SUBTRACT_COMPONENTS.launch(
        (-(-movie.shape[0] // PIXELS), min(-(-movie.shape[1] // CHUNK), 65535)), (32, PIXELS), movie=movie,
        offset=_float32_on_device(offset), start=start, components=components, weights=weights,
        traces=_float32_on_device(traces), out=result,
    )  # fmt: skip
    return result


@numba.njit(cache=True, error_model="numpy")  # sums in an order of its own: fast ones differ once loaded from the cache
def _level(residual, level):  # type: ignore[no-untyped-def]
    """Where a pixel's residual has its middle: Huber's estimate of location, nearly a median and as hard to move."""
    n_frames = len(residual)
    pull = np.empty(LANES, np.float32)
    n_near = np.empty(LANES, np.float32)
    for _ in range(LEVEL_STEPS):
        pull[:] = 0
        n_near[:] = 0
        for t0 in range(0, n_frames - LANES + 1, LANES):
            part = residual[t0 : t0 + LANES]
            for lane in range(LANES):
                d = part[lane] - level
                pull[lane] += min(max(d, -NEAR), NEAR)
                n_near[lane] += np.float32(1) if abs(d) < NEAR else np.float32(0)
        for t in range(n_frames // LANES * LANES, n_frames):
            d = residual[t] - level
            pull[0] += min(max(d, -NEAR), NEAR)
            n_near[0] += np.float32(1) if abs(d) < NEAR else np.float32(0)
        level += pull.sum() / max(n_near.sum(), USUAL * np.float32(n_frames))
    return level


@numba.njit(cache=True, fastmath=True, error_model="numpy", nogil=True)
def _gain(  # type: ignore[no-untyped-def]
    movie, cells, cell_traces, hats, hat_traces, kappa, start_gain, start_offset, gain, offset, certainty, begin, end
):
    n_frames = movie.shape[1]
    cell_start, cell_index, cell_weight = cells
    hat_start, hat_index, hat_weight = hats
    residual = np.empty(n_frames, np.float32)
    field = np.empty(n_frames, np.float32)
    for p in range(begin, end):
        row = movie[p]
        for t in range(n_frames):
            residual[t] = row[t]
        for e in range(cell_start[p], cell_start[p + 1]):
            trace = cell_traces[cell_index[e]]
            a = cell_weight[e]
            for t in range(n_frames):
                residual[t] -= a * trace[t]
        field[:] = 0
        for e in range(hat_start[p], hat_start[p + 1]):
            trace = hat_traces[hat_index[e]]
            a = hat_weight[e]
            for t in range(n_frames):
                field[t] += a * trace[t]
        mean = np.float32(0)
        for t in range(n_frames):
            mean += field[t]
        mean /= np.float32(n_frames)
        energy = np.float32(1e-6)
        for t in range(n_frames):
            d = field[t] - mean
            energy += d * d
        g = np.float32(start_gain[p])
        o = start_offset[p]
        # Taken off here, because a fast sum of three terms is added up in one order by a process that compiles this
        # and in another by one that loads it.
        for t in range(n_frames):
            residual[t] -= o
        for _ in range(2):  # clipped residuals: cells that the model lacks do not pull
            pull = np.float32(0)
            for t in range(n_frames):
                r = min(residual[t] - g * field[t], kappa)
                pull += r * (field[t] - mean)
            g = np.float32(g + pull / energy)
        for t in range(n_frames):
            residual[t] -= g * field[t]
        gain[p] = g
        offset[p] = o + _level(residual, np.float32(0))
        certainty[p] = energy


def fit_gain(
    movie: Float32,
    footprints: sparse.csr_array,
    traces: Float32,
    hats: sparse.csr_array,
    hat_traces: Float32,
    start_gain: Float32,
    start_offset: Float32,
    kappa: float,
) -> tuple[Float32, Float32, Float32]:
    """Fit to every pixel how much of the smooth background it shows, and its constant offset.

    Parameters
    ----------
    movie : numpy.ndarray
        ``(n_pixels, n_frames)`` float32 in units of the noise.
    footprints, traces
        ``(n_cells, n_pixels)`` and ``(n_cells, n_frames)``, taken off first.
    hats, hat_traces
        ``(n_hats, n_pixels)`` and ``(n_hats, n_frames)``: the background at gain 1.
    start_gain, start_offset : numpy.ndarray
        ``(n_pixels,)`` where to begin.
    kappa : float
        Residuals above are clipped (units of the noise).

    Returns
    -------
    gain, offset : numpy.ndarray
        ``(n_pixels,)`` float32.
    certainty : numpy.ndarray
        ``(n_pixels,)`` inverse variance of the gain.
    """
    if is_cupy_array(movie):
        return _fit_gain_on_device(movie, footprints, traces, hats, hat_traces, start_gain, start_offset, float(kappa))
    gain, offset, certainty = (np.empty(len(movie), np.float32) for _ in range(3))
    arguments = (
        movie, _by_pixel(footprints), np.ascontiguousarray(traces, np.float32), _by_pixel(hats),
        np.ascontiguousarray(hat_traces, np.float32), np.float32(kappa), start_gain, start_offset, gain,
        offset, certainty,
    )  # fmt: skip
    each_share(len(movie), lambda begin, end: _gain(*arguments, begin, end))
    return gain, offset, certainty


def _fit_gain_on_device(
    movie: Any, footprints: sparse.csr_array, traces: Any, hats: sparse.csr_array, hat_traces: Any, start_gain: Any,
    start_offset: Any, kappa: float,
) -> tuple[Float32, Float32, Float32]:  # fmt: skip
    import cupy

    n_pixels, n_frames = movie.shape
    n_held = min(n_frames, HELD_FRAMES)
    fitted = cupy.empty((3, n_pixels), np.float32)
    arrays = {
        f"{kind}_{name}": cupy.asarray(part)
        for kind, images in (("cell", footprints), ("hat", hats))
        for name, part in zip(("start", "index", "weight"), _by_pixel(images), strict=True)
    }
    FIT_GAIN.launch(
        (n_pixels,), (THREADS,), shared_bytes=8 * n_held, movie=movie, cell_traces=_float32_on_device(traces),
        hat_traces=_float32_on_device(hat_traces), start_gain=_float32_on_device(start_gain),
        start_offset=_float32_on_device(start_offset), kappa=kappa, near=NEAR, fewest=USUAL * n_frames, n_held=n_held,
        gain=fitted[0], offset=fitted[1], certainty=fitted[2], **arrays,
    )  # fmt: skip
    gain, offset, certainty = to_host(fitted)
    return gain, offset, certainty
