"""Error of the background that CNMF-E estimates, where the true one is known, beside CaImAn's ring formula.

    python benchmarks/ring_background.py [FOLDER] [--only NAME] [--seeds 2] [--traces true] [--output FILE.json]

The footprints are the true ones, and all estimates have the same traces: the true ones, or with ``--traces solved``
those that our own rounds solve for these footprints. The movie is at its own rate. The figure is the fluctuating part
alone, each pixel about its mean: root mean square of estimate minus truth over that of the truth, everywhere, and in
the pixels above a fifth of some cell's maximum. 1 is what no background at all would have.

- ours: global components, and a ring of blocks for what they leave; each of the two alone;
- the ring formula of CaImAn, written from its behaviour in float64: pixels averaged 2 x 2, rings of 1.4 cell widths
  (gSiz = 4 gSig + 1, gSig the radius over 1.55), a ridge of 1e-5 of the trace, spread back by repetition.

Movies are those of our simulator, three kinds, and FOLDER/NAME.h5 with the true background in
FOLDER/NAME.background.npy, ``(n_frames, height, width)`` in the movie's units.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

import gpucells
from gpucells.factorisation import settle
from gpucells.factorisation.state import State
from gpucells.io.truth_file import load_truth
from gpucells.methods.cnmfe.settings import CnmfeSettings
from gpucells.preprocess.noise_units import to_noise_units
from gpucells.simulate.scene import make_scene
from gpucells.simulate.settings import SimulationSettings

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

KINDS: dict[str, dict[str, Any]] = {
    "default": {},
    "background 20x": {"background": 20.0, "background_change": 0.8},
    "fast change": {"background_change": 0.8, "frame_rate_hz": 2.0, "decay_s": 2.0},
}
OURS: dict[str, dict[str, Any]] = {
    "global, then ring": {},
    "ring alone": {"n_background": 0},
    "global alone": {"ring": False},
}
GSIG_RADII, GSIZ_GSIG, RING_FACTOR, SSUB, RIDGE = 1 / 1.55, 4, 1.4, 2, 1e-5
INSIDE = 0.2  # of a footprint's maximum
# Our simulator says how wide a cell is at half its brightness; a diameter that is measured is that at .3 of a Gaussian.
MEASURED = float(np.sqrt(np.log(0.3) / np.log(0.5)))


@dataclass(frozen=True)
class Case:
    """A movie ``(n_pixels, n_frames)``, its true background of that shape, and its true cells."""

    movie: Float32
    background: Float32
    footprints: sparse.csr_array
    traces: Float32
    shape: tuple[int, int]
    radius_px: float


def main() -> int:
    options = _options()
    table: dict[str, dict[str, Any]] = {}
    for name, load in _cases(options):
        table[name] = errors(load(), options.traces)
        print(f"{name} done", file=sys.stderr, flush=True)
    text = render(table)
    print(text)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        about = {"gpucells": gpucells.__version__, "traces": options.traces}
        options.output.write_text(json.dumps(about | {"movies": table}, indent=1) + "\n")
        options.output.with_suffix(".md").write_text(f"# Error of the background, {options.traces} traces\n\n{text}\n")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="part of a name; repeatable")
    parser.add_argument("--seeds", type=int, default=2, help="of each kind of our own movies")
    parser.add_argument("--traces", choices=("true", "solved"), default="true")
    parser.add_argument("--output", type=Path)
    return parser.parse_args()


def _cases(options: argparse.Namespace) -> Iterator[tuple[str, Callable[[], Case]]]:
    cases = [
        (f"{kind}, seed {seed}", lambda v=values, s=seed: simulated(seed=s, **v))
        for kind, values in KINDS.items()
        for seed in range(options.seeds)
    ]
    paths = sorted(options.folder.glob("*.h5")) if options.folder else []
    cases += [(path.stem, lambda p=path: stored(p)) for path in paths if _beside(path).exists()]  # type: ignore[misc]
    yield from (case for case in cases if not options.only or any(part in case[0] for part in options.only))


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.stem}.background.npy")


def simulated(**values: Any) -> Case:
    """A movie of our simulator, with the light that comes from no cell's transients."""
    values = {"shape": (1000, 128, 128)} | values
    settings = SimulationSettings.for_kind("one_photon", values)
    scene, truth = make_scene(settings)
    made = gpucells.simulate_movie("one_photon", **values)
    assert isinstance(made.movie, np.ndarray)
    images = (scene.images * scene.vignette).reshape(len(scene.images), -1)
    background = images.T @ scene.changes.T + (scene.still * scene.vignette).reshape(-1, 1)
    movie = np.ascontiguousarray(made.movie.reshape(len(made.movie), -1).T, np.float32)
    return Case(
        movie, background, truth.footprints, truth.traces, settings.shape[1:], MEASURED * settings.cell_diameter_px / 2
    )


def stored(path: Path) -> Case:
    """A movie whose true background lies beside it."""
    source, truth = gpucells.open_movie(path), load_truth(path)
    with h5py.File(path) as file:
        diameter = float(file.attrs["cell_diameter_px"])
    movie = source.read(slice(0, source.n_frames)).astype(np.float32)
    background = np.load(_beside(path), mmap_mode="r").astype(np.float32)
    flat = [np.ascontiguousarray(frames.reshape(len(frames), -1).T) for frames in (movie, background)]
    height, width = truth.image_shape
    return Case(flat[0], flat[1], truth.footprints, truth.traces, (height, width), diameter / 2)


