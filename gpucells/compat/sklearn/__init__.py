"""``NMF``, ``FastICA`` and ``PCA`` of scikit-learn, computed by :mod:`gpucells.ops`: only the import changes.

Each is a subclass of scikit-learn's own class, so that names, defaults, checks of parameters and what is not done here
are scikit-learn's. NumPy arrays are worked on by the CPU, CuPy arrays by their GPU, without a copy to the host; results
are where the data are. What each parameter does here is in :mod:`gpucells.compat.sklearn.parameters`.
"""

from __future__ import annotations

from gpucells.errors import MissingDependencyError

try:
    from gpucells.compat.sklearn.fast_ica import FastICA
    from gpucells.compat.sklearn.nmf import NMF
    from gpucells.compat.sklearn.pca import PCA
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "sklearn":
        raise
    raise MissingDependencyError(
        "gpucells.compat.sklearn needs scikit-learn, which is not installed", 'pip install "gpucells[sklearn]"'
    ) from None

__all__ = ["NMF", "PCA", "FastICA"]
