"""A CaImAn user's script, two-photon and one-photon, with one line changed: where ``caiman`` is imported from.

``python benchmarks/peers/caiman_script.py movie.h5 two_photon``; put ``caiman`` back in the three import lines, and
it is CaImAn's. Written for this project after CaImAn's documentation.
"""

from __future__ import annotations

import sys

import h5py
import numpy as np

import gpucells.compat.caiman as cm
from gpucells.compat.caiman.source_extraction.cnmf import cnmf
from gpucells.compat.caiman.source_extraction.cnmf.params import CNMFParams

TWO_PHOTON = {
    "data": {"fr": 30, "decay_time": 0.4},
    "init": {"K": 50, "gSig": [4, 4], "method_init": "greedy_roi", "nb": 1},
    "preprocess": {"p": 1},
    "temporal": {"p": 1},
    "merging": {"merge_thr": 0.85},
    "patch": {"rf": None, "only_init": False},
    "quality": {"min_SNR": 2.0, "rval_thr": 0.85, "use_cnn": False},
}
ONE_PHOTON = {
    "data": {"fr": 10, "decay_time": 0.4},
    "init": {
        "method_init": "corr_pnr", "K": None, "gSig": (3, 3), "gSiz": (13, 13), "center_psf": True, "min_corr": 0.8,
        "min_pnr": 10, "nb": 0, "ring_size_factor": 1.4, "ssub_B": 2,
    },
    "patch": {"rf": 40, "stride": 20, "nb_patch": 0, "only_init": True},
    "merging": {"merge_thr": 0.7},
    "quality": {"min_SNR": 2.5, "rval_thr": 0.85, "use_cnn": False},
}  # fmt: skip


def analyse(images: np.ndarray, kind: str, folder: str = ".") -> cnmf.CNMF:
    _, dview, n_processes = cm.cluster.setup_cluster(backend="multiprocessing", n_processes=None, single_thread=False)
    name = cm.save_memmap([images], base_name=f"{folder}/memmap_", order="C", border_to_0=0)
    Yr, dims, T = cm.load_memmap(name)
    images = np.reshape(Yr.T, [T, *dims], order="F")
    opts = CNMFParams(params_dict={"two_photon": TWO_PHOTON, "one_photon": ONE_PHOTON}[kind])
    if kind == "one_photon":
        cn, _ = cm.summary_images.correlation_pnr(images, gSig=opts.init["gSig"][0], swap_dim=False)
        opts.change_params({"dims": dims, "border_pix": 0})
    else:
        cn = cm.local_correlations(images, swap_dim=False)
    cnm = cnmf.CNMF(n_processes, params=opts, dview=dview)
    cnm.fit(images)
    if kind == "two_photon":
        cnm = cnm.refit(images, dview=dview)
    cnm.estimates.evaluate_components(images, cnm.params, dview=dview)
    print(f"{len(cnm.estimates.C)} components, {len(cnm.estimates.idx_components)} of them accepted")
    cnm.estimates.Cn = cn
    cnm.estimates.plot_contours(img=cn, idx=cnm.estimates.idx_components)
    cnm.estimates.select_components(use_object=True)
    cnm.estimates.detrend_df_f(quantileMin=8, frames_window=250)
    cnm.save(f"{folder}/analysis_results.hdf5")
    cm.stop_server(dview=dview)
    return cnm


if __name__ == "__main__":
    with h5py.File(sys.argv[1], "r") as file:
        movie = file["movie"]
        samples = np.asarray(movie[()], np.float32) * movie.attrs.get("scale", 1) + movie.attrs.get("offset", 0)
    print(analyse(samples, sys.argv[2]).estimates)
