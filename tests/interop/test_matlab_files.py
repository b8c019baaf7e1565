"""MAT files in other people's readers: SciPy, HDF5's own types, roiextractors, mat73, pymatreader, hdf5storage, Octave.

Octave stands in for MATLAB. Of version 7.3 it reads numbers, structs and axes; text comes as its codes, logicals as
numbers, cell arrays and sparse matrices not at all.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from reference.many_cells import many_cells

from gpucells.export.ciatah import ciatah_names
from gpucells.export.formats import export_cells
from gpucells.export.matlab import write_mat

needs_octave = pytest.mark.skipif(shutil.which("octave-cli") is None, reason="GNU Octave is not installed")
NAME = "Größe µm, 鼠"
VALUES = {
    "s": {
        "text": NAME,
        "plain": "abc",
        "flag": True,
        "mask": np.array([[True, False], [True, True], [False, True]]),
        "cells": [1.5, "ab", None],
        "whole": np.arange(6, dtype=np.int32).reshape(2, 3),
        "none": None,
        "inner": {"big": np.arange(24, dtype=np.float32).reshape(2, 3, 4)},
    },
    "x": 1.5,
}

#: What CIAtah's loader does, by its documented behaviour: the last of these variables that is in the file decides, and
#: the traces of three methods are multiplied by the maximum of each cell's image.
LOADER = """1;
function [images, signals, algorithm] = loaded(file)
  known = {'PCAICA','pcaicaAnalysisOutput'; 'EM','emAnalysisOutput'; 'CELLMax','cellmaxAnalysisOutput'; ...
    'EXTRACT','extractAnalysisOutput'; 'CNMF','cnmfAnalysisOutput'; 'CNMFE','cnmfeAnalysisOutput'; ...
    'ROI','roiAnalysisOutput'};
  warning('off', 'all');
  held = load(file);
  names = fieldnames(held);
  algorithm = '';
  for k = 1:rows(known)
    if any(strcmp(names, known{k,2})), algorithm = known{k,1}; found = held.(known{k,2}); end
  end
  switch algorithm
    case 'PCAICA'
      assert(strcmp(char(found.imageSaveDimOrder), 'xyz'));
      images = double(found.IcaFilters); signals = double(found.IcaTraces);
    case {'EM', 'CELLMax'}
      images = double(found.cellImages);
      for name = {'scaledProbability', 'dsScaledProbability', 'cellTraces', 'dsCellTraces'}
        if isfield(found, name{1}), signals = double(found.(name{1})); break; end
      end
      assert(isequal(size(found.cellTraces), size(signals)));
    case {'CNMF', 'CNMFE'}
      images = double(found.extractedImages); signals = double(found.extractedSignals);
      assert(isequal(size(found.extractedSignalsEst), size(signals)));
    otherwise
      images = double(found.filters); signals = double(found.traces);
  end
  if any(strcmp(algorithm, {'EM', 'CELLMax', 'CNMF', 'CNMFE'}))
    for k = 1:rows(signals), signals(k,:) *= max(images(:,:,k)(:)); end
  end
