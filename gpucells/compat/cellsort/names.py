"""CellSort 1.4's functions and their arguments: the default of each, and what it does here or why nothing."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from gpucells.compat.parameters import Parameter, Table, check_names, is_empty

F = TypeVar("F", bound=Callable[..., Any])

_FILE = Parameter("fn", here="the movie: anything that `gpucells.open_movie` takes, TIFF among it")
_FLIMS = Parameter("flims", here="first and last frame, from 1; all of them if empty")
_SIGNALS = Parameter("mixedsig", here="what `cellsort_pca` gives")
_IMAGES = Parameter("mixedfilters", here="what `cellsort_pca` gives")
_VALUES = Parameter("CovEvals", here="what `cellsort_pca` gives")
_SHOWN = "nothing is shown on a screen; `gpucells report` draws results"

TABLES: dict[str, Table] = {
    table.tool: table
    for table in (
        Table(
            "cellsort_pca",
            _FILE,
            _FLIMS,
            Parameter("nPCs", 150, here="components, fewer where there are no more"),
            Parameter("dsamp", 1, here="frames averaged into one, and pixels a side"),
            Parameter("outputdir", reason="nothing is stored on the way; keep what is returned"),
            Parameter("badframes", here="frames left out, from 1"),
        ),
        Table(
            "cellsort_choose_pcs",
            _FILE,
            _IMAGES,
            Parameter(
                "PCuse", here="not in CellSort: components chosen by eye, given back",
                reason="nobody is asked; if empty, as many as stand out of the movie's noise (`ops/noise_floor.py`)",
            ),
        ),
        Table("cellsort_plot_pc_spectrum", _FILE, _VALUES, Parameter("PCuse", here="marked in the returned figure")),
        Table(
            "cellsort_ica",
            _SIGNALS,
            _IMAGES,
            _VALUES,
            Parameter("PCuse", here="components to use, from 1; all of them if empty"),
            Parameter("mu", 0.5, here="`mu`", reason="0 images alone, 1 traces alone, both of variance 1"),
            Parameter("nIC", here="as many as `PCuse` if empty"),
            Parameter("ica_A_guess", here="where rounds begin; at random, always alike, if empty"),
            Parameter("termtol", 1e-6, here="change at which rounds end", reason="of the components that stand out"),
            Parameter("maxrounds", 100, here="rounds at most"),
        ),
        Table(
            "cellsort_segmentation",
            Parameter("ica_filters", here="what `cellsort_ica` gives"),
            Parameter("smwidth", 2, here="standard deviation of the smoothing (px), both ways"),
            Parameter("thresh", 2, here="standard deviations that a segment's pixels have"),
            Parameter("arealims", 200, here="least area (px), or least and most"),
            Parameter("plotting", 0, reason=_SHOWN),
        ),
        Table(
            "cellsort_apply_filter",
            _FILE,
            Parameter("ica_segments", here="what `cellsort_segmentation` gives"),
            _FLIMS,
            Parameter("movm", here="mean of each pixel; 1 if empty, so that sums are of the movie's units"),
            Parameter("subtractmean", 1, here="take each frame's mean off"),
        ),
        Table(
            "cellsort_find_spikes",
            Parameter("ica_sig", here="signals, one a row"),
            Parameter("thresh", 3, here="least height"),
            Parameter("dt", 1, here="seconds a frame: unit of `spt` and `deconvtau`"),
            Parameter("deconvtau", 0, here="time constant that is taken out; none if 0"),
            Parameter("normalization", 1, here="whether `thresh` is in standard deviations"),
        ),
    )
}  # fmt: skip


def cellsort(function: F) -> F:
    """Give a function CellSort's manners: empty arguments are defaults, unknown names are refused, some warn."""
    table = TABLES[function.__name__]
    known = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        check_names(table.tool, table.parameters, named)
        given = known.bind(*args, **named).arguments
        table.translate({name: value for name, value in given.items() if not table.find(name).honoured})
        return function(**{name: value for name, value in given.items() if name in _NEEDED or not is_empty(value)})

    return call  # type: ignore[return-value]


_NEEDED = {"fn", "mixedsig", "mixedfilters", "CovEvals", "ica_filters", "ica_segments", "ica_sig"}
