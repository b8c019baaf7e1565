"""The CUDA body of :func:`gpucells.ops.robust_traces.robust_traces`: ``kernels/robust_traces.cu`` from the host.

The movie stays where it is; what else the kernels need goes to the device once a call, and traces and losses come back.
Frames are solved in chunks that fit into what memory is free, and within a step their pixels are summed up in smaller
chunks yet, so that the table of partial sums stays small.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpucells.device.arrays import to_host
from gpucells.device.budget import device_budget_bytes
from gpucells.device.kernels import Array, Define, Kernel, Scalar
from gpucells.ops.overlap_graph import OverlapGraph
from gpucells.ops.pixel_tiles import MOST_ROWS, RUN_FACTS, PixelTiles

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]

WARP, WARPS = 32, 4  # frames a warp; warps a block
FRAMES, ROWS = 8, 32  # frames whose step a block solves, each row of a memory's sector; components at once
PARTIAL_BYTES = 256 << 20  # of partial sums at most: enough frames at once to fill any GPU
FREE_SHARE = 0.5  # of what arrays may take: for a chunk of frames, the partial sums included
MOST_BLOCKS = 65535  # of an axis of the grid

_MACROS = (Define("WARP", (WARP,)), Define("WARPS", (WARPS,)), Define("FRAMES", (FRAMES,)), Define("ROWS", (ROWS,)),
           Define("RUN_FACTS", (RUN_FACTS,)))  # fmt: skip
_BY_FRAME = ("n_blocks_all", "n_components", WARP)
SUM_PIXELS = Kernel(
    "robust_traces.cu",
    "sum_pixels",
    (
        Array("movie", "float32", ("n_pixels", "n_frames")), Scalar("n_pixels"), Scalar("n_frames"),
        Scalar("first_frame"), Array("pixels", "int32", ("n_covered",)), Array("facts", "float32", ("n_covered", 4)),
        Array("weights", "float32", ("n_entries",)), Array("runs", "int32", ("n_run_ends", RUN_FACTS)),
        Array("shares", "float32", ("n_runs",)), Array("places", "int32", ("n_places",)),
        Array("cells", "int32", ("n_met",)), Array("first_run", "int32", ("n_tile_ends",)),
        Array("first_cell", "int32", ("n_tile_ends",)), Array("first_row", "int32", ("n_tile_ends",)),
        Array("node", "int32", ("n_tiles",)), Array("listed", "int32", ("n_listed",)), Scalar("n_tiles"),
        Scalar("n_columns"), Array("x", "float32", _BY_FRAME), Scalar("n_components"),
        Array("scale", "float32", ("n_blocks_scaled", "n_scaled", WARP)),
        Array("safe", "float32", ("n_blocks_all", WARP)), Array("done", "int32", ("n_groups",)), Scalar("n_groups"),
        Scalar("quadratic"), Scalar("crowded"), Scalar("scaled"), Scalar("shared_rows"), Scalar("first_block"),
        Scalar("n_blocks"), Array("partial", "float32", ("n_room", "n_partial", WARP), written=True),
        Scalar("n_partial"), Array("loss", "float32", ("n_blocks_all", "n_tiles", WARP), written=True),
    ),
    threads=WARP * WARPS, registers=128, defines=(*_MACROS, Define("FIELD", (0, 1))),
)  # fmt: skip
GATHER_SUMS = Kernel(
    "robust_traces.cu",
    "gather_sums",
    (
        Array("partial", "float32", ("n_room", "n_partial", WARP)), Scalar("n_partial"),
        Array("sum_start", "int32", ("n_sum_ends",)), Array("sum_row", "int32", ("n_rows",)),
        Array("done", "int32", ("n_groups",)), Scalar("n_groups"), Scalar("first_block"),
        Array("sums", "float32", ("n_blocks_all", "n_sums", WARP), written=True), Scalar("n_sums"),
    ),
    threads=WARP * WARPS, registers=64, defines=(*_MACROS, Define("FIELD", (0,))),
)  # fmt: skip
SOLVE_STEP = Kernel(
    "robust_traces.cu",
    "solve_step",
    (
        Array("sums", "float32", ("n_blocks_all", "n_sums", WARP)), Scalar("n_sums"),
        Array("loss", "float32", ("n_blocks_all", "n_tiles", WARP)), Scalar("n_tiles"),
        Array("x", "float32", _BY_FRAME, written=True), Array("best", "float32", _BY_FRAME, written=True),
        Array("step", "float32", _BY_FRAME, written=True), Scalar("n_components"),
        Array("best_loss", "float64", ("n_blocks_all", WARP), written=True),
        Array("safe", "float32", ("n_blocks_all", WARP), written=True),
        Array("done", "int32", ("n_groups",), written=True), Scalar("n_groups"),
        Array("penalty", "float32", ("n_components",)), Array("lower", "float32", ("n_components",)),
        Array("norm", "float32", ("n_components",)), Array("least", "float32", ("n_components",)),
        Array("edge_start", "int32", ("n_edge_ends",)),
        Array("edge_cell", "int32", ("n_edges",)), Array("edge_slot", "int32", ("n_edges",)),
        Array("colour_start", "int32", ("n_colour_ends",)), Array("colour_cell", "int32", ("n_components",)),
        Scalar("n_colours"), Scalar("n_sweeps"), Scalar("tolerance", "float32"), Scalar("worse", "float32"),
        Scalar("quadratic"), Scalar("last"), Scalar("finish"),
    ),
    threads=FRAMES * ROWS, registers=64, defines=(*_MACROS, Define("FIELD", (0,))),
)  # fmt: skip


@dataclass(frozen=True)
class Rules:
    """What a solver stops and steps by; the numbers are those of the CPU body.

    Parameters
    ----------
    cold, check : bool
        Whether there is no start; whether the last step is looked at.
    n_steps : int
        At most.
    tolerance, worse, floor_share, far : float
        As in :mod:`gpucells.ops.robust_traces`.
    n_sweeps : int
        Of coordinate descent at most.
    """

    cold: bool
    check: bool
    n_steps: int
    tolerance: float
    worse: float
    floor_share: float
    far: float
    n_sweeps: int


def solve_on_device(
    movie: Any, graph: OverlapGraph, kappa: ArrayLike, offset: ArrayLike | None, start: Any, kappa_scale: Any,
    penalty: Float32, lower: Float32, rules: Rules,
) -> tuple[Float32, Float32]:  # fmt: skip
    """Solve every frame for the traces.

    Parameters
    ----------
    movie : cupy.ndarray
        ``(n_pixels, n_frames)`` float32.
    graph : OverlapGraph
        With at least one component.
    kappa, offset
        ``(n_pixels,)`` float32; no offset where it is None.
    start, kappa_scale
        ``(n_components, n_frames)`` and ``(n_cells, n_frames)`` float32, or None.
    penalty, lower : numpy.ndarray
        ``(n_components,)`` float32, finite.
    rules : Rules
        When to stop.

    Returns
    -------
    traces, loss : numpy.ndarray
        ``(n_components, n_frames)`` and ``(n_frames,)`` float32.
    """
    solver = _Solver(movie, graph, to_host(kappa), None if offset is None else to_host(offset), penalty, lower, rules)
    n_frames = movie.shape[1]
    traces, loss = np.empty((graph.n_components, n_frames), np.float32), np.empty(n_frames, np.float32)
    per_block = solver.bytes_per_block(kappa_scale is not None)
    room = int(FREE_SHARE * device_budget_bytes(f"cuda:{movie.device.id}"))
    of_partial = min(PARTIAL_BYTES, room // 4)
    n_chunk = WARP * max(1, (room - of_partial) // per_block)
    for first in range(0, n_frames, n_chunk):
        some = slice(first, min(first + n_chunk, n_frames))
        begin = None if start is None else start[:, some]
        scale = None if kappa_scale is None else kappa_scale[:, some]
        traces[:, some], loss[some] = solver.solve(first, some.stop - first, begin, scale, of_partial)
    return traces, loss


class _Solver:
    """What all chunks of frames share: the movie, and the tiles and the graph on the device."""

    def __init__(
        self, movie: Any, graph: OverlapGraph, kappa: Float32, offset: Float32 | None, penalty: Float32,
        lower: Float32, rules: Rules,
    ) -> None:  # fmt: skip
        import cupy

        self.xp: Any = cupy
        self.movie = cupy.ascontiguousarray(movie, np.float32)
        self.tiles, self.rules = PixelTiles.of(graph), rules
        self.lower, self.field = lower, int(graph.field.n_nodes > 0)
        self.n_components, self.n_sums = graph.n_components, graph.n_components + graph.n_slots
        tiles = self.tiles
        rows = np.diff(tiles.first_row) - 14 * self.field + np.diff(tiles.first_cell)
        self.shared_rows = int(rows[~tiles.crowded].max(initial=1))
        assert self.shared_rows <= MOST_ROWS
        self.uploaded = {
            name: cupy.asarray(getattr(tiles, name))
            for name in ("weights", "runs", "places", "cells", "first_run", "first_cell", "first_row", "node")
        }
        self.uploaded |= {
            "pixels": cupy.asarray(graph.pixels[tiles.order]),
            "facts": cupy.asarray(_facts(graph, tiles.order, kappa, offset)),
            "shares": cupy.asarray(tiles.share),
        }
        self.n_columns = graph.field.n_columns
        self.sum_lists = {name: cupy.asarray(getattr(tiles, name)) for name in ("sum_start", "sum_row")}
        colour_start, colour_cell = _colours(graph.edge_start, graph.edge_cell)
        self.n_colours = len(colour_start) - 1
        of_graph = {
            "penalty": penalty, "lower": lower, "norm": np.sqrt(graph.energy),
            "least": np.float32(rules.floor_share) * graph.energy + np.float32(1e-20),
            "edge_start": graph.edge_start, "edge_cell": graph.edge_cell, "edge_slot": graph.edge_slot,
            "colour_start": colour_start, "colour_cell": colour_cell,
        }  # fmt: skip
        self.of_graph = {name: cupy.asarray(np.ascontiguousarray(array)) for name, array in of_graph.items()}

    def bytes_per_block(self, scaled: bool) -> int:
        """Bytes of all arrays but the partial sums, for a block of frames; a start exists twice for a while."""
        return 4 * WARP * (self.n_sums + (7 if scaled else 5) * self.n_components + self.tiles.n_tiles + 4)

    def solve(self, first: int, n_frames: int, start: Any, scale: Any, of_partial: int) -> tuple[Float32, Float32]:
        """Solve some frames, with that many bytes for partial sums, or what a block of frames needs."""
        xp, rules, n_blocks = self.xp, self.rules, -(-n_frames // WARP)
        begin = np.zeros((self.n_components, n_frames), np.float32) if start is None else start
        x = xp.maximum(self._by_block(begin), self.of_graph["lower"][None, :, None])
        state = {
            "x": x, "safe": xp.ones((n_blocks, WARP), np.float32),
            "done": xp.asarray((np.arange(n_blocks * (WARP // FRAMES)) * FRAMES >= n_frames).astype(np.int32)),
            "loss": xp.zeros((n_blocks, self.tiles.n_tiles, WARP), np.float32),
        }  # fmt: skip
        sums = xp.empty((n_blocks, self.n_sums, WARP), np.float32)
        best, step = xp.zeros_like(x), xp.empty_like(x)
        best_loss = xp.full((n_blocks, WARP), rules.far)
        scales = xp.zeros((0, 0, WARP), np.float32) if scale is None else self._by_block(scale)
        room = max(1, of_partial // max(1, 4 * WARP * self.tiles.n_partial))
        partial = xp.empty((min(n_blocks, room, MOST_BLOCKS), self.tiles.n_partial, WARP), np.float32)
        for iteration in range(rules.n_steps + 1):
            quadratic = rules.cold and iteration == 0 and rules.n_steps > 0
            self._sum(first, state, scales, scale is not None, quadratic, partial, sums)
            finish = iteration == rules.n_steps - 1 and not rules.check
            SOLVE_STEP.launch(
                (len(state["done"]),), (FRAMES, ROWS), sums=sums, best=best, step=step, best_loss=best_loss, **state,
                **self.of_graph, n_colours=self.n_colours, n_sweeps=rules.n_sweeps, tolerance=rules.tolerance,
                worse=rules.worse, quadratic=quadratic,
                last=iteration == rules.n_steps, finish=finish,
            )  # fmt: skip
            if finish or bool(state["done"].all()):
                break
        traces = best.transpose(1, 0, 2).reshape(self.n_components, -1)
        return to_host(traces)[:, :n_frames], to_host(best_loss).ravel()[:n_frames].astype(np.float32)

    def _by_block(self, rows: Any) -> Any:
        """Return ``(n_rows, n_frames)`` as ``(n_blocks, n_rows, WARP)`` on the device, zeros after the last frame."""
        n_rows, n_frames = rows.shape
        n_blocks = -(-n_frames // WARP)
        padded = self.xp.zeros((n_rows, n_blocks * WARP), np.float32)
        padded[:, :n_frames] = self.xp.asarray(rows, np.float32)
        return self.xp.ascontiguousarray(padded.reshape(n_rows, n_blocks, WARP).transpose(1, 0, 2))

    def _sum(
        self, first: int, state: dict[str, Any], scales: Any, scaled: bool, quadratic: bool, partial: Any, sums: Any
    ) -> None:
        """Sum up over the pixels, at the traces that ``state`` has."""
        crowded = np.ones_like(self.tiles.crowded) if scaled else self.tiles.crowded
        for first_block in range(0, len(sums), len(partial)):
            n_blocks = min(len(partial), len(sums) - first_block)
            for in_global in (False, True):
                listed = np.flatnonzero(crowded == in_global).astype(np.int32)
                SUM_PIXELS.launch(
                    (len(listed), -(-n_blocks // WARPS)), (WARP, WARPS), movie=self.movie, first_frame=first,
                    listed=self.xp.asarray(listed), n_columns=self.n_columns, scale=scales, scaled=scaled,
                    shared_rows=self.shared_rows, crowded=in_global, quadratic=quadratic, first_block=first_block,
                    n_blocks=n_blocks, partial=partial, FIELD=self.field, **self.uploaded, **state,
                    shared_bytes=0 if in_global else 4 * WARP * WARPS * self.shared_rows,
                )  # fmt: skip
            GATHER_SUMS.launch(
                (-(-self.n_sums // WARPS), n_blocks), (WARP, WARPS), partial=partial, **self.sum_lists,
                done=state["done"], first_block=first_block, sums=sums,
            )  # fmt: skip


def _facts(graph: OverlapGraph, order: Any, kappa: Float32, offset: Float32 | None) -> Float32:
    """Return ``(n_covered, 4)``: offset, kappa, what a pixel shows of the nodes on its left and on its right."""
    pixels, facts = graph.pixels[order], np.zeros((len(order), 4), np.float32)
    if offset is not None:
        facts[:, 0] = offset[pixels]
    facts[:, 1] = kappa[pixels]
    if graph.field.n_nodes:
        facts[:, 3] = graph.gain[order] * graph.field.column_share[graph.column[order]]
        facts[:, 2] = graph.gain[order] - facts[:, 3]
    return facts


@numba.njit(cache=True)
def _colour_of(edge_start, edge_cell, order):  # type: ignore[no-untyped-def]
    n = len(edge_start) - 1
    colour, taken = np.full(n, -1, np.int64), np.full(n, -1, np.int64)
    for c in order:
        for e in range(edge_start[c], edge_start[c + 1]):
            if colour[edge_cell[e]] >= 0:
                taken[colour[edge_cell[e]]] = c
        free = 0
        while taken[free] == c:
            free += 1
        colour[c] = free
    return colour


def _colours(edge_start: Int32, edge_cell: Int32) -> tuple[Int32, Int32]:
    """Group components so that those of a colour share no pixel: greedily, those with most neighbours first."""
    order = np.argsort(-np.diff(edge_start), kind="stable")
    colour = _colour_of(edge_start, edge_cell, order)
    ends = np.concatenate([[0], np.cumsum(np.bincount(colour))])
    return ends.astype(np.int32), np.argsort(colour, kind="stable").astype(np.int32)
