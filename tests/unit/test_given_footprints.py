"""Given footprints: what is taken, what is refused, and traces on a movie without finding anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.planted import footprints, transients
from scipy import sparse

import gpucells
from gpucells import pipeline
from gpucells.cli import main
from gpucells.errors import InputError
from gpucells.io.cells_file import load_cells, save_cells
from gpucells.model.cells import Cells
from gpucells.postprocess.pairing import footprint_cosine
from gpucells.settings import RunSettings
from gpucells.tiles.given_footprints import Seeds, check_footprints, of_tile, take_footprints, typical_diameter_px
from gpucells.tiles.grid import BYTES_PER_SAMPLE, Tile

SHAPE, N_FRAMES = (40, 56), 200
CENTRES = [(10, 10), (12, 18), (30, 20), (28, 44), (8, 45)]  # the first two overlap


def planted() -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(5)
    cells = footprints(SHAPE, CENTRES)
    traces = transients(rng, len(CENTRES), N_FRAMES, 10)
    slow = np.cumsum(rng.normal(0, 0.3, N_FRAMES))
    movie = (cells.T @ traces).T + 50 + slow[:, None] + rng.normal(size=(N_FRAMES, SHAPE[0] * SHAPE[1]))
    return movie.reshape(N_FRAMES, *SHAPE).astype(np.float32), cells, traces


def as_cells(images: Any) -> Cells:
    n_cells = images.shape[0]
    return Cells(
        footprints=sparse.csr_array(images), traces=np.zeros((n_cells, 3), np.float32), image_shape=SHAPE,
        f0=np.ones(n_cells, np.float32), accepted=np.arange(n_cells) != 1,
        rejection=tuple("dim" if i == 1 else "" for i in range(n_cells)),
    )  # fmt: skip


def test_every_form_means_the_same(tmp_path: Path) -> None:
    images = footprints(SHAPE, CENTRES)
    wanted = images.toarray()
    for form in (images, images.toarray(), images.toarray().reshape(-1, *SHAPE), 3 * images, sparse.csc_array(images)):
        np.testing.assert_allclose(check_footprints(form, SHAPE).toarray(), wanted, atol=1e-6)
    accepted = wanted[[0, 2, 3, 4]]
    np.testing.assert_array_equal(check_footprints(as_cells(images), SHAPE).toarray(), accepted)
    save_cells(as_cells(images), tmp_path / "cells.h5")
    np.testing.assert_array_equal(check_footprints(tmp_path / "cells.h5", SHAPE).toarray(), accepted)


def test_negative_values_count_as_none_and_the_input_is_left_alone() -> None:
    images = footprints(SHAPE, CENTRES)
    images.data[3] = -5
    before = images.data.copy()
    assert check_footprints(images, SHAPE).data.min() > 0
    np.testing.assert_array_equal(images.data, before)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.ones((2, 7), np.float32), r"\(2, 7\), but the movie is 40 x 56"),
        (np.ones((2, 56, 40), np.float32), r"\(2, 56, 40\)"),
        (np.ones(5, np.float32), r"\(5,\)"),
        (np.full((1, 40, 56), np.nan, np.float32), "not finite"),
        (np.zeros((2, 40, 56), np.float32), "2 footprints are empty, the first is number 0"),
    ],
)
def test_what_does_not_fit_is_refused(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_footprints(given, SHAPE)


def test_cells_of_another_movie_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(40, 56\), but the movie is 56 x 40"):
        check_footprints(as_cells(footprints(SHAPE, CENTRES)), (56, 40))


def test_diameter_is_that_of_a_disk() -> None:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    disk = ((y - 20) ** 2 + (x - 20) ** 2 < 36).astype(np.float32).reshape(1, -1)
    assert typical_diameter_px(sparse.csr_array(disk)) == pytest.approx(12, abs=0.4)
    assert typical_diameter_px(sparse.csr_array((0, 4))) is None


def test_cutting_to_a_tile() -> None:
    images = footprints(SHAPE, CENTRES)
    box = slice(5, 25), slice(12, 56)
    cut, cells = of_tile(Tile(*box, *box), images, SHAPE[1])
    expected = images.toarray().reshape(-1, *SHAPE)[:, 5:25, 12:]
    np.testing.assert_array_equal(cut.toarray().reshape(-1, 20, 44), expected[cells])
    assert set(range(5)) - set(cells) == {i for i in range(5) if not expected[i].any()}


@pytest.fixture(scope="module")
def applied() -> Cells:
    movie, cells, _ = planted()
    return gpucells.apply_footprints(movie, cells)


def test_traces_of_given_footprints(applied: Cells) -> None:
    _, cells, traces = planted()
    np.testing.assert_allclose(applied.footprints.toarray(), cells.toarray(), atol=1e-6)
    assert applied.accepted.all()
    assert applied.n_cells == len(CENTRES)
    for ours, theirs in zip(applied.traces, traces, strict=True):
        assert np.corrcoef(ours, theirs)[0, 1] > 0.97
        assert np.polyfit(theirs, ours, 1)[0] == pytest.approx(1, abs=0.12)  # what is below the median is cut off


def test_cut_into_tiles_traces_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """80 x 140 px with 104 cells 8 px across, whole, and in two tiles with halos of 21 px."""
    simulated = gpucells.simulate_movie("two_photon", shape=(300, 80, 140), cell_diameter_px=6, seed=1)
    settings = {"downsample_time_by": 2, "trace_output_option": "no_constraint"}
    seen: list[int] = []

    def watched(tiles: Any, *rest: Any) -> Any:
        seen.append(len(tiles))
        return join(tiles, *rest)

    join = pipeline.join_tiles
    monkeypatch.setattr(pipeline, "join_tiles", watched)
    whole, tiled = (
        gpucells.apply_footprints(
            simulated.movie, simulated.truth.footprints, settings=settings, memory_bytes=memory_bytes
        )
        for memory_bytes in (10**9, int(4 * 80 * 110 * 150 * BYTES_PER_SAMPLE))
    )
    assert seen == [1, 2]
    assert (whole.footprints != tiled.footprints).nnz == 0
    assert tiled.accepted.all()
    agreement = [np.corrcoef(a, b)[0, 1] for a, b in zip(whole.traces, tiled.traces, strict=True)]
    assert min(agreement) > 0.985  # .990; .980 where the background's nodes are averaged regardless of the cores
    assert np.median(agreement) > 0.9999  # .99998; .9983
    for name in ("mean", "max", "inside"):
        np.testing.assert_array_equal(whole.summary_images[name], tiled.summary_images[name])
    np.testing.assert_allclose(tiled.f0, whole.f0, rtol=0.01)


def test_a_silent_cell_stays(applied: Cells) -> None:
    movie, _, _ = planted()
    silent = footprints(SHAPE, [*CENTRES, (32, 6)])
    with_it = gpucells.apply_footprints(movie, silent)
    assert with_it.n_cells == len(CENTRES) + 1
    np.testing.assert_allclose(with_it.traces[:-1], applied.traces, atol=1.0)
    assert np.abs(with_it.traces[-1]).mean() < 1


def test_start_footprints_are_refined_instead_of_found() -> None:
    movie, cells, _ = planted()
    shrunk = footprints(SHAPE, CENTRES[:3], width=1.2)
    alone = {"search_after_init": False}
    result = gpucells.extract_cells(movie, init=shrunk, cell_diameter_px=8, settings=alone).accepted_only()
    truth = cells[:3].toarray()
    images = result.footprints.toarray()
    assert len(images) == 3
    cosine = (images * truth).sum(axis=1) / np.linalg.norm(images, axis=1) / np.linalg.norm(truth, axis=1)
    assert cosine.min() > 0.97  # 0.85 to begin with


@pytest.mark.parametrize("method", ["extract", "cnmf", "cnmfe", "cellmax"])
def test_what_a_start_lacks_is_looked_for_unless_it_is_switched_off(method: str) -> None:
    movie, cells, _ = planted()
    chosen: dict[str, Any] = {"method": method, "init": cells[:3], "frame_rate_hz": 10.0, "cell_diameter_px": 8}
    whole, alone = (
        gpucells.extract_cells(movie, settings={"search_after_init": on}, **chosen).accepted_only()
        for on in (True, False)
    )
    assert footprint_cosine(whole.footprints, cells).toarray().max(axis=0).min() > 0.8
    assert whole.n_cells == len(CENTRES)
    assert alone.n_cells == 3
    assert footprint_cosine(alone.footprints, cells[:3]).toarray().max(axis=0).min() > 0.8


def test_the_diameter_is_that_of_footprints_only_where_they_are_held() -> None:
    run, broad = RunSettings.from_values({}), footprints(SHAPE, CENTRES, width=4.0)
    assert take_footprints(broad, SHAPE, run, hold=False)[1].cell_diameter_px is None
    assert take_footprints(broad, SHAPE, run, hold=True)[1].cell_diameter_px == typical_diameter_px(broad)
    given = RunSettings.from_values({"cell_diameter_px": 7.0})
    assert take_footprints(broad, SHAPE, given, hold=True)[1].cell_diameter_px == 7


def test_command_line(tmp_path: Path, applied: Cells) -> None:
    movie, _, _ = planted()
    np.save(tmp_path / "movie.npy", movie)
    save_cells(applied, tmp_path / "known.h5")
    target = tmp_path / "cells.h5"
    code = main(["extract", str(tmp_path / "movie.npy"), "--footprints", str(tmp_path / "known.h5"), "-o", str(target)])
    assert code == 0
    np.testing.assert_allclose(load_cells(target).traces, applied.traces, atol=1e-4)


def test_another_methods_file_is_a_beginning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    movie, cells, _ = planted()
    np.save(tmp_path / "movie.npy", movie)
    save_cells(as_cells(footprints(SHAPE, CENTRES, width=1.2)), tmp_path / "others.h5")
    given = ["extract", str(tmp_path / "movie.npy"), "--init", str(tmp_path / "others.h5"), "--cell-diameter-px", "8"]
    assert main([*given, "--method", "cnmf", "-o", str(tmp_path / "cells.h5")]) == 0
    cosine = footprint_cosine(load_cells(tmp_path / "cells.h5").accepted_only().footprints, cells[[0, 2, 3, 4]])
    assert cosine.toarray().max(axis=0).min() > 0.97  # the rejected one is none of them
    capsys.readouterr()
    both = [*given, "--footprints", str(tmp_path / "others.h5"), "-o", str(tmp_path / "two.h5")]
    assert main(both) == 2
    assert "exclude each other" in capsys.readouterr().err


def test_seeds_are_discs_cut_by_the_border() -> None:
    seeds, run = take_footprints(np.array([[10, 20], [0, 55.2]]), SHAPE, RunSettings.from_values({}), hold=False)
    assert isinstance(seeds, Seeds)
    assert run.cell_diameter_px is None
    images = seeds.footprints(3.0).toarray().reshape(-1, *SHAPE)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for image, (row, column) in zip(images, [(10, 20), (0, 55.2)], strict=True):
        np.testing.assert_array_equal(image > 0, np.hypot(y - row, x - column) <= 3)
    assert seeds.footprints(0.1).sum() == 2  # at least the pixel itself


@pytest.mark.parametrize("point", [(-1, 3), (3, 56), (np.nan, 2)])
def test_a_seed_outside_the_image_is_refused(point: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="seed 1 at row"):
        take_footprints([(2, 2), point], SHAPE, RunSettings.from_values({}), hold=False)


@pytest.mark.parametrize("method", ["extract", "cnmf"])
def test_cells_are_refined_from_seeds(method: str) -> None:
    movie, images, _ = planted()
    alone = {"search_after_init": False}  # discs leave enough of cells to be found beside them, and refused
    cells = gpucells.extract_cells(
        movie, method=method, init=CENTRES, settings=alone, frame_rate_hz=10.0, cell_diameter_px=8
    )
    found = cells.accepted_only()
    cosine = footprint_cosine(found.footprints, images).toarray()
    assert cells.n_cells == len(CENTRES)
    assert (cosine.max(axis=0) > 0.8).sum() >= 4
