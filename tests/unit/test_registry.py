"""Methods by name."""

from __future__ import annotations

import pytest

from gpucells.errors import SettingsError
from gpucells.methods.registry import METHOD_NAMES, FieldModel, LowRankModel, find_method


@pytest.mark.parametrize("name", METHOD_NAMES)
@pytest.mark.parametrize("preset", ["one_photon", "two_photon"])
def test_every_method_has_what_a_run_asks_of_it(name: str, preset: str) -> None:
    method = find_method(name)
    assert method.name == name
    assert method.title
    settings = method.settings(preset, {"downsample_time_by": 3})
    assert settings.downsample_time_by == 3
    assert settings.min_tau_after_downsampling > 0
    assert settings.model_dump()["downsample_time_by"] == 3
    assert callable(method.solve)
    if isinstance(method.model, LowRankModel):
        assert callable(method.model.final_updates)
        assert callable(method.model.order_cells)
        return
    coarse, fine = method.model.background((20, 30), 4.0, settings)
    for nodes in (coarse, fine):
        assert nodes.on(slice(0, 20), slice(10, 30)).images().shape[1] == 20 * 20
    assert coarse.at_nodes_of(fine).shape == tuple(n.on(slice(0, 1), slice(0, 1)).n_nodes for n in (coarse, fine))
    assert callable(method.model.trace_solver)


def test_no_background_has_no_nodes() -> None:
    method = find_method("extract")
    settings = method.settings("two_photon", {"background": "none"})
    assert isinstance(method.model, FieldModel)
    for nodes in method.model.background((20, 30), 4.0, settings):
        assert nodes.on(slice(0, 20), slice(0, 10)).images().shape == (0, 200)


@pytest.mark.parametrize(("name", "hint"), [("extrct", "did you mean 'extract'"), ("zzz", "one of extract, cnmf")])
def test_an_unknown_method_is_refused(name: str, hint: str) -> None:
    with pytest.raises(SettingsError, match=f"unknown method '{name}'") as caught:
        find_method(name)
    assert hint in caught.value.hint


def test_settings_of_a_method_are_checked() -> None:
    with pytest.raises(SettingsError, match="unknown setting 'max_itr'") as caught:
        find_method("extract").settings("two_photon", {"max_itr": 3})
    assert "max_iter" in caught.value.hint
