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

    from gpucells.model.components import Components, FinalCells
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

    def model_dump(self) -> dict[str, Any]:
        """Every setting by name."""

    def rows(self) -> list[tuple[str, str, str]]:
        """Name, range and meaning of every setting."""


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


class FinalUpdates(Protocol):
    """Passes over the whole movie at its own rate, when the cells of all tiles are known."""

    n_passes: int

    def begin(self, number: int) -> None:
        """Make room for what a pass collects."""

    def see(self, some: slice, frames: Any) -> None:
        """Take frames, every one once and in order."""

    def end(self) -> None:
        """Solve what the pass was for."""

    def result(self) -> FinalCells:
        """Return the cells."""


@dataclass(frozen=True)
class FieldModel:
    """A background field whose nodes all tiles share, and the traces that are solved on it.

    Parameters
    ----------
    background : callable
        Nodes of the field, of the image's shape, the cell radius (px) and the settings: while cells are looked for, and
        once they are known.
    trace_solver : callable
        Traces at full rate for given footprints.
    """

    background: Callable[[tuple[int, int], float, Any], tuple[Background, Background]]
    trace_solver: Callable[..., TraceSolver]


@dataclass(frozen=True)
class LowRankModel:
    """A background of a few images and traces, and the last updates over the whole movie.

    Parameters
    ----------
    final_updates : callable
        Of the components of the whole image.
    order_cells : callable
        Components with the brightest cells first, and no more of them than the settings allow.
    """

    final_updates: Callable[..., FinalUpdates]
    order_cells: Callable[..., Components]


class Projection(Protocol):
    """Traces that are linear in the movie: one pass over it, no tiles."""

    @property
    def rows(self) -> sparse.csr_array:
        """``(n_rows, n_pixels)`` images that every frame is multiplied with."""

    def result(self, products: Float32) -> tuple[Float32, Float32, dict[str, Float32], tuple[str, ...]]:
        """Make of ``(n_rows, n_frames)`` products traces, f0, quality measures and warnings."""


@dataclass(frozen=True)
class Method:
    """A published method.

    Parameters
    ----------
    name, title : str
        Key, and what people call it.
    settings : callable
        Settings of a preset with values on top.
    solve : callable
        Footprints and traces of one tile.
    model : FieldModel or LowRankModel
        Its background, and how it goes on when all tiles are solved.
    finds : bool
        Whether it finds cells; one that does not is given footprints, and leaves them as they are.
    projection : callable, optional
        Of settings: what makes a :class:`Projection` of footprints, ``(n_pixels,)`` bool which pixels count, image
        shape and cell radius (px); None where the settings ask for traces that are none.
    """

    name: str
    title: str
    settings: Callable[[Preset, dict[str, Any]], MethodSettings]
    solve: Callable[..., Components]
    model: FieldModel | LowRankModel
    finds: bool = True
    projection: Callable[[Any], Callable[..., Projection] | None] = lambda settings: None


def _extract() -> Method:
    from gpucells.methods.extract.background import HatGrid
    from gpucells.methods.extract.settings import ExtractSettings
    from gpucells.methods.extract.solve import solve
    from gpucells.methods.extract.traces import TraceSolver

    model = FieldModel(HatGrid.for_settings, TraceSolver)
    return Method("extract", "EXTRACT (Inan et al. 2021)", ExtractSettings.for_preset, solve, model)


def _cnmf() -> Method:
    from gpucells.factorisation.final import FinalUpdates, order_cells
    from gpucells.methods.cnmf.settings import CnmfSettings
    from gpucells.methods.cnmf.solve import solve

    model = LowRankModel(FinalUpdates, order_cells)
    return Method("cnmf", "CNMF (Pnevmatikakis et al. 2016)", CnmfSettings.for_preset, solve, model)


def _cnmfe() -> Method:
    from gpucells.factorisation.final import FinalUpdates, order_cells
    from gpucells.methods.cnmfe.settings import CnmfeSettings
    from gpucells.methods.cnmfe.solve import solve

    model = LowRankModel(FinalUpdates, order_cells)
    return Method("cnmfe", "CNMF-E (Zhou et al. 2018)", CnmfeSettings.for_preset, solve, model)


def _roi() -> Method:
    from gpucells.factorisation.final import order_cells
    from gpucells.methods.roi.final import HeldTraces
    from gpucells.methods.roi.projection import projection
    from gpucells.methods.roi.settings import RoiSettings
    from gpucells.methods.roi.solve import solve

    model = LowRankModel(HeldTraces, order_cells)
    return Method("roi", "ROI: traces of given footprints", RoiSettings.for_preset, solve, model, False, projection)


def _pcaica() -> Method:
    from gpucells.factorisation.final import order_cells
    from gpucells.methods.pcaica.final import final_updates
    from gpucells.methods.pcaica.settings import PcaicaSettings
    from gpucells.methods.pcaica.solve import solve

    model = LowRankModel(final_updates, order_cells)
    return Method("pcaica", "PCA-ICA (Mukamel et al. 2009)", PcaicaSettings.for_preset, solve, model)


def _cellmax() -> Method:
    from gpucells.factorisation.final import order_cells
    from gpucells.methods.cellmax.final import FinalUpdates
    from gpucells.methods.cellmax.settings import CellmaxSettings
    from gpucells.methods.cellmax.solve import solve

    model = LowRankModel(FinalUpdates, order_cells)
    title = "CELLMax-style EM (independent implementation)"
    return Method("cellmax", title, CellmaxSettings.for_preset, solve, model)


_METHODS: dict[str, Callable[[], Method]] = {
    "extract": _extract,
    "cnmf": _cnmf,
    "cnmfe": _cnmfe,
    "pcaica": _pcaica,
    "cellmax": _cellmax,
    "roi": _roi,
}
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
