"""``import gpucells`` and ``gpucells --help`` are quick, because they load little."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

HEAVY = {"cupy", "matplotlib", "pynwb", "numba", "scipy", "h5py", "zarr", "tifffile", "av", "sklearn", "numpy"}
LONGEST_IMPORT_S = 0.4


def loaded_by(code: str) -> set[str]:
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(ran.stdout.split())


@pytest.mark.parametrize("code", ["import gpucells", "import gpucells; dir(gpucells)", "import gpucells.cli"])
def test_heavy_packages_are_not_imported(code: str) -> None:
    assert not loaded_by(code) & HEAVY


def test_import_is_fast() -> None:
    """Best of three, since the machine may be busy; the interpreter's own start is not counted."""

    def seconds(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - start

    assert min(seconds("import gpucells") for _ in range(3)) - min(seconds("") for _ in range(3)) < LONGEST_IMPORT_S


def test_public_names_exist_and_are_documented() -> None:
    import gpucells

    for name in gpucells.__all__:
        assert getattr(gpucells, name) is not None
        assert name in dir(gpucells)
        if name != "__version__":
            assert getattr(gpucells, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing_like_this'"):
        _ = gpucells.nothing_like_this
