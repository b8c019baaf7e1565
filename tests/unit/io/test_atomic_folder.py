"""A folder appears whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpucells.errors import ResultFileError
from gpucells.io.atomic_folder import folder_written_atomically


def is_ours(path: Path) -> bool:
    return (path / "ours").exists()


def write(path: Path, text: str, overwrite: bool = False) -> None:
    with folder_written_atomically(path, overwrite, is_ours) as work:
        (work / "ours").write_text(text)
        (work / "inside").mkdir()


def test_it_appears_with_all_that_is_in_it(tmp_path: Path) -> None:
    write(tmp_path / "new", "a")
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["inside", "ours"]
    assert [p.name for p in tmp_path.iterdir()] == ["new"]


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with folder_written_atomically(tmp_path / "new") as work:
            (work / "half").write_text("a")
            raise OSError(28, "No space left on device")

    with pytest.raises(ResultFileError, match="the disk is full; nothing was left behind"):
        fail()
    assert not list(tmp_path.iterdir())


def test_an_existing_one_is_replaced_only_when_asked(tmp_path: Path) -> None:
    write(tmp_path / "new", "a")
    with pytest.raises(ResultFileError, match="exists already"):
        write(tmp_path / "new", "b")
    assert (tmp_path / "new" / "ours").read_text() == "a"
    write(tmp_path / "new", "b", overwrite=True)
    assert (tmp_path / "new" / "ours").read_text() == "b"
    assert [p.name for p in tmp_path.iterdir()] == ["new"]


def test_what_is_of_another_kind_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("meow")
    with pytest.raises(ResultFileError, match="something else"):
        write(tmp_path / "photos", "a", overwrite=True)
    (tmp_path / "file").write_text("a")
    with pytest.raises(ResultFileError, match="something else"):
        write(tmp_path / "file", "a", overwrite=True)
    assert (tmp_path / "photos" / "cat.jpg").read_text() == "meow"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "photos"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty", "a")
    assert is_ours(tmp_path / "empty")


def test_the_folder_around_it_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ResultFileError, match="there is no folder"):
        write(tmp_path / "missing" / "new", "a")


def test_an_error_keeps_the_old_one(tmp_path: Path) -> None:
    write(tmp_path / "new", "a")

    def fail() -> None:
        with folder_written_atomically(tmp_path / "new", True, is_ours) as work:
            (work / "ours").write_text("b")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert (tmp_path / "new" / "ours").read_text() == "a"
    assert [p.name for p in tmp_path.iterdir()] == ["new"]
