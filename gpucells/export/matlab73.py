"""MAT files of version 7.3: HDF5 after 512 bytes of MATLAB's own, with MATLAB's attributes.

A struct is a group, an array a dataset with the axes reversed, a cell array references into ``#refs#``; what each is,
its attribute ``MATLAB_class`` says. What is empty has its size as its data.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gpucells.export.matlab import Array, CellRow, Sparse, Struct, Value, header
from gpucells.io.atomic_file import LateErrors

if TYPE_CHECKING:
    import h5py

_BLOCK = 512
_REFS = "#refs#"
#: How MATLAB says that integers are something else.
_DECODE = {"char": 2, "logical": 1}


def write_73(stream: Any, variables: Struct, tell: Callable[[int], None]) -> None:
    """Write a file.

    Parameters
    ----------
    stream : file
        Empty, open for reading and writing; of :func:`gpucells.io.atomic_file.written_atomically`.
    variables : Struct
        The variables.
    tell : callable
        Told of bytes as they are written.
    """
    import h5py

    sink = LateErrors(stream.raw)
    try:
        # The earliest file format: MATLAB releases read newer ones only years later.
        with h5py.File(sink, "w", libver=("earliest", "v110"), userblock_size=_BLOCK) as file:
            for name, value in variables.fields.items():
                _write(file, name, value, tell)
    finally:
        sink.raise_first()
    stream.seek(0)
    stream.write(header("7.3", " HDF5 schema 1.00 .") + bytes(8) + struct.pack("<H", 0x0200) + b"IM")


def _write(parent: h5py.Group, name: str, value: Value, tell: Callable[[int], None]) -> h5py.Group | h5py.Dataset:
    match value:
        case Array():
            return _write_array(parent, name, value, tell)
        case Struct(fields):
            group = parent.create_group(name)
            _mark(group, "struct")
            for key, child in fields.items():
                _write(group, key, child, tell)
            return group
        case CellRow(items):
            return _write_cells(parent, name, items, tell)
        case Sparse():
            return _write_sparse(parent, name, value)


def _write_array(parent: h5py.Group, name: str, value: Array, tell: Callable[[int], None]) -> h5py.Dataset:
    if not value.nbytes:
        return _write_empty(parent, name, value.kind, value.shape)
    shape = value.shape[::-1]
    packed: dict[str, Any] = {"chunks": (1, *shape[1:]), "compression": "gzip", "compression_opts": 1}
    dataset = parent.create_dataset(name, shape, value.dtype, track_times=False, **(packed if value.packed else {}))
    start = 0
    for block in value.blocks():
        dataset[start : start + len(block)] = block
        start += len(block)
        tell(block.nbytes)
    assert start == shape[0], name
    _mark(dataset, value.kind)
    return dataset


def _write_cells(parent: h5py.Group, name: str, items: tuple[Value, ...], tell: Callable[[int], None]) -> h5py.Dataset:
    import h5py

    if not items:
        return _write_empty(parent, name, "cell", (0, 0))
    refs = parent.file.require_group(_REFS)
    # Made before what it refers to, so that cells within cells find their names free.
    dataset = parent.create_dataset(name, (len(items), 1), h5py.ref_dtype, track_times=False)
    for k, item in enumerate(items):
        dataset[k, 0] = _write(refs, f"x{len(refs)}", item, tell).ref
    _mark(dataset, "cell")
    return dataset


def _write_sparse(parent: h5py.Group, name: str, value: Sparse) -> h5py.Group:
    group = parent.create_group(name)
    parts: dict[str, NDArray[Any]] = {
        "data": value.matrix.data,
        "ir": value.matrix.indices.astype(np.uint64),
        "jc": value.matrix.indptr.astype(np.uint64),
    }
    for key, part in parts.items():
        if part.size:  # of a matrix without entries MATLAB writes jc alone
            group.create_dataset(key, data=part, track_times=False)
    _mark(group, "double")
    group.attrs["MATLAB_sparse"] = np.uint64(value.matrix.shape[0])
    return group


def _write_empty(parent: h5py.Group, name: str, kind: str, shape: tuple[int, ...]) -> h5py.Dataset:
    dataset = parent.create_dataset(name, data=np.array(shape, np.uint64), track_times=False)
    _mark(dataset, kind)
    dataset.attrs["MATLAB_empty"] = np.uint8(1)
    return dataset


def _mark(item: h5py.Group | h5py.Dataset, kind: str) -> None:
    item.attrs["MATLAB_class"] = np.bytes_(kind)
    if kind in _DECODE:
        item.attrs["MATLAB_int_decode"] = np.int32(_DECODE[kind])
