"""PCA-ICA beside the figures of its originals: two simulated movies of 128 x 128 x 2000 with 40 cells each.

    python benchmarks/pcaica.py [--json FILE]

The originals (CellSort 1.4, CIAtah v2) were run on other movies of that size and number of cells, with n_pcs = 120 and
n_ics = 80, under GNU Octave on two cores: 33 to 77 s. Their footprints count where 20 to 300 pixels are lit and the
skewness is above .5; ours as they are judged.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import gpucells
from gpucells.postprocess.match import score_cells

SHAPE, N_CELLS, DIAMETER = (2000, 128, 128), 40, 12.0
#: F1, trace correlation, least and most seconds of CIAtah v2 by preset and mu; CellSort's for mu = .5 below.
ORIGINALS = {
    ("two_photon", 0.1): (1.0, 0.913, 77), ("two_photon", 0.5): (0.988, 0.912, 49),
    ("one_photon", 0.1): (0.961, 0.75, 49), ("one_photon", 0.5): (0.976, 0.826, 33),
}  # fmt: skip
RUNS: list[dict[str, Any]] = [{}, {"traces": "filters"}, {"n_pcs": "auto", "n_ics": "auto"}]


def run(simulated: Any, preset: str, mu: float, settings: dict[str, Any]) -> dict[str, Any]:
    chosen = {"n_pcs": 120, "n_ics": 80, "mu": mu, "downsample_time_by": 1} | settings
    start, wall = time.process_time(), time.perf_counter()
    cells = gpucells.extract_cells(
        simulated.movie, method="pcaica", preset=preset, cell_diameter_px=DIAMETER, device="cpu", settings=chosen
    ).accepted_only()
    cpu_s, wall_s = time.process_time() - start, time.perf_counter() - wall
    truth = simulated.truth
    score = score_cells(cells.footprints, cells.traces, truth.footprints, truth.traces, cells.image_shape).as_dict()
    kept = ("f1", "found", "truth", "footprint_cosine", "trace_r_median", "trace_r_all")
    return {"preset": preset, "mu": mu, **settings, "cpu_s": cpu_s, "wall_s": wall_s} | {n: score[n] for n in kept}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file to write")
    out = parser.parse_args().json
    rows = []
    for preset in ("two_photon", "one_photon"):
        small = gpucells.simulate_movie(preset, shape=(200, 64, 64), n_cells=5, cell_diameter_px=DIAMETER, seed=0)
        for settings in RUNS:  # what is compiled once
            run(small, preset, 0.1, {**settings, "n_pcs": 20, "n_ics": 15})
        simulated = gpucells.simulate_movie(
            preset, shape=SHAPE, n_cells=N_CELLS, cell_diameter_px=DIAMETER, seed=1, frame_rate_hz=10.0
        )
        for mu in (0.1, 0.5):
            f1, r, seconds = ORIGINALS[preset, mu]
            print(f"{preset} mu {mu}: CIAtah v2, on another such movie: F1 {f1} r {r} {seconds} s wall")
            for settings in RUNS:
                rows.append(run(simulated, preset, mu, settings))
                row = rows[-1]
                print(
                    f"  {settings}: F1 {row['f1']:.3f} cosine {row['footprint_cosine']:.3f} "
                    f"r {row['trace_r_median']:.3f} cpu {row['cpu_s']:.1f} s, wall {row['wall_s']:.1f} s",
                    flush=True,
                )
    if out:
        out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
