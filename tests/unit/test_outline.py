"""Recognising a header gives what proving it anew gives: keys, flags or the same refusal."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.data import get_testdata_file

from isocenter.archive import examine as examining
from isocenter.archive.examine import Announced, Examiner, examine
from isocenter.errors import IsocenterError
from isocenter.std.transfer_syntaxes import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    TransferSyntax,
    transfer_syntax,
)
from isocenter.wire.limits import DEFAULT_LIMITS
from isocenter.wire.outline import Outline
from isocenter.wire.scan import ScanResult, scan

LITTLE = transfer_syntax(EXPLICIT_VR_LITTLE_ENDIAN)
FORMS = [LITTLE, transfer_syntax(IMPLICIT_VR_LITTLE_ENDIAN), transfer_syntax(EXPLICIT_VR_BIG_ENDIAN)]


def data_set(syntax: TransferSyntax, name: str = "CT_small.dcm") -> bytes:
    source = dcmread(str(get_testdata_file(name)))
    source.decompress() if source.file_meta.TransferSyntaxUID.is_compressed else None
    buffer = BytesIO()
    plain = Dataset(source)
    plain.PixelData = source.PixelData[:256]
    dcmwrite(buffer, plain, little_endian=syntax.little, implicit_vr=not syntax.explicit)
    return buffer.getvalue()


def outcome(look: Callable[[], Any]) -> Any:
    try:
        return look()
    except IsocenterError as error:
        return type(error), error.args, error.offset, error.tag_path


def taught(data: bytes, syntax: TransferSyntax) -> Examiner:
    """One that has seen the header often enough to know it."""
    examiner = Examiner(DEFAULT_LIMITS)
    for _ in range(2):
        examiner.examine(data, 0, Announced("", "", syntax.uid))
    return examiner


@pytest.mark.parametrize("syntax", FORMS, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm"])
def test_a_header_seen_twice_is_not_proved_a_third_time(monkeypatch: Any, syntax: TransferSyntax, name: str) -> None:
    data = data_set(syntax, name)
    examiner = taught(data, syntax)
    expected = examine(data, 0, Announced("", "", syntax.uid), DEFAULT_LIMITS)
    begins: list[int] = []

    def watched(*arguments: Any, **named: Any) -> ScanResult:
        begins.append(named["start"])
        return scan(*arguments, **named)

    monkeypatch.setattr(examining, "scan", watched)

    assert examiner.examine(data, 0, Announced("", "", syntax.uid)) == expected
    assert not begins
    longer = data + bytes(4)
    expected = examine(longer, 0, Announced("", "", syntax.uid), DEFAULT_LIMITS)
    begins.clear()
    assert examiner.examine(longer, 0, Announced("", "", syntax.uid)) == expected
    assert [0] < begins  # the pixel data and what follows, but not the header
    assert len(begins) == 1


@pytest.mark.parametrize("syntax", FORMS, ids=lambda syntax: syntax.name)
def test_wherever_the_data_set_begins(syntax: TransferSyntax) -> None:
    data = data_set(syntax)
    examiner = taught(data, syntax)
    said = Announced("", "", syntax.uid)
    for begin in (1, 132, 333):
        for form in (bytes, memoryview):
            there = form(bytes(begin) + data)
            assert examiner.examine(there, begin, said) == examine(data, 0, said, DEFAULT_LIMITS)


@pytest.mark.parametrize("syntax", FORMS, ids=lambda syntax: syntax.name)
def test_every_byte_of_the_header_changed(syntax: TransferSyntax) -> None:
    data = data_set(syntax)
    examiner, said = taught(data, syntax), Announced("", "", syntax.uid)
    for at in range(0, len(data) - 300, 1 if syntax is LITTLE else 7):
        changed = bytearray(data)
        changed[at] ^= 0x11
        expected = outcome(lambda: examine(bytes(changed), 0, said, DEFAULT_LIMITS))  # noqa: B023
        assert outcome(lambda: examiner.examine(bytes(changed), 0, said)) == expected, at  # noqa: B023


CT = data_set(LITTLE)
EXAMINER = taught(CT, LITTLE)


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.integers(0, len(CT) - 1), st.binary(min_size=1, max_size=6)), max_size=4),
    st.none() | st.integers(0, len(CT)),
)
def test_any_change(changes: list[tuple[int, bytes]], cut: int | None) -> None:
    changed = bytearray(CT)
    for at, new in changes:
        changed[at : at + len(new)] = new
    data, said = bytes(changed[:cut]), Announced("", "", LITTLE.uid)
    expected = outcome(lambda: examine(data, 0, said, DEFAULT_LIMITS))
    assert outcome(lambda: EXAMINER.examine(data, 0, said)) == expected


def test_what_is_said_of_patient_and_study_is_read_again_when_it_changes() -> None:
    said = Announced("", "", LITTLE.uid)
    examiner = taught(CT, LITTLE)
    other = CT.replace(b"CompressedSamples^CT1", b"CompressedSamples^CT2")
    assert other != CT
    for data in (CT, other, other, CT):
        assert examiner.examine(data, 0, said) == examine(data, 0, said, DEFAULT_LIMITS)


def test_sequences_and_fixed_values_are_structure() -> None:
    said = Announced("", "", LITTLE.uid)
    found = scan(CT, little=True, explicit=True, stop=0x7FE00010)
    outline = Outline(CT, 0, found.end, found.elements.values(), frozenset({0x00080016}))
    element = found.elements[0x00080018]
    assert outline.difference(CT, 0) == 0
    assert outline.values([0x00080018]) == ((1 << 8 * element.length) - 1) << 8 * element.offset
    changed = bytearray(CT)
    changed[element.offset] ^= 1
    assert outline.difference(bytes(changed), 0) == 1 << 8 * element.offset
    changed[found.elements[0x00080016].offset] ^= 1
    assert outline.difference(bytes(changed), 0) is None
    assert examine(CT, 0, said, DEFAULT_LIMITS)


def test_no_more_outlines_are_kept_than_promised() -> None:
    said = Announced("", "", LITTLE.uid)
    examiner = Examiner(DEFAULT_LIMITS)
    source = dcmread(str(get_testdata_file("CT_small.dcm")))
    for length in range(2, 90, 2):
        source.ImageComments = "x" * length
        buffer = BytesIO()
        dcmwrite(buffer, Dataset(source), little_endian=True, implicit_vr=False)
        for _ in range(2):
            examiner.examine(buffer.getvalue(), 0, said)
    assert {form: len(known) for form, known in examiner._known.items()} == {(True, True): examining._OUTLINES}
