"""Settings are frozen, validated, and explain what is wrong with them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError

from gpucells.errors import SettingsError
from gpucells.settings import RunSettings, Settings


def test_defaults_are_valid_and_complete() -> None:
    run = RunSettings()
    assert run.device == "auto"
    assert run.frame_rate_hz is None, "a frame rate is never assumed"
    assert RunSettings.from_values(run.model_dump()) == run


@pytest.mark.parametrize(
    ("values", "message", "hint"),
    [
        ({"frame_rate": 10}, "unknown setting 'frame_rate'", "did you mean 'frame_rate_hz'?"),
        ({"qqqqqq": 10}, "unknown setting 'qqqqqq'", "gpucells settings"),
        ({"frame_rate_hz": -2}, "frame_rate_hz = -2", "frames a second"),
        ({"cell_diameter_px": 1}, "cell_diameter_px = 1", "width of a cell"),
        ({"device": "gpu"}, "device = 'gpu'", "cuda:0"),
        ({"preset": "three_photon"}, "preset = 'three_photon'", "recording type"),
        ({"memory_bytes": 0}, "memory_bytes = 0", "host memory"),
        ({"device_memory_bytes": 0}, "device_memory_bytes = 0", "memory of the GPU"),
        ({"seed": "x"}, "seed = 'x'", "seed"),
    ],
)
def test_wrong_values_are_explained(values: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        RunSettings.from_values(values)
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:13", "cuda:0,1", "cuda:12,3,0", "cuda:all"])
def test_devices_have_names(device: str) -> None:
    assert RunSettings(device=device).device == device


@pytest.mark.parametrize(
    "device", ["cuda:", "cuda:0,", "cuda:,1", "cuda:0;1", "cuda:0,all", "cuda:-1", "all", "cpu,cuda:0"]
)
def test_names_that_are_no_device(device: str) -> None:
    with pytest.raises(SettingsError, match="device") as caught:
        RunSettings.from_values({"device": device})
    assert "cuda:0,1" in caught.value.hint


def test_settings_do_not_change() -> None:
    run = RunSettings()
    with pytest.raises(ValidationError):
        run.seed = 3  # type: ignore[misc]
    changed = run.changed(seed=3)
    assert (run.seed, changed.seed) == (0, 3)
    with pytest.raises(SettingsError):
        run.changed(seed=-1)


def test_every_run_setting_says_what_it_is_for() -> None:
    assert all(field.description for field in RunSettings.model_fields.values())


def test_a_setting_of_several_types_is_called_by_its_name() -> None:
    class Either(Settings):
        count: Annotated[int, Field(ge=0)] | Literal["auto"] = Field("auto", description="how many")

    for value in (-1, "many", 2.5):
        with pytest.raises(SettingsError, match="count = ") as caught:
            Either.from_values({"count": value})
        assert caught.value.hint == "how many"


def test_wrong_default_is_caught() -> None:
    class Wrong(Settings):
        share: float = Field(2.0, le=1)

    with pytest.raises(SettingsError, match=r"share = 2\.0"):
        Wrong.from_values({})
