"""Movies to write in other libraries' formats, and what reading them back must give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from gpucells.model.movie import Movie


@pytest.fixture
def frames() -> NDArray[Any]:
    """Twelve frames of 7 x 10, uint16, no number twice: an exchange of any two axes or bytes shows."""
    return np.arange(12 * 7 * 10, dtype=np.uint16).reshape(12, 7, 10) * 31


@pytest.fixture
def real_frames(shared_data: Path) -> NDArray[Any]:
    """Sixty frames of a real two-photon movie, 30 x 40, uint16."""
    with h5py.File(shared_data / "real_2p_tiny.h5") as file:
        crop: NDArray[Any] = file["movie"][:60]
    return crop


def _require_equal(movie: Movie, expected: NDArray[Any]) -> None:
    n_frames, height, width = expected.shape
    assert movie.shape == expected.shape
    boxes = [
        (slice(None), slice(None), slice(None)),
        (slice(0, 1), slice(None), slice(None)),
        (slice(n_frames - 1, n_frames), slice(height - 1, height), slice(width - 1, width)),
        (slice(n_frames // 3, n_frames // 2), slice(1, height - 1), slice(2, width // 2)),
        (slice(None), slice(height // 2, height), slice(None)),
        (slice(None), slice(2, 4), slice(3, 4)),
        (slice(1, 1), slice(None), slice(None)),
    ]
    for box in boxes:
        values = movie.read(*box)
        assert values.dtype == movie.dtype
        assert values.dtype.isnative
        assert values.flags.c_contiguous
        np.testing.assert_array_equal(values, expected[box])


@pytest.fixture
def require_equal() -> Callable[[Movie, NDArray[Any]], None]:
    """Compare a movie with an array, box by box, types and order too."""
    return _require_equal


@pytest.fixture(autouse=True)
def nothing_beside_the_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test that opens a movie also sees that opening and reading leave the folder of the movie as it was."""
    import gpucells.io.open_movie as module

    original = module._open
    seen: dict[Path, tuple[int, int]] = {}

    def listing() -> dict[Path, tuple[int, int]]:
        return {p: (p.stat().st_size, p.stat().st_mtime_ns) for p in tmp_path.rglob("*") if p.is_file()}

    def opening(*args: Any, **kwargs: Any) -> Movie:
        seen.clear()
        seen.update(listing())
        movie = original(*args, **kwargs)
        assert listing() == seen
        return movie

    monkeypatch.setattr(module, "_open", opening)
    yield
    new = set(listing()) - set(seen)
    assert not seen or not [p for p in new if p.suffix in (".lock", ".tmp", ".idx", ".index", ".cache")]
