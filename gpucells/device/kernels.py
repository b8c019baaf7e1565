"""CUDA kernels: declared once in Python, compiled where they are first used, launched with checked arguments.

CuPy checks nothing of a launch: an array of the wrong type is read as the right one, a Python int goes as 8 bytes and
a float as a double whatever the kernel takes. So each kernel has a declaration beside its operation in ``ops/``, and
the same declaration serves the launch, the compile gate and the emulator's tests.
"""

from __future__ import annotations

import itertools
import math
import numbers
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from gpucells.device.kernel_source import first_error, kernel_text
from gpucells.errors import KernelError

#: What a kernel calls each of NumPy's types.
C_TYPES = {
    "bool": "bool",
    "int8": "signed char", "int16": "short", "int32": "int", "int64": "long long",
    "uint8": "unsigned char", "uint16": "unsigned short", "uint32": "unsigned int", "uint64": "unsigned long long",
    "float32": "float", "float64": "double",
}  # fmt: skip
#: What CuPy 14 compiles by default; said so that a later CuPy does not choose another.
COMPILE_OPTIONS = ("-std=c++17",)
# CUDA C++ Programming Guide, table "Technical Specifications per Compute Capability": the same from 5.0 to 12.x.
_LARGEST_GRID = (2**31 - 1, 65535, 65535)
_LARGEST_BLOCK = (1024, 1024, 64)
_SHARED_WITHOUT_ASKING_BYTES = 48 << 10

Variant = tuple[tuple[str, str | int], ...]


@dataclass(frozen=True)
class Array:
    """A pointer that a kernel takes.

    Parameters
    ----------
    name : str
        As in the ``.cu``.
    dtype : str
        NumPy's name of the type, or the name of a `Define` whose values are such names.
    shape : tuple of str or int
        A name stands for the same number in every argument of the launch.
    written : bool
        Whether the kernel writes to it; otherwise it takes a pointer to const.
    """

    name: str
    dtype: str
    shape: tuple[str | int, ...]
    written: bool = False

    def c_type(self) -> str:
        """Return the parameter's type in the ``.cu``; a `Define` stands there under its own name."""
        return f"{'' if self.written else 'const '}{C_TYPES.get(self.dtype, self.dtype)}*"


@dataclass(frozen=True)
class Scalar:
    """A number that a kernel takes by value; one that is named like a dimension is filled in from the shapes.

    Parameters
    ----------
    name : str
        As in the ``.cu``.
    dtype : str
        NumPy's name of the type; numbers of things and indices are ``int64``.
    """

    name: str
    dtype: str = "int64"

    def c_type(self) -> str:
        """Return the parameter's type in the ``.cu``."""
        return C_TYPES[self.dtype]


@dataclass(frozen=True)
class Define:
    """A macro that the ``.cu`` is compiled with: one kernel for each of its values.

    Parameters
    ----------
    name : str
        In capitals.
    values : tuple of str or int
        NumPy's names of types, chosen by the arrays of a launch; or integers, chosen by an argument of this name where
        there is more than one.
    """

    name: str
    values: tuple[str | int, ...]


