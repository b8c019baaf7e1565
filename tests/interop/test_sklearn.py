"""The estimators beside scikit-learn's own: its checks, its numbers, its errors, and a script with another import."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.nmf import objective
from scipy import sparse

from gpucells.errors import SettingsError

sklearn = pytest.importorskip("sklearn", reason="scikit-learn is the peer: pip install gpucells[sklearn]")
from sklearn import base, decomposition, pipeline, preprocessing  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.utils.estimator_checks import check_estimator  # noqa: E402

from gpucells.compat import sklearn as ours  # noqa: E402
from gpucells.compat.sklearn import parameters  # noqa: E402

NAMES = ("NMF", "FastICA", "PCA")
SCRIPT = Path(__file__).parent / "scripts" / "decompose.py"


def nonnegative(n: int = 90, m: int = 40) -> Any:
    rng = np.random.default_rng(1)
    return rng.gamma(0.5, 1, (n, 5)) @ rng.gamma(0.5, 1, (5, m)) + 0.2 * rng.random((n, m))


def mixed(n: int = 2000, m: int = 12, level: float = 0.0) -> Any:
    """Five sparse sources, mixed, and some noise."""
    rng = np.random.default_rng(2)
    sources = rng.exponential(1, (n, 5)) * (rng.random((n, 5)) < 0.2)
    return sources @ rng.normal(size=(5, m)) * np.linspace(1, 2, m) + 0.05 * rng.normal(size=(n, m)) + level


def pair(name: str, *args: Any, **settings: Any) -> tuple[Any, Any]:
    return getattr(ours, name)(*args, **settings), getattr(decomposition, name)(*args, **settings)


def fitted(model: Any, x: Any, **more: Any) -> Any:
    """Return what ``fit_transform`` returns, without the word that it did not converge."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit_transform(x, **more)


CHECKED: list[tuple[str, dict[str, Any]]] = [
    ("NMF", {}), ("NMF", {"max_iter": 500}),
    ("NMF", {"solver": "mu", "n_components": 2, "max_iter": 5000, "tol": 1e-6}),
    ("NMF", {"solver": "mu", "beta_loss": "kullback-leibler", "n_components": 2, "max_iter": 500}),
    ("FastICA", {}), ("FastICA", {"fun": "exp", "whiten_solver": "eigh", "n_components": 2}),
    ("FastICA", {"algorithm": "deflation"}),
    ("PCA", {}), ("PCA", {"svd_solver": "covariance_eigh"}), ("PCA", {"svd_solver": "randomized", "n_components": 2}),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "settings"), CHECKED, ids=str)
def test_scikit_learns_own_checks_pass(name: str, settings: dict[str, Any]) -> None:
    expected = {} if settings else parameters.EXPECTED_FAILED_CHECKS[name]
    results = check_estimator(getattr(ours, name)(**settings), expected_failed_checks=expected, on_fail=None)
    failed = {result["check_name"]: result["exception"] for result in results if result["status"] == "failed"}
    assert not failed
    assert {result["check_name"] for result in results if result["status"] == "xfail"} == set(expected)
    assert sum(result["status"] == "passed" for result in results) > 40


SOLVED: list[dict[str, Any]] = [
    {}, {"alpha_W": 0.01, "l1_ratio": 0.5}, {"alpha_W": 0.02, "alpha_H": 0.1, "l1_ratio": 1.0}, {"init": "random"},
    {"init": "nndsvd"}, {"init": "nndsvdar", "shuffle": True},
    {"solver": "mu"}, {"solver": "mu", "beta_loss": "kullback-leibler", "alpha_W": 0.003, "l1_ratio": 0.5},
    {"solver": "mu", "beta_loss": 1, "init": "random"},
]  # fmt: skip


@pytest.mark.parametrize("settings", SOLVED, ids=str)
def test_nmf_reaches_scikit_learns_objective(settings: dict[str, Any]) -> None:
    x = nonnegative()
    mine, theirs = pair("NMF", 5, tol=0, max_iter=40, random_state=3, **settings)
    reached = []
    for model in (mine, theirs):
        w = fitted(model, x)
        strength_h = model.alpha_W if model.alpha_H == "same" else model.alpha_H
        loss = "frobenius" if model.beta_loss == "frobenius" else "kullback-leibler"
        reached.append(objective(x, w, model.components_, loss=loss, alpha_w=model.alpha_W, alpha_h=strength_h,
                                 l1_ratio=model.l1_ratio))  # fmt: skip
        assert model.n_iter_ == 40
    assert reached[0] <= reached[1] * (1 + 1e-3)
    assert mine.reconstruction_err_ == pytest.approx(theirs.reconstruction_err_, rel=2e-2)
    if settings.get("init") == "random":  # the same numbers to start from
        np.testing.assert_allclose(mine.components_, theirs.components_, rtol=0, atol=1e-8)


