"""isocenter create."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom import dcmread
from typer.testing import CliRunner, Result

from isocenter.cli.main import app

CT = ("--modality", "CT", "--spacing", "0.9,0.8", "--slice-thickness", "2.5")


def create(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["create", *map(str, arguments)])


def array_file(folder: Path, array: Any, name: str = "array.npy") -> Path:
    np.save(folder / name, array)
    return folder / name


def picture(folder: Path, array: np.ndarray[Any, Any], name: str = "picture.png") -> Path:
    (folder / name).write_bytes(imagecodecs.png_encode(array))
    return folder / name


def test_a_volume_becomes_a_folder_of_slices(tmp_path: Path) -> None:
    volume = np.arange(12 * 4 * 6, dtype=np.int16).reshape(12, 4, 6)
    out = tmp_path / "out"
    done = create(array_file(tmp_path, volume), "-o", out, *CT, "--patient-name", "Doe^Jane", "--position", "1,2,3")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [str(out / f"{n:02}.dcm") for n in range(1, 13)]
    assert "12 x CT Image Storage" in done.stderr
    ds = dcmread(out / "03.dcm")
    assert np.array_equal(volume[2], ds.pixel_array)
    assert list(ds.ImagePositionPatient) == [1, 2, 8]


def test_a_picture_becomes_one_file(tmp_path: Path) -> None:
    rgb = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    done = create(picture(tmp_path, rgb), "-o", tmp_path / "one.dcm", "--json")
    ds = dcmread(tmp_path / "one.dcm")
    assert json.loads(done.stdout) == [{"file": str(tmp_path / "one.dcm"), "SOPInstanceUID": ds.SOPInstanceUID}]
    assert np.array_equal(rgb, ds.pixel_array)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.full((4, 5), 200, np.uint8), (4, 5)),
        (np.full((4, 5), 60000, np.uint16), (4, 5)),
        (np.dstack([np.zeros((4, 5, 3), np.uint8), np.full((4, 5), 255, np.uint8)]), (4, 5, 3)),
    ],
    ids=["grey", "16 bit", "opaque RGBA"],
)
def test_kinds_of_pictures(array: np.ndarray[Any, Any], expected: tuple[int, ...], tmp_path: Path) -> None:
    assert create(picture(tmp_path, array), "-o", tmp_path / "one.dcm").exit_code == 0
    assert dcmread(tmp_path / "one.dcm").pixel_array.shape == expected


def test_pictures_of_one_size_become_a_cine(tmp_path: Path) -> None:
    frames = [picture(tmp_path, np.full((4, 5), n, np.uint8), f"{n}.png") for n in range(3)]
    assert create(*frames, "-o", tmp_path / "cine.dcm", "--frame-time", "40").exit_code == 0
    ds = dcmread(tmp_path / "cine.dcm")
    assert (ds.NumberOfFrames, ds.FrameTime) == (3, 40)
    assert [frame[0, 0] for frame in ds.pixel_array] == [0, 1, 2]


def test_a_raw_file(tmp_path: Path) -> None:
    values = np.arange(24, dtype=">u2").reshape(2, 3, 4)
    (tmp_path / "raw").write_bytes(values.tobytes())
    done = create(tmp_path / "raw", "--shape", "2x3x4", "--dtype", ">u2", "-o", tmp_path / "raw.dcm")
    assert done.exit_code == 0, done.output
    assert np.array_equal(values, dcmread(tmp_path / "raw.dcm").pixel_array)


def test_joining_a_study(tmp_path: Path) -> None:
    array = array_file(tmp_path, np.zeros((4, 4), np.uint8))
    create(array, "-o", tmp_path / "first.dcm", "--patient-id", "1")
    assert create(array, "-o", tmp_path / "second.dcm", "--join", tmp_path / "first.dcm").exit_code == 0
    first, second = dcmread(tmp_path / "first.dcm"), dcmread(tmp_path / "second.dcm")
    assert (first.StudyInstanceUID, "1") == (second.StudyInstanceUID, second.PatientID)
    assert first.SeriesInstanceUID != second.SeriesInstanceUID


def test_files_are_not_overwritten_unasked(tmp_path: Path) -> None:
    array = array_file(tmp_path, np.zeros((4, 4), np.uint8))
    out = tmp_path / "one.dcm"
    assert create(array, "-o", out).exit_code == 0
    before = out.read_bytes()
    refused = create(array, "-o", out)
    assert (refused.exit_code, out.read_bytes()) == (2, before)
    assert "exists already; --force overwrites" in refused.stderr
    assert create(array, "-o", out, "--force").exit_code == 0
    assert out.read_bytes() != before


BAD = {
    "absent": ((), "there is no such file"),
    "text.npy": ((), "not a .npy file"),
    "pickle.npy": ((), "not a .npy file"),
    "text.png": ((), "cannot be decoded"),
    "file.xyz": ((), "a raw file needs --shape and --dtype"),
    "raw": (("--shape", "2,2", "--dtype", "<i2"), "has 4 bytes; shape 2,2 of <i2 needs 8"),
    "half.raw": (("--shape", "2,2"), "--shape and --dtype belong together"),
    "nan.npy": ((), "pixels: 1 of 4 values are NaN"),
    "clear.png": ((), "transparent pixels"),
    "grey.npy": (("--modality", "CT"), "pixel_spacing: CT Image Storage needs"),
    "grey2.npy": (("--spacing", "1;2"), "--spacing 1;2: numbers with commas"),
    "grey3.npy": (("--join", "absent.dcm"), "--join absent.dcm"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_explained(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.startswith(("text", "file", "raw", "half")):
        path.write_bytes(b"text")
    elif name.startswith("pickle"):
        np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    elif name.startswith("nan"):
        np.save(path, np.array([[1, np.nan], [0, 0]]))
    elif name.startswith("clear"):
        path.write_bytes(imagecodecs.png_encode(np.zeros((3, 5, 4), np.uint8)))
    elif name.startswith("grey"):
        np.save(path, np.zeros((3, 3), np.int16))
    arguments, message = BAD[name]
    done = create(path, "-o", tmp_path / "out.dcm", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert not (tmp_path / "out.dcm").exists()
