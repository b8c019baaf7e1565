"""Results of any tool as cells: what a file or folder is, its content says."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

from gpucells.errors import MissingFileError, ResultFileError
from gpucells.io.cells_file import load_cells as load_own_cells
from gpucells.model.cells import Cells

#: Who writes it, and the module that reads it: ``recognises(path) -> bool``, ``read(path) -> Cells``.
READERS: dict[str, str] = {
    "NWB": "gpucells.io.nwb_cells",
    "CaImAn": "gpucells.io.caiman_file",
    "CIAtah": "gpucells.io.ciatah_mat",
    "EXTRACT": "gpucells.io.extract_mat",
    "suite2p": "gpucells.io.suite2p_folder",
    "minian": "gpucells.io.minian_folder",
    "table": "gpucells.io.table_folder",
}


def foreign_reader(path: str | os.PathLike[str]) -> str | None:
    """Return the module that reads another tool's result; None for gpucells' own and for what is no result."""
    name = Path(path)
    if not name.exists():
        return None
    return next((module for module in READERS.values() if importlib.import_module(module).recognises(name)), None)


def load_cells(path: str | os.PathLike[str]) -> Cells:
    """Read a result, of gpucells or of another tool.

    Parameters
    ----------
    path : path-like
        A file that :func:`gpucells.save_cells` wrote; or what another tool of :data:`READERS` did.

    Returns
    -------
    Cells
        Footprints with maximum 1, traces in units that go with that. What another tool's file does not say is NaN
        (``f0``) or left out.

    Raises
    ------
    MissingFileError
        There is no such file, or it may not be read.
    ResultFileError
        It is not a result, is damaged, or was written by a newer layout.
    """
    module = foreign_reader(path)
    if module is not None:
        found: Cells = importlib.import_module(module).read(Path(path))
        return found
    name = Path(path)
    if name.is_dir():
        raise ResultFileError(f"{name} is a folder, and not a result", f"results are those of gpucells, {_known()}")
    try:
        return load_own_cells(name)
    except MissingFileError:
        raise
    except ResultFileError as error:
        raise ResultFileError(error.message, f"{error.hint}; results of {_known()} are read too") from error


def _known() -> str:
    return ", ".join(READERS)
