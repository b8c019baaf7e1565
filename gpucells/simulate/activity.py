"""When cells are active, and the fluorescence that follows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from gpucells.simulate.settings import SimulationSettings

Float32 = NDArray[np.float32]

FAINTEST = 1e-4  # of a unit event: what is left of a transient below that is no light


def make_activity(settings: SimulationSettings, n_cells: int, rng: np.random.Generator) -> tuple[Float32, Float32]:
    """Simulate events as a Poisson process, and transients with an exponential rise and decay.

    Returns
    -------
    tuple of numpy.ndarray
        ``spikes`` and ``traces``, both ``(n_cells, n_frames)`` float32; an event of size 1 gives a transient that
        reaches 1. Every cell has at least one event.
    """
    n_frames = settings.shape[0]
    spikes = np.zeros((n_cells, n_frames), dtype=np.float32)
    traces = np.zeros_like(spikes)
    rate = settings.event_rate_hz / settings.frame_rate_hz
    numerator, denominator = transient_filter(settings)
    for cell in range(n_cells):
        own_rate = rate * rng.lognormal(-(settings.rate_spread**2) / 2, settings.rate_spread)
        counts = rng.poisson(own_rate, n_frames)
        counts[rng.integers(n_frames)] += int(not counts.any())
        events = np.flatnonzero(counts)
        spikes[cell, events] = counts[events] * rng.lognormal(0, settings.amplitude_spread, len(events))
        # one cell at a time: float64 of one trace, not of all
        traces[cell] = lfilter(numerator, denominator, spikes[cell].astype(np.float64))
    traces[traces < FAINTEST] = 0
    return spikes, traces


def transient_filter(settings: SimulationSettings) -> tuple[list[float], list[float]]:
    """Return numerator and denominator of the recursive filter whose impulse response is a transient that peaks at 1.

    The response is the difference of two exponentials; with ``rise_s`` 0 it is one.
    """
    decay = float(np.exp(-1 / (settings.decay_s * settings.frame_rate_hz)))
    rise = float(np.exp(-1 / (settings.rise_s * settings.frame_rate_hz))) if settings.rise_s > 0 else 0.0
    denominator = [1.0, -(decay + rise), decay * rise]
    impulse = np.zeros(max(4, int(10 * (settings.rise_s + settings.decay_s) * settings.frame_rate_hz)))
    impulse[0] = 1
    return [1 / float(lfilter([1.0], denominator, impulse).max())], denominator
