"""Write the tables of the pages from the result files, so that no figure there is typed.

    python benchmarks/readme.py            # after benchmarks/accuracy.py, benchmarks/gpu.py, benchmarks/passes.py
    python benchmarks/readme.py --check    # exit 1 where the pages and the files disagree

A table stands between ``<!-- table NAME -->`` and ``<!-- end -->``. What was not measured says so.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
DOCS = HERE.parent / "docs"
PAGES = (
    HERE.parent / "README.md",
    HERE / "README.md",
    *sorted(page for page in DOCS.rglob("*.md") if "<!-- table " in page.read_text(encoding="utf-8")),
)
TABLE = re.compile(r"(<!-- table (?P<name>\w+) -->\n)(?P<text>.*?)(<!-- end -->)", re.DOTALL)
NOT_MEASURED = "not measured: no card was at hand"
MOVIES = {
    "sim_2p_sparse": "two-photon, sparse, {truth} cells",
    "sim_2p_crowded": "two-photon, crowded, {truth} cells",
    "sim_2p_rings": "two-photon, ring-shaped cells",
    "sim_1p_clean": "one-photon, no background",
    "sim_1p_background": "one-photon, fluctuating background",
    "sim_1p_real_background": "one-photon, real background",
    "sim_1p_full": "one-photon, neuropil, vessels, defocus",
}
PEERS = {"CaImAn": "CaImAn 1.12", "suite2p": "suite2p 1.1"}
SIZE = "512x512x10000"


def measured_methods() -> dict[str, dict[str, Any]]:
    """Movies by method: the file that benchmarks/accuracy.py writes."""
    kept = json.loads((RESULTS / "accuracy.json").read_text())["methods"]
    return {method: entry["movies"] for method, entry in kept.items()}


def accuracy(method: str = "extract", only: str = "sim_") -> str:
    """F1, r, r of all and CPU seconds of each movie, beside the other tools; the best F1 and r of all are bold."""
    found = measured_methods()[method]
    peers = json.loads((HERE / "peers_reported.json").read_text())["rows"]
    lines = [f"| movie | gpucells: F1, r, r of all, s | {' | '.join(PEERS.values())} |", "|---|---|---|---|"]
    for movie, label in MOVIES.items():
        if movie not in found or not movie.startswith(only):
            continue
        ours = found[movie]["accepted"] | {"cpu_s": found[movie]["cpu_s"]}
        theirs = [next(row for row in peers if (row["movie"], row["tool"]) == (movie, tool)) for tool in PEERS]
        rows = [ours, *theirs]
        best = {key: max(_three(row[key]) for row in rows) for key in ("f1", "trace_r_all")}
        cells = [_scores(row, best, "{:.1f}" if row is ours or row["cpu_s"] < 10 else "{:.0f}") for row in rows]
        lines.append(f"| {label.format(truth=ours['truth'])} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _three(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def _scores(row: dict[str, Any], best: dict[str, str], seconds: str) -> str:
    figures = []
    for key in ("f1", "trace_r_median", "trace_r_all"):
        text = _three(row[key])
        figures.append(f"**{text}**" if text == best.get(key) else text)
    return ", ".join([*figures, seconds.format(row["cpu_s"])])


def devices() -> dict[str, dict[str, dict[str, Any]]]:
    """Entries of every device that was measured, by device and operation: the files that ``make gpu`` writes."""
    found = {}
    for path in sorted(RESULTS.glob("*.json")):
        result = json.loads(path.read_text())
        if "machine" in result and "benchmarks" in result:
            entries = {entry["extra_info"]["operation"]: entry for entry in result["benchmarks"]}
            found[str(result["machine"]["description"])] = entries
    return found


def operations() -> str:
    """Each operation's least time, and what it took on the devices that were measured."""
    from tables import floor_rows, seconds

    measured = devices()
    names = list(measured) or ["a card"]
    lines = [f"| operation | GB | floor | {' | '.join(names)} |", "|---|---|---|" + "---|" * len(names)]
    for row in floor_rows(f"{SIZE}x500"):
        took = []
        for name in names:
            entry = measured.get(name, {}).get(row["operation"])
            if entry is None:
                took.append(NOT_MEASURED)
            else:
                took.append(
                    f"{seconds(entry['stats']['min'])}, {entry['extra_info']['share_of_floor']:.0%} of its floor"
                )
        lines.append(
            f"| {row['operation']} | {row['n_bytes'] / 1e9:.2f} | {seconds(row['floor_s'])} | {' | '.join(took)} |"
        )
    return "\n".join(lines)


def end_to_end() -> str:
    """EXTRACT from a file to cells on each device that was measured."""
    from tables import seconds

    measured = devices()
    lines = ["| movie | device | time | F1 |", "|---|---|---|---|"]
    for n_cells in (500, 2000):
        name = f"EXTRACT, {SIZE}x{n_cells}"
        some = {device: entries[name] for device, entries in measured.items() if name in entries}
        label = f"512 x 512 x 10,000, {n_cells:,} cells"
        for device, entry in some.items():
            time = seconds(entry["stats"]["min"])
            lines.append(f"| {label} | {device} | {time} | {_three(entry['extra_info']['scores']['f1'])} |")
        if not some:
            lines.append(f"| {label} | a card | {NOT_MEASURED} | |")
    return "\n".join(lines)


