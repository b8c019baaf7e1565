"""Which format a file has: its first bytes say, its name only where they cannot."""

from __future__ import annotations

from pathlib import Path

from gpucells.errors import InputError, MissingFileError

FORMATS = "TIFF, HDF5, NWB, Zarr, NPY, AVI, MP4, CaImAn .mmap, or raw numbers with shape= and dtype="

# (offset, bytes) -> format
_SIGNATURES = {
    (0, b"II*\0"): "tiff",
    (0, b"MM\0*"): "tiff",
    (0, b"II+\0"): "tiff",  # BigTIFF
    (0, b"MM\0+"): "tiff",
    (0, b"\x93NUMPY"): "npy",
    (8, b"AVI"): "video",
    (0, b"\x1a\x45\xdf\xa3"): "video",  # Matroska
    **{(4, box): "video" for box in (b"ftyp", b"moov", b"mdat", b"wide", b"free")},  # MP4 and QuickTime
    # HDF5 starts at one of these; MATLAB puts 512 bytes of its own before it.
    **{(start, b"\x89HDF\r\n\x1a\n"): "hdf5" for start in (0, 512, 1024, 2048)},
}
_HEAD_BYTES = 2056


def detect_format(path: Path) -> str:
    """Name the format of a file.

    Returns
    -------
    str
        ``tiff``, ``npy``, ``video``, ``hdf5``, ``zarr`` (zipped), ``caiman`` or ``raw``.

    Raises
    ------
    InputError
        An empty file, or none of these.
    MissingFileError
        See :func:`first_bytes`.
    """
    from gpucells.io.raw import is_caiman_name

    head = first_bytes(path)
    for (start, signature), name in _SIGNATURES.items():
        if head[start : start + len(signature)] == signature:
            return name
    if head.startswith(b"PK\x03\x04") and path.suffix.lower() == ".zip":
        return "zarr"
    if is_caiman_name(path):
        return "caiman"
    if path.suffix.lower() in (".bin", ".raw", ".dat"):
        return "raw"
    raise _unknown(path, head)


def first_bytes(path: Path) -> bytes:
    """Read what tells formats apart.

    Raises
    ------
    InputError
        The file is empty.
    MissingFileError
        The path does not exist or may not be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except FileNotFoundError as error:
        hint = "check the spelling" if path.is_absolute() else f"relative paths start from {Path.cwd()}"
        raise MissingFileError(f"{path} does not exist", hint) from error
    except OSError as error:
        raise MissingFileError(f"{path} may not be read: {error.strerror}", "check its permissions") from error
    if not head:
        raise InputError(f"{path} is empty (0 bytes)", "copy it again")
    return head


def _unknown(path: Path, head: bytes) -> InputError:
    if head.startswith(b"MATLAB 5.0"):
        return InputError(f"{path} is a MATLAB file of version 5 to 7", "save it again with save(..., '-v7.3')")
    if head.startswith(b"PK\x03\x04"):
        return InputError(f"{path} is a zip file", "unpack it; save an array of numpy.savez by itself with numpy.save")
    return InputError(f"{path} is not a movie in a known format: it starts with {head[:8]!r}", f"formats: {FORMATS}")
