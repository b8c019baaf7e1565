"""What least squares reach that know the cells: traces of simulated movies for all true footprints and the background.

    python benchmarks/oracle.py [FOLDER] [--only NAME] [--result CELLS.h5] [--which accepted] [--weights]

A movie has footprints and traces of its cells beside it (``/truth``), but no background. So the cells' own light is
taken off first, each footprint times its trace, scaled by regression. What is left, in units of each pixel's noise, has
principal components. Those that repeat count as background: found in every other block of 50 frames, their images must
have a third of that power in the blocks between. Noise that neighbouring pixels share is left out by that: it has
components as strong, but others in other frames, and counted as background they would be fitted to the very noise that
hides the traces (it takes an image much larger than what is shared). Both steps are repeated, each with what the other
found.

Three oracles, each by least squares weighted with each pixel's noise:

- ``footprints``: the true footprints alone.
- ``images``: those and the background's images; its time courses are solved for, as a method would have to. **The
  oracle**: what a result is held against.
- ``known``: the background taken off as it is: no method can know it.

The scale of a cell is kept within a factor of 1.5 of the median: a background that follows a cell may else take its
light. Correlations are with the true traces, over cells that the scores count (not at the border, SNR 5 or more).
No oracle is a ceiling: noise that neighbours share could be weighted by its covariance, and a model of transients
knows more than one frame.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

import gpucells
from gpucells.io.truth_file import has_truth, load_truth
from gpucells.model.truth import Truth
from gpucells.ops.noise import noise_std
from gpucells.postprocess.match import MIN_SNR, compare
from gpucells.postprocess.pairing import paired_r, zscored_both

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Kind = Literal["footprints", "images", "known"]

ROUNDS = 6  # scales and background, in turn: ours
SCALE_RANGE = 1.5
REPEATS = 1 / 3  # of a component's power: ours, after a look at the shared movies; weak background may fall below
BLOCK = 50  # frames: what noise shares in time has died away
MOST = 60  # components that are tried
DARK = 0.05  # of the median noise: pixels that are darker weigh no more
KINDS: tuple[Kind, ...] = ("footprints", "images", "known")


@dataclass(frozen=True)
class Oracle:
    """Traces that an oracle reads from a movie.

    Parameters
    ----------
    traces : numpy.ndarray
        ``(n_cells, n_frames)`` float32, of all true cells.
    r : numpy.ndarray
        ``(n_cells,)`` correlation with the true ones.
    counts : numpy.ndarray
        ``(n_cells,)`` bool, cells that the scores count.
    rank : int
        Components of the background.
    """

    traces: Float32
    r: Float64
    counts: NDArray[np.bool_]
    rank: int

    def figures(self) -> tuple[float, float, float]:
        """Return median, 10th percentile and mean of r over the cells that count."""
        return figures(self.r[self.counts])


@dataclass(frozen=True)
class Problem:
    """A movie in units of each pixel's weight, without its mean, and what is true of it.

    Parameters
    ----------
    movie : numpy.ndarray
        ``(n_pixels, n_frames)`` float32.
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` float32, in the same units.
    traces : numpy.ndarray
        ``(n_cells, n_frames)`` float64, without their means.
    """

    movie: Float32
    footprints: sparse.csr_array
    traces: Float64


@dataclass(frozen=True)
class Background:
    """Light that is not the cells'.

    Parameters
    ----------
    images, traces : numpy.ndarray
        ``(n_pixels, rank)`` in the problem's units, and ``(n_frames, rank)``, orthonormal.
    scale : numpy.ndarray
        ``(n_cells,)`` what the true footprint times the true trace is multiplied by in the movie.
    """

    images: Float32
    traces: Float32
    scale: Float64


def make_problem(movie: Any, truth: Truth, weights: str = "variance") -> Problem:
    """Bring a movie and its truth into units in which every pixel counts alike.

    Parameters
    ----------
    movie : numpy.ndarray
        ``(n_frames, height, width)``.
    truth : Truth
        Of the movie.
    weights : {"variance", "mean", "none"}
        A pixel's weight: 1 over the variance of its noise, 1 over its mean (photons), or 1 over the mean variance.
    """
    rows = np.asarray(movie, np.float32).reshape(len(movie), -1).T.copy()
    mean = rows.mean(axis=1)
    rows -= mean[:, None]
    noise = noise_std(rows)
    units = {"variance": noise, "mean": np.sqrt(np.maximum(mean - min(0.0, mean.min()), 0)), "none": 1 + 0 * noise}[
        weights
    ]
    units = np.maximum(units, max(DARK * np.median(units), 1e-12))
    units = units * np.sqrt(np.mean((noise / units) ** 2) or 1)  # so that noise is 1, in the mean
    rows /= units[:, None]
    traces = truth.traces.astype(np.float64)
    footprints = sparse.csr_array(truth.footprints.multiply(1 / units[None])).astype(np.float32)
    return Problem(rows, footprints, traces - traces.mean(axis=1, keepdims=True))


def find_background(problem: Problem, counts: NDArray[np.bool_]) -> Background:
    """Say what is left of a movie without its cells.

    Parameters
    ----------
    problem : Problem
        The movie.
    counts : numpy.ndarray
        ``(n_cells,)`` bool, cells whose scales the median is of.
    """
    n_pixels, n_frames = problem.movie.shape
    overlap, known = (problem.footprints @ problem.footprints.T).toarray().astype(np.float64), problem.traces
    normal, projected = overlap * (known @ known.T), (problem.footprints @ problem.movie).astype(np.float64)
    found = Background(np.zeros((n_pixels, 0), np.float32), np.zeros((n_frames, 0), np.float32), np.zeros(0))
    steps = np.diff(known)  # the first time a frame less the one before it, which a slow background hardly changes
    scale = linalg.lstsq(overlap * (steps @ steps.T), np.einsum("kt,kt->k", np.diff(projected), steps))[0]
    for turn in range(ROUNDS):
        if turn:
            light = projected - (problem.footprints @ found.images) @ found.traces.T
            scale = linalg.lstsq(normal, np.einsum("kt,kt->k", light, known))[0]
        usual = scale[counts & (scale > 0)]
        middle = float(np.median(usual)) if len(usual) else 0.0
        scale = np.clip(scale, middle / SCALE_RANGE, middle * SCALE_RANGE)
        left = problem.movie - problem.footprints.T @ (scale[:, None] * known).astype(np.float32)
        kept = _leading(left, _rank(left))
        found = Background(left @ kept, kept, scale)
    return found


def _leading(left: Float32, n: int) -> Float32:
    """Return the time courses of the strongest components, ``(n_frames, n)``, orthonormal."""
    courses = linalg.eigh((left.T @ left).astype(np.float64))[1]
    return np.ascontiguousarray(courses[:, ::-1][:, :n], np.float32)


def _rank(left: Float32) -> int:
    """Return how many components of every other block of frames have their power in the others, too."""
    first = np.arange(left.shape[1]) // BLOCK % 2 == 0
    if first.all():
        return 0
    own, other = np.ascontiguousarray(left[:, first]), np.ascontiguousarray(left[:, ~first])
    images = own @ _leading(own, MOST)
    images /= np.maximum(np.linalg.norm(images, axis=0), 1e-30)
    powers = [np.mean((images.T @ half) ** 2, axis=1) for half in (own, other)]
    return int((powers[1] > REPEATS * powers[0]).cumprod().sum())


def oracle_traces(movie: Any, truth: Truth, kind: Kind = "images", weights: str = "variance") -> Oracle:
    """Read the traces of all true cells from a movie.

    Parameters
    ----------
    movie : numpy.ndarray
        ``(n_frames, height, width)``, finite.
    truth : Truth
        Of the movie.
    kind : {"footprints", "images", "known"}
        What is known of the background; see the module.
    weights : str
        See :func:`make_problem`.
    """
    problem, counts = make_problem(movie, truth, weights), counted(truth)
    none = Background(np.zeros((len(problem.movie), 0), np.float32), np.zeros((len(movie), 0), np.float32), np.zeros(0))
    return _solved(problem, none if kind == "footprints" else find_background(problem, counts), truth, kind)


def all_oracles(movie: Any, truth: Truth, weights: str = "variance") -> dict[Kind, Oracle]:
    """Return every kind of :func:`oracle_traces`; the background is looked for once."""
    problem = make_problem(movie, truth, weights)
    background = find_background(problem, counted(truth))
    return {kind: _solved(problem, background, truth, kind) for kind in KINDS}


def counted(truth: Truth) -> NDArray[np.bool_]:
    """Return which true cells the scores count."""
    return ~truth.at_border & (truth.snr >= MIN_SNR)


def correlation(found: Any, true: Any) -> Float64:
    """Return the correlation of each trace with the one in the same place, ``(n_cells,)``."""
    both, every = zscored_both(found, true), np.arange(len(true))
    return paired_r(*both, every, every)


def figures(r: Float64) -> tuple[float, float, float]:
    """Return median, 10th percentile and mean; NaN where there is none."""
    return (float(np.median(r)), float(np.quantile(r, 0.1)), float(r.mean())) if len(r) else (np.nan,) * 3


def _solved(problem: Problem, background: Background, truth: Truth, kind: Kind) -> Oracle:
    cells, n_cells = problem.footprints, problem.footprints.shape[0]
    images = background.images if kind == "images" else background.images[:, :0]
    right = np.concatenate([cells @ problem.movie, images.T @ problem.movie]).astype(np.float64)
    if kind == "known":
        right -= (cells @ background.images) @ background.traces.T
    mixed = (cells @ images).astype(np.float64)
    normal = np.block([[(cells @ cells.T).toarray(), mixed], [mixed.T, images.T @ images]])
    size = np.sqrt(np.maximum(np.diag(normal), 1e-30))  # images and footprints differ in size by orders of magnitude
    solved = linalg.lstsq(normal / size / size[:, None], right / size[:, None], cond=1e-10)[0] / size[:, None]
    traces = solved[:n_cells].astype(np.float32)
    rank = 0 if kind == "footprints" else background.images.shape[1]
    return Oracle(traces, correlation(traces, truth.traces), counted(truth), rank)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="part of a file's name; repeatable")
    parser.add_argument(
        "--result", action="append", default=[], metavar="CELLS.h5",
        help="cells of one of the movies, in a file named MOVIE.cells.h5; or a folder of such files; repeatable",
    )  # fmt: skip
    parser.add_argument("--which", choices=("accepted", "all"), default="accepted", help="cells of a result")
    parser.add_argument("--weights", action="store_true", help="compare weights of pixels, too")
    options = parser.parse_args()
    paths = [
        p for p in sorted(options.folder.glob("*.h5")) if not options.only or any(n in p.stem for n in options.only)
    ]
    print("| movie | tool | cells | background | r | r 10 % | mean | median difference |\n|" + "---|" * 8)
    for path in filter(has_truth, paths):
        _print_movie(path, options)
    return 0


def _print_movie(path: Path, options: argparse.Namespace) -> None:
    source, truth = gpucells.open_movie(path), load_truth(path)
    movie = source.read(slice(0, source.n_frames))
    found = all_oracles(movie, truth)
    rows = [(f"oracle, {kind}", result) for kind, result in found.items()]
    if options.weights:
        rows += [(f"images, weights: {w}", oracle_traces(movie, truth, "images", w)) for w in ("mean", "none")]
    for name, result in rows:
        print(_row(path.stem, name, int(result.counts.sum()), str(result.rank), result.figures()), flush=True)
    for result in _results(options.result, path.stem):
        of = compare(result, path, options.which)
        r = np.zeros(truth.n_cells)
        r[of.pairs[:, 1]] = of.pair_trace_r  # cells that are missed count as 0 in the mean, and nowhere else
        own, counts = of.pairs[:, 1], found["images"].counts
        difference = np.median(of.pair_trace_r - found["images"].r[own]) if len(own) else np.nan
        scores = (*figures(of.pair_trace_r)[:2], float(r[counts].mean()) if counts.any() else np.nan)
        print(_row(path.stem, f"**{result.name}**", len(own), "", scores, f"{difference:+.3f}"), flush=True)


def _results(given: list[str], movie: str) -> list[Path]:
    paths = [Path(name) for name in given]
    files = [file for path in paths for file in (sorted(path.glob("*.cells.h5")) if path.is_dir() else [path])]
    return [file for file in files if file.name == f"{movie}.cells.h5"]


def _row(movie: str, tool: str, cells: int, rank: str, r: tuple[float, ...], difference: str = "") -> str:
    return "| " + " | ".join([movie, tool, str(cells), rank, *(f"{value:.3f}" for value in r), difference]) + " |"


if __name__ == "__main__":
    sys.exit(main())
