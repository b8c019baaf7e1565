"""A script for scikit-learn: components of a small two-photon-like movie, three ways, in a pipeline and by hand."""

import numpy as np
from sklearn.decomposition import NMF, PCA, FastICA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

rng = np.random.default_rng(0)
activity = rng.exponential(1, (600, 4)) * (rng.random((600, 4)) < 0.1)
frames = activity @ rng.gamma(0.3, 1, (4, 80)) + 0.05 * rng.random((600, 80))


def found(traces: np.ndarray) -> list[float]:
    """Return the correlation of each true trace with the one most like it."""
    r = np.abs(np.corrcoef(activity.T, traces.T)[:4, 4:])
    return [round(float(value), 2) for value in r.max(axis=1)]


nmf = NMF(n_components=4, init="nndsvda", random_state=0, max_iter=500)
print("NMF", found(nmf.fit_transform(frames)), nmf.components_.shape, round(nmf.reconstruction_err_, 3))
ica = FastICA(n_components=4, whiten="unit-variance", random_state=0)
print("FastICA", found(ica.fit_transform(frames)), ica.mixing_.shape, ica.n_iter_)
pca = PCA(n_components=4, svd_solver="randomized", random_state=0).fit(frames)
print("PCA", np.round(pca.explained_variance_ratio_, 4), np.round(pca.components_[:, 0], 4))
rest = frames - pca.inverse_transform(pca.transform(frames))
print("left", round(float((rest**2).sum() / (frames**2).sum()), 5))
line = make_pipeline(
    StandardScaler(), PCA(n_components=6, whiten=True, random_state=0), FastICA(whiten=False, random_state=1)
)
print("pipeline", found(line.fit_transform(frames)))
print("names", list(line.get_feature_names_out())[:2])
