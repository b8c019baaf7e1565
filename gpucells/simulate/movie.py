"""Movies with known truth, in memory or straight to a file of any size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpucells.errors import ResultFileError
from gpucells.model.truth import Truth
from gpucells.progress import Event, ProgressSink, silent
from gpucells.simulate.scene import Scene, make_scene
from gpucells.simulate.settings import SimulationSettings

BLOCK_BYTES = 16 << 20
CHUNK = (32, 128, 128)  # 1 MiB of uint16: a tile over all frames and a block of whole frames both read little extra
STAGE = "simulate movie"


@dataclass(frozen=True)
class SimulatedMovie:
    """A movie and what is in it.

    Parameters
    ----------
    movie : numpy.ndarray or Path
        ``(n_frames, height, width)`` samples, or the HDF5 file that has them: either is what
        :func:`gpucells.open_movie` and :func:`gpucells.extract_cells` take.
    truth : Truth
        The cells.
    settings : SimulationSettings
        Every number it was made from.
    """

    movie: NDArray[Any] | Path
    truth: Truth
    settings: SimulationSettings


def simulate_movie(
    kind: str = "two_photon",
    *,
    path: str | Path | None = None,
    progress: ProgressSink = silent,
    frames_at_once: int | None = None,
    **settings: Any,
) -> SimulatedMovie:
    """Simulate a recording.

    Parameters
    ----------
    kind : {"two_photon", "one_photon"}
        Recording type; sets the defaults.
    path : str or Path, optional
        HDF5 file to write, with ``/movie`` and ``/truth``, a block of frames at a time: memory stays below 300 MB for
        a movie of any size. In memory where not given.
    progress : callable
        Gets an :class:`gpucells.progress.Event` a block of frames.
    frames_at_once : int, optional
        Frames of a block; the movie does not depend on it.
    **settings
        Fields of :class:`gpucells.simulate.settings.SimulationSettings`: ``shape``, ``n_cells``, ``frame_rate_hz``,
        ``cell_diameter_px``, ``snr``, ``event_rate_hz``, ``min_distance``, ``background``, ``vessels``,
        ``vignetting``, ``motion_px``, ``seed`` and more.

    Returns
    -------
    SimulatedMovie
        The same for the same settings, bit by bit.

    Raises
    ------
    SettingsError
        An unknown setting, a value out of range, or more cells than fit.
    ResultFileError
        The file cannot be written.
    """
    chosen = SimulationSettings.for_kind(kind, settings)
    scene, truth = make_scene(chosen)
    n_frames, height, width = chosen.shape
    frame_bytes = height * width * scene.sensor.dtype.itemsize
    block = frames_at_once or max(1, BLOCK_BYTES // frame_bytes)
    if path is not None:
        return SimulatedMovie(_write(Path(path), scene, truth, block, progress), truth, chosen)
    movie = np.empty(chosen.shape, dtype=scene.sensor.dtype)
    for start in range(0, n_frames, block):
        stop = min(start + block, n_frames)
        scene.draw(start, movie[start:stop])
        progress(Event(STAGE, stop, n_frames, "frames"))
    return SimulatedMovie(movie, truth, chosen)


def _write(path: Path, scene: Scene, truth: Truth, block: int, progress: ProgressSink) -> Path:
    import h5py

    settings = scene.settings
    n_frames = settings.shape[0]
    chunks = tuple(min(whole, part) for whole, part in zip(settings.shape, CHUNK, strict=True))
    block = max(block - block % chunks[0], chunks[0])  # whole chunks: each is written once
    part = path.with_name(path.name + ".part")
    try:
        with h5py.File(part, "w") as file:
            file.attrs.update(
                imaging=settings.kind,
                frame_rate_hz=settings.frame_rate_hz,
                cell_diameter_px=settings.cell_diameter_px,
                simulation=settings.model_dump_json(),
            )
            movie = file.create_dataset("movie", settings.shape, dtype=scene.sensor.dtype, chunks=chunks)
            movie.attrs.update(scale=1.0, offset=0.0)
            truth.write_into(file.create_group("truth"))
            frames = np.empty((min(block, n_frames), *settings.shape[1:]), dtype=scene.sensor.dtype)
            for start in range(0, n_frames, block):
                stop = min(start + block, n_frames)
                scene.draw(start, frames[: stop - start])
                movie[start:stop] = frames[: stop - start]
                progress(Event(STAGE, stop, n_frames, "frames"))
        part.replace(path)
    except OSError as error:
        raise ResultFileError(f"cannot write {path}: {error}", "check the folder and the free space") from error
    finally:
        part.unlink(missing_ok=True)
    return path
