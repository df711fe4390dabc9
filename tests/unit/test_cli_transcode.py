"""isocenter transcode."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from typer.testing import CliRunner, Result

from command import ISOCENTER
from isocenter.cli import output
from isocenter.cli import transcode as module
from isocenter.cli.main import app
from isocenter.pixels.image import Image
from isocenter.wire.part10 import file_meta, read_header
from measured import measured
from pixel_objects import EXPLICIT, data_set

HTJ2K, J2K_LOSSY = "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.91"


def transcode(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["transcode", *map(str, arguments)])


def source(name: str = "CT_small.dcm") -> Path:
    path = get_testdata_file(name, download=False)
    assert path is not None
    return Path(path)


def frame(path: Path) -> tuple[np.ndarray[Any, Any], str]:
    data = path.read_bytes()
    meta = read_header(data)
    return Image.of(data, meta.transfer_syntax, meta.data_set_offset).frame(1), meta.transfer_syntax


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files at two levels, one that is not DICOM, and a zip."""
    made = tmp_path / "in"
    (made / "deep").mkdir(parents=True)
    (made / "ct.dcm").write_bytes(source().read_bytes())
    (made / "deep" / "mr").write_bytes(source("MR_small.dcm").read_bytes())
    (made / "read.me").write_text("not DICOM")
    with zipfile.ZipFile(made / "more.zip", "w") as archive:
        archive.write(source(), "../../outside.dcm")
    return made


def test_a_folder_keeps_its_structure(folder: Path, tmp_path: Path) -> None:
    done = transcode(folder, "--to", "HTJ2KLossless", "-o", tmp_path / "out")
    assert 0 == done.exit_code, done.output
    written = sorted(path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert ["ct.dcm", "deep/mr", "more.zip/000001.dcm"] == [str(path) for path in written]
    for path, original in ((written[0], "CT_small.dcm"), (written[1], "MR_small.dcm"), (written[2], "CT_small.dcm")):
        pixels, syntax = frame(tmp_path / "out" / path)
        np.testing.assert_array_equal(frame(source(original))[0], pixels)
        assert syntax == HTJ2K
    assert "3 transcoded, 0 not, 1 not DICOM, left alone\n" == done.stdout
    assert not list((tmp_path / "out").rglob("*.part"))


def test_one_file_with_a_loss_is_a_new_object(tmp_path: Path) -> None:
    out = tmp_path / "one.dcm"
    done = transcode(source(), "--to", J2K_LOSSY, "-o", out, "--ratio", "8", "--json")
    assert 0 == done.exit_code, done.output
    ds, row = pydicom.dcmread(out), json.loads(done.stdout)
    assert (True, str(ds.SOPInstanceUID)) == (row["derived"], row["SOPInstanceUID"])
    assert ds.SOPInstanceUID == ds.file_meta.MediaStorageSOPInstanceUID
    assert ds.SOPInstanceUID != pydicom.dcmread(source()).SOPInstanceUID
    assert ("01", J2K_LOSSY) == (ds.LossyImageCompression, ds.file_meta.TransferSyntaxUID)
    assert out.stat().st_size == row["bytes"]


def test_of_a_single_file_the_bar_counts_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int | None]] = []

    class Bar(output.Bar):
        def advance(self, by: int = 1) -> None:
            super().advance(by)
            seen.append((self.done, self.total))

    monkeypatch.setattr(output, "Bar", Bar)
    monkeypatch.setattr(module, "_EVERY", -1)  # after each frame
    path, frames = tmp_path / "many.dcm", 5
    header = file_meta("1.2.840.10008.5.1.4.1.1.7.2", "1.2.3", EXPLICIT)
    path.write_bytes(header + data_set(bytes(range(48)) * frames, rows=6, columns=8, frames=frames))
    done = transcode(path, "--to", "RLELossless", "-o", tmp_path / "one.dcm", "--json")
    assert 0 == done.exit_code, done.output
    assert 1 == len(done.stdout.splitlines())
    assert [(number, frames) for number in range(1, frames + 1)] == seen[:-1]


# A process by itself takes about 100 MB; what it maps of the source counts, 64 MiB at a time.
LEAST, MOST = 64 << 20, 200 << 20


