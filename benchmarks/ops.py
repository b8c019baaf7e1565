"""Time every operation that reads the movie against its floor: the bytes it must move and the sums it must do.

    pytest benchmarks/ops.py --size 512x512x10000x500 --device cuda:0 --benchmark-json=ops.json

Bytes count every sample once where it must be read or written, and no small array; flops count what is done to a
sample, cells and hats by how many a pixel has. What a card could do at most is measured in the same run
(:mod:`machine`). ``python benchmarks/tables.py`` makes a table of the file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from machine import synchronize
from problem import KAPPA, RADIUS_PX, Problem

from gpucells.device.arrays import namespace_on
from gpucells.ops.fold_frames import PixelSummary, fold_frames, unfold_frames, whiten_frames
from gpucells.ops.local_correlation import local_correlation
from gpucells.ops.residual import fit_gain, subtract_components
from gpucells.ops.robust_footprints import Known, robust_footprints
from gpucells.ops.robust_traces import robust_traces
from gpucells.ops.seed_fits import fit_seeds
from gpucells.ops.seeds import seed_image
from gpucells.ops.support_products import support_products

FACTOR, BLOCK = 2, 256


@dataclass(frozen=True)
class Work:
    """One operation: what to call, and the least that it must move and calculate."""

    run: Callable[[], Any]
    n_bytes: float
    flops: float


def _frames(p: Problem, xp: Any) -> Any:
    return xp.asarray(np.random.default_rng(1).integers(0, 4000, (BLOCK, *p.image_shape)).astype(np.uint16))


def _fold(p: Problem, xp: Any) -> Work:
    frames, n = _frames(p, xp), p.image_shape[0] * p.image_shape[1]
    averaged, seen = xp.empty((n, BLOCK // FACTOR), np.float32), PixelSummary.empty(n, xp)
    return Work(lambda: fold_frames(frames, FACTOR, averaged, 0, seen), frames.size * (2 + 4 / FACTOR), 5 * frames.size)


def _whiten(p: Problem, xp: Any) -> Work:
    frames, n = _frames(p, xp), p.image_shape[0] * p.image_shape[1]
    one, every, out = xp.ones(n, np.float32), xp.arange(n), xp.empty((n, BLOCK), np.float32)
    return Work(lambda: whiten_frames(frames, one, one, every, out), 6 * frames.size, 2 * frames.size)


def _unfold(p: Problem, xp: Any) -> Work:
    one, n = xp.ones(len(p.movie), np.float32), min(64, p.movie.shape[1])
    out = xp.empty((n, len(p.movie)), np.float32)
    return Work(lambda: unfold_frames(p.movie, 0, n, one, out), 8 * out.size, out.size)


def _correlation(p: Problem, xp: Any) -> Work:
    movie = p.movie.reshape(*p.image_shape, -1)
    return Work(lambda: local_correlation(movie), 4 * p.samples, 12 * p.samples)  # mean, norm, four pairs a pixel


def _subtract(p: Problem, xp: Any) -> Work:
    nothing = np.zeros_like(p.field)
    entries = 4 + p.entries_a_pixel
    images = _both(p)
    amplitudes = np.concatenate([0 * p.traces, nothing])  # the movie stays what it is
    return Work(
        lambda: subtract_components(p.movie, images, amplitudes, out=p.movie), 8 * p.samples, 2 * entries * p.samples
    )


def _both(p: Problem) -> Any:
    from scipy import sparse

    return sparse.csr_array(sparse.vstack([p.footprints, p.hats]))


def _gain(p: Problem, xp: Any) -> Work:
    one, zero = np.ones(len(p.movie), np.float32), np.zeros(len(p.movie), np.float32)
    flops = 2 * (4 + p.entries_a_pixel) + 2 * 5 + 4 * 6 + 6  # model, two gain steps, four of the level, sums
    return Work(
        lambda: fit_gain(p.movie, p.footprints, p.traces, p.hats, p.field, one, zero, KAPPA), 4 * p.samples,
        flops * p.samples,
    )  # fmt: skip


def _traces(p: Problem, xp: Any) -> Work:
    kappa, start = np.full(len(p.movie), KAPPA, np.float32), np.concatenate([p.traces, p.field])
    e = p.entries_a_pixel
    flops = (2 * e + 4) + 6 + (2 * e + 4) + (e * (e + 1) + 6) + 4 * e  # model, clip, gradient, curvature, with the hats
    return Work(
        lambda: robust_traces(
            p.movie, p.footprints, kappa, start=start, lower=0.0, field=p.nodes, n_steps=1, check=False
        ),
        4 * p.samples, flops * p.samples,
    )  # fmt: skip


def _footprints(p: Problem, xp: Any) -> Work:
    kappa = np.full(len(p.movie), KAPPA, np.float32)
    known = Known(p.hats.tocsc(), p.field)
    active = float((p.traces > 0).mean() * p.footprints.nnz * p.movie.shape[1])  # samples with any light, about
    return Work(
        lambda: robust_footprints(p.movie, p.traces, p.footprints, kappa, known=known, n_steps=3), 4 * active,
        3 * (2 + 6 + 2 + 4) * active,
    )  # fmt: skip


def _seed_image(p: Problem, xp: Any) -> Work:
    movie, inside = p.movie.reshape(*p.image_shape, -1), np.ones(p.image_shape, bool)
    return Work(lambda: seed_image(movie, inside), 4 * p.samples, p.samples)


def _seeds(p: Problem, xp: Any) -> Work:
    movie, inside = p.movie.reshape(*p.image_shape, -1), np.ones(p.image_shape, bool)
    half = int(np.ceil(2.2 * RADIUS_PX))
    step = 2 * half + 2
    height, width = p.image_shape
    at = np.mgrid[half + 1 : height - half - 1 : step, half + 1 : width - half - 1 : step].reshape(2, -1).T
    samples = len(at) * (2 * half + 1) ** 2 * p.movie.shape[1]
    return Work(lambda: fit_seeds(movie, inside, at.astype(np.int64), half, 0.7), 4 * samples, 4 * samples)


def _products(p: Problem, xp: Any) -> Work:
    entries = p.footprints.nnz * p.movie.shape[1]
    return Work(
        lambda: support_products(p.movie, p.traces, p.footprints.indptr, p.footprints.indices), 4 * entries, 2 * entries
    )


OPERATIONS = {
    "fold_frames": _fold, "whiten_frames": _whiten, "unfold_frames": _unfold, "local_correlation": _correlation,
    "subtract_components": _subtract, "fit_gain": _gain, "robust_traces": _traces, "robust_footprints": _footprints,
    "seed_image": _seed_image, "fit_seeds": _seeds, "support_products": _products,
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation(benchmark: Any, problem: Problem, device: str, ceilings: dict[str, Any], name: str) -> None:
    work = OPERATIONS[name](problem, namespace_on(device))
    work.run()  # compiled, and in the cache

    def timed() -> None:
        work.run()
        synchronize(device)

    benchmark.pedantic(timed, rounds=5, iterations=1)
    floor = max(work.n_bytes / ceilings["copy_bytes_per_s"], work.flops / ceilings["float32_flops_per_s"])
    benchmark.extra_info.update(
        operation=name, n_bytes=work.n_bytes, flops=work.flops, floor_s=floor,
        share_of_floor=floor / benchmark.stats.stats.min, machine=ceilings,
    )  # fmt: skip
