"""Sums over photons: both bodies against the whole product in float64, and EM against scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tolerance
from reference import photon_em as reference
from scipy import sparse

from gpucells.ops import photon_em
from gpucells.ops.photon_em import photon_sums, photon_traces


def problem(n_pixels: int, n_frames: int, n_components: int, dtype: str = "float32") -> tuple[Any, Any, Any]:
    """Counts, images of which one is everywhere and one nowhere, traces; some pixels have no component."""
    rng = np.random.default_rng(5)
    images = rng.random((n_components, n_pixels)) * (rng.random((n_components, n_pixels)) < 0.3)
    images[:1, : n_pixels // 2 + 1] += 0.2
    images[1:2] = 0
    traces = rng.exponential(3, (n_components, n_frames))
    counts = rng.poisson(images.T @ traces + 0.5)
    return counts.astype(dtype), sparse.csr_array(images.astype("f4")), traces.astype("f4")


SIZES = [(30, 200, 5), (9, 31, 3), (1, 1, 1), (8, 0, 2), (8, 40, 0), (70, 129, 2)]


@pytest.mark.parametrize("dtype", ["float32", "uint16", "uint8"])
@pytest.mark.parametrize("size", SIZES)
def test_both_bodies_give_the_sums_of_the_whole_ratio(cuda: Any, size: tuple[int, int, int], dtype: str) -> None:
    counts, images, traces = problem(*size, dtype)
    of_traces, of_pixels, log = reference.sums(counts, images.toarray(), traces)
    entries = of_pixels[np.repeat(np.arange(size[2]), np.diff(images.indptr)), images.indices]
    on_cpu, on_gpu = photon_sums(counts, images, traces), photon_sums(cuda.asarray(counts), images, traces)
    assert isinstance(on_gpu.of_traces, np.ndarray)
    tolerance.assert_as_accurate(on_gpu.of_traces, on_cpu.of_traces, of_traces)
    for found in (on_cpu, on_gpu):
        np.testing.assert_allclose(found.of_traces, of_traces, rtol=2e-5, atol=1e-5)
        np.testing.assert_allclose(found.of_images, entries, rtol=2e-5, atol=1e-5)
        assert found.log_likelihood == pytest.approx(log, rel=1e-5, abs=1e-3)


def test_some_frames_and_partners(cuda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photon_em, "RATIO_BYTES", 4 * 30 * 128)  # several blocks of frames on a device
    counts, images, traces = problem(30, 400, 4)
    partners = np.where(traces > 2, traces, 0).astype("f4")
    runs = [slice(3, 70), slice(100, 380)]
    seen = np.concatenate([np.arange(400)[run] for run in runs])
    dense = images.toarray()
    of_traces, of_pixels, log = reference.sums(counts[:, seen], dense, traces[:, seen], partners[:, seen])
    entries = of_pixels[np.repeat(np.arange(4), np.diff(images.indptr)), images.indices]
    for array in (counts, cuda.asarray(counts)):
        found = photon_sums(array, images, traces, True, runs, partners)
        np.testing.assert_allclose(found.of_traces[:, seen], of_traces, rtol=1e-5, atol=1e-5)
        assert not np.delete(found.of_traces, seen, axis=1).any()
        np.testing.assert_allclose(found.of_images, entries, rtol=1e-5, atol=1e-5)
        assert found.log_likelihood == pytest.approx(log, rel=1e-5)
        assert np.isnan(photon_sums(array, images, traces, False).log_likelihood)


@pytest.mark.parametrize("n_rounds", [0, 1, 7])
def test_traces_of_fixed_images(cuda: Any, n_rounds: int) -> None:
    counts, images, traces = problem(40, 300, 5)
    wanted = reference.rounds(counts, images.toarray(), traces, n_rounds)
    shown = np.diff(images.indptr) > 0  # a component without pixels has no photons
    for array in (counts, cuda.asarray(counts)):
        found = photon_traces(array, images, traces, n_rounds)
        np.testing.assert_allclose(found[shown], wanted[shown], rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Maximum number of iterations")
def test_alternating_rounds_are_the_multiplicative_updates_of_scikit_learn() -> None:
    decomposition = pytest.importorskip("sklearn.decomposition", reason="the independent solver")
    rng = np.random.default_rng(0)
    n, c, t = rng.poisson(4, (20, 60)) + 0.0, rng.random((3, 20)) + 0.1, rng.random((3, 60)) + 0.1
    n_rounds, counts = 8, n.astype("f4")
    model = decomposition.NMF(3, init="custom", solver="mu", beta_loss="kullback-leibler", max_iter=n_rounds, tol=0)
    w = model.fit_transform(n, W=c.T.copy(), H=t.copy())
    images, traces = sparse.csr_array(c.astype("f4")), t.astype("f4")
    for _ in range(n_rounds):  # first one factor, then the other
        factors = photon_sums(counts, images, traces, False).of_images
        images.data = (images.data * factors / np.repeat(traces.sum(axis=1), np.diff(images.indptr))).astype("f4")
        traces = photon_traces(counts, images, traces, 1)
    np.testing.assert_allclose(images.toarray().T, w, rtol=1e-3)
    np.testing.assert_allclose(traces, model.components_, rtol=1e-3)


def test_sanitizers_find_nothing(sanitized_cuda: Any) -> None:
    counts, images, traces = problem(9, 140, 3, "uint16")
    found = photon_sums(sanitized_cuda.asarray(counts), images, traces)
    wanted = photon_sums(counts, images, traces)
    np.testing.assert_allclose(found.of_images, wanted.of_images, rtol=1e-4)
    np.testing.assert_allclose(found.of_traces, wanted.of_traces, rtol=1e-4, atol=1e-5)
