"""``gpucells estimate``: what a movie says of itself, and a picture of where its cells may be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpucells.cli import options
from gpucells.cli.inputs import check_target
from gpucells.errors import SettingsError
from gpucells.progress import ProgressSink, open_sink
from gpucells.settings import RunSettings

if TYPE_CHECKING:
    from gpucells.model.movie import Movie
    from gpucells.tiles.estimate_components import ComponentsEstimate
    from gpucells.tiles.estimate_movie import MovieEstimate

Picture = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="picture to write (.png); NAME.estimate.png beside the movie if not given"),
]
Method = Annotated[
    str | None,
    typer.Option("--method", help="pcaica: how many components it wants, from a run with as many as there may be"),
]
MinCorr = Annotated[float | None, typer.Option(min=0, max=1, help="your own threshold of the local correlation")]
MinPnr = Annotated[float | None, typer.Option(min=0, help="your own threshold of the peak over noise")]


def estimate(
    movie: options.Movies,
    output: Picture = None,
    method: Method = None,
    preset: options.PresetName = None,
    cell_diameter_px: options.CellDiameter = None,
    min_corr: MinCorr = None,
    min_pnr: MinPnr = None,
    mask: options.Mask = None,
    mask_lens_rim: options.MaskLensRim = None,
    as_json: options.AsJson = False,
    progress: options.Progress = "auto",
    dataset: options.Dataset = None,
    axes: options.Axes = None,
    frame_rate_hz: options.FrameRate = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Say how wide and slow the cells of a movie are and how bright a seed has to be, and draw where seeds are."""
    given = {
        "preset": preset, "cell_diameter_px": cell_diameter_px, "mask": mask, "mask_lens_rim": mask_lens_rim,
        "frame_rate_hz": frame_rate_hz,
    }  # fmt: skip
    run = RunSettings.from_values({name: value for name, value in given.items() if value is not None})
    target = output or beside(movie[0])
    if target.suffix.lower() != ".png":
        raise SettingsError(f"cannot draw an estimate into {target}", "end its name with .png")
    check_target(target, overwrite)

    if method not in (None, "pcaica"):
        raise SettingsError(f"no estimate for method {method!r}", "leave --method out, or give --method pcaica")
    if method and (min_corr is not None or min_pnr is not None):
        raise SettingsError("min_corr and min_pnr are no settings of pcaica", "leave them out, or leave --method out")

    from gpucells.io.open_movie import open_movie

    paths = movie[0] if len(movie) == 1 else movie
    with (
        open_movie(paths, dataset=dataset, frame_rate_hz=run.frame_rate_hz, axes=axes) as opened,
        open_sink(progress) as sink,
    ):
        found: MovieEstimate | ComponentsEstimate
        if method == "pcaica":
            found = _components(opened, run, sink, target, overwrite)
        else:
            found = _seeds(opened, run, (min_corr, min_pnr), sink, target, overwrite)
    if as_json:
        typer.echo(json.dumps(found.as_dict() | {"picture": str(target)}, indent=2))
        return
    names, values, _ = zip(*found.rows(), strict=True)
    wide, long = max(map(len, names)), max(map(len, values))
    for name, value, reason in found.rows():
        typer.echo(f"{name:<{wide}}  {value:<{long}}  {reason}")
    for warning in found.warnings:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"wrote {target}")


def _seeds(
    movie: Movie, run: RunSettings, given: tuple[float | None, float | None], sink: ProgressSink, target: Path,
    overwrite: bool,
) -> MovieEstimate:  # fmt: skip
    from gpucells.report.estimate_picture import draw_estimate
    from gpucells.tiles.estimate_movie import estimate_movie

    found = estimate_movie(movie, run, min_corr=given[0], min_pnr=given[1], progress=sink)
    draw_estimate(found, target, overwrite)
    return found


def _components(
    movie: Movie, run: RunSettings, sink: ProgressSink, target: Path, overwrite: bool
) -> ComponentsEstimate:  # fmt: skip
    from gpucells.report.components_picture import draw_components
    from gpucells.tiles.estimate_components import estimate_components

    found = estimate_components(movie, run, progress=sink)
    draw_components(found, target, overwrite)
    return found


def beside(movie: Path) -> Path:
    """Return where the picture of a movie goes by default: beside the file or folder."""
    plain = movie.resolve() if movie.name in ("", ".", "..") else movie
    name = plain.name if plain.is_dir() else plain.stem
    return plain.with_name(f"{name}.estimate.png")
