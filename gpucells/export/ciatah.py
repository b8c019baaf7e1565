"""A result as the file that CIAtah's loaders read, one layout for each of its methods."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from gpucells.errors import SettingsError
from gpucells.io.ciatah_names import METHODS, OURS, ciatah_file_name, ciatah_names
from gpucells.model.cells import Cells
from gpucells.progress import ProgressSink, silent
from gpucells.settings import Settings

__all__ = ["Options", "ciatah_file_name", "ciatah_method", "ciatah_names", "write", "write_ciatah"]

Method = Literal["CELLMax", "EM", "PCAICA", "PCAICA_old", "CNMF", "CNMFE", "EXTRACT", "ROI"]


class Options(Settings):
    """Options of the format ``ciatah``."""

    method: Method | None = Field(
        None, description="whose layout CIAtah is to find in the file; that of the result's method where not given"
    )
    transposed: bool = Field(
        False,
        description="whether MATLAB sees the movie with rows and columns exchanged, as it does HDF5 files written "
        "(frames, height, width) by Python: images are then written to match what it sees",
    )
    decisions: bool = Field(
        False,
        description="also write the file of sorted cells beside it, from which CIAtah takes accepted and rejected as "
        "a person's decisions",
    )
    version: Literal["auto", "5", "7.3"] = Field(
        "auto", description="of the MAT file; auto is 5 below 2 GB, 7.3 above"
    )


def ciatah_method(cells: Cells, method: str | None = None) -> str:
    """Return CIAtah's name of a result's method, or check the one that is given.

    Raises
    ------
    SettingsError
        CIAtah has no such method.
    """
    if method is None:
        method = OURS.get(cells.method)
        if method is None:
            raise SettingsError(
                f"CIAtah has no method that is called {cells.method!r}", f"set method to one of {', '.join(METHODS)}"
            )
    ciatah_names(method)
    return method


def write(cells: Cells, path: Path, options: Options, overwrite: bool, progress: ProgressSink) -> None:
    """Write the file; see :func:`write_ciatah`."""
    write_ciatah(cells, path, options, overwrite, progress)


def write_ciatah(
    cells: Cells, path: Path, options: Options | None = None, overwrite: bool = False, progress: ProgressSink = silent
) -> None:
    """Write a result as CIAtah's file of one method.

    Parameters
    ----------
    cells : Cells
        The result.
    path : Path
        CIAtah finds it by the end of its name: :func:`ciatah_file_name` makes one.
    options : Options, optional
        See there.
    overwrite : bool
        Whether existing files may be replaced.
    progress : ProgressSink
        Told of every array.
    """
    raise NotImplementedError
