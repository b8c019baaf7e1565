"""Run CaImAn's own tests against ``gpucells.compat.caiman``.

``python benchmarks/peers/caiman_tests.py PATH/TO/CaImAn`` (a checkout, or the folder that has ``caiman/tests``). Its
test files are run as they are, with our modules under the name ``caiman``; none of CaImAn's code but its tests is run.
A line a test: pass, fail, or not applicable with the reason.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

OURS = "gpucells.compat.caiman"
#: Why whole files have nothing to test here.
ELSEWHERE = {
    "test_motion_correction": "registration is another tool's work",
    "test_movies": "CaImAn's movie object and video files",
    "test_sbx": "Scanbox files",
    "test_mrcnn": "VolPy",
    "test_onacid": "the online method",
    "test_tensorflow": "networks",
    "test_hdf5": "CaImAn's own helper for dictionaries; results are tested by load_CNMF",
    "test_pre_processing": "axcov, an inner function",
    "test_temporal": "make_G_matrix, an inner function",
    "test_utilities": "inner filters",
    "test_import": "tests nothing",
    "test_spatial": "has no tests",
}
#: Tests that ask for what there is not.
NOT_HERE = {
    "test_3D": "volumes",
    "test_single_thread": "needs CaImAn's demo movie",
    "test_parallel": "needs CaImAn's demo movie",
}


def put_in_place() -> None:
    """Register our modules under CaImAn's names."""
    package = importlib.import_module(OURS)
    sys.modules["caiman"] = package
    for found in pkgutil.walk_packages(package.__path__, f"{OURS}."):
        sys.modules[found.name.replace(OURS, "caiman", 1)] = importlib.import_module(found.name)
    # scipy.ndimage.filters is gone from new SciPy; the tests still take a filter from there.
    from scipy import ndimage

    old = ModuleType("scipy.ndimage.filters")
    old.__dict__.update({name: getattr(ndimage, name) for name in ndimage.__all__})
    sys.modules["scipy.ndimage.filters"] = old


def arguments_of(test: Any, module: ModuleType) -> Iterator[dict[str, Any]]:
    """Give a test's fixtures, which are generator functions of its own module."""
    import inspect

    makers = {}
    for name in inspect.signature(test).parameters:
        fixture = getattr(module, name)
        maker = getattr(fixture, "__wrapped__", None) or getattr(fixture, "_fixture_function", fixture)
        makers[name] = maker()
    yield {name: next(maker) for name, maker in makers.items()}
    for maker in makers.values():
        next(maker, None)


def run_file(path: Path) -> list[tuple[str, str]]:
    if path.stem in ELSEWHERE:
        return [(path.stem, f"not applicable: {ELSEWHERE[path.stem]}")]
    spec = importlib.util.spec_from_file_location(f"caiman_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        return [(path.stem, f"fail: {error}")]
    results = []
    for name in [name for name in dir(module) if name.startswith("test")]:
        try:
            if name in NOT_HERE:
                outcome = f"not applicable: {NOT_HERE[name]}"
            else:
                for arguments in arguments_of(getattr(module, name), module):
                    getattr(module, name)(**arguments)
                outcome = "pass"
        except Exception as error:  # noqa: BLE001 - every failure of a test is one line of the report
            where = traceback.extract_tb(error.__traceback__)[-1]
            text = " ".join(str(error).split())[:200]
            outcome = f"fail: {type(error).__name__} {text} ({Path(where.filename).name}:{where.lineno})"
        results.append((f"{path.stem}::{name}", outcome))
    return results


def main(source: str) -> int:
    tests = next((p for p in (Path(source) / "caiman" / "tests", Path(source)) if list(p.glob("test_*.py"))), None)
    if tests is None:
        print(f"there are no tests of CaImAn under {source}")
        return 2
    warnings.simplefilter("ignore")
    put_in_place()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CAIMAN_DATA"] = os.environ["CAIMAN_TEMP"] = folder
        (Path(folder) / "testdata").mkdir()
        for path in sorted(tests.glob("test_*.py")):
            for name, outcome in run_file(path):
                failed += outcome.startswith("fail")
                print(f"{name:60} {outcome}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