@pytest.mark.parametrize("settings", [{}, {"solver": "mu"}, {"solver": "mu", "beta_loss": "kullback-leibler"}], ids=str)
def test_nmf_from_given_factors_and_transform_are_scikit_learns(settings: dict[str, Any]) -> None:
    x, rng = nonnegative(), np.random.default_rng(0)
    w, h = rng.random((90, 4)), rng.random((4, 40))
    results = []
    for model in pair("NMF", init="custom", max_iter=300, **settings):
        first = fitted(model, x, W=w.copy(), H=h.copy())
        results.append([first, model.components_, model.transform(x[:20]), model.inverse_transform(first[:3])])
        results[-1].append([model.n_components_, model.n_iter_, model.n_features_in_, model._n_features_out])
    for mine, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-7)


ICA: list[dict[str, Any]] = [
    {}, {"fun": "exp"}, {"fun": "cube", "whiten": "arbitrary-variance"},
    {"whiten_solver": "eigh", "n_components": None}, {"fun_args": {"alpha": 1.5}},
]  # fmt: skip


@pytest.mark.parametrize("settings", ICA, ids=str)
def test_ica_is_scikit_learns_with_its_signs(settings: dict[str, Any]) -> None:
    x = mixed(m=5 if "n_components" in settings else 12, level=3.0)
    rules = {"n_components": 5, "random_state": 0, "tol": 1e-6, "max_iter": 500} | settings
    results = []
    for model in pair("FastICA", **rules):
        sources = model.fit_transform(x)
        np.testing.assert_allclose(model.transform(x), sources, atol=1e-9)
        results.append([model.components_, model.mixing_, model.mean_, model.whitening_, sources, [model.n_iter_]])
        results[-1].append(model.inverse_transform(sources))
    for mine, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())


def test_ica_of_white_data_and_with_a_start() -> None:
    x = decomposition.PCA(4, whiten=True).fit_transform(mixed())
    start = np.random.default_rng(0).normal(size=(4, 4))
    mine, theirs = pair("FastICA", whiten=False, w_init=start, tol=1e-8, max_iter=500)
    np.testing.assert_allclose(mine.fit_transform(x), theirs.fit_transform(x), atol=1e-6)
    assert not hasattr(mine, "mean_")
    with pytest.raises(SettingsError, match="w_init has invalid shape"):
        ours.FastICA(3, w_init=start).fit(x)


PCAS: list[dict[str, Any]] = [
    {"svd_solver": "randomized"}, {"svd_solver": "covariance_eigh"}, {"svd_solver": "full"}, {"whiten": True}, {},
    {"svd_solver": "randomized", "iterated_power": 3, "whiten": True},
]  # fmt: skip


@pytest.mark.parametrize("shape", [(2000, 12), (30, 60)], ids=str)
@pytest.mark.parametrize("settings", PCAS, ids=str)
def test_pca_is_scikit_learns(settings: dict[str, Any], shape: tuple[int, int]) -> None:
    x = mixed(*shape, level=10.0)
    results = []
    for model in pair("PCA", 4, random_state=0, **settings):
        coordinates = model.fit_transform(x)
        names = ("components_", "explained_variance_", "explained_variance_ratio_", "singular_values_", "mean_",
                 "noise_variance_", "n_components_", "n_samples_", "n_features_in_")  # fmt: skip
        results.append([coordinates, model.transform(x), model.inverse_transform(coordinates)])
        results[-1] += [getattr(model, name) for name in names] + [model.get_covariance(), model.score(x)]
        assert next(iter(model.get_feature_names_out())) == "pca0"
    for mine, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize("name", NAMES)
