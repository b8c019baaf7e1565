"""CellSort 1.4's functions, with its arguments, outputs and shapes, on this package's PCA, ICA and noise floor.

A script's lines stay what they are; numbers that it types or gets (frames, PCs, labels, centroids) count from 1::

    from gpucells.compat.cellsort import *

    mixedsig, mixedfilters, CovEvals, covtrace, movm, movtm = CellsortPCA(fn, [], 150, [], [], [])
    PCuse = CellsortChoosePCs(fn, mixedfilters)
    ica_sig, ica_filters, ica_A, numiter = CellsortICA(mixedsig, mixedfilters, CovEvals, PCuse, 0.5)
    ica_segments, segmentlabel, segcentroid = CellsortSegmentation(ica_filters, 2, 2, 30, 0)
    cell_sig = CellsortApplyFilter(fn, ica_segments, [], movm, 1)

``cellsort_pca`` and ``CellsortPCA`` are the same, and so on. ``docs/compat/cellsort.md`` has what became of every
argument, made from :data:`TABLES`, and the defects that are mended.
"""

from gpucells.compat.cellsort.components import (
    cellsort_choose_pcs,
    cellsort_ica,
    cellsort_pca,
    cellsort_plot_pc_spectrum,
)
from gpucells.compat.cellsort.names import TABLES
from gpucells.compat.cellsort.signals import cellsort_apply_filter, cellsort_find_spikes, cellsort_segmentation

CellsortPCA = cellsort_pca
CellsortChoosePCs = cellsort_choose_pcs
CellsortPlotPCspectrum = cellsort_plot_pc_spectrum
CellsortICA = cellsort_ica
CellsortSegmentation = cellsort_segmentation
CellsortApplyFilter = cellsort_apply_filter
CellsortFindspikes = cellsort_find_spikes

__all__ = [
    "TABLES",
    "CellsortApplyFilter",
    "CellsortChoosePCs",
    "CellsortFindspikes",
    "CellsortICA",
    "CellsortPCA",
    "CellsortPlotPCspectrum",
    "CellsortSegmentation",
    "cellsort_apply_filter",
    "cellsort_choose_pcs",
    "cellsort_find_spikes",
    "cellsort_ica",
    "cellsort_pca",
    "cellsort_plot_pc_spectrum",
    "cellsort_segmentation",
]
