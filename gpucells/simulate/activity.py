"""When cells are active, and the fluorescence that follows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gpucells.simulate.settings import SimulationSettings

Float32 = NDArray[np.float32]

FAINTEST = 1e-4  # of its peak: where a transient ends


def make_activity(settings: SimulationSettings, n_cells: int, rng: np.random.Generator) -> tuple[Float32, Float32]:
    """Simulate events as a Poisson process, and transients with an exponential rise and decay.

    Parameters
    ----------
    settings : SimulationSettings
        Rates, spreads and time constants.
    n_cells : int
        Number of cells.
    rng : numpy.random.Generator
        Where chance comes from.

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
    shape = transient(settings)
    for own_spikes, trace in zip(spikes, traces, strict=True):
        own_rate = rate * rng.lognormal(-(settings.rate_spread**2) / 2, settings.rate_spread)
        counts = rng.poisson(own_rate, n_frames)
        counts[rng.integers(n_frames)] += int(not counts.any())
        events = np.flatnonzero(counts)
        own_spikes[events] = counts[events] * rng.lognormal(0, settings.amplitude_spread, len(events))
        for event in events:
            end = min(int(event) + len(shape), n_frames)
            trace[event:end] += own_spikes[event] * shape[: end - int(event)]
    return spikes, traces


def transient(settings: SimulationSettings) -> Float32:
    """Return the fluorescence after one event, a frame a sample, with peak 1, until too little of it is left.

    It is the difference of two exponentials; with ``rise_s`` 0 it is one.
    """
    decay, rise = (float(seconds * settings.frame_rate_hz) for seconds in (settings.decay_s, settings.rise_s))
    slow, fast = max(decay, 1.001 * rise), min(decay, rise)  # not quite equal: that would be no transient
    t = np.arange(1, int(np.ceil(slow * (np.log(1 / FAINTEST) + 2))) + 2)
    values = np.exp(-t / slow) - (np.exp(-t / fast) if fast > 0 else 0)
    values /= values.max()
    return np.asarray(values[: int(np.flatnonzero(values >= FAINTEST)[-1]) + 1], dtype=np.float32)
