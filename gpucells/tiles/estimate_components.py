"""How many components PCA-ICA wants for a movie: as its users find out, from a run with as many as there may be."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.candidates.independent import Independent
from gpucells.candidates.segment import segment
from gpucells.factorisation.search import ReadAgain, Stage
from gpucells.factorisation.settle import conclude
from gpucells.factorisation.state import State
from gpucells.methods.pcaica.settings import PcaicaSettings
from gpucells.methods.pcaica.solve import analyse
from gpucells.model.components import Components
from gpucells.model.movie import Movie
from gpucells.progress import Event, ProgressSink, silent
from gpucells.settings import RunSettings
from gpucells.tiles.plan import Plan, make_plan
from gpucells.tiles.working_movie import ingest

Float32 = NDArray[np.float32]

STAGE = "estimate"
FRAMES_SHARE = 0.8  # of the frames that there are principal components at most
ICS, PCS = (1.5, 3.0), (1.0, 1.5)  # times the cells; times the independent components (CIAtah's advice)
HIGH = 1.5  # times the components that stand out of noise: the high end


@dataclass(frozen=True)
class ComponentsEstimate:
    """What a run on the high end tells. Pictures are of the largest tile, numbers of all, the most in one of them.

    Parameters
    ----------
    source : str
        The movie's name.
    n_frames : int
        Averaged ones, which components are made of.
    n_tiles : int
        Of the image; numbers of components go with each of them.
    n_standing_out : int
        Principal components above the noise.
    n_pcs, n_ics : int
        That the run had.
    n_cells : int
        Cells in the tile that has most of them, by quality.
    n_cells_in_all : int
        In all tiles, those in the overlap of two counted in both.
    ics, pcs : tuple of int
        Least and most components to be asked for.
    eigenvalues : numpy.ndarray
        Spectrum, the largest first.
    floor : float
        Eigenvalue that noise reaches.
    skewness : numpy.ndarray
        ``(n_ics,)`` the largest first.
    has_cell : numpy.ndarray
        ``(n_ics,)`` bool, whether a cell was cut out of the component's image.
    picture : numpy.ndarray
        ``(height, width)`` the tile's brightest frame, pixel by pixel, in units of its noise.
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` of the tile.
    warnings : tuple of str
        What the user should know.
    """

    source: str
    n_frames: int
    n_tiles: int
    n_standing_out: int
    n_pcs: int
    n_ics: int
    n_cells: int
    n_cells_in_all: int
    ics: tuple[int, int]
    pcs: tuple[int, int]
    eigenvalues: NDArray[np.float64]
    floor: float
    skewness: NDArray[np.float64]
    has_cell: NDArray[np.bool_]
    picture: Float32
    footprints: sparse.csr_array
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers by name, for programs."""
        names = ("source", "n_frames", "n_tiles", "n_standing_out", "n_cells", "n_cells_in_all")
        return {name: getattr(self, name) for name in names} | {
            "n_ics": list(self.ics), "n_pcs": list(self.pcs), "n_pcs_of_run": self.n_pcs, "n_ics_of_run": self.n_ics,
            "warnings": list(self.warnings),
        }  # fmt: skip

    def rows(self) -> list[tuple[str, str, str]]:
        """Name, value and what it rests on, for people."""
        each = f", in the fullest of {self.n_tiles} tiles" if self.n_tiles > 1 else ""
        return [
            ("cells", f"{self.n_cells}", f"by quality, with {self.n_pcs} PCs and {self.n_ics} ICs{each}"),
            ("PCs that stand out", f"{self.n_standing_out}", "above what noise alone reaches"),
            ("n_ics", f"{self.ics[0]} to {self.ics[1]}", f"{ICS[0]:g} to {ICS[1]:g} times the cells"),
            ("n_pcs", f"{self.pcs[0]} to {self.pcs[1]}", f"{PCS[0]:g} to {PCS[1]:g} times the ICs, fewer than frames"),
            ("frames", f"{self.n_frames}", "after averaging"),
        ]


def proposed(n_cells: int, n_frames: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return least and most independent, and least and most principal components.

    Parameters
    ----------
    n_cells : int
        Of the movie, or of a tile.
    n_frames : int
        Which principal components are fewer than.
    """
    most = max(1, n_frames - 1)
    ics = min(most, max(1, ceil(ICS[0] * n_cells))), min(most, max(1, ceil(ICS[1] * n_cells)))
    return ics, (min(most, ceil(PCS[0] * ics[0])), min(most, ceil(PCS[1] * ics[1])))


def estimate_components(
    movie: Movie, run: RunSettings, settings: dict[str, Any] | None = None, progress: ProgressSink = silent
) -> ComponentsEstimate:
    """Run PCA-ICA on the high end, and count cells by quality.

    Parameters
    ----------
    movie : Movie
        Opened with :func:`gpucells.open_movie`.
    run, settings : RunSettings and dict
        As :func:`gpucells.extract_cells` takes them; the device is the CPU.
    progress : ProgressSink
        Told of every step.

    Raises
    ------
    InputError, SettingsError, DeviceMemoryError
    """
    plan = make_plan(movie, "pcaica", run.changed(device="cpu"), settings or {})
    assert isinstance(plan.settings, PcaicaSettings)

    def tell(stage: str, done: float, total: float, unit: str) -> None:
        progress(Event(STAGE + ": " + stage, done, total, unit))

    working, summary = ingest(
        movie,
        plan.tiles,
        plan.factor,
        lambda done, total: tell("read", done, total, "frames"),
        "cpu",
        plan.block_bytes,
        plan.on_disk,
    )
    seen: list[_Seen] = []
    with working:
        summary = summary.within(plan.mask)
        for tile in working.tiles:
            inside = summary.inside[tile.rows, tile.columns]
            look = _Seen(plan.settings)
            look.components = conclude(
                look.find, working.take(tile, "cpu"), inside, plan.radius_px, plan.settings, tell
            )
            working.release(tile)
            seen.append(look)
    counts = [look.components.footprints.shape[0] for look in seen if look.components is not None]
    return _estimate(plan, seen, counts, working.n_frames)


class _Seen:
    """A tile's analysis on the high end, kept."""

    def __init__(self, settings: PcaicaSettings) -> None:
        self._settings = settings
        self.parts: Independent | None = None
        self.first: Independent | None = None  # whose whole spectrum is known
        self.components: Components | None = None
        self.picture: Float32 = np.zeros((0, 0), np.float32)
        self.cut_out: sparse.csr_array = sparse.csr_array((0, 0))
        self.of_component: NDArray[np.int64] = np.zeros(0, np.int64)

    def find(
        self, state: State, report: Stage, read_again: ReadAgain, start: sparse.csr_array | None
    ) -> sparse.csr_array:  # fmt: skip
        shape = state.image_shape
        self.picture = state.units.movie.max(axis=1).reshape(shape)
        parts = analyse(state, report, read_again, start)
        self.first = parts
        if self._settings.n_pcs == "auto":
            most = int(FRAMES_SHARE * state.units.movie.shape[1])
            high = max(1, min(most, ceil(HIGH * len(parts.traces))))
            settings, state.settings = state.settings, state.settings.changed(n_pcs=high)
            parts = analyse(state, report, read_again, start)
            state.settings = settings
        self.parts = parts
        units = state.units
        self.cut_out, self.of_component = segment(
            parts.images, units.inside, units.noise, state.radius_px, self._settings
        )
        return self.cut_out


def _estimate(plan: Plan, seen: list[_Seen], counts: list[int], n_frames: int) -> ComponentsEstimate:
    look, n_cells = seen[int(np.argmax(counts))], max(counts)
    assert look.parts is not None
    assert look.first is not None
    assert look.components is not None
    parts, footprints = look.parts, look.components.footprints
    shared = sparse.csr_array(footprints @ look.cut_out.T)
    has_cell = np.zeros(len(parts.traces), bool)
    if shared.nnz:  # each cell is of the segment that it shares most light with
        has_cell[look.of_component[np.asarray(shared.argmax(axis=1)).ravel()]] = True
    ics, pcs = proposed(n_cells, n_frames)
    floor, spectrum = look.first.floor, look.first.principal.eigenvalues
    return ComponentsEstimate(
        plan.movie.source, n_frames, len(seen), floor.n_above, len(parts.principal.singular_values),
        len(parts.traces), n_cells, sum(counts), ics, pcs, spectrum, floor.eigenvalue,
        parts.skewness, has_cell, look.picture, footprints, plan.warnings,
    )  # fmt: skip
