"""Traces of true footprints: every kind of ROI beside the oracle, on simulated movies.

    python benchmarks/roi.py [FOLDER or MOVIES ...] [--unknown SHARE] [--json FILE]

For each movie and kind: median correlation with the true traces and its mean over the cells that the scores count; the
oracle (``benchmarks/oracle.py``, kind ``images``) less these; cross-talk (the neighbours' share of the weight where a
trace is regressed on the true trace and those of its neighbours); CPU seconds. ``--unknown`` withholds a share of the
footprints, drawn by a fixed seed: what a robust loss is for. The oracle is then left out.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from oracle import correlation, counted, oracle_traces

import gpucells
from gpucells.io.truth_file import has_truth, load_truth
from gpucells.postprocess.match import compare

KINDS: dict[str, dict[str, Any]] = {
    "robust": {"traces": "robust"},
    "least_squares": {"traces": "least_squares"},
    "weighted_mean": {"traces": "weighted_mean"},
    "mean": {"traces": "mean"},
    "mean, neuropil x .7": {"traces": "mean", "neuropil_coefficient": 0.7},
    "mean, no neuropil": {"traces": "mean", "neuropil": False},
}
COLUMNS = ("movie", "kind", "cells", "r", "r all", "oracle - r", "oracle - r all", "cross-talk", "CPU s")
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path, default=[DATA])
    parser.add_argument("--unknown", type=float, default=0.0, metavar="SHARE")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    files = [file for path in options.paths for file in (sorted(path.glob("*.h5")) if path.is_dir() else [path])]
    rows: list[dict[str, Any]] = []
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS))
    for file in filter(has_truth, files):
        for row in measure(file, options.unknown):
            rows.append(row)
            print("| " + " | ".join(_shown(row[name]) for name in COLUMNS) + " |", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


def measure(path: Path, unknown: float = 0.0) -> list[dict[str, Any]]:
    truth, source = load_truth(path), gpucells.open_movie(path)
    counts = counted(truth) if truth.n_cells else np.zeros(0, bool)
    if not counts.any():
        return []
    preset = imaging_of(path)
    known = np.sort(np.random.default_rng(0).permutation(truth.n_cells)[: round((1 - unknown) * truth.n_cells)])
    best = None if unknown else oracle_traces(source.read(slice(0, source.n_frames)), truth).figures()
    rows = []
    for kind, settings in KINDS.items():
        begun = time.process_time()
        cells = gpucells.apply_footprints(path, truth.footprints[known], method="roi", settings=settings, preset=preset)
        seconds = time.process_time() - begun
        r = correlation(cells.traces, truth.traces[known])[counts[known]]
        row: dict[str, Any] = {"movie": path.stem, "kind": kind, "cells": len(r), "r": float(np.median(r))}
        row |= {"r all": float(r.mean()), "cross-talk": compare(cells, path).as_dict()["crosstalk"], "CPU s": seconds}
        row |= {"oracle - r": None if best is None else best[0] - row["r"]}
        row |= {"oracle - r all": None if best is None else best[2] - row["r all"]}
        rows.append(row)
    return rows


def imaging_of(path: Path) -> Any:
    import h5py

    with h5py.File(path, "r") as file:
        kind = file.attrs.get("imaging", "two_photon")
    return kind.decode() if isinstance(kind, bytes) else kind


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return (
        f"{value:.4f}"
        if isinstance(value, float) and abs(value) < 1
        else f"{value:.1f}"
        if isinstance(value, float)
        else str(value)
    )


if __name__ == "__main__":
    sys.exit(main())
