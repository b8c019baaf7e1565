r"""Independent components of whitened data by a fixed point, all at once (FastICA; Hyvarinen 1999).

Data :math:`Z` (n_features, n_samples) are centred and white, :math:`Z Z^T / N = I`; rows of :math:`W` are orthonormal.
With :math:`u_k = w_k Z`, a round is

.. math:: w_k \leftarrow E[g(u_k) Z^T] - E[g'(u_k)] w_k, \qquad W \leftarrow (W W^T)^{-1/2} W,

with :math:`g = u^2` (``"skew"``: CellSort's, for sparse sources that are positive), :math:`\tanh(\alpha u)`
(``"tanh"``), :math:`u^3` (``"cube"``) or :math:`u e^{-u^2 / 2}` (``"gauss"``, for heavy tails). scikit-learn's FastICA
calls the last three logcosh, cube and exp.

Where it costs less, skewness is maximised on the tensor of third moments, which is made once: rounds do not see the
samples then, :math:`w_k \leftarrow \sum_{jl} M_{jl \cdot} w_{kj} w_{kl}` with :math:`M = E[z z z]`.

Data on a GPU stay there: products are cuBLAS's, what lies between them ``kernels/ica.cu``'s. The
orthonormalisation, of a matrix (n_components, n_features), is the host's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal

import numpy as np
from array_api_compat import is_cupy_array
from numpy.typing import NDArray

from gpucells.device.arrays import namespace_of, to_host
from gpucells.device.kernels import Array, Define, Kernel, Scalar
from gpucells.errors import InputError, SettingsError

Float64 = NDArray[np.float64]
Contrast = Literal["skew", "tanh", "cube", "gauss"]

CONTRASTS: dict[str, int] = {"skew": 0, "tanh": 1, "cube": 2, "gauss": 3}
POWERS = {"skew": 3, "cube": 4}
OVERFIT = 1.5  # times what one direction of noise has by chance that the best of all have: about 1 for skew and tanh
NEAR = 1e-2  # change at which components have found their places
PATIENCE = 20  # rounds without a smaller change, or with nothing that stands out of noise: there is no more to come
THREADS = 256  # a block of the CUDA kernel
PARTS = 64  # thread blocks that share a component at most
HOST_BYTES, DEVICE_BYTES = 2**20, 2**26  # of one block of components or of products of features
ROUNDS = 100  # that the tensor has to pay for itself in: 30 to 200 were seen on movies
TENSOR_BYTES = 2**28

ICA_SCORES = Kernel(
    "ica.cu",
    "ica_scores",
    (
        Array("components", "T_DATA", ("n_components", "n_samples"), written=True), Scalar("n_samples"),
        Scalar("alpha", "float64"), Array("sums", "float64", ("n_components", "n_parts", 2), written=True),
    ),
    threads=THREADS, registers=64,
    defines=(Define("T_DATA", ("float32", "float64")), Define("CONTRAST", tuple(CONTRASTS.values()))),
)  # fmt: skip


@dataclass(frozen=True)
class Unmixing:
    """Independent components.

    Parameters
    ----------
    matrix : numpy.ndarray
        ``(n_components, n_features)`` float64, orthonormal rows; the components are ``matrix @ whitened``, each with a
        third moment that is not negative.
    contrast : numpy.ndarray
        ``(n_components,)`` what each has of the contrast more than a normal one: mean cube, mean log cosh, mean
        fourth power, or less of the mean Gaussian bell.
    n_iterations : int
        Rounds.
    converged : bool
        Whether they ended by themselves.
    """

    matrix: Float64
    contrast: Float64
    n_iterations: int
    converged: bool


def fixed_point_ica(
    whitened: Any, n_components: int | None = None, *, contrast: Contrast = "skew", alpha: float = 1.0,
    tol: float = 1e-4, max_iterations: int = 200, start: Any = None, seed: int = 0,
    stop: Literal["standing_out", "each"] = "standing_out", n_effective: float | None = None,
    tensor: bool | None = None, positive: bool = True,
) -> Unmixing:  # fmt: skip
    """Find independent components.

    Parameters
    ----------
    whitened : array
        ``(n_features, n_samples)`` float32 or float64, centred and white; NumPy's or CuPy's.
    n_components : int, optional
        At most ``n_features``, which it is if not given.
    contrast : {"skew", "tanh", "cube", "gauss"}
        What is maximised.
    alpha : float
        Of ``"tanh"``, 1 to 2.
    tol : float
        A component has settled where ``1 - |cosine|`` to its row of the round before is not above this.
    max_iterations : int
        Rounds at most.
    start : numpy.ndarray, optional
        ``(n_components, n_features)`` to start from, as it is orthonormalised; at random if not given.
    seed : int
        Of the random start.
    stop : {"standing_out", "each"}
        ``"each"`` waits for the last component, as scikit-learn does. ``"standing_out"`` takes the mean over components
        by the squares of their contrasts (negentropy, to lowest order) beyond what noise alone reaches, so that those
        that are noise, and turn for ever, block nothing. They push the others about a little in every round: it ends,
        too, where the others are near their places and the change gets no smaller.
    n_effective : float, optional
        Samples that noise has, where their variances differ; ``n_samples`` if not given.
    tensor : bool, optional
        Whether rounds of ``"skew"`` are made on third moments; if not given, where they cost less.
    positive : bool
        Whether components are turned so that third moments are not negative; otherwise they have the signs that the
        rounds have left them with.

    Raises
    ------
    InputError
        Shapes do not fit.
    SettingsError
        There is no such contrast, or more components than features.
    """
    n_features, n_samples = whitened.shape
    k = _checked(n_features, n_components, contrast, start)
    by_tensor = contrast == "skew" and (_tensor_pays(n_features, n_samples, k) if tensor is None else tensor)
    if k == 0 or n_samples == 0:
        return Unmixing(np.zeros((k, n_features)), np.zeros(k), 0, True)
    rng = np.random.default_rng(seed)
    w = orthonormalised(rng.normal(size=(k, n_features)) if start is None else np.asarray(start, np.float64))
    step = _tensor_step(whitened) if by_tensor else _sample_step(whitened, contrast, alpha, stop == "standing_out")
    normal, error = of_normal(contrast, alpha)
    chance = (OVERFIT * error) ** 2 * n_features / (n_effective or n_samples)
    converged, done, least, since = False, 0, np.inf, 0
    while not converged and done < max_iterations:
        raised, value = step(w)
        new = orthonormalised(raised)
        apart = np.abs(1 - np.abs((new * w).sum(axis=1)))
        weight = np.maximum((value - normal) ** 2 - chance, 0)
        w, done = new, done + 1
        if stop == "each":
            converged = bool(apart.max() <= tol)
        elif weight.sum() == 0:
            converged = done > PATIENCE
        else:
            change = float(apart @ weight / weight.sum())
            if change < 0.9 * least:
                least, since = change, done
            converged = change <= tol or (change < NEAR and done - since >= PATIENCE)
    if positive:
        _, third = (step if by_tensor else _sample_step(whitened, "skew", 1.0))(w)
        w[third < 0] *= -1
        if contrast == "skew":
            return Unmixing(w, np.abs(third) - normal, done, converged)
    return Unmixing(w, _sample_step(whitened, contrast, alpha)(w)[1] - normal, done, converged)


def orthonormalised(rows: Float64) -> Float64:
    """Return the orthonormal rows nearest to some, all at once: ``(W W')^(-1/2) W``.

    Parameters
    ----------
    rows : numpy.ndarray
        ``(n, n_features)`` of any scale; what they lack in rank is filled up in an arbitrary, fixed way.
    """
    scale = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    equal = rows / np.where(scale > 0, scale, 1) * np.maximum(scale / max(scale.max(initial=0), 1e-300), 1e-6)
    values, vectors = np.linalg.eigh(equal @ equal.T)
    if values[0] > 1e-10 * values[-1]:
        return np.asarray((vectors / np.sqrt(values)) @ (vectors.T @ equal))
    left, _, right = np.linalg.svd(equal, full_matrices=False)
    return np.asarray(left @ right)


@cache
def of_normal(contrast: Contrast, alpha: float = 1.0) -> tuple[float, float]:
    """Return the mean of a contrast over the standard normal distribution, and the deviation of one white sample's.

    White samples have mean 0 and variance 1, so of the contrast's deviation only what is no line or square counts.

    Parameters
    ----------
    contrast : {"skew", "tanh", "cube", "gauss"}
        Whose integral is meant: the cube, log cosh, the fourth power, less the bell :math:`e^{-u^2 / 2}`.
    alpha : float
        Of ``"tanh"``.
    """
    u, weight = np.polynomial.hermite_e.hermegauss(101)
    weight = weight / weight.sum()
    if contrast == "tanh":
        value = (np.logaddexp(alpha * u, -alpha * u) - np.log(2)) / alpha
    else:
        value = -np.exp(-u * u / 2) if contrast == "gauss" else u ** POWERS[contrast]
    free = value - (value @ weight) - u * (u * value @ weight) - (u**2 - 1) * ((u**2 - 1) * value @ weight) / 2
    return float(value @ weight), float(np.sqrt(free**2 @ weight))


def _checked(n_features: int, n_components: int | None, contrast: str, start: Any) -> int:
    if contrast not in CONTRASTS:
        raise SettingsError(f"unknown contrast {contrast!r}", f"one of {', '.join(CONTRASTS)}")
    k = n_features if n_components is None else n_components
    if not 0 <= k <= n_features:
        raise SettingsError(f"{k} components of {n_features} features", "ask for no more than there are features")
    if start is not None and np.shape(start) != (k, n_features):
        raise InputError(f"a start of shape {np.shape(start)}", f"it has to be ({k}, {n_features})")
    return k


def _tensor_pays(n: int, n_samples: int, k: int) -> bool:
    """Whether third moments, and rounds on them, take fewer operations than rounds on the samples."""
    made, a_round = n_samples * n**3, k * n**3
    return 2 * n**3 < TENSOR_BYTES and made + ROUNDS * a_round < ROUNDS * 4 * n_samples * n * k


def _block_length(whitened: Any, n_rows: int) -> int:
    limit = DEVICE_BYTES if is_cupy_array(whitened) else HOST_BYTES
    return int(max(256, limit // (whitened.dtype.itemsize * max(n_rows, 1))))


def _sample_step(
    whitened: Any, contrast: Contrast, alpha: float, valued: bool = True
) -> Callable[[Float64], tuple[Float64, Float64]]:
    """Return the round on samples: of ``(k, n)``, the same before it is orthonormalised, and the mean contrast.

    The latter is not right where it is not ``valued``.
    """
    xp, (n, n_samples) = namespace_of(whitened), whitened.shape
    scores = _scores_cuda if is_cupy_array(whitened) else partial(_scores, valued=valued)

    def step(w: Float64) -> tuple[Float64, Float64]:
        k = len(w)
        on = xp.asarray(w.astype(whitened.dtype))
        raised, sums = xp.zeros((k, n), np.float64), xp.zeros((k, 2), np.float64)
        length = _block_length(whitened, k)
        for first in range(0, n_samples, length):
            some = whitened[:, first : first + length]
            components = on @ some
            sums += scores(components, contrast, alpha)
            raised += components @ some.T
        mean, (curvature, value) = to_host(raised) / n_samples, to_host(sums).T / n_samples
        return mean - curvature[:, None] * w, value / (alpha if contrast == "tanh" else 1.0)

    return step


def _scores(components: NDArray[Any], contrast: Contrast, alpha: float, valued: bool = True) -> Float64:
    """Put slopes in the components' place; return the sums of the curvature and of the contrast, ``(k, 2)``."""
    sums, u = np.zeros((len(components), 2)), components
    if contrast == "tanh":
        u *= components.dtype.type(alpha)
        if valued:  # ten times the work of the rest
            size = np.abs(u)
            sums[:, 1] = (size + np.log1p(np.exp(-2 * size)) - np.log(2)).sum(axis=1, dtype=np.float64)
        np.tanh(u, out=u)
        sums[:, 0] = alpha * (u.shape[1] - np.einsum("ij,ij->i", u, u).astype(np.float64))
        return sums
    square = u * u
    if contrast == "gauss":
        bell = np.exp(square * u.dtype.type(-0.5))
        sums[:, 1] = -bell.sum(axis=1, dtype=np.float64)
        sums[:, 0] = -sums[:, 1] - np.einsum("ij,ij->i", square, bell)
        u *= bell
        return sums
    if contrast == "skew":
        sums[:, 0] = 2 * u.sum(axis=1, dtype=np.float64)
        sums[:, 1] = (square * u).sum(axis=1, dtype=np.float64)
        u[:] = square
    else:
        sums[:, 0] = 3 * square.sum(axis=1, dtype=np.float64)
        sums[:, 1] = (square * square).sum(axis=1, dtype=np.float64)
        u *= square
    return sums


def _scores_cuda(components: Any, contrast: Contrast, alpha: float) -> Any:
    xp, (k, n_samples) = namespace_of(components), components.shape
    parts = min(PARTS, -(-n_samples // THREADS))
    sums = xp.zeros((k, parts, 2), np.float64)
    for first in range(0, k, 65535):
        some = slice(first, first + 65535)
        ICA_SCORES.launch(
            (parts, len(components[some])), (THREADS,), components=components[some], alpha=alpha, sums=sums[some],
            CONTRAST=CONTRASTS[contrast],
        )  # fmt: skip
    return sums.sum(axis=1)


def _tensor_step(whitened: Any) -> Callable[[Float64], tuple[Float64, Float64]]:
    """Return the round on third moments: of ``(k, n)``, the same before it is orthonormalised, and the mean cube."""
    xp, (n, n_samples) = namespace_of(whitened), whitened.shape
    one, other = (xp.asarray(at) for at in np.triu_indices(n))
    total = xp.zeros((len(one), n), np.float64)
    length = _block_length(whitened, len(one))
    mean = to_host(whitened.mean(axis=1, dtype=np.float64))
    for first in range(0, n_samples, length):
        some = whitened[:, first : first + length]
        total += (some[one] * some[other]) @ some.T
    moments = ((2 - (one == other))[:, None] * total / n_samples).astype(whitened.dtype)
    del total

    def step(w: Float64) -> tuple[Float64, Float64]:
        on = xp.asarray(w.astype(whitened.dtype))
        raised = np.asarray(to_host((on[:, one] * on[:, other]) @ moments), np.float64)
        return raised - 2 * (w @ mean)[:, None] * w, (raised * w).sum(axis=1)

    return step
