"""What this machine can do: the ceilings that operations are held against.

    python benchmarks/machine.py [--device cuda:0]

A copy of a large array (bytes read and written) and a product of large matrices in float32; with a GPU also the way
there and back, from pinned memory. Each is the best of several, so that what else runs does not count.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from gpucells.device.arrays import namespace_on
from gpucells.device.discover import list_devices
from gpucells.device.upload import using

REPEATS = 7
COPY_BYTES = {"cpu": 2**28, "cuda": 2**30}
MATRIX_SIDE = {"cpu": 2048, "cuda": 8192}


def measure_machine(device: str) -> dict[str, Any]:
    """Return the ceilings of ``"cpu"`` or ``"cuda:N"``, and which machine they are of."""
    kind = device.partition(":")[0]
    with using(device):
        xp = namespace_on(device)
        source = xp.ones(COPY_BYTES[kind] // 4, np.float32)
        target = xp.empty_like(source)
        side = MATRIX_SIDE[kind]
        matrix = xp.ones((side, side), np.float32)
        product = xp.empty_like(matrix)
        found = {
            "copy_bytes_per_s": 2 * source.nbytes / best(lambda: xp.copyto(target, source), device),
            "float32_flops_per_s": 2 * side**3 / best(lambda: xp.matmul(matrix, matrix, out=product), device),
        }
        if kind == "cuda":
            pinned = np.frombuffer(xp.cuda.alloc_pinned_memory(source.nbytes), np.float32, source.size)
            found["upload_bytes_per_s"] = source.nbytes / best(lambda: source.set(pinned), device)
            found["download_bytes_per_s"] = source.nbytes / best(lambda: source.get(out=pinned), device)
    chosen = next(known for known in list_devices() if known.name == device)
    return {
        "device": device,
        "description": chosen.description,
        "driver": chosen.driver,
        "cupy": chosen.cupy,
        "python": platform.python_version(),
        "numpy": np.__version__,
        **found,
    }


def synchronize(device: str) -> None:
    """Wait for what a GPU has been given to do."""
    if device != "cpu":
        import cupy

        cupy.cuda.Device().synchronize()


def best(work: Callable[[], Any], device: str) -> float:
    """Seconds of the fastest of some runs."""
    seconds = []
    for _ in range(REPEATS):
        synchronize(device)
        start = time.perf_counter()
        work()
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    json.dump(measure_machine(parser.parse_args().device), sys.stdout, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
