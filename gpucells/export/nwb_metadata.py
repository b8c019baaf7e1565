"""What an NWB file says of a session beside its cells: read from a YAML file, and never made up."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, Field, ValidationError

from gpucells.errors import MissingDependencyError, MissingFileError, SettingsError
from gpucells.settings import Settings, nearest

#: Every key that a metadata file may have; only ``session_start_time`` is needed.
TEMPLATE = """\
session_start_time: 2024-05-17T14:30:00+02:00  # the only one that NWB cannot do without
session_description: Mouse on a linear track
experiment_description: Place cells in CA1 across days
identifier: m12-2024-05-17-a                   # from the cells where not given
session_id: a
experimenter: ["Doe, Jane"]
institution: Example University
lab: Example Lab
keywords: [hippocampus, calcium imaging]
related_publications: ["https://doi.org/10.1000/182"]
protocol: animal protocol 17
notes: lens cleaned before the session
surgery: GRIN lens over CA1, 2024-04-02
virus: AAV9-syn-jGCaMP7f
pharmacology: none
subject:
  subject_id: m12
  species: Mus musculus
  sex: M                                       # M, F, U (unknown) or O (other)
  age: P90D                                    # ISO 8601: 90 days
  date_of_birth: 2024-02-17T00:00:00+01:00
  strain: C57BL/6J
  genotype: wild type
  weight: 0.025 kg
  description: housed alone
device:
  name: Miniscope
  description: head-mounted one-photon microscope
imaging_plane:
  description: CA1 pyramidal layer
  indicator: jGCaMP7f
  location: CA1                                # of a mouse: a name of the Allen CCF, such as CA1 or VISp
  excitation_lambda: 470                       # nm
  optical_channel:
    name: OpticalChannel
    description: green
    emission_lambda: 510                       # nm
"""
_UNKNOWN = "unknown"
_NAN = float("nan")


class Subject(Settings):
    """The animal; the names are those of NWB's ``Subject``."""

    subject_id: str | None = None
    species: str | None = Field(None, description="Latin binomial, such as Mus musculus")
    sex: str | None = Field(None, pattern="^[MFUO]$", description="M, F, U (unknown) or O (other)")
    age: str | None = Field(None, pattern="^P", description="ISO 8601 duration, such as P90D")
    date_of_birth: AwareDatetime | None = Field(
        None, description="date, time and time zone, such as 2024-02-17T00:00:00+01:00"
    )
    strain: str | None = None
    genotype: str | None = None
    weight: str | None = Field(None, description="number and unit, such as 0.025 kg")
    description: str | None = None


class Device(Settings):
    """The microscope."""

    name: str = Field("Microscope", pattern="^[^/:]+$", description="a name without / and :")
    description: str | None = None


class OpticalChannel(Settings):
    """The light that was collected; NWB demands each field, so that what is not known says so."""

    name: str = Field("OpticalChannel", pattern="^[^/:]+$", description="a name without / and :")
    description: str = _UNKNOWN
    emission_lambda: float = Field(_NAN, description="nm")


class ImagingPlane(Settings):
    """The plane; NWB demands each field, so that what is not known says so."""

    description: str = _UNKNOWN
    indicator: str = _UNKNOWN
    location: str = _UNKNOWN
    excitation_lambda: float = Field(_NAN, description="nm")
    optical_channel: OpticalChannel = OpticalChannel()


class Metadata(Settings):
    """Fields of the session; the names are those of ``pynwb.NWBFile``."""

    session_start_time: AwareDatetime | None = Field(
        None, description="date, time and time zone, such as 2024-05-17T14:30:00+02:00"
    )
    session_description: str | None = None
    experiment_description: str | None = None
    identifier: str | None = None
    session_id: str | None = None
    experimenter: list[str] | str | None = Field(None, description="a list of names, such as Doe, Jane")
    institution: str | None = None
    lab: str | None = None
    keywords: list[str] | None = Field(None, description="a list of words")
    related_publications: list[str] | str | None = Field(None, description="a list of DOIs")
    protocol: str | None = None
    notes: str | None = None
    surgery: str | None = None
    virus: str | None = None
    pharmacology: str | None = None
    subject: Subject | None = None
    device: Device = Device()
    imaging_plane: ImagingPlane = ImagingPlane()


def read_metadata(path: str | None) -> Metadata:
    """Read a metadata file.

    Parameters
    ----------
    path : str or None
        A YAML file with keys of :data:`TEMPLATE`; None for none of them.

    Returns
    -------
    Metadata
        Checked.

    Raises
    ------
    MissingFileError, MissingDependencyError
        There is no such file; the package ``ruamel.yaml`` is not installed.
    SettingsError
        It is not YAML, not a mapping, or has a key or value that is not allowed; the nearest known key is named.
    """
    if path is None:
        return Metadata()
    values = _parse(Path(path))
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise SettingsError(f"{path} is a {type(values).__name__}", "it must have lines such as 'lab: Example Lab'")
    try:
        return Metadata(**{str(key): value for key, value in values.items()})
    except ValidationError as error:
        raise SettingsError(*_explained(error, path)) from None


def _parse(path: Path) -> Any:
    try:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import YAMLError
    except ImportError:
        raise MissingDependencyError("ruamel.yaml is not installed", "pip install 'gpucells[nwb]'") from None
    if not path.is_file():
        raise MissingFileError(f"there is no file {path}", "metadata= is a YAML file; docs/nwb.md has a template")
    try:
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError, ValueError) as error:  # ValueError: 2024-13-45 as a date
        told = " ".join(str(error).split())
        raise SettingsError(f"{path} is not YAML: {told}", "quote text that has : or # in it") from error


def _explained(error: ValidationError, path: str) -> tuple[str, str]:
    """Name the key, however deep, and what is allowed there."""
    first = error.errors()[0]
    keys = [str(key) for key in first["loc"]]
    model: type[Settings] = Metadata
    while keys[1:] and keys[0] in model.model_fields and (inner := _SECTIONS.get((model, keys[0]))) is not None:
        model, keys = inner, keys[1:]
    name = ".".join([*(str(key) for key in first["loc"][: len(first["loc"]) - len(keys)]), keys[0]])
    if first["type"] == "extra_forbidden":
        return f"{path}: unknown key {name!r}", nearest(keys[0], model.model_fields) or f"known: {_known(model)}"
    field = model.model_fields.get(keys[0])
    hint = (field.description if field is not None else None) or "docs/nwb.md has a template"
    return f"{path}: {name} = {first['input']!r}: {first['msg'].lower()}", hint


_SECTIONS: dict[tuple[type[Settings], str], type[Settings]] = {
    (Metadata, "subject"): Subject,
    (Metadata, "device"): Device,
    (Metadata, "imaging_plane"): ImagingPlane,
    (ImagingPlane, "optical_channel"): OpticalChannel,
}


def _known(model: type[Settings]) -> str:
    return ", ".join(model.model_fields)


def start_of_source(source: str) -> datetime | None:
    """Return when the session of a movie began, where the movie is NWB and still there; None otherwise."""
    import h5py

    try:
        if not source or not h5py.is_hdf5(source):
            return None
        with h5py.File(source, "r") as file:
            if "nwb_version" not in file.attrs or "session_start_time" not in file:
                return None
            told = file["session_start_time"][()]
        found = datetime.fromisoformat(told.decode() if isinstance(told, bytes) else str(told))
    except (OSError, ValueError):  # not there, damaged, or no date
        return None
    return found if found.tzinfo is not None else None
