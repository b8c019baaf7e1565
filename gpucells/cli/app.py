"""The verbs put together, and how an error ends a run.

Exit codes: 0 done, 1 an error of ours or a bug, 2 wrong usage or settings, 3 the device, 4 interrupted.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, NoReturn

import typer

from gpucells import __version__
from gpucells.cli import compare, demo, estimate, export, extract, info, report, settings, simulate
from gpucells.errors import GpucellsError

EXIT_BUG = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 4
_TYPER_INTERRUPTED = 130  # typer turns Ctrl-C into this code; its older releases raise Abort

app = typer.Typer(
    name="gpucells",
    help="From a calcium-imaging movie to cells: footprints, traces, quality.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
app.command("extract")(extract.extract)
app.command("estimate")(estimate.estimate)
app.command("settings")(settings.settings)
app.command("info")(info.info)
app.command("devices")(info.devices)
app.command("simulate")(simulate.simulate)
app.command("compare")(compare.compare)
app.command("export")(export.export)
app.command("report")(report.report)
app.command("demo")(demo.demo)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gpucells {__version__}")
        raise typer.Exit


@app.callback()
def _everywhere(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="show the version and exit")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="show the traceback of an error, and the log (may stand anywhere)")
    ] = False,
) -> None:
    del version, debug  # both are acted on before a verb is looked for


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; those of the process by default.

    Returns
    -------
    int
        The exit code.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        with _terminated_like_interrupted():
            result = app(args=words, prog_name="gpucells", standalone_mode=False)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last stop: every error becomes an exit code
        if debug:
            traceback.print_exc()
        return _explain(error, words, debug)
    if result == _TYPER_INTERRUPTED:
        return _explain(KeyboardInterrupt(), words, debug)
    return result if isinstance(result, int) else 0


def _explain(error: BaseException, words: list[str], debug: bool) -> int:
    """Print ``error:`` and ``hint:`` lines and return the exit code."""
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        _complain("interrupted; a result is written whole or not at all")
        return EXIT_INTERRUPTED
    if isinstance(error, GpucellsError):
        _complain(error.message, error.hint)
        return error.exit_code
    usage: Any = error
    if hasattr(usage, "format_message"):  # typer's own: an unknown option, a missing argument
        verb = next((word for word in words if not word.startswith("-")), "")
        known = verb in {command.name for command in app.registered_commands}
        _complain(usage.format_message(), f"see gpucells {verb} --help" if known else "see gpucells --help")
        return EXIT_USAGE
    _complain(
        f"{type(error).__name__}: {error}",
        "" if debug else "this is a defect of gpucells; run again with --debug and report what it prints",
    )
    return EXIT_BUG


def _complain(message: str, hint: str = "") -> None:
    typer.echo(f"error: {message}", err=True)
    if hint:
        typer.echo(f"hint: {hint}", err=True)


@contextlib.contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Make SIGTERM (a scheduler, a shutdown) unwind like Ctrl-C, so that half-written files are removed."""

    def interrupt(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not in the main thread: the caller's program has its own ways
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
