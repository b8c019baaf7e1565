"""ROI: traces of given footprints, of every kind, and what happens to those that cannot be read."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.planted import footprints, transients
from scipy import sparse

import gpucells
from gpucells.cli import main
from gpucells.errors import InputError, SettingsError
from gpucells.io.cells_file import load_cells, save_cells
from gpucells.methods.roi import final
from gpucells.methods.roi.projection import RoiProjection, rings
from gpucells.methods.roi.settings import RoiSettings
from gpucells.tiles.grid import BYTES_PER_SAMPLE

SHAPE, N_FRAMES = (40, 56), 300
CENTRES = [(10, 10), (12, 15), (30, 20), (28, 44), (8, 45), (20, 0)]  # the first two overlap, the last one is cut
CELLS = footprints(SHAPE, CENTRES)
KINDS = ("robust", "least_squares", "weighted_mean", "mean")
MEANS = ("weighted_mean", "mean")


def planted(n_frames: int = N_FRAMES, seed: int = 5, background: float = 8.0) -> tuple[np.ndarray, np.ndarray]:
    """Six cells on light that differs over the image and drifts, in counts."""
    rng = np.random.default_rng(seed)
    traces = transients(rng, len(CENTRES), n_frames, 25)
    slow = np.cumsum(rng.normal(0, 1, n_frames))
    slow *= background / np.abs(slow).max()
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    movie = (CELLS.T @ traces).T.reshape(-1, *SHAPE) + 100 + slow[:, None, None] * (1 + 0.01 * x + 0.01 * y)
    return (movie + rng.normal(size=movie.shape)).astype(np.float32), traces


def apply(movie: Any, given: Any = CELLS, **settings: Any) -> Any:
    return gpucells.apply_footprints(movie, given, method="roi", settings=settings)


def r_of(found: Any, true: Any) -> np.ndarray:
    return np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(found, true, strict=True)])


@pytest.fixture(scope="module")
def movie() -> np.ndarray:
    return planted()[0]


@pytest.mark.parametrize("kind", KINDS)
def test_traces_of_every_kind(movie: np.ndarray, kind: str) -> None:
    found, true = apply(movie, traces=kind), planted()[1]
    np.testing.assert_allclose(found.footprints.toarray(), CELLS.toarray(), atol=1e-6)
    assert found.accepted.all()
    assert found.method == "roi"
    r = r_of(found.traces, true)
    assert r[2:].min() > 0.97
    assert r[:2].min() > (0.97 if kind not in MEANS else 0.6)  # means do not tell neighbours apart
    np.testing.assert_allclose(found.f0, 100, atol=15)
    assert np.isfinite(found.dff).all()
    assert (found.denoised is None) == (kind in MEANS)


def test_least_squares_agrees_with_an_independent_solver(movie: np.ndarray) -> None:
    """Without a background in the movie or the model: plain weighted least squares."""
    still = planted(background=0.0)[0]
    found = apply(still, traces="least_squares", n_background=0, ring=False)
    noise = found.summary_images["noise"].ravel()
    rows = still.reshape(N_FRAMES, -1).T.astype(np.float64)
    rows = (rows - np.median(rows, axis=1, keepdims=True)) / noise[:, None]
    wanted = np.linalg.lstsq((CELLS.toarray() / noise).T, rows, rcond=None)[0]
    np.testing.assert_allclose(found.traces, wanted, atol=0.05)
    robust = apply(still, traces="robust", kappa=1e6, n_background=0, ring=False)
    np.testing.assert_allclose(robust.traces, found.traces, atol=0.02)


def test_whose_light_it_is_changes_no_sum(movie: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a trace loses of the background's course, the background's image has of the footprint."""
    planted_share = np.arange(1.0, 7.0)[:, None]
    results = []
    for factor in (0.0, 1.0):
        told = partial(lambda factor, traces, field, *_: factor * np.repeat(planted_share, len(field), 1), factor)
        monkeypatch.setattr(final, "background_shares", told)
        results.append(apply(movie, traces="least_squares", ring=False, n_background=1))
    whole = [
        cells.footprints.T @ cells.traces + cells.background_images.reshape(2, -1).T @ cells.background_traces
        for cells in results
    ]
    lost = planted_share * results[0].background_traces[1:]
    np.testing.assert_allclose(results[1].traces, results[0].traces - lost, atol=1e-4)
    assert np.abs(lost).max() > 0.3
    np.testing.assert_allclose(whole[1], whole[0], atol=2e-3)


def test_robust_traces_bear_light_that_no_footprint_has() -> None:
    movie = planted(background=0.0)[0]
    bursts = np.zeros(N_FRAMES, np.float32)
    bursts[20::40] = 60
    movie[:, 26:30, 21:24] += bursts[:, None, None]  # beside the third cell
    chosen: dict[str, Any] = {"n_background": 0, "ring": False}
    plain, robust = (apply(movie, traces=kind, **chosen).traces[2] for kind in ("least_squares", "robust"))
    clean = apply(planted(background=0.0)[0], traces="least_squares", **chosen).traces[2]
    assert np.abs(robust - clean)[20::40].mean() < 0.5 * np.abs(plain - clean)[20::40].mean()


