"""Names of files, by CaImAn's conventions."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any


def caiman_datadir() -> str:
    """Return CaImAn's folder for data: ``CAIMAN_DATA``, or ``caiman_data`` in the home folder."""
    return os.environ.get("CAIMAN_DATA") or str(Path.home() / "caiman_data")


def get_tempdir() -> str:
    """Return the folder for temporary files: ``CAIMAN_TEMP``, or the system's (CaImAn: one in its folder for data)."""
    chosen = os.environ.get("CAIMAN_TEMP", "")
    return chosen if Path(chosen).is_dir() and chosen else tempfile.gettempdir()


def fn_relocated(fn: str, force_temp: bool = False) -> str:
    """Return a name in the folder for temporary files, where asked to.

    A name without a folder stays as it is, in the current folder; CaImAn moves it to the folder for temporary files.
    """
    return str(Path(get_tempdir()) / Path(fn).name) if force_temp else fn


def memmap_frames_filename(basename: str, dims: Sequence[int], frames: int, order: str = "F") -> str:
    """Return the name of a memory map.

    Parameters
    ----------
    basename : str
        What it begins with, its folder too.
    dims : sequence of int
        ``(height, width)``, and of volumes planes.
    frames : int
        How many.
    order : str
        ``C`` or ``F``.
    """
    planes = dims[2] if len(dims) == 3 else 1
    return f"{basename}_d1_{dims[0]}_d2_{dims[1]}_d3_{planes}_order_{order}_frames_{frames}.mmap"


def generate_fname_tot(base_name: str, dims: Sequence[int], order: str) -> str:
    """Return the name without the number of frames and the ending.

    Parameters
    ----------
    base_name, dims, order
        As :func:`memmap_frames_filename` takes them.
    """
    return memmap_frames_filename(base_name, dims, 0, order).rsplit("_frames_", 1)[0]


def decode_mmap_filename_dict(basename: str) -> dict[str, Any]:
    """Return what a name says of ``d1``, ``d2``, ``d3``, ``order``, ``frames`` and ``T``."""
    parts = re.split("_+", Path(basename).stem.strip("_"))
    found: dict[str, Any] = {}
    for name, value in pairwise(parts):
        if name == "order":
            found[name] = value
        elif name in ("d1", "d2", "d3", "frames") and value.isdigit():
            found[name] = int(value)
    if "frames" in found:
        found["T"] = found["frames"]
    return found
