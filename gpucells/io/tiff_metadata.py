"""Frame rate and pixel size of TIFF files, as ImageJ, OME and ScanImage write them."""

from __future__ import annotations

import logging
import math
import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    import tifffile

log = logging.getLogger(__name__)

_UM = {"um": 1.0, "µm": 1.0, "μm": 1.0, "\\u00b5m": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0,
       "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6}  # fmt: skip
_S = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "µs": 1e-6, "us": 1e-6, "min": 60.0, "h": 3600.0}


def tiff_metadata(tif: tifffile.TiffFile) -> dict[str, Any]:
    """Frame rate (Hz) and pixel size (um) of a TIFF file, None where it does not say.

    The resolution tags count only in files of ImageJ that name a unit: elsewhere they are a printer's 72 dots an inch.
    """
    for known, read in ((tif.is_ome, _ome), (tif.is_imagej, _imagej), (tif.is_scanimage, _scanimage)):
        if known:
            try:
                rate, size = read(tif)
            except (ValueError, TypeError, KeyError, ElementTree.ParseError) as error:
                log.warning("the metadata of %s cannot be read: %s", tif.filename, error)
                continue
            return {"frame_rate_hz": rate, "pixel_size_um": size}
    return {"frame_rate_hz": None, "pixel_size_um": None}


def _positive(value: Any) -> float | None:
    number = float(value) if value is not None else math.nan
    return number if math.isfinite(number) and number > 0 else None


def _inverse(value: float | None) -> float | None:
    return None if value is None else 1.0 / value


def _imagej(tif: tifffile.TiffFile) -> tuple[float | None, float | None]:
    meta = tif.imagej_metadata or {}
    interval = _positive(meta.get("finterval"))
    seconds = _S.get(str(meta.get("tunit", "s")).lower())
    rate = _inverse(interval * seconds) if interval and seconds else _positive(meta.get("fps"))
    um = _UM.get(str(meta.get("unit", "")).lower())
    tag = tif.pages.first.tags.get("XResolution")
    if um is None or tag is None or not tag.value[0] or not tag.value[1]:
        return rate, None
    return rate, um * tag.value[1] / tag.value[0]  # the tag counts pixels a unit


def _ome(tif: tifffile.TiffFile) -> tuple[float | None, float | None]:
    root = ElementTree.fromstring(tif.ome_metadata or "<OME/>")
    pixels = next((e for e in root.iter() if e.tag.rpartition("}")[2] == "Pixels"), None)
    if pixels is None:
        return None, None
    interval, size = _positive(pixels.get("TimeIncrement")), _positive(pixels.get("PhysicalSizeX"))
    seconds = _S.get(pixels.get("TimeIncrementUnit", "s"))
    um = _UM.get(pixels.get("PhysicalSizeXUnit", "µm"))
    return (
        _inverse(interval * seconds) if interval and seconds else None,
        size * um if size and um else None,
    )


def _scanimage(tif: tifffile.TiffFile) -> tuple[float | None, float | None]:
    page = tif.pages.first
    text = f"{page.software}\n{page.description}"
    found = dict(re.findall(r"(scanFrameRate|logAverageFactor) *= *([0-9.eE+-]+)", text))
    rate, averaged = _positive(found.get("scanFrameRate")), _positive(found.get("logAverageFactor"))
    return (rate / (averaged or 1.0) if rate else None), None