@dataclass(frozen=True)
class Kernel:
    """One ``extern "C" __global__`` function.

    Parameters
    ----------
    file : str
        In ``kernels/``.
    name : str
        Of the function.
    parameters : tuple of Array or Scalar
        In the order of the ``.cu``.
    threads : int
        Most threads a block, the number in ``__launch_bounds__``.
    registers : int
        Most registers a thread that the compile gate lets pass on any architecture.
    defines : tuple of Define
        The macros that make its variants.
    """

    file: str
    name: str
    parameters: tuple[Array | Scalar, ...]
    threads: int
    registers: int
    defines: tuple[Define, ...] = ()

    def variants(self) -> Iterator[Variant]:
        """Yield every choice of the macros, as pairs of name and value."""
        for values in itertools.product(*(define.values for define in self.defines)):
            yield tuple(zip((define.name for define in self.defines), values, strict=True))

    def code(self, variant: Variant) -> str:
        """Return what the compiler gets to see of one variant: one of `variants`."""
        macros = "".join(f"#define {name} {C_TYPES.get(str(value), value)}\n" for name, value in variant)
        return macros + kernel_text(self.file)

    def launch(self, grid: tuple[int, ...], block: tuple[int, ...], /, shared_bytes: int = 0, **arguments: Any) -> None:
        """Check the arguments and run the kernel on the current device's current stream.

        Parameters
        ----------
        grid, block : tuple of int
            One to three numbers each; a grid with a 0 runs nothing.
        shared_bytes : int
            Dynamic shared memory a block.
        **arguments
            Every array and scalar by its name, but for the scalars named like dimensions; and macros with several
            integers to choose from.

        Raises
        ------
        KernelError
            An argument that does not fit the declaration, or a kernel that cannot be compiled.
        """
        import cupy

        device = cupy.cuda.Device()
        variant = self._variant(arguments)
        values = self._values(arguments, dict(variant), cupy.ndarray, device.id)
        self._check_size(grid, block)
        if 0 in grid:
            return
        function = _function(cupy, self, variant, device.id)
        if shared_bytes > _SHARED_WITHOUT_ASKING_BYTES:
            most = int(device.attributes["MaxSharedMemoryPerBlockOptin"])
            if shared_bytes > most:
                raise self._error(f"{shared_bytes} bytes of shared memory asked for; this device has {most} a block")
            function.max_dynamic_shared_size_bytes = shared_bytes
        function(grid, block, values, shared_mem=shared_bytes)

    def _error(self, message: str) -> KernelError:
        return KernelError(f"kernel {self.name} ({self.file}): {message}")

    def _variant(self, arguments: dict[str, Any]) -> Variant:
        """Choose each macro: by an array's type, by the only value there is, or by its argument, which is taken out."""
        chosen: list[tuple[str, str | int]] = []
        for define in self.defines:
            array = next((p.name for p in self.parameters if p.dtype == define.name), None)
            seen: Any
            if array is not None:
                seen = str(getattr(arguments.get(array), "dtype", None))
            elif len(define.values) == 1:
                seen = define.values[0]
            else:
                array, seen = define.name, arguments.pop(define.name, None)
            if seen not in define.values:
                wanted = ", ".join(map(str, define.values))
                raise self._error(f"argument {array} is {seen}; the kernel is compiled for {wanted}")
            chosen.append((define.name, seen))
        return tuple(chosen)

    def _values(
        self, arguments: dict[str, Any], types: Mapping[str, str | int], ndarray: type, device: int
    ) -> tuple[Any, ...]:
        """Return the arguments in the kernel's order, checked and of the declared types."""
        sizes: dict[str, tuple[int, str]] = {}
        self._check_names(arguments)
        for parameter in self.parameters:
            if isinstance(parameter, Array):
                dtype = str(types.get(parameter.dtype, parameter.dtype))
                self._check_array(parameter, arguments[parameter.name], dtype, ndarray, device)
                self._check_shape(parameter, arguments[parameter.name].shape, sizes)
        return tuple(
            arguments[p.name]
            if isinstance(p, Array)
            else self._scalar(p, arguments[p.name] if p.name in arguments else sizes[p.name][0])
            for p in self.parameters
        )

    def _check_names(self, arguments: Mapping[str, Any]) -> None:
        dimensions = {size for p in self.parameters if isinstance(p, Array) for size in p.shape}
        wanted = {p.name for p in self.parameters if isinstance(p, Array) or p.name not in dimensions}
        missing, unknown = sorted(wanted - arguments.keys()), sorted(arguments.keys() - wanted)
        if missing or unknown:
            raise self._error(
                f"arguments missing: {', '.join(missing) or 'none'}; not taken: {', '.join(unknown) or 'none'}"
            )

    def _check_array(self, wanted: Array, seen: Any, dtype: str, ndarray: type, device: int) -> None:
        if not isinstance(seen, ndarray):
            raise self._error(
                f"argument {wanted.name} is a {type(seen).__module__}.{type(seen).__name__}, not a CuPy array"
            )
        array: Any = seen
        if array.dtype != dtype:
            raise self._error(f"argument {wanted.name} is {array.dtype}; {dtype} is wanted")
        if not array.flags.c_contiguous:
            raise self._error(f"argument {wanted.name} is not in C order; a kernel sees only where it begins")
        if array.device.id != device:
            raise self._error(
                f"argument {wanted.name} is on cuda:{array.device.id}; the current device is cuda:{device}"
            )

    def _check_shape(self, wanted: Array, seen: tuple[int, ...], sizes: dict[str, tuple[int, str]]) -> None:
        """Compare with the sizes that earlier arrays have, and add its own to them."""
        if len(seen) != len(wanted.shape):
            raise self._error(f"argument {wanted.name} has shape {seen}; {_shape_text(wanted.shape)} is wanted")
        for axis, (size, length) in enumerate(zip(wanted.shape, seen, strict=True)):
            length_wanted, because = (
                (size, "declared") if isinstance(size, int) else sizes.setdefault(size, (length, wanted.name))
            )
            if length != length_wanted:
                raise self._error(
                    f"argument {wanted.name} has shape {seen}; {_shape_text(wanted.shape)} is wanted, and "
                    f"{size if isinstance(size, str) else f'axis {axis}'} is {length_wanted} ({because})"
                )

    def _scalar(self, wanted: Scalar, seen: Any) -> np.generic:
        dtype = np.dtype(wanted.dtype)
        if dtype.kind in "iu":
            if not isinstance(seen, numbers.Integral):
                raise self._error(f"argument {wanted.name} is {seen!r}; an integer is wanted")
            least, most = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
            if not least <= operator.index(seen) <= most:
                raise self._error(f"argument {wanted.name} is {seen}; {dtype} holds {least} to {most}")
        elif not isinstance(seen, numbers.Real | np.bool_):
            raise self._error(f"argument {wanted.name} is {seen!r}; a number is wanted")
        value: np.generic = dtype.type(seen)
        return value

    def _check_size(self, grid: tuple[int, ...], block: tuple[int, ...]) -> None:
        for name, seen, least, largest in (("grid", grid, 0, _LARGEST_GRID), ("block", block, 1, _LARGEST_BLOCK)):
            if not 1 <= len(seen) <= 3 or any(not least <= n <= most for n, most in zip(seen, largest, strict=False)):
                raise self._error(f"{name} {seen}; {least} to {largest} is what CUDA takes")
        if math.prod(block) > self.threads:
            raise self._error(f"block {block} has {math.prod(block)} threads; declared are at most {self.threads}")


@cache
def _function(cupy: Any, kernel: Kernel, variant: Variant, device: int) -> Any:
    """Compile one variant for one device; CuPy keeps what it compiled on disk (``CUPY_CACHE_DIR``)."""
    del device  # a part of the key: compiled is for the current device
    try:
        return cupy.RawModule(code=kernel.code(variant), options=COMPILE_OPTIONS).get_function(kernel.name)
    except KernelError:
        raise
    except Exception as error:  # a missing NVRTC, a broken driver and a wrong kernel all have classes of their own
        chosen = "".join(f", {name}={value}" for name, value in variant)
        raise KernelError(
            f"kernel {kernel.name} ({kernel.file}{chosen}) cannot be compiled: {first_error(str(error))}",
            "see what gpucells devices says; if it finds nothing wrong, this is a defect of gpucells: report it",
        ) from error


def _shape_text(shape: tuple[str | int, ...]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
