r"""Sums over a movie of photons by the sources that they came from: what a round of EM needs, in one pass.

Counts :math:`N` (pixels x frames), images :math:`C` (pixels x components, sparse), traces :math:`\Lambda`. With
:math:`R = N \oslash (C \Lambda)` (0 where the model is 0), a round of EM for :math:`N \sim \mathrm{Poisson}(C \Lambda)`
(probabilistic latent semantic analysis, Hofmann 1999; the multiplicative updates of Lee & Seung 2001) is

.. math:: \Lambda \leftarrow \Lambda \odot C^\top R \quad (\textstyle\sum_x C = 1), \qquad
          C \leftarrow C \odot R \Lambda^\top \;/\; \text{its sum over pixels},

and never lowers :math:`\log L = \sum N \log C \Lambda - \sum C \Lambda`. A pass gives :math:`C^\top R`, the entries of
:math:`R \Lambda^\top` on the supports, and the likelihood; :math:`R` exists for a few frames at a time.

Counts on a GPU go to ``kernels/photon_em.cu`` and `footprint_products`, all others to numba.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from array_api_compat import is_cupy_array
from numpy.typing import NDArray
from scipy import sparse

from gpucells.device.arrays import namespace_of, to_host
from gpucells.device.kernels import Array, Define, Kernel, Scalar
from gpucells.ops.footprint_products import footprint_products
from gpucells.ops.row_blocks import each_share

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

LEAST = 1e-30  # of a model: what is below counts as 0, and explains nothing
BLOCK_BYTES = 2**19  # of traces and sums on the CPU: what a second-level cache holds
RATIO_BYTES = 2**26  # of R on a GPU at once: a block of frames of all pixels
IMAGES, LOGS, ROUNDS = 1, 2, 4  # what a pass is for, beside the sums over pixels
PIXELS, CHUNK = 8, 128  # of the CUDA kernel: pixels a block, and frames that a warp has in registers

PHOTON_RATIO = Kernel(
    "photon_em.cu",
    "photon_ratio",
    (
        Array("counts", "T_COUNT", ("n_pixels", "n_frames")), Scalar("n_pixels"), Scalar("n_frames"),
        Array("start", "int64", ("n_starts",)), Array("components", "int32", ("n_entries",)),
        Array("weights", "float32", ("n_entries",)), Array("traces", "float32", ("n_components", "n_frames")),
        Array("partners", "float32", ("n_components", "n_frames")), Scalar("t0"),
        Scalar("least", "float32"), Array("ratio", "float32", ("n_pixels", "n_some"), written=True), Scalar("n_some"),
        Array("sums", "float64", ("n_entries",), written=True),
        Array("logs", "float64", ("n_pixels",), written=True), Scalar("what"),
    ),
    threads=32 * PIXELS, registers=64,
    defines=(
        Define("T_COUNT", ("float32", "uint16", "uint8")), Define("PIXELS", (PIXELS,)), Define("CHUNK", (CHUNK,)),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class PhotonSums:
    """Of one pass over the counts.

    Parameters
    ----------
    of_traces : numpy.ndarray
        ``(n_components, n_frames)`` float32, images times ratio.
    of_images : numpy.ndarray
        ``(n_entries,)`` float64, ratio times traces where the images have entries.
    log_likelihood : float
        Of the model that the pass was made with, but for what the counts alone make; NaN where not asked for.
    """

    of_traces: Float32
    of_images: Float64
    log_likelihood: float


@numba.njit(cache=True, fastmath=True, error_model="numpy", nogil=True)
def _pass(  # type: ignore[no-untyped-def]
    counts, blocks, entries, traces, partners, out, image_sums, logs, n_rounds, width, what, begin, end
):
    """Go over some blocks of frames; ``image_sums`` and ``logs`` are this share's own, empty where not wanted."""
    start, components, weights = entries
    n_components = len(traces)
    held = np.zeros((n_components, width), np.float32)
    sums = np.zeros((n_components, width), np.float32)
    ratio = np.empty(width, np.float32)
    least = np.float32(LEAST)
    for block in range(begin, end):
        t0 = blocks[block, 0]
        n = blocks[block, 1] - t0
        for z in range(n_components):
            for f in range(n):
                held[z, f] = traces[z, t0 + f]
        for round_ in range(n_rounds):
            for z in range(n_components):
                for f in range(n):
                    held[z, f] = held[z, f] if round_ == 0 else held[z, f] * sums[z, f]
                    sums[z, f] = 0
            for p in range(len(start) - 1):
                if start[p] == start[p + 1]:
                    continue
                for f in range(n):
                    ratio[f] = 0
                for e in range(start[p], start[p + 1]):
                    row, a = held[components[e]], weights[e]
                    for f in range(n):
                        ratio[f] += a * row[f]
                seen = counts[p, t0 : t0 + n]
                if len(logs):
                    for f in range(n):
                        if ratio[f] > least and seen[f] > 0:
                            logs[0] += seen[f] * np.float64(math.log(ratio[f]))
                for f in range(n):
                    ratio[f] = np.float32(seen[f]) / max(ratio[f], least) if ratio[f] > least else np.float32(0)
                for e in range(start[p], start[p + 1]):
                    sum_, a = sums[components[e]], weights[e]
                    for f in range(n):
                        sum_[f] += a * ratio[f]
                    if len(image_sums):
                        partner, total = partners[components[e], t0 : t0 + n], np.float32(0)
                        for f in range(n):
                            total += partner[f] * ratio[f]
                        image_sums[e] += total
        for z in range(n_components):
            for f in range(n):
                out[z, t0 + f] = held[z, f] * sums[z, f] if what & ROUNDS else sums[z, f]


