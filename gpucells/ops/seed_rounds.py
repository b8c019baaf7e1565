"""A batch of seeds on a GPU, and what is decided for each of them between two passes over the movie.

Which pixels of a window count, at which frames a trace is active, what is connected to the seed, whether a fit has
settled (``kernels/seed_rounds.cu``). The passes are those of :mod:`gpucells.ops.seed_passes`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpucells.device.arrays import namespace_of
from gpucells.device.kernels import Array, Define, Kernel, Scalar
from gpucells.ops.seed_fits import EDGE, FIRST_EDGE, SETTLED

WARPS = 8  # of a block: 256 threads

SEEDS = Array("seeds", "int64", ("n_seeds", 2))
RUNNING = Array("running", "bool", ("n_seeds",))
PLACES = (Array("window", "int32", ("n_seeds", "n_window")), Array("n_listed", "int64", ("n_seeds",)))
SUPPORT = (
    Array("support", "int64", ("n_seeds", "n_window")), Array("values", "float32", ("n_seeds", "n_window")),
    Array("n_support", "int64", ("n_seeds",)),
)  # fmt: skip
ACTIVE = Array("active", "int32", ("n_seeds", "n_frames"))
SHAPE = Array("shape", "float32", ("n_seeds", "n_frames"))
N_ACTIVE = Array("n_active", "int64", ("n_seeds",))
TRACES = Array("traces", "float32", ("n_seeds", "n_frames"))
FREE = Array("free", "float32", ("n_seeds", "n_frames"))
IMAGES = Array("images", "float32", ("n_seeds", "n_window"))
SIZES = (Scalar("width"), Scalar("side"), Scalar("n_window"), Scalar("n_frames"))


def written(*arrays: Array) -> tuple[Array, ...]:
    """Return declarations of the same arrays for a kernel that writes to them."""
    return tuple(Array(array.name, array.dtype, array.shape, written=True) for array in arrays)


def _kernel(name: str, registers: int, *parameters: Array | Scalar) -> Kernel:
    defines = (Define("WARPS", (WARPS,)),)
    return Kernel("seed_rounds.cu", name, parameters, threads=32 * WARPS, registers=registers, defines=defines)


LIST_WINDOWS = _kernel(
    "list_windows", 40, Array("inside", "bool", ("height", "width")), SEEDS, Scalar("height"), *SIZES[:3],
    *written(*PLACES),
)  # fmt: skip
LIST_SUPPORTS = _kernel("list_supports", 40, IMAGES, SEEDS, *SIZES[:3], *written(*SUPPORT))
CHOOSE_FRAMES = _kernel(
    "choose_frames", 64, TRACES, FREE, Scalar("n_frames"), Scalar("first"),
    *written(ACTIVE, SHAPE, N_ACTIVE, SUPPORT[2], RUNNING),
)  # fmt: skip
END_ROUND = _kernel(
    "end_round", 64, SEEDS, *SIZES, Scalar("first"), Scalar("cut", "float32"), Scalar("edge", "float32"),
    Scalar("settled", "float32"),
    *written(
        IMAGES, Array("old_images", "float32", IMAGES.shape), TRACES, Array("old_traces", "float32", TRACES.shape),
        Array("marks", "bool", IMAGES.shape), *SUPPORT, RUNNING,
    ),
)  # fmt: skip


class SeedBatch:
    """Arrays of a batch of seeds on a device, one row a seed, and the decisions on them.

    Parameters
    ----------
    movie : cupy.ndarray
        ``(height, width, n_frames)``; only its device and shape are looked at.
    inside : numpy.ndarray
        ``(height, width)`` bool, the pixels that count.
    seeds : numpy.ndarray
        ``(n, 2)`` row and column, at least one.
    half : int
        Half the side of a window (px).
    """

    def __init__(self, movie: Any, inside: NDArray[np.bool_], seeds: NDArray[np.int64], half: int) -> None:
        xp, (_, self.width, n_frames) = namespace_of(movie), movie.shape
        self.xp, self.n_seeds, self.side = xp, len(seeds), 2 * half + 1
        of_window, of_frames = (self.n_seeds, self.side**2), (self.n_seeds, n_frames)
        self.seeds = xp.asarray(seeds, np.int64)
        self.running = xp.ones(self.n_seeds, bool)  # the others have settled, or failed and have no support
        self.places = {"window": xp.empty(of_window, np.int32), "n_listed": xp.empty(self.n_seeds, np.int64)}
        self.support = {
            "support": xp.zeros(of_window, np.int64), "values": xp.zeros(of_window, np.float32),
            "n_support": xp.zeros(self.n_seeds, np.int64),
        }  # fmt: skip
        self.images, self.old_images = xp.zeros(of_window, np.float32), xp.zeros(of_window, np.float32)
        self.traces, self.old_traces = xp.zeros(of_frames, np.float32), xp.zeros(of_frames, np.float32)
        self.free = xp.zeros(of_frames, np.float32)  # traces before they were cut off at zero
        self.frames = {
            "active": xp.empty(of_frames, np.int32), "shape": xp.empty(of_frames, np.float32),
            "n_active": xp.zeros(self.n_seeds, np.int64),
        }  # fmt: skip
        self._decide(LIST_WINDOWS, inside=xp.asarray(inside, bool), seeds=self.seeds, side=self.side, **self.places)

    def _decide(self, kernel: Kernel, **arguments: Any) -> None:
        kernel.launch((self.n_seeds,), (32, WARPS), **arguments)

    def support_neighbours(self, inside: NDArray[np.bool_], seeds: NDArray[np.int64]) -> None:
        """Make the 3 x 3 px around each seed that count its support, all with the same value."""
        height, width = inside.shape
        rows, columns = seeds[:, :1] + np.repeat([-1, 0, 1], 3), seeds[:, 1:] + np.tile([-1, 0, 1], 3)
        there = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        pixels = np.where(there, rows * width + columns, 0)
        self.support["support"][:, :9] = self.xp.asarray(pixels)
        self.support["values"][:, :9] = self.xp.asarray((there & inside.ravel()[pixels]).astype(np.float32))
        self.support["n_support"][:] = 9

    def support_images(self) -> None:
        """Make the pixels of each image that are above 0 the support."""
        self._decide(
            LIST_SUPPORTS, images=self.images, seeds=self.seeds, width=self.width, side=self.side, **self.support
        )

    def choose_frames(self, *, first: bool = False) -> None:
        """List the frames at which a trace is active; for the first image those at which the uncut trace is bright."""
        self._decide(
            CHOOSE_FRAMES, traces=self.free if first else self.traces, free=self.free, first=first,
            n_support=self.support["n_support"], running=self.running, **self.frames,
        )  # fmt: skip

    def end_round(self, *, first: bool = False) -> None:
        """Scale images, keep what is connected to the seed, and stop those that have settled or have nothing left."""
        self._decide(
            END_ROUND, seeds=self.seeds, width=self.width, side=self.side, first=first,
            cut=FIRST_EDGE if first else 0, edge=EDGE, settled=SETTLED, images=self.images,
            old_images=self.old_images, traces=self.traces, old_traces=self.old_traces,
            marks=self.xp.empty(self.images.shape, bool), running=self.running, **self.support,
        )  # fmt: skip
