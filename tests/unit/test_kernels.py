"""Launches: checked against the declaration, with a stand-in for CuPy that records what reaches the device."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gpucells.device import kernels
from gpucells.device.kernels import Array, Define, Kernel, Scalar
from gpucells.errors import KernelError
from gpucells.ops import fold_frames as operation

SCALE = Kernel(
    "scale.cu",
    "scale",
    (
        Array("traces", "T_TRACE", ("n_cells", "n_frames")), Array("weights", "float32", ("n_cells",)),
        Array("pairs", "int32", ("n_pairs", 2)), Scalar("n_cells"), Scalar("n_frames"), Scalar("floor", "float32"),
        Scalar("mode", "int32"), Array("out", "float32", ("n_cells", "n_frames"), written=True),
    ),
    threads=128, registers=32, defines=(Define("T_TRACE", ("uint16", "float32")), Define("LANES", (4, 8))),
)  # fmt: skip


class DeviceArray(np.ndarray):
    """An array that says which device it is on."""

    device = SimpleNamespace(id=0)

    def __array_finalize__(self, _: Any) -> None:
        if not self.flags.owndata:
            self.device = SimpleNamespace(id=0)


def on_device(array: Any, device: int = 0) -> Any:
    moved = np.asarray(array).view(DeviceArray)
    moved.device = SimpleNamespace(id=device)
    return moved


class FakeCupy(SimpleNamespace):
    """Compiles nothing and runs nothing; keeps what it was asked to."""

    __hash__ = object.__hash__

    def __init__(self, failure: Exception | None = None) -> None:
        device = SimpleNamespace(id=0, attributes={"MaxSharedMemoryPerBlockOptin": 100_000})
        super().__init__(
            ndarray=DeviceArray, cuda=SimpleNamespace(Device=lambda: device), current=device, failure=failure,
            RawModule=self.compile, modules=[], launches=[], functions=[],
        )  # fmt: skip

    def compile(self, **what: Any) -> Any:
        self.modules.append(what)
        return SimpleNamespace(get_function=self.function)

    def function(self, name: str) -> Any:
        if self.failure is not None:
            raise self.failure

        def run(*what: Any, **more: Any) -> None:
            self.launches.append((name, *what, more))

        self.functions.append(run)
        return run


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> FakeCupy:
    fake = FakeCupy()
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setattr(kernels, "kernel_text", lambda file: f"text of {file}")
    return fake


def arguments(**changed: Any) -> dict[str, Any]:
    good = {
        "traces": on_device(np.ones((3, 7), np.float32)), "weights": on_device(np.ones(3, np.float32)),
        "pairs": on_device(np.ones((5, 2), np.int32)), "out": on_device(np.ones((3, 7), np.float32)),
        "floor": 1, "mode": np.int64(2), "LANES": 4,
    }  # fmt: skip
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


def test_arguments_arrive_in_order_with_their_types(cupy: FakeCupy) -> None:
    given = arguments()
    SCALE.launch((2, 3), (32, 4), shared_bytes=64, **given)
    ((name, grid, block, values, more),) = cupy.launches
    assert (name, grid, block, more) == ("scale", (2, 3), (32, 4), {"shared_mem": 64})
    assert [type(value) for value in values[3:7]] == [np.int64, np.int64, np.float32, np.int32]
    assert values[3:7] == (3, 7, 1.0, 2)
    for index, array in ((0, "traces"), (1, "weights"), (2, "pairs"), (7, "out")):
        assert values[index] is given[array]


def test_a_variant_is_compiled_once_for_each_device(cupy: FakeCupy) -> None:
    for _ in range(2):
        SCALE.launch((1,), (1,), **arguments())
    SCALE.launch((1,), (1,), **arguments(LANES=8, traces=on_device(np.ones((3, 7), np.uint16))))
    cupy.current.id = 1
    SCALE.launch((1,), (1,), **{n: on_device(v, 1) if np.ndim(v) else v for n, v in arguments().items()})
    code = [module["code"] for module in cupy.modules]
    assert code == [
        "#define T_TRACE float\n#define LANES 4\ntext of scale.cu",
        "#define T_TRACE unsigned short\n#define LANES 8\ntext of scale.cu",
        "#define T_TRACE float\n#define LANES 4\ntext of scale.cu",
    ]
    assert {module["options"] for module in cupy.modules} == {("-std=c++17",)}


def test_every_variant_can_be_listed() -> None:
    assert [dict(variant) for variant in SCALE.variants()] == [
        {"T_TRACE": dtype, "LANES": lanes} for dtype in ("uint16", "float32") for lanes in (4, 8)
    ]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"weights": None}, "arguments missing: weights; not taken: none"),
        ({"n_cells": 3}, "missing: none; not taken: n_cells"),
        ({"traces": None}, "argument traces is None; the kernel is compiled for uint16, float32"),
        (
            {"traces": on_device(np.ones((3, 7)))},
            "argument traces is float64; the kernel is compiled for uint16, float32",
        ),
        ({"LANES": 5}, "argument LANES is 5; the kernel is compiled for 4, 8"),
        ({"LANES": None}, "argument LANES is None; the kernel is compiled for 4, 8"),
        ({"weights": np.ones(3, np.float32)}, "argument weights is a numpy.ndarray, not a CuPy array"),
        ({"weights": 3}, "argument weights is a builtins.int, not a CuPy array"),
        ({"weights": on_device(np.ones(3))}, "argument weights is float64; float32 is wanted"),
        ({"out": on_device(np.ones((7, 3), np.float32).T)}, "argument out is not in C order"),
        ({"out": on_device(np.ones((3, 7), np.float32), 1)}, "argument out is on cuda:1; the current device is cuda:0"),
        ({"weights": on_device(np.ones((3, 1), np.float32))}, r"weights has shape \(3, 1\); \(n_cells,\) is wanted"),
        ({"weights": on_device(np.ones(4, np.float32))}, r"\(n_cells,\) is wanted, and n_cells is 3 \(traces\)"),
        ({"pairs": on_device(np.ones((5, 3), np.int32))}, r"\(n_pairs, 2\) is wanted, and axis 1 is 2 \(declared\)"),
        ({"mode": 2.0}, "argument mode is 2.0; an integer is wanted"),
        ({"mode": 2**31}, "argument mode is 2147483648; int32 holds -2147483648 to 2147483647"),
        ({"floor": "1"}, "argument floor is '1'; a number is wanted"),
    ],
)
def test_what_does_not_fit_is_named(cupy: FakeCupy, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(KernelError, match=message) as caught:
        SCALE.launch((1,), (1,), **arguments(**changed))
    assert caught.value.message.startswith("kernel scale (scale.cu): ")
    assert not cupy.launches


@pytest.mark.parametrize(
    ("grid", "block", "message"),
    [
        ((2**31,), (1,), r"grid \(2147483648,\); 0 to"),
        ((1, 65536), (1,), "grid"),
        ((-1,), (1,), "grid"),
        ((), (1,), "grid"),
        ((1, 1, 1, 1), (1,), "grid"),
        ((1,), (1, 1, 65), "block"),
        ((1,), (0,), r"block \(0,\); 1 to"),
        ((1,), (32, 5), "has 160 threads; declared are at most 128"),
    ],
)
def test_grids_and_blocks_that_no_device_takes(cupy: FakeCupy, grid: Any, block: Any, message: str) -> None:
    with pytest.raises(KernelError, match=message):
        SCALE.launch(grid, block, **arguments())
    assert not cupy.launches


def test_an_empty_grid_is_checked_and_launches_nothing(cupy: FakeCupy) -> None:
    SCALE.launch((4, 0), (32,), **arguments())
    assert not cupy.modules
    with pytest.raises(KernelError, match="weights is float64"):
        SCALE.launch((0,), (32,), **arguments(weights=on_device(np.ones(3))))


def test_much_shared_memory_is_asked_for_as_far_as_the_device_has_it(cupy: FakeCupy) -> None:
    SCALE.launch((1,), (32,), shared_bytes=100_000, **arguments())
    assert cupy.functions[0].max_dynamic_shared_size_bytes == 100_000
    with pytest.raises(KernelError, match="100001 bytes of shared memory asked for; this device has 100000 a block"):
        SCALE.launch((1,), (32,), shared_bytes=100_001, **arguments())


def test_a_compile_error_names_file_line_and_variant(cupy: FakeCupy) -> None:
    cupy.failure = RuntimeError('kernels/scale.cu(7): error: identifier "x" is undefined\n\n1 error detected\n')
    with pytest.raises(KernelError) as caught:
        SCALE.launch((1,), (1,), **arguments())
    assert caught.value.message == (
        "kernel scale (scale.cu, T_TRACE=float32, LANES=4) cannot be compiled: "
        'kernels/scale.cu:7: identifier "x" is undefined'
    )
    assert caught.value.__cause__ is cupy.failure


def test_the_type_of_the_frames_picks_the_kernel(cupy: FakeCupy) -> None:
    """The host side of the first operation with a CUDA body: shapes, grids and the order of its arguments."""
    frames = on_device(np.ones((70, 40), np.uint16))
    out = on_device(np.ones((33, 100), np.float32))
    operation.WHITEN_FRAMES.launch(
        operation._pixels_by_frames(33, 70), (32, 8), frames=frames, out=out, first=30,
        baseline=on_device(np.ones(40, np.float32)), noise=on_device(np.ones(40, np.float32)),
        pixels=on_device(np.arange(33)),
    )  # fmt: skip
    ((name, grid, _, values, _),) = cupy.launches
    assert (name, grid) == ("whiten_frames", (2, 3))
    assert [int(value) for value in values if np.ndim(value) == 0] == [70, 40, 33, 100, 30]
    assert cupy.modules[0]["code"].splitlines()[:3] == [
        "#define TILE 32", "#define ROWS 8", "#define T_FRAME unsigned short",
    ]  # fmt: skip
