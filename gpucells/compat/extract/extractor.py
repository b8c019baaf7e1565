"""``extractor(M, config)``: a movie and a configuration in, EXTRACT's output structure out."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

import gpucells
from gpucells.compat.extract.config import CONFIG, THRESHOLDS, Config, as_config
from gpucells.compat.extract.output import make_output
from gpucells.compat.parameters import is_empty
from gpucells.compat.structure import Structure
from gpucells.errors import InputError, SettingsError
from gpucells.io.open_movie import open_movie
from gpucells.model.movie import Movie
from gpucells.pipeline import apply_footprints, extract_cells
from gpucells.progress import ProgressSink, silent
from gpucells.tiles.lost_frames import PickedFrames


def extractor(
    M: Any,
    config: Any,
    settings: dict[str, Any] | None = None,
    progress: ProgressSink = silent,
    **run: Any,
) -> Structure:
    """Find the cells of a movie, as EXTRACT's function of that name.

    Parameters
    ----------
    M : array, str or pair
        ``(height, width, n_frames)``, MATLAB's order; or the movie in an HDF5 file, as ``"file:dataset"`` or
        ``(file, dataset)``, with the same dimensions in MATLAB and so ``(n_frames, width, height)`` in h5py.
    config : Config or mapping
        What :func:`get_defaults` returns, with a script's values.
    settings : dict, optional
        Settings of our EXTRACT by our names, on top of the configuration; the original has no such argument.
    progress : ProgressSink
        Told of every step.
    **run
        Fields of :class:`gpucells.settings.RunSettings`, such as ``preset="one_photon"``, on top of it, too.

    Returns
    -------
    Structure
        ``spatial_weights`` ``(height, width, K)``, ``temporal_weights`` ``(n_frames, K)`` in dF/F, ``info`` and
        ``config``, of the accepted cells.

    Raises
    ------
    InputError
        The movie has no three dimensions, or cannot be read.
    SettingsError
        A name is unknown, a value is out of range, or ``regression_only`` has no ``S_init``.
    """
    started = time.perf_counter()
    chosen = as_config(config)
    ours, options = CONFIG.translate(chosen.given())
    more, _ = THRESHOLDS.translate(chosen.thresholds.given())
    ours = ours | more | _limits_off(chosen) | (settings or {})
    options = options | _device(chosen.given()) | run
    with _opened(M, chosen) as movie, _mask_file(chosen.movie_mask, options) as masked:
        start = _start(chosen, (movie.height, movie.width))
        alone = bool(chosen.regression_only) or (start is not None and "max_iter" in ours and ours["max_iter"] == 0)
        if alone:
            if start is None:
                raise SettingsError("regression_only without S_init", "give the images: config.S_init")
            cells = apply_footprints(movie, start, settings=ours, progress=progress, **masked)
        else:
            cells = extract_cells(movie, "extract", settings=ours, progress=progress, init=start, **masked)
    return make_output(cells, chosen, time.perf_counter() - started, gpucells.__version__)


def _limits_off(config: Config) -> dict[str, Any]:
    off: dict[str, Any] = {"max_size": np.inf, "max_eccentricity": np.inf} if config.minimal_checks else {}
    return off | ({"max_iter": 1} if config.hyperparameter_tuning_flag else {})


def _device(given: dict[str, Any]) -> dict[str, Any]:
    """Choose as EXTRACT does: parallel_cpu goes before use_gpu, multi_gpu before parallel_cpu."""
    if given.get("multi_gpu"):
        return {"device": "cuda:all"}
    if given.get("parallel_cpu"):
        return {"device": "cpu"}
    if not is_empty(given.get("pick_gpu")):
        return {"device": f"cuda:{int(given['pick_gpu']) - 1}"}
    if given.get("use_default_gpu"):
        return {"device": "cuda:0"}
    if "use_gpu" in given:
        return {"device": "auto" if given["use_gpu"] else "cpu"}
    return {}


@contextmanager
def _opened(source: Any, config: Config) -> Iterator[Movie]:
    """Open a movie whose dimensions are MATLAB's."""
    name = _file_and_dataset(source)
    if name is None:
        shape = np.shape(source)
        if len(shape) != 3:
            raise InputError(f"M has the shape {shape}", "give (height, width, n_frames), or 'file:dataset'")
        movie = open_movie(source, axes="YXT")
    else:
        movie = open_movie(name[0], dataset=name[1], axes="TXY")
    with movie:
        if name is not None and not is_empty(config.num_frames):
            first = np.arange(min(int(config.num_frames), movie.n_frames))
            yield replace(movie, reader=PickedFrames(movie.reader, first))
        else:
            yield movie


def _file_and_dataset(source: Any) -> tuple[str, str] | None:
    if isinstance(source, list | tuple) and len(source) == 2 and all(isinstance(s, str | os.PathLike) for s in source):
        return os.fspath(source[0]), str(os.fspath(source[1])).strip("/")
    if not isinstance(source, str):
        return None
    file, mark, dataset = source.rpartition(":")
    if not mark or len(file) < 2:  # one letter is a drive
        raise InputError(f"M = {source!r} names no dataset", "write 'file:dataset', such as 'movie.h5:/1'")
    return file, dataset.strip("/")


@contextmanager
def _mask_file(mask: Any, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Write the mask to a file, which is what a run takes, for as long as it is needed."""
    if is_empty(mask):
        yield options
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mask.npy"
        np.save(path, np.asarray(mask, np.uint8) if np.asarray(mask).dtype == bool else np.asarray(mask))
        yield {"mask": str(path)} | options


def _start(config: Config, image_shape: tuple[int, int]) -> Any:
    """Return the images to start from, ``(n_cells, n_pixels)`` in our order; empty ones are left out, as there."""
    given = config.S_init
    if given is None or (not sparse.issparse(given) and is_empty(given)):
        return None
    height, width = image_shape
    if not sparse.issparse(given) and np.ndim(given) == 3 and np.shape(given)[:2] == image_shape:
        images = sparse.csr_array(np.moveaxis(np.asarray(given, np.float32), 2, 0).reshape(-1, height * width))
    elif len(given.shape) == 2 and given.shape[0] == height * width:
        place = np.arange(height * width).reshape(width, height).T.ravel()  # MATLAB counts down the columns
        images = sparse.csr_array(sparse.csr_array(given, dtype=np.float32)[place].T)
    else:
        raise InputError(
            f"S_init has the shape {given.shape}",
            f"give ({height}, {width}, K), or ({height * width}, K) in MATLAB's order",
        )
    images.data = np.maximum(images.data, 0)
    images.eliminate_zeros()
    return sparse.csr_array(images[np.flatnonzero(np.diff(images.indptr))])
