"""Models to bytes: round trips through our reader and pydicom's, and what is refused."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from struct import pack
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.filereader import read_dataset

from data_sets import explicit
from isocenter.errors import DataSetError, IsocenterError, LimitExceeded
from isocenter.wire.dicomjson import dataset_json
from isocenter.wire.encode import encode_dataset
from isocenter.wire.limits import Limits
from isocenter.wire.part10 import read_header
from isocenter.wire.scan import scan

SYNTAX = {(True, False): "1.2.840.10008.1.2", (True, True): "1.2.840.10008.1.2.1", (False, True): "1.2.840.10008.1.2.2"}
STUDY: dict[str, Any] = {
    "00080020": {"vr": "DA", "Value": ["20240229"]},
    "00080061": {"vr": "CS", "Value": ["CT", "SR"]},
    "00100010": {
        "vr": "PN",
        "Value": [{"Alphabetic": "Hong^Gildong", "Ideographic": "洪^吉洞", "Phonetic": "홍^길동"}],
    },
    "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
    "00201208": {"vr": "IS", "Value": [60]},
    "00200032": {"vr": "DS", "Value": [-0.5, 7, 1e-7]},
    "00280010": {"vr": "US", "Value": [512]},
    "00420011": {"vr": "OB", "InlineBinary": "AAEC/w=="},
    "00280009": {"vr": "AT", "Value": ["00181063"]},
    "00081110": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2.3.4"]}}, {}]},
    "00081030": {"vr": "LO"},
}


@pytest.mark.parametrize(("little", "is_explicit"), sorted(SYNTAX))
def test_what_is_written_is_read_back(little: bool, is_explicit: bool) -> None:
    data = encode_dataset(STUDY, little=little, explicit=is_explicit)
    found = scan(data, little=little, explicit=is_explicit)
    assert found.flags == frozenset()
    assert dataset_json(data, SYNTAX[little, is_explicit]) == {
        "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
        **dict(sorted(STUDY.items())),
    }
    theirs = read_dataset(BytesIO(data), not is_explicit, little)
    assert theirs.PatientName == "Hong^Gildong=洪^吉洞=홍^길동"
    assert theirs.ImagePositionPatient == [-0.5, 7, 1e-7]
    assert theirs.ReferencedStudySequence[0].ReferencedSOPInstanceUID == "1.2.3.4"


@pytest.mark.parametrize(
    ("vr", "values", "raw"),
    [
        ("CS", ["A"], b"A "),
        ("UI", ["1.2"], b"1.2\0"),
        ("CS", ["A", None, "B"], b"A\\\\B"),
        ("DS", [1 / 3], b"0.33333333333333"),
        ("DS", [-1.2345678901234567e-300], b"-1.23456789e-300"),
        ("DS", ["1.50"], b"1.50"),
        ("IS", [5.0], b"5 "),
        ("FD", ["NaN", "-Infinity"], pack("<2d", float("nan"), float("-inf"))),
        ("UV", [str(2**64 - 1)], b"\xff" * 8),
        ("PN", [{"Phonetic": "x"}], b"==x "),
        ("PN", ["A^B"], b"A^B "),
        ("ST", ["a\\b"], b"a\\b "),
        ("OB", None, b""),
    ],
)
def test_values(vr: str, values: list[Any] | None, raw: bytes) -> None:
    entry = {"vr": vr} if values is None else {"vr": vr, "Value": values}
    assert encode_dataset({"00091001": entry}, charset=()) == explicit(0x00091001, vr, raw)


def test_text_is_written_in_the_character_set_asked_for() -> None:
    entry = {"vr": "PN", "Value": [{"Alphabetic": "Doe", "Ideographic": "山田^太郎"}]}
    data = encode_dataset(
        {"00080005": {"vr": "CS", "Value": ["GBK"]}, "00100010": entry}, charset=("", "ISO 2022 IR 87")
    )
    assert b"\\ISO 2022 IR 87" in data
    assert b"=\x1b$B;3ED\x1b(B^" in data
    assert dataset_json(data, SYNTAX[True, True])["00100010"] == entry
    with pytest.raises(DataSetError) as caught:
        encode_dataset({"00100010": entry}, charset=("ISO_IR 100",))
    assert caught.value.tag_path == "(0010,0010)"
    assert encode_dataset({"00080005": {"vr": "CS", "Value": ["GBK"]}}, charset=("ISO_IR 6",)) == b""


def test_words_and_bulk() -> None:
    model = {"7FE00010": {"vr": "OW", "BulkDataURI": "b/1"}}
    assert encode_dataset(model, little=False, charset=(), bulk=lambda uri: uri[:2].encode()).endswith(b"/b")
    with pytest.raises(DataSetError, match="bulk data"):
        encode_dataset(model)


def test_too_long_for_its_vr_becomes_un() -> None:
    data = encode_dataset({"00081030": {"vr": "LO", "Value": ["x" * 70_000]}}, charset=())
    assert data == explicit(0x00081030, "UN", b"x" * 70_000)
    assert dataset_json(data, SYNTAX[True, True])["00081030"]["Value"] == ["x" * 70_000]


@pytest.mark.parametrize(
    "entry",
    [
        None, 5, {"vr": "QQ"}, {"vr": 5}, {"vr": "US", "Value": [70_000]}, {"vr": "US", "Value": ["x"]},
        {"vr": "US", "Value": 5}, {"vr": "CS", "Value": [5]}, {"vr": "PN", "Value": [5]}, {"vr": "IS", "Value": [1.5]},
        {"vr": "IS", "Value": [True]}, {"vr": "DS", "Value": [float("inf")]}, {"vr": "DS", "Value": [[]]},
        {"vr": "OB", "Value": [1]}, {"vr": "OB", "InlineBinary": "%%"}, {"vr": "OB", "InlineBinary": 5},
        {"vr": "AT", "Value": ["xyz"]}, {"vr": "AT", "Value": [5]}, {"vr": "SQ", "Value": [5]},
        {"vr": "LT", "Value": ["a", "b"]}, {"vr": "FL", "Value": [1e300]}, {"vr": "PN", "Value": [{"Alphabetic": 5}]},
    ],
)  # fmt: skip
def test_what_is_refused(entry: Any) -> None:
    model = {"00081110": {"vr": "SQ", "Value": [{}, {"00091001": entry}]}}
    with pytest.raises(DataSetError) as caught:
        encode_dataset(model)
    assert (caught.value.tag_path or "").startswith("(0008,1110)[1].(0009,1001)")


@pytest.mark.parametrize("form", ["InlineBinary", "BulkDataURI"])
def test_a_sequence_is_not_taken_as_bytes(form: str) -> None:
    with pytest.raises(DataSetError, match="by its items") as caught:
        encode_dataset({"00081110": {"vr": "SQ", form: "0000"}}, bulk=lambda uri: b"\xd3\x4d\x34")
    assert "(0008,1110)" == caught.value.tag_path


def test_names_that_are_no_tags_and_nesting() -> None:
    for key in ("PatientName", "0010", "0010001G", ""):
        with pytest.raises(DataSetError, match="eight hex digits"):
            encode_dataset({key: {"vr": "LO"}})
    model: dict[str, Any] = {}
    for _ in range(10):
        model = {"00081110": {"vr": "SQ", "Value": [model]}}
    encode_dataset(model, limits=Limits(nesting=10))
    with pytest.raises(LimitExceeded):
        encode_dataset(model, limits=Limits(nesting=9))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["Alphabetic", "x"]), inner, max_size=2)
    ),
    max_leaves=5,
)


@settings(max_examples=500, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["00100010", "00080016", "00081110", "00091001", "00280010"]),
        st.dictionaries(
            st.sampled_from(["vr", "Value", "InlineBinary"]),
            json_values | st.sampled_from(["PN", "DS", "SQ", "US", "OB"]),
        ),
    )
)
def test_any_json_is_encoded_or_refused(model: dict[str, Any]) -> None:
    try:
        data = encode_dataset(model)
    except IsocenterError:
        return
    scan(data, little=True, explicit=True)


@pytest.mark.slow
def test_corpus_models_survive_the_way_there_and_back(corpus: Path) -> None:
    compared = 0
    for number, path in enumerate(sorted(corpus.rglob("*"))):
        if not path.is_file() or path.is_relative_to(corpus / "fuzz-pwnlabmx"):
            continue
        data = path.read_bytes()
        try:
            meta = read_header(data)
            model = dataset_json(data, meta.transfer_syntax, start=meta.data_set_offset, bulk_threshold=1 << 40)
        except IsocenterError:
            continue
        little = number % 2 == 0
        raw = encode_dataset(model, little=little)
        again = dataset_json(raw, SYNTAX[little, True], bulk_threshold=1 << 40)
        assert _comparable(again) == _comparable(model), path
        compared += 1
    assert compared > 500


def _comparable(value: Any) -> Any:
    """A model without its character sets, numbers to as many digits as a DS of 16 characters holds."""
    if isinstance(value, dict):
        return {key: _comparable(entry) for key, entry in value.items() if key != "00080005"}
    if isinstance(value, list):
        return [_comparable(entry) for entry in value]
    return float(f"{value:.8g}") if isinstance(value, float) else value
