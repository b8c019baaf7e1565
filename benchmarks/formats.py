"""What each format of ``gpucells export`` takes, and whether what is read back is what was written.

    python benchmarks/formats.py [--cells 1000] [--frames 20000] [--only NAME ...]

The result is random: footprints of 100 to 200 pixels at known places of a field that is not square, traces, denoised
traces and spikes, a baseline for each cell. Each format is written by one fresh process and read by another. Seconds
are CPU seconds of the call alone (wall seconds are in the JSON); memory is the process's peak above what it was before
the call: for reading that includes the result itself. The largest difference is that of the traces (of dF/F where a
format has nothing else) divided by the largest absolute value written, which for a format that stores ``traces + f0``
is that.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

RESULTS = Path(__file__).resolve().parent / "results"
IMAGE_SHAPE = (300, 420)
COLUMNS = ("format", "write s", "read s", "MB", "write MB", "read MB", "difference", "masks", "accepted")


@dataclass(frozen=True)
class Cost:
    """Of one call: seconds, and bytes that the process grew by."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--frames", type=int, default=20000)
    parser.add_argument("--only", nargs="*", metavar="NAME")
    parser.add_argument("--folder", type=Path, help="where to write (a disk with room); a temporary one by default")
    parser.add_argument("--output", type=Path, help="JSON; beside it the table; benchmarks/results/formats.json")
    parser.add_argument("--step", nargs=3, metavar=("STEP", "NAME", "PATH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        step, name, path = options.step
        print(json.dumps((write if step == "write" else read)(name, Path(path), options.cells, options.frames)))
        return 0
    from gpucells.export.formats import FORMATS

    rows = []
    for name in options.only or FORMATS:
        rows.append(measure(name, FORMATS[name].ending, options))
        print(rows[-1].get("error") or line(rows[-1]), flush=True)
    shape = {"cells": options.cells, "frames": options.frames, "height": IMAGE_SHAPE[0], "width": IMAGE_SHAPE[1]}
    output = options.output or RESULTS / "formats.json"
    output.write_text(
        json.dumps({"size": shape, "result_bytes": rows[0].get("result_bytes"), "formats": rows}, indent=1) + "\n"
    )
    output.with_suffix(".md").write_text(table(rows, shape), encoding="utf-8")
    return 0


def made(n_cells: int, n_frames: int) -> Any:
    """Make the result, a block of cells at a time and in place, so that its making leaves no peak behind."""
    from gpucells.model.cells import Cells

    rng = np.random.default_rng(0)
    height, width = IMAGE_SHAPE
    y, x = np.mgrid[:height, :width]
    rows = []
    for _ in range(n_cells):
        radius, top, left = rng.uniform(5.7, 8), rng.integers(8, height - 8), rng.integers(8, width - 8)
        weight = np.maximum(1 - np.hypot(y - top, (x - left) * 0.9) / radius, 0).astype(np.float32)
        rows.append(sparse.csr_array(weight.reshape(1, -1)))
    series = {name: np.empty((n_cells, n_frames), np.float32) for name in ("traces", "denoised", "spikes")}
    for k in range(n_cells):
        spikes = rng.random(n_frames, np.float32) * (rng.random(n_frames, np.float32) < 0.01)
        series["spikes"][k] = spikes
        series["denoised"][k] = np.convolve(spikes, 0.9 ** np.arange(40), "full")[:n_frames]
        series["traces"][k] = series["denoised"][k] + 0.1 * rng.standard_normal(n_frames, np.float32)
    accepted = np.arange(n_cells) % 5 != 4
    for name in ("denoised", "spikes"):
        series[name][~accepted] = np.nan
    return Cells(
        footprints=sparse.csr_array(sparse.vstack(rows, format="csr")),
        image_shape=IMAGE_SHAPE,
        f0=rng.uniform(1, 2, n_cells).astype(np.float32),
        accepted=accepted,
        rejection=tuple("" if kept else "snr 1.2 below 3" for kept in accepted),
        quality={"snr": rng.random(n_cells, np.float32)},
        summary_images={name: rng.random(IMAGE_SHAPE, np.float32) for name in ("mean", "max", "correlation")},
        frame_rate_hz=20.0,
        pixel_size_um=1.0,
        method="cnmf",
        **series,
    )


def write(name: str, path: Path, n_cells: int, n_frames: int) -> dict[str, Any]:
    from gpucells.export.formats import FORMATS, export_cells

    cells = made(n_cells, n_frames)
    arrays = (cells.traces, cells.denoised, cells.spikes, cells.footprints.data, cells.footprints.indices)
    FORMATS[name].writer()  # what is imported is not the format's own memory
    return {
        "result_bytes": sum(a.nbytes for a in arrays),
        "write": asdict(cost(lambda: export_cells(cells, path, name, needs(name, path.parent)))),
    }


def needs(name: str, folder: Path) -> dict[str, Any]:
    """Return what a format cannot do without, beside the result."""
    if name != "nwb":
        return {}
    metadata = folder / "session.yaml"
    metadata.write_text("session_start_time: 2024-05-17T14:30:00+02:00\n")
    return {"metadata": str(metadata)}


def read(name: str, path: Path, n_cells: int, n_frames: int) -> dict[str, Any]:
    import gpucells
    from gpucells.export.formats import FORMATS
    from gpucells.io.results import foreign_reader

    foreign_reader(path)
    found: list[Any] = []
    spent = cost(lambda: found.append(gpucells.load_cells(path)))
    (read_back,), cells, keeps = found, made(n_cells, n_frames), FORMATS[name].keeps
    wanted, ours = (cells.traces, read_back.traces) if "traces" in keeps else (cells.dff, read_back.traces)
    scale = float(np.abs(wanted).max()) + (float(cells.f0.max()) if "traces" in keeps else 0)
    return {
        "read": asdict(spent),
        "difference": float(max(np.abs(a - b).max() for a, b in zip(ours, wanted, strict=True))) / scale,
        "masks_equal": bool((read_back.footprints != cells.footprints).nnz == 0),
        "accepted_equal": bool((read_back.accepted == cells.accepted).all()) if "accepted" in keeps else None,
    }


def cost(call: Any) -> Cost:
    before = _peak_after_reset()
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Cost(round(time.perf_counter() - wall, 2), round(time.process_time() - cpu, 2), _peak() - before)


def _peak_after_reset() -> int:
    """Set the peak back to what is resident now, where the system can (Linux), and return it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(name: str, ending: str, options: argparse.Namespace) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    row: dict[str, Any] = {"format": name}
    try:
        path = folder / f"cells{ending}"
        for step in ("write", "read"):
            command = [sys.executable, __file__, "--cells", str(options.cells), "--frames", str(options.frames)]
            ran = subprocess.run(
                [*command, "--step", step, name, str(path)], capture_output=True, text=True, check=False
            )
            if ran.returncode:
                return row | {"error": f"{name}: {ran.stderr.strip().splitlines()[-1]}"}
            row |= json.loads(ran.stdout.splitlines()[-1])
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        row["disk_bytes"] = sum(512 * file.stat().st_blocks for file in files)
        row["n_files"] = len(files)
    finally:
        shutil.rmtree(folder)
    return row


def line(row: dict[str, Any]) -> str:
    cells = [
        row["format"],
        f"{row['write']['cpu_s']:.1f}",
        f"{row['read']['cpu_s']:.1f}",
        f"{row['disk_bytes'] / 1e6:.0f}",
        f"{row['write']['peak_bytes'] / 1e6:.0f}",
        f"{row['read']['peak_bytes'] / 1e6:.0f}",
        f"{row['difference']:.1e}" if row["difference"] else "0",
        "equal" if row["masks_equal"] else "**not equal**",
        {True: "equal", False: "**not equal**", None: "not kept"}[row["accepted_equal"]],
    ]
    return f"| {' | '.join(cells)} |"


def table(rows: list[dict[str, Any]], shape: dict[str, int]) -> str:
    size = f"{shape['cells']} cells x {shape['frames']} frames, {shape['height']} x {shape['width']} px"
    good = [row for row in rows if "error" not in row]
    held = good[0]["result_bytes"] / 1e6 if good else 0
    lines = [
        f"A result of {size}; it is {held:.0f} MB in memory. CPU seconds; MB on the disk, and peak MB above what the",
        "process held before (reading: the result itself is among it). Written by `benchmarks/formats.py`.",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "---|" * len(COLUMNS),
        *map(line, good),
        *(f"\n{row['error']}" for row in rows if "error" in row),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
