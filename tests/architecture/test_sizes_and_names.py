"""Sizes and names that keep the tree readable, and what the library may not do."""

from __future__ import annotations

import ast

from architecture.source_tree import PACKAGE, ROOT, kernel_files, modules, name_of, tree_of

LONGEST_FILE = 400
LONGEST_KERNEL = 300
LONGEST_FUNCTION = 60
LONGEST_PIPELINE = 150
NO_NAMES = {"utils", "util", "helpers", "helper", "common", "core", "base", "misc"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def code_lines(function: Function) -> int:
    """Lines from ``def`` to the end, without decorators and docstring: the docstring is to be long where it must."""
    assert function.end_lineno is not None
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is not None:
        text = function.body[0]
        assert text.end_lineno is not None
        lines -= text.end_lineno - text.lineno + 1
    return lines


def test_files_are_short() -> None:
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in modules()}
    assert not {name: length for name, length in lengths.items() if length > LONGEST_FILE}
    assert lengths["pipeline.py"] <= LONGEST_PIPELINE, "the pipeline is a table of contents"


def test_kernels_are_short() -> None:
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in kernel_files()}
    assert lengths
    assert not {name: length for name, length in lengths.items() if length > LONGEST_KERNEL}


def test_functions_are_short() -> None:
    long = {
        f"{name_of(path)}:{node.lineno} {node.name}": code_lines(node)
        for path in modules()
        for node in ast.walk(tree_of(path))
        if isinstance(node, Function) and code_lines(node) > LONGEST_FUNCTION
    }
    assert not long


def test_names_say_what_is_inside() -> None:
    everything = [*PACKAGE.rglob("*"), *kernel_files()]
    everything += [*(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    # A drop-in's folders are called as the original's, which scripts import.
    ours = [path for path in everything if PACKAGE / "compat" not in path.parents]
    bad = [str(path.relative_to(ROOT)) for path in ours if path.stem.lower().strip("_") in NO_NAMES]
    assert not bad


def test_the_library_does_not_print() -> None:
    printing = [
        f"{name_of(path)}:{node.lineno}"
        for path in modules()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not printing


def test_errors_raised_are_ours() -> None:
    """A user sees ``error:`` and ``hint:``; a bare built-in would reach him as a defect."""
    builtins = {"Exception", "ValueError", "RuntimeError", "OSError", "IOError", "FileNotFoundError", "MemoryError"}
    raised = [
        f"{name_of(path)}:{node.lineno} {node.exc.func.id}"
        for path in modules()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and isinstance(node.exc.func, ast.Name)
        and node.exc.func.id in builtins
    ]
    assert not raised


def test_public_functions_describe_their_arguments() -> None:
    """A public function of a module with more than two arguments has a numpydoc Parameters section."""
    silent = [
        f"{name_of(path)}:{node.lineno} {node.name}"
        for path in modules()
        if not name_of(path).startswith("cli/")  # there the help text of each option says it
        for node in tree_of(path).body
        if isinstance(node, Function)
        and not node.name.startswith("_")
        and len(node.args.args) + len(node.args.kwonlyargs) > 2
        and "Parameters\n" not in (ast.get_docstring(node) or "")
    ]
    assert not silent
