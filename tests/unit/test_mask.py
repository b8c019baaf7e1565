"""A mask: cells are looked for inside it only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from reference.planted import footprints, transients

import gpucells
from gpucells.errors import InputError, MissingFileError
from gpucells.preprocess.mask import check_mask

SHAPE, N_FRAMES = (40, 56), 200
CENTRES = [(10, 10), (30, 20), (28, 44), (8, 45)]


@pytest.fixture
def movie() -> Any:
    rng = np.random.default_rng(5)
    traces = transients(rng, len(CENTRES), N_FRAMES, 12)
    movie = (footprints(SHAPE, CENTRES).T @ traces).T + 50 + rng.normal(size=(N_FRAMES, SHAPE[0] * SHAPE[1]))
    return movie.reshape(N_FRAMES, *SHAPE).astype(np.float32)


@pytest.mark.parametrize("kind", ["npy", "tif"])
def test_cells_are_found_inside_only(kind: str, movie: Any, tmp_path: Path) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[:, :30] = 255
    path = tmp_path / f"mask.{kind}"
    np.save(path, mask) if kind == "npy" else tifffile.imwrite(path, mask[None])
    found = gpucells.extract_cells(movie, mask=str(path), cell_diameter_px=9).accepted_only()
    assert found.n_cells == 2
    assert not found.images()[:, :, 30:].any()
    assert not found.summary_images["inside"][:, 30:].any()
    assert gpucells.extract_cells(movie, cell_diameter_px=9).accepted_only().n_cells == 4


def test_forms() -> None:
    picture = np.array([[0, 1], [np.nan, -2]])
    np.testing.assert_array_equal(check_mask(picture, (2, 2)), [[False, True], [False, True]])
    np.testing.assert_array_equal(check_mask(picture[None] > 0, (2, 2)), [[False, True], [False, False]])


@pytest.mark.parametrize(
    ("picture", "message"),
    [(np.ones((3, 2)), r"the shape \(3, 2\), but the movie is 2 x 3"), (np.zeros((2, 3)), "0 everywhere")],
)
def test_wrong_masks(picture: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_mask(picture, (2, 3))


def test_a_mask_of_dead_pixels_and_a_missing_one(movie: Any, tmp_path: Path) -> None:
    movie[:, :, :5] = 7
    mask = np.zeros(SHAPE, bool)
    mask[:, :5] = True
    np.save(tmp_path / "mask.npy", mask)
    with pytest.raises(InputError):
        gpucells.extract_cells(movie, mask=str(tmp_path / "mask.npy"))
    with pytest.raises(MissingFileError):
        gpucells.extract_cells(movie, mask=str(tmp_path / "none.npy"))
