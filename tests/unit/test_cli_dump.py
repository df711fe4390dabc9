"""isocenter dump."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.data import get_testdata_file
from typer.testing import CliRunner, Result

from data_sets import explicit, item, sequence
from isocenter.cli.dump import parse_tag
from isocenter.cli.main import app
from isocenter.cli.output import printable
from isocenter.cli.tree import Tree, View
from isocenter.errors import DataSetError, UsageError
from isocenter.wire.part10 import file_meta

HEADER = file_meta("1.2.840.10008.5.1.4.1.1.7", "1.2.3", "1.2.840.10008.1.2.1")
NAME = explicit(0x00100010, "PN", "Hong^Gildong=洪^吉洞".encode() + b" ")
UTF8 = explicit(0x00080005, "CS", b"ISO_IR 192")


def dump(*arguments: str, standard_input: bytes | None = None) -> Result:
    return CliRunner().invoke(app, ["dump", *arguments], input=standard_input)


def written(folder: Path, *elements: bytes) -> str:
    path = folder / "object.dcm"
    path.write_bytes(HEADER + b"".join(elements))
    return str(path)


def test_tag_vr_name_and_value(tmp_path: Path) -> None:
    done = dump(written(tmp_path, UTF8, explicit(0x00080016, "UI", b"1.2.840.10008.5.1.4.1.1.7\0"), NAME))
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert (
        "(0002,0010) UI Transfer Syntax UID                  1.2.840.10008.1.2.1 = Explicit VR Little Endian" in lines
    )
    assert lines[-2].endswith("1.2.840.10008.5.1.4.1.1.7 = Secondary Capture Image Storage")
    assert lines[-1] == "(0010,0010) PN Patient's Name                       Hong^Gildong=洪^吉洞"
    assert done.stderr == ""


def test_sequences_are_indented_and_items_numbered(tmp_path: Path) -> None:
    inner = sequence(0x00081199, item(explicit(0x00081155, "UI", b"1.2\0"), undefined=True))
    done = dump(written(tmp_path, sequence(0x00081140, item(), item(inner), undefined=True)))
    assert [line[:36].rstrip() for line in done.stdout.splitlines()[-6:]] == [
        "(0008,1140) SQ Referenced Image Sequ",
        "  [0]",
        "  [1]",
        "    (0008,1199) SQ Referenced SOP Se",
        "      [0]",
        "        (0008,1155) UI Referenced SO",
    ]


def test_numbers_binary_tags_and_private_names(tmp_path: Path) -> None:
    done = dump(
        written(
            tmp_path,
            explicit(0x00090010, "LO", b"GEMS_IDEN_01"),
            explicit(0x00091002, "SH", b"CT01"),
            explicit(0x00280009, "AT", b"\x18\x00\x63\x10"),
            explicit(0x00280106, "SS", b"\xff\xff"),
            explicit(0x00660016, "OF", bytes(8)),
        )
    )
    values = [line[15:] for line in done.stdout.splitlines()[-4:]]
    assert values[0].split() == ["GEMS_IDEN_01:", "Suite", "id", "CT01"]
    assert values[1].endswith(" (0018,1063)")
    assert values[2].endswith(" -1")
    assert values[3].endswith(" 8 bytes: 00 00 00 00 00 00 00 00")


def test_an_item_inherits_the_character_set_and_may_have_its_own(tmp_path: Path) -> None:
    own = item(explicit(0x00080005, "CS", b"ISO_IR 100"), explicit(0x00100010, "PN", "Jörg".encode("latin_1")))
    done = dump(written(tmp_path, UTF8, sequence(0x00081140, item(NAME), own), NAME), "--tag", "PatientName")
    assert [line.split()[-1] for line in done.stdout.splitlines()] == [
        "Hong^Gildong=洪^吉洞",
        "Jörg",
        "Hong^Gildong=洪^吉洞",
    ]
    assert done.stdout.splitlines()[1].startswith("(0008,1140)[1].(0010,0010) PN ")


def test_a_wanted_sequence_comes_with_its_items(tmp_path: Path) -> None:
    done = dump(
        written(tmp_path, sequence(0x00081140, item(explicit(0x00081155, "UI", b"1.2\0"))), NAME), "-t", "0008,1140"
    )
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["(0008,1140)", "[0]", "(0008,1155)"]


def test_values_are_cut_and_can_be_whole(tmp_path: Path) -> None:
    path = written(tmp_path, explicit(0x00204000, "LT", b"a" * 1000))
    assert dump(path).stdout.splitlines()[-1].endswith(" " + "a" * 79 + "…")
    assert dump(path, "--max-value", "0").stdout.splitlines()[-1].endswith(" " + "a" * 1000)
    assert dump(path, "--offsets").stdout.splitlines()[-1].endswith(f"@{len(HEADER) + 8}+1000")


def test_a_file_cannot_steer_the_terminal(tmp_path: Path) -> None:
    done = dump(written(tmp_path, UTF8, explicit(0x00100020, "LO", "\x1b[2J\u202e\x9bX".encode())))
    assert done.stdout.splitlines()[-1].endswith(" \\x1b[2J\\u202e\\x9bX")
    assert printable("洪 é") == "洪 é"


@pytest.mark.parametrize("as_json", [False, True])
def test_a_damaged_file_is_read_as_far_as_it_goes(tmp_path: Path, as_json: bool) -> None:
    path = written(tmp_path, UTF8, NAME, explicit(0x00100020, "LO", b"1234", length=400))
    done = dump(path, *(["--json"] if as_json else []))
    assert done.exit_code == 1
    assert "Hong^Gildong" in done.stdout
    assert "a value of 400 bytes reaches beyond the end at (0010,0020)" in done.stderr
    assert f"(byte {len(HEADER + UTF8 + NAME)})" in done.stderr
    if as_json:
        assert set(json.loads(done.stdout)) == {"00080005", "00100010"}


def test_one_bad_file_does_not_hide_the_others(tmp_path: Path) -> None:
    good = written(tmp_path, NAME)
    bad = tmp_path / "bad"
    bad.write_bytes(b"no DICOM at all, only text that goes on for a while")
    done = dump(str(bad), good)
    assert done.exit_code == 1
    assert f"error: {bad}: " in done.stderr
    assert f"# {good}\n" in done.stdout
    assert "(0010,0010)" in done.stdout


def test_standard_input_and_empty_files(tmp_path: Path) -> None:
    assert dump("-", standard_input=HEADER + NAME).stdout == dump(written(tmp_path, NAME)).stdout
    assert "the file is empty" in dump("-", standard_input=b"").stderr
    assert dump("nowhere.dcm").exit_code == 2


def test_a_deflated_file() -> None:
    done = dump(str(get_testdata_file("image_dfl.dcm")), "-t", "Rows")
    assert done.stdout.split()[-1] == "512"


def test_json_is_dicom_json() -> None:
    path = str(get_testdata_file("CT_small.dcm"))
    done = dump("--json", path)
    model = json.loads(done.stdout)
    assert model["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "CompressedSamples^CT1"}]}
    filtered = json.loads(dump("--json", "-t", "PatientName", "-t", "00280010", path).stdout)
    assert set(filtered) == {"00100010", "00280010"}
    assert len(dump("--json", path, path).stdout.splitlines()) == 2


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "reportsi.dcm", "rtplan.dcm"]
)
def test_every_element_is_there(name: str) -> None:
    path = str(get_testdata_file(name))
    count = sum(1 for _ in dcmread(path).iterall()) + len(dcmread(path).file_meta)
    lines = [line for line in dump(path).stdout.splitlines() if line.lstrip().startswith("(")]
    assert len(lines) == count


@pytest.mark.parametrize("text", ["00100010", "(0010,0010)", "0010,0010", "PatientName"])
def test_ways_to_name_a_tag(text: str) -> None:
    assert parse_tag(text) == 0x00100010


def test_an_unknown_tag_is_explained() -> None:
    with pytest.raises(UsageError, match="--tag Patient: neither"):
        parse_tag("Patient")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80), st.booleans(), st.booleans())
def test_no_bytes_do_worse_than_a_typed_error(data: bytes, little: bool, explicit_vr: bool) -> None:
    tree = Tree(data, little=little, explicit=explicit_vr, view=View())
    out = io.StringIO()
    try:
        for line in tree.lines(0):
            out.write(line)
    except DataSetError:
        pass
    assert "\x1b" not in out.getvalue()
