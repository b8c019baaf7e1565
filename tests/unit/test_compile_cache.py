"""Compiled kernels have a folder, also where there is no home and the package is read-only."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpucells.device import compile_cache
from gpucells.device.compile_cache import provide_compile_cache


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    import numba

    monkeypatch.setattr(numba.config, "CACHE_DIR", numba.config.CACHE_DIR)  # put back what the test changes
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")
    return monkeypatch


def test_a_folder_that_the_user_chose_is_his(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert provide_compile_cache([]) is None
    assert os.environ["NUMBA_CACHE_DIR"] == str(tmp_path)


def test_numba_is_left_alone_where_it_has_a_folder(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert provide_compile_cache([tmp_path / "file" / "no", tmp_path / "made" / "here"]) is None
    assert os.environ["NUMBA_CACHE_DIR"] == ""


def test_without_any_a_private_one_is_made(
    environment: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    made = provide_compile_cache([tmp_path / "file" / "no"])
    assert made is not None
    assert made.stat().st_mode & 0o077 == 0  # nobody else can put code there
    assert os.environ["NUMBA_CACHE_DIR"] == str(made)
    assert "NUMBA_CACHE_DIR" in caplog.text
    made.rmdir()


def test_usual_folders_where_there_is_no_home(environment: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        environment.delenv(name, raising=False)
    assert list(compile_cache._usual_folders())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="/dev/null/x is no folder on POSIX")
def test_kernels_compile_where_nothing_can_be_written(repository: Path) -> None:
    """The usual folders are made to be under a file, in a process of its own."""
    code = (
        "from pathlib import Path\nfrom gpucells.device import compile_cache\n"
        "compile_cache._usual_folders = lambda: [Path('/dev/null/x')]\n"
        "import numpy as np\nfrom gpucells.ops import local_correlation as operation\n"
        "assert operation.local_correlation(np.zeros((2, 2, 3), np.float32)).shape == (2, 2)\n"
        "print(operation._correlate._cache._impl.locator.get_cache_path())\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert ran.returncode == 0, ran.stderr
    folder = Path(ran.stdout.strip())
    assert "gpucells-compiled-" in str(folder)
    assert not folder.exists()  # gone with its process