def photon_sums(
    counts: Any, images: sparse.csr_array, traces: Float32, likelihood: bool = True,
    frames: Sequence[slice] | None = None, partners: Float32 | None = None,
) -> PhotonSums:  # fmt: skip
    """Go over the counts once for a round of EM.

    Parameters
    ----------
    counts : array
        ``(n_pixels, n_frames)`` float32, uint16 or uint8, not negative. NumPy's or CuPy's.
    images : scipy.sparse.csr_array
        ``(n_components, n_pixels)``, not negative.
    traces : numpy.ndarray
        ``(n_components, n_frames)`` float32, not negative.
    likelihood : bool
        Whether to take the logarithms too.
    frames : sequence of slice, optional
        Runs of frames to go over; all where not given. The others' sums are 0.
    partners : numpy.ndarray, optional
        ``(n_components, n_frames)`` float32, to multiply the ratio with instead of the traces: those of some frames of
        each component, say.
    """
    some = [slice(0, counts.shape[1])] if frames is None else list(frames)
    by_pixel, place = _by_pixel(images)
    traces = np.ascontiguousarray(traces, np.float32)
    partners = traces if partners is None else np.ascontiguousarray(partners, np.float32)
    if is_cupy_array(counts):
        of_traces, sums, logs = _pass_cuda(counts, images, by_pixel, traces, partners, some, IMAGES + LOGS * likelihood)
    else:
        of_traces, sums, logs = _share_out(counts, by_pixel, traces, partners, some, 1, IMAGES + LOGS * likelihood)
    of_images = np.empty(len(images.data))
    of_images[place] = sums
    volume = np.asarray(images.sum(axis=1), np.float64).ravel()
    expected = sum(float(volume @ traces[:, run].sum(axis=1, dtype=np.float64)) for run in some)
    return PhotonSums(of_traces, of_images, logs - expected if likelihood else math.nan)


def photon_traces(counts: Any, images: sparse.csr_array, traces: Float32, n_rounds: int) -> Float32:
    """Improve traces of images that do not change: rounds of EM, each block of frames at once.

    Parameters
    ----------
    counts, images, traces
        As :func:`photon_sums` takes them; the images need not sum to 1.
    n_rounds : int
        Of EM.

    Returns
    -------
    numpy.ndarray
        ``(n_components, n_frames)`` float32.
    """
    volume = np.asarray(images.sum(axis=1), np.float32).ravel()
    unit = sparse.csr_array(images * (1 / np.maximum(volume, LEAST)).astype(np.float32)[:, None])
    result = np.ascontiguousarray(traces * volume[:, None], np.float32)
    by_pixel, every = _by_pixel(unit)[0], [slice(0, counts.shape[1])]
    if is_cupy_array(counts):
        for _ in range(n_rounds):
            result = result * _pass_cuda(counts, unit, by_pixel, result, result, every, 0)[0]
    elif n_rounds:
        result = _share_out(counts, by_pixel, result, result, every, n_rounds, ROUNDS)[0]
    return np.asarray(result / np.maximum(volume, LEAST)[:, None], np.float32)


def _by_pixel(images: sparse.csr_array) -> tuple[tuple[NDArray[np.int64], NDArray[np.int32], Float32], Any]:
    """Return where each pixel's entries begin, their components and weights; and where each is among the images'."""
    order = sparse.csr_array((np.arange(len(images.data)), images.indices, images.indptr), shape=images.shape)
    columns = sparse.csc_array(order)
    place = columns.data
    weights = np.asarray(images.data[place], np.float32)
    return (columns.indptr.astype(np.int64), columns.indices.astype(np.int32), weights), place


def _share_out(
    counts: Any, by_pixel: tuple[Any, Any, Any], traces: Float32, partners: Float32,
    frames: Sequence[slice], n_rounds: int, what: int
) -> tuple[Float32, Float64, float]:  # fmt: skip
    out, n_entries = np.zeros_like(traces), len(by_pixel[1])
    width = int(np.clip(BLOCK_BYTES // (8 * max(len(traces), 1)) // 16 * 16, 32, 256))
    blocks = np.array(
        [(t0, min(t0 + width, run.stop)) for run in frames for t0 in range(run.start, run.stop, width)], np.int64
    ).reshape(-1, 2)
    parts: dict[int, tuple[Float64, Float64]] = {}

    def work(begin: int, end: int) -> None:
        own = np.zeros(n_entries if what & IMAGES else 0), np.zeros(1 if what & LOGS else 0)
        _pass(counts, blocks, by_pixel, traces, partners, out, *own, n_rounds, width, what, begin, end)
        parts[begin] = own

    each_share(len(blocks), work)
    image_sums, log = np.zeros(n_entries if what & IMAGES else 0), 0.0
    for begin in sorted(parts):
        image_sums += parts[begin][0]
        log += float(parts[begin][1].sum())
    return out, image_sums, log


def _pass_cuda(
    counts: Any, images: sparse.csr_array, by_pixel: tuple[Any, Any, Any], traces: Float32, partners: Float32,
    frames: Sequence[slice],
    what: int,
) -> tuple[Float32, Float64, float]:  # fmt: skip
    xp, n_pixels = namespace_of(counts), counts.shape[0]
    out, on_device = np.zeros(traces.shape, np.float32), xp.asarray(traces)
    others = on_device if partners is traces else xp.asarray(partners)
    start, components, weights = (xp.asarray(part) for part in by_pixel)
    sums, logs = xp.zeros(len(components)), xp.zeros(n_pixels)
    width = max(RATIO_BYTES // max(4 * n_pixels, 1) // CHUNK, 1) * CHUNK
    for t0, end in [(t, min(t + width, run.stop)) for run in frames for t in range(run.start, run.stop, width)]:
        ratio = xp.empty((n_pixels, end - t0), np.float32)
        PHOTON_RATIO.launch(
            (-(-n_pixels // PIXELS),), (32, PIXELS), counts=counts, start=start, components=components,
            weights=weights, traces=on_device, partners=others, t0=t0, least=LEAST, ratio=ratio, sums=sums,
            logs=logs, what=what,
        )  # fmt: skip
        out[:, t0:end] = footprint_products(ratio, images)
    return out, to_host(sums), float(to_host(logs).sum())
