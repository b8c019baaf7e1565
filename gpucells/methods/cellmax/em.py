r"""EM for a mixture of photons: images of cells and a smooth background, and how many photons each sends a frame.

Counts :math:`n_{xt} \sim \mathrm{Poisson}(\sum_z c_z(x) \Lambda_{zt})`, images :math:`c_z \ge 0` with sum 1. A round
with all frames is EM (`gpucells.ops.photon_em`), its factors to a power (Salakhutdinov & Roweis 2003: longer steps of
the same kind); a step after which the likelihood is lower is taken back, and EM's own made instead, so that the
likelihood never falls. Rounds with some of the frames average the images' photons over rounds (stepwise EM, Cappé &
Moulines 2009).

Then rounds in which each image counts the photons of its own events only: what noise alone puts into a silent cell's
trace would else draw its image, and neighbours share light at will in frames in which both are active.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, spatial

from gpucells.candidates.footprints import significant_part
from gpucells.factorisation.search import Stage
from gpucells.methods.cellmax.settings import CellmaxSettings
from gpucells.ops.photon_em import PhotonSums, photon_sums, photon_traces

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

WARM_UP = 20  # rounds of the traces before images move
RUN = 64  # frames in a row that a round with some of them takes together
FORGET = 0.7  # power of the rounds by which stepwise EM averages; above .5 it converges (Cappé & Moulines)
ROUNDING = 1e-6  # of the likelihood's terms: below, a fall is float32's


@dataclass(frozen=True)
class Mixture:
    """Images and traces of all components, cells before background.

    Parameters
    ----------
    cells : scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` float32 with sum 1; an entry wherever a cell may have light.
    smooth : scipy.sparse.csr_array
        ``(n_smooth, n_pixels)`` background with sum 1, which stays as it is.
    traces : numpy.ndarray
        ``(n_cells + n_smooth, n_frames)`` counts of each component.
    likelihood : tuple of float
        After each round with all frames.
    """

    cells: sparse.csr_array
    smooth: sparse.csr_array
    traces: Float32
    likelihood: tuple[float, ...] = ()

    @classmethod
    def of(cls, counts: Any, cells: sparse.csr_array, smooth: sparse.csr_array) -> Mixture:
        """Begin with images of any scale, and traces that fit them."""
        cells, smooth = normalised(cells), normalised(smooth)
        n_components, n_frames = cells.shape[0] + smooth.shape[0], counts.shape[1]
        even = np.ones((n_components, n_frames), np.float32)
        begin = cls(cells, smooth, even)
        return dataclasses.replace(begin, traces=photon_traces(counts, begin.images, even, WARM_UP))

    @property
    def images(self) -> sparse.csr_array:
        """``(n_components, n_pixels)`` cells and background."""
        return sparse.csr_array(sparse.vstack([self.cells, self.smooth]), dtype=np.float32)

    @property
    def cell_traces(self) -> Float32:
        """``(n_cells, n_frames)``."""
        return self.traces[: self.cells.shape[0]]

    def stepped(self, factors: Float64, traces: Float32) -> Mixture:
        """Multiply the cells' entries by factors, and take other traces."""
        cells = self.cells.copy()
        cells.data = (cells.data * factors).astype(np.float32)
        return dataclasses.replace(self, cells=normalised(cells), traces=traces)

    def change_from(self, other: Mixture) -> float:
        """Light that an image has elsewhere than in another mixture of the same entries, the median over cells."""
        if len(self.cells.data) == 0:
            return 0.0
        moved = np.abs(self.cells.data - other.cells.data) / 2
        return float(np.median(np.bincount(_cell_of_entry(self.cells), moved, self.cells.shape[0])))


def normalised(images: sparse.csr_array) -> sparse.csr_array:
    """Scale every image to sum 1; an empty one stays empty."""
    total = np.bincount(_cell_of_entry(images), images.data, images.shape[0])
    by = np.divide(1, total, out=np.zeros_like(total, float), where=total > 0)[_cell_of_entry(images)]
    data = (images.data * by).astype(np.float32)
    return sparse.csr_array((data, images.indices, images.indptr), shape=images.shape)


def _cell_of_entry(images: sparse.csr_array) -> NDArray[np.intp]:
    return np.repeat(np.arange(images.shape[0]), np.diff(images.indptr))


def fit(
    counts: Any, mixture: Mixture, image_shape: tuple[int, int], radius_px: float, settings: CellmaxSettings,
    report: Stage,
) -> Mixture:  # fmt: skip
    """Fit images and traces.

    Parameters
    ----------
    counts : array
        ``(n_pixels, n_frames)``, not negative. NumPy's or CuPy's.
    mixture : Mixture
        Where to begin.
    image_shape : tuple of int
        ``(height, width)``.
    radius_px : float
        Cell radius (px).
    settings : CellmaxSettings
        Of the run.
    report : callable
        Told stage, done, total and unit.

    Returns
    -------
    Mixture
        Without the cells that were eliminated or merged.
    """
    total = settings.max_iter + settings.event_iter

    def progress(done: int) -> None:
        report("EM", done, total, "rounds")

    n_frames = counts.shape[1]
    n_some = max(settings.frames_least, round(settings.frames_fraction * n_frames))
    if n_some >= n_frames:
        mixture = ascend(counts, mixture, settings, progress)
    else:
        mixture = _by_some_frames(counts, mixture, n_some, settings, progress)
    mixture = eliminate(mixture, settings.elimination)
    mixture = merge(mixture, image_shape, radius_px, settings)
    return _by_events(counts, mixture, n_some, settings, progress)


def ascend(
    counts: Any, mixture: Mixture, settings: CellmaxSettings, progress: Callable[[int], None] = lambda _: None
) -> Mixture:
    """Go up the likelihood with all frames until it and the images settle.

    Parameters
    ----------
    counts, mixture, settings
        As :func:`fit` takes them.
    progress : callable
        Told the rounds done.
    """
    likelihood: list[float] = []
    at, em, trial = mixture, mixture, mixture
    for round_ in range(settings.max_iter):
        sums = photon_sums(counts, trial.images, trial.traces)
        progress(round_ + 1)
        if likelihood and sums.log_likelihood < likelihood[-1] - ROUNDING * abs(likelihood[-1]) and trial is not em:
            trial = em  # the longer step was too long
            continue
        gain = sums.log_likelihood - likelihood[-1] if likelihood else np.inf
        change = trial.change_from(at)
        at, em, trial = trial, _em_step(trial, sums, 1.0), _em_step(trial, sums, settings.relaxation)
        likelihood.append(sums.log_likelihood)
        risen = likelihood[-1] - likelihood[0]
        settled = gain <= settings.max_delta * risen and change <= settings.max_delta
        if round_ + 1 >= settings.min_iter and settled:
            break
    return dataclasses.replace(em, likelihood=tuple(likelihood))  # of the last two steps the one that cannot fail


def _em_step(mixture: Mixture, sums: PhotonSums, power: float) -> Mixture:
    factors = sums.of_images[: len(mixture.cells.data)]
    photons = np.bincount(_cell_of_entry(mixture.cells), mixture.cells.data * factors, mixture.cells.shape[0])
    share = factors / np.maximum(photons, 1e-30)[_cell_of_entry(mixture.cells)]
    return mixture.stepped(share**power, mixture.traces * sums.of_traces ** np.float32(power))


def _some_frames(n_frames: int, n_some: int) -> Iterator[list[slice]]:
    """Draw runs of frames without end, all of them once before any comes again."""
    rng = np.random.default_rng(0)
    runs = [slice(t, min(t + RUN, n_frames)) for t in range(0, n_frames, RUN)]
    n_runs = max(1, -(-n_some // RUN))
    order = np.zeros(0, np.int64)
    while True:
        if len(order) < n_runs:
            order = np.concatenate([order, rng.permutation(np.setdiff1d(np.arange(len(runs)), order)), order])
            order = order[np.sort(np.unique(order, return_index=True)[1])]
        yield [runs[i] for i in np.sort(order[:n_runs])]
        order = order[n_runs:]


def _by_some_frames(
    counts: Any, mixture: Mixture, n_some: int, settings: CellmaxSettings, progress: Callable[[int], None]
) -> Mixture:
    """Go through rounds with some of the frames each, which together are all; at last take all frames' traces."""
    photons, of_cell = np.zeros(len(mixture.cells.data)), _cell_of_entry(mixture.cells)
    n_frames = counts.shape[1]
    for round_, runs in zip(range(settings.max_iter), _some_frames(n_frames, n_some), strict=False):
        sums = photon_sums(counts, mixture.images, mixture.traces, False, runs)
        share = n_frames / sum(run.stop - run.start for run in runs)  # what all frames would count
        now = share * mixture.cells.data * sums.of_images[: len(photons)]
        photons += (round_ + 1.0) ** -FORGET * (now - photons)
        traces = mixture.traces.copy()
        for run in runs:
            traces[:, run] *= sums.of_traces[:, run]
        total = np.bincount(of_cell, photons, mixture.cells.shape[0])[of_cell]
        before = mixture
        factors = photons / np.maximum(total * mixture.cells.data, 1e-30)
        mixture = mixture.stepped(np.where(mixture.cells.data > 0, factors, 0), traces)
        progress(round_ + 1)
        if round_ + 1 >= settings.min_iter and mixture.change_from(before) <= settings.max_delta:
            break
    return dataclasses.replace(mixture, traces=photon_traces(counts, mixture.images, mixture.traces, WARM_UP))


def _by_events(
    counts: Any, mixture: Mixture, n_some: int, settings: CellmaxSettings, progress: Callable[[int], None]
) -> Mixture:
    """Let each image count the photons of frames in which its cell is active and no other outshines it."""
    n_cells, n_frames = mixture.cells.shape[0], counts.shape[1]
    if n_cells == 0:
        return mixture
    draws = _some_frames(n_frames, n_some)
    for round_ in range(settings.event_iter):
        runs = [slice(0, n_frames)] if n_some >= n_frames else next(draws)
        partners = mixture.traces.copy()
        partners[:n_cells] = significant_part(mixture.cell_traces, mixture.cells)
        sums = photon_sums(counts, mixture.images, mixture.traces, False, runs, partners)
        before, traces = mixture, mixture.traces.copy()
        stepped = _em_step(mixture, sums, settings.relaxation)
        for run in runs:
            traces[:, run] = stepped.traces[:, run]
        mixture = dataclasses.replace(stepped, traces=traces)
        progress(settings.max_iter + round_ + 1)
        if mixture.change_from(before) <= settings.max_delta:
            break
    return mixture


def eliminate(mixture: Mixture, least: float) -> Mixture:
    """Forget cells whose brightest moment is below a share of the brightest cell's, each at its brightest pixel."""
    n_cells = mixture.cells.shape[0]
    if n_cells == 0:
        return mixture
    top = mixture.cells.max(axis=1).toarray().ravel() * mixture.cell_traces.max(axis=1, initial=0)
    kept = np.flatnonzero((top > 0) & (top >= least * top.max()))
    smooth = np.arange(n_cells, len(mixture.traces))
    return dataclasses.replace(
        mixture,
        cells=sparse.csr_array(mixture.cells[kept]),
        traces=np.ascontiguousarray(mixture.traces[np.concatenate([kept, smooth])]),
    )


def merge(mixture: Mixture, image_shape: tuple[int, int], radius_px: float, settings: CellmaxSettings) -> Mixture:
    """Make one of cells that are close, share light and are active together.

    Parameters
    ----------
    mixture : Mixture
        All components.
    image_shape : tuple of int
        ``(height, width)``.
    radius_px : float
        Cell radius (px).
    settings : CellmaxSettings
        How close, how much light, how much alike.
    """
    cells, traces, n_cells = mixture.cells, mixture.cell_traces, mixture.cells.shape[0]
    if n_cells < 2:
        return mixture
    rows, columns = np.divmod(np.arange(cells.shape[1]), image_shape[1])
    centres = np.stack([cells @ rows, cells @ columns], axis=1)
    pairs = spatial.KDTree(centres).query_pairs(settings.merge_distance * radius_px, output_type="ndarray")
    first, second = pairs.T
    common = np.array([cells[[i]].minimum(cells[[j]]).sum() for i, j in pairs])
    centred = traces - traces.mean(axis=1, keepdims=True)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1), 1e-20)[:, None]
    alike = np.einsum("it,it->i", unit[first], unit[second]) >= settings.merge_correlation
    same = alike & (common >= settings.merge_overlap) if len(pairs) else alike
    links = sparse.coo_array((np.ones(same.sum()), (first[same], second[same])), shape=(n_cells, n_cells))
    n_merged, label = sparse.csgraph.connected_components(links, directed=False)
    if n_merged == n_cells:
        return mixture
    photons = traces.sum(axis=1, dtype=np.float64)
    by_label = label, np.arange(n_cells)
    merged = sparse.csr_array(sparse.csr_array((photons, by_label), shape=(n_merged, n_cells)) @ cells)
    group = sparse.csr_array((np.ones(n_cells, np.float32), by_label), shape=(n_merged, n_cells))
    return dataclasses.replace(
        mixture, cells=normalised(merged), traces=np.concatenate([group @ traces, mixture.traces[n_cells:]])
    )
