"""Score the cells of simulated movies, and what finding them cost, beside what other tools reach.

    python benchmarks/accuracy.py [FOLDER] [--method extract] [--only NAME] [--seeds 3] [--output FILE.json]

Each movie (HDF5 with /truth) is extracted in a fresh process by ``gpucells extract`` with the preset of its recording
type and nothing else; CPU seconds and peak memory are those of the whole process. The table goes to the screen, to
FILE.json with every figure, and beside it to FILE.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py

import gpucells
from gpucells.io.truth_file import has_truth
from gpucells.postprocess.match import compare

HERE = Path(__file__).resolve().parent
COLUMNS = {
    "precision": "P",
    "recall": "R",
    "f1": "F1",
    "footprint_cosine": "footprint cosine",
    "trace_r_median": "r",
    "trace_r_p10": "r 10 %",
    "trace_r_all": "r all",
    "crosstalk": "cross-talk",
}


def main() -> int:
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        movies = _movies(options.folder, options.only, options.seeds, Path(folder))
        if not movies:
            print(f"no movie with /truth in {options.folder}", file=sys.stderr)
            return 1
        results = {}
        warmed: set[tuple[str, str]] = set()
        for movie in movies:
            print(f"{movie.stem} ...", file=sys.stderr, flush=True)
            results[movie.stem] = _run(movie, options, Path(folder), warmed)
    peers = json.loads((HERE / "peers_reported.json").read_text())
    table = render(results, peers["rows"], options.command or f"gpucells {options.method}")
    print(table)
    if options.output:
        _keep(options, results, table, peers["conditions"])
    return 0 if all("error" not in result for result in results.values()) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--method", default="extract")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="part of a file's name; repeatable")
    parser.add_argument("--seeds", type=int, default=0, help="add this many seeds of each of our own kinds of movie")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "accuracy.json")
    parser.add_argument("--no-warm-up", action="store_true", help="count the compilation of a first run, too")
    parser.add_argument("--keep", type=Path, help="folder to keep the results in")
    parser.add_argument(
        "--command", help="another command that writes a cells file; {movie}, {preset} and {output} are filled in"
    )
    return parser.parse_args()


def _movies(folder: Path, only: list[str], seeds: int, made: Path) -> list[Path]:
    movies = [path for path in sorted(folder.glob("*.h5")) if has_truth(path)] if folder.is_dir() else []
    for seed in range(seeds):
        for kind in ("two_photon", "one_photon"):
            path = made / f"own_{kind}_seed{seed}.h5"
            if not only or any(name in path.stem for name in only):
                gpucells.simulate_movie(kind, shape=(1500, 128, 128), seed=seed, path=path)
            movies.append(path)
    return [path for path in movies if not only or any(name in path.stem for name in only)]


def _run(movie: Path, options: argparse.Namespace, folder: Path, warmed: set[tuple[str, str]]) -> dict[str, Any]:
    with h5py.File(movie) as file:
        preset, dtype = str(file.attrs["imaging"]), str(file["movie"].dtype)
    output = (options.keep or folder) / f"{movie.stem}.cells.h5"
    output.parent.mkdir(parents=True, exist_ok=True)
    command = _command(options, movie, preset, output)
    if (preset, dtype) not in warmed and not options.no_warm_up:
        output.unlink(missing_ok=True)
        measure(command, folder)
        warmed.add((preset, dtype))
    output.unlink(missing_ok=True)
    cost = measure(command, folder)
    if "error" in cost:
        return cost
    scores = {which: compare(output, movie, which).as_dict(lists=True) for which in ("accepted", "all")}
    return cost | {"preset": preset} | scores


def _command(options: argparse.Namespace, movie: Path, preset: str, output: Path) -> list[str]:
    if options.command:
        filled = {"movie": str(movie), "preset": preset, "output": str(output)}
        return [part.format(**filled) for part in shlex.split(options.command)]
    verb = [sys.executable, "-m", "gpucells", "extract", str(movie), "--method", options.method]
    return [*verb, "--preset", preset, "-o", str(output), "--progress", "none"]


def measure(command: list[str], folder: Path) -> dict[str, Any]:
    """Return ``wall_s``, ``cpu_s`` and ``peak_bytes`` of a command, or the last lines of its ``error``."""
    cost_file = folder / "cost.json"
    launcher = [sys.executable, "-S", "-E", str(HERE / "measured_run.py"), str(cost_file)]
    done = subprocess.run([*launcher, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        return {"error": "\n".join(done.stderr.strip().splitlines()[-5:]), "exit_code": done.returncode}
    return dict(json.loads(cost_file.read_text()))


def render(results: dict[str, dict[str, Any]], peers: list[dict[str, Any]], name: str) -> str:
    """Return the table in Markdown: our accepted cells, all our cells, then the other tools, movie by movie."""
    head = ["movie", "tool", "found / truth", *COLUMNS.values(), "CPU s", "peak MB"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for movie, result in results.items():
        if "error" in result:
            lines.append(
                f"| {movie} | **{name}** | failed: {result['error'].splitlines()[-1:]} " + "|" * (len(head) - 2)
            )
            continue
        cost = {"cpu_s": result["cpu_s"], "peak_mb": result["peak_bytes"] / 1e6}
        lines.append(_line(movie, f"**{name}**", result["accepted"] | cost))
        if result["all"]["found"] != result["accepted"]["found"]:
            lines.append(_line("", "with the rejected", result["all"]))
        lines += [_line("", row["tool"], row) for row in peers if row["movie"] == movie]
    return "\n".join(lines)


def _line(movie: str, tool: str, row: dict[str, Any]) -> str:
    cells = [movie, tool, f"{row['found']}/{row['truth']}"]
    cells += ["" if row.get(column) is None else f"{row[column]:.3f}" for column in COLUMNS]
    cells += ["" if row.get("cpu_s") is None else f"{row['cpu_s']:.1f}"]
    cells += ["" if row.get("peak_mb") is None else f"{row['peak_mb']:.0f}"]
    return "| " + " | ".join(cells) + " |"


def _keep(options: argparse.Namespace, results: dict[str, Any], table: str, conditions: str) -> None:
    about = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "gpucells": gpucells.__version__,
        "method": options.command or options.method,
        "settings": "preset alone",
        "python": platform.python_version(),
        "machine": f"{_processor()}, {os.cpu_count()} cores",
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(about | {"movies": results}, indent=1) + "\n")
    facts = ", ".join(f"{name} {value}" for name, value in about.items())
    options.output.with_suffix(".md").write_text(f"# Accuracy\n\n{facts}\n\n{table}\n\nOther tools: {conditions}\n")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    sys.exit(main())
