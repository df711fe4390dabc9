"""isocenter dump --frames."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from isocenter.cli.main import app
from isocenter.pixels.codecs import encode
from isocenter.pixels.layout import Layout
from isocenter.wire.part10 import file_meta
from pixel_objects import EXPLICIT, J2K, JPEG_LS, RLE, data_set, element, encapsulated, offset_table

SECONDARY = "1.2.840.10008.5.1.4.1.1.7"


def dump(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["dump", *map(str, arguments)])


def written(folder: Path, content: bytes, syntax: str = EXPLICIT) -> Path:
    path = folder / "object.dcm"
    path.write_bytes(file_meta(SECONDARY, "1.2.3", syntax) + content)
    return path


def frames(count: int, syntax: str) -> list[bytes]:
    rng = np.random.default_rng(2)
    return [encode(syntax, rng.integers(0, 255, (4, 6), np.uint8), Layout(4, 6)) for _ in range(count)]


def listed(path: Path, *more: object) -> list[dict[str, object]]:
    done = dump(path, "--json", *more)
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_native_frames_are_where_it_says(tmp_path: Path) -> None:
    path = written(tmp_path, data_set(bytes(range(72)), frames=3))
    content = path.read_bytes()
    for told in listed(path, "--frames", "all"):
        ((offset, length),) = told["places"]  # type: ignore[misc]
        number = int(told["frame"])  # type: ignore[call-overload]
        assert content[offset : offset + length] == bytes(range(24 * number - 24, 24 * number))
    assert "3 frames of 4 x 6, MONOCHROME2, 8 of 8 bits\n" in dump(path, "--frames", "2").stdout


def test_frames_of_single_bits_begin_within_a_byte(tmp_path: Path) -> None:
    path = written(tmp_path, data_set(b"\xaa" * 8, rows=3, columns=5, allocated=1, frames=4))
    assert [(told["bytes"], told.get("bit", 0)) for told in listed(path, "--frames", "all")] == [
        (2, 0),
        (3, 7),
        (3, 6),
        (3, 5),
    ]
    assert "from bit 7" in dump(path, "--frames", "2").stdout


@pytest.mark.parametrize(("syntax", "name"), [(JPEG_LS, "JPEG-LS"), (J2K, "JPEG 2000")])
def test_codestreams_say_what_they_are(syntax: str, name: str, tmp_path: Path) -> None:
    parts = frames(3, syntax)
    path = written(tmp_path, data_set(encapsulated(offset_table(*parts), *parts), frames=3), syntax)
    done = dump(path, "--frames", "2-3")
    assert "; Basic Offset Table" in done.stdout.splitlines()[0]
    assert len(done.stdout.splitlines()) == 3
    assert f"{name} 4 x 6, 8 bits" in done.stdout.splitlines()[1]


def test_each_of_several_fragments_is_told(tmp_path: Path) -> None:
    part = frames(1, RLE)[0]
    pieces = [part[at : at + 20] for at in range(0, len(part), 20)]
    path = written(tmp_path, data_set(encapsulated(b"", *pieces), frames=1), RLE)
    (told,) = listed(path, "--frames", "1")
    content = path.read_bytes()
    found = b"".join(content[at : at + length] for at, length in told["places"])  # type: ignore[attr-defined]
    assert found == part
    assert "; no offset table" in dump(path, "--frames", "1").stdout


def test_frames_as_files_are_as_they_are_stored(tmp_path: Path) -> None:
    parts = frames(3, JPEG_LS)
    path = written(tmp_path, data_set(encapsulated(b"", *parts), frames=3), JPEG_LS)
    done = dump(path, "--frames", "1,3", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert {file.name: file.read_bytes()[: len(parts[0])] for file in (tmp_path / "out").iterdir()} == {
        "object-0001.jls": parts[0],
        "object-0003.jls": parts[2][: len(parts[0])],
    }
    assert dump(path, "--frames", "1", "-o", tmp_path / "out").exit_code == 2
    assert dump(path, "-o", tmp_path / "out").exit_code == 2


def test_what_is_not_there_is_told_and_the_others_follow(tmp_path: Path) -> None:
    path = written(tmp_path, data_set(b"", frames=3)[:-12] + element(0x7FE00010, "OW", bytes(50)))
    done = dump(path, "--frames", "all")
    assert done.exit_code == 1
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == ["1", "2"]
    assert "frame 3" in done.stderr
    assert "pixel-data-short" in done.stderr
    assert dump(path, "--frames", "4").exit_code == 1
    assert dump(path, "--frames", "first").exit_code == 2


def test_a_table_that_is_not_true_is_told(tmp_path: Path) -> None:
    parts = frames(2, RLE)
    path = written(tmp_path, data_set(encapsulated(b"\0\0\0\0\x07\0\0\0", *parts), frames=2), RLE)
    done = dump(path, "--frames", "all")
    assert done.exit_code == 0
    assert "offset-table-ignored" in done.stderr


def test_an_object_without_pixels(tmp_path: Path) -> None:
    path = written(tmp_path, element(0x00080060, "CS", "SR"))
    assert dump(path, "--frames", "all").exit_code == 1
