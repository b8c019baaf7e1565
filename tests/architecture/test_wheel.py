"""The wheel holds the package, all of it, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="the build backend is not installed here; .ci/run builds the wheel")
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=repository,
        check=True,
        capture_output=True,
    )
    return next(folder.glob("*.whl"))


def test_wheel_holds_every_file_of_the_package(wheel: Path, repository: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    package = repository / "gpucells"
    expected = {
        str(path.relative_to(repository))
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in {".nbi", ".nbc", ".pyc"}
    }
    expected |= {f"gpucells/{path.relative_to(repository)}" for path in (repository / "kernels").rglob("*.cu*")}
    assert any(name.endswith(".cuh") for name in expected)
    assert {name for name in names if ".dist-info/" not in name} - {"gpucells/kernels/README.md"} == expected
    assert "gpucells/py.typed" in names
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_installed_package_finds_its_kernels(wheel: Path, tmp_path: Path, repository: Path) -> None:
    """Unpacked, as pip installs it, and away from the source tree."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        "from gpucells.device.kernel_source import kernel_folder; from gpucells.ops.fold_frames import FOLD_FRAMES; "
        "print(kernel_folder()); print(len(FOLD_FRAMES.code(next(FOLD_FRAMES.variants()))))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    folder, length = ran.stdout.splitlines()
    assert Path(folder) == tmp_path / "gpucells" / "kernels"
    assert int(length) > len((repository / "kernels" / "fold_frames.cu").read_text(encoding="utf-8"))


def test_wheel_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = next(name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = archive.read(info).decode()
        entry_points = archive.read(info.replace("METADATA", "entry_points.txt")).decode()
    assert "License-Expression: MIT" in metadata
    assert "Requires-Python: <3.14,>=3.11" in metadata
    for extra in ("cuda12", "cuda13", "video", "zarr", "nwb"):
        assert f"Provides-Extra: {extra}" in metadata
    assert "gpucells = gpucells.cli:main" in entry_points


def test_nothing_needs_cuda_to_be_installed(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = next(name for name in archive.namelist() if name.endswith("/METADATA"))
        needed = [line for line in archive.read(info).decode().splitlines() if line.startswith("Requires-Dist:")]
    assert not [line for line in needed if "cupy" in line and "extra ==" not in line]
