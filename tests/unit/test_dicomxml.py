"""The Native DICOM Model: its forms, both ways, beside DCMTK over the corpus, and what strangers may send."""

from __future__ import annotations

import json
import struct
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import peers
from data_sets import explicit, item, sequence
from isocenter.errors import DataSetError, IsocenterError, LimitExceeded
from isocenter.wire.dicomjson import dataset_json, little_endian
from isocenter.wire.dicomxml import NAMESPACE, native_xml, read_native_xml
from isocenter.wire.limits import Limits
from isocenter.wire.part10 import read_header
from isocenter.wire.values import BINARY_VRS, json_values

EXPLICIT = "1.2.840.10008.1.2.1"
MODEL: dict[str, Any] = {
    "00080008": {"vr": "CS", "Value": ["ORIGINAL", None, "AXIAL"]},
    "00081140": {"vr": "SQ", "Value": [{"00081150": {"vr": "UI", "Value": ["1.2"]}}, {}]},
    "00081199": {"vr": "SQ"},
    "00090010": {"vr": "LO", "Value": ["ACME & <Co>"]},
    "00091001": {"vr": "LO", "Value": ["a\r\nb", " padded "]},
    "00091002": {"vr": "OB", "InlineBinary": "AQID"},
    "00100010": {
        "vr": "PN",
        "Value": [{"Alphabetic": "Yamada^Tarou^^Dr.^Jr.", "Ideographic": "山田^太郎"}, None, {"Phonetic": "やまだ"}],
    },
    "00181020": {"vr": "LO"},
    "00189219": {"vr": "SS", "Value": [-3]},
    "00200013": {"vr": "IS", "Value": [7]},
    "00280009": {"vr": "AT", "Value": ["00181063"]},
    "00280030": {"vr": "DS", "Value": [0.5, 1e-7]},
    "0018605A": {"vr": "FL", "Value": [0.25, "NaN"]},
    "7FE00010": {"vr": "OW", "BulkDataURI": 'http://x/bulkdata?a=1&b="2"'},
}
MODEL = dict(sorted(MODEL.items()))


def elements(document: bytes) -> Iterator[tuple[str, dict[str, str], str | None]]:
    for element in ElementTree.fromstring(document).iter():  # our own
        yield element.tag.removeprefix(f"{{{NAMESPACE}}}"), dict(element.attrib), element.text


def test_there_and_back() -> None:
    assert read_native_xml(native_xml(MODEL)) == MODEL


def test_the_forms_of_the_standard() -> None:
    found = list(elements(native_xml(MODEL)))
    assert found[0][0] == "NativeDicomModel"
    assert ("DicomAttribute", {"tag": "00100010", "vr": "PN", "keyword": "PatientName"}, None) in found
    assert ("Value", {"number": "3"}, "AXIAL") in found
    assert ("GivenName", {}, "太郎") in found
    assert ("BulkData", {"uri": 'http://x/bulkdata?a=1&b="2"'}, None) in found
    assert ("InlineBinary", {}, "AQID") in found
    # A private attribute goes by its creator, not by the block that it happened to get
    assert ("DicomAttribute", {"tag": "00090001", "vr": "LO", "privateCreator": "ACME & <Co>"}, None) in found
    assert ("DicomAttribute", {"tag": "00090010", "vr": "LO"}, None) in found


def test_what_xml_has_no_form_for_does_not_break_it() -> None:
    model = {"00104000": {"vr": "LT", "Value": ["a\x00b\x1b\ud800]]>c\x0c"]}}
    assert read_native_xml(native_xml(model))["00104000"]["Value"] == ["a\ufffdb\ufffd\ufffd]]>c\ufffd"]


def document(content: str) -> bytes:
    return f"<NativeDicomModel>{content}</NativeDicomModel>".encode()


def test_private_attributes_find_the_block_of_their_creator() -> None:
    value = '><Value number="1">{1}</Value></DicomAttribute>'
    private = f'<DicomAttribute tag="000900{{0}}" vr="LO" privateCreator="{{2}}"{value}'
    creator = f'<DicomAttribute tag="000900{{0}}" vr="LO"{value}'
    found = read_native_xml(
        document(
            private.format("01", "b", "B")
            + creator.format("12", "A")
            + private.format("01", "a", "A")
            + private.format("01", "again", "A")
        )
    )
    assert {key: entry["Value"] for key, entry in found.items()} == {
        "00090010": ["B"],
        "00090011": ["A"],
        "00090012": ["A"],
        "00091001": ["b"],
        "00091101": ["again"],
        "00091201": ["a"],
    }


HOSTILE = {
    "no XML": b"{}",
    "nothing": b"",
    "cut off": b"<NativeDicomModel><DicomAttribute",
    "another root": b"<html/>",
    "script": document("<script>alert(1)</script>"),
    "another namespace": b'<NativeDicomModel xmlns="http://www.w3.org/1999/xhtml"/>',
    "entity": b'<!DOCTYPE x [<!ENTITY e "lol">]><NativeDicomModel>&e;</NativeDicomModel>',
    "external entity": b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><NativeDicomModel/>',
    "external subset": b'<!DOCTYPE NativeDicomModel SYSTEM "http://127.0.0.1:1/x.dtd"><NativeDicomModel/>',
    "parameter entity": b'<!DOCTYPE x [<!ENTITY % e SYSTEM "http://127.0.0.1:1/">%e;]><NativeDicomModel/>',
    "undeclared entity": document("&xxe;"),
    "text": document("text"),
    "tag": document('<DicomAttribute tag="../../x" vr="LO"/>'),
    "vr": document('<DicomAttribute tag="00100020" vr="ZZ"/>'),
    "duplicate": document('<DicomAttribute tag="00100020" vr="LO"/>' * 2),
    "duplicate XML attribute": document('<DicomAttribute tag="00100020" tag="00100020"/>'),
    "number 0": document('<DicomAttribute tag="00100020" vr="LO"><Value number="0"/></DicomAttribute>'),
    "number no digits": document('<DicomAttribute tag="00100020" vr="LO"><Value number="²"/></DicomAttribute>'),
    "descending": document(
        '<DicomAttribute tag="00100020" vr="LO"><Value number="2"/><Value number="1"/></DicomAttribute>'
    ),
    "value of a sequence": document('<DicomAttribute tag="00081140" vr="SQ"><Value number="1"/></DicomAttribute>'),
    "item of text": document('<DicomAttribute tag="00100020" vr="LO"><Item number="1"/></DicomAttribute>'),
    "text as number": document('<DicomAttribute tag="00280010" vr="US"><Value number="1">x</Value></DicomAttribute>'),
    "bulk beside value": document(
        '<DicomAttribute tag="00100020" vr="LO"><Value number="1">x</Value><BulkData uri="a"/></DicomAttribute>'
    ),
    "bulk to nowhere": document('<DicomAttribute tag="7FE00010" vr="OW"><BulkData/></DicomAttribute>'),
    "unknown character set": b'<?xml version="1.0" encoding="x-nothing"?><NativeDicomModel/>',
    "two roots": b"<NativeDicomModel/><NativeDicomModel/>",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_refused(name: str) -> None:
    with pytest.raises(DataSetError):
        read_native_xml(HOSTILE[name])


def test_the_limits() -> None:
    opening = '<DicomAttribute tag="00081140" vr="SQ"><Item number="1">'
    closing = "</Item></DicomAttribute>"
    read_native_xml(document(opening * 60 + closing * 60))
    with pytest.raises(LimitExceeded, match="nesting"):
        read_native_xml(document(opening * 70 + closing * 70))
    far = '<DicomAttribute tag="00100020" vr="LO"><Value number="999999999"/></DicomAttribute>'
    with pytest.raises(LimitExceeded, match="elements"):
        read_native_xml(document(far))
    many = "".join(f'<DicomAttribute tag="0011{n:04X}" vr="LO"/>' for n in range(0x1000, 0x1100))
    with pytest.raises(LimitExceeded, match="elements"):
        read_native_xml(document(many), Limits(elements=100))
    long = f'<DicomAttribute tag="00104000" vr="LT"><Value number="1">{"x" * 5000}</Value></DicomAttribute>'
    with pytest.raises(LimitExceeded, match="header_bytes"):
        read_native_xml(document(long), Limits(header_bytes=1000))


def test_a_refusal_names_its_place() -> None:
    inner = '<DicomAttribute tag="00280010" vr="US"><Value number="1">patient text</Value></DicomAttribute>'
    with pytest.raises(DataSetError) as caught:
        read_native_xml(document(f'<DicomAttribute tag="00081140" vr="SQ"><Item>{inner}</Item></DicomAttribute>'))
    assert caught.value.tag_path == "(0008,1140).(0028,0010)"
    assert "patient" not in str(caught.value)


def test_bytes_to_xml() -> None:
    data = explicit(0x00080005, "CS", b"ISO_IR 100") + sequence(
        0x00081110, item(explicit(0x00100010, "PN", "Müller".encode("latin-1")))
    )
    document = native_xml(dataset_json(data, EXPLICIT))
    assert ("FamilyName", {}, "Müller") in list(elements(document))


# --- beside DCMTK

# What DCMTK's two tools have otherwise, and why ours is kept
GROUP_0001 = "group 0001 does not belong in a data set"
NO_CREATOR = "DCMTK drops the block of private attributes whose creator is not there: they become others"
DIFFERENT = {
    "dcm2xml": {
        "dcmqi/paramaps/pm-example-slice.dcm": NO_CREATOR,
        "dicomecg/anonymous_ecg.dcm": NO_CREATOR,
        "peer-generated/media/fs1/A/B/F5": NO_CREATOR,
        "pydicom/charset_files/chrX1.dcm": "DCMTK repeats the ideographic name as the phonetic one, which is empty",
        "pydicom/charset_files/chrX2.dcm": "DCMTK repeats the ideographic name as the phonetic one, which is empty",
        "pydicom/test_files/UN_sequence.dcm": NO_CREATOR,
        "pydicom/test_files/meta_missing_tsyntax.dcm": GROUP_0001,
        "pydicom/test_files/nested_priv_SQ.dcm": GROUP_0001,
        "pydicom/test_files/waveform_ecg.dcm": NO_CREATOR,
    },
    "dcm2json": {
        "pydicom/charset_files/chrSQEncoding.dcm": "DCMTK's JSON is not in UTF-8",
        "pydicom/test_files/dicomdirtests/DICOMDIR-nooffset": "refused here: its last record is cut off",
        "pydicom/test_files/meta_missing_tsyntax.dcm": GROUP_0001,
        "pydicom/test_files/nested_priv_SQ.dcm": GROUP_0001,
    },
}
OPTIONS = {"dcm2xml": ("-nat", "+Eb", "+M", "+U8"), "dcm2json": ("-fc",)}
LARGEST = 4 << 20


def differences(ours: dict[str, Any], theirs: dict[str, Any], path: str = "") -> Iterator[str]:
    """Paths of attributes that differ otherwise than in what means nothing: padding, digits beyond a float's, empty
    values. Left out is what is no part of one of the two: padding, group lengths, pixel data, which with us are by
    reference, and the character set, which is that of the output."""
    for key in sorted({*ours, *theirs}):
        if key.startswith("7FE0") or key in ("FFFCFFFC", "00080005") or key.endswith("0000"):
            continue
        here = f"{path}{key}"
        if key not in ours or key not in theirs:
            yield f"{here} only in {'ours' if key in ours else 'theirs'}"
            continue
        our, their = ours[key], theirs[key]
        vr = our["vr"]
        if their["vr"] == "UN" != vr:
            # Known to our dictionary, standard or private, and left as it is by DCMTK: the same bytes
            raw = b64decode(their.get("InlineBinary", ""))
            if vr != "SQ" and vr not in BINARY_VRS:
                their = {"vr": vr, "Value": json_values(raw, vr, True, ())}
            elif vr != "SQ":
                their = {**their, "vr": vr}
            else:
                continue
        if vr == "SQ" and their["vr"] == "SQ":
            items = our.get("Value", []), their.get("Value", [])
            if len(items[0]) != len(items[1]):
                yield f"{here} items"
            for number, (mine, other) in enumerate(zip(*items, strict=False), 1):
                yield from differences(mine, other, f"{here}/{number}/")
        elif (
            vr != their["vr"]
            or _values(vr, our) != _values(vr, their)
            or our.get("InlineBinary", "") not in _orders(vr, their.get("InlineBinary", ""))
        ):
            yield f"{here} {our!s:.80} {their!s:.80}"


def _orders(vr: str, binary: str) -> list[str]:
    """dcm2xml of DCMTK 3.6.7 writes words big endian; PS3.19 Table A.1.5-2 wants them little endian."""
    return [binary, b64encode(little_endian(b64decode(binary), vr, False)).decode()]


def _values(vr: str, entry: dict[str, Any]) -> list[Any]:
    plain = [_plain(vr, value) for value in entry.get("Value", [])]
    while plain and plain[-1] is None:
        plain.pop()
    return plain


def _plain(vr: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {name: text.strip().strip("^") for name, text in value.items() if text.strip("^ ")} or None
    if isinstance(value, str):
        value = value.replace("\0", "").strip()
    if vr in ("DS", "FL", "FD", "IS", "SV", "UV") and value not in (None, ""):
        try:
            value = float(value) + 0.0  # no negative zero
        except ValueError:
            return value
        return struct.pack("<f", value) if vr == "FL" and abs(value) < 3e38 else float(f"{value:.15g}")
    return value or None if isinstance(value, str) else value


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("tool", OPTIONS)
def test_corpus_models_are_dcmtks(corpus: Path, tool: str) -> None:
    peers.require(tool)
    compared = 0
    found: dict[str, list[str]] = {}
    for path in sorted(corpus.rglob("*")):
        name = path.relative_to(corpus).as_posix()
        if not path.is_file() or name.startswith("fuzz") or path.stat().st_size > LARGEST:
            continue
        data, why = path.read_bytes(), ""
        ours: dict[str, Any] | None = None
        try:
            meta = read_header(data)
            ours = dataset_json(
                data, meta.transfer_syntax, start=meta.data_set_offset, bulk_threshold=1 << 40, exclude_bulk=False
            )
        except IsocenterError as error:
            why = str(error)
        answer = subprocess.run([tool, *OPTIONS[tool], str(path)], capture_output=True, timeout=60, check=False)
        if answer.returncode:
            continue
        if ours is None:
            found[name] = [f"refused by us alone: {why}"]
            continue
        try:
            theirs = read_native_xml(answer.stdout) if tool == "dcm2xml" else json.loads(answer.stdout)
        except (DataSetError, ValueError) as error:
            found[name] = [f"unreadable: {error}"]
            continue
        compared += 1
        mine = read_native_xml(native_xml(ours)) if tool == "dcm2xml" else ours
        if wrong := list(differences(mine, theirs)):
            found[name] = wrong[:3]
    print(json.dumps(found, indent=1))
    assert found.keys() == DIFFERENT[tool].keys()
    assert compared > 300  # dcm2json takes no compressed pixel data
