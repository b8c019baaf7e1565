"""scikit-learn's ``NMF``, computed by :func:`gpucells.ops.nmf.nmf`."""

from __future__ import annotations

import warnings
from typing import Any

from sklearn import decomposition
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from gpucells.compat.sklearn.estimator import Estimator, is_plain
from gpucells.errors import SettingsError
from gpucells.ops.nmf import Factorization, nmf
from gpucells.ops.nmf_rows import reconstruction_error
from gpucells.ops.nmf_start import initial_factors

LOSSES: dict[Any, Any] = {
    "frobenius": "frobenius", 2: "frobenius", "kullback-leibler": "kullback-leibler", 1: "kullback-leibler",
}  # fmt: skip
SOLVERS: dict[str, Any] = {"cd": "hals", "mu": "mu"}


class NMF(Estimator, decomposition.NMF):  # type: ignore[misc]
    """Non-negative matrix factorisation with the parameters and attributes of ``sklearn.decomposition.NMF``.

    Objective, scaling of the penalties, order of updates and stopping are scikit-learn's; from the same start, and so
    from the same ``random_state`` with ``init="random"``, the factors are its factors but for rounding. float32 and
    float64 stay what they are, everything else becomes float64. CuPy arrays stay on their GPU, and so do the results.

    scikit-learn's own code is called, with a warning, for sparse matrices and for a ``beta_loss`` that is neither the
    Frobenius norm nor the Kullback-Leibler divergence. ``verbose`` prints nothing.
    """

    def fit_transform(self, X: Any, y: Any = None, W: Any = None, H: Any = None) -> Any:
        """Learn a factorisation, and return the factor of the samples.

        Parameters
        ----------
        X : array or sparse matrix
            ``(n_samples, n_features)``, not negative; NumPy, CuPy, or SciPy's sparse.
        y : None
            Ignored.
        W, H : array, optional
            ``(n_samples, n_components)`` and ``(n_components, n_features)`` to start from, with ``init="custom"``.

        Returns
        -------
        array
            ``(n_samples, n_components)``, where ``X`` is.
        """
        self._validate_params()
        if not self._is_ours(X):
            return super().fit_transform(X, W=W, H=H)
        x = self._checked(X, reset=True, ensure_non_negative=True)
        found = self._converged(nmf(x, **self._start(x, W, H), **self._rules()))
        self.components_, self.n_iter_, self.n_components_ = found.h, found.n_iterations, len(found.h)
        self.reconstruction_err_ = reconstruction_error(x, found.w, found.h, LOSSES[self.beta_loss])
        return found.w

    def transform(self, X: Any) -> Any:
        """Return the factor of other samples, with the components as they are.

        Parameters
        ----------
        X : array or sparse matrix
            ``(n_samples, n_features)``, not negative.
        """
        (components,) = self._beside(X, "components_")
        if not self._is_ours(X):
            return super().transform(X)
        x = self._checked(X, reset=False, ensure_non_negative=True)
        return self._converged(nmf(x, h=components, fixed_h=True, **self._rules())).w

    def inverse_transform(self, X: Any) -> Any:
        """Return samples from their factor.

        Parameters
        ----------
        X : array
            ``(n_samples, n_components)``.
        """
        return X @ self._beside(X, "components_")[0]

    def _is_ours(self, x: Any) -> bool:
        if self.solver == "cd" and LOSSES.get(self.beta_loss) != "frobenius":
            raise SettingsError(
                f"Invalid beta_loss parameter: solver 'cd' does not handle beta_loss = {self.beta_loss!r}",
                "use solver='mu'",
            )
        if is_plain(x) and self.beta_loss in LOSSES:
            return True
        self._by_scikit_learn(x, f"beta_loss = {self.beta_loss!r}" if is_plain(x) else "a sparse matrix")
        return False

    def _start(self, x: Any, w: Any, h: Any) -> dict[str, Any]:
        """Return the factors to start from."""
        if self.verbose:
            warnings.warn(
                "gpucells' NMF: verbose is not honoured: the library does not print", UserWarning, stacklevel=3
            )
        wanted = None if self.n_components in (None, "auto") else int(self.n_components)
        if self.init == "custom":
            if w is None or h is None:
                raise SettingsError("init = 'custom' without both W and H", "give fit_transform(X, W=…, H=…)")
            full = x.shape[1] if self.n_components is None else wanted
            return {"w": w, "h": h, "n_components": full}
        if w is not None or h is not None:
            said = "When init!='custom', provided W or H are ignored. Set init='custom' to use them as initialization."
            warnings.warn(said, RuntimeWarning, stacklevel=3)
        if self.solver == "mu" and self.init == "nndsvd":
            said = (
                "solver='mu' cannot change the zeros of init='nndsvd'; try init='nndsvda' or init='nndsvdar' instead."
            )
            warnings.warn(said, UserWarning, stacklevel=3)
        n = x.shape[1] if wanted is None else wanted
        first_w, first_h = initial_factors(x, n, self.init, check_random_state(self.random_state))
        return {"w": first_w, "h": first_h}

    def _rules(self) -> dict[str, Any]:
        return {
            "solver": SOLVERS[self.solver], "loss": LOSSES[self.beta_loss], "tol": float(self.tol),
            "max_iterations": int(self.max_iter), "alpha_w": self.alpha_W, "alpha_h": self.alpha_H,
            "l1_ratio": self.l1_ratio, "shuffle": bool(self.shuffle), "seed": check_random_state(self.random_state),
        }  # fmt: skip

    def _converged(self, found: Factorization) -> Factorization:
        if not found.converged and self.tol > 0:
            said = f"Maximum number of iterations {self.max_iter} reached. Increase it to improve convergence."
            warnings.warn(said, ConvergenceWarning, stacklevel=3)
        return found
