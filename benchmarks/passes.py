"""Count what a run of EXTRACT on a GPU reads and writes, on a machine without one.

    python benchmarks/passes.py [--size 96x96x1000x25] [--output FILE.json]

The run is the real one, on the stand-in of the tests (tests/emulator): every kernel is compiled by g++ so that each of
its loads and stores is seen, and counts once a launch and 32-byte sector. That is the least that a GPU moves, with
caches that lose nothing. What CuPy does itself counts as the size of the arrays that it takes and gives; copies between
host and device are counted too. The unit is the averaged movie: reading all of it once is a pass.

Shares of a movie hardly depend on its size, so that the passes are those of a large movie with cells as dense. Only the
final traces look worse than they are: 1,536 frames are solved beforehand, most of a short movie.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from emulator import build, launch, raw_module  # noqa: E402
from emulator.stand_in import array, delegate, install  # noqa: E402

import gpucells  # noqa: E402
from gpucells.tiles import plan  # noqa: E402

FLAGS = (
    "-fsanitize=kernel-address", "--param=asan-instrumentation-with-call-threshold=0", "--param=asan-stack=0",
    "--param=asan-globals=0",
)  # fmt: skip
SECTOR = 32
LARGE_BYTES = 4 * 512 * 512 * 10_000 / 2  # the averaged movie that a card is asked about
COPY_BYTES_PER_S = 3.0e12  # of a card of 2024 (H100 SXM: 3.35 TB/s), as far as kernels come in practice
FACTOR = 2  # frames averaged into one
LAYERS = ("gpucells/methods/", "gpucells/tiles/", "gpucells/preprocess/")


class Counter:
    """Bytes of every operation of a run, by where in the method it was called and by kernel."""

    def __init__(self, movie_bytes: int) -> None:
        self.movie_bytes = movie_bytes
        self.seen: list[tuple[str, str, int, int, bool]] = []  # where, what, size of the array, bytes, written or not
        self.crossed = {"to device": 0, "to host": 0}

    def add(self, what: str, size: int, n_bytes: int, written: bool) -> None:
        if n_bytes:
            self.seen.append((_caller(), what, size, n_bytes, written))

    def rows(self) -> list[dict[str, Any]]:
        """One row a place and operation, in the order of the run; passes over the averaged movie."""
        found: dict[tuple[str, str], dict[str, float]] = defaultdict(
            lambda: {"read": 0.0, "written": 0.0, "other": 0.0}
        )
        for where, what, size, n_bytes, written in self.seen:
            kind = ("written" if written else "read") if size == self.movie_bytes else "other"
            found[where, what][kind] += n_bytes / self.movie_bytes
        return [{"where": where, "what": what, **share} for (where, what), share in found.items()]


def _caller() -> str:
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if any(layer in name for layer in LAYERS) and not frame.f_code.co_name.startswith("<"):
            return f"{Path(name).stem}.{frame.f_code.co_name}"
        frame = frame.f_back  # type: ignore[assignment]
    return "?"


@contextmanager
def counting(movie_bytes: int) -> Iterator[Counter]:
    """Count what the stand-in does while this lasts; arrays of that size are the averaged movie."""
    counter = Counter(movie_bytes)
    kernels = (HERE / "touched.cpp").read_text()
    kept = [(build, "_KERNEL_FLAGS"), (raw_module, "translate"), (launch, "run_here"), (launch, "_Guarded"),
            (delegate, "call"), (install, "upload"), (array, "upload")]  # fmt: skip
    before = [getattr(module, name) for module, name in kept]
    flags, translate, run_here, guarded, call, upload, _ = before
    made: list[Any] = []

    class Remembered(guarded):  # type: ignore[misc, valid-type]
        def __init__(self, region: Any) -> None:
            super().__init__(region)
            made.append(self)

    def run(path: Path, shape: Any, regions: Any, arguments: Any) -> None:
        library = launch._library(path)
        library.touched_sectors.restype = ctypes.c_uint64
        made.clear()
        library.touched_forget()
        run_here(path, shape, regions, arguments)
        for memory in made:
            size = memory.region.n_bytes
            for store in (0, 1):
                sectors = library.touched_sectors(ctypes.c_uint64(memory.address), ctypes.c_uint64(size), store)
                counter.add(shape.kernel, size, sectors * SECTOR, bool(store))
        made.clear()
        library.touched_forget()

    def called(function: Any, name: str, args: Any, kwargs: Any, **how: Any) -> Any:
        result = call(function, name, args, kwargs, **how)
        arrays: list[Any] = []
        _gather((args, kwargs), arrays)
        if name in delegate._OF_SHAPES or not arrays:
            return result
        outputs = [kwargs["out"]] if kwargs.get("out") is not None else [result]
        if name in delegate._IN_PLACE:
            outputs, arrays = arrays[:1], arrays[1:] or arrays
        views: list[Any] = []
        _gather(outputs, views)
        if name not in delegate._IN_PLACE and kwargs.get("out") is None:
            views = [v for v in views if not any(np.may_share_memory(v._host, a._host) for a in arrays)]
            if not views:
                return result
        for some, written in ((arrays, False), (views, True)):
            for _, n_bytes in {(one._host.ctypes.data, one._host.nbytes) for one in some}:
                counter.add(f"CuPy's {name}", n_bytes, n_bytes, written)
        return result

    def uploaded(host: np.ndarray, *others: Any) -> Any:
        counter.crossed["to device"] += host.nbytes
        return upload(host, *others)

    get, set_ = array.ndarray.get, array.ndarray.set

    def got(self: Any, *args: Any, **kwargs: Any) -> Any:
        counter.crossed["to host"] += self._host.nbytes
        return get(self, *args, **kwargs)

    def put(self: Any, arr: Any, *args: Any, **kwargs: Any) -> Any:
        counter.crossed["to device"] += arr.nbytes
        return set_(self, arr, *args, **kwargs)

    after = ((*flags, *FLAGS), lambda *args: translate(*args) + kernels, run, Remembered, called, uploaded, uploaded)
    for (module, name), value in zip(kept, after, strict=True):
        setattr(module, name, value)
    array.ndarray.get, array.ndarray.set = got, put  # type: ignore[method-assign]
    try:
        yield counter
    finally:
        for (module, name), value in zip(kept, before, strict=True):
            setattr(module, name, value)
        array.ndarray.get, array.ndarray.set = get, set_  # type: ignore[method-assign]


def _gather(thing: Any, found: list[Any]) -> None:
    if isinstance(thing, array.ndarray):
        found.append(thing)
    elif isinstance(thing, dict):
        _gather(tuple(thing.values()), found)
    elif isinstance(thing, list | tuple):
        for part in thing:
            _gather(part, found)


def count(size: str, **settings: Any) -> dict[str, Any]:
    """Run EXTRACT on a simulated movie ``HEIGHTxWIDTHxFRAMESxCELLS`` and return what it moved."""
    height, width, n_frames, n_cells = (int(n) for n in size.split("x"))
    # One frame is left over, so that no block of the file's frames is as large as the averaged movie.
    made = gpucells.simulate_movie("two_photon", shape=(n_frames + 1, height, width), seed=1, n_cells=n_cells)
    raw = np.clip(np.rint(made.movie), 0, 65535).astype(np.uint16)
    values = {"downsample_time_by": FACTOR, **settings}
    chosen = {"cell_diameter_px": made.settings.cell_diameter_px, "frame_rate_hz": made.settings.frame_rate_hz}
    movie_bytes = 4 * height * width * (n_frames // FACTOR)
    with counting(movie_bytes) as counter, _any_device(), install.installed(vram_bytes=4 << 30):
        cells = gpucells.extract_cells(raw, device="cuda:0", settings=values, **chosen)
    return {
        "size": size, "cells": cells.accepted_only().n_cells, "movie_bytes": counter.movie_bytes,
        "rows": counter.rows(), "crossed": {way: n / counter.movie_bytes for way, n in counter.crossed.items()},
    }  # fmt: skip


@contextmanager
def _any_device() -> Iterator[None]:
    """Let a run take the stand-in for a device that works."""
    chosen = plan.choose_devices
    plan.choose_devices = lambda name: (name,)  # type: ignore[assignment]
    try:
        yield
    finally:
        plan.choose_devices = chosen


def table(found: dict[str, Any]) -> str:
    """Return the rows in Markdown, those that matter, their sum, and how long that takes a movie and a card."""
    lines = ["| where | operation | passes read | passes written | other arrays |", "|---|---|---|---|---|"]
    total = {kind: sum(row[kind] for row in found["rows"]) for kind in ("read", "written", "other")}
    shown = [row for row in found["rows"] if sum(row[kind] for kind in total) >= 0.05]
    lines += [
        f"| {row['where']} | {row['what']} | {row['read']:.2f} | {row['written']:.2f} | {row['other']:.2f} |"
        for row in [*shown, {"where": "**all**", "what": "", **total}]
    ]
    seconds = sum(total.values()) * LARGE_BYTES / COPY_BYTES_PER_S
    sent = found["crossed"]
    facts = (
        f"Counted at {found['size']} (height, width, frames, cells), {found['cells']} cells found. All of it at "
        f"512 x 512 x 10,000 and {COPY_BYTES_PER_S / 1e12:g} TB/s: {seconds:.2f} s. Copied to the device: "
        f"{sent['to device']:.1f} averaged movies; back: {sent['to host']:.2f}."
    )
    lines += ["", facts]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="96x96x800x18", help="height x width x frames x cells")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if reason := build.why_unavailable():
        print(reason, file=sys.stderr)
        return 1
    found = count(options.size)
    print(table(found))
    if options.output:
        options.output.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
