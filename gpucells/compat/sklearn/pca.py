"""scikit-learn's ``PCA``, computed by :mod:`gpucells.ops.principal_axes`."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from array_api_compat import is_cupy_array
from sklearn import decomposition
from sklearn.utils import check_random_state

from gpucells.compat.sklearn.estimator import Estimator, is_plain
from gpucells.device.arrays import namespace_of
from gpucells.errors import SettingsError
from gpucells.ops.principal_axes import READINGS, PrincipalAxes, onto_axes, principal_axes


class PCA(Estimator, decomposition.PCA):  # type: ignore[misc]
    """Principal components with the parameters and attributes of ``sklearn.decomposition.PCA``.

    ``"randomized"`` and ``"covariance_eigh"`` are ours, and ``"auto"`` picks as scikit-learn does; signs are
    scikit-learn's. No centred copy of the data is made. float32 and float64 stay what they are, everything else becomes
    float64. CuPy arrays stay on their GPU, and so do the results; there ``"full"`` is ours as well.

    On the host ``"full"``, which ``"auto"`` takes for small data and for all of the components, is scikit-learn's own
    code; so are, with a warning, ``"arpack"``, sparse matrices, and ``n_components`` as a share of variance or as
    ``"mle"``.
    """

    def fit(self, X: Any, y: Any = None) -> Any:
        """Learn the components.

        Parameters
        ----------
        X : array
            ``(n_samples, n_features)``, NumPy or CuPy.
        y : None
            Ignored.
        """
        self._validate_params()
        return self if self._fitted(X) is not None else super().fit(X)

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Learn the components, and return the samples' coordinates.

        Parameters
        ----------
        X : array
            ``(n_samples, n_features)``, NumPy or CuPy.
        y : None
            Ignored.

        Returns
        -------
        array
            ``(n_samples, n_components)``, where ``X`` is.
        """
        self._validate_params()
        x = self._fitted(X)
        return super().fit_transform(X) if x is None else self._onto(x)

    def transform(self, X: Any) -> Any:
        """Return the coordinates of other samples.

        Parameters
        ----------
        X : array
            ``(n_samples, n_features)``.
        """
        self._beside(X)  # fitted at all?
        return self._onto(self._checked(X, reset=False)) if is_plain(X) else super().transform(X)

    def inverse_transform(self, X: Any) -> Any:
        """Return samples from their coordinates.

        Parameters
        ----------
        X : array
            ``(n_samples, n_components)``.
        """
        components, mean, variance = self._beside(X, "components_", "mean_", "explained_variance_")
        x = X if is_cupy_array(X) else np.asarray(X)
        return x @ (variance[:, None] ** 0.5 * components if self.whiten else components) + mean

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.array_api_support = False  # CuPy's arrays are taken as they are, others' become NumPy's
        return tags

    def _onto(self, x: Any) -> Any:
        components, mean, variance = self._beside(x, "components_", "mean_", "explained_variance_")
        coordinates = onto_axes(x, mean, components)
        if self.whiten:
            xp = namespace_of(x)
            coordinates /= xp.maximum(variance**0.5, np.finfo(variance.dtype).eps)
        return coordinates

    def _fitted(self, X: Any) -> Any:
        """Learn the components and return the checked data; None where it has to be scikit-learn's own code."""
        solver = self._solver(X)
        if solver in ("arpack", "full") and not (solver == "full" and is_cupy_array(X)):
            return None
        x = self._checked(X, reset=True)
        fewest, least = min(x.shape), 1 if solver == "randomized" else 0
        k = fewest if self.n_components is None else int(self.n_components)
        if not least <= k <= fewest:
            raise SettingsError(
                f"n_components={k} must be between {least} and min(n_samples, n_features)={fewest} with "
                f"svd_solver={solver!r}"
            )
        self._fit_svd_solver = solver
        self._keep(x, k, self._axes(x, k, solver))
        return x

    def _solver(self, x: Any) -> str:
        """Return the solver that takes the data, ``"full"`` and ``"arpack"`` for scikit-learn's own code."""
        wanted, solver = self.n_components, str(self.svd_solver)
        shared = isinstance(wanted, str) or (isinstance(wanted, float) and wanted < 1)
        if not is_plain(x) or solver == "arpack" or shared:
            what = "a sparse matrix" if not is_plain(x) else f"n_components = {wanted!r}" if shared else "'arpack'"
            self._by_scikit_learn(x, what)
            return "arpack"
        shape = x.shape if hasattr(x, "shape") else np.asarray(x).shape
        n, m = shape if len(shape) == 2 else (0, 0)
        if solver != "auto" or n == 0:
            return solver if n else "full"
        if m <= 1000 and n >= 10 * m:  # as scikit-learn decides
            return "covariance_eigh"
        k = min(n, m) if wanted is None else wanted
        return "randomized" if max(n, m) > 500 and 1 <= k < 0.8 * min(n, m) else "full"

    def _axes(self, x: Any, k: int, solver: str) -> PrincipalAxes:
        if solver != "randomized":
            return principal_axes(x, k, precise=solver == "full")
        if self.power_iteration_normalizer != "auto":
            warnings.warn(
                "gpucells' PCA: power_iteration_normalizer is not honoured: directions are always made orthonormal",
                UserWarning, stacklevel=4,
            )  # fmt: skip
        readings = READINGS if self.iterated_power == "auto" else int(self.iterated_power) + 2  # no less than theirs
        seed = check_random_state(self.random_state)
        return principal_axes(x, k, way="fast", readings=readings, more=int(self.n_oversamples), seed=seed)

    def _keep(self, x: Any, k: int, found: PrincipalAxes) -> None:
        xp, dtype, (n, m) = namespace_of(x), x.dtype, x.shape
        free = max(n - 1, 1)
        variance, total = found.singular_values**2 / free, found.sum_of_squares / free
        ratio = variance / total if total > 0 else np.full(k, np.nan)
        self.n_samples_, self.n_components_ = n, k
        self.components_, self.mean_ = found.axes, found.mean
        self.explained_variance_, self.explained_variance_ratio_, self.singular_values_ = (
            xp.asarray(values.astype(dtype)) for values in (variance, ratio, found.singular_values)
        )
        rest = (
            m if self._fit_svd_solver == "covariance_eigh" else min(n, m)
        ) - k  # scikit-learn's mean is over as many
        self.noise_variance_ = float(max(total - variance.sum(), 0.0) / rest) if k < min(n, m) else 0.0
