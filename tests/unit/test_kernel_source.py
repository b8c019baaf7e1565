"""The text of kernels: found in a source tree and in a wheel, headers pasted, errors traced to their files."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpucells.device import kernel_source
from gpucells.device.kernel_source import first_error, kernel_folder, kernel_text
from gpucells.errors import KernelError


def write(folder: Path, **files: str) -> Path:
    (folder / "include").mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / (f"{name}.cu" if name == "sum" else f"include/{name}.cuh")
        path.write_text(text)
    return folder


def test_source_tree_has_the_kernels(repository: Path) -> None:
    assert kernel_folder() == repository / "kernels"
    assert kernel_text("fold_frames.cu").startswith('#line 1 "kernels/fold_frames.cu"\n')


def test_an_installed_package_uses_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what another package of that name put beside it."""
    package = tmp_path / "site-packages" / "gpucells"
    for folder in (package / "device", package / "kernels", package.parent / "kernels"):
        folder.mkdir(parents=True)
    monkeypatch.setattr(kernel_source, "__file__", str(package / "device" / "kernel_source.py"))
    assert kernel_folder() == package / "kernels"


def test_headers_are_pasted_once_and_lines_keep_their_numbers(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        sum='// one\n#include "a.cuh"\n  # include "b.cuh"  // both\n#include <cuda_fp16.h>\nlast\n',
        a='of a\n#include "b.cuh"\nend of a',
        b="of b",
    )
    assert kernel_text("sum.cu", folder).splitlines() == [
        '#line 1 "kernels/sum.cu"', "// one",
        '#line 1 "kernels/include/a.cuh"', "of a",
        '#line 1 "kernels/include/b.cuh"', "of b",
        '#line 3 "kernels/include/a.cuh"', "end of a",
        '#line 3 "kernels/sum.cu"', "", "#include <cuda_fp16.h>", "last",
    ]  # fmt: skip


def test_a_missing_file_is_named_with_who_wants_it(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match=r"kernels/sum\.cu cannot be read: No such file") as caught:
        kernel_text("sum.cu", tmp_path)
    assert "install gpucells again" in caught.value.hint
    write(tmp_path, sum='\n#include "nothing.cuh"\n')
    with pytest.raises(KernelError, match=r"include/nothing\.cuh, included by kernels/sum\.cu in line 2, cannot be"):
        kernel_text("sum.cu", tmp_path)


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (
            'kernels/sum.cu(3): warning #177-D: never used\n\nkernels/sum.cu(12): error: expected a ";"\n  x\n',
            'kernels/sum.cu:12: expected a ";"',
        ),
        ("kernels/include/a.cuh(1): catastrophic error: no such file\n", "kernels/include/a.cuh:1: no such file"),
        ("In file\nkernels/sum.cu:12:5: error: 'x' was not declared\n", "kernels/sum.cu:12: 'x' was not declared"),
        ("kernels/sum.cu:2:9: fatal error: a.h: No such file\n", "kernels/sum.cu:2: a.h: No such file"),
        ("ptxas error   : too much shared data\n", "ptxas error   : too much shared data"),
    ],
)
def test_first_error_of_a_log(log: str, expected: str) -> None:
    assert first_error(log) == expected