end
"""


def octave(script: str, folder: Path) -> str:
    path = folder / "script.m"
    path.write_text(script, encoding="utf-8")
    done = subprocess.run(
        ["octave-cli", "--norc", str(path)], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_octave
@pytest.mark.parametrize("version", ["5", "7.3"])
def test_ciatahs_loader_gets_dff(tmp_path: Path, version: str) -> None:
    cells = many_cells(6, provenance=many_cells(1).provenance)
    methods = ("CELLMax", "EM", "PCAICA", "CNMF", "CNMFE", "EXTRACT", "ROI")
    script = LOADER
    for method in methods:
        export_cells(cells, tmp_path / f"{method}.mat", "ciatah", {"method": method, "version": version})
        script += (
            f"[images, signals, algorithm] = loaded('{method}.mat'); save('-v6', '{method}.out', 'images', 'signals', "
            "'algorithm');\n"
        )
    octave(script, tmp_path)
    model = np.where(np.isnan(cells.denoised), cells.traces, cells.denoised) / cells.f0[:, None]
    for method in methods:
        with (tmp_path / f"{method}.out").open("rb") as stream:
            seen = scipy.io.loadmat(stream)
        assert seen["algorithm"].item() == method
        np.testing.assert_array_equal(seen["images"], cells.images().transpose(1, 2, 0), err_msg=method)
        expected = model if method in ("CELLMax", "EM", "CNMFE") else cells.dff
        np.testing.assert_array_equal(seen["signals"].astype(np.float32), expected, err_msg=method)


@needs_octave
def test_octave_reads_every_kind_of_value_of_version_5(tmp_path: Path) -> None:
    write_mat(tmp_path / "a.mat", VALUES, version="5")
    octave(
        """load('a.mat');
        assert(isa(s.text, 'char')); assert(strcmp(s.plain, 'abc')); assert(islogical(s.flag) && s.flag);
        assert(islogical(s.mask) && isequal(s.mask, logical([1 0; 1 1; 0 1])));
        assert(isequal(s.cells, {1.5, 'ab', []}));
        assert(isa(s.whole, 'int32') && isequal(s.whole, int32([0 1 2; 3 4 5])));
        assert(isequal(size(s.none), [0 0])); assert(isequal(size(s.inner.big), [2 3 4]));
        assert(s.inner.big(2, 3, 1) == 20); assert(s.inner.big(1, 1, 4) == 3); assert(x == 1.5);""",
        tmp_path,
    )


@needs_octave
def test_octave_reads_numbers_of_version_7_3(tmp_path: Path) -> None:
    write_mat(tmp_path / "a.mat", VALUES, version="7.3")
    octave(
        """warning('off', 'all'); load('a.mat');
        assert(strcmp(char(s.plain), 'abc')); assert(s.flag == 1); assert(isequal(s.mask, [1 0; 1 1; 0 1]));
        assert(isequal(size(s.inner.big), [2 3 4])); assert(s.inner.big(2, 3, 1) == 20);
        assert(isa(s.whole, 'int32')); assert(x == 1.5);""",
        tmp_path,
    )


@needs_octave
def test_extracts_output_in_octave(tmp_path: Path) -> None:
    cells = many_cells(6)
    export_cells(cells, tmp_path / "a.mat", "extract")
    octave(
        "warning('off', 'all'); load('a.mat'); images = output.spatial_weights; traces = output.temporal_weights;\n"
        "save('-v6', 'a.out', 'images', 'traces');",
        tmp_path,
    )
    with (tmp_path / "a.out").open("rb") as stream:
        seen = scipy.io.loadmat(stream)
    np.testing.assert_array_equal(seen["images"], cells.images().transpose(1, 2, 0))
    np.testing.assert_array_equal(seen["traces"], cells.dff.T)


def test_scipy_reads_version_5_and_refuses_7_3(tmp_path: Path) -> None:
    write_mat(tmp_path / "a.mat", VALUES, version="5")
    found = scipy.io.loadmat(tmp_path / "a.mat", simplify_cells=True)
    assert found["s"]["text"] == NAME
    assert found["s"]["cells"][1] == "ab"
    np.testing.assert_array_equal(found["s"]["inner"]["big"], VALUES["s"]["inner"]["big"])  # type: ignore[index]
    assert scipy.io.whosmat(tmp_path / "a.mat") == [("s", (1, 1), "struct"), ("x", (1, 1), "double")]
    write_mat(tmp_path / "b.mat", VALUES, version="7.3")
    with pytest.raises(NotImplementedError, match="HDF"):
        scipy.io.loadmat(tmp_path / "b.mat")


def test_version_7_3_is_marked_as_matlab_marks_it(tmp_path: Path) -> None:
    """The header of 512 bytes, MATLAB's attributes, reversed axes, a chunk an image, filters and types it can read."""
    cells = many_cells(6)
    export_cells(cells, tmp_path / "a.mat", "ciatah", {"method": "PCAICA", "version": "7.3"})
    head = (tmp_path / "a.mat").read_bytes()[:521]
    assert head.startswith(b"MATLAB 7.3 MAT-file")
    assert head[124:128] == b"\x00\x02IM"
    assert head[512:521] == b"\x89HDF\r\n\x1a\n\x00"  # superblock 0: HDF5 1.6 and later
    with h5py.File(tmp_path / "a.mat") as file:
        output = file[ciatah_names("PCAICA").variable]
        assert output.attrs["MATLAB_class"] == b"struct"
        images = output["IcaFilters"]
        assert images.shape == (6, 31, 20)
        assert images.chunks == (1, 31, 20)
        assert images.attrs["MATLAB_class"] == b"single"
        filters = images.id.get_create_plist()
        assert [filters.get_filter(k)[0] for k in range(filters.get_nfilters())] == [h5py.h5z.FILTER_DEFLATE]
        np.testing.assert_array_equal(images[3].T, cells.images()[3])
        assert output["IcaTraces"].shape == (50, 6)
        text = output["imageSaveDimOrder"]
        assert (text.dtype, text.shape) == (np.uint16, (3, 1))
        assert (text.attrs["MATLAB_class"], text.attrs["MATLAB_int_decode"]) == (b"char", 2)
        accepted = output["gpucells/accepted"]
        assert (accepted.dtype, accepted.attrs["MATLAB_class"]) == (np.uint8, b"logical")
        assert accepted.attrs["MATLAB_int_decode"] == 1
        empty = output["gpucells/created"]
        assert (empty.attrs["MATLAB_empty"], empty.attrs["MATLAB_class"]) == (1, b"char")
        assert (empty.dtype, empty[...].tolist()) == (np.uint64, [0, 0])


