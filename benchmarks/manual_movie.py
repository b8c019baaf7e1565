"""The benchmark movie of EXTRACT's manual (section 3.7), rebuilt: 500 x 500 x 5000, 600 cells of radius 7 to 9 px,
SNR 4, 0.01 events a frame, 5 % correlated noise.

    python benchmarks/manual_movie.py write MOVIE.h5             (2.5 GB, a minute, below 300 MB of memory)
    python benchmarks/manual_movie.py score MOVIE.h5 CELLS.h5
    python benchmarks/manual_movie.py run   MOVIE.h5 [--output RESULT.json]   writes the movie if need be, extracts,
                                                                             scores, and measures the process

``--frames`` and ``--side`` make a smaller one with the same density of cells. SNR is a typical transient at the
brightest pixel over the noise of a pixel. Decay is 10 frames, the manual's ``avg_event_tau``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import HERE, measure

import gpucells
from gpucells.io.truth_file import load_truth
from gpucells.model.truth import Truth
from gpucells.postprocess.match import score_cells

DECAY_FRAMES = 10
FRAME_RATE_HZ = 10.0
TOLERANCE_FRAMES = 3
ORIGINAL = {
    "precision": 1.0,
    "recall": 1.0,
    "amplitude_r": 0.990,
    "auc": 0.9944,
    "minutes": {"1 core": 15.03, "16 cores": 7.01, "GPU": 5.01, "2 GPUs": 3.83},
    "source": "EXTRACT's manual, section 3.7: 2 x RTX 3090, i9-10980XE, 4 x 4 partitions, downsample_time 4",
}


def main() -> int:
    options = _options()
    if options.verb == "write" or (options.verb == "run" and not options.movie.exists()):
        write(options.movie, options.frames, options.side, options.seed)
    if options.verb == "write":
        return 0
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        cells = options.cells
        if options.verb == "run":
            cells = Path(folder) / "cells.h5"
            verb = [sys.executable, "-m", "gpucells", "extract", str(options.movie), "--preset", "two_photon"]
            result = measure([*verb, "-o", str(cells), "--progress", "none"], Path(folder))
            if "error" in result:
                print(result["error"], file=sys.stderr)
                return 1
            result["peak_over_movie"] = result["peak_bytes"] / options.movie.stat().st_size
        result |= score(cells, load_truth(options.movie))
    result["original"] = ORIGINAL
    text = json.dumps(result, indent=1)
    print(text)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text + "\n")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=["write", "score", "run"])
    parser.add_argument("movie", type=Path)
    parser.add_argument("cells", type=Path, nargs="?")
    parser.add_argument("--frames", type=int, default=5000)
    parser.add_argument("--side", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=None, help=f"such as {HERE.name}/results/manual_movie.json")
    options = parser.parse_args()
    if options.verb == "score" and options.cells is None:
        parser.error("score needs the movie and the cells")
    return options


def write(path: Path, n_frames: int = 5000, side: int = 500, seed: int = 0) -> None:
    """Write the movie: uint16, noise that does not depend on brightness, no neuropil, vessels or motion."""
    gpucells.simulate_movie(
        "two_photon",
        path=path,
        shape=(n_frames, side, side),
        n_cells=round(600 * (side / 500) ** 2),
        cell_diameter_px=16.0,
        diameter_spread=0.125,
        ring=0.0,
        snr=4.0,
        brightness_spread=0.0,
        frame_rate_hz=FRAME_RATE_HZ,
        event_rate_hz=0.01 * FRAME_RATE_HZ,
        rate_spread=0.0,
        rise_s=0.0,
        decay_s=DECAY_FRAMES / FRAME_RATE_HZ,
        correlated_noise=0.05,
        gain=0.0,
        background_change=0.0,
        vessels=0,
        vignetting=0.0,
        seed=seed,
    )


def score(cells_file: Path, truth: Truth) -> dict[str, Any]:
    """Score by our protocol, and by the two figures of the manual that need the true events."""
    cells = gpucells.load_cells(cells_file).accepted_only()
    known = {"at_border": truth.at_border, "snr": truth.snr, "max_overlap": truth.max_overlap}
    scores = score_cells(cells.footprints, cells.traces, truth.footprints, truth.traces, truth.image_shape, **known)
    found, true = scores.pairs.T
    events = {
        "amplitude_r": amplitude_r(cells.traces[found], truth.traces[true], truth.spikes[true]),
        "auc": area_under_roc(cells.traces[found], truth.spikes[true]),
    }
    return scores.as_dict() | events


def amplitude_r(traces: np.ndarray, true_traces: np.ndarray, spikes: np.ndarray) -> float:
    """Mean over cells of the correlation of found and true trace at the frames of the true events (3 or more)."""
    figures = []
    for trace, true_trace, spike in zip(traces, true_traces, spikes, strict=True):
        at = np.flatnonzero(spike)
        if len(at) >= 3 and trace[at].std() > 0 and true_trace[at].std() > 0:
            figures.append(np.corrcoef(trace[at], true_trace[at])[0, 1])
    return float(np.mean(figures)) if figures else float("nan")


def area_under_roc(traces: np.ndarray, spikes: np.ndarray) -> float:
    """Mean over cells of the area under the ROC curve of events found by exponential deconvolution, 100 thresholds.

    An event counts as found where the deconvolved trace passes the threshold within 3 frames of it; a false alarm is a
    frame that passes farther than that from any event.
    """
    figures = []
    for trace, spike in zip(traces, spikes, strict=True):
        steep = np.append(trace[0], trace[1:] - np.exp(-1 / DECAY_FRAMES) * trace[:-1]).astype(np.float64)
        at = np.flatnonzero(spike)
        window = np.clip(at[:, None] + np.arange(-TOLERANCE_FRAMES, TOLERANCE_FRAMES + 1), 0, len(trace) - 1)
        best = steep[window].max(axis=1)
        quiet = np.delete(steep, np.unique(window))
        if len(quiet) == 0 or len(best) == 0:
            continue
        thresholds = np.linspace(steep.max(), steep.min(), 100)
        hits = np.array([0, *((best >= level).mean() for level in thresholds), 1])
        alarms = np.array([0, *((quiet >= level).mean() for level in thresholds), 1])
        figures.append(((hits[1:] + hits[:-1]) / 2 * np.diff(alarms)).sum())
    return float(np.mean(figures)) if figures else float("nan")


if __name__ == "__main__":
    sys.exit(main())
