"""Drop-ins for EXTRACT's, CellSort's and CIAtah's scripts beside our own call, on movies with known truth.

    python benchmarks/drop_ins.py [--data FOLDER] [--json FILE] [--pages FOLDER] [--only NAME]

EXTRACT and CIAtah: ``sim_2p_sparse`` and ``sim_1p_clean`` of the folder, presets alone; a drop-in and the direct call
should give the same figures, as they are the same method. CellSort: two simulated movies of 128 x 128 x 2000 with 40
cells; its original's figures on them are of ``peers/cellsort_octave.py``. ``--only`` runs one of the three. ``--pages``
puts the tables into the pages of that folder.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import h5py
import numpy as np

import gpucells
from gpucells.compat.ciatah import model_extract_signals_from_movie
from gpucells.compat.extract import extractor, get_defaults
from gpucells.io.truth_file import load_truth
from gpucells.postprocess import pairing
from gpucells.postprocess.match import score_cells

MOVIES = {"sim_2p_sparse": "two_photon", "sim_1p_clean": "one_photon"}
CELLSORT_MOVIES = ("two_photon", "one_photon")
HERE = Path(__file__).resolve().parent


def scored(images: Any, traces: Any, truth: Any, least_r: float = pairing.MIN_TRACE_R) -> tuple[float, float]:
    """Return F1 and the median trace correlation of ``(n, height, width)`` images, of pairs that reach ``least_r``."""
    known = {name: getattr(truth, name) for name in ("at_border", "snr", "max_overlap")}
    flat = np.maximum(images, 0).reshape(len(images), -1)
    with mock.patch.object(pairing, "MIN_TRACE_R", least_r):
        score = score_cells(flat, traces, truth.footprints, truth.traces, truth.image_shape, **known)
    return score.f1, float(np.median(score.pair_trace_r)) if len(score.pair_trace_r) else np.nan


def ours(movie: Any, method: str, preset: str, truth: Any) -> tuple[float, float]:
    cells = gpucells.extract_cells(movie, method, preset=preset, device="cpu").accepted_only()
    return scored(cells.images(), cells.traces, truth)


def extract_rows(data: Path) -> list[dict[str, Any]]:
    rows = []
    for name, preset in MOVIES.items():
        path = data / f"{name}.h5"
        truth, movie = load_truth(path), gpucells.open_movie(path).read()
        config = get_defaults([])
        config.use_gpu = False
        output = extractor(np.moveaxis(movie, 0, 2), config, preset=preset)
        found = scored(np.moveaxis(output.spatial_weights, 2, 0), output.temporal_weights.T, truth)
        rows.append({"movie": name, "drop-in": found, "direct": ours(movie, "extract", preset, truth)})
    return rows


def ciatah_rows(data: Path) -> list[dict[str, Any]]:
    rows = []
    for name, preset in MOVIES.items():
        path = data / f"{name}.h5"
        truth, movie = load_truth(path), gpucells.open_movie(path).read()
        with tempfile.TemporaryDirectory() as top:
            folder = Path(top) / "2014_04_01_p203_m19_check01"
            folder.mkdir()
            with h5py.File(folder / "concat.h5", "w") as file:
                file["1"] = movie.transpose(0, 2, 1)
            methods = ["CELLMax", "PCAICA", "CNMF", "CNMFE", "EXTRACT"]
            for row in model_extract_signals_from_movie(
                folder, methods, view_results=False, run={"preset": preset, "device": "cpu"}
            ):
                read = gpucells.load_cells(row.files[0])
                direct = ours(movie, read.method, preset, truth)
                rows.append({"movie": f"{name}, {row.method}", "drop-in": scored(read.images(), read.traces, truth),
                             "direct": direct})  # fmt: skip
    return rows


def cellsort_movie(preset: str) -> tuple[Any, Any]:
    """Return a movie and its truth."""
    made = gpucells.simulate_movie(preset, shape=(2000, 128, 128), n_cells=40, seed=1, frame_rate_hz=10.0)
    return made.movie, made.truth


def cellsort_scores(segments: Any, signals: Any, sums: Any, truth: Any) -> dict[str, tuple[float, float]]:
    """Score segments with the components' signals, and with ApplyFilter's sums."""
    return {"components": scored(segments, signals, truth), "sums": scored(segments, sums, truth),
            "sums, no cut": scored(segments, sums, truth, least_r=-1.0)}  # fmt: skip


def cellsort_row(name: str, movie: Any, truth: Any, mu: float) -> dict[str, Any]:
    """Run our drop-in as a script of CellSort's would."""
    from gpucells.compat import cellsort

    wall, cpu = time.perf_counter(), time.process_time()
    signals, images, values, _, mean, _ = cellsort.cellsort_pca(movie, [], 120)
    found, filters, _, rounds = cellsort.cellsort_ica(signals, images, values, [], mu, 80, [], 1e-6, 500)
    segments, label, _ = cellsort.cellsort_segmentation(filters, 2, 2, 20)
    sums = cellsort.cellsort_apply_filter(movie, segments, [], mean, 1)
    took = {"s": round(time.perf_counter() - wall, 1), "CPU s": round(time.process_time() - cpu, 1)}
    row = {"movie": name} | took | {"rounds": rounds, "segments": len(segments)}
    return row | cellsort_scores(segments, found[label - 1], sums, truth)


def cellsort_rows() -> list[dict[str, Any]]:
    originals = json.loads((HERE / "peers_reported.json").read_text(encoding="utf-8"))["cellsort"]
    rows = []
    for preset, original in zip(CELLSORT_MOVIES, originals, strict=True):
        movie, truth = cellsort_movie(preset)
        rows += [cellsort_row(f"{preset}, mu {mu}", movie, truth, mu) for mu in (0.1, 0.5, 0.9)]
        rows.append({name: tuple(value) if isinstance(value, list) else value for name, value in original.items()})
        direct = dict.fromkeys(rows[-1]) | {"movie": f"{preset}, our `pcaica`"}
        rows.append(direct | {"components": ours(movie, "pcaica", preset, truth)})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    def shown(value: Any) -> str:
        return f"{value[0]:.3f}, {value[1]:.3f}" if isinstance(value, tuple) else str("" if value is None else value)

    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    lines += ["| " + " | ".join(shown(value) for value in row.values()) + " |" for row in rows]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--pages", type=Path, help="folder of the pages, docs/compat")
    parser.add_argument("--only", help="EXTRACT, CellSort or CIAtah")
    chosen = parser.parse_args()
    made: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "EXTRACT": lambda: extract_rows(chosen.data),
        "CellSort": cellsort_rows,
        "CIAtah": lambda: ciatah_rows(chosen.data),
    }
    found = {name: rows() for name, rows in made.items() if chosen.only in (None, name)}
    for name, rows in found.items():
        print(f"{name}\n{table(rows)}\n")
        if chosen.pages is not None:
            page = chosen.pages / f"{name.lower()}.md"
            marks = rf"(<!-- drop-ins: {name} -->\n).*?(<!-- end of drop-ins -->)"
            text = page.read_text(encoding="utf-8")
            page.write_text(re.sub(marks, lambda m, rows=rows: m[1] + table(rows) + "\n" + m[2], text, flags=re.DOTALL),
                            encoding="utf-8")  # fmt: skip
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
