"""What each stored dimension means."""

from __future__ import annotations

import pytest

from gpucells.errors import InputError
from gpucells.io.axes import resolve_layout


@pytest.mark.parametrize(
    ("shape", "axes", "expected"),
    [
        ((12, 7, 10), None, (12, 7, 10)),
        ((12, 10, 7), "TXY", (12, 7, 10)),
        ((10, 7, 12), "XYT", (12, 7, 10)),
        ((7, 10), "YX", (1, 7, 10)),
        ((12, 7, 10), "tyx", (12, 7, 10)),
        ((12, 1, 7, 10), None, (12, 7, 10)),
        ((12, 7, 10, 1), None, (12, 7, 10)),
        ((1, 12, 7, 10), None, (12, 7, 10)),
        ((1, 12, 1, 7, 10), None, (12, 7, 10)),
        ((1, 7, 10), None, (1, 7, 10)),
        ((12, 1, 7, 10), "TYX", (12, 7, 10)),
        ((12, 7, 10, 3), None, (12, 7, 10)),
    ],
)
def test_time_rows_and_columns_are_found(
    shape: tuple[int, ...], axes: str | None, expected: tuple[int, int, int]
) -> None:
    """Dimensions of length one are dropped, the order is the caller's, or else time first."""
    assert resolve_layout(shape, axes).shape == expected


def test_channel_and_plane_are_indexed() -> None:
    """The chosen channel and plane stand in the key where the file has those dimensions."""
    layout = resolve_layout((2, 12, 5, 10, 7), "CTZXY", channel=1, plane=4)
    assert layout.key(slice(0, 3), slice(0, 7), slice(2, 4)) == (1, slice(0, 3), 4, slice(2, 4), slice(0, 7))
    assert layout.order == (0, 2, 1)


@pytest.mark.parametrize(
    ("shape", "options", "words"),
    [
        ((7, 10), {}, "2 dimensions"),
        ((7,), {}, "1 dimensions"),
        ((12, 5, 7, 10), {}, "4 dimensions"),
        ((12, 5, 7, 10), {"axes": "TZYX"}, "5 planes"),
        ((12, 5, 7, 10), {"axes": "TZYX", "plane": 5}, "plane=5"),
        ((12, 7, 10, 3), {"channel": 3}, "channel=3"),
        ((12, 7, 10), {"channel": 1}, "channel=1"),
        ((12, 7, 10), {"axes": "TYY"}, "not an order"),
        ((12, 7, 10), {"axes": "TCZ"}, "not an order"),
        ((12, 7, 10), {"axes": "TYQ"}, "not an order"),
        ((12, 7, 10), {"axes": "TCYX"}, "names 4 dimensions"),
        ((12, 5, 7, 10), {"axes": "TYX"}, "names 3 dimensions"),
        ((0, 7, 10), {}, "zero frames"),
        ((12, 0, 10), {}, "no pixels"),
    ],
)
def test_what_is_not_a_movie_is_refused(shape: tuple[int, ...], options: dict[str, object], words: str) -> None:
    """The message has the shape seen and the hint says what to pass."""
    with pytest.raises(InputError, match=words):
        resolve_layout(shape, **{"axes": None, **options})  # type: ignore[arg-type]
