r"""CellSort's first half: principal components, which of them to use, and independent ones.

CellSort's scales, for :math:`P` pixels, :math:`T` frames and the movie :math:`U S V^T`: signals :math:`T V^T`, images
:math:`T P\, U`, eigenvalues :math:`S^2 / P^2`; filters :math:`T\, U S^{-1} B` of the rotation :math:`B`, which applied
to the movie give the signals :math:`T B^T V^T`.

Mended: CellSort weighs images and signals by these scales, a factor of :math:`P` apart, so that ``mu`` does nothing
below 1; here both have variance 1, as its own comment says. And rounds end when the components that stand out have
settled: those that are noise turn for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import skew

from gpucells.candidates.independent import mixture
from gpucells.candidates.independent_settings import IndependentSettings
from gpucells.compat.cellsort.movie import opened, relative
from gpucells.compat.cellsort.names import cellsort
from gpucells.errors import InputError, SettingsError
from gpucells.ops.ica import fixed_point_ica
from gpucells.ops.noise_floor import noise_floor
from gpucells.ops.pca import PrincipalComponents, pca

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


@cellsort
def cellsort_pca(
    fn: Any, flims: Any = None, nPCs: int = 150, dsamp: Any = 1, outputdir: Any = None, badframes: Any = None
) -> tuple[Float32, Float32, Float64, float, Float32, Float32]:  # fmt: skip
    """Find the principal components of a movie, relative to each pixel's mean, less each frame's.

    Parameters
    ----------
    fn, flims, badframes
        The movie; its first and last frame, and frames to leave out, from 1.
    nPCs : int
        Components at most.
    dsamp : int or pair of int
        Frames averaged into one; and pixels a side.
    outputdir
        Not honoured.

    Returns
    -------
    mixedsig : numpy.ndarray
        ``(n, n_frames)``, each of norm ``n_frames``.
    mixedfilters : numpy.ndarray
        ``(height, width, n)``.
    CovEvals : numpy.ndarray
        ``(n,)`` eigenvalues, the largest first.
    covtrace : float
        Sum of all of them.
    movm : numpy.ndarray
        ``(height, width)`` mean of each pixel.
    movtm : numpy.ndarray
        ``(n_frames,)`` mean of each frame, relative.
    """
    in_time, in_space = _binning(dsamp)
    with opened(fn, flims, badframes) as movie:
        seen = relative(movie, in_time, in_space)
    n_frames, height, width = seen.frames.shape
    n_pixels = height * width
    found = pca(seen.matrix, int(nPCs))
    power = float(np.einsum("tyx,tyx->", seen.frames, seen.frames, dtype=np.float64))
    power -= n_pixels * float((seen.frame_means.astype(np.float64) ** 2).sum())
    return (
        (n_frames * found.traces.T).astype(np.float32),
        (np.float32(n_frames * n_pixels) * found.images).reshape(height, width, -1),
        found.singular_values**2 / n_pixels**2,
        power / n_pixels**2,
        seen.mean,
        seen.frame_means,
    )


def _binning(dsamp: Any) -> tuple[int, int]:
    given = [int(n) for n in np.atleast_1d(dsamp).ravel()]
    if len(given) not in (1, 2) or min(given) < 1:
        raise SettingsError(f"dsamp = {dsamp!r}", "give frames to average, or [frames pixels]")
    return given[0], given[1] if len(given) == 2 else 1


@cellsort
def cellsort_choose_pcs(fn: Any, mixedfilters: Any, PCuse: Any = None) -> NDArray[np.int64]:
    """Choose principal components without asking: those that stand out of the movie's noise.

    Parameters
    ----------
    fn : path, array or Movie
        The movie, which is read again for its whole spectrum.
    mixedfilters : numpy.ndarray
        ``(height, width, n)`` of :func:`cellsort_pca`; a smaller image than the movie's means binned pixels.
    PCuse : sequence of int, optional
        Components chosen by eye, given back; not an argument of CellSort's.

    Returns
    -------
    numpy.ndarray
        Their numbers, from 1.
    """
    n_components = np.shape(mixedfilters)[2]
    if PCuse is not None:
        return _numbers(PCuse, n_components) + 1
    _, _, n_above = _spectrum(fn, np.shape(mixedfilters)[0])
    return np.arange(1, max(1, min(n_above, n_components)) + 1)


def _spectrum(fn: Any, height: int | None = None) -> tuple[Float64, float, int]:
    """Return all eigenvalues of a movie's covariance in CellSort's scale, what noise reaches, and how many are above.

    With ``height``, the movie is binned to about that many rows.
    """
    with opened(fn) as movie:
        seen = relative(movie, 1, 1 if height is None else max(1, movie.height // height))
    n_frames, n_pixels = len(seen.frames), seen.mean.size
    values = pca(seen.matrix, 1, way="covariance").eigenvalues
    floor = noise_floor(values, n_pixels, n_frames)
    return values / n_pixels**2, floor.eigenvalue / n_pixels**2, floor.n_above


@cellsort
def cellsort_plot_pc_spectrum(fn: Any, CovEvals: Any, PCuse: Any = None) -> Figure:
    """Draw the spectrum, what noise alone reaches, and the components in use.

    Parameters
    ----------
    fn : path, array or Movie
        The movie, which is read again for its whole spectrum.
    CovEvals : numpy.ndarray
        ``(n,)`` of :func:`cellsort_pca`.
    PCuse : sequence of int, optional
        Components in use, from 1.

    Returns
    -------
    matplotlib.figure.Figure
        ``figure.savefig("spectrum.png")`` keeps it.
    """
    from gpucells.report.components_picture import spectrum_figure

    values, floor, _ = _spectrum(fn)
    used = np.zeros(0, np.int64) if PCuse is None else _numbers(PCuse, len(CovEvals))
    return spectrum_figure(values, floor, used + 1, np.asarray(CovEvals, np.float64)[used])


@cellsort
def cellsort_ica(
    mixedsig: Any, mixedfilters: Any, CovEvals: Any, PCuse: Any = None, mu: float = 0.5, nIC: int | None = None,
    ica_A_guess: Any = None, termtol: float = 1e-6, maxrounds: int = 100,
) -> tuple[Float32, Float32, Float64, int]:  # fmt: skip
    """Rotate principal components so that they are most skewed in space and time.

    Parameters
    ----------
    mixedsig, mixedfilters, CovEvals
        Of :func:`cellsort_pca`.
    PCuse : sequence of int, optional
        Components to use, from 1.
    mu : float
        0 images alone, 1 signals alone.
    nIC : int, optional
        Components to find.
    ica_A_guess : numpy.ndarray, optional
        ``(n_used, nIC)`` to start from.
    termtol, maxrounds
        When rounds end.

    Returns
    -------
    ica_sig : numpy.ndarray
        ``(nIC, n_frames)``, the most skewed first, each of norm ``n_frames``.
    ica_filters : numpy.ndarray
        ``(nIC, height, width)``, which applied to the relative movie give the signals.
    ica_A : numpy.ndarray
        ``(n_used, nIC)`` the rotation.
    numiter : int
        Rounds.
    """
    signals, images = np.asarray(mixedsig, np.float64), np.asarray(mixedfilters, np.float32)
    n_all, n_frames = signals.shape
    if images.ndim != 3 or images.shape[2] != n_all or len(np.asarray(CovEvals)) != n_all:
        raise InputError(
            f"mixedsig {signals.shape}, mixedfilters {images.shape}, CovEvals {np.shape(CovEvals)} do not go together",
            "give what cellsort_pca returns: (n, frames), (height, width, n), (n,)",
        )
    used = np.arange(n_all) if PCuse is None else _numbers(PCuse, n_all)
    height, width, _ = images.shape
    principal = _principal(signals[used], images[:, :, used], np.asarray(CovEvals, np.float64)[used])
    n_ics = len(used) if nIC is None else int(nIC)
    settings = IndependentSettings.from_values({"mu": mu, "mu_convention": "unitvar"})
    mixed, n_effective = mixture(principal, settings)
    found = fixed_point_ica(
        mixed, n_ics, tol=termtol, max_iterations=int(maxrounds), n_effective=n_effective,
        start=None if ica_A_guess is None else np.asarray(ica_A_guess, np.float64).T,
    )  # fmt: skip
    traces = n_frames * found.matrix @ principal.traces.T
    order = np.argsort(-skew(traces, axis=1), kind="stable") if n_ics else np.zeros(0, np.int64)
    filters = n_frames * (found.matrix[order] / principal.singular_values) @ principal.images.T
    return (
        traces[order].astype(np.float32),
        filters.astype(np.float32).reshape(-1, height, width),
        found.matrix[order].T,
        found.n_iterations,
    )


def _principal(signals: Float64, images: Float32, values: Float64) -> PrincipalComponents:
    """Give CellSort's components their norm of 1 again."""
    n_pixels = images.shape[0] * images.shape[1]
    flat = images.reshape(n_pixels, -1)
    unit = flat / np.maximum(np.linalg.norm(flat, axis=0), 1e-30)
    traces = signals / np.maximum(np.linalg.norm(signals, axis=1, keepdims=True), 1e-30)
    singular = np.sqrt(np.maximum(values, 1e-300)) * n_pixels
    return PrincipalComponents(unit, singular, traces.T, singular**2)


def _numbers(chosen: Any, n: int) -> NDArray[np.int64]:
    """Return numbers from 0 of numbers from 1."""
    numbers = np.atleast_1d(np.asarray(chosen, np.int64)).ravel()
    if numbers.size and not (numbers.min() >= 1 and numbers.max() <= n):
        raise SettingsError(f"PCuse has {numbers.min()} to {numbers.max()}, of {n} components", "they count from 1")
    return numbers - 1
