"""isocenter import into a data folder, and isocenter check."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.data import get_testdata_file
from typer.testing import CliRunner, Result

import isocenter
from isocenter.cli.main import app


def cli(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def put(data: Path, *paths: str | Path) -> tuple[int, dict[str, Any]]:
    """Exit code and summary."""
    done = cli("import", "--json", "--data", data, *paths)
    return done.exit_code, json.loads(done.stdout)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Five small objects of one series."""
    folder = tmp_path / "files" / "deeper"
    folder.mkdir(parents=True)
    slices = isocenter.create(
        np.arange(5 * 4 * 6, dtype=np.int16).reshape(5, 4, 6), modality="CT", pixel_spacing=(1, 1), slice_thickness=1
    )
    assert isinstance(slices, list)
    paths = [folder / f"{n}" for n in range(5)]
    for path, ds in zip(paths, slices, strict=True):
        ds.save_as(path, enforce_file_format=True)
    return paths


def zipped(target: Path, files: list[Path], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(target, "w", method) as archive:
        for path in files:
            archive.write(path, f"../../{path.name}")  # a hostile name is only a label
    return target


def test_a_folder_is_stored_once(tmp_path: Path, files: list[Path]) -> None:
    (tmp_path / "files" / "readme.txt").write_text("no DICOM")
    code, summary = put(tmp_path / "data", tmp_path / "files")
    assert (code, summary["stored"], summary["not_dicom"], summary["refused"]) == (0, 5, 1, 0)
    assert summary["bytes"] == sum(path.stat().st_size for path in files)
    code, summary = put(tmp_path / "data", tmp_path / "files")
    assert (code, summary["stored"], summary["already_there"]) == (0, 0, 5)


def test_zips_are_looked_into_and_nothing_is_unpacked(tmp_path: Path, files: list[Path]) -> None:
    zipped(tmp_path / "study.bin", [*files, Path(__file__)])
    before = sorted(tmp_path.rglob("*"))
    code, summary = put(tmp_path / "data", tmp_path / "study.bin")
    assert (code, summary["stored"], summary["not_dicom"]) == (0, 5, 1)
    assert [path for path in before if not path.exists()] == []
    assert sorted(path for path in tmp_path.rglob("*") if tmp_path / "data" not in [path, *path.parents]) == before


def test_many_members_at_a_time(tmp_path: Path, files: list[Path]) -> None:
    """More than are in flight, and several zips: each stays open until its last member was read."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(4):
        slices = isocenter.create(np.zeros((60, 2, 2), "i2"), modality="CT", pixel_spacing=(1, 1), slice_thickness=1)
        with zipfile.ZipFile(folder / f"{number}.zip", "w") as archive:
            for ds in slices:
                buffer = io.BytesIO()
                ds.save_as(buffer, enforce_file_format=True)
                archive.writestr(f"{ds.InstanceNumber}", buffer.getvalue())
    code, summary = put(tmp_path / "data", folder)
    assert (code, summary["stored"], summary["refused"]) == (0, 240, 0), summary


def test_refusals_have_reasons_and_do_not_stop_the_rest(tmp_path: Path, files: list[Path]) -> None:
    cut = tmp_path / "files" / "cut.dcm"
    cut.write_bytes(files[0].read_bytes()[:-30])
    damaged = zipped(tmp_path / "files" / "damaged.zip", [files[1]], zipfile.ZIP_STORED)
    content = bytearray(damaged.read_bytes())
    content[600] ^= 0xFF  # within the member: its checksum no longer holds
    damaged.write_bytes(content)
    done = cli("import", "--data", tmp_path / "data", tmp_path / "files")
    assert done.exit_code == 1
    assert done.stdout.startswith("5 stored, 0 already there, 2 refused")
    assert str(cut) in done.stderr
    assert f"{damaged}:../../1" in done.stderr
    assert "reaches beyond the end (1)" in done.stderr


def test_other_bytes_under_the_same_uid_are_told(tmp_path: Path, files: list[Path]) -> None:
    put(tmp_path / "data", files[0])
    other = tmp_path / "other"
    content = files[0].read_bytes()
    other.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    code, summary = put(tmp_path / "data", other)
    assert (code, summary["kept_first"], summary["stored"]) == (0, 1, 0)


def test_what_was_named_itself_is_refused_if_it_is_no_dicom(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    code, summary = put(tmp_path / "data", tmp_path / "a.txt")
    assert (code, summary["refused"], summary["not_dicom"]) == (1, 1, 0)


def test_links_pipes_and_unreadable_files_do_not_hold_it_up(tmp_path: Path, files: list[Path]) -> None:
    (tmp_path / "files" / "loop").symlink_to(tmp_path / "files")
    (tmp_path / "files" / "dangling").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "files" / "pipe")
    code, summary = put(tmp_path / "data", tmp_path / "files")
    assert (summary["stored"], summary["refused"]) == (5, 1)
    assert summary["refusals"][0]["files"] == [str(tmp_path / "files" / "dangling")]
    assert code == 1


def test_a_dicomdir_is_no_object(tmp_path: Path) -> None:
    folder = Path(str(get_testdata_file("CT_small.dcm"))).parent / "dicomdirtests"
    (tmp_path / "disc").mkdir()
    shutil.copy(folder / "DICOMDIR", tmp_path / "disc")
    code, summary = put(tmp_path / "data", tmp_path / "disc")
    assert (code, summary["not_dicom"], summary["stored"]) == (0, 1, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "nowhere: No such file"),
        ((".", "--to", "PACS@127.0.0.1:104"), "`isocenter store` sends by DIMSE"),
        ((".", "--to", "http://127.0.0.1:1/x", "--data", "d"), "only one place"),
        ((".", "--to", "ftp://127.0.0.1/x"), "it would be understood"),
        ((".", "--to", "http://127.0.0.1:x/"), "the port is not one"),
    ],
)
def test_usage(arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = cli("import", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_said_so(tmp_path: Path, files: list[Path]) -> None:
    holder = (
        "import asyncio, sys; from isocenter.archive.archive import Archive\n"
        "async def main():\n"
        "    async with await Archive.open(sys.argv[1]): print('open', flush=True); sys.stdin.read()\n"
        "asyncio.run(main())"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(tmp_path / "data")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        done = cli("import", "--data", tmp_path / "data", files[0])
        assert process.stdin is not None
        process.stdin.close()
    assert done.exit_code == 4
    assert "in use" in done.stderr


# --- check


def blobs(data: Path) -> list[Path]:
    return sorted(path for path in (data / "objects").rglob("*") if path.is_file())


def test_check_is_silent_about_what_is_whole_and_loud_about_what_is_not(tmp_path: Path, files: list[Path]) -> None:
    data = tmp_path / "data"
    put(data, tmp_path / "files")
    assert cli("check", "--data", data).stdout.startswith("5 files checked")
    flipped, cut, gone, *_ = blobs(data)
    content = bytearray(flipped.read_bytes())
    content[-1] ^= 1
    for path in (flipped, cut):
        path.chmod(0o600)
    flipped.write_bytes(content)
    cut.write_bytes(cut.read_bytes()[:-2])
    gone.unlink()
    done = cli("check", "--data", data, "--json")
    report = json.loads(done.stdout)
    assert done.exit_code == 1
    assert report["sound"] is False
    assert sorted(finding["kind"] for finding in report["findings"]) == ["digest", "missing", "size"]
    text = cli("check", "--data", data)
    assert "3 not as they should be" in text.stdout
    assert text.stderr.count("instance ") == 3


def test_the_index_is_made_anew_from_the_files(tmp_path: Path, files: list[Path]) -> None:
    data = tmp_path / "data"
    put(data, tmp_path / "files")
    for path in data.glob("index*"):
        path.unlink()
    lost = cli("check", "--data", data)
    assert (lost.exit_code, "--rebuild" in lost.stderr) == (4, True)
    assert cli("check", "--data", data, "--rebuild").stdout.startswith("5 files indexed anew")
    assert cli("check", "--data", data).exit_code == 0
    assert put(data, tmp_path / "files")[1]["already_there"] == 5


def test_forwarding_rules_apply(tmp_path: Path) -> None:
    """The next server on the folder sends."""
    from isocenter.index.sql import jobs_beside

    config = tmp_path / "isocenter.toml"
    config.write_text(
        '[[peer]]\nname = "there"\naet = "THERE"\nhost = "127.0.0.1"\nport = 104\nnotify = true\n'
        '[[forward]]\nto = "there"\nwhen = { origin = "import", Modality = "CT" }\n'
    )
    arguments = ["import", str(get_testdata_file("CT_small.dcm")), str(get_testdata_file("MR_small.dcm"))]
    done = CliRunner().invoke(app, [*arguments, "--data", str(tmp_path / "data"), "--config", str(config)])
    assert 0 == done.exit_code, done.output
    with jobs_beside(tmp_path / "data" / "index.sqlite") as jobs:
        assert [("forward", 1), ("notify", 1), ("notify", 1)] == sorted((job.kind, job.total) for job in jobs.listed())
