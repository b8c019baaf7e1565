"""Small movies for the tests of tiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpucells
from gpucells.model.movie import Movie


@pytest.fixture
def samples() -> np.ndarray:
    """Forty-three frames of 24 x 30 that vary everywhere, uint16."""
    return np.random.default_rng(0).integers(100, 1000, (43, 24, 30)).astype(np.uint16)


@pytest.fixture
def as_movie() -> Callable[[Any], Movie]:
    """Open an array."""
    return gpucells.open_movie


@pytest.fixture
def scratch(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Folder that scratch files go to."""
    import tempfile

    folder = tmp_path_factory.mktemp("scratch")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder
