"""DICOM JSON from bytes: the forms of PS3.18 Annex F one by one, and beside pydicom's over the corpus."""

from __future__ import annotations

import json
import warnings
from base64 import b64decode
from io import BytesIO
from pathlib import Path
from struct import pack
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.errors import BytesLengthException, InvalidDicomError

from data_sets import MODALITY, NAME, PIXELS, encapsulated, explicit, implicit, item, sequence
from isocenter.errors import DataSetError, IsocenterError, NotFound
from isocenter.wire.dicomjson import dataset_json, dumps, find_bulk, little_endian
from isocenter.wire.part10 import read_header

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"


def model(*elements: bytes, **options: Any) -> dict[str, Any]:
    return dataset_json(b"".join(elements), EXPLICIT, **options)


def one(vr: str, raw: bytes, **options: Any) -> dict[str, Any]:
    """The attribute object of a private element of this VR."""
    found: dict[str, Any] = model(explicit(0x00091001, vr, raw), **options)["00091001"]
    return found


VALUES = [
    ("AE", b"CT01 ", ["CT01"]),
    ("AS", b"034Y", ["034Y"]),
    ("AT", b"\x10\x00\x20\x00\x08\x00\x18\x00", ["00100020", "00080018"]),
    ("CS", b"ORIGINAL\\PRIMARY\\\\AXIAL", ["ORIGINAL", "PRIMARY", None, "AXIAL"]),
    ("DA", b"20240229", ["20240229"]),
    ("DS", b"1.50\\-2e3\\7\\ +.5 \\", [1.5, -2000.0, 7, 0.5, None]),
    ("DS", b"1,5\\nan\\1e999", ["1,5", "nan", "1e999"]),
    ("DT", b"20240229101112.123+0100", ["20240229101112.123+0100"]),
    ("FD", pack("<2d", 0.1, -1e300), [0.1, -1e300]),
    ("FL", pack("<3f", 0.5, float("inf"), float("nan")), [0.5, "Infinity", "NaN"]),
    ("IS", b"12\\-7\\ 5 ", [12, -7, 5]),
    ("IS", b"12.0\\99999999999999999999", ["12.0", "99999999999999999999"]),
    ("LO", b" a\\b ", ["a", "b"]),
    ("LT", b"one\\two  ", ["one\\two"]),
    ("PN", b"Doe^John", [{"Alphabetic": "Doe^John"}]),
    ("PN", b"\\Doe=X", [None, {"Alphabetic": "Doe", "Ideographic": "X"}]),
    ("PN", b"==abc", [{"Phonetic": "abc"}]),
    ("SH", b"x\0", ["x"]),
    ("SL", pack("<i", -5), [-5]),
    ("SS", pack("<2h", -5, 6), [-5, 6]),
    ("ST", b"\\", ["\\"]),
    ("SV", pack("<2q", -5, -(2**60)), [-5, str(-(2**60))]),
    ("TM", b"1011", ["1011"]),
    ("UC", b" a\\b ", [" a", "b"]),
    ("UI", b"1.2.3\0", ["1.2.3"]),
    ("UL", pack("<I", 2**32 - 1), [2**32 - 1]),
    ("UR", b"http://x/a\\b ", ["http://x/a\\b"]),
    ("US", pack("<2H", 1, 65535), [1, 65535]),
    ("UT", b"text", ["text"]),
    ("UV", pack("<Q", 2**64 - 1), [str(2**64 - 1)]),
]


@pytest.mark.parametrize(("vr", "raw", "values"), VALUES)
def test_values(vr: str, raw: bytes, values: list[Any]) -> None:
    assert one(vr, raw) == {"vr": vr, "Value": values}
    assert json.loads(dumps(one(vr, raw))) == {"vr": vr, "Value": values}


@pytest.mark.parametrize("vr", ["CS", "DS", "PN", "US", "OB", "UN", "SQ", "AT", "UT"])
def test_no_value(vr: str) -> None:
    assert one(vr, b"") == {"vr": vr}
    if vr in ("CS", "DS", "PN"):
        assert one(vr, b"  ") == {"vr": vr}


@pytest.mark.parametrize("vr", ["OB", "OD", "OF", "OL", "OV", "OW", "UN"])
def test_bytes_in_line(vr: str) -> None:
    assert one(vr, b"\x01\x02\x03\x04\x05\x06\x07\x08") == {"vr": vr, "InlineBinary": "AQIDBAUGBwg="}


def test_words_of_big_endian_data_are_little_endian_in_line() -> None:
    for vr, width in (("OB", 1), ("OW", 2), ("OF", 4), ("OD", 8), ("UN", 1)):
        raw = bytes(range(16))
        found = dataset_json(explicit(0x00091001, vr, raw, order=">"), BIG)["00091001"]["InlineBinary"]
        expected = b"".join(raw[at : at + width][::-1] for at in range(0, 16, width))
        assert b64decode(found) == expected
    assert little_endian(b"\1\2\3", "OW", False) == b"\2\1\3"
    found = dataset_json(explicit(0x00280010, "US", b"\2\0", order=">"), BIG)
    assert found["00280010"]["Value"] == [512]


def test_big_values_go_by_reference() -> None:
    options = {"bulk_uri": "https://x/bulkdata", "bulk_threshold": 8}
    assert one("OB", bytes(8), **options) == {"vr": "OB", "InlineBinary": "AAAAAAAAAAA="}
    assert one("OB", bytes(10), **options) == {"vr": "OB", "BulkDataURI": "https://x/bulkdata/00091001"}
    assert one("US", bytes(10), **options) == {"vr": "US", "BulkDataURI": "https://x/bulkdata/00091001"}
    assert one("LO", b"a" * 100, **options) == {"vr": "LO", "Value": ["a" * 100]}
    small = explicit(0x7FE00010, "OW", b"\0\0")
    assert model(small, **options) == {"7FE00010": {"vr": "OW", "BulkDataURI": "https://x/bulkdata/7FE00010"}}
    assert model(encapsulated(b"ab"), **options) == {
        "7FE00010": {"vr": "OB", "BulkDataURI": "https://x/bulkdata/7FE00010"}
    }


def test_big_values_without_a_place_to_refer_to() -> None:
    assert list(model(MODALITY, PIXELS, explicit(0xFFFC0001, "OB", bytes(2000)))) == ["00080060"]
    inline = model(MODALITY, PIXELS, exclude_bulk=False)
    assert b64decode(inline["7FE00010"]["InlineBinary"]) == bytes(range(16))
    assert list(model(MODALITY, encapsulated(b"ab"), exclude_bulk=False)) == ["00080060"]


def test_bulk_paths_lead_back() -> None:
    data = (
        MODALITY
        + sequence(0x00081110, item(), item(explicit(0x00420011, "OB", b"x" * 2000), undefined=True), undefined=True)
        + encapsulated(b"abcd")
    )
    found = dataset_json(data, EXPLICIT, bulk_uri="b")
    uri = found["00081110"]["Value"][1]["00420011"]["BulkDataURI"]
    assert uri == "b/00081110/2/00420011"
    element = find_bulk(data, EXPLICIT, uri.removeprefix("b/"))
    assert data[element.offset : element.offset + element.length] == b"x" * 2000
    assert find_bulk(data, EXPLICIT, "7fe00010").length == -1
    for path in ("00081110", "00081110/1/00420011", "00081110/3/00420011", "00420011", "", "../etc"):
        with pytest.raises(NotFound):
            find_bulk(data, EXPLICIT, path)


def test_sequences() -> None:
    data = sequence(0x00081110, item(MODALITY), item(), item(sequence(0x00081115, item(NAME)), undefined=True))
    assert model(data, sequence(0x00400275)) == {
        "00081110": {
            "vr": "SQ",
            "Value": [
                {"00080060": {"vr": "CS", "Value": ["CT"]}},
                {},
                {
                    "00081115": {
                        "vr": "SQ",
                        "Value": [{"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^John"}]}}],
                    }
                },
            ],
        },
        "00400275": {"vr": "SQ"},
    }


def test_text_is_in_the_character_set_of_its_item() -> None:
    name = "Жуков"
    cyrillic = explicit(0x00080005, "CS", b"ISO_IR 144")
    inner = item(cyrillic, explicit(0x00100010, "PN", name.encode("iso8859_5")))
    data = (
        explicit(0x00080005, "CS", b"ISO_IR 192")
        + sequence(0x00081110, inner, item(explicit(0x00100010, "PN", "Ж".encode())))
        + explicit(0x00100010, "PN", name.encode())
    )
    found = dataset_json(data, EXPLICIT)
    assert found["00100010"]["Value"] == [{"Alphabetic": name}]
    first, second = found["00081110"]["Value"]
    assert first["00100010"]["Value"] == [{"Alphabetic": name}]
    assert second["00100010"]["Value"] == [{"Alphabetic": "Ж"}]
    # a model is UTF-8, and says so
    assert first["00080005"]["Value"] == found["00080005"]["Value"] == ["ISO_IR 192"]


def test_attributes_are_in_order_and_only_once() -> None:
    flags: set[str] = set()
    found = model(
        NAME, MODALITY, explicit(0x00080060, "CS", b"MR"), sequence(0x00081110), PIXELS, bulk_uri="b", flags=flags
    )
    assert list(found) == ["00080060", "00081110", "00100010", "7FE00010"]
    assert found["00080060"]["Value"] == ["CT"]
    assert flags == {"duplicate-tag"}
    twice = sequence(0x00081110, item(MODALITY))
    assert model(twice, sequence(0x00081110), twice)["00081110"]["Value"] == [
        {"00080060": {"vr": "CS", "Value": ["CT"]}}
    ]


def test_what_is_no_part_of_a_model() -> None:
    found = model(
        explicit(0x00000002, "UI", b"1.2\0"),
        explicit(0x00020010, "UI", b"1.2\0"),
        explicit(0x00080000, "UL", bytes(4)),
        MODALITY,
        explicit(0xFFFCFFFC, "OB", bytes(20)),
    )
    assert list(found) == ["00080060"]


@pytest.mark.parametrize(("representation", "vr", "value"), [(0, "US", 65535), (1, "SS", -1)])
def test_ambiguous_vr_of_implicit_data(representation: int, vr: str, value: int) -> None:
    data = (
        implicit(0x00280103, pack("<H", representation))
        + implicit(0x00280106, b"\xff\xff")
        + implicit(0x00409096, item(implicit(0x00409211, b"\xff\xff")))
    )
    found = dataset_json(data, IMPLICIT)
    assert found["00280106"] == {"vr": vr, "Value": [value]}
    assert found["00409096"]["Value"][0]["00409211"] == {"vr": vr, "Value": [value]}


def test_un_and_private_attributes_have_the_vr_that_is_known() -> None:
    creator = b"SIEMENS CSA HEADER"
    for data, uid in (
        (implicit(0x00290010, creator) + implicit(0x00291008, b"IMAGE NUM 4 "), IMPLICIT),
        (explicit(0x00290010, "LO", creator) + explicit(0x00291008, "UN", b"IMAGE NUM 4 "), EXPLICIT),
        (explicit(0x00290010, "UN", creator) + explicit(0x00291008, "UN", b"IMAGE NUM 4 "), EXPLICIT),
    ):
        found = dataset_json(data, uid)
        assert found["00290010"] == {"vr": "LO", "Value": ["SIEMENS CSA HEADER"]}
        assert found["00291008"] == {"vr": "CS", "Value": ["IMAGE NUM 4"]}
    assert one("UN", b"abcd") == {"vr": "UN", "InlineBinary": "YWJjZA=="}
    # known tags written as UN: values and sequences are implicit VR little endian
    assert model(explicit(0x00280010, "UN", b"\0\2"))["00280010"] == {"vr": "US", "Value": [512]}
    assert model(explicit(0x00280010, "UN", b"\0\2\0"))["00280010"] == {"vr": "UN", "InlineBinary": "AAIA"}
    content = item(implicit(0x00100010, b"Doe^John"))
    expected = {"vr": "SQ", "Value": [{"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^John"}]}}]}
    assert model(explicit(0x00081110, "UN", content))["00081110"] == expected
    assert model(explicit(0x00081110, "UN", b"no sequence!"))["00081110"]["vr"] == "UN"


def test_leniencies_are_reported() -> None:
    flags: set[str] = set()
    model(
        explicit(0x00100010, "PN", b"J\xe9r"),
        explicit(0x00200013, "IS", b"one "),
        explicit(0x00280010, "US", b"\0\2\0"),
        flags=flags,
    )
    assert flags == {"undeclared-charset", "invalid-value", "odd-length"}


def test_damage_is_told_with_its_place() -> None:
    data = sequence(0x00081110, item(NAME[:-2])) + MODALITY
    with pytest.raises(DataSetError) as caught:
        dataset_json(data, EXPLICIT)
    assert caught.value.tag_path == "(0008,1110)[0].(0010,0010)"


# --- beside pydicom

# What pydicom's JSON has otherwise, and why ours is kept
LEFT_OUT = {"7FE00010", "7FE00008", "7FE00009", "FFFCFFFC"}  # by reference with us; padding
DIFFERENT = {
    "cornerstoneWADO/CTImage.dcm_BigEndianExplicitTransferSyntax_1.2.840.10008.1.2.2.dcm": (
        "private values written as UN are little endian: ours are those of the original CTImage.dcm"
    ),
    "pydicom-data/OBXXXX1A_expb.dcm": "pydicom leaves the words of InlineBinary in big endian order",
    "pydicom-data/gdcm-US-ALOKA-16_big.dcm": "pydicom leaves the words of InlineBinary in big endian order",
    "pydicom/test_files/meta_missing_tsyntax.dcm": "group 0001 does not belong in a data set",
    "pydicom/test_files/nested_priv_SQ.dcm": "group 0001 does not belong in a data set",
}

# What pydicom reads as far as it goes, and what is refused here, as by DCMTK
CUT_OFF = {
    "pydicom/test_files/MR_truncated.dcm",
    "pydicom/test_files/dicomdirtests/DICOMDIR-nooffset",
    "pydicom/test_files/rtplan_truncated.dcm",
    "pydicom-data/emri_small_jpeg_2k_lossless_too_short.dcm",
}


def plain(value: Any) -> Any:
    """A value without the differences that mean nothing: padding, number or text, empty groups."""
    if isinstance(value, dict):  # a person's name
        return {key: plain(text) for key, text in value.items() if text not in ("", None)} or None
    if isinstance(value, str):
        text = value.replace("\0", "").strip()
        try:
            return float(text)
        except ValueError:
            return text or None
    return float(value) if isinstance(value, int) else value


def differences(ours: dict[str, Any], theirs: dict[str, Any], path: str = "") -> list[str]:
    """Paths of the attributes that differ; pydicom's known peculiarities are allowed for."""
    found = []
    for key in sorted(set(ours) | set(theirs)):
        if key in LEFT_OUT or key.endswith("0000") or key == "00080005":
            continue
        if key not in ours or key not in theirs:
            found.append(f"{path}{key} only in {'ours' if key in ours else 'theirs'}")
            continue
        our, their = ours[key], theirs[key]
        if our["vr"] == "SQ" and their["vr"] == "SQ":
            pair = our.get("Value", []), their.get("Value", [])
            if len(pair[0]) != len(pair[1]):
                found.append(f"{path}{key} items")
            for number, (mine, other) in enumerate(zip(*pair, strict=False)):
                found += differences(mine, other, f"{path}{key}/{number + 1}/")
        elif our["vr"] != their["vr"]:
            found.append(f"{path}{key} vr {our['vr']} {their['vr']}")
        elif our.get("InlineBinary", "") != their.get("InlineBinary", ""):
            found.append(f"{path}{key} bytes")
        elif [plain(v) for v in our.get("Value", [])] != [plain(v) for v in their.get("Value", [])]:
            found.append(f"{path}{key} {our['vr']}")
    return found


def pydicom_model(data: bytes) -> dict[str, Any] | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ds: Dataset = dcmread(BytesIO(data), force=True, stop_before_pixels=True)
            return ds.to_json_dict()
        except (NotImplementedError, BytesLengthException, OSError, ValueError, TypeError, AttributeError, KeyError):
            return None


def is_dicom(data: bytes) -> bool:
    """Whether pydicom takes it for a file of PS3.10."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dcmread(BytesIO(data))
        except (InvalidDicomError, NotImplementedError, EOFError, AttributeError, TypeError, ValueError, KeyError):
            return False
    return True


@pytest.mark.slow
def test_corpus_models_are_pydicoms(corpus: Path) -> None:
    compared = 0
    different: dict[str, list[str]] = {}
    refused = set()
    for path in sorted(corpus.rglob("*")):
        name = path.relative_to(corpus).as_posix()
        if not path.is_file() or name.startswith("fuzz"):
            continue
        data = path.read_bytes()
        try:
            meta = read_header(data)
            ours = dataset_json(
                data, meta.transfer_syntax, start=meta.data_set_offset, bulk_threshold=1 << 40, exclude_bulk=False
            )
        except IsocenterError:
            if is_dicom(data):
                refused.add(name)
            continue
        theirs = pydicom_model(data)
        if theirs is None:
            continue
        compared += 1
        if wrong := differences(ours, theirs):
            different[name] = wrong
    assert different.keys() == DIFFERENT.keys()
    assert refused == CUT_OFF
    assert compared > 500
