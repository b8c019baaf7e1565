"""Footprints as windows: there and back, masks, connected parts."""

from __future__ import annotations

import numpy as np
import pytest
from reference.planted import footprints
from reference.windows import cut_windows
from scipy import ndimage, sparse

from gpucells.ops.patches import Patches, disk, grow, keep_peak_component, window_corners

SHAPE = (20, 33)


def test_footprints_come_back_from_their_windows() -> None:
    cells = footprints(SHAPE, [(10, 10), (0, 0), (19, 32), (3, 30.4)])
    patches = Patches.of(cells, SHAPE, 17)
    assert patches.side == 17
    assert patches.images.dtype == np.float32
    back = patches.to_sparse()
    assert back.shape == cells.shape
    assert back.has_sorted_indices
    np.testing.assert_array_equal(back.toarray(), cells.toarray())


def test_a_window_is_centred_and_what_does_not_fit_is_lost() -> None:
    wide = footprints(SHAPE, [(10, 16)], width=3)
    patches = Patches.of(wide, SHAPE, 5)
    np.testing.assert_array_equal(patches.corners, [[8, 14]])
    frame = wide.toarray().reshape(SHAPE)
    np.testing.assert_array_equal(patches.images[0], frame[8:13, 14:19])
    kept = np.zeros(SHAPE, bool)
    kept[8:13, 14:19] = True
    np.testing.assert_array_equal(patches.to_sparse().toarray().reshape(SHAPE), np.where(kept, frame, 0))


def test_stored_entries_may_be_zero_but_never_outside_the_frame() -> None:
    patches = Patches.of(footprints(SHAPE, [(0, 0)]), SHAPE, 7)
    stored = patches.to_sparse(np.ones_like(patches.images, bool))
    _, exist = patches.pixels()
    assert stored.nnz == exist.sum() < 49
    np.testing.assert_array_equal(stored.toarray(), patches.to_sparse().toarray())


def test_reading_a_frame_gives_zero_beyond_its_border() -> None:
    frame = np.arange(1, 1 + SHAPE[0] * SHAPE[1], dtype=np.float32)
    patches = Patches(np.array([[-2, 30], [4, 5]]), np.zeros((2, 5, 5), np.float32), SHAPE)
    seen = patches.read(frame)
    padded = np.pad(frame.reshape(SHAPE), 5)
    np.testing.assert_array_equal(seen, [padded[3:8, 35:40], padded[9:14, 10:15]])
    assert seen.dtype == np.float32


def test_no_footprints_and_empty_ones() -> None:
    none = Patches.of(sparse.csr_array((0, 660), dtype=np.float32), SHAPE, 5)
    assert none.to_sparse().shape == (0, 660)
    assert grow(none.images > 0, 2).shape == (0, 5, 5)
    keep_peak_component(none.images)
    empty = Patches.of(sparse.csr_array((2, 660), dtype=np.float32), SHAPE, 5)
    assert empty.to_sparse().nnz == 0
    keep_peak_component(empty.images)
    assert not empty.images.any()


@pytest.mark.parametrize(("radius", "side", "area"), [(0, 1, 1), (1, 3, 5), (2, 5, 21), (3, 7, 37), (2.5, 7, 21)])
def test_a_disk_is_odd_and_symmetric(radius: float, side: int, area: int) -> None:
    found = disk(radius)
    assert found.shape == (side, side)
    assert found.sum() == area
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_array_equal(found, found[::-1])


@pytest.mark.parametrize("radius", [0, 1, 2.5, 3, 20])
def test_growing_is_dilation_of_each_alone(radius: int) -> None:
    masks = np.random.default_rng(0).random((4, 15, 15)) < 0.03
    grown = grow(masks, radius)
    for mask, found in zip(masks, grown, strict=True):
        rows, columns = np.nonzero(mask)
        y, x = np.mgrid[:15, :15]
        near = [np.hypot(y - r, x - c) <= radius + 0.3 for r, c in zip(rows, columns, strict=True)]
        np.testing.assert_array_equal(found, np.any(near, axis=0) if near else np.zeros((15, 15), bool))


def test_only_what_touches_the_peak_is_kept() -> None:
    images = np.random.default_rng(1).normal(-0.3, 1, (6, 20, 20)).astype(np.float32)
    images[5] = -1
    wanted = []
    for image in images:
        labels, _ = ndimage.label(image > 0, structure=np.ones((3, 3)))
        at = np.unravel_index(image.argmax(), image.shape)
        wanted.append(np.where(labels == labels[at], image, 0) if image.max() > 0 else image.copy())
    keep_peak_component(images)
    np.testing.assert_array_equal(images, wanted)
    once = images.copy()
    keep_peak_component(images)
    np.testing.assert_array_equal(images, once)


@pytest.mark.parametrize("side", [1, 5, 12, 45])
def test_windows_are_those_cut_cell_by_cell(side: int) -> None:
    rng = np.random.default_rng(2)
    images = (rng.random((9, *SHAPE)) * (rng.random((9, *SHAPE)) < rng.random((9, 1, 1)) ** 3)).astype(np.float32)
    images[4] = 0
    cells = sparse.csr_array(images.reshape(9, -1))
    corners, windows = cut_windows(images, side)
    patches = Patches.of(cells, SHAPE, side)
    np.testing.assert_array_equal(patches.corners, corners)
    np.testing.assert_array_equal(patches.images, windows.astype(np.float32))
    np.testing.assert_array_equal(window_corners(cells, SHAPE[1], side), corners)
