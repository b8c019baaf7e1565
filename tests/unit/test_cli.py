"""What is typed reaches the library, and what goes wrong ends as two lines and an exit code."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from gpucells import __version__, errors
from gpucells.cli import main
from gpucells.cli.inputs import format_bytes, parse_assignments, parse_bytes
from gpucells.cli.tables import print_run
from gpucells.model.cells import Cells
from gpucells.model.provenance import Provenance, StageCost
from gpucells.progress import Event
from gpucells.settings import RunSettings

VERBS = ("extract", "settings", "info", "devices", "simulate", "compare", "report", "demo")


def small_cells() -> Cells:
    stages = (StageCost("read movie", 0.5, 0.25, 3_000_000), StageCost("solve", 1.0, 2.0, 5_000_000))
    return Cells(
        footprints=sparse.csr_array(np.eye(3, 12, dtype=np.float32)),
        traces=np.arange(15, dtype=np.float32).reshape(3, 5),
        image_shape=(3, 4),
        f0=np.ones(3, dtype=np.float32),
        accepted=np.array([True, False, True]),
        rejection=("", "too small", ""),
        quality={"snr": np.ones(3, dtype=np.float32)},
        method="extract",
        provenance=Provenance(source="movie.h5", stages=stages, warnings=("two frames are missing",)),
    )


class Library:
    """Stands in for opening and extracting: records what it is asked for, and can be told to fail."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}
        self.calls: list[str] = []
        self.failure: BaseException | None = None

    @contextmanager
    def open_movie(self, paths: Any, **facts: Any) -> Iterator[str]:
        self.calls.append("open")
        self.asked |= {"paths": paths, **facts}
        yield "the movie"

    def extract_cells(
        self, movie: str, method: str, run: RunSettings, settings: dict[str, Any], progress: Callable[[Event], None],
        init: Path | None,
    ) -> Cells:  # fmt: skip
        self.calls.append("extract")
        self.asked |= {"movie": movie, "method": method, "run": run, "settings": settings, "init": init}
        progress(Event("solve", 1, 1, "tiles"))
        if self.failure is not None:
            raise self.failure
        return small_cells()

    def plan_run(self, movie: str, method: str, run: RunSettings, settings: dict[str, Any]) -> Any:
        self.calls.append("plan")
        self.asked |= {"run": run, "settings": settings}
        return SimpleNamespace(lines=lambda: ["4 tiles of 64 x 64 px", "memory: 1000000 bytes"])


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Library:
    stand_in = Library()
    monkeypatch.setitem(sys.modules, "gpucells.pipeline", stand_in)
    monkeypatch.setitem(sys.modules, "gpucells.io.open_movie", stand_in)
    monkeypatch.chdir(tmp_path)
    return stand_in


