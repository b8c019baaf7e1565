"""Options and the problem that the benchmarks share."""

from __future__ import annotations

from typing import Any

import pytest
from machine import measure_machine
from problem import Problem, make_problem

from gpucells.device.arrays import namespace_on
from gpucells.device.upload import using


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--size", default="128x128x1200x60", help="height x width x frames x cells")
    parser.addoption("--device", default="cpu", help="cpu or cuda:N")


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> Any:
    name = request.config.getoption("--device")
    with using(name):
        yield name


@pytest.fixture(scope="session")
def ceilings(device: str) -> dict[str, Any]:
    return measure_machine(device)


@pytest.fixture(scope="session")
def problem(request: pytest.FixtureRequest, device: str) -> Problem:
    height, width, n_frames, n_cells = (int(n) for n in request.config.getoption("--size").split("x"))
    return make_problem(namespace_on(device), height, width, n_frames, n_cells)
