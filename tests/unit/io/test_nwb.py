"""NWB 2 files, written by pynwb."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

import gpucells
from gpucells.errors import InputError

pynwb = pytest.importorskip("pynwb", reason="needs the extra gpucells[interop]")
from pynwb.ophys import OnePhotonSeries, OpticalChannel, TwoPhotonSeries  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")


def new_file() -> tuple[Any, Any]:
    """Return an empty session and an imaging plane with a grid spacing of 1.5 um."""
    session = pynwb.NWBFile("a session", "id", datetime(2020, 1, 1, tzinfo=UTC))
    device = session.create_device("microscope")
    channel = OpticalChannel(name="green", description="green", emission_lambda=520.0)
    plane = session.create_imaging_plane(
        name="plane", optical_channel=channel, description="", device=device, excitation_lambda=920.0,
        indicator="GCaMP6f", location="CA1", grid_spacing=[1.5e-6, 1.5e-6], grid_spacing_unit="meters",
    )  # fmt: skip
    return session, plane


def save(path: Path, session: Any) -> None:
    """Write the session."""
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(session)


def test_two_photon_series(tmp_path: Path, real_frames: NDArray[Any], require_equal: Callable[..., None]) -> None:
    """Stored as (frame, x, y); rate, grid spacing, conversion and offset count."""
    session, plane = new_file()
    stored = real_frames.transpose(0, 2, 1)
    session.add_acquisition(
        TwoPhotonSeries(
            name="two", data=stored, imaging_plane=plane, rate=30.0, unit="n.a.", conversion=0.5, offset=2.0
        )
    )
    path = tmp_path / "m.nwb"
    save(path, session)
    with gpucells.open_movie(path) as movie:
        assert movie.frame_rate_hz == 30.0
        assert movie.pixel_size_um == pytest.approx(1.5)
        assert (movie.source, movie.files) == (str(path), (str(path),))
        require_equal(movie, real_frames.astype(np.float32) * 0.5 + 2)
    with gpucells.open_movie(path, axes="TYX", frame_rate_hz=15) as movie:
        assert (movie.shape, movie.frame_rate_hz) == ((60, 40, 30), 15.0)


def test_one_photon_series_with_time_stamps(
    tmp_path: Path, frames: NDArray[Any], require_equal: Callable[..., None]
) -> None:
    """The rate is that of the median step between time stamps."""
    session, plane = new_file()
    stamps = np.arange(12) / 20.0 + 3.0
    stamps[7:] += 0.4  # a pause
    session.add_acquisition(
        OnePhotonSeries(name="one", data=frames.transpose(0, 2, 1), imaging_plane=plane, timestamps=stamps, unit="n.a.")
    )
    save(tmp_path / "m.nwb", session)
    with gpucells.open_movie(tmp_path / "m.nwb") as movie:
        assert movie.frame_rate_hz == pytest.approx(20.0)
        require_equal(movie, frames)


def test_several_series_are_listed(tmp_path: Path, frames: NDArray[Any], require_equal: Callable[..., None]) -> None:
    """By their path or its last part one is chosen; a file without any says so."""
    session, plane = new_file()
    for name, data in (("raw", frames), ("other", frames[::-1])):
        series = TwoPhotonSeries(name=name, data=data.transpose(0, 2, 1), imaging_plane=plane, rate=9.0, unit="n.a.")
        session.add_acquisition(series)
    path = tmp_path / "m.nwb"
    save(path, session)
    with pytest.raises(InputError, match="2 imaging series") as caught:
        gpucells.open_movie(path)
    assert "dataset='acquisition/raw' (TwoPhotonSeries)" in caught.value.hint
    for dataset in ("raw", "/acquisition/raw", "acquisition/raw/data"):
        with gpucells.open_movie(path, dataset=dataset) as movie:
            require_equal(movie, frames)
    with pytest.raises(InputError, match="no imaging series 'none'"):
        gpucells.open_movie(path, dataset="none")
    save(path, new_file()[0])
    with pytest.raises(InputError, match="no imaging series"):
        gpucells.open_movie(path)


@pytest.mark.parametrize("link", ["soft", "external", "data"])
def test_a_series_by_link(tmp_path: Path, frames: NDArray[Any], link: str, require_equal: Callable[..., None]) -> None:
    """A link beside the series is not another series; a series, or its data, may lie in another file."""
    session, plane = new_file()
    session.add_acquisition(
        TwoPhotonSeries(name="raw", data=frames.transpose(0, 2, 1), imaging_plane=plane, rate=9.0, unit="n.a.")
    )
    first, second = tmp_path / "m.nwb", tmp_path / "second.nwb"
    save(first, session)
    if link == "soft":
        with h5py.File(first, "r+") as file:
            file.create_group("processing/ophys")["same"] = h5py.SoftLink("/acquisition/raw")
        second = first
    else:
        save(second, new_file()[0])
        with h5py.File(second, "r+") as file:
            if link == "external":
                file["acquisition/linked"] = h5py.ExternalLink("m.nwb", "/acquisition/raw")
            else:
                group = file.create_group("acquisition/linked")
                group.attrs["neurodata_type"] = "TwoPhotonSeries"
                group["data"] = h5py.ExternalLink("m.nwb", "/acquisition/raw/data")
    with gpucells.open_movie(second) as movie:
        require_equal(movie, frames)


def test_a_series_in_movie_files(tmp_path: Path, frames: NDArray[Any], require_equal: Callable[..., None]) -> None:
    """Files that a series names are found beside the NWB file, and its time stamps count."""
    tifffile = pytest.importorskip("tifffile")
    for i in (1, 2):
        tifffile.imwrite(tmp_path / f"part{i}.tif", frames[6 * i - 6 : 6 * i], photometric="minisblack")
    session, plane = new_file()
    session.add_acquisition(
        OnePhotonSeries(
            name="one",
            external_file=["part1.tif", "part2.tif"],
            starting_frame=[0, 6],
            format="external",
            imaging_plane=plane,
            timestamps=np.arange(12) / 11.0,
            unit="n.a.",
        )
    )
    path = tmp_path / "m.nwb"
    save(path, session)
    with gpucells.open_movie(path) as movie:
        assert movie.frame_rate_hz == pytest.approx(11.0)
        assert [Path(f).name for f in movie.files] == ["m.nwb", "part1.tif", "part2.tif"]
        require_equal(movie, frames)
    with h5py.File(path, "r+") as file:
        file["acquisition/one/external_file"][...] = ["https://example.org/a.avi", "b.avi"]
    with pytest.raises(InputError, match="on a network"):
        gpucells.open_movie(path)
