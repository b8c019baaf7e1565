"""What a run will do, decided before it does anything: averaging, tiles, memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpucells.device.budget import device_budget_bytes
from gpucells.device.discover import choose_devices
from gpucells.device.memory import free_host_memory_bytes
from gpucells.errors import InputError, MissingFileError
from gpucells.io.open_movie import open_movie
from gpucells.methods.registry import Background, FieldModel, Method, MethodSettings, find_method
from gpucells.model.movie import Movie
from gpucells.preprocess.estimate import Estimate, estimate
from gpucells.preprocess.lens import find_lens_field, lens_warning
from gpucells.preprocess.mask import check_mask
from gpucells.settings import RunSettings
from gpucells.tiles.frames import BLOCK_BYTES
from gpucells.tiles.grid import (
    BYTES_PER_SAMPLE,
    DEVICE_BYTES_PER_PIXEL,
    DEVICE_BYTES_PER_SAMPLE,
    HALO_RADII,
    Room,
    Tile,
    plan_tiles,
    whole_field,
)
from gpucells.tiles.look import Look, look_at
from gpucells.tiles.workers import require_safe_threads

Float32 = NDArray[np.float32]

FEWEST_FRAMES = 30  # below, neither noise nor transients can be told
RESERVED_BYTES = 400 * 2**20  # Python, the libraries, compiled code, and what is kept of each tile


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Parameters
    ----------
    movie : Movie
        The source.
    method : Method
        With ``settings``, its validated settings.
    devices : tuple of str
        ``("cpu",)``, or one or more GPUs as ``"cuda:N"``; tiles are shared out among them, the first does the rest.
    radius_px : float
        Cell radius (px), given or estimated.
    factor : int
        Frames averaged into one while cells are found and refined.
    noise : numpy.ndarray
        ``(height, width)`` noise at the full rate, from the probe.
    mask : numpy.ndarray
        ``(height, width)`` bool, where cells may be.
    tiles : list of Tile
        How the image is cut.
    budget_bytes : int
        Memory of the host that the run may use.
    device_room : Room or None
        Memory of a GPU that a tile may take, of the smallest where there are several; None where the run is on the CPU.
    warnings : tuple of str
        What the estimates warned of.
    on_disk : bool
        Whether the averaged movie, of which the whole image is the one tile, is in a scratch file.
    """

    movie: Movie
    method: Method
    settings: MethodSettings
    devices: tuple[str, ...]
    radius_px: float
    factor: int
    noise: Float32
    mask: NDArray[np.bool_]
    tiles: list[Tile]
    budget_bytes: int
    device_room: Room | None
    warnings: tuple[str, ...]
    on_disk: bool = False

    @property
    def block_bytes(self) -> int:
        """Size of a block of frames (float32) that may not be exceeded."""
        on_host = self.budget_bytes // 8
        return on_host if self.device_room is None else min(on_host, self.device_room.n_bytes // 16)

    @property
    def device(self) -> str:
        """The devices in one word: ``"cpu"``, ``"cuda:0"``, ``"cuda:0,1"``."""
        return ",".join([self.devices[0], *(name.removeprefix("cuda:") for name in self.devices[1:])])

    @property
    def halo_px(self) -> int:
        """Width of the tiles' halos."""
        return _halo_px(self.radius_px)

    def full_rate_noise(self, averaged: Float32, inside: NDArray[np.bool_]) -> Float32:
        """``(n_pixels,)`` noise at the full rate, no pixel quieter than the solver took it; infinite outside."""
        floor = averaged * np.float32(0.5 * np.sqrt(self.factor))
        return np.where(inside.ravel(), np.maximum(self.noise.ravel(), floor), np.float32(np.inf)).astype(np.float32)

    def background(self) -> tuple[Background, Background] | None:
        """Nodes of the background field over the whole image: while cells are looked for, and once they are known.

        None where the method's background is no such field.
        """
        if not isinstance(self.method.model, FieldModel):
            return None
        return self.method.model.background((self.movie.height, self.movie.width), self.radius_px, self.settings)

    @property
    def n_background(self) -> int | str:
        """Components to keep of a background of low rank: a number, or ``"auto"``."""
        wanted: int | str = getattr(self.settings, "n_background", "auto")
        return wanted

    def record(self, run: RunSettings) -> dict[str, object]:
        """Every setting of the run, with the values that were estimated."""
        return {
            "run": run.model_dump(),
            self.method.name: self.settings.model_dump(),
            "estimated": {"cell_diameter_px": 2 * self.radius_px, "downsample_time_by": self.factor},
        }

    def lines(self) -> list[str]:
        """Describe the plan for a person, with sizes in bytes."""
        movie = self.movie
        size = f"{movie.n_frames} frames of {movie.height} x {movie.width}"
        averaged = movie.n_frames // self.factor
        largest = max(tile.n_pixels for tile in self.tiles)
        passes = "two passes at most" if isinstance(self.method.model, FieldModel) else "three passes at most"
        whole = "whole image, in a scratch file" if self.on_disk else "whole image"
        cut = whole if len(self.tiles) == 1 else f"{len(self.tiles)} tiles, halo included"
        return [
            f"movie       {movie.source}: {size}, {movie.dtype}, {movie.n_bytes:,} bytes",
            f"method      {self.method.title} on {self.device}",
            f"cells       {2 * self.radius_px:.1f} px across",
            f"averaging   {self.factor} frames into one: {averaged} frames while cells are found and refined",
            f"tiles       {cut}; the largest {largest:,} pixels, {int(largest * averaged * BYTES_PER_SAMPLE):,} bytes",
            f"traces      at full rate, in blocks of about {BLOCK_BYTES:,} bytes, {passes}",
            f"memory      {self.budget_bytes:,} bytes at most",
            *self._device_lines(largest, averaged),
            *(f"warning     {warning}" for warning in self.warnings),
        ]

    def _device_lines(self, n_pixels: int, n_frames: int) -> list[str]:
        if self.device_room is None:
            return []
        each = f" of each of {len(self.devices)} GPUs" if len(self.devices) > 1 else ""
        needed = self.device_room.needed_bytes(n_pixels, n_frames)
        return [
            f"GPU memory  {self.device_room.n_bytes:,} bytes at most{each}; the largest tile takes {needed:,} bytes"
        ]


@dataclass(frozen=True)
class FirstLook:
    """What is known of a movie after some of its frames.

    Parameters
    ----------
    seen : Look
        Those frames.
    mask : numpy.ndarray
        ``(height, width)`` bool, where cells may be: the user's, or what a lens shows.
    estimated : Estimate
        Cell diameter and decay.
    warnings : tuple of str
        What the user should know.
    """

    seen: Look
    mask: NDArray[np.bool_]
    estimated: Estimate
    warnings: tuple[str, ...]

    @property
    def inside(self) -> NDArray[np.bool_]:
        """``(height, width)`` bool, the pixels of the mask that vary."""
        return self.seen.varies & self.mask


def look_first(movie: Movie, run: RunSettings) -> FirstLook:
    """Read some frames and estimate what the run does not say.

    Parameters
    ----------
    movie : Movie
        The source.
    run : RunSettings
        Mask and cell diameter.

    Raises
    ------
    InputError
        The movie has too few frames, or nothing in it varies.
    """
    if movie.n_frames < FEWEST_FRAMES:
        raise InputError(
            f"{movie.source} has {movie.n_frames} frames",
            f"cells need at least {FEWEST_FRAMES} to tell them from noise",
        )
    seen = look_at(movie, FEWEST_FRAMES)
    mask = _read_mask(run.mask, (movie.height, movie.width))
    inside = seen.varies & mask
    if not inside.any():
        raise InputError(f"{movie.source}: no pixel of {len(seen.frames)} frames varies", "is the right dataset read?")
    lens = run.mask is None and run.mask_lens_rim and run.preset == "one_photon"
    mean = seen.frames.mean(axis=0, dtype=np.float32) if lens else np.zeros((0, 0), np.float32)
    field = find_lens_field(mean, seen.noise, 0.0)
    known = inside if field is None else inside & field
    estimated = estimate(seen.frames, known, run.cell_diameter_px, seen.starts)
    if field is not None:  # once more: how much is left off beside the edge goes by the cells
        field = find_lens_field(mean, seen.noise, estimated.diameter_px / 2)
    if field is None or not (inside & field).any():
        return FirstLook(seen, mask, estimated, estimated.warnings)
    return FirstLook(seen, mask & field, estimated, (*estimated.warnings, lens_warning(field)))


def frames_to_average(settings: MethodSettings, decay_frames: float, n_frames: int) -> int:
    """Return how many frames are averaged into one: as given, or as a transient's decay allows.

    Parameters
    ----------
    settings : MethodSettings
        Of the method.
    decay_frames : float
        1/e decay time of transients (frames).
    n_frames : int
        Of the movie.
    """
    factor = settings.downsample_time_by
    if factor is None:
        factor = max(1, round(decay_frames / settings.min_tau_after_downsampling))
    return max(1, min(factor, n_frames // FEWEST_FRAMES))


def make_plan(movie: Movie, method: str, run: RunSettings, values: dict[str, object]) -> Plan:
    """Look at a few frames and decide.

    Parameters
    ----------
    movie : Movie
        The source.
    method : str
        Name in the registry.
    run : RunSettings
        Preset, cell diameter, device, memory.
    values : dict
        The method's own settings by name.

    Raises
    ------
    InputError
        The movie has too few frames, or nothing in it varies.
    SettingsError
        A setting is unknown or out of range.
    DeviceError, DeviceMemoryError
        The device does not answer; the movie cannot be cut small enough.
    """
    chosen = find_method(method)
    settings = chosen.settings(run.preset, dict(values))
    if hasattr(settings, "seed"):
        settings = chosen.settings(run.preset, {"seed": run.seed} | values)
    devices = choose_devices(run.device)
    if len(devices) > 1:
        require_safe_threads()
    budget = run.memory_bytes or free_host_memory_bytes() // 2
    first = look_first(movie, run)
    seen, estimated, image_shape = first.seen, first.estimated, (movie.height, movie.width)
    radius = estimated.diameter_px / 2
    factor = frames_to_average(settings, estimated.decay_frames, movie.n_frames)
    device_room = None
    if devices != ("cpu",):
        n_bytes = min(device_budget_bytes(device, run.device_memory_bytes) for device in devices)
        device_room = Room(n_bytes, DEVICE_BYTES_PER_SAMPLE, "--device-memory", DEVICE_BYTES_PER_PIXEL)
    rooms = [Room(max(budget - RESERVED_BYTES, budget // 4)), *filter(None, [device_room])]
    on_disk = False
    if getattr(settings, "whole_field", False):
        tiles, on_disk = _whole_field(settings, radius, image_shape, movie.n_frames // factor, rooms)
    else:
        tiles = plan_tiles(image_shape, movie.n_frames // factor, _halo_px(radius), *rooms, n_devices=len(devices))
    return Plan(
        movie,
        chosen,
        settings,
        devices,
        radius,
        factor,
        seen.noise,
        first.mask,
        tiles,
        budget,
        device_room,
        first.warnings,
        on_disk,
    )


def _whole_field(
    settings: Any, radius_px: float, image_shape: tuple[int, int], n_frames: int, rooms: list[Room]
) -> tuple[list[Tile], bool]:
    """Return the one tile, and whether its movie is in a scratch file: on the CPU, where the memory is too small."""
    host, *devices = rooms
    on_disk = not devices and host.needed_bytes(image_shape[0] * image_shape[1], n_frames) > host.n_bytes
    if on_disk:
        rooms = [replace(host, bytes_per_sample=settings.bytes_per_sample_on_disk(radius_px))]
    return whole_field(image_shape, n_frames, *rooms), on_disk


def _halo_px(radius_px: float) -> int:
    return int(np.ceil(HALO_RADII * radius_px))


def _read_mask(path: str | None, image_shape: tuple[int, int]) -> NDArray[np.bool_]:
    if path is None:
        return np.ones(image_shape, bool)
    if not Path(path).exists():
        raise MissingFileError(f"no mask {path}")
    if Path(path).suffix.lower() == ".npy":  # NumPy writes a picture with two axes, which is no movie
        return check_mask(np.load(path, allow_pickle=False), image_shape, f"mask {path}")
    with open_movie(path) as picture:
        return check_mask(picture.read(), image_shape, f"mask {path}")
