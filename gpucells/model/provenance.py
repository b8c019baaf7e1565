"""Where a result came from."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class StageCost:
    """What one stage of a run took.

    Parameters
    ----------
    stage : str
        Name of the stage.
    wall_s, cpu_s : float
        Elapsed seconds, and CPU seconds of all threads.
    peak_bytes : int
        Largest resident memory of the process by the end of the stage.
    device_peak_bytes : int
        What CuPy's pool held of a GPU's memory at the end of the stage, of the GPU that held most; 0 without one.
    """

    stage: str
    wall_s: float
    cpu_s: float
    peak_bytes: int
    device_peak_bytes: int = 0


@dataclass(frozen=True)
class Provenance:
    """Versions, device, seed, input and cost of a run.

    Parameters
    ----------
    versions : dict
        Package name to version: gpucells, python, numpy, scipy, numba, …
    device : str
        ``"cpu"``, ``"cuda:0"``, or several GPUs as ``"cuda:0,1"``.
    seed : int
        Seed of everything random.
    source : str
        The movie, as the user named it.
    input_identity : str
        Shape, type and a hash of the movie's first, middle and last frame: tells movies apart without reading them.
    created : str
        ISO 8601 time in UTC.
    stages : tuple of StageCost
        In the order in which they ran.
    warnings : tuple of str
        What the run warned of.
    """

    versions: dict[str, str] = field(default_factory=dict)
    device: str = "cpu"
    seed: int = 0
    source: str = ""
    input_identity: str = ""
    created: str = ""
    stages: tuple[StageCost, ...] = ()
    warnings: tuple[str, ...] = ()
