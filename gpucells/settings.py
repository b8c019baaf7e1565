"""Shared settings, and the base that every method's settings are made from.

A setting is declared once, as a pydantic field with type, unit (in its name), range, default and reason (its
description). Validation, command-line help, TOML, the copy kept in a result and the table in the documentation all
come from that declaration.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from gpucells.errors import SettingsError


def nearest(name: str, known: Iterable[str]) -> str:
    """Ask about the known name most like an unknown one; empty where none is."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else ""


class Settings(BaseModel):
    """Frozen settings; an unknown name is refused with the nearest known one."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> Self:
        """Validate ``values``.

        Raises
        ------
        SettingsError
            Names the setting, the value seen, and what is allowed.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            raise SettingsError(*cls._explain(error)) from None

    @classmethod
    def _explain(cls, error: ValidationError) -> tuple[str, str]:
        first = error.errors()[0]
        if not first["loc"]:  # settings that do not go together
            theirs = first["ctx"]["error"]
            return theirs.message, theirs.hint
        name = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            return f"unknown setting {name!r}", nearest(name, cls.model_fields) or "see gpucells settings METHOD"
        field = cls.model_fields.get(name)
        hint = field.description if field is not None and field.description else ""
        return f"{name} = {first['input']!r}: {first['msg'].lower()}", hint

    def changed(self, **values: Any) -> Self:
        """Return a validated copy with some values changed."""
        return type(self).from_values(self.model_dump() | values)

    @classmethod
    def rows(cls) -> list[tuple[str, str, str]]:
        """Name, range and meaning of every setting."""
        return [(name, _range(field), field.description or "") for name, field in cls.model_fields.items()]

    @classmethod
    def table(cls) -> str:
        """Return the settings as a Markdown table, for the documentation."""
        lines = ["| setting | default | range | meaning |", "|---|---|---|---|"]
        for name, allowed, meaning in cls.rows():
            default = cls.model_fields[name].default
            shown = "from the movie, or none" if default is None else f"`{default}`"
            lines.append(f"| `{name}` | {shown} | {allowed} | {meaning} |")
        return "\n".join(lines)


def _range(field: FieldInfo) -> str:
    return ", ".join(_values(field.annotation, field.metadata))


def _values(annotation: Any, metadata: Sequence[Any]) -> list[str]:
    """Say what values of a type may be."""
    if get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        inner = [m for part in more for m in (part.metadata if isinstance(part, FieldInfo) else [part])]
        return _values(annotation, [*metadata, *inner])
    if get_origin(annotation) is Literal:
        return [f"`{value}`" for value in get_args(annotation)]
    if annotation is bool:
        return ["`True`", "`False`"]
    if get_origin(annotation) in (Union, UnionType):
        parts = [_values(part, []) for part in get_args(annotation)]
        return [*_limits(metadata), *(value for part in parts for value in part)]
    return _limits(metadata)


def _limits(metadata: Sequence[Any]) -> list[str]:
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    return [f"{sign} {getattr(m, key):g}" for m in metadata for key, sign in signs.items() if hasattr(m, key)]


Preset = Literal["one_photon", "two_photon"]


class RunSettings(Settings):
    """What is not about one method: the movie's facts, the device, and the memory that may be used."""

    preset: Preset = Field("two_photon", description="recording type: sets every default that differs between the two")
    frame_rate_hz: float | None = Field(None, gt=0, description="frames a second, where the file does not say")
    pixel_size_um: float | None = Field(None, gt=0, description="side of a pixel, where the file does not say")
    cell_diameter_px: float | None = Field(
        None, ge=2, description="width of a cell on the picture; estimated from the movie where not given"
    )
    mask: str | None = Field(
        None, description="file with one picture of the movie's size: cells are looked for where it is not 0"
    )
    mask_lens_rim: bool = Field(
        True,
        description="leave out what is dark around a round field of view (one-photon, where no mask is given)",
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:(all|\d+(,\d+)*))?)$",
        description="auto, cpu, cuda:0, several GPUs as cuda:0,1, or cuda:all",
    )
    memory_bytes: int | None = Field(
        None, gt=0, description="host memory the run may use; half of what is free where not given"
    )
    device_memory_bytes: int | None = Field(
        None,
        gt=0,
        description="memory of the GPU, of each where there are several, that arrays may take; nine tenths of what is "
        "free where not given",
    )
    seed: int = Field(0, ge=0, description="seed of everything random")
