"""Tiles that turn out too large for a GPU's memory are solved in halves, and the result says so."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import replace

from gpucells.device.budget import free_pools, is_out_of_memory
from gpucells.errors import DeviceMemoryError
from gpucells.model.components import Components
from gpucells.tiles.grid import Tile, halves

log = logging.getLogger(__name__)


class SplittingSolver:
    """Solves tiles, and where the device's memory runs out their halves, and the halves of those.

    A tile as large as one that failed is not tried again.

    Parameters
    ----------
    solve_one : callable
        Solves a tile on the device. What it makes there it must not keep where it fails.
    image_shape : tuple of int
        ``(height, width)`` of the image that the tiles are of.
    halo_px : int
        Width of the tiles' halos (px), which the halves have too.
    device : str
        ``"cuda:N"``, whose pools are freed before the next attempt.
    """

    def __init__(
        self, solve_one: Callable[[Tile], Components], image_shape: tuple[int, int], halo_px: int, device: str
    ) -> None:
        self._solve_one, self._image_shape, self._halo_px, self._device = solve_one, image_shape, halo_px, device
        self._too_many_pixels: float = math.inf  # of the smallest tile that failed
        self._reason = ""

    def solve(self, tile: Tile) -> list[tuple[Tile, Components]]:
        """Solve a tile.

        Parameters
        ----------
        tile : Tile
            With a halo of ``halo_px``.

        Returns
        -------
        list of (Tile, Components)
            The tile itself, or tiles whose cores partition its core and whose boxes lie in its box. What had to be
            split is among the warnings of the components.

        Raises
        ------
        DeviceMemoryError
            The smallest tile that holds whole cells is too large for the device.
        """
        solved: list[tuple[Tile, Components]] = []
        warnings: tuple[str, ...] = ()
        waiting = [tile]
        while waiting:
            some = waiting.pop()
            is_new = some.n_pixels < self._too_many_pixels
            part = self._attempt(some) if is_new else None
            if part is not None:
                solved.append((some, replace(part, warnings=(*part.warnings, *warnings))))
                warnings = ()
                continue
            if is_new:
                self._too_many_pixels = some.n_pixels
                free_pools(self._device)  # here, where no exception holds on to what the attempt had made
                warnings += (f"{self._device} ran out of memory at a tile of {_size(some)}: it was solved in parts",)
                log.warning(warnings[-1])
            waiting += reversed(self._halves(some))
        return solved

    def _attempt(self, tile: Tile) -> Components | None:
        try:
            return self._solve_one(tile)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self._reason = str(error)
        return None

    def _halves(self, tile: Tile) -> tuple[Tile, Tile]:
        found = halves(tile, self._image_shape, self._halo_px)
        if found is None:
            raise DeviceMemoryError(
                f"{self._device} ran out of memory at a tile of {_size(tile)}, the smallest that holds whole cells: "
                f"{self._reason}",
                "end what else uses the GPU, give more of its memory (--device-memory), or average more frames "
                "(--set downsample_time_by=8)",
            )
        return found


def _size(tile: Tile) -> str:
    return f"{tile.shape[0]} x {tile.shape[1]} pixels"
