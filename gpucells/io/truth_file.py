"""The truth of a simulated movie, in the group ``/truth`` of its HDF5 file."""

from __future__ import annotations

from pathlib import Path

from gpucells.errors import InputError, MissingFileError
from gpucells.model.truth import Truth

GROUP = "truth"


def has_truth(path: str | Path) -> bool:
    """Whether the file is HDF5 and has the group ``/truth``."""
    import h5py

    if not Path(path).is_file() or not h5py.is_hdf5(path):
        return False
    with h5py.File(path, "r") as file:
        return GROUP in file


def load_truth(path: str | Path) -> Truth:
    """Read the truth beside a simulated movie.

    Parameters
    ----------
    path : str or Path
        HDF5 file with ``/truth`` (see :meth:`gpucells.model.truth.Truth.as_datasets`) and ``/movie``.

    Raises
    ------
    MissingFileError
        The file is not there.
    InputError
        It has no truth, or not all of it.
    """
    import h5py

    if not Path(path).is_file():
        raise MissingFileError(f"there is no file {path}")
    if not has_truth(path):
        raise InputError(f"{path} has no group /truth", "only simulated movies have one: gpucells simulate")
    with h5py.File(path, "r") as file:
        group = file[GROUP]
        datasets = {name: group[name][()] for name in group}
        if "image_shape" in group.attrs:
            height, width = (int(n) for n in group.attrs["image_shape"])
        elif "movie" in file:
            height, width = file["movie"].shape[1:]
        else:
            raise InputError(f"{path}: neither /movie nor /truth says how large the image is")
        n_pixels = group.attrs["footprints_shape"][1] if "footprints_shape" in group.attrs else height * width
    if n_pixels != height * width:
        raise InputError(f"{path}: true footprints have {n_pixels} pixels, the image is {height} x {width}")
    return Truth.from_datasets(datasets, (int(height), int(width)))


def save_truth(path: str | Path, truth: Truth) -> None:
    """Write the truth into an HDF5 file, which is made where it is missing; an older truth in it is replaced.

    Parameters
    ----------
    path : str or Path
        The simulated movie's file.
    truth : Truth
        What to write.
    """
    import h5py

    with h5py.File(path, "a") as file:
        if GROUP in file:
            del file[GROUP]
        truth.write_into(file.create_group(GROUP))
