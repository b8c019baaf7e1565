"""Score the cells of movies by every method, and what finding them cost, beside what other tools reach.

    python benchmarks/accuracy.py [FOLDER] [--method NAME] [--only NAME] [--seeds 3] [--output FILE.json]

Each movie (HDF5 with the attribute ``imaging``) is extracted in a fresh process by ``gpucells extract`` with the preset
of its recording type and nothing else; CPU seconds and peak memory are those of the whole process. ROI, which finds no
cells, has those that EXTRACT accepted. A movie with /truth is scored; of another the cells are counted. The table goes
to the screen; a whole folder's, or with --output, also to FILE.json with every figure, in place of what the file had
of these methods, and beside it to FILE.md.
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
from gpucells.methods.registry import METHOD_NAMES
from gpucells.postprocess.match import compare

FINDER = "extract"  # whose accepted cells ROI is given
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
    methods = METHOD_NAMES if not options.method else tuple(options.method)
    if options.command:
        methods = (options.command,)
    with tempfile.TemporaryDirectory() as folder:
        movies = _movies(options.folder, options.only, options.seeds, Path(folder))
        if not movies:
            print(f"no movie in {options.folder}", file=sys.stderr)
            return 1
        results: dict[str, dict[str, Any]] = {}
        for method in methods:
            warmed: set[tuple[str, str]] = set()
            for movie in movies:
                print(f"{method}: {movie.stem} ...", file=sys.stderr, flush=True)
                results.setdefault(method, {})[movie.stem] = _run(movie, method, options, Path(folder), warmed)
    peers = json.loads((HERE / "peers_reported.json").read_text())
    print(render(results, peers["rows"]))
    output = options.output
    if output is None and not (options.only or options.seeds or options.command):
        output = HERE / "results" / "accuracy.json"
    if output is not None:
        _keep(output, results, peers)
    return 0 if all("error" not in result for movies in results.values() for result in movies.values()) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument(
        "--method", action="append", default=[], choices=METHOD_NAMES, help="repeatable; all by default"
    )
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="part of a file's name; repeatable")
    parser.add_argument("--seeds", type=int, default=0, help="add this many seeds of each of our own kinds of movie")
    parser.add_argument("--output", type=Path, metavar="FILE.json")
    parser.add_argument("--no-warm-up", action="store_true", help="count the compilation of a first run, too")
    parser.add_argument("--keep", type=Path, help="folder to keep the results in")
    parser.add_argument(
        "--command", help="another command that writes a cells file; {movie}, {preset} and {output} are filled in"
    )
    return parser.parse_args()


def _movies(folder: Path, only: list[str], seeds: int, made: Path) -> list[Path]:
    movies = [path for path in sorted(folder.glob("*.h5")) if _imaging(path)] if folder.is_dir() else []
    for seed in range(seeds):
        for kind in ("two_photon", "one_photon"):
            path = made / f"own_{kind}_seed{seed}.h5"
            if not only or any(name in path.stem for name in only):
                gpucells.simulate_movie(kind, shape=(1500, 128, 128), seed=seed, path=path)
            movies.append(path)
    return [path for path in movies if not only or any(name in path.stem for name in only)]


def _imaging(movie: Path) -> str:
    with h5py.File(movie) as file:
        return str(file.attrs.get("imaging", ""))


def _run(
    movie: Path, method: str, options: argparse.Namespace, folder: Path, warmed: set[tuple[str, str]]
) -> dict[str, Any]:
    with h5py.File(movie) as file:
        dtype = str(file["movie"].dtype)
    output = _target(movie, method, options, folder)
    output.parent.mkdir(parents=True, exist_ok=True)
    known = _target(movie, FINDER, options, folder)
    if method == "roi" and not options.command and not known.exists():
        measure(_command(options, movie, FINDER, known), folder)
    command = _command(options, movie, method, output, known)
    preset = _imaging(movie)
    if (preset, dtype) not in warmed and not options.no_warm_up:
        output.unlink(missing_ok=True)
        measure(command, folder)
        warmed.add((preset, dtype))
    output.unlink(missing_ok=True)
    cost = measure(command, folder)
    if "error" in cost:
        return cost
    if has_truth(movie):
        scores = {which: compare(output, movie, which).as_dict() for which in ("accepted", "all")}
    else:
        accepted = gpucells.load_cells(output).accepted
        scores = {"accepted": {"found": int(accepted.sum())}, "all": {"found": len(accepted)}}
    return cost | {"preset": preset} | scores


def _target(movie: Path, method: str, options: argparse.Namespace, folder: Path) -> Path:
    return (options.keep or folder) / f"{movie.stem}.{'cells' if options.command else method}.h5"


def _command(
    options: argparse.Namespace, movie: Path, method: str, output: Path, known: Path | None = None
) -> list[str]:
    preset = _imaging(movie)
    if options.command:
        filled = {"movie": str(movie), "preset": preset, "output": str(output)}
        return [part.format(**filled) for part in shlex.split(options.command)]
    verb = [sys.executable, "-m", "gpucells", "extract", str(movie), "--method", method, "--preset", preset]
    given = ["--footprints", str(known)] if method == "roi" else []
    return [*verb, *given, "-o", str(output), "--progress", "none"]


def measure(command: list[str], folder: Path) -> dict[str, Any]:
    """Return ``wall_s``, ``cpu_s`` and ``peak_bytes`` of a command, or the last lines of its ``error``."""
    cost_file = folder / "cost.json"
    launcher = [sys.executable, "-S", "-E", str(HERE / "measured_run.py"), str(cost_file)]
    done = subprocess.run([*launcher, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        return {"error": "\n".join(done.stderr.strip().splitlines()[-5:]), "exit_code": done.returncode}
    return dict(json.loads(cost_file.read_text()))


def render(results: dict[str, dict[str, Any]], peers: list[dict[str, Any]]) -> str:
    """Return the table in Markdown, movie by movie: each method's accepted cells, then the other tools."""
    head = ["movie", "tool", "found / truth", *COLUMNS.values(), "CPU s", "peak MB"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for movie in dict.fromkeys(name for movies in results.values() for name in movies):
        label = movie
        for method, movies in results.items():
            result = movies.get(movie)
            if result is None:
                continue
            if "error" in result:
                why = result["error"].splitlines()[-1:]
                lines.append(f"| {label} | **{method}** | failed: {why} " + "|" * (len(head) - 2))
            else:
                cost = {"cpu_s": result["cpu_s"], "peak_mb": result["peak_bytes"] / 1e6}
                lines.append(_line(label, f"**{method}**", result["accepted"] | cost))
            label = ""
        lines += [_line("", row["tool"], row) for row in peers if row["movie"] == movie]
    return "\n".join(lines)


def _line(movie: str, tool: str, row: dict[str, Any]) -> str:
    cells = [movie, tool, f"{row['found']}/{row.get('truth', '')}".removesuffix("/")]
    cells += ["" if row.get(column) is None else f"{row[column]:.3f}" for column in COLUMNS]
    cells += ["" if row.get("cpu_s") is None else f"{row['cpu_s']:.1f}"]
    cells += ["" if row.get("peak_mb") is None else f"{row['peak_mb']:.0f}"]
    return "| " + " | ".join(cells) + " |"


def _keep(output: Path, results: dict[str, dict[str, Any]], peers: dict[str, Any]) -> None:
    about = machine_and_date()
    methods = json.loads(output.read_text())["methods"] if output.exists() else {}
    methods |= {method: about | {"movies": movies} for method, movies in results.items()}
    methods = {name: methods[name] for name in sorted(methods, key=[*METHOD_NAMES, *methods].index)}
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({"methods": methods}, indent=1) + "\n")
    table = render({method: kept["movies"] for method, kept in methods.items()}, peers["rows"])
    facts = "\n".join(
        f"- {method}: " + ", ".join(f"{name} {value}" for name, value in kept.items() if name != "movies")
        for method, kept in methods.items()
    )
    output.with_suffix(".md").write_text(f"# Accuracy\n\n{facts}\n\n{table}\n\nOther tools: {peers['conditions']}\n")


def machine_and_date() -> dict[str, str]:
    """Return what figures were measured with."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "gpucells": gpucells.__version__,
        "settings": "preset alone",
        "python": platform.python_version(),
        "machine": f"{_processor()}, {os.cpu_count()} cores",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    sys.exit(main())
