"""The methods by name: what the pipeline calls without knowing which one it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from gpucells.errors import SettingsError
from gpucells.settings import Preset, nearest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from scipy import sparse

    from gpucells.model.components import Components
    from gpucells.ops.bilinear import Bilinear

    Float32 = NDArray[np.float32]


class MethodSettings(Protocol):
    """What a run needs to know of any method's settings; the rest is between the method and its user."""

    @property
    def downsample_time_by(self) -> int | None:
        """Frames averaged into one; None for what the transients' decay allows."""

    @property
    def min_tau_after_downsampling(self) -> float:
        """Frames that a transient's decay keeps after averaging."""

    @property
    def trace_output_option(self) -> str:
        """``"none"`` where the solver's own traces are the final ones."""

    def model_dump(self) -> dict[str, Any]:
        """Every setting by name."""


class Background(Protocol):
    """Nodes of the background field over the whole image, so that all tiles share them."""

    def on(self, rows: slice, columns: slice) -> Bilinear:
        """Return the nodes on a box of the image."""

    def around(self, rows: slice, columns: slice) -> tuple[Any, NDArray[np.int64]]:
        """Return the part of the grid that a box of the image needs, and which nodes of the whole those are."""

    def at_nodes_of(self, fine: Any) -> sparse.csr_array:
        """Return these nodes' images at the nodes of another grid, ``(n_nodes, n_fine_nodes)``."""


class TraceSolver(Protocol):
    """Solves traces for footprints that do not change, any number of frames at a time."""

    def solve_together(self, frames: NDArray[Any], start: Float32 | None) -> tuple[Float32, Float32]:
        """Solve cells and background without constraint."""

    @property
    def reach(self) -> int:
        """Frames on either side of a frame that its cells' traces depend on."""

    def denoise(self, field: Float32, averaged: int) -> tuple[Float32, bool]:
        """Denoise the background's amplitudes over all frames; say whether it is slow enough to be interpolated."""

    def lower_bounds(self, traces: Float32) -> Float32:
        """Bounds of the final traces, from the unconstrained ones."""

    def solve_cells(self, frames: NDArray[Any], field: Float32, lower: Float32, start: Float32) -> Float32:
        """Solve the cells alone, on top of a known background."""


@dataclass(frozen=True)
class Method:
    """A published method.

    Parameters
    ----------
    name, title : str
        Key, and what people call it.
    settings : callable
        Settings of a preset with values on top.
    background : callable
        Nodes of the background field, of the image's shape, the cell radius (px) and the settings: while cells are
        looked for, and once they are known.
    solve : callable
        Footprints and traces of one tile.
    trace_solver : callable
        Traces at full rate for given footprints.
    """

    name: str
    title: str
    settings: Callable[[Preset, dict[str, Any]], MethodSettings]
    background: Callable[[tuple[int, int], float, Any], tuple[Background, Background]]
    solve: Callable[..., Components]
    trace_solver: Callable[..., TraceSolver]


def _extract() -> Method:
    from gpucells.methods.extract.background import HatGrid
    from gpucells.methods.extract.settings import ExtractSettings
    from gpucells.methods.extract.solve import solve
    from gpucells.methods.extract.traces import TraceSolver

    return Method(
        "extract", "EXTRACT (Inan et al. 2021)", ExtractSettings.for_preset, HatGrid.for_settings, solve, TraceSolver
    )


_METHODS: dict[str, Callable[[], Method]] = {"extract": _extract}
METHOD_NAMES = tuple(_METHODS)


def find_method(name: str) -> Method:
    """Look a method up.

    Raises
    ------
    SettingsError
        There is none of that name.
    """
    if name not in _METHODS:
        raise SettingsError(
            f"unknown method {name!r}", nearest(name, METHOD_NAMES) or f"one of {', '.join(METHOD_NAMES)}"
        )
    return _METHODS[name]()
