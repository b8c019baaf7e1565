"""Compare methods that start from another's cells with the same methods from scratch: accuracy, and CPU time saved.

    python benchmarks/starts.py [FOLDER] [--from NAME] [--method NAME] [--only NAME] [--output FILE.json]

Every movie (HDF5 with the attribute ``imaging`` and /truth) is extracted with the preset of its recording type and
nothing else, all in one process, so that the CPU seconds of a row compare: they are those of ``extract_cells``, of all
threads, without imports, each the least of ``--repeats`` runs that take turns; the first movie of each kind and
sample type is run once more before, so that compilation is not counted. The table goes to the screen; a whole
folder's, or with --output, also to FILE.json and beside it to FILE.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import h5py
from accuracy import machine_and_date

import gpucells
from gpucells.io.truth_file import has_truth
from gpucells.methods.registry import METHOD_NAMES
from gpucells.model.cells import Cells
from gpucells.postprocess.match import compare

HERE = Path(__file__).resolve().parent
SCORES = ("f1", "trace_r_median", "trace_r_all")
HEAD = (
    "movie", "method", "F1 from scratch", "started", "r from scratch", "started", "r all from scratch", "started",
    "CPU s from scratch", "started", "of the start", "saved, start given", "saved, start counted",
)  # fmt: skip


def main() -> int:
    options = _options()
    movies = [path for path in sorted(options.folder.glob("*.h5")) if _imaging(path) and has_truth(path)]
    movies = [path for path in movies if not options.only or any(name in path.stem for name in options.only)]
    if not movies:
        print(f"no movie in {options.folder}", file=sys.stderr)
        return 1
    methods = options.method or ["extract", "cellmax"]
    rows: list[dict[str, Any]] = []
    warmed: set[tuple[str, str]] = set()
    for movie in movies:
        kind = _imaging(movie), _dtype(movie)
        if kind not in warmed:
            _measure(movie, options.start, methods, 1)
            warmed.add(kind)
        print(f"{movie.stem} ...", file=sys.stderr, flush=True)
        rows += _measure(movie, options.start, methods, options.repeats)
    print(render(rows))
    output = options.output
    if output is None and not options.only and not options.method and options.start == "pcaica":
        output = HERE / "results" / "starts.json"
    if output is not None:
        _keep(output, rows, options.start)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--from", dest="start", default="pcaica", choices=METHOD_NAMES, help="whose cells are given")
    parser.add_argument("--method", action="append", choices=METHOD_NAMES, help="repeatable; extract and cellmax")
    parser.add_argument("--only", action="append", metavar="NAME", help="part of a file's name; repeatable")
    parser.add_argument("--repeats", type=int, default=2, help="runs of each, of which the quickest counts")
    parser.add_argument("--output", type=Path, metavar="FILE.json")
    return parser.parse_args()


def _imaging(movie: Path) -> str:
    with h5py.File(movie) as file:
        return str(file.attrs.get("imaging", ""))


def _dtype(movie: Path) -> str:
    with h5py.File(movie) as file:
        return str(file["movie"].dtype)


def _measure(movie: Path, start: str, methods: list[str], repeats: int) -> list[dict[str, Any]]:
    """Run start, methods from scratch, and methods from the start, in turns."""
    cost: dict[tuple[str, bool], float] = {}
    result: dict[tuple[str, bool], Cells] = {}
    for _ in range(repeats):
        for name, started in [(start, False), *((name, started) for name in methods for started in (False, True))]:
            begin = time.process_time()
            result[name, started] = gpucells.extract_cells(
                movie, name, preset=_imaging(movie), init=result[start, False] if started else None
            )
            cost[name, started] = min(time.process_time() - begin, cost.get((name, started), float("inf")))
    given = compare(result[start, False], movie).as_dict()
    return [
        {
            "movie": movie.stem, "method": name, "start_cpu_s": cost[start, False], "start": given,
            "scratch_cpu_s": cost[name, False], "scratch": compare(result[name, False], movie).as_dict(),
            "started_cpu_s": cost[name, True], "started": compare(result[name, True], movie).as_dict(),
        }
        for name in methods
    ]  # fmt: skip


def render(rows: list[dict[str, Any]]) -> str:
    """Return the table in Markdown."""
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    for row in rows:
        scores = [f"{row[which][score]:.3f}" for score in SCORES for which in ("scratch", "started")]
        saved = row["scratch_cpu_s"] - row["started_cpu_s"]
        seconds = (row["scratch_cpu_s"], row["started_cpu_s"], row["start_cpu_s"], saved, saved - row["start_cpu_s"])
        lines.append("| " + " | ".join([row["movie"], row["method"], *scores, *(f"{s:.1f}" for s in seconds)]) + " |")
    return "\n".join(lines)


def _keep(output: Path, rows: list[dict[str, Any]], start: str) -> None:
    about = machine_and_date() | {"start": start}
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")
    facts = ", ".join(f"{name} {value}" for name, value in about.items())
    output.with_suffix(".md").write_text(f"# Starting from another method\n\n{facts}\n\n{render(rows)}\n")


if __name__ == "__main__":
    sys.exit(main())
