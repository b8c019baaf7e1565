"""``gpucells extract``: from a movie to a file of cells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gpucells.cli import options
from gpucells.cli.inputs import check_given, check_report_kind, check_target, gather_settings, parse_bytes
from gpucells.progress import open_sink

if TYPE_CHECKING:
    from gpucells.model.cells import Cells


def extract(
    movie: options.Movies,
    method: options.Method = "extract",
    preset: options.PresetName = None,
    cell_diameter_px: options.CellDiameter = None,
    assignments: options.Assignments = None,
    settings: options.SettingsFile = None,
    footprints: options.Footprints = None,
    init: options.Init = None,
    mask: options.Mask = None,
    mask_lens_rim: options.MaskLensRim = None,
    device: options.Device = None,
    memory: options.Memory = None,
    device_memory: options.DeviceMemory = None,
    seed: options.Seed = None,
    dry_run: options.DryRun = False,
    progress: options.Progress = "auto",
    dataset: options.Dataset = None,
    axes: options.Axes = None,
    frame_rate_hz: options.FrameRate = None,
    pixel_size_um: options.PixelSize = None,
    output: options.Output = Path("cells.h5"),
    overwrite: options.Overwrite = False,
    report: options.Report = None,
) -> None:
    """Find the cells of a movie and write their footprints, traces and quality."""
    given = {
        "preset": preset, "cell_diameter_px": cell_diameter_px, "mask": mask, "mask_lens_rim": mask_lens_rim,
        "device": device, "seed": seed, "frame_rate_hz": frame_rate_hz, "pixel_size_um": pixel_size_um,
        "memory_bytes": None if memory is None else parse_bytes(memory),
        "device_memory_bytes": None if device_memory is None else parse_bytes(device_memory),
    }  # fmt: skip
    check_given(footprints, init)
    run, values = gather_settings(method, settings, assignments or (), given)
    if report is not None:
        check_report_kind(report)
    if not dry_run:
        for target in filter(None, (output, report)):
            check_target(target, overwrite)

    from gpucells.io.open_movie import open_movie
    from gpucells.pipeline import extract_cells, plan_run

    rate, size = run.frame_rate_hz, run.pixel_size_um
    paths = movie[0] if len(movie) == 1 else movie
    with open_movie(paths, dataset=dataset, frame_rate_hz=rate, pixel_size_um=size, axes=axes) as opened:
        if dry_run:
            for line in plan_run(opened, method, run, values).lines():
                typer.echo(line)
            return
        with open_sink(progress) as sink:
            if footprints is None:
                cells = extract_cells(opened, method, run, values, progress=sink, init=init)
            else:
                from gpucells.pipeline import apply_footprints

                cells = apply_footprints(opened, footprints, run, values, sink, method)
    _write(cells, output, report, overwrite)


def _write(cells: Cells, output: Path, report: Path | None, overwrite: bool) -> None:
    from gpucells.cli.report import draw
    from gpucells.cli.tables import print_run
    from gpucells.io.cells_file import save_cells

    save_cells(cells, output, overwrite=overwrite)
    if report is not None:
        draw(cells, [report])
    print_run(cells, list(filter(None, (output, report))))