def errors(case: Case, traces: str) -> dict[str, dict[str, float]]:
    """Relative errors of every estimate, ``everywhere`` and in ``cells``."""
    known = case.traces
    if traces == "solved":
        state = _state(case, {})
        state.begin_with(case.footprints)
        for number in range(settle.HELD_ROUNDS):
            settle.fit_background(state, settle.NEXT if number else settle.FIRST)
        known = state.traces
    peak = np.maximum(case.footprints.max(axis=1).toarray().ravel(), 1e-12)
    bright = sparse.csr_array(sparse.diags_array(1 / peak) @ case.footprints).max(axis=0).toarray().ravel() > INSIDE
    fluctuating = case.background - case.background.mean(axis=1, keepdims=True)
    result = {}
    for name, values in OURS.items():
        result[name] = _relative(our_background(case, known, values), fluctuating, bright)
    formula = ring_formula(case.movie, case.footprints, np.maximum(known, 0), case.shape, case.radius_px)
    return result | {"CaImAn's formula": _relative(formula, fluctuating, bright)}


def _relative(estimate: NDArray[Any], true: Float32, bright: NDArray[np.bool_]) -> dict[str, float]:
    estimate = estimate - estimate.mean(axis=1, keepdims=True)
    wrong, power = ((estimate - true) ** 2).sum(axis=1, dtype=float), (true**2).sum(axis=1, dtype=float)
    return {
        "everywhere": float(np.sqrt(wrong.sum() / power.sum())),
        "cells": float(np.sqrt(wrong[bright].sum() / power[bright].sum())),
    }


def _state(case: Case, values: dict[str, Any]) -> State:
    settings = CnmfeSettings.for_preset("one_photon", values)
    movie = case.movie.reshape(*case.shape, -1).copy()
    units = to_noise_units(movie, np.ones(case.shape, bool), settings.baseline_quantile)
    return State.of(units, case.radius_px, settings)


def our_background(case: Case, traces: Float32, values: dict[str, Any]) -> Float32:
    """Return ``(n_pixels, n_frames)``, in the movie's units and without a pixel's constant, as a round finds it."""
    state = _state(case, values)
    state.set_cells(case.footprints, np.maximum(traces, 0))
    state.update_background()
    state.update_ring()
    background = state.images.T @ state.field
    if state.ring is not None:
        background += state.ring.spread.T @ state.light
    return np.asarray(background * state.units.noise[:, None], np.float32)


def ring_formula(
    movie: Float32, footprints: sparse.csr_array, traces: Float32, shape: tuple[int, int], radius_px: float
) -> Float64:
    """CaImAn's ring: ``b0 + up(W (D(Y - A C) - D(b0)))`` with W from the same, each pixel from its ring."""
    left = movie.astype(np.float64) - footprints.T.astype(np.float64) @ traces.astype(np.float64)
    constant = left.mean(axis=1)
    pixel = np.arange(movie.shape[0]).reshape(shape)
    coarse = -(-shape[0] // SSUB), -(-shape[1] // SSUB)
    block = ((pixel // shape[1] // SSUB) * coarse[1] + pixel % shape[1] // SSUB).ravel()
    counts = np.bincount(block)
    means = sparse.csr_array((1.0 / counts[block], (block, pixel.ravel())))
    small = means @ (left - constant[:, None])
    offsets = formula_offsets(radius_px)
    told = np.empty_like(small)
    for one in range(len(small)):
        near = offsets + np.array(divmod(one, coarse[1]))
        near = near[((near >= 0) & (near < coarse)).all(axis=1)]
        ring = small[near[:, 0] * coarse[1] + near[:, 1]]
        gram = ring @ ring.T
        gram[np.diag_indices(len(gram))] += RIDGE * np.trace(gram)
        told[one] = linalg.solve(gram, ring @ small[one], assume_a="pos") @ ring
    return np.asarray(constant[:, None] + told[block], np.float64)


def formula_offsets(radius_px: float) -> NDArray[np.int64]:
    """``(n, 2)`` of the ring, in averaged pixels: in the disc of radius r + 1 and not in that of r."""
    size = GSIZ_GSIG * max(1, round(GSIG_RADII * radius_px)) + 1
    radius = round(RING_FACTOR * size / SSUB)
    y, x = np.mgrid[-radius - 1 : radius + 2, -radius - 1 : radius + 2]
    squared = y**2 + x**2
    on_ring = (squared > radius**2) & (squared <= (radius + 1) ** 2)
    return np.stack([y[on_ring], x[on_ring]], axis=1)


def render(table: dict[str, dict[str, Any]]) -> str:
    """Return the table in Markdown: in cells, and everywhere in brackets."""
    names = [*OURS, "CaImAn's formula"]
    lines = ["| movie | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for movie, row in table.items():
        cells = [f"{row[name]['cells']:.3f} ({row[name]['everywhere']:.3f})" for name in names]
        lines.append(f"| {movie} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
