"""CNMF's background: how many components it has, and what it leaves to the cells."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from gpucells.candidates.judge import Verdict
from gpucells.factorisation.background import Blocks, principal_traces
from gpucells.factorisation.judgement import RAGGED, _ragged
from gpucells.methods.cnmf.settings import CnmfSettings


def _means(n_smooth: int, faintest: float, seed: int = 0) -> tuple[np.ndarray, tuple[int, int]]:
    """Block means of smooth images times independent traces, from 10 times the noise down, in noise of 1."""
    rng, shape, n_frames = np.random.default_rng(seed), (16, 16), 1500
    images = ndimage.gaussian_filter(rng.standard_normal((n_smooth, *shape)), (0, 2, 2)).reshape(n_smooth, -1)
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    images *= np.geomspace(100, faintest, n_smooth)[:, None]
    noise = rng.standard_normal((images.shape[1], n_frames))
    return (images.T @ rng.standard_normal((n_smooth, n_frames)) + noise).astype(np.float32), shape


def test_more_than_eight_components_and_faint_ones_beside_a_bright_one_are_kept() -> None:
    means, shape = _means(12, 4.0)
    assert len(principal_traces(means, shape, "auto")) == 12


def test_what_stays_in_its_block_is_no_background() -> None:
    means, shape = _means(2, 50.0)
    rng = np.random.default_rng(1)
    means[rng.permutation(256)[:20]] += 20 * rng.standard_gamma(0.1, (20, means.shape[1])).astype(np.float32)
    assert len(principal_traces(means, shape, "auto")) == 2


def test_smoothing_leaves_a_cell_out_and_keeps_the_rest() -> None:
    inside = np.ones((96, 120), bool)
    inside[:, 50] = False
    y, x = np.mgrid[:96, :120]
    smooth = 1 + 0.01 * y + 0.005 * x
    cell = 5 * (np.hypot(y - 40, x - 70) < 6)
    blocks = Blocks.of(inside, 6.0)
    got = blocks.smooth((smooth + cell).astype(np.float32).reshape(1, -1), inside).reshape(inside.shape)
    assert (got[~inside] == 0).all()
    assert np.abs(got - smooth)[inside].max() < 0.25


@pytest.mark.parametrize(("circularity", "snr", "refused"), [(0.12, 15, True), (0.12, 40, False), (0.9, 7, False)])
def test_a_ragged_candidate_must_be_strong(circularity: float, snr: float, refused: bool) -> None:
    columns = {"size": 2.0, "circularity": circularity, "snr": snr}
    verdict = Verdict([""], {name: np.array([value], np.float32) for name, value in columns.items()})
    reasons = _ragged(verdict, CnmfSettings(), 1.0)
    assert reasons[0].startswith(RAGGED) == refused
