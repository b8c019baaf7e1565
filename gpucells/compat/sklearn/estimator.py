"""What the three estimators share: names of parameters, input on either side, scikit-learn's own code at last."""

from __future__ import annotations

import inspect
import warnings
from typing import Any, Self

import numpy as np
from array_api_compat import is_cupy_array
from scipy import sparse
from sklearn.utils.validation import check_is_fitted, validate_data

from gpucells.device.arrays import namespace_of, to_host
from gpucells.errors import InputError, SettingsError
from gpucells.settings import nearest

FLOATS = [np.float64, np.float32]


class Estimator:
    """Before scikit-learn's class among the bases of an estimator of ours."""

    def __init_subclass__(cls, **rules: Any) -> None:
        """Say that parameters are those of ``__init__``, not those of ``__new__``."""
        super().__init_subclass__(**rules)
        signature = inspect.signature(cls.__init__)
        cls.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])  # type: ignore[attr-defined]

    def __new__(cls, *args: Any, **parameters: Any) -> Self:
        """Refuse unknown parameters, with the nearest known name."""
        known = cls._get_param_names()  # type: ignore[attr-defined]
        for name in parameters:
            if name not in known:
                raise SettingsError(f"{cls.__name__} has no parameter {name!r}", nearest(name, known))
        return super().__new__(cls)

    def _checked(self, x: Any, *, reset: bool, **rules: Any) -> Any:
        """Return data as float32 or float64, ``(n_samples, n_features)``, where they are; refuse what cannot be used.

        On the host this is scikit-learn's own check, with its ``rules``; on a GPU the same in few lines.
        """
        if not is_cupy_array(x):
            return validate_data(self, x, dtype=FLOATS, reset=reset, **rules)
        if x.ndim != 2:
            raise InputError(f"Expected 2D array, got an array of {x.ndim} axes", "reshape it")
        fewest = rules.get("ensure_min_samples", 1)
        if x.dtype.kind not in "biuf" or len(x) < fewest or x.shape[1] < 1:
            raise InputError(
                f"an array of shape {x.shape} and type {x.dtype}",
                f"give real numbers, at least {fewest} sample(s) and 1 feature",
            )
        if reset:
            self.n_features_in_ = x.shape[1]
            vars(self).pop("feature_names_in_", None)
        elif x.shape[1] != self.n_features_in_:
            raise InputError(
                f"X has {x.shape[1]} features, but {type(self).__name__} is expecting {self.n_features_in_} features "
                "as input"
            )
        xp = namespace_of(x)
        x = x if x.dtype in FLOATS else x.astype(xp.float64)
        if not bool(xp.isfinite(x.sum(dtype=xp.float64))):
            raise InputError("Input X contains NaN or infinity.")
        if rules.get("ensure_non_negative") and bool((x < 0).any()):
            raise InputError(f"Negative values in data passed to X in {type(self).__name__}.")
        return x

    def _by_scikit_learn(self, x: Any, what: str) -> None:
        """Say that scikit-learn's own code does what follows; refuse data on a GPU, which it does not take."""
        if is_cupy_array(x):
            raise SettingsError(f"{what} is done by scikit-learn's own code, which does not take CuPy arrays",
                                "give a NumPy array")  # fmt: skip
        name = type(self).__name__
        warnings.warn(f"gpucells' {name}: {what} is done by scikit-learn's own code", UserWarning, stacklevel=3)

    def _beside(self, x: Any, *names: str) -> list[Any]:
        """Return fitted attributes on the side of some data, whichever side the model was fitted on."""
        check_is_fitted(self)
        return [_moved(getattr(self, name, None), x) for name in names]


def is_plain(x: Any) -> bool:
    """Whether data are not a sparse matrix.

    Parameters
    ----------
    x : array or sparse matrix
        As given.
    """
    return not sparse.issparse(x)


def _moved(array: Any, x: Any) -> Any:
    if not hasattr(array, "shape"):
        return array
    return namespace_of(x).asarray(array) if is_cupy_array(x) else to_host(array)
