"""CaImAn's ``caiman.source_extraction.cnmf``: the parts of it that a script calls."""

from gpucells.compat.caiman.source_extraction.cnmf import cnmf, deconvolution, estimates, oasis, params
from gpucells.compat.caiman.source_extraction.cnmf.cnmf import CNMF, load_CNMF

__all__ = ["CNMF", "cnmf", "deconvolution", "estimates", "load_CNMF", "oasis", "params"]
