"""scikit-learn's ``FastICA``, computed by :mod:`gpucells.ops.principal_axes` and :mod:`gpucells.ops.ica`."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from array_api_compat import is_cupy_array
from sklearn import decomposition
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from gpucells.compat.sklearn.estimator import Estimator
from gpucells.device.arrays import namespace_of, to_host
from gpucells.errors import SettingsError
from gpucells.ops.ica import Unmixing, fixed_point_ica
from gpucells.ops.principal_axes import onto_axes, principal_axes

CONTRASTS: dict[str, Any] = {"logcosh": "tanh", "exp": "gauss", "cube": "cube"}


class FastICA(Estimator, decomposition.FastICA):  # type: ignore[misc]
    """Independent components with the parameters and attributes of ``sklearn.decomposition.FastICA``.

    From the same ``w_init``, and so from the same ``random_state``, components are scikit-learn's in order, sign and
    scale but for rounding. float32 and float64 stay what they are, everything else becomes float64. CuPy arrays stay on
    their GPU, and so do the results; the orthonormalisation, of ``(n_components, n_components)``, is the host's.

    Both whitening solvers go by the smaller matrix of products: ``"eigh"`` in the data's own type, as scikit-learn;
    ``"svd"`` in float64, or by the decomposition itself, where the smallest component kept would not be accurate
    otherwise. scikit-learn's own code is called, with a warning, for ``algorithm="deflation"`` and for a ``fun`` of the
    user's.
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
        """Learn the components, and return the sources.

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
        sources = self._fitted(X)
        return super().fit_transform(X) if sources is None else sources

    def transform(self, X: Any, copy: bool = True) -> Any:
        """Return the sources of other samples.

        Parameters
        ----------
        X : array
            ``(n_samples, n_features)``.
        copy : bool
            Whether ``X`` must not be written to, which it is not in either case.
        """
        components, mean = self._beside(X, "components_", "mean_")
        return onto_axes(self._checked(X, reset=False), mean if self.whiten else None, components)

    def inverse_transform(self, X: Any, copy: bool = True) -> Any:
        """Return samples from their sources.

        Parameters
        ----------
        X : array
            ``(n_samples, n_components)``.
        copy : bool
            As for :meth:`transform`.
        """
        mixing, mean = self._beside(X, "mixing_", "mean_")
        x = X if is_cupy_array(X) else np.asarray(X)
        samples = x @ mixing.T
        return samples + mean if self.whiten else samples

    def _fitted(self, X: Any) -> Any:
        """Learn the components and return the sources; None where it has to be scikit-learn's own code."""
        if callable(self.fun) or self.algorithm == "deflation":
            self._by_scikit_learn(X, "a fun of one's own" if callable(self.fun) else "algorithm = 'deflation'")
            return None
        alpha = (self.fun_args or {}).get("alpha", 1.0)
        if not 1 <= alpha <= 2:
            raise SettingsError(f"alpha must be in [1,2], and is {alpha}")
        x = self._checked(X, reset=True, ensure_min_samples=2)
        k = self._number(x)
        whitening, white = self._whitened(x, k)
        unmixing = self._unmixed(white.T, k, alpha)
        xp, dtype, matrix = namespace_of(x), x.dtype, unmixing.matrix
        self.n_iter_ = unmixing.n_iterations
        if not self.whiten:
            self._keep(xp, matrix, matrix, dtype)
            return onto_axes(x, None, self.components_)
        sources = white @ xp.asarray((matrix / np.sqrt(len(x))).T.astype(dtype))
        if self.whiten == "unit-variance":
            size = sources.std(axis=0)
            sources /= size
            matrix = matrix / to_host(size)[:, None]
        self._keep(xp, matrix, matrix @ whitening, dtype)
        return sources

    def _number(self, x: Any) -> int:
        most = min(x.shape)
        if not self.whiten:
            if self.n_components is not None:
                warnings.warn("Ignoring n_components with whiten=False.", UserWarning, stacklevel=4)
            return int(x.shape[1])
        if self.n_components is not None and self.n_components > most:
            warnings.warn(f"n_components is too large: it will be set to {most}", UserWarning, stacklevel=4)
        return int(min(self.n_components or most, most))

    def _whitened(self, x: Any, k: int) -> tuple[Any, Any]:
        """Return the whitening matrix, float64 on the host, and the white samples ``(n_samples, k)``."""
        if not self.whiten:
            return None, x
        found = principal_axes(x, k, precise=self.whiten_solver == "svd")
        values = np.maximum(found.singular_values, 10 * np.finfo(x.dtype).eps)
        axes = np.asarray(to_host(found.axes), np.float64)
        whitening = np.where(axes[:, :1] < 0, -1.0, 1.0) * axes / values[:, None]  # signs as scikit-learn has them
        xp = namespace_of(x)
        self.mean_, self.whitening_ = found.mean, xp.asarray(whitening.astype(x.dtype))
        white = onto_axes(x, found.mean, self.whitening_)
        white *= x.dtype.type(np.sqrt(len(x)))
        return whitening, white

    def _unmixed(self, white: Any, k: int, alpha: float) -> Unmixing:
        random_state = check_random_state(self.random_state)
        start = random_state.normal(size=(k, k)) if self.w_init is None else np.asarray(to_host(self.w_init))
        if start.shape != (k, k):
            raise SettingsError(f"w_init has invalid shape {start.shape}", f"it should be {(k, k)}")
        found = fixed_point_ica(
            white, k, contrast=CONTRASTS[self.fun], alpha=alpha, tol=self.tol, max_iterations=self.max_iter,
            start=start, stop="each", positive=False,
        )  # fmt: skip
        if not found.converged:
            said = "FastICA did not converge. Consider increasing tolerance or the maximum number of iterations."
            warnings.warn(said, ConvergenceWarning, stacklevel=4)
        return found

    def _keep(self, xp: Any, unmixing: Any, components: Any, dtype: Any) -> None:
        self.components_ = xp.asarray(components.astype(dtype))
        self.mixing_ = xp.asarray(np.linalg.pinv(components).astype(dtype))
        self._unmixing = xp.asarray(unmixing.astype(dtype))
