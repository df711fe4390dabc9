"""`isocenter render`: pictures of files, as files, on stdout, in the terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from typer.testing import CliRunner, Result

from isocenter.cli.main import app
from isocenter.display.calibration import Characteristic, write_characteristic
from isocenter.iod.presentation_state import presentation_state

CT = str(get_testdata_file("CT_small.dcm"))
MULTI = str(get_testdata_file("rtdose.dcm"))  # 15 frames of 10 by 10
COLOUR = str(get_testdata_file("SC_rgb_rle.dcm"))
REPORT = str(get_testdata_file("test-SR.dcm"))


def render(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["render", *map(str, arguments)])


def picture(path: Path) -> np.ndarray:
    data = path.read_bytes()
    decode = imagecodecs.png_decode if data[:4] == b"\x89PNG" else imagecodecs.imread
    return np.asarray(decode(data))


def test_one_picture(tmp_path: Path) -> None:
    done = render(CT, "-o", tmp_path / "a.png")
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{tmp_path / 'a.png'}\n"
    assert picture(tmp_path / "a.png").shape == (128, 128)


@pytest.mark.parametrize(
    ("suffix", "magic"), [("jpg", b"\xff\xd8\xff"), ("webp", b"RIFF"), ("png", b"\x89PNG"), ("avif", b"\0\0\0")]
)
@pytest.mark.parametrize("source", [CT, COLOUR])
def test_formats(suffix: str, magic: bytes, source: str, tmp_path: Path) -> None:
    assert render(source, "-o", tmp_path / f"a.{suffix}", "--quality", 80).exit_code == 0
    assert (tmp_path / f"a.{suffix}").read_bytes().startswith(magic)


def test_frames_are_named_by_their_number(tmp_path: Path) -> None:
    done = render(MULTI, "--frames", "1,3-4", "-o", f"{tmp_path}/out/", "--json")
    assert done.exit_code == 0, done.output
    files = [json.loads(line)["file"] for line in done.stdout.splitlines()]
    assert files == [str(tmp_path / "out" / f"rtdose-000{n}.png") for n in (1, 3, 4)]
    assert json.loads(done.stdout.splitlines()[0])["width"] == 10


def test_a_folder_gives_a_picture_for_each_object_that_has_one(tmp_path: Path) -> None:
    source = tmp_path / "in"
    for folder, file in (("a", CT), ("b", CT), ("b", REPORT)):
        (source / folder).mkdir(parents=True, exist_ok=True)
        (source / folder / Path(file).name).write_bytes(Path(file).read_bytes())
    done = render(source, "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["CT_small-2.png", "CT_small.png"]
    assert "test-SR.dcm" in done.stderr


def test_a_folder_without_an_object_is_told(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    done = render(tmp_path, "-o", tmp_path / "out")
    assert (1, True) == (done.exit_code, "there is no DICOM file in it" in done.stderr)


def test_the_window_counts(tmp_path: Path) -> None:
    for name, window in (("wide", "0,4000"), ("narrow", "0,10")):
        assert render(CT, "-o", tmp_path / f"{name}.png", "--window", window).exit_code == 0
    wide, narrow = (picture(tmp_path / f"{name}.png") for name in ("wide", "narrow"))
    assert len(np.unique(narrow)) < len(np.unique(wide))
    assert render(CT, "-o", tmp_path / "turned.png", "--window", "0,4000", "--invert").exit_code == 0
    assert np.array_equal(picture(tmp_path / "turned.png"), 255 - wide)


def test_size_and_montage(tmp_path: Path) -> None:
    assert render(MULTI, "-o", tmp_path / "a.png", "--size", "32x100").exit_code == 0
    assert picture(tmp_path / "a.png").shape == (32, 32)
    done = render(MULTI, CT, "-o", tmp_path / "m.png", "--frames", "middle", "--montage", 2, "--size", "40x40")
    assert done.exit_code == 0, done.output
    assert picture(tmp_path / "m.png").shape == (40, 80)
    assert render(MULTI, "-o", tmp_path / "n.png", "--frames", "all", "--montage", 4, "--size", "40x40").exit_code == 0
    sheet = picture(tmp_path / "n.png")
    assert sheet.shape == (160, 160)
    assert sheet[120:, 120:].max() == 0, "the last cell stays empty"
    assert render(CT, COLOUR, "-o", tmp_path / "c.png", "--montage", 2).exit_code == 0
    assert picture(tmp_path / "c.png").shape[2] == 3


def test_a_display_is_driven_by_the_standard_function(tmp_path: Path) -> None:
    curve = Characteristic.of_gamma(0.4, 300.0)
    write_characteristic(tmp_path / "display.lut", curve)
    window = ("--window", "40,400")
    assert render(CT, "-o", tmp_path / "p.png", *window).exit_code == 0
    assert render(CT, "-o", tmp_path / "d.png", *window, "--display", tmp_path / "display.lut").exit_code == 0
    p_values, ddls = picture(tmp_path / "p.png"), picture(tmp_path / "d.png")
    assert np.abs(curve.table(256).astype(int)[p_values] - ddls).max() <= 1
    assert not np.array_equal(p_values, ddls)
    write_characteristic(tmp_path / "deep.lut", Characteristic(np.array([0, 1023]), np.array([0.4, 300.0])))
    done = render(CT, "-o", tmp_path / "e.png", "--display", tmp_path / "deep.lut")
    assert done.exit_code == 2
    assert "8 bits" in done.stderr


def test_stdout() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "isocenter.cli.main", "render", "-", "-o", "-", "--format", "jpg"],
        input=Path(CT).read_bytes(), capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.startswith(b"\xff\xd8\xff")


def test_in_the_terminal() -> None:
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "40", "LINES": "20", "COLORTERM": "truecolor"}
    drawn = b""
    command = [sys.executable, "-m", "isocenter.cli.main", "render", CT]
    with subprocess.Popen(command, stdout=slave, stderr=subprocess.DEVNULL, env=environment) as process:
        os.close(slave)
        while True:
            try:
                part = os.read(master, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            drawn += part
    os.close(master)
    assert process.returncode == 0
    text = drawn.decode()
    assert text.count("\u2580") > 300
    assert "38;2;" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frames", "0"], "counted from 1"),
        (["--frames", "5-2"], "ascend"),
        (["--frames", "x"], "numbers and ranges"),
        (["--window", "40"], "two numbers"),
        (["--window", "40,0"], "above zero"),
        (["--function", "CUBIC"], "LINEAR_EXACT"),
        (["--size", "10"], "two numbers"),
        (["--size", "1.5x2"], "whole numbers"),
        (["--size", "0x5"], "16384"),
        (["--format", "bmp"], "webp"),
        (["--out", "a.bmp"], ".webp"),
        (["--frames", "all", "--out", "a.png"], "folder"),
        (["--frames", "all", "--out", "-"], "folder"),
        (["--display", "nowhere.lut"], "No such file"),
        (["--json"], "--out"),
        ([], "no terminal"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = render(CT, *([] if "--out" in arguments or len(arguments) < 2 else ["-o", "a.png"]), *arguments)
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"mine")
    assert render(CT, "-o", tmp_path / "a.png").exit_code == 2
    assert (tmp_path / "a.png").read_bytes() == b"mine"
    assert render(CT, "-o", tmp_path / "a.png", "--force").exit_code == 0
    assert picture(tmp_path / "a.png").shape == (128, 128)


@pytest.mark.parametrize("source", [REPORT, __file__])
def test_what_has_no_picture_says_so(source: str, tmp_path: Path) -> None:
    done = render(source, "-o", tmp_path / "a.png", "--frames", "1")
    assert done.exit_code == 1
    assert Path(source).name in done.stderr
    assert not (tmp_path / "a.png").exists()


def test_a_presentation_state_is_applied_to_the_images_it_is_made_for(tmp_path: Path) -> None:
    state = presentation_state(pydicom.dcmread(CT), window=(40, 400), rotation=90, area=((1, 1), (100, 50)))
    state.save_as(tmp_path / "state.dcm", enforce_file_format=True)
    done = render(CT, MULTI, tmp_path, "--state", tmp_path / "state.dcm", "-o", f"{tmp_path}/out/")
    assert done.exit_code == 0, done.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["CT_small.png"]
    assert picture(tmp_path / "out" / "CT_small.png").shape == (100, 50)
    # What is asked for besides comes on top of it.
    again = render(CT, "--state", tmp_path / "state.dcm", "--invert", "--size", "20x20", "-o", tmp_path / "b.png")
    assert again.exit_code == 0, again.output
    assert picture(tmp_path / "b.png").shape == (20, 10)


def test_states_that_cannot_be_applied(tmp_path: Path) -> None:
    state = presentation_state(pydicom.dcmread(CT))
    state.save_as(tmp_path / "state.dcm", enforce_file_format=True)
    done = render(MULTI, "--state", tmp_path / "state.dcm", "-o", tmp_path / "a.png")
    assert done.exit_code == 2
    assert "made for" in done.output
    assert render(CT, "--state", CT, "-o", tmp_path / "a.png").exit_code == 2


def test_square_and_stored_pixels(tmp_path: Path) -> None:
    flat = pydicom.dcmread(CT)
    flat.PixelSpacing = [2, 1]
    flat.save_as(tmp_path / "flat.dcm")
    assert render(tmp_path / "flat.dcm", "-o", tmp_path / "a.png").exit_code == 0
    assert picture(tmp_path / "a.png").shape == (256, 128)
    assert render(tmp_path / "flat.dcm", "-o", tmp_path / "b.png", "--stored-pixels").exit_code == 0
    assert picture(tmp_path / "b.png").shape == (128, 128)


def test_overlays_and_what_is_wrong_with_them(tmp_path: Path) -> None:
    ds = pydicom.dcmread(CT)
    for number, vr, value in (
        (0x10, "US", 128), (0x11, "US", 128), (0x40, "CS", "G"), (0x50, "SS", [1, 1]), (0x100, "US", 1),
        (0x102, "US", 0), (0x3000, "OW", b"\xff" * 2048),
    ):  # fmt: skip
        ds.add_new((0x6000, number), vr, value)
    ds.save_as(tmp_path / "over.dcm")
    assert render(tmp_path / "over.dcm", "-o", tmp_path / "a.png").exit_code == 0
    assert (picture(tmp_path / "a.png") == 255).all()
    assert render(tmp_path / "over.dcm", "-o", tmp_path / "b.png", "--no-overlays").exit_code == 0
    assert picture(tmp_path / "b.png").min() < 255
    ds[0x6000, 0x3000].value = b"\xff" * 100
    ds.save_as(tmp_path / "cut.dcm")
    done = render(tmp_path / "cut.dcm", "-o", tmp_path / "c.png")
    assert done.exit_code == 0
    assert "an overlay is left out" in done.stderr


def test_sixteen_bits(tmp_path: Path) -> None:
    assert render(CT, "-o", tmp_path / "a.png", "--depth", 16, "--window", "200,2000").exit_code == 0
    assert render(CT, "-o", tmp_path / "b.png", "--window", "200,2000").exit_code == 0
    fine, coarse = picture(tmp_path / "a.png"), picture(tmp_path / "b.png")
    assert fine.dtype == np.uint16
    assert len(np.unique(fine)) > 2 * len(np.unique(coarse))
    assert np.abs(fine / 257.0 - coarse).max() <= 0.51
    half = render(CT, "-o", tmp_path / "half.png", "--depth", 16, "--size", "64x64")
    assert half.exit_code == 0
    assert picture(tmp_path / "half.png").max() > 255
    assert render(CT, "-o", tmp_path / "a.jpg", "--depth", 16).exit_code == 2
    assert render(CT, "-o", tmp_path / "c.png", "--depth", 12).exit_code == 2
    assert render(COLOUR, "-o", tmp_path / "colour.png", "--depth", 16).exit_code == 0
    assert picture(tmp_path / "colour.png").dtype == np.uint8
