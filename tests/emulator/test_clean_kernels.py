"""Kernels without a fault give right results in every order, and no sanitizer complains about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulator.build import why_unavailable
from emulator.launch import LaunchError
from emulator.raw_module import RawKernel, RawModule
from emulator.source import CompileError

pytestmark = pytest.mark.usefixtures("emulator")

FOLDER = Path(__file__).parent / "kernels"
CLEAN = (FOLDER / "clean.cu").read_text(encoding="utf-8")
TRANSPOSE = "transpose<unsigned short, 8>"
WAYS = [(None, 0), (None, 1), (None, 5), ("address", 1), ("thread", 5)]
i32, f32 = np.int32, np.float32


def kernel(name: str, way: tuple[str | None, int] = (None, 0), **settings: Any) -> RawKernel:
    sanitize, order = way
    if reason := why_unavailable(sanitize):
        pytest.skip(reason)
    options = ("-std=c++17", f"-I{FOLDER}")
    module = RawModule(
        code=CLEAN, options=options, name_expressions=[TRANSPOSE], sanitize=sanitize, order=order, **settings
    )
    return module.get_function(name)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_last_block_adds_up(way: tuple[str | None, int]) -> None:
    x = np.random.default_rng(0).random(1000, np.float32)
    out = np.zeros(1, f32)
    kernel("last_block", way)((7,), (64,), (x, i32(1000), np.zeros(7, f32), np.zeros(1, np.uint32), out))
    np.testing.assert_allclose(out[0], x.sum(dtype=float), rtol=1e-6)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_atomics(way: tuple[str | None, int]) -> None:
    i, f, d, u = np.array([0, 0, 99, 0, 0, 0], i32), np.zeros(1, f32), np.zeros(1), np.zeros(2, np.uint64)
    kernel("atomics", way)((3,), (40,), (i, f, d, u))
    assert i.tolist() == [120, 119, 0, 7, 31, -240]
    assert (f[0], d[0], u.tolist()) == (60, 30, [120 << 33, 119])


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_collectives_of_warps_and_blocks(way: tuple[str | None, int]) -> None:
    x = np.random.default_rng(1).integers(0, 40, 64).astype(i32)
    out = np.full((8, 64), -7, i32)
    kernel("warps", way)((1,), (64,), (x, out, i32(64)))
    t, warps = np.arange(64), x.reshape(2, 32)
    assert (out[0] == np.where(t % 32 >= 3, x[t - 3], x)).all()
    assert (out[1] == x[t ^ 5]).all()
    assert (out[2] == np.repeat((warps & 1).sum(1), 32)).all()
    assert (out[3] == np.repeat(warps.max(1), 32)).all()
    low = t % 32 < 16
    assert (out[4][low] == np.where(t % 16 < 15, x[np.minimum(t + 1, 63)], x)[low]).all()
    assert (out[5] == (x > 10).sum()).all()
    assert (out[6] == np.repeat((warps > 38).any(1), 32) + 2 + 8).all()
    assert (out[7] == np.roll(warps, -1, 1).ravel() - np.repeat(warps.sum(1), 32)).all()


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_template_in_two_dimensions(way: tuple[str | None, int]) -> None:
    a = np.arange(20 * 13, dtype=np.uint16).reshape(20, 13)
    b = np.zeros((13, 20), np.uint16)
    kernel(TRANSPOSE, way)((2, 3), (8, 8), (a, b, i32(20), i32(13)))
    assert (b == a.T).all()


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_syncwarp_orders_shared_memory_also_after_lanes_returned(way: tuple[str | None, int]) -> None:
    x = np.arange(64, dtype=f32)
    kernel("neighbours_of_warp", way)((1,), (64,), (x, i32(50)), shared_mem=200)
    t = np.arange(64)
    assert (x == np.where(t < 50, 0.25 * t + 0.75 * (t ^ 1), t)).all()


@pytest.mark.parametrize("way", [WAYS[0], WAYS[3]], ids=str)
def test_vectors_half_bool_and_64_bit(way: tuple[str | None, int]) -> None:
    rng = np.random.default_rng(2)
    four = rng.integers(0, 1000, (8, 4)).astype(np.uint16)
    h = rng.random(8).astype(np.float16)
    pairs = rng.random((8, 2), np.float32)
    flags, wide = rng.random(8) > 0.5, rng.integers(0, 1000, 8)
    out = np.zeros(8, f32)
    kernel("types", way)((1,), (8,), (four, h, pairs, flags, wide, out))
    np.testing.assert_allclose(out, four.sum(1) + h + pairs.prod(1) + 1 + 100 * flags + wide, rtol=1e-6)


def test_denormals_are_flushed_as_cupy_compiles() -> None:
    for flush, expected in ((True, 0), (False, f32(1.2e-38) * f32(0.5))):
        x = np.array([1.2e-38], f32)
        kernel("shrink", flush_denormals=flush)((1,), (1,), (x,))
        assert x[0] == expected


def test_products_are_fused_as_nvrtc_does_and_not_where_the_kernel_says_so() -> None:
    x, out = np.array([1 + 2**-12], f32), np.zeros(2, f32)
    kernel("fused")((1,), (1,), (x, out))
    assert out.tolist() == [2**-11 + 2**-24, 2**-11]


def test_orders_are_what_they_say() -> None:
    places = {}
    for order in (0, 1, 2, 3):
        places[order] = np.zeros(6, i32)
        kernel("order_of_blocks", (None, order))((6,), (32,), (np.zeros(1, i32), places[order]))
    assert places[0].tolist() == [0, 1, 2, 3, 4, 5]
    assert places[1].tolist() == [5, 4, 3, 2, 1, 0]
    assert len({place.tobytes() for place in places.values()}) == 4
    assert all(sorted(place) == list(range(6)) for place in places.values())


def test_two_arguments_may_be_one_memory() -> None:
    x = np.arange(70, dtype=f32)
    kernel("add_one")((1,), (64,), (x[3:67], x[3:67], i32(64)))
    assert (x[3:67] == np.arange(3, 67) + 1).all()
    assert (x[[0, 1, 2, 67, 68, 69]] == [0, 1, 2, 67, 68, 69]).all()


def test_empty_arrays_and_null_pointers_can_be_passed() -> None:
    nothing = np.zeros(0, f32)
    for way in (WAYS[0], WAYS[3]):
        kernel("add_one", way)((1,), (32,), (nothing, None, i32(0)))


def test_arguments_are_checked() -> None:
    scale = kernel("scale")
    a, b = np.ones(32, f32), np.zeros(32)
    scale((1,), (32,), (a, b, i32(32), f32(2)))
    assert (b == 2).all()
    read_only = b.copy()
    read_only.flags.writeable = False
    odd = np.zeros(4 * 32 + 1, np.uint8)[1:].view(f32)
    for wrong, message in [
        ((a.astype(float), b, i32(32), f32(2)), "pointer to f4, the array is of float64"),
        ((a, b, 32, f32(2)), "takes i4, not int64"),
        ((a, b, i32(32), 2.0), "takes f4, not float64"),
        ((a[::2], b, i32(8), f32(2)), "not C-contiguous"),
        ((a, b, i32(1)), "takes 4 arguments, not 3"),
        ((i32(1), b, i32(32), f32(2)), "int32 for a pointer"),
        ((a, b, np.array([32], i32), f32(2)), "an array for a scalar"),
        ((a, read_only, i32(32), f32(2)), "read-only"),
        ((odd, b, i32(32), f32(2)), "not aligned to 4"),
    ]:
        with pytest.raises(TypeError, match=message):
            scale((1,), (32,), wrong)


def test_launch_limits() -> None:
    sized = kernel("dynamic_size")
    x = np.zeros(1, f32)
    with pytest.raises(LaunchError, match="max_dynamic_shared_size_bytes"):
        sized((1,), (1,), (x, i32(25_000)), shared_mem=100_000)
    sized.max_dynamic_shared_size_bytes = 100_000
    sized((1,), (1,), (x, i32(25_000)), shared_mem=100_000)
    assert x[0] == 3
    small = kernel("dynamic_size", shared_limit_bytes=64 << 10)  # compute capability 7.5
    small.max_dynamic_shared_size_bytes = 100_000
    with pytest.raises(LaunchError, match="65536 bytes"):
        small((1,), (1,), (x, i32(25_000)), shared_mem=100_000)
    for grid, block in [((1,), (2048,)), ((0,), (32,)), ((1, 70_000), (32,)), ((1,), (1, 1, 65))]:
        with pytest.raises(LaunchError, match="no GPU takes"):
            sized(grid, block, (x, i32(1)))
    with pytest.raises(LaunchError, match="128 threads in a block, at most 64"):
        kernel("last_block")((1,), (128,), (x, i32(1), x, np.zeros(1, np.uint32), x))


def test_messages_name_the_file_and_line() -> None:
    broken = 'extern "C" __global__ void k(float* x) {\n y[0] = 1; }'
    with pytest.raises(CompileError, match=r"bad\.cu:2"):
        RawModule(code=broken, filename="bad.cu")
    with pytest.raises(CompileError, match="inside the kernel"):
        RawModule(code="extern __shared__ float s[];\n" + broken)
    with pytest.raises(KeyError, match="no kernel"):
        kernel("nothing")
