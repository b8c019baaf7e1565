"""CIAtah's signal-extraction methods, and what it calls their files and variables.

Facts of the package's loaders: a file is found by the end of its name, and its method by which variable is in it.
"""

from __future__ import annotations

from typing import NamedTuple

from gpucells.errors import SettingsError
from gpucells.settings import nearest

#: Whose decisions a sorted file holds; CIAtah puts the name of the person who sorted there.
SORTED_BY = "gpucells"


class CiatahNames(NamedTuple):
    """The end of the file's name and its variable; those of the file of decisions about its cells."""

    suffix: str
    variable: str
    sorted_suffix: str
    sorted_variable: str


def _names(stem: str, valid: str) -> CiatahNames:
    return CiatahNames(f"_{stem}Analysis.mat", f"{stem}AnalysisOutput", f"_{stem}AnalysisSorted_{SORTED_BY}.mat", valid)


_PCAICA = CiatahNames("_pcaicaAnalysis.mat", "pcaicaAnalysisOutput", f"_ICdecisions_{SORTED_BY}.mat", "valid")

#: By CIAtah's name of the method (``obj.signalExtractionMethod``). The old PCA-ICA is saved as the new one.
METHODS: dict[str, CiatahNames] = {
    "CELLMax": _names("cellmax", "validCellMax"),
    "EM": _names("em", "validCellMax"),
    "PCAICA": _PCAICA,
    "PCAICA_old": _PCAICA,
    "CNMF": _names("cnmf", "validCNMF"),
    "CNMFE": _names("cnmfe", "validCNMFE"),
    "EXTRACT": _names("extract", "validEXTRACT"),
    "ROI": _names("roi", "validROI"),
}

#: gpucells' name of a method to CIAtah's.
OURS = {
    "cellmax": "CELLMax",
    "pcaica": "PCAICA",
    "cnmf": "CNMF",
    "cnmfe": "CNMFE",
    "extract": "EXTRACT",
    "roi": "ROI",
}


def ciatah_names(method: str) -> CiatahNames:
    """Return what CIAtah calls a method's files and variables.

    Parameters
    ----------
    method : str
        CIAtah's name, such as ``CELLMax``.

    Raises
    ------
    SettingsError
        It has no such method.
    """
    if method not in METHODS:
        raise SettingsError(
            f"CIAtah has no method {method!r}", nearest(method, METHODS) or f"one of {', '.join(METHODS)}"
        )
    return METHODS[method]


def ciatah_file_name(prefix: str, method: str) -> str:
    """Return the name of a method's file.

    Parameters
    ----------
    prefix : str
        What comes before, such as ``2014_04_01_p203_m19_check01``; any will do, where it is alone in its folder.
    method : str
        CIAtah's name.

    Raises
    ------
    SettingsError
        It has no such method.
    """
    return prefix + ciatah_names(method).suffix
