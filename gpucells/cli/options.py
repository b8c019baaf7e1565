"""The options of the verbs, each declared once; what a setting means is said by its own declaration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from gpucells.methods.registry import METHOD_NAMES
from gpucells.progress import SinkName
from gpucells.settings import Preset, RunSettings

_OPEN = r"\["  # a bracket that rich does not take for markup
_RUN, _MOVIE, _RESULT = "The run", "The movie", "The result"


def _setting(name: str, panel: str = _RUN, before: str = "", **kwargs: Any) -> Any:
    """Make an option from a field of :class:`RunSettings`; not given, it leaves the field at its default."""
    field = RunSettings.model_fields[name]
    default = "" if field.default is None else f" {_OPEN}default: {field.default}]"
    return typer.Option(help=f"{before}{field.description}{default}", rich_help_panel=panel, **kwargs)


def _option(*names: str, text: str, panel: str, **kwargs: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, **kwargs)


Movies = Annotated[list[Path], typer.Argument(help="file, folder, or files that follow each other in time")]
CellsFile = Annotated[Path, typer.Argument(help="file of cells")]

Method = Annotated[str, _option(text=f"published method: {' or '.join(METHOD_NAMES)}", panel=_RUN)]
PresetName = Annotated[Preset | None, _setting("preset")]
CellDiameter = Annotated[float | None, _setting("cell_diameter_px")]
Assignments = Annotated[
    list[str] | None,
    _option("--set", text="a setting of the method; may be repeated", panel=_RUN, metavar="KEY=VALUE"),
]
SettingsFile = Annotated[
    Path | None, _option(text=f"TOML file with {_OPEN}run] and {_OPEN}METHOD]; options win", panel=_RUN)
]
Footprints = Annotated[
    Path | None,
    _option(
        text="cells of any tool, masks, labels, NWB or ImageJ ROIs: solve their traces on this movie, and find none",
        panel=_RUN,
    ),
]
Init = Annotated[
    Path | None,
    _option(
        text="file as --footprints takes it: begin with its cells, the accepted ones, instead of finding cells",
        panel=_RUN,
    ),
]
Mask = Annotated[str | None, _setting("mask", metavar="FILE")]
MaskLensRim = Annotated[bool | None, _setting("mask_lens_rim")]
Device = Annotated[str | None, _setting("device")]
Memory = Annotated[str | None, _setting("memory_bytes", before="such as 8GB: ", metavar="SIZE")]
DeviceMemory = Annotated[str | None, _setting("device_memory_bytes", before="such as 4GB: ", metavar="SIZE")]
Seed = Annotated[int | None, _setting("seed")]
DryRun = Annotated[bool, _option("--dry-run", text="print what would be done, with sizes, and stop", panel=_RUN)]
Progress = Annotated[SinkName, _option(text="how to show progress, on standard error", panel=_RUN)]

Dataset = Annotated[str | None, _option(text="name inside an HDF5, NWB or Zarr file", panel=_MOVIE)]
Axes = Annotated[str | None, _option(text="order of the axes where the file has another than tyx", panel=_MOVIE)]
FrameRate = Annotated[float | None, _setting("frame_rate_hz", _MOVIE)]
PixelSize = Annotated[float | None, _setting("pixel_size_um", _MOVIE)]

Output = Annotated[Path, _option("--output", "-o", text="file to write", panel=_RESULT)]
Overwrite = Annotated[bool, _option("--overwrite", text="replace files that exist", panel=_RESULT)]
Report = Annotated[Path | None, _option(text="draw the cells too: a .html page or a .png picture", panel=_RESULT)]

AsJson = Annotated[bool, typer.Option("--json", help="as JSON, for programs")]
WhichName = Literal["accepted", "all"]
Which = Annotated[WhichName, typer.Option(help="which cells count, of results on either side")]