def test_roiextractors_reads_extracts_file(tmp_path: Path) -> None:
    extractors = pytest.importorskip("roiextractors", reason="roiextractors is not installed")
    for f0, kind in ((None, "dff"), (np.full(6, np.nan, np.float32), "raw")):
        cells = many_cells(
            6, method="extract", settings={"extract": {"trace_output_option": "nonneg", "sizes": [1, 2]}}
        )
        cells = cells if f0 is None else many_cells(6, f0=f0, method="extract")
        export_cells(cells, tmp_path / f"{kind}.mat", "extract")
        found = extractors.ExtractSegmentationExtractor(tmp_path / f"{kind}.mat", sampling_frequency=12.5)
        assert found.get_frame_shape() == cells.image_shape
        np.testing.assert_array_equal(found.get_roi_image_masks(), cells.images().transpose(1, 2, 0))
        np.testing.assert_array_equal(found.get_traces(name=kind), (cells.dff if f0 is None else cells.traces).T)
        np.testing.assert_array_equal(found.get_images_dict()["f_per_pixel"], cells.summary_images["mean"])
        if f0 is None:
            assert found.config["trace_output_option"] == "nonneg"


@pytest.mark.parametrize("reader", ["mat73", "pymatreader", "hdf5storage"])
def test_independent_readers_of_version_7_3(tmp_path: Path, reader: str) -> None:
    module: Any = pytest.importorskip(reader, reason=f"{reader} is not installed")
    cells = many_cells(6)
    path = tmp_path / "a.mat"
    export_cells(cells, path, "ciatah", {"method": "CELLMax", "version": "7.3"})
    write_mat(tmp_path / "b.mat", VALUES, version="7.3")
    if reader == "hdf5storage":
        held, values = (module.loadmat(str(one)) for one in (path, tmp_path / "b.mat"))
        output, s = held["cellmaxAnalysisOutput"][0], values["s"][0]
        text, mask, cell = s["text"].item(), s["mask"], s["cells"][0, 1].item()
    else:
        read = module.loadmat if reader == "mat73" else module.read_mat
        output, s = read(str(path))["cellmaxAnalysisOutput"], read(str(tmp_path / "b.mat"))["s"]
        text, mask, cell = s["text"], s["mask"], s["cells"][1]
    np.testing.assert_array_equal(output["cellImages"], cells.images().transpose(1, 2, 0))
    np.testing.assert_array_equal(output["cellTraces"], cells.dff)
    assert text == NAME
    assert cell == "ab"
    np.testing.assert_array_equal(mask, VALUES["s"]["mask"])  # type: ignore[index]
