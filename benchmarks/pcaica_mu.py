"""What mu does to PCA-ICA's images and traces, as Fig. S3 of Mukamel et al. shows, with F1 and trace correlation.

    python benchmarks/pcaica_mu.py docs/methods/figures/pcaica_mu.png

Images and traces are those of the components themselves (signed, nothing cut out), of one tile.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("agg")
import matplotlib.pyplot as plt

import gpucells
from gpucells.candidates.independent import separate
from gpucells.methods.pcaica.settings import PcaicaSettings
from gpucells.postprocess.match import score_cells
from gpucells.preprocess.noise_units import to_noise_units

MUS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 1.0)
SHOWN = (0.0, 0.1, 0.5, 0.9, 1.0)
DIAMETER, SHAPE, N_CELLS = 12.0, (1500, 96, 96), 40


def components(simulated: Any, mu: float) -> tuple[Any, Any]:
    movie = np.ascontiguousarray(simulated.movie.transpose(1, 2, 0)).astype(np.float32)
    units = to_noise_units(movie, np.ones(SHAPE[1:], bool), 0.5)
    parts = separate(units.movie, units.inside, DIAMETER / 2, PcaicaSettings.from_values({"mu": mu}))
    return parts.images, parts.traces


def score(simulated: Any, mu: float) -> tuple[float, float]:
    cells = gpucells.extract_cells(
        simulated.movie, method="pcaica", cell_diameter_px=DIAMETER, device="cpu",
        settings={"mu": mu, "downsample_time_by": 1},
    ).accepted_only()  # fmt: skip
    truth = simulated.truth
    got = score_cells(cells.footprints, cells.traces, truth.footprints, truth.traces, cells.image_shape)
    return got.f1, float(got.trace_r_median)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    picture = parser.parse_args().picture
    simulated = gpucells.simulate_movie(
        "two_photon", shape=SHAPE, n_cells=N_CELLS, cell_diameter_px=DIAMETER, seed=4, frame_rate_hz=10.0
    )
    truth = simulated.truth.footprints.toarray()
    overlap = truth @ truth.T / np.outer(*[np.linalg.norm(truth, axis=1)] * 2)
    np.fill_diagonal(overlap, 0)
    chosen = list(np.unravel_index(overlap.argmax(), overlap.shape))  # the two that overlap most, and one apart
    chosen.append(int(overlap.max(axis=1).argmin()))
    figure, axes = plt.subplots(len(SHOWN), 6, figsize=(11, 8), width_ratios=[1, 1, 1, 3, 3, 3], dpi=80)
    own, best = [], {}
    for mu in MUS:
        images, traces = components(simulated, mu)
        correlation = np.corrcoef(np.concatenate([simulated.truth.traces, traces]))[:N_CELLS, N_CELLS:]
        at = np.abs(images @ truth.T / np.linalg.norm(images, axis=1)[:, None]).argmax(axis=0)
        own.append(float(np.median(correlation[np.arange(N_CELLS), at])))
        best[mu] = score(simulated, mu)
        print(
            f"mu {mu}: F1 {best[mu][0]:.3f} r {best[mu][1]:.3f}; of components' own traces r {own[-1]:.3f}", flush=True
        )
        if mu not in SHOWN:
            continue
        row = axes[SHOWN.index(mu)]
        for k, cell in enumerate(chosen):
            y, x = divmod(int(truth[cell].argmax()), SHAPE[2])
            top, left = (int(np.clip(at - 14, 0, SHAPE[1] - 28)) for at in (y, x))
            image = images[at[cell]].reshape(SHAPE[1:])[top : top + 28, left : left + 28]
            row[k].imshow(image, cmap="RdBu_r", vmin=-np.abs(image).max(), vmax=np.abs(image).max())
            row[k].set(xticks=[], yticks=[])
            row[3 + k].plot(traces[at[cell], :600], linewidth=0.6, color="black")
            row[3 + k].set(xticks=[], yticks=[])
        f1, r = best[mu]
        row[0].set_ylabel(f"mu {mu:g}", fontsize=11)
        row[3].set_title(f"F1 {f1:.2f}, r {r:.3f}; components' own r {own[-1]:.3f}", fontsize=9, loc="left")
    figure.tight_layout(pad=0.4)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture)


if __name__ == "__main__":
    main()
