r"""Butterworth filter of every frame: what is much wider than a cell, or much finer, goes.

A cell of radius :math:`r` px is taken for a Gaussian of standard deviation :math:`r/2`, whose spectrum has its corner
at :math:`f_c = 2/(\pi r)` cycles/px. With :math:`f_{low} = f_c/` ``highpass_cutoff``, :math:`f_{high} = f_c\,\cdot`
``lowpass_cutoff`` and order :math:`n`,

.. math:: H(f) = \frac{1}{1 + (f/f_{high})^{2n}} \left(1 - \frac{1}{1 + (f/f_{low})^{2n}}\right)

(Inan et al. 2021, EXTRACT; n = 4). A radius of 6 px with a high-pass cutoff of 5 keeps what is finer than 47 px.

Where we differ: the original pads a frame by its mirror image up to the next power of two, 20 to 32 or 520 to 1024
pixels a side, and does not pad at all where a side is a power of two already, so that the frame's left edge leaks into
its right one. A frame continued by its mirror images without end has a cosine transform as its spectrum: the default
here is that, at the frame's own size, so nothing wraps, nothing is padded, and no complex numbers are needed.
``edges="power_of_two"`` is the original's way, for comparison.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from array_api_compat import is_cupy_array
from numpy.typing import NDArray
from scipy.fft import fftfreq, rfftfreq

from gpucells.device.arrays import fft_of, namespace_of
from gpucells.errors import InputError, SettingsError

CHUNK_BYTES = 2**20  # frames filtered at once; 16 MiB takes twice as long, it does not stay in the cache
# On a GPU, 32 frames of 512 x 512: enough to fill one, and CuPy's transforms hold some ten times as much meanwhile.
DEVICE_CHUNK_BYTES = 2**25

Edges = Literal["mirror", "power_of_two"]


def butterworth(frequency: NDArray[Any], low: float, high: float, order: int = 4) -> NDArray[Any]:
    """Return the band-pass gain at each frequency.

    Parameters
    ----------
    frequency : numpy.ndarray
        Cycles/px, any shape.
    low, high : float
        Where the gain is half, in cycles/px; ``low`` 0 and ``high`` infinite leave that side open.
    order : int
        Steepness; 4 in the original.

    Returns
    -------
    numpy.ndarray
        Between 0 and 1; same shape and type.
    """
    gain = np.ones_like(frequency)
    if math.isfinite(high):
        gain /= 1 + (frequency / high) ** (2 * order)
    if low > 0:
        # 1 - 1/(1 + x) as x/(1 + x), which keeps its digits near zero frequency.
        power = (frequency / low) ** (2 * order)
        gain *= power / (1 + power)
    return gain


def _response(kernel: NDArray[Any], height: int, width: int) -> NDArray[np.float64]:
    """``(height, width)`` by what a mirrored kernel multiplies each cosine of a frame."""
    y, x = (np.arange(size) - size // 2 for size in kernel.shape)
    rows = np.cos(np.pi / max(height, 1) * np.outer(np.arange(height), y))
    columns = np.cos(np.pi / max(width, 1) * np.outer(np.arange(width), x))
    return np.asarray(rows @ kernel @ columns.T, np.float64)


class SpatialFilter:
    """A band-pass for frames of one size.

    Parameters
    ----------
    height, width : int
        Of a frame, in px.
    radius_px : float
        Radius of a typical cell.
    highpass_cutoff : float
        How many times wider than a cell's corner a structure may be and still pass; infinite: no high-pass. 5 is the
        original's for one-photon movies.
    lowpass_cutoff : float
        How many times finer than a cell's corner it may be; infinite: no low-pass. 2 is the original's for finding.
    order : int
        Steepness of the edges.
    frequency_scale_yx : tuple of float
        Factors on vertical and horizontal frequency, for pixels that are not square.
    edges : {"mirror", "power_of_two"}
        How frames go on beyond their edges; see the module.
    workers : int
        Threads of the transforms.

    Raises
    ------
    SettingsError
        A radius, cutoff or order that is not positive.

    Notes
    -----
    One transform and back, in float32: .15 s of one core for 1200 frames of 128 x 128.
    """

    def __init__(
        self,
        height: int,
        width: int,
        radius_px: float,
        highpass_cutoff: float = math.inf,
        lowpass_cutoff: float = math.inf,
        order: int = 4,
        frequency_scale_yx: tuple[float, float] = (1.0, 1.0),
        edges: Edges = "mirror",
        workers: int = 1,
    ) -> None:
        values = {"radius_px": radius_px, "highpass_cutoff": highpass_cutoff, "lowpass_cutoff": lowpass_cutoff}
        for name, value in (values | {"order": order}).items():
            if not value > 0:
                raise SettingsError(f"{name} = {value}", "it must be above 0; math.inf switches a cutoff off")
        if edges not in ("mirror", "power_of_two"):
            raise SettingsError(f"edges = {edges!r} is unknown", "use 'mirror' or 'power_of_two'")
        self.frame_shape = (height, width)
        self._changes = math.isfinite(highpass_cutoff) or math.isfinite(lowpass_cutoff)
        corner = 2 / (math.pi * radius_px)
        self.low, self.high = corner / highpass_cutoff, corner * lowpass_cutoff
        self.workers = workers
        self._mirrored = edges == "mirror"
        self._side = 1 << (max(height, width, 1) - 1).bit_length()
        if self._mirrored:
            # Cosine k of n has k half-waves over the frame: k/2n cycles/px.
            y, x = np.arange(height) / (2 * height), np.arange(width) / (2 * width)
        else:
            y, x = fftfreq(self._side), rfftfreq(self._side)
        frequency = np.hypot(frequency_scale_yx[0] * y[:, None], frequency_scale_yx[1] * x)
        self._gain = butterworth(frequency, self.low, self.high, order).astype(np.float32)

    @classmethod
    def of_kernel(cls, height: int, width: int, kernel: NDArray[Any], workers: int = 1) -> SpatialFilter:
        """Make the filter that correlates every frame, mirrored at its edges, with a kernel.

        A kernel that is its own mirror image multiplies the cosine transform of a frame, whose continuation is mirrored
        too; it may be larger than the frame.

        Parameters
        ----------
        height, width : int
            Of a frame, in px.
        kernel : numpy.ndarray
            ``(odd, odd)``, the same when turned upside down and when turned left to right.
        workers : int
            Threads of the transforms.
        """
        result = cls(height, width, 1.0, workers=workers)
        result._gain = _response(kernel, height, width).astype(np.float32)
        result._changes = True
        return result

    @property
    def is_identity(self) -> bool:
        """Whether both cutoffs are off, so that frames pass unchanged."""
        return not self._changes

    def apply(self, frames: NDArray[Any], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Filter frames.

        Parameters
        ----------
        frames : array
            ``(n_frames, height, width)`` of any real type. A NaN spoils its whole frame: fill them before. NumPy or
            CuPy.
        out : array, optional
            Where the result goes; may be ``frames`` itself if that is float32.

        Returns
        -------
        array
            ``(n_frames, height, width)`` float32, where the frames are.

        Raises
        ------
        InputError
            Frames of another size than the filter's.
        """
        if frames.ndim != 3 or frames.shape[1:] != self.frame_shape:
            raise InputError(f"frames have shape {frames.shape}, the filter is for (n_frames, *{self.frame_shape})")
        if out is None:
            out = namespace_of(frames).empty(frames.shape, dtype=np.float32)
        if self.is_identity:
            out[...] = frames
            return out
        size = 4 * (self._gain.size if self._mirrored else self._side**2)
        step = max(1, (DEVICE_CHUNK_BYTES if is_cupy_array(frames) else CHUNK_BYTES) // max(1, size))
        gain = namespace_of(frames).asarray(self._gain)
        for start in range(0, len(frames), step):
            block = frames[start : start + step]
            if not (is_cupy_array(block) and block.dtype == np.float32 and block.flags.c_contiguous):
                block = block.astype(np.float32, order="C")  # the host's transforms overwrite it
            filtered = self._filter_mirrored if self._mirrored else self._filter_padded
            out[start : start + step] = filtered(block, gain)
        return out

    def _options(self, block: Any) -> dict[str, Any]:
        # CuPy's transforms take no workers, and those of cosines overwrite nothing.
        return {} if is_cupy_array(block) else {"overwrite_x": True, "workers": self.workers}

    def _filter_mirrored(self, block: Any, gain: Any) -> Any:
        fft, how = fft_of(block), self._options(block)
        spectrum = fft.dctn(block, axes=(1, 2), **how)
        spectrum *= gain
        return fft.idctn(spectrum, axes=(1, 2), **how)

    def _filter_padded(self, block: Any, gain: Any) -> Any:
        fft, how = fft_of(block), self._options(block)
        top, left = ((self._side - size) // 2 for size in self.frame_shape)
        padded = namespace_of(block).pad(block, ((0, 0), (top, top), (left, left)), mode="symmetric")
        square = (self._side, self._side)
        spectrum = fft.rfft2(padded, s=square, axes=(1, 2), **how)
        spectrum *= gain
        filtered = fft.irfft2(spectrum, s=square, axes=(1, 2), **how)
        height, width = self.frame_shape
        return filtered[:, top : top + height, left : left + width]
