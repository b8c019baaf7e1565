"""Everything that a machine with a GPU can tell, in one call below eight minutes: ``make gpu``.

1. the tests marked ``gpu``: every kernel against its CPU body, the pipeline on both devices; evidence of it goes to
   ``tests/agreement/gpu_evidence.json``
2. every operation against its floor, and EXTRACT from a file to cells with 500 and with 2,000 cells, at
   512 x 512 x 10,000; the figures go to ``benchmarks/results/DEVICE.json``

Runs with the Python that calls it and needs numpy, scipy, h5py, numba, CuPy, pytest, pytest-benchmark and hypothesis;
what else the engine imports is taken from the folder ``.wheels`` where it is not installed (docs/gpu_evidence.md).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
#: What the engine imports on this path and a machine for numerics may lack: module and package.
NEEDED = {"pydantic": "pydantic", "array_api_compat": "array-api-compat", "pynvml": "nvidia-ml-py"}
LIMIT_S = 8 * 60
SIZE = "512x512x10000"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--size", default=SIZE, help="height x width x frames of the benchmarks")
    parser.add_argument("--out", type=Path, help="a folder that gets a copy of what is written")
    options = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), *_missing(Path(folder)), *sys.path[1:]])
        failed = []
        results = {}
        for name, command in _steps(options, Path(folder)):
            left = LIMIT_S - (time.perf_counter() - start)
            print(f"\n=== {name} ({left:.0f} s left)", flush=True)
            try:
                code = subprocess.run(command, cwd=REPOSITORY, timeout=max(left, 1), check=False).returncode
            except subprocess.TimeoutExpired:
                code = -1
            if code:
                failed.append(name)
            written = Path(folder) / f"{name}.json"
            if written.exists():
                results[name] = json.loads(written.read_text())
        for path in _keep(results):
            print(f"wrote {path.relative_to(REPOSITORY)}")
        if options.out:
            _copy(options.out)
    print(f"{time.perf_counter() - start:.0f} s; " + (f"failed: {', '.join(failed)}" if failed else "all passed"))
    return 1 if failed else 0


def _missing(folder: Path) -> list[str]:
    """Install what is missing from ``.wheels`` into a folder of its own; returns that folder, or nothing."""
    packages = [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]
    if not packages:
        return []
    target = folder / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--target", str(target)]
    subprocess.run([*command, "--find-links", str(REPOSITORY / ".wheels"), *packages], check=True)
    return [str(target)]


def _steps(options: argparse.Namespace, folder: Path) -> list[tuple[str, list[str]]]:
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    # Only these files: others need packages that such a machine need not have.
    tests = [str(path) for path in sorted((REPOSITORY / "tests").rglob("test_*.py")) if _has_gpu_tests(path)]
    bench = [*pytest, "-o", "python_files=*.py", "-o", "pythonpath=tests benchmarks", "--benchmark-enable"]
    bench += ["--device", options.device]
    steps = [("tests", [*pytest, "-m", "gpu", "--record-evidence", *tests])]
    for name, file, cells in (("ops", "ops.py", 500), ("extract_500", "end_to_end.py", 500),
                              ("extract_2000", "end_to_end.py", 2000)):  # fmt: skip
        where = [f"benchmarks/{file}", "--size", f"{options.size}x{cells}", f"--benchmark-json={folder / name}.json"]
        steps.append((name, [*bench, *where]))
    return steps


def _has_gpu_tests(path: Path) -> bool:
    text = path.read_text(encoding="utf-8")
    return bool(re.search(r"def test_\w+\([^)]*\bcuda\b|mark\.gpu", text)) and path.name != "test_gpu_evidence.py"


def _keep(results: dict[str, dict[str, object]]) -> list[Path]:
    entries = [entry for result in results.values() for entry in result.get("benchmarks", [])]  # type: ignore[attr-defined]
    if not entries:
        return []
    for entry in entries:
        entry["stats"].pop("data", None)
    machine = entries[0]["extra_info"]["machine"]
    name = re.sub(r"\W+", "_", machine["description"]).strip("_").lower()
    path = REPOSITORY / "benchmarks" / "results" / f"{name}.json"
    path.write_text(json.dumps({"machine": machine, "benchmarks": entries}, indent=1) + "\n")
    return [path]


def _copy(target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    evidence = REPOSITORY / "tests" / "agreement" / "gpu_evidence.json"
    for path in [evidence, *(REPOSITORY / "benchmarks" / "results").glob("*.json")]:
        if path.exists():
            (target / path.name).write_text(path.read_text())


if __name__ == "__main__":
    sys.exit(main())
