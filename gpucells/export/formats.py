"""The formats by name, and the one call that writes any of them."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gpucells.errors import SettingsError
from gpucells.progress import ProgressSink, silent
from gpucells.settings import Settings, nearest

if TYPE_CHECKING:
    from gpucells.model.cells import Cells


#: What a format may keep of a result; the first five are :data:`gpucells.export.values.Kind`.
Kept = Literal["traces", "dff", "denoised", "denoised_dff", "spikes", "accepted"]


@dataclass(frozen=True)
class Format:
    """One kind of file or folder.

    Parameters
    ----------
    name : str
        As typed.
    title : str
        What it is, and who reads it.
    ending : str
        Of the file's name, such as ``.nwb``; of a folder, what follows the result's own name.
    folder : bool
        Whether it is a folder.
    module : str
        Has ``Options``, a :class:`gpucells.settings.Settings`, and
        ``write(cells, path, options, overwrite, progress)``.
    keeps : tuple of str
        What comes back, to float32, where the written folder or file is read again; footprints always do. With ``dff``
        alone, the traces that are read are dF/F.
    extra : str
        Of ``pip install "gpucells[extra]"``; empty where nothing more is needed.
    """

    name: str
    title: str
    ending: str
    folder: bool
    module: str
    keeps: tuple[Kept, ...]
    extra: str = ""

    def options(self) -> type[Settings]:
        """Return the class of its options."""
        found: type[Settings] = importlib.import_module(self.module).Options
        return found

    def writer(self) -> Callable[..., None]:
        """Return the function that writes it."""
        found: Callable[..., None] = importlib.import_module(self.module).write
        return found


_ALL: tuple[Kept, ...] = ("traces", "dff", "denoised", "spikes", "accepted")
_MEASURED: tuple[Kept, ...] = ("traces", "dff", "accepted")
_WITHOUT_MODEL: tuple[Kept, ...] = ("traces", "dff", "spikes", "accepted")

FORMATS: dict[str, Format] = {
    one.name: one
    for one in (
        Format("nwb", "NWB 2: pynwb, roiextractors, CIAtah, DANDI", ".nwb", False, "gpucells.export.nwb", _ALL, "nwb"),
        Format("caiman", "CaImAn's result, read by its load_CNMF", ".hdf5", False, "gpucells.export.caiman", _ALL),
        Format("extract", "EXTRACT's output, a MAT file", ".mat", False, "gpucells.export.extract_mat", _MEASURED),
        Format("ciatah", "a method's MAT file of CIAtah", ".mat", False, "gpucells.export.ciatah", _ALL),
        Format("suite2p", "suite2p's folder", "_suite2p", True, "gpucells.export.suite2p", _WITHOUT_MODEL),
        Format("minian", "minian's folder of Zarr", "_minian", True, "gpucells.export.minian", _ALL, "zarr"),
        Format("table", "CSV files, for any program", "_table", True, "gpucells.export.table", _ALL),
    )
}


def find_format(name: str) -> Format:
    """Return a format by name.

    Raises
    ------
    SettingsError
        There is none of that name.
    """
    if name not in FORMATS:
        raise SettingsError(f"unknown format {name!r}", nearest(name, FORMATS) or f"one of {', '.join(FORMATS)}")
    return FORMATS[name]


def export_cells(
    cells: Cells,
    path: str | os.PathLike[str],
    to: str,
    options: dict[str, Any] | None = None,
    overwrite: bool = False,
    progress: ProgressSink = silent,
) -> None:
    """Write cells as another tool's file or folder, whole or not at all.

    Parameters
    ----------
    cells : Cells
        The result; ``cells.accepted_only()`` where the rejected ones should stay out.
    path : path-like
        The file or folder to make.
    to : str
        Name of a format, one of :data:`FORMATS`.
    options : dict, optional
        The format's own options by name.
    overwrite : bool
        Whether an existing file or folder of that kind may be replaced.
    progress : ProgressSink
        Told of every block of cells.

    Raises
    ------
    SettingsError
        There is no such format or option, or the result lacks what the format cannot do without.
    ResultFileError
        It exists, its folder is missing or cannot be written to, or the disk is full. Nothing is left behind.
    MissingDependencyError
        A package that the format needs is not installed.
    """
    chosen = find_format(to)
    chosen.writer()(cells, Path(path), chosen.options().from_values(options or {}), overwrite, progress)