def test_means_are_what_they_say(movie: np.ndarray) -> None:
    flat, images = movie.reshape(N_FRAMES, -1).astype(np.float64), CELLS.toarray()
    chosen = images > 0.3 * images.max(axis=1, keepdims=True)
    for kind, weights in (("mean", chosen.astype(float)), ("weighted_mean", images)):
        found = apply(movie, traces=kind, neuropil=False, threshold=0.3)
        wanted = flat @ (weights / weights.sum(axis=1, keepdims=True)).T
        np.testing.assert_allclose(found.f0, wanted.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(found.traces, (wanted - wanted.mean(axis=0)).T, atol=1e-3)
    ring = (
        apply(movie, traces="mean", neuropil_coefficient=0.7).traces
        - apply(movie, traces="mean", neuropil=False).traces
    )
    only = rings(CELLS, np.ones(CELLS.shape[1], bool), SHAPE, 4.0, RoiSettings()).toarray()
    assert ring.shape == (6, N_FRAMES)
    assert (only.sum(axis=1) > 30).all()


def test_rings_leave_out_every_cell_and_are_wide_enough() -> None:
    settings, everywhere = RoiSettings(), np.ones(CELLS.shape[1], bool)
    found = rings(CELLS, everywhere, SHAPE, 3.0, settings).toarray() > 0
    own = CELLS.toarray() > 0.2
    assert not (found & own.any(axis=0)).any()
    assert (found.sum(axis=1) >= settings.neuropil_pixels * own.sum(axis=1)).all()
    y, x = np.divmod(np.flatnonzero(found[2]), SHAPE[1])
    inner_y, inner_x = np.divmod(np.flatnonzero(own[2]), SHAPE[1])
    gap = np.hypot(y[:, None] - inner_y, x[:, None] - inner_x).min(axis=1)
    assert gap.min() > settings.neuropil_gap * 3
    wider = rings(CELLS, everywhere, SHAPE, 3.0, settings.changed(neuropil_pixels=12.0)).toarray() > 0
    assert (wider.sum(axis=1) > found.sum(axis=1)).all()
    nowhere = rings(CELLS, own.any(axis=0), SHAPE, 3.0, settings)
    assert nowhere.nnz == 0


def test_the_coefficient_is_told_from_the_movie() -> None:
    rng = np.random.default_rng(0)
    own = transients(rng, 6, 1200, 20) + rng.normal(size=(6, 1200))
    around = np.cumsum(rng.normal(size=(6, 1200)), axis=1)
    rows = sparse.csr_array(np.eye(12, 400, dtype=np.float32))
    made = RoiProjection(CELLS, rows, None, 5, 0.96)
    products = np.concatenate([own + 0.6 * around, around]).astype(np.float32)
    quality = made.result(products)[2]
    np.testing.assert_allclose(quality["neuropil_coefficient"], 0.6, atol=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_footprint_twice_shares_the_light(movie: np.ndarray, kind: str) -> None:
    twice = sparse.csr_array(sparse.vstack([CELLS, CELLS[2:3]]))
    found, once = apply(movie, twice, traces=kind), apply(movie, traces=kind)
    np.testing.assert_array_equal(found.traces[2], found.traces[6])
    np.testing.assert_allclose(found.traces[2], once.traces[2] * (1 if kind in MEANS else 0.5), atol=0.8)
    assert "numbers 2 and 6" in " ".join(found.provenance.warnings)


@pytest.mark.parametrize("kind", KINDS)
def test_outside_the_mask_there_is_no_trace(movie: np.ndarray, kind: str, tmp_path: Path) -> None:
    mask = np.ones(SHAPE, np.uint8)
    mask[20:, 34:] = 0  # the fourth cell
    np.save(tmp_path / "mask.npy", mask)
    found = gpucells.apply_footprints(
        movie, CELLS, method="roi", settings={"traces": kind}, mask=str(tmp_path / "mask.npy")
    )
    assert np.isnan(found.traces[3]).all()
    assert np.isfinite(np.delete(found.traces, 3, axis=0)).all()
    assert found.n_cells == 6
    assert "the first is number 3" in " ".join(found.provenance.warnings)
    save_cells(found, tmp_path / "cells.h5")
    np.testing.assert_array_equal(load_cells(tmp_path / "cells.h5").traces, found.traces)


@pytest.mark.parametrize("kind", KINDS)
def test_lost_frames_and_broken_pixels(movie: np.ndarray, kind: str) -> None:
    broken = movie.copy()
    broken[[3, 40]] = np.nan
    broken[100, 28, 44] = np.nan  # one pixel of the fourth cell
    found, whole = apply(broken, traces=kind), apply(movie, traces=kind)
    assert np.isnan(found.traces[:, [3, 40]]).all()
    kept = np.setdiff1d(np.arange(N_FRAMES), [3, 40])
    assert np.isfinite(found.traces[:, kept]).all()
    assert r_of(found.traces[:, kept], whole.traces[:, kept]).min() > 0.99
    assert "2 of 300 frames" in " ".join(found.provenance.warnings)


@pytest.mark.parametrize("kind", KINDS)
def test_no_footprints_are_no_cells(movie: np.ndarray, kind: str) -> None:
    found = apply(movie, CELLS[:0], traces=kind)
    assert found.traces.shape == (0, N_FRAMES)


def test_constant_pixels_have_constant_traces() -> None:
    movie = planted()[0]
    movie[:, :24, 32:] = 7  # the fifth cell
    for kind in MEANS:
        found = apply(movie, traces=kind, neuropil=False)
        np.testing.assert_allclose(found.traces[4], 0, atol=1e-4)
        assert found.f0[4] == pytest.approx(7)
    assert np.isnan(apply(movie, traces="least_squares").traces[4]).all()


def test_means_read_the_movie_once(movie: np.ndarray) -> None:
    read = np.zeros(N_FRAMES, int)

    class Watched:
        shape, dtype = movie.shape, movie.dtype

        def read(self, frames: slice, rows: slice, columns: slice) -> np.ndarray:
            read[frames] += 1
            return movie[frames, rows, columns]

        def close(self) -> None: ...

    watched = gpucells.open_movie(movie)
    watched = type(watched)(**{**watched.__dict__, "reader": Watched()})
    apply(watched, traces="mean")
    assert read.max() <= 3  # the look, the pass, and three frames to tell movies apart
    assert np.median(read) <= 2


@pytest.mark.parametrize("kind", ["least_squares", "robust"])
def test_cut_into_tiles_traces_are_the_same(kind: str) -> None:
    simulated = gpucells.simulate_movie("two_photon", shape=(300, 80, 140), cell_diameter_px=6, seed=1)
    whole, tiled = (
        gpucells.apply_footprints(
            simulated.movie, simulated.truth.footprints, method="roi", memory_bytes=memory_bytes,
            settings={"traces": kind, "downsample_time_by": 2},
        )
        for memory_bytes in (10**9, int(4 * 80 * 110 * 150 * BYTES_PER_SAMPLE))
    )  # fmt: skip
    assert np.median(r_of(whole.traces, tiled.traces)) > 0.99


def test_a_second_movie(tmp_path: Path) -> None:
    """Cells of one movie, traces of another: longer, and at another rate."""
    first = gpucells.apply_footprints(planted()[0], CELLS, method="roi")
    save_cells(first, tmp_path / "cells.h5")
    longer, true = planted(900, seed=6)
    for settings in ({}, {"traces": "mean"}):
        found = gpucells.apply_footprints(
            longer, tmp_path / "cells.h5", method="roi", settings=settings, frame_rate_hz=30.0
        )
        assert found.traces.shape == (6, 900)
        assert found.frame_rate_hz == 30
        assert r_of(found.traces, true)[2:].min() > 0.97
    with pytest.raises(InputError, match=r"\(40, 56\), but the movie is 38 x 56 px"):
        gpucells.apply_footprints(longer[:, 2:], tmp_path / "cells.h5", method="roi")


def test_without_footprints_it_says_so(movie: np.ndarray, tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(SettingsError, match="finds no cells") as caught:
        gpucells.extract_cells(movie, method="roi")
    assert "--footprints" in caught.value.hint
    np.save(tmp_path / "movie.npy", movie)
    assert main(["extract", str(tmp_path / "movie.npy"), "--method", "roi", "-o", str(tmp_path / "o.h5")]) == 2
    assert "finds no cells" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--footprints", "--init"])
def test_command_line(movie: np.ndarray, tmp_path: Path, option: str) -> None:
    np.save(tmp_path / "movie.npy", movie)
    np.save(tmp_path / "masks.npy", CELLS.toarray().reshape(-1, *SHAPE))
    line = ["extract", str(tmp_path / "movie.npy"), "--method", "roi", option, str(tmp_path / "masks.npy")]
    for kind in ("robust", "mean"):
        target = tmp_path / f"{kind}.h5"
        page = ["--report", str(tmp_path / f"{kind}.html"), "--progress", "none"]
        assert main([*line, "--set", f"traces={kind}", "-o", str(target), *page]) == 0
        np.testing.assert_allclose(load_cells(target).traces, apply(movie, traces=kind).traces, atol=1e-3)
        assert main(["info", str(target)]) == 0


def test_other_methods_take_masks_too(movie: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "masks.npy", CELLS.toarray().reshape(-1, *SHAPE))
    found = gpucells.extract_cells(movie, method="cnmf", init=tmp_path / "masks.npy", cell_diameter_px=8)
    assert found.accepted.sum() >= 4
