"""The estimators of gpucells.compat.sklearn beside scikit-learn's own: seconds, and how good what they found is.

    python benchmarks/sklearn_estimators.py                                   # 65,536 x 2,000, 50 components
    python benchmarks/sklearn_estimators.py --samples 4096 --features 300 --output FOLDER    # a quick look

Both are fitted by ``fit_transform`` to the same float32 data from the same start, by turns in one process, so that what
else the machine does hits both; a ratio is theirs over ours, the median of the rounds. ``--threads 1`` holds BLAS and
compiled loops to one thread, 0 leaves them their defaults. The floor of a fit is that of its products: operations,
counted by hand, at the speed of a product of large matrices, measured here; and the bytes of the data, once a reading.

Goodness, the same figure for both: NMF, root of twice the objective (``reconstruction_err_``, which scikit-learn adds
up in float32, taken again in float64); FastICA, the mean of log cosh less a normal variable's, squared, summed over
components; PCA, the share of variance on the components.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
FITS: dict[str, dict[str, Any]] = {
    "NMF, cd": {"class": "NMF", "init": "custom", "tol": 0},
    "NMF, mu": {"class": "NMF", "init": "custom", "tol": 0, "solver": "mu"},
    "NMF, mu, Kullback-Leibler": {
        "class": "NMF", "init": "custom", "tol": 0, "solver": "mu", "beta_loss": "kullback-leibler",
    },
    "FastICA, logcosh, eigh": {"class": "FastICA", "tol": 0, "whiten_solver": "eigh", "whiten": "unit-variance"},
    "FastICA, logcosh, svd": {"class": "FastICA", "tol": 0, "whiten_solver": "svd", "whiten": "unit-variance"},
    "PCA, randomized": {"class": "PCA", "svd_solver": "randomized"},
    "PCA, covariance_eigh": {"class": "PCA", "svd_solver": "covariance_eigh"},
}  # fmt: skip
ONCE = ("FastICA, logcosh, svd",)  # theirs takes minutes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=65536)
    parser.add_argument("--features", type=int, default=2000)
    parser.add_argument("--components", type=int, default=50)
    parser.add_argument("--iterations", type=int, default=20, help="of NMF and FastICA")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="0: the libraries' own choice")
    parser.add_argument("--only", help="fits whose names contain this")
    parser.add_argument("--note", default="", help="what else the machine did")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for sklearn.json and sklearn.md")
    options = parser.parse_args()
    if options.threads:  # before NumPy and numba are imported, which read these once
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
            os.environ[name] = str(options.threads)
    result = measured(options)
    print(table(result))
    (options.output / "sklearn.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (options.output / "sklearn.md").write_text(table(result) + "\n", encoding="utf-8")


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Return a row for each fit."""
    import numpy as np
    import sklearn
    from sklearn import decomposition

    from gpucells.compat import sklearn as ours

    warnings.simplefilter("ignore")  # that it did not converge
    speed, flops = gemm_flops_a_s(), floors(options)
    rows = {}
    for kind in ("NMF", "FastICA", "PCA"):
        names = [name for name, fit in FITS.items() if fit["class"] == kind and (options.only or "") in name]
        x = nonnegative(options) if kind == "NMF" else sources(options)
        given = start(options) if kind == "NMF" else {}
        for name in names:
            tried = {"scikit-learn": decomposition, "gpucells": ours}
            rows[name] = row(name, options, tried, x, given) | {
                "gflop": round(flops[name] / 1e9, 1), "floor_s": round(flops[name] / speed, 2),
            }  # fmt: skip
            print(name, rows[name], flush=True)
        del x
    size = {
        key: getattr(options, key) for key in ("samples", "features", "components", "iterations", "threads", "note")
    }
    versions = {"python": sys.version.split()[0], "numpy": np.__version__, "scikit-learn": sklearn.__version__}
    return {**size, "gemm_gflops_a_s": round(speed / 1e9, 1), "versions": versions, "fits": rows}


