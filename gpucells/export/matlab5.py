"""MAT files of version 5, compressed: a header, then one element a variable, sizes before contents.

The layout is public (MathWorks, "MAT-File Format"): numbers here are those of its tables. Sizes are known before
anything is written, so a struct of large arrays goes through the compressor a block at a time.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gpucells.export.matlab import Array, CellRow, Sparse, Struct, Value, header

_INT8, _INT32, _UINT32, _DOUBLE, _MATRIX, _COMPRESSED, _UTF8 = 1, 5, 6, 9, 14, 15, 16
_TYPES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 9, "i8": 12, "u8": 13}
_CLASSES = {
    "char": 4, "logical": 9, "double": 6, "single": 7, "int8": 8, "uint8": 9, "int16": 10, "uint16": 11, "int32": 12,
    "uint32": 13, "int64": 14, "uint64": 15,
}  # fmt: skip
_CELL, _STRUCT, _SPARSE = 1, 2, 5
_LOGICAL = 0x0200
_FIELD = 64  # bytes of a field's name, its zero included
_PIECE = 1 << 20
_FAST = 1  # of zlib's levels: footprints are zeros but for a few pixels, traces are noise


def total_bytes(variables: Struct) -> int:
    """Return the size of the file before compression."""
    return 128 + sum(8 + _matrix_bytes(value, name) for name, value in variables.fields.items())


def write_5(stream: BinaryIO, variables: Struct, tell: Callable[[int], None]) -> None:
    """Write a file.

    Parameters
    ----------
    stream : file
        Empty, open for writing.
    variables : Struct
        The variables; all together below 2 GB.
    tell : callable
        Told of bytes as they are written.
    """
    stream.write(header("5.0") + bytes(8) + struct.pack("<H", 0x0100) + b"IM")
    for name, value in variables.fields.items():
        start = stream.tell()
        stream.write(bytes(8))
        packer = zlib.compressobj(_FAST)
        size = 0
        for part in _matrix(value, name):
            size += len(part)
            for cut in range(0, len(part), _PIECE):  # so that what comes out packed is small too
                stream.write(packer.compress(part[cut : cut + _PIECE]))
            tell(len(part))
        stream.write(packer.flush())
        assert size == 8 + _matrix_bytes(value, name), name
        end = stream.tell()
        stream.seek(start)
        stream.write(struct.pack("<II", _COMPRESSED, end - start - 8))
        stream.seek(end)


def _padded(n_bytes: int) -> int:
    return n_bytes + -n_bytes % 8


def _element_bytes(n_bytes: int) -> int:
    return 8 if n_bytes <= 4 else 8 + _padded(n_bytes)


def _element(kind: int, data: bytes) -> bytes:
    if 0 < len(data) <= 4:
        return struct.pack("<HH", kind, len(data)) + data.ljust(4, b"\0")
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def _text_bytes(value: Array) -> tuple[str, bytes]:
    text = b"".join(block.tobytes() for block in value.blocks()).decode("utf-16-le", "replace")
    return text, text.encode()


def _shape(value: Value) -> tuple[int, ...]:
    match value:
        case Array(kind="char", shape=shape):
            return (shape[0], len(_text_bytes(value)[0]))
        case Array(shape=shape):
            return shape
        case Struct():
            return (1, 1)
        case CellRow(items):
            return (1, len(items)) if items else (0, 0)
        case Sparse(matrix):
            return tuple(matrix.shape)


def _sparse_parts(value: Sparse) -> tuple[tuple[int, NDArray[Any]], ...]:
    matrix = value.matrix
    return (
        (_INT32, matrix.indices.astype("<i4", copy=False)),
        (_INT32, matrix.indptr.astype("<i4", copy=False)),
        (_DOUBLE, matrix.data),
    )


def _matrix_bytes(value: Value, name: str) -> int:
    """Size of a matrix without its tag of 8 bytes."""
    size = 16 + _element_bytes(4 * len(_shape(value))) + _element_bytes(len(name))
    match value:
        case Array(kind="char"):
            return size + _element_bytes(len(_text_bytes(value)[1]))
        case Array():
            return size + _element_bytes(value.nbytes)
        case Struct(fields):
            size += 8 + _element_bytes(_FIELD * len(fields))
            return size + sum(8 + _matrix_bytes(child, "") for child in fields.values())
        case CellRow(items):
            return size + sum(8 + _matrix_bytes(child, "") for child in items)
        case Sparse():
            return size + sum(_element_bytes(part.nbytes) for _, part in _sparse_parts(value))


def _flags(value: Value) -> bytes:
    match value:
        case Array(kind=kind):
            word, most = _CLASSES[kind] | (_LOGICAL if kind == "logical" else 0), 0
        case Struct():
            word, most = _STRUCT, 0
        case CellRow():
            word, most = _CELL, 0
        case Sparse(matrix):
            word, most = _SPARSE, matrix.nnz
    return _element(_UINT32, struct.pack("<II", word, most))


def _matrix(value: Value, name: str) -> Iterator[bytes | memoryview]:
    """Make a matrix element, part by part."""
    shape = _shape(value)
    yield (
        struct.pack("<II", _MATRIX, _matrix_bytes(value, name))
        + _flags(value)
        + _element(_INT32, struct.pack(f"<{len(shape)}i", *shape))
        + _element(_INT8, name.encode("ascii"))
    )
    match value:
        case Array(kind="char"):
            yield _element(_UTF8, _text_bytes(value)[1])
        case Array():
            yield from _numbers(value)
        case Struct(fields):
            names = b"".join(field.encode("ascii").ljust(_FIELD, b"\0") for field in fields)
            yield _element(_INT32, struct.pack("<i", _FIELD)) + _element(_INT8, names)
            for child in fields.values():
                yield from _matrix(child, "")
        case CellRow(items):
            for child in items:
                yield from _matrix(child, "")
        case Sparse():
            for kind, part in _sparse_parts(value):
                yield _element(kind, part.tobytes())


def _numbers(value: Array) -> Iterator[bytes | memoryview]:
    kind, size = _TYPES[value.dtype.str[1:]], value.nbytes
    if size <= 4:
        yield _element(kind, b"".join(block.tobytes() for block in value.blocks()) if size else b"")
        return
    yield struct.pack("<II", kind, size)
    for block in value.blocks():
        yield np.ascontiguousarray(block, value.dtype).data.cast("B")
    yield bytes(-size % 8)
