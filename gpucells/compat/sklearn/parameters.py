"""What each parameter does here, and what of ``check_estimator`` is expected to fail: for docs/compat/sklearn.md."""

from __future__ import annotations

AS_THEIRS = "as scikit-learn"
THEIR_CODE = "by scikit-learn's own code, with a warning"

#: By estimator and parameter, in scikit-learn's order: what it does here.
PARAMETERS: dict[str, dict[str, str]] = {
    "NMF": {
        "n_components": AS_THEIRS,
        "init": f"{AS_THEIRS}; `random` gives its very numbers, NNDSVD its factors but for the accuracy of the "
        "randomised singular vectors",
        "solver": AS_THEIRS,
        "beta_loss": f"`frobenius`, `kullback-leibler`, 2 and 1 {AS_THEIRS}; others {THEIR_CODE}",
        "tol": AS_THEIRS,
        "max_iter": AS_THEIRS,
        "random_state": AS_THEIRS,
        "alpha_W": AS_THEIRS,
        "alpha_H": AS_THEIRS,
        "l1_ratio": AS_THEIRS,
        "verbose": "not honoured, with a warning: the library does not print",
        "shuffle": AS_THEIRS,
    },
    "FastICA": {
        "n_components": AS_THEIRS,
        "algorithm": f"`parallel` {AS_THEIRS}; `deflation` {THEIR_CODE}",
        "whiten": AS_THEIRS,
        "fun": f"`logcosh`, `exp` and `cube` {AS_THEIRS}; a function {THEIR_CODE}",
        "fun_args": AS_THEIRS,
        "max_iter": AS_THEIRS,
        "tol": AS_THEIRS,
        "w_init": AS_THEIRS,
        "whiten_solver": f"`eigh` {AS_THEIRS}; `svd` by the matrix of products too, in float64 or by the decomposition "
        "itself where little variance is kept",
        "random_state": AS_THEIRS,
    },
    "PCA": {
        "n_components": f"a number or None {AS_THEIRS}; a share of variance and `mle` {THEIR_CODE}",
        "copy": "not needed: the data are never overwritten",
        "whiten": AS_THEIRS,
        "svd_solver": f"`randomized`, `covariance_eigh` and `auto` {AS_THEIRS}; `full` is scikit-learn's own code on "
        f"the host and ours on a GPU; `arpack` {THEIR_CODE}",
        "tol": "of `arpack`",
        "iterated_power": "q iterations are q + 2 readings of the data, which find no less; `auto` is 5 readings",
        "n_oversamples": AS_THEIRS,
        "power_iteration_normalizer": "not honoured, with a warning: directions are always made orthonormal",
        "random_state": AS_THEIRS,
    },
}

_TOO_FEW_ITERATIONS = (
    "200 iterations are too few on the check's data for `fit_transform` and `transform` to agree to 0.01; "
    "scikit-learn's own `NMF()` fails it too, and neither does with `max_iter=500`, as scikit-learn tests its own"
)
#: By estimator with its default parameters: checks of ``check_estimator`` that fail, and why. To be handed over as
#: ``check_estimator(NMF(), expected_failed_checks=EXPECTED_FAILED_CHECKS["NMF"])``.
EXPECTED_FAILED_CHECKS: dict[str, dict[str, str]] = {
    "NMF": {
        "check_transformer_general": _TOO_FEW_ITERATIONS,
        "check_transformer_data_not_an_array": _TOO_FEW_ITERATIONS,
    },
    "FastICA": {},
    "PCA": {},
}


def parameter_table(name: str) -> str:
    """Return what the parameters of an estimator do here, as a Markdown table."""
    rows = [f"| `{parameter}` | {does} |" for parameter, does in PARAMETERS[name].items()]
    return "\n".join(["| parameter | here |", "|---|---|", *rows])


def failures_table() -> str:
    """Return the expected failures, as a Markdown table."""
    rows = [
        f"| `{name}()` | `{check}` | {reason} |"
        for name, checks in EXPECTED_FAILED_CHECKS.items()
        for check, reason in checks.items()
    ]
    return "\n".join(["| estimator | check | reason |", "|---|---|---|", *rows])