def row(name: str, options: argparse.Namespace, tried: dict[str, Any], x: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Fit by turns; return seconds, ratios and goodness."""
    settings = {key: value for key, value in FITS[name].items() if key != "class"}
    if FITS[name]["class"] != "PCA":
        settings["max_iter"] = options.iterations
    cost: dict[str, list[tuple[float, float]]] = {key: [] for key in tried}
    good = {}
    for module in tried.values():  # compiled, loaded
        few = {k: v[: options.components * 2] if k == "W" else v for k, v in given.items()}
        module_fit(module, name, settings, options, 0)(x[: options.components * 2], **few)
    for _ in range(1 if name in ONCE else options.rounds):
        for key, module in tried.items():
            fit = module_fit(module, name, settings, options, 0)
            copies = {k: v.copy() for k, v in given.items()}
            found, cpu, wall = timed(lambda fit=fit, copies=copies: fit(x, **copies))  # type: ignore[misc]
            cost[key].append((cpu, wall))
            good[key] = goodness(fit.__self__, found, x)
    pairs = list(zip(cost["scikit-learn"], cost["gpucells"], strict=True))
    return {
        "cpu_ratio": round(statistics.median(a[0] / b[0] for a, b in pairs), 2),
        "wall_ratio": round(statistics.median(a[1] / b[1] for a, b in pairs), 2),
        "cpu_s": {key: round(statistics.median(c for c, _ in values), 2) for key, values in cost.items()},
        "wall_s": {key: round(statistics.median(w for _, w in values), 2) for key, values in cost.items()},
        "goodness": good, "rounds": len(pairs),
    }  # fmt: skip


def module_fit(module: Any, name: str, settings: dict[str, Any], options: argparse.Namespace, seed: int) -> Any:
    model = getattr(module, FITS[name]["class"])(options.components, random_state=seed, **settings)
    return model.fit_transform


def goodness(model: Any, found: Any, x: Any) -> float:
    import numpy as np

    from gpucells.ops.nmf_rows import reconstruction_error

    kind = type(model).__name__
    if kind == "NMF":
        return reconstruction_error(x, found, model.components_, model.beta_loss)
    if kind == "PCA":
        return float(model.explained_variance_ratio_.sum())
    size = np.abs(found.astype(np.float64))
    value = (size + np.log1p(np.exp(-2 * size)) - np.log(2)).mean(axis=0)
    return float(((value - 0.3745672) ** 2).sum())  # the mean of log cosh of a standard normal variable


def timed(run: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return what a call returns, its CPU seconds, all threads', and its wall seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = run()
    return result, time.process_time() - cpu, time.perf_counter() - wall


def nonnegative(options: argparse.Namespace) -> Any:
    """Return as many planted factors as components, and noise."""
    import numpy as np

    rng, k = np.random.default_rng(0), options.components
    h = rng.gamma(0.3, 1, (k, options.features)).astype(np.float32)
    x = np.empty((options.samples, options.features), np.float32)
    for first in range(0, len(x), 4096):
        some = x[first : first + 4096]
        some[:] = rng.gamma(0.3, 1, (len(some), k)).astype(np.float32) @ h + 0.5 * rng.random(some.shape, np.float32)
    return x


def sources(options: argparse.Namespace) -> Any:
    """Return as many sparse sources as components, of strengths from 1 to 10, mixed, with noise."""
    import numpy as np

    rng, k = np.random.default_rng(1), options.components
    mixing = rng.normal(size=(k, options.features)) * np.geomspace(10, 1, k)[:, None]
    x = np.empty((options.samples, options.features), np.float32)
    for first in range(0, len(x), 4096):
        some = x[first : first + 4096]
        lit = rng.exponential(1, (len(some), k)) * (rng.random((len(some), k)) < 0.1)
        some[:] = lit.astype(np.float32) @ mixing.astype(np.float32) + rng.standard_normal(some.shape, np.float32)
    return x


def start(options: argparse.Namespace) -> dict[str, Any]:
    import numpy as np

    rng, k = np.random.default_rng(2), options.components
    return {"W": rng.random((options.samples, k), np.float32), "H": rng.random((k, options.features), np.float32)}


def gemm_flops_a_s() -> float:
    """Return the speed of a product of float32 matrices, operations a CPU second and thread in use."""
    import numpy as np

    a, b = (np.random.default_rng(0).random((2000, 2000), np.float32) for _ in range(2))
    a @ b
    taken = min(timed(lambda: [a @ b for _ in range(3)])[1] for _ in range(3))
    return 3 * 2 * 2000.0**3 / taken


def floors(options: argparse.Namespace) -> dict[str, float]:
    """Return the operations that ours has to make."""
    n, m, k, rounds = options.samples, options.features, options.components, options.iterations
    products, sweeps, shown = 4.0 * n * m * k, 2.0 * (n + m) * k * k, 2.0 * n * m * k
    covariance = float(n) * m * m  # a triangle
    ica = shown + rounds * 4.0 * n * k * k
    return {
        "NMF, cd": rounds * (products + sweeps) + shown, "NMF, mu": rounds * (products + sweeps) + shown,
        "NMF, mu, Kullback-Leibler": rounds * 2 * products + shown,
        "FastICA, logcosh, eigh": covariance + ica, "FastICA, logcosh, svd": covariance + ica,
        "PCA, randomized": min(5 * 4.0 * n * m * (k + 10), covariance) + shown,
        "PCA, covariance_eigh": covariance + shown,
    }  # fmt: skip


def table(result: dict[str, Any]) -> str:
    """Return the rows as a Markdown table, and the conditions."""
    lines = ["| fit | CPU, theirs / ours | wall | CPU s, theirs | ours | floor s | goodness, theirs | ours |",
             "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for name, fit in result["fits"].items():
        cpu, good = fit["cpu_s"], fit["goodness"]
        lines.append(
            f"| {name} | {fit['cpu_ratio']:.2f} | {fit['wall_ratio']:.2f} | {cpu['scikit-learn']:.1f} | "
            f"{cpu['gpucells']:.1f} | {fit['floor_s']:.1f} | {good['scikit-learn']:.6g} | {good['gpucells']:.6g} |"
        )
    theirs = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    gigabytes = 4 * result["samples"] * result["features"] / 1e9
    note = f" {result['note']}" if result["note"] else ""
    conditions = (
        f"{result['samples']:,} samples x {result['features']:,} features, float32 ({gigabytes:.2f} GB), "
        f"{result['components']} components, {result['iterations']} iterations of NMF and FastICA, threads: "
        f"{result['threads'] or 'as the libraries choose'}; {theirs}. Floor: operations at the "
        f"{result['gemm_gflops_a_s']:.0f} Gflop/s of a product of large matrices in the same run.{note}"
    )
    lines += ["", conditions]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
