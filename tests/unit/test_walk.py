"""Files, folders and zips as sources of objects; what lies in a zip cannot reach out of it or swell without end."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from fault_objects import CT, EXPLICIT, data_set
from isocenter.archive.walk import walk
from isocenter.errors import DataSetError, LimitExceeded, UsageError
from isocenter.wire.limits import Limits
from isocenter.wire.part10 import file_meta


def dicom(number: int) -> bytes:
    uid = f"1.9.1.1.{number}"
    return file_meta(CT, uid, EXPLICIT) + data_set(uid, 500)


def labels(folder: Path, **how: bool) -> list[str]:
    return [candidate.label.removeprefix(f"{folder}/") for candidate in walk(folder, **how)]


def test_folders_are_walked_in_order(tmp_path: Path) -> None:
    for name in ("b/2", "b/1", "a", "b/c/3.dcm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(dicom(1))
    (tmp_path / "b/readme.txt").write_text("hello, this is no object\n" * 100)
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "DICOMDIR").write_bytes(file_meta("1.2.840.10008.1.3.10", "1.2.3", EXPLICIT) + data_set("1.2.3"))
    (tmp_path / "bare").write_bytes(data_set("1.9.1.1.1"))
    assert labels(tmp_path) == ["a", "bare", "b/1", "b/2", "b/c/3.dcm"]
    assert labels(tmp_path, everything=True) == [
        "DICOMDIR", "a", "bare", "empty", "b/1", "b/2", "b/readme.txt", "b/c/3.dcm",
    ]  # fmt: skip


def test_several_paths_and_a_missing_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(dicom(1))
    assert len(list(walk([tmp_path / "a", str(tmp_path)]))) == 2
    with pytest.raises(UsageError, match="absent"):
        walk([tmp_path, tmp_path / "absent"])


def test_zips_are_read_in_place(tmp_path: Path) -> None:
    names = ["../../outside.dcm", "/etc/cron.d/x", "deep/er/object", "notes.txt"]
    with zipfile.ZipFile(tmp_path / "many.zip", "w", zipfile.ZIP_DEFLATED) as container:
        for number, name in enumerate(names):
            container.writestr(name, dicom(number) if "notes" not in name else b"no object at all " * 50)
        container.mkdir("folder")
    found = list(walk(tmp_path))
    assert [candidate.label for candidate in found] == [f"{tmp_path}/many.zip:{name}" for name in names[:3]]
    contents = [b"".join(candidate.chunks()) for candidate in found]
    assert contents == [dicom(number) for number in range(3)]
    assert [path.name for path in tmp_path.iterdir()] == ["many.zip"]


def test_a_zip_may_not_swell(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as container:
        container.writestr("bomb", file_meta(CT, "1.2.3", EXPLICIT) + bytes(64 << 20))
    (candidate,) = walk(tmp_path)
    pieces: list[int] = []
    with pytest.raises(LimitExceeded, match="inflate_ratio"):
        pieces.extend(map(len, candidate.chunks(Limits(inflate_ratio=10))))
    assert 15 << 20 <= sum(pieces) <= 17 << 20


def test_damaged_zips_are_told_when_read(tmp_path: Path) -> None:
    text = io.BytesIO()
    with zipfile.ZipFile(text, "w", zipfile.ZIP_STORED) as container:
        container.writestr("patient^name", dicom(1))
    content = bytearray(text.getvalue())
    content[400] ^= 1
    (tmp_path / "damaged.zip").write_bytes(content)
    (candidate,) = walk(tmp_path, everything=True)
    with pytest.raises(DataSetError, match="damaged") as told:
        list(candidate.chunks())
    assert "patient" not in str(told.value)
    (tmp_path / "cut.zip").write_bytes(content[:300])
    assert labels(tmp_path) == []
    assert "cut.zip" in labels(tmp_path, everything=True)


def test_a_file_that_begins_like_a_zip_and_is_dicom(tmp_path: Path) -> None:
    content = file_meta(CT, "1.9.1.1.1", EXPLICIT, preamble=b"PK\x03\x04" + bytes(124)) + data_set("1.9.1.1.1")
    (tmp_path / "both").write_bytes(content)
    assert labels(tmp_path) == ["both"]
