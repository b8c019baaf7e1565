"""CellSort itself under GNU Octave on the movies of ``benchmarks/drop_ins.py``, beside our drop-in, by one scorer.

``python benchmarks/peers/cellsort_octave.py CELLSORT [--image FOLDER ...] [--keep]``: CELLSORT is a checkout of
mukamel-lab/CellSort, ``--image`` the folders of Octave's image package if ``pkg load`` does not find it. CellSort's
files run as they are. What MATLAB has and Octave has not is put beside them: ``imfilter`` of three-dimensional arrays,
``struct2array``, ``eigs`` with a word for a flag; and ``imread`` takes frames from memory, since Octave reads TIFF
page by page in a tenth of a second each. The two run in turn, one thread each. ``--keep`` puts the figures into
``peers_reported.json``, from where ``drop_ins.py`` takes them to the page.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import tifffile

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import drop_ins  # noqa: E402

MU = 0.5
MISSING = {
    "imread": """function f = imread(name, k)
  persistent of movie
  if ! strcmp(of, name)
    movie = load([name '.mat']).movie; of = name;
  end
  f = movie(:, :, k);
end""",
    "struct2array": """function a = struct2array(s)
  a = squeeze(struct2cell(s)); a = [a{:}];
end""",
    "eigs": """function [v, d] = eigs(a, k, which, opts)
  persistent own
  if isempty(own)
    here = fileparts(mfilename('fullpath')); rmpath(here); own = @eigs; addpath(here);
  end
  [v, d] = own(a, k, which, struct('disp', 0, 'issym', true));
end""",
    "imfilter": """function b = imfilter(a, h, varargin)
  assert(isequal(varargin, {'replicate', 'same'}));
  r = (size(h) - 1) / 2; n = size(a);
  rows = min(max((1 - r(1)):(n(1) + r(1)), 1), n(1)); columns = min(max((1 - r(2)):(n(2) + r(2)), 1), n(2));
  b = reshape(convn(a(rows, columns, :), rot90(h, 2), 'valid'), n);
end""",
}
SCRIPT = """warning('off', 'all'); {paths}
frame = imread('{movie}', 7); addpath('{missing}'); assert(isequal(frame, imread('{movie}', 7)));
randn('state', 1); rand('state', 1); wall = tic; start = cputime;
[mixedsig, mixedfilters, CovEvals, covtrace, movm, movtm] = CellsortPCA('{movie}', [], 120, [], '{out}/', []);
[ica_sig, ica_filters, ica_A, numiter] = CellsortICA(mixedsig, mixedfilters, CovEvals, [], {mu}, 80, [], 1e-6, 500);
[ica_segments, segmentlabel, segcentroid] = CellsortSegmentation(ica_filters, 2, 2, 20, 0);
cell_sig = CellsortApplyFilter('{movie}', ica_segments, [], movm, 1);
seconds = [toc(wall) cputime - start];
[spmat, spt, spc] = CellsortFindspikes(ica_sig, 4, 0.1, 0.8, 1); spmat = double(full(spmat));
save('-v7', '{out}/found.mat', 'ica_sig', 'ica_filters', 'numiter', 'ica_segments', 'segcentroid', 'movm', ...
     'cell_sig', 'spmat', 'seconds');
"""


def run_original(source: Path, image: list[Path], movie: Any, folder: Path) -> dict[str, Any]:
    """Return CellSort's own outputs for a movie ``(frames, height, width)`` of uint16."""
    missing, out = folder / "missing", folder / "out"
    for made in (missing, out):
        made.mkdir()
    for name, text in MISSING.items():
        (missing / f"{name}.m").write_text(text)
    tifffile.imwrite(folder / "movie.tif", movie, photometric="minisblack")
    scipy.io.savemat(folder / "movie.tif.mat", {"movie": np.moveaxis(movie, 0, 2)})
    paths = "".join(f"addpath('{path}');" for path in [*image, source]) + ("" if image else "pkg load image;")
    script = folder / "script.m"
    script.write_text(SCRIPT.format(paths=paths, missing=missing, movie=folder / "movie.tif", out=out, mu=MU))
    one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    ran = subprocess.run(
        ["octave", "--no-gui", "-q", script], env=os.environ | one, cwd=folder, capture_output=True, text=True,
        errors="replace", check=False,
    )  # fmt: skip
    if not (out / "found.mat").exists():
        raise SystemExit(f"Octave: {ran.stderr}")
    return scipy.io.loadmat(out / "found.mat")


def source_of(segments: Any, filters: Any) -> Any:
    """Return the filter that each segment is of, which CellSort leaves empty: a segment is a part of its filter."""
    flat = filters.reshape(len(filters), -1)
    unit = flat / np.std(flat)
    lit = segments.reshape(len(segments), -1)
    return np.array([np.argmin(((unit[:, row != 0] - row[row != 0]) ** 2).sum(axis=1)) for row in lit], np.int64)


def compared(found: dict[str, Any], movie: Any) -> None:
    """Print what our functions give for the original's inputs of the same step."""
    from gpucells.compat import cellsort

    sums = cellsort.cellsort_apply_filter(movie, found["ica_segments"], [], found["movm"], 1)
    error = np.abs(sums - found["cell_sig"]).max() / np.abs(found["cell_sig"]).max()
    spikes = cellsort.cellsort_find_spikes(found["ica_sig"], 4, 0.1, 0.8, 1)[0].toarray()
    segments = cellsort.cellsort_segmentation(found["ica_filters"], 2, 2, 20)[0]
    wrong, all_spikes = int((spikes != found["spmat"]).sum()), int(found["spmat"].sum())
    print(f"  on the original's own inputs: sums differ by {error:.1e} of the largest, {wrong} of {all_spikes} spikes "
          f"differ, {len(segments)} segments for its {len(found['ica_segments'])}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="checkout of CellSort")
    parser.add_argument("--image", type=Path, nargs="*", default=[], help="folders of Octave's image package")
    parser.add_argument("--keep", action="store_true", help="put the figures into peers_reported.json")
    chosen = parser.parse_args()
    rows = []
    drop_ins.cellsort_row("warm-up", *drop_ins.cellsort_movie("two_photon"), MU)
    for preset in drop_ins.CELLSORT_MOVIES:
        movie, truth = drop_ins.cellsort_movie(preset)
        with tempfile.TemporaryDirectory() as folder:
            found = run_original(chosen.source.resolve(), chosen.image, movie, Path(folder))
        segments, signals = found["ica_segments"], found["ica_sig"]
        wall, cpu = found["seconds"].ravel()
        signals = signals[source_of(segments, found["ica_filters"])]
        rows.append(
            {"movie": f"{preset}, CellSort 1.41, mu {MU}", "s": round(wall, 1), "CPU s": round(cpu, 1),
             "rounds": int(found["numiter"].item()), "segments": len(segments)}
            | drop_ins.cellsort_scores(segments, signals, found["cell_sig"], truth)
        )  # fmt: skip
        print(drop_ins.table([rows[-1], drop_ins.cellsort_row(f"{preset}, mu {MU}", movie, truth, MU)]))
        compared(found, movie)
    if chosen.keep:
        path = HERE.parent / "peers_reported.json"
        kept = json.loads(path.read_text(encoding="utf-8"))
        text = path.read_text(encoding="utf-8")
        before = text[: text.index(' "cellsort"')] if "cellsort" in kept else text.rstrip()[:-1].rstrip() + ",\n"
        lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
        path.write_text(f'{before} "cellsort": [\n{lines}\n ]\n}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