def passes() -> str:
    """What a run reads and writes, counted, and the least time that this takes."""
    from passes import table

    return table(json.loads((RESULTS / "passes.json").read_text()))


def accuracy_cnmf() -> str:
    """The same for CNMF, whose movies are two-photon ones."""
    return accuracy("cnmf", "sim_2p")


def accuracy_cnmfe() -> str:
    """The same for CNMF-E, whose movies are one-photon ones."""
    return accuracy("cnmfe", "sim_1p")


def recommended() -> str:
    """Two-photon movies by EXTRACT and one-photon ones by CNMF-E: what docs/guides/choosing.md begins with."""
    return "\n".join([accuracy("extract", "sim_2p"), *accuracy("cnmfe", "sim_1p").splitlines()[2:]])


def methods() -> str:
    """F1, r of all and CPU seconds of every method on every movie."""
    found = measured_methods()
    lines = [f"| movie | {' | '.join(found)} |", "|---|" + "---|" * len(found)]
    for movie, label in MOVIES.items():
        rows = [movies.get(movie) for movies in found.values()]
        truth = next(row for row in rows if row)["accepted"]["truth"]
        lines.append(f"| {label.format(truth=truth)} | {' | '.join(map(_in_short, rows))} |")
    return "\n".join(lines)


def _in_short(row: dict[str, Any] | None) -> str:
    if row is None or "error" in row:
        return ""
    scores = row["accepted"]
    return f"{_three(scores['f1'])}, {_three(scores['trace_r_all'])}, {row['cpu_s']:.1f}"


def in_full(method: str) -> str:
    """Every score of one method on the simulated movies."""
    lines = ["| movie | found / truth | P | R | F1 | footprint cosine | r | r all | CPU s |", "|---|" + "---|" * 8]
    for movie, row in measured_methods()[method].items():
        scores = row["accepted"]
        if "f1" not in scores:
            continue
        keys = ("precision", "recall", "f1", "footprint_cosine", "trace_r_median", "trace_r_all")
        figures = " | ".join(f"{scores[key]:.3f}" for key in keys)
        lines.append(f"| {movie} | {scores['found']}/{scores['truth']} | {figures} | {row['cpu_s']:.1f} |")
    return "\n".join(lines)


def starts(method: str) -> str:
    """What a method reaches from scratch and from PCA-ICA's cells, and the CPU seconds of both."""
    rows = [row for row in json.loads((RESULTS / "starts.json").read_text())["rows"] if row["method"] == method]
    head = "| movie | F1 from scratch, started | r | r all | CPU s from scratch | started | PCA-ICA |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    for row in rows:
        pairs = [
            f"{row['scratch'][key]:.3f}, {row['started'][key]:.3f}" for key in ("f1", "trace_r_median", "trace_r_all")
        ]
        lines.append(f"| {row['movie']} | {' | '.join(pairs)} | {_times(row)} |")
    total = {key: sum(row[key] for row in rows) for key in ("scratch_cpu_s", "started_cpu_s", "start_cpu_s")}
    return "\n".join([*lines, f"| all |  |  |  | {_times(total)} |"])


def sklearn() -> str:
    """The estimators beside scikit-learn's: the file that benchmarks/sklearn_estimators.py writes."""
    return (RESULTS / "sklearn.md").read_text(encoding="utf-8").strip()


def formats() -> str:
    """What every format takes, and whether it comes back: the file that benchmarks/formats.py writes."""
    return (RESULTS / "formats.md").read_text(encoding="utf-8").strip()


def _times(row: dict[str, float]) -> str:
    return " | ".join(f"{row[key]:.1f}" for key in ("scratch_cpu_s", "started_cpu_s", "start_cpu_s"))


TABLES = {
    "accuracy_pcaica": partial(in_full, "pcaica"),
    "accuracy_cellmax": partial(in_full, "cellmax"),
    "starts_extract": partial(starts, "extract"),
    "starts_cellmax": partial(starts, "cellmax"),
    "accuracy": accuracy,
    "accuracy_cnmf": accuracy_cnmf,
    "accuracy_cnmfe": accuracy_cnmfe,
    "recommended": recommended,
    "methods": methods,
    "operations": operations,
    "end_to_end": end_to_end,
    "passes": passes,
    "sklearn": sklearn,
    "formats": formats,
}


def written(page: str) -> str:
    """Return a page with its tables as the files have them."""
    return TABLE.sub(lambda match: f"{match[1]}{TABLES[match['name']]()}\n{match[4]}", page)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    wrong = []
    for path in PAGES:
        before = path.read_text(encoding="utf-8")
        after = written(before)
        if options.check and after != before:
            wrong.append(f"{path} and {RESULTS} disagree: python benchmarks/readme.py")
        elif not options.check:
            path.write_text(after, encoding="utf-8")
    print("\n".join(wrong), end="", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
