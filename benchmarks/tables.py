"""Tables of what was measured, and of what could be at best.

python benchmarks/tables.py RESULT.json                   of a run of ops.py or end_to_end.py
python benchmarks/tables.py --floors 512x512x10000x500    bytes, flops and floor of each operation, on no machine
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from ops import OPERATIONS
from problem import Problem, make_problem

#: A card of 2024 (H100 SXM: 3.35 TB/s, 67 Tflop/s), as far as kernels come in practice.
CARD = {"copy_bytes_per_s": 3.0e12, "float32_flops_per_s": 50e12}


def measured(path: Path) -> str:
    """Return the table of a benchmark file."""
    rows = ["| operation | time | floor | share of floor |", "|---|---|---|---|"]
    found = json.loads(path.read_text())["benchmarks"]
    for entry in found:
        info = entry["extra_info"]
        rows.append(
            f"| {info['operation']} | {seconds(entry['stats']['min'])} | {seconds(info['floor_s'])} "
            f"| {info['share_of_floor']:.0%} |"
        )
    return "\n".join([*rows, "", _machine(found[0]["extra_info"]["machine"])])


def floor_rows(size: str) -> list[dict[str, Any]]:
    """Return bytes, flops and floor of each operation for a size; the movie is never made."""
    height, width, n_frames, n_cells = (int(n) for n in size.split("x"))
    one = make_problem(np, height, width, 1, n_cells)
    rng = np.random.default_rng(0)
    traces = (rng.random((n_cells, n_frames)) < 0.1).astype(np.float32)
    movie = np.broadcast_to(np.float32(0), (height * width, n_frames))
    field = np.zeros((one.nodes.n_nodes, n_frames), np.float32)
    problem = Problem(movie, one.footprints, traces, one.nodes, field, (height, width))
    rows = []
    for name, make in OPERATIONS.items():
        work = make(problem, np)
        by = [work.n_bytes / CARD["copy_bytes_per_s"], work.flops / CARD["float32_flops_per_s"]]
        bound = "memory" if by[0] >= by[1] else "arithmetic"
        rows.append(
            {"operation": name, "n_bytes": work.n_bytes, "flops": work.flops, "floor_s": max(by), "bound by": bound}
        )
    return rows


def floors(size: str) -> str:
    """Return the table of them."""
    rows = ["| operation | GB | Gflop | floor | bound by |", "|---|---|---|---|---|"]
    rows += [
        f"| {row['operation']} | {row['n_bytes'] / 1e9:.2f} | {row['flops'] / 1e9:.1f} | {seconds(row['floor_s'])} "
        f"| {row['bound by']} |"
        for row in floor_rows(size)
    ]
    return "\n".join(rows)


def seconds(value: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if value * scale >= 1 or unit == "µs":
            return f"{value * scale:.3g} {unit}"
    raise AssertionError


def _machine(machine: dict[str, Any]) -> str:
    copy, flops = machine["copy_bytes_per_s"] / 1e9, machine["float32_flops_per_s"] / 1e9
    return f"{machine['description']}: copies {copy:.3g} GB/s, multiplies {flops:.4g} Gflop/s in float32."


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", type=Path, nargs="?")
    parser.add_argument("--floors", metavar="SIZE")
    options = parser.parse_args()
    if options.floors:
        print(floors(options.floors))
    elif options.result:
        print(measured(options.result))
    else:
        parser.error("give a result, or --floors and a size")
    return 0


if __name__ == "__main__":
    sys.exit(main())