def test_memory_does_not_grow_with_the_object(tmp_path: Path) -> None:
    """240 MiB of frames, encapsulated and back; `bench/transcode.py` does it with 4 GiB and a codec."""
    block = np.random.default_rng(7).integers(0, 256, 4 << 20, np.uint8).tobytes()
    frames = 480
    data = data_set(b"", rows=512, columns=512, allocated=16, stored=16, frames=frames)
    length = 512 * 512 * 2 * frames
    many = tmp_path / "many.dcm"
    with many.open("wb") as file:
        file.write(file_meta("1.2.840.10008.5.1.4.1.1.7.3", "1.2.3", EXPLICIT))
        file.write(data[:-12] + b"\xe0\x7f\x10\x00OW\0\0" + struct.pack("<I", length))
        for at in range(0, length, len(block)):
            file.write(block[: length - at])
    assert MOST < length
    packed, native = tmp_path / "packed.dcm", tmp_path / "native.dcm"
    for one, syntax, made in (
        (many, "EncapsulatedUncompressedExplicitVRLittleEndian", packed),
        (packed, "ExplicitVRLittleEndian", native),
    ):
        assert LEAST < peak_of("transcode", one, "--to", syntax, "-o", made) < MOST
        one.unlink()
        if one is packed:
            assert length < native.stat().st_size < length + 4096


def peak_of(*arguments: str | Path) -> int:
    """The most memory that the command, or a process of its, has had; in bytes."""
    used = measured([*ISOCENTER, *arguments])
    assert used.returncode == 0
    return used.peak


def test_in_place_with_force(tmp_path: Path) -> None:
    path = tmp_path / "ct.dcm"
    path.write_bytes(source().read_bytes())
    refused = transcode(path, "--to", "RLELossless", "-o", path)
    assert 1 == refused.exit_code
    assert "--force" in refused.stderr
    assert 0 == transcode(path, "--to", "RLELossless", "-o", path, "--force").exit_code
    np.testing.assert_array_equal(frame(source())[0], frame(path)[0])


def test_what_fails_is_named_and_the_rest_is_done(folder: Path, tmp_path: Path) -> None:
    (folder / "plan.dcm").write_bytes(source("rtplan.dcm").read_bytes())
    (folder / "cut.dcm").write_bytes(source().read_bytes()[:-20000])
    done = transcode(folder, "--to", "JPEGLSLossless", "-o", tmp_path / "out", "--json", "--jobs", "2")
    assert 1 == done.exit_code
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    failed = {Path(row["file"]).name: row["error"] for row in rows if "error" in row}
    assert {"plan.dcm", "cut.dcm"} == set(failed)
    assert "no pixel data to compress" in failed["plan.dcm"]
    assert 3 == sum("out" in row for row in rows)
    assert not (tmp_path / "out" / "cut.dcm").exists()


def test_a_process_that_crashes_costs_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a codec may: the others are done, by another process if none is left."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.dcm").write_bytes(source().read_bytes())
    real = module._transcode

    def crashing(candidate: Any, *rest: Any) -> dict[str, Any]:
        if candidate.path.name in ("1.dcm", "3.dcm"):
            faulthandler.disable()  # pytest's, which would print the stack of a child that is meant to die
            os.kill(os.getpid(), signal.SIGSEGV)
        return real(candidate, *rest)

    monkeypatch.setattr(module, "_transcode", crashing)
    done = transcode(folder, "--to", "RLELossless", "-o", tmp_path / "out", "--jobs", "2")
    assert 1 == done.exit_code
    assert "4 transcoded, 2 not\n" == done.stdout
    assert 2 == done.stderr.count("killed by signal 11")
    assert ["0.dcm", "2.dcm", "4.dcm", "5.dcm"] == sorted(path.name for path in (tmp_path / "out").glob("*.dcm"))


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--to", "JPEG2000Losless"], "perhaps JPEG2000Lossless"),
        (["--to", "MPEG2MPML"], "cannot be written"),
        (["--to", "JPEGSpectralSelectionNonHierarchical68"], "retired"),
        (["--to", "RLELossless", "--ratio", "3"], "loses nothing"),
        (["--to", "DeflatedExplicitVRLittleEndian", "--ratio", "3"], "loses nothing"),
        (["--to", "JPEG2000", "--quality", "3"], "psnr or ratio"),
        (["--to", "JPEG2000", "--psnr", "50", "--ratio", "3"], "enough"),
    ],
)
def test_what_cannot_be_asked_for(arguments: list[str], why: str, tmp_path: Path) -> None:
    done = transcode(source(), "-o", tmp_path / "x.dcm", *arguments)
    assert 2 == done.exit_code
    assert why in done.stderr
    assert not list(tmp_path.iterdir())
