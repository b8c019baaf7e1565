"""Independent components by Picard-O (Ablin, Cardoso & Gramfort 2018), from the package python-picard (BSD)."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from gpucells.device.arrays import to_host
from gpucells.errors import SettingsError
from gpucells.ops.ica import Unmixing, of_normal, orthonormalised


def picard_ica(
    whitened: Any, n_components: int | None = None, *, tol: float = 1e-4, max_iterations: int = 200, start: Any = None,
    seed: int = 0,
) -> Unmixing:  # fmt: skip
    """Find independent components with the contrast ``"tanh"`` by quasi-Newton steps on rotations.

    It solves square problems only: of more features than components, the leading ones are taken. It runs on the host.

    Parameters
    ----------
    whitened, n_components, max_iterations, start, seed
        As :func:`gpucells.ops.ica.fixed_point_ica` takes them; of a start that is not square, the leading columns.
    tol : float
        Largest entry of the gradient.

    Raises
    ------
    SettingsError
        The package is not there, or more components than features are asked for.
    """
    try:
        from picard import picard
    except ImportError:
        raise SettingsError(
            "Picard is asked for, and the package python-picard is not installed",
            'pip install "gpucells[picard]", or algorithm="fixed_point"',
        ) from None
    n_features = whitened.shape[0]
    k = n_features if n_components is None else n_components
    if not 0 < k <= n_features:
        raise SettingsError(f"{k} components of {n_features} features", "ask for no more than there are features")
    data = np.asarray(to_host(whitened)[:k], np.float64)
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(k, k)) if start is None else np.asarray(start, np.float64)[:, :k]
    with warnings.catch_warnings(record=True) as said:  # how it says that it did not converge
        warnings.simplefilter("always")
        _, turned, sources, rounds = picard(
            data, fun="tanh", ortho=True, extended=False, whiten=False, centering=False, max_iter=max_iterations,
            tol=tol, w_init=orthonormalised(first), return_n_iter=True,
        )  # fmt: skip
    sign = np.where((sources**3).mean(axis=1) < 0, -1.0, 1.0)
    matrix = np.zeros((k, n_features))
    matrix[:, :k] = sign[:, None] * turned
    value = (np.logaddexp(sources, -sources) - np.log(2)).mean(axis=1) - of_normal("tanh")[0]
    return Unmixing(matrix, value, int(rounds) + 1, not said)