def test_help_lists_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(verb in shown for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_every_option(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    from gpucells.cli.app import app

    assert main([verb, "--help"]) == 0
    capsys.readouterr()
    import typer.main

    command = typer.main.get_command(app).commands[verb]  # type: ignore[attr-defined]
    assert command.help
    assert not [parameter.name for parameter in command.params if not parameter.help]


def test_run_settings_explain_themselves_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    main(["extract", "--help"])
    shown = " ".join(re.sub(r"[│╭╮╰╯─]", " ", capsys.readouterr().out).split())
    assert "[run]" in shown
    assert "[default: two_photon]" in shown


def test_the_gpus_memory_is_shown_where_one_was_used(capsys: pytest.CaptureFixture[str]) -> None:
    cells = small_cells()
    print_run(cells, [])
    assert "GPU" not in capsys.readouterr().out
    stages = (cells.provenance.stages[0], replace(cells.provenance.stages[1], device_peak_bytes=7_000_000))
    print_run(replace(cells, provenance=replace(cells.provenance, stages=stages)), [])
    head, read, solve, total = capsys.readouterr().out.splitlines()[4:8]
    assert head.split() == ["stage", "seconds", "CPU", "seconds", "peak", "memory", "GPU", "memory"]
    assert read.split() == ["read", "movie", "0.50", "0.25", "3", "MB"]
    assert solve.split() == ["solve", "1.00", "2.00", "5", "MB", "7", "MB"]
    assert total.split() == ["all", "1.50", "2.25", "5", "MB", "7", "MB"]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"gpucells {__version__}\n"


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["extract"], "Missing argument", "see gpucells extract --help"),
        (["extract", "m.h5", "--fps", "3"], "--fps", "see gpucells extract --help"),
        (["extrat", "m.h5"], "extrat", "see gpucells --help"),
        (["extract", "m.h5", "--cell-diameter-px", "wide"], "--cell-diameter-px", "see gpucells extract --help"),
        (["extract", "m.h5", "--preset", "x"], "'x'", "see gpucells extract --help"),
        (["extract", "m.h5", "--device", "gpu"], "device = 'gpu'", "cuda:0"),
        (["extract", "m.h5", "--memory", "lots"], "'lots' is not a size", "8GB"),
        (["extract", "m.h5", "--device-memory", "4 bits"], "'4 bits' is not a size", "8GB"),
        (["extract", "m.h5", "--set", "kappa"], "'kappa' is not key=value", "--set"),
        (["extract", "m.h5", "--report", "a.pdf"], "cannot draw a report into a.pdf", ".html or .png"),
    ],
)
def test_wrong_usage_is_two_lines_and_exit_code_2(
    words: list[str], message: str, hint: str, library: Library, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert lines[1].startswith("hint: ")
    assert hint in lines[1]
    assert not library.calls, "refused before anything was opened"


@pytest.mark.parametrize(
    ("failure", "exit_code"),
    [
        (errors.InputError("no frames", "give it some"), 1),
        (errors.SettingsError("unknown setting 'kapa'", "did you mean 'kappa'?"), 2),
        (errors.DeviceError("cuda:0 does not answer", "nvidia-smi"), 3),
        (errors.DeviceMemoryError("does not fit", "smaller tiles"), 3),
    ],
)
def test_our_errors_end_as_error_and_hint(
    failure: errors.GpucellsError, exit_code: int, library: Library, capsys: pytest.CaptureFixture[str]
) -> None:
    library.failure = failure
    assert main(["extract", "m.h5"]) == exit_code
    assert capsys.readouterr().err == f"error: {failure.message}\nhint: {failure.hint}\n"
    assert not Path("cells.h5").exists()


def test_a_defect_says_how_to_report_it(library: Library, capsys: pytest.CaptureFixture[str]) -> None:
    library.failure = ZeroDivisionError("oops")
    assert main(["extract", "m.h5"]) == 1
    err = capsys.readouterr().err
    assert "error: ZeroDivisionError: oops" in err
    assert "--debug" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("words", [["--debug", "extract", "m.h5"], ["extract", "m.h5", "--debug"]])
def test_debug_shows_the_traceback(words: list[str], library: Library, capsys: pytest.CaptureFixture[str]) -> None:
    library.failure = errors.InputError("no frames")
    assert main(words) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.endswith("error: no frames\n")


def test_ctrl_c_is_exit_code_4(library: Library, capsys: pytest.CaptureFixture[str]) -> None:
    library.failure = KeyboardInterrupt()
    assert main(["extract", "m.h5"]) == 4
    assert "interrupted" in capsys.readouterr().err
    assert not list(Path().iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_run_and_leave_no_file(number: int, tmp_path: Path) -> None:
    """As a real process: the save itself is interrupted, with the file half written."""
    code = """
        import signal, sys, time
        from types import SimpleNamespace
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell starts it ignored
        sys.path.insert(0, sys.argv.pop(1))
        import test_cli
        library = test_cli.Library()
        sys.modules["gpucells.pipeline"] = sys.modules["gpucells.io.open_movie"] = library
        import gpucells.io.cells_file as cells_file
        whole = cells_file._write
        def slow(file, cells):
            whole(file, cells)
            file.flush()
            print("writing", flush=True)
            time.sleep(60)
        cells_file._write = slow
        from gpucells.cli import main
        sys.exit(main(["extract", "movie.h5", "-o", "cells.h5"]))
    """
    arguments = [sys.executable, "-c", textwrap.dedent(code), str(Path(__file__).parent)]
    with subprocess.Popen(arguments, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "writing\n"
        run.send_signal(number)
        _, err = run.communicate(timeout=30)
    assert run.returncode == 4, err
    assert err.startswith("error: interrupted")
    assert not list(tmp_path.iterdir())


def test_options_reach_the_run(library: Library, capsys: pytest.CaptureFixture[str]) -> None:
    words = "extract a.tif b.tif --preset one_photon --frame-rate-hz 10 --cell-diameter-px 12 --pixel-size-um 1.5"
    words += " --device cpu --memory 8GB --device-memory 4GiB --seed 3 --dataset /mov --axes txy"
    words += " --set kappa=0.5 --set l1=[1,2] --set mode=fast"
    assert main(words.split()) == 0
    assert library.asked["paths"] == [Path("a.tif"), Path("b.tif")]
    assert (library.asked["dataset"], library.asked["axes"]) == ("/mov", "txy")
    assert (library.asked["frame_rate_hz"], library.asked["pixel_size_um"]) == (10, 1.5)
    assert library.asked["settings"] == {"kappa": 0.5, "l1": [1, 2], "mode": "fast"}
    assert library.asked["run"] == RunSettings(
        preset="one_photon",
        frame_rate_hz=10,
        cell_diameter_px=12,
        pixel_size_um=1.5,
        device="cpu",
        memory_bytes=8 * 10**9,
        device_memory_bytes=4 << 30,
        seed=3,
    )


def test_nothing_given_leaves_the_defaults(library: Library) -> None:
    assert main(["extract", "m.h5"]) == 0
    assert library.asked["run"] == RunSettings()
    assert library.asked["settings"] == {}
    assert library.asked["paths"] == Path("m.h5")


def test_settings_file_is_below_the_options(library: Library) -> None:
    Path("mine.toml").write_text("[run]\nseed = 1\ndevice = 'cpu'\n[extract]\nkappa = 0.5\nl1 = 2\n")
    assert main("extract m.h5 --settings mine.toml --seed 2 --set kappa=0.7".split()) == 0
    assert (library.asked["run"].seed, library.asked["run"].device) == (2, "cpu")
    assert library.asked["settings"] == {"kappa": 0.7, "l1": 2}


@pytest.mark.parametrize(
    ("content", "message", "exit_code"),
    [
        ("[run]\nseeed = 1\n", "unknown setting 'seeed'", 2),
        ("[extrakt]\nkappa = 1\n", "'extrakt', which is no table", 2),
        ("kappa = 1\n", "'kappa', which is no table", 2),
        ("[run\n", "not a TOML file", 2),
        (None, "cannot read settings", 1),
    ],
)
def test_wrong_settings_files(
    content: str | None, message: str, exit_code: int, library: Library, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        Path("mine.toml").write_text(content)
    assert main("extract m.h5 --settings mine.toml".split()) == exit_code
    assert message in capsys.readouterr().err
    assert not library.calls


def test_dry_run_prints_the_plan_and_writes_nothing(library: Library, capsys: pytest.CaptureFixture[str]) -> None:
    Path("cells.h5").write_text("an older result")
    assert main(["extract", "m.h5", "--dry-run"]) == 0
    assert capsys.readouterr().out == "4 tiles of 64 x 64 px\nmemory: 1000000 bytes\n"
    assert library.calls == ["open", "plan"]
    assert Path("cells.h5").read_text() == "an older result"


def test_a_run_ends_with_a_table(library: Library, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["extract", "m.h5", "-o", "mine.h5"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert re.search(r"cells found\s+3\n", out)
    assert re.search(r"cells accepted\s+2\n", out)
    assert re.search(r"solve\s+1\.00\s+2\.00\s+5 MB", out)
    assert re.search(r"all\s+1\.50\s+2\.25\s+5 MB", out)
    assert "warning: two frames are missing" in out
    assert "wrote mine.h5" in out


def test_progress_json_leaves_standard_output_alone(library: Library, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["extract", "m.h5", "--progress", "json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(err)["stage"] == "solve"
    assert "solve" in out


@pytest.mark.parametrize(
    ("output", "message"),
    [("there.h5", "there.h5 exists"), ("folder", "folder is a folder"), ("nowhere/cells.h5", "no folder nowhere")],
)
def test_impossible_results_are_refused_before_the_run(
    output: str, message: str, library: Library, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("there.h5").write_text("an older result")
    Path("folder").mkdir()
    assert main(["extract", "m.h5", "-o", output]) == 1
    assert message in capsys.readouterr().err
    assert not library.calls
    assert Path("there.h5").read_text() == "an older result"


def test_overwrite_replaces_a_result(library: Library) -> None:
    Path("cells.h5").write_text("an older result")
    assert main(["extract", "m.h5", "--overwrite"]) == 0
    from gpucells.io.cells_file import load_cells

    assert load_cells("cells.h5").n_cells == 3


def test_info_of_a_result(library: Library, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["extract", "m.h5"]) == 0
    capsys.readouterr()
    assert main(["info", "cells.h5", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["kind"], facts["n_cells"], facts["n_accepted"], facts["frame_rate_hz"]) == ("cells", 3, 2, None)
    assert main(["info", "cells.h5"]) == 0
    assert re.search(r"frame_rate_hz\s+unknown", capsys.readouterr().out)


def test_module_is_the_command() -> None:
    ran = subprocess.run([sys.executable, "-m", "gpucells", "nothing"], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: ")


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("8GB", 8e9),
        ("8 gb", 8e9),
        ("1.5G", 1.5e9),
        ("512MiB", 2**29),
        ("2Ki", 2048),
        ("100", 100),
        ("7B", 7),
        (".5k", 500),
    ],
)
def test_sizes(text: str, n_bytes: float) -> None:
    assert parse_bytes(text) == n_bytes


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1 PB", "1e9", "8GB2"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(errors.SettingsError):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("n_bytes", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2.5e9, "2.5 GB"), (4e15, "4e+03 TB")]
)
def test_sizes_are_readable(n_bytes: float, text: str) -> None:
    assert format_bytes(n_bytes) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=1", 1),
        ("a=0.5", 0.5),
        ("a=true", True),
        ("a=word", "word"),
        ("a='1'", "1"),
        ("a=none", None),
        ("a=", ""),
        ("a=[1, 2]", [1, 2]),
        ("a=b=c", "b=c"),
        ("a=1\nb=2", "1\nb=2"),
    ],
)
def test_assignments(text: str, value: Any) -> None:
    assert parse_assignments([text]) == {"a": value}
