"""Who may import whom, and what: the layers of pyproject.toml, and the outside packages by folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from architecture.source_tree import PACKAGE, ROOT, imported, modules, name_of

EDGE = {
    # package: folders and files that may import it at all
    "cupy": ("device/", "ops/"),
    "cupyx": ("device/", "ops/"),
    "pynvml": ("device/",),
    "h5py": ("io/", "export/", "cli/", "simulate/"),
    "psutil": ("device/",),
    "hdf5plugin": ("io/",),
    "picard": ("ops/",),
    "tifffile": ("io/", "export/"),
    "zarr": ("io/", "export/"),
    "av": ("io/", "export/"),
    "pynwb": ("io/", "export/"),
    "hdmf": ("export/",),  # what pynwb is built on
    "matplotlib": ("report/",),
    "PIL": ("report/", "io/"),
    "roifile": ("io/",),
    "ruamel": ("export/",),
    "sklearn": ("compat/",),
    "contourpy": ("report/",),
    "rich": ("cli/", "progress.py"),
    "tqdm": ("progress.py",),
    "typer": ("cli/",),
}
NEVER = {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "torch", "tensorflow", "pandas", "tests"}
MAY_PICKLE = {"io/plain_pickle.py": ["pickle"]}  # and may call nothing that a file names: docs/decisions/0010
OPTIONAL = {
    "cupy",
    "cupyx",
    "psutil",
    "hdf5plugin",
    "av",
    "picard",
    "zarr",
    "pynwb",
    "hdmf",
    "roifile",
    "tqdm",
    "ruamel",
}


def test_imports_go_downwards() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("package", EDGE)
def test_outside_packages_stay_at_the_edge(package: str) -> None:
    inside = [name_of(path) for path in modules() if package in imported(path)]
    astray = [name for name in inside if not name.startswith(EDGE[package])]
    assert not astray, f"{package} is imported outside {EDGE[package]}"


def test_nothing_loads_pickles_or_other_peoples_frameworks() -> None:
    found = {name_of(path): sorted(imported(path) & NEVER) for path in modules() if imported(path) & NEVER}
    assert found == MAY_PICKLE
    loads = [name_of(path) for path in modules() if "allow_pickle=True" in path.read_text(encoding="utf-8")]
    assert not loads


def test_optional_packages_are_imported_where_used() -> None:
    found = {name_of(path): sorted(imported(path, at_top_only=True) & OPTIONAL) for path in modules()}
    assert not {name: packages for name, packages in found.items() if packages}


def test_every_folder_is_a_package() -> None:
    folders = {path.parent for path in modules()} - {PACKAGE}
    assert not [str(folder) for folder in folders if not (folder / "__init__.py").is_file()]


def test_imports_inside_the_package_are_absolute_and_of_known_packages() -> None:
    allowed = {*sys.stdlib_module_names, "gpucells", *EDGE, "numpy", "scipy", "numba", "pydantic", "array_api_compat"}
    unknown = {name_of(path): imported(path) - allowed for path in modules() if imported(path) - allowed}
    assert not unknown, "declare the package in pyproject.toml and say here where it may be used"


def test_the_reader_of_imports_sees_what_it_should(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        "from typing import TYPE_CHECKING\nimport numpy.linalg\nif TYPE_CHECKING:\n    import zarr\n"
        "try:\n    import av\nexcept ImportError:\n    pass\n"
        "def later():\n    from matplotlib import pyplot\n"
        "    import importlib\n    importlib.import_module('h5py.h5')\n"
    )
    assert imported(module) == {"typing", "numpy", "av", "matplotlib", "importlib", "h5py"}
    assert imported(module, at_top_only=True) == {"typing", "numpy", "av"}
