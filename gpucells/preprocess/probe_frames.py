"""Small copies of a movie to probe: few frames, few pixels, each pixel's baseline off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from gpucells.ops.fold_frames import PixelSummary, fold_frames
from gpucells.ops.row_blocks import each_block

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]

FRAMES = 250  # averaged frames that are enough to tell spots from noise
MOST_AVERAGED = 4  # frames averaged into one: still no longer than most transients
SIDE = 128  # of the square that is looked at, after binning
LIVELY = 6.0  # brightness of a pixel's best frame, in units of its noise, that noise alone does not reach
PIXELS = 256  # whose traces are sorted or differenced at once: they and their temporaries stay in the cache
NEAR = 9  # side of the neighbourhood whose mean is taken for background when the square is chosen, after binning


class ProbeFrames:
    """A movie at any coarseness, averaged in time, and cut to its liveliest part where it is large.

    Parameters
    ----------
    frames : numpy.ndarray
        ``(n_frames, height, width)`` of any real type; what is not finite counts as a pixel's baseline.
    inside : numpy.ndarray
        ``(height, width)`` bool.
    starts : sequence of int
        Where frames start that do not follow upon those before, the first 0. No average spans such a join, and every
        block has its own baseline: what faded between two blocks would look like spots that go up.
    """

    def __init__(self, frames: NDArray[Any], inside: Bool, starts: Sequence[int] = (0,)) -> None:
        self.averaged = max(1, min(MOST_AVERAGED, len(frames) // FRAMES))
        most = (FRAMES + FRAMES // 4) // len(starts)
        blocks = (frames[start:stop] for start, stop in zip(starts, (*starts[1:], len(frames)), strict=True))
        self.blocks = [block[: min(len(block) // self.averaged, most) * self.averaged] for block in blocks]
        self.inside = inside
        self.whole = 1  # the finest pitch at which the whole image is looked at
        while max(inside.shape) > SIDE * self.whole and min(inside.shape) >= 2 * self.whole:
            self.whole *= 2
        self._binned: dict[int, tuple[Float32, Bool]] = {}
        self._lively: NDArray[np.float64] | None = None

    def binned(self, pitch: int) -> tuple[Float32, Bool, tuple[int, int]]:
        """Average blocks of pixels.

        Parameters
        ----------
        pitch : int
            Side of a block (px), a power of two.

        Returns
        -------
        tuple
            Frames ``(n, height, width)`` float32, each block's median off and 0 outside; the mask of blocks at least
            half of which are inside; row and column of the first pixel.
        """
        corner, shape = self._window(pitch)
        if pitch not in self._binned:
            if pitch <= max(2, self.whole):  # 2 as well: few movies need a look at every pixel
                rows, columns = (slice(start, start + size) for start, size in zip(corner, shape, strict=True))
                n_frames, done = sum(len(block) // self.averaged for block in self.blocks), 0
                frames = np.empty((n_frames, shape[0] // pitch, shape[1] // pitch), np.float32)
                for block in self.blocks:
                    part, inside = average(block[:, rows, columns], self.inside[rows, columns], self.averaged, pitch)
                    remove_baseline(part, inside)
                    frames[done : done + len(part)] = part
                    done += len(part)
            else:
                finer, mask, _ = self.binned(pitch // 2)
                frames, inside = average(finer, mask, 1, 2)
            self._binned[pitch] = frames, inside
        return *self._binned[pitch], corner

    def _window(self, pitch: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Corner and shape (px) of the part with the most going on; all of an image that is not too large."""
        height, width = self.inside.shape
        if pitch >= self.whole:
            return (0, 0), (height, width)
        if self._lively is None:
            frames, inside, _ = self.binned(self.whole)
            self._lively = _liveliness(frames, inside)
        shape = min(pitch * SIDE, height), min(pitch * SIDE, width)
        size = [max(1, extent // self.whole) for extent in shape]
        total = np.pad(self._lively, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
        inner = total[size[0] :, size[1] :] - total[: -size[0], size[1] :]
        inner -= total[size[0] :, : -size[1]] - total[: -size[0], : -size[1]]
        best = np.unravel_index(int(inner.argmax()), inner.shape)
        row, column = (min(int(b) * self.whole, n - s) for b, n, s in zip(best, (height, width), shape, strict=True))
        return (row, column), shape


def average(frames: NDArray[Any], inside: Bool, averaged: int, pitch: int) -> tuple[Float32, Bool]:
    """Average ``averaged`` frames, and blocks of ``pitch`` x ``pitch`` pixels over those that are inside.

    Parameters
    ----------
    frames : numpy.ndarray
        ``(n_frames, height, width)`` of any real type.
    inside : numpy.ndarray
        ``(height, width)`` bool, the pixels that count.
    averaged, pitch : int
        Frames and pixels a side that become one.

    Returns
    -------
    tuple
        Frames ``(n_frames // averaged, height // pitch, width // pitch)`` float32, and which blocks are inside: those
        at least half of whose pixels are.
    """
    n_frames, height, width = frames.shape
    rows, columns = height // pitch, width // pitch
    mask = inside[: rows * pitch, : columns * pitch]
    every = mask.all()
    count = _sum_blocks(mask.astype(np.float32), pitch)
    result: Float32 = np.empty((n_frames // averaged, rows, columns), np.float32)
    for i, out in enumerate(result):
        some = frames[i * averaged : (i + 1) * averaged, : rows * pitch, : columns * pitch]
        frame = some.astype(np.float32, copy=False).sum(axis=0)
        out[...] = _sum_blocks(frame if every else np.where(mask, frame, 0), pitch)
    result /= np.maximum(count, 1) * averaged
    return result, np.asarray(2 * count >= pitch**2)


def _sum_blocks(frame: Float32, pitch: int) -> Float32:
    for _ in range(int(pitch).bit_length() - 1):
        frame = frame[0::2] + frame[1::2]
        frame = frame[:, 0::2] + frame[:, 1::2]
    return frame


def pixels_first(frames: Float32) -> Float32:
    """``(n_pixels, n_frames)`` of finite frames ``(n_frames, height, width)``."""
    pixels = np.empty((frames[0].size, len(frames)), np.float32)
    fold_frames(frames, 1, pixels, 0, PixelSummary.empty(len(pixels)))
    return pixels


def remove_baseline(frames: Float32, inside: Bool) -> None:
    """Take each pixel's median off; empty what is outside or not finite. In place."""
    if len(frames) == 0:
        return
    if np.isfinite(frames).all():
        # A sixth of the time of numpy.median over the first axis: samples that are compared lie side by side.
        samples, middle = pixels_first(frames), len(frames) // 2
        each_block(samples, lambda some: samples[some].partition(middle, axis=1), PIXELS)
        frames -= samples[:, middle].reshape(inside.shape)
    else:
        frames[~np.isfinite(frames)] = np.nan
        frames[:, np.isnan(frames).all(axis=0)] = 0
        frames -= np.nanmedian(frames, axis=0)
        frames[np.isnan(frames)] = 0
    frames[:, ~inside] = 0


def _liveliness(frames: Float32, inside: Bool) -> NDArray[np.float64]:
    """How far each pixel's best frame is above what noise reaches, in units of its noise; bounded."""
    best = np.zeros(inside.shape, np.float32)
    if len(frames) >= 3:
        local = frames - ndimage.uniform_filter(frames, (0, NEAR, NEAR))
        # Differences that are compared lie side by side: half of the time of numpy.median over the first axis.
        steps = np.abs(np.diff(pixels_first(local), axis=1))
        noise = np.median(steps, axis=1, overwrite_input=True).reshape(inside.shape)
        typical = float(np.median(noise[inside])) if inside.any() else 0.0
        best = local.max(axis=0) / np.maximum(noise, max(0.3 * typical, 1e-12))
    # A little for every pixel inside: where nothing is lively, the square still lies on the picture.
    return np.asarray(np.where(inside, 0.01 + np.clip(best - LIVELY, 0, 5 * LIVELY), 0), np.float64)
