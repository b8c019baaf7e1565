"""Sinks show what they are sent, and nothing where nobody looks."""

from __future__ import annotations

import io
import json
import sys

import pytest

from gpucells.errors import MissingDependencyError
from gpucells.progress import Event, JsonLines, format_rate, open_sink, silent


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_silent_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    silent(Event("read", 1, 2, "frames"))
    assert capsys.readouterr() == ("", "")


def test_json_lines_are_events_with_time() -> None:
    stream = io.StringIO()
    clock = iter([10.0, 10.5, 12.25])
    sink = JsonLines(stream, clock=lambda: next(clock))
    sink(Event("read", 1, 2, "frames"))
    sink(Event("read", 2, 2, "frames", "cuda:0"))
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first == {"stage": "read", "done": 1, "total": 2, "unit": "frames", "device": "cpu", "elapsed_s": 0.5}
    assert second["device"] == "cuda:0"
    assert second["elapsed_s"] == 2.25


def test_json_lines_thin_out_fast_events_but_keep_first_and_last() -> None:
    stream = io.StringIO()
    now = [0.0]
    sink = JsonLines(stream, clock=lambda: now[0])
    for done in range(1, 101):
        now[0] += 0.01
        sink(Event("read", done, 100, "frames"))
        sink(Event("other", done, 0, "tiles"))  # of unknown length, and not thinned by the first stage's events
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    read = [line["done"] for line in lines if line["stage"] == "read"]
    assert read[0] == 1
    assert read[-1] == 100
    assert 8 <= len(read) <= 12
    assert 8 <= len(lines) - len(read) <= 12


def test_auto_is_silent_where_nobody_looks() -> None:
    stream = io.StringIO()
    with open_sink("auto", stream) as sink:
        assert sink is silent


def test_standard_error_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    with open_sink("json") as sink:
        sink(Event("read", 1, 1, "frames"))
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["stage"] == "read"


@pytest.mark.parametrize("name", ["auto", "rich"])
def test_rich_bars_show_stage_count_and_rate(name: str) -> None:
    stream = Terminal()
    with open_sink(name, stream) as sink:
        sink(Event("read [movie]", 10, 40, "frames"))
        sink(Event("read [movie]", 40, 40, "frames"))
        sink(Event("solve", 1, 0, "tiles", "cuda:0"))
    shown = stream.getvalue()
    assert "read [movie]" in shown
    assert "40/40" in shown
    assert "frames/s" in shown
    assert "solve [cuda:0]" in shown


def test_tqdm_bars_show_stage_and_count() -> None:
    pytest.importorskip("tqdm", reason="tqdm is optional")
    stream = io.StringIO()
    with open_sink("tqdm", stream) as sink:
        sink(Event("read", 10, 40, "frames"))
        sink(Event("read", 40, 40, "frames"))
    assert "read" in stream.getvalue()
    assert "40/40" in stream.getvalue()


def test_tqdm_missing_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(MissingDependencyError, match="tqdm is not installed") as caught, open_sink("tqdm"):
        pass
    assert "gpucells[tqdm]" in caught.value.hint


@pytest.mark.parametrize(
    ("done", "elapsed_s", "text"),
    [(0, 5, ""), (5, 0, ""), (2500, 2, "1250 frames/s"), (6.4, 2, "3.2 frames/s"), (1, 100, "0.01 frames/s")],
)
def test_rates_are_readable(done: float, elapsed_s: float, text: str) -> None:
    assert format_rate(done, elapsed_s, "frames") == text