def test_float32_stays_and_whole_numbers_become_float64(name: str) -> None:
    x = nonnegative()
    for dtype, wanted in ((np.float32, np.float32), (np.float64, np.float64), (np.uint8, np.float64)):
        model = getattr(ours, name)(3)
        given = np.round(20 * x).astype(dtype)
        before = given.copy()
        assert fitted(model, given).dtype == wanted
        assert model.components_.dtype == wanted
        assert model.transform(given).dtype == wanted
        np.testing.assert_array_equal(given, before)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_clones_pipelines_and_copies(name: str) -> None:
    x = nonnegative()
    model = getattr(ours, name)(3, random_state=0)
    theirs = getattr(decomposition, name)
    assert isinstance(model, theirs)
    assert list(inspect.signature(type(model)).parameters) == list(inspect.signature(theirs).parameters)
    assert model.set_params(n_components=4).get_params()["n_components"] == 4
    again = base.clone(model)
    assert again.get_params() == model.get_params()
    wanted = fitted(model, x)
    np.testing.assert_array_equal(fitted(again, x), wanted)
    line = pipeline.make_pipeline(preprocessing.MinMaxScaler(), base.clone(model))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert line.fit_transform(x).shape == (90, 4)
        copied = pickle.loads(pickle.dumps(model))  # noqa: S301
        np.testing.assert_array_equal(copied.transform(x), model.transform(x))
    with pytest.raises(ValueError, match="Invalid parameter"):
        model.set_params(n_component=3)


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_is_refused(name: str) -> None:
    cls, x = getattr(ours, name), nonnegative()
    with pytest.raises(SettingsError, match=r"no parameter 'n_componets' \(did you mean 'n_components'\?\)"):
        cls(n_componets=3)
    for bad in ({"n_components": -1}, {"tol": -1.0}, {"random_state": "x"}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            cls(**bad).fit(x)
    with pytest.raises(ValueError, match="NaN"):
        cls(3).fit(np.where(x == x[4, 5], np.nan, x))
    if name == "NMF":
        with pytest.raises(ValueError, match="Negative values"):
            cls(3).fit(-x)
        with pytest.raises(ValueError, match="Invalid beta_loss"):
            cls(3, beta_loss="kullback-leibler").fit(x)
        with pytest.raises(ValueError, match="init = 'custom'"):
            cls(3, init="custom").fit(x)


def cubed(x: Any) -> Any:
    return x**3, (3 * x**2).mean(axis=-1)


WARNED: list[tuple[str, dict[str, Any], str]] = [
    ("NMF", {"verbose": 1}, "does not print"), ("NMF", {"solver": "mu", "beta_loss": 1.5}, "own code"),
    ("NMF", {"solver": "mu", "init": "nndsvd"}, "zeros"), ("FastICA", {"algorithm": "deflation"}, "own code"),
    ("FastICA", {"fun": cubed}, "own code"),
    ("PCA", {"svd_solver": "randomized", "power_iteration_normalizer": "LU"}, "not honoured"),
    ("PCA", {"svd_solver": "arpack"}, "own code"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "settings", "words"), WARNED, ids=lambda one: one if isinstance(one, str) else "-".join(one)
)
def test_what_is_not_ours_is_said_once(name: str, settings: dict[str, Any], words: str) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        getattr(ours, name)(3, **settings).fit(nonnegative())
    texts = [str(one.message) for one in said if not issubclass(one.category, ConvergenceWarning)]
    assert len(texts) == 1
    assert words in texts[0]


def test_sparse_matrices_and_shares_of_variance_are_scikit_learns() -> None:
    x = np.where(nonnegative() < 1, 0, nonnegative())
    mine, theirs = pair("NMF", 3, random_state=0, max_iter=50, tol=0)
    with pytest.warns(UserWarning, match="a sparse matrix"):
        w = fitted(mine, sparse.csr_array(x))
    np.testing.assert_allclose(w, fitted(theirs, sparse.csr_array(x)))
    with pytest.warns(UserWarning, match="a sparse matrix"):
        assert mine.transform(sparse.csr_array(x[:5])).shape == (5, 3)
    mine, theirs = pair("PCA", 0.9)
    with pytest.warns(UserWarning, match="n_components = 0.9"):
        mine.fit(x)
    assert mine.n_components_ == theirs.fit(x).n_components_


def test_a_script_with_another_import_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    text = SCRIPT.read_text(encoding="utf-8")
    assert text.count("from sklearn.decomposition import") == 1
    said = []
    for module in ("sklearn.decomposition", "gpucells.compat.sklearn"):
        exec(text.replace("from sklearn.decomposition import", f"from {module} import"), {})
        said.append(capsys.readouterr().out)
    assert said[0].count("\n") >= 5
    assert said[1] == said[0]


def test_without_scikit_learn_the_error_says_what_to_do() -> None:
    code = "import sys; sys.modules['sklearn'] = None\nfrom gpucells.compat import sklearn"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingDependencyError" in ran.stderr
    assert 'pip install "gpucells[sklearn]"' in ran.stderr


def test_the_page_has_the_codes_tables(repository: Path) -> None:
    page = (repository / "docs" / "compat" / "sklearn.md").read_text(encoding="utf-8")
    for name in NAMES:
        assert list(parameters.PARAMETERS[name]) == list(inspect.signature(getattr(ours, name)).parameters)
        assert parameters.parameter_table(name) in page
    assert parameters.failures_table() in page
    measured = (repository / "benchmarks" / "results" / "sklearn.md").read_text(encoding="utf-8")
    assert measured.strip() in page, "python benchmarks/readme.py"
