"""The registries beside pydicom's, which they were generated from, and the facts that were added by hand."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary
from pydicom._private_dict import private_dictionaries
from pydicom._uid_dict import UID_dictionary

from isocenter.std import dictionary, statuses
from isocenter.std.sop_classes import MEDIA_STORAGE_DIRECTORY, SOP_CLASSES, STORAGE_SOP_CLASSES, name_of
from isocenter.std.transfer_syntaxes import TRANSFER_SYNTAXES, transfer_syntax


def test_every_attribute_is_pydicoms() -> None:
    for tag, (vr, vm, name, retired, keyword) in DicomDictionary.items():
        expected = ("" if vr == "NONE" else vr.replace(" or ", "/"), vm, keyword, name, bool(retired))
        assert dictionary.entry_of(tag) == expected
        assert dictionary.keyword_of(tag) == keyword
        assert not keyword or dictionary.tag_of(keyword) == tag


def test_repeating_groups() -> None:
    for mask, (vr, _, name, _, keyword) in RepeatersDictionary.items():
        for digits in ("00", "02", "1E"):
            tag = int(mask.replace("xx", digits).replace("x", digits[1]), 16)
            if tag in DicomDictionary:
                continue
            entry = dictionary.entry_of(tag)
            assert entry is not None
            assert (entry.vr, entry.name, entry.keyword) == (vr.replace(" or ", "/"), name, keyword)
    assert dictionary.tag_of("OverlayRows") == 0x60000010
    assert dictionary.entry_of(0x60010010) is None


@pytest.mark.parametrize(
    ("vr", "tag"),
    [
        ("PN", 0x00100010), ("OW", 0x7FE00010), ("US", 0x00280106), ("OW", 0x00283006), ("OW", 0x60023000),
        ("UL", 0x00080000), ("LO", 0x00090010), ("UN", 0x00091010), ("UN", 0x00080003), ("UN", 0xFFFEE000),
    ],
)  # fmt: skip
def test_vr_in_implicit_vr_data(vr: str, tag: int) -> None:
    assert dictionary.vr_of(tag) == vr


def test_names_for_display() -> None:
    assert dictionary.name_of(0x00100010) == "Patient's Name"
    assert dictionary.name_of(0x00080000) == "Group Length"
    assert dictionary.name_of(0x00090010) == "Private Creator"
    assert dictionary.name_of(0x00091010) == ""
    assert dictionary.tag_of("NoSuchKeyword") is None
    assert dictionary.tag_of("") is None


def test_sequence_tags_are_all_of_vr_sq() -> None:
    repeating = [mask for mask, entry in RepeatersDictionary.items() if entry[0] == "SQ"]
    assert repeating == ["50xx2600"]
    assert dictionary.sequence_tags() == {tag for tag, entry in DicomDictionary.items() if entry[0] == "SQ"} | {
        0x50002600 | number << 16 for number in range(0, 0x100, 2)
    }


def test_private_attributes_are_found_in_any_block() -> None:
    entry = dictionary.private_entry(0x00291008, "SIEMENS CSA HEADER")
    assert entry == ("CS", "1", "CSA Image Header Type")
    assert dictionary.private_entry(0x00294208, "SIEMENS CSA HEADER") == entry
    assert dictionary.private_entry(0x00291008, "NOBODY") is None
    for creator, table in private_dictionaries.items():
        for mask, expected in table.items():
            concrete = mask.replace("x", "1")
            found = dictionary.private_entry(int(concrete, 16), creator)
            assert found is not None, (creator, mask)
            if not any(other in table for other in (concrete, f"{concrete[:4]}xx{concrete[6:]}") if other != mask):
                assert found.vr == expected[0].replace(" or ", "/")


def test_transfer_syntaxes_are_all_there() -> None:
    registered = {uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax"}
    assert registered < set(TRANSFER_SYNTAXES)
    for uid in registered:
        row = TRANSFER_SYNTAXES[uid]
        assert (row.name, row.keyword, row.retired) == (
            UID_dictionary[uid][0],
            UID_dictionary[uid][4],
            bool(UID_dictionary[uid][3]),
        )
    assert set(TRANSFER_SYNTAXES) - registered <= {
        "1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.111", "1.2.840.10008.1.2.4.112", "1.2.840.10008.1.2.8.1",
        "1.2.840.113619.5.2",
    }  # fmt: skip


def test_traits_of_transfer_syntaxes() -> None:
    def having(**traits: bool) -> set[str]:
        return {
            row.uid.removeprefix("1.2.840.10008.1.2") if ".1.20" not in row.uid else row.uid
            for row in TRANSFER_SYNTAXES.values()
            if all(getattr(row, name) == value for name, value in traits.items())
        }

    assert having(explicit=False) == {"", "1.2.840.10008.1.20", "1.2.840.113619.5.2"}
    assert having(little=False) == {".2"}
    assert having(deflated=True) == {".1.99", ".4.95", ".4.205"}
    assert having(document=True) == {".6.1", ".6.2", ".7.1", ".7.2", ".7.3"}
    assert having(big_endian_pixels=True) == {"1.2.840.113619.5.2"}
    assert having(encapsulated=True, lossy=False) == {
        ".1.98", ".4.57", ".4.58", ".4.65", ".4.66", ".4.70", ".4.80", ".4.90", ".4.92", ".4.110", ".4.201", ".4.202",
        ".5", ".8.1",
    }  # fmt: skip
    assert having(encapsulated=False, document=False) == {
        "", ".1", ".1.99", ".2", ".4.94", ".4.95", ".4.204", ".4.205", "1.2.840.10008.1.20", "1.2.840.113619.5.2",
    }  # fmt: skip


def test_an_unknown_transfer_syntax_is_taken_for_a_compressed_one() -> None:
    row = transfer_syntax("1.2.3")
    assert (row.uid, row.name, row.little, row.explicit, row.encapsulated) == ("1.2.3", "", True, True, True)


def test_storage_classes() -> None:
    for uid, (name, kind, info, retired, keyword) in UID_dictionary.items():
        if kind in ("SOP Class", "Meta SOP Class") and name:
            row = SOP_CLASSES[uid]
            assert (row.name, row.keyword, row.retired) == (name, keyword, bool(retired))
            assert row.body == (info.split()[0] if info else "DICOM")
    assert len(STORAGE_SOP_CLASSES) >= 208
    assert MEDIA_STORAGE_DIRECTORY not in STORAGE_SOP_CLASSES
    for uid in (
        "1.2.840.10008.5.1.4.1.1.2",  # CT
        "1.2.840.10008.5.1.4.1.1.66.7",  # label map, 2024d
        "1.2.840.10008.5.1.4.1.1.66.8",  # height map
        "1.2.840.10008.5.1.4.1.1.3",  # retired ultrasound, still sent
        "1.2.840.10008.5.1.4.38.1",  # hanging protocol: no patient
        "1.2.840.10008.5.1.4.1.1.501.1",  # DICOS
        "1.2.840.10008.5.1.4.34.7",  # RT beams delivery instruction
    ):
        assert uid in STORAGE_SOP_CLASSES
    for uid in ("1.2.840.10008.1.1", "1.2.840.10008.1.20.1", "1.2.840.10008.5.1.4.31", "1.2.840.10008.5.1.4.34.8"):
        assert uid in SOP_CLASSES
        assert uid not in STORAGE_SOP_CLASSES


def test_names_of_sop_classes() -> None:
    assert name_of("1.2.840.10008.1.1") == "Verification"
    assert name_of("1.2.840.10008.5.1.1.33") == "Media Creation Management"
    assert name_of("1.2.3") == "1.2.3"


@pytest.mark.parametrize(
    ("kind", "codes"),
    [
        ("success", [0x0000]),
        ("pending", [0xFF00, 0xFF01]),
        ("cancel", [0xFE00]),
        ("warning", [0x0001, 0x0107, 0x0116, 0xB000, 0xB007, 0xB604]),
        ("failure", [0x0110, 0x0122, 0xA700, 0xA701, 0xA900, 0xC000, 0xC123, 0xFFFF]),
    ],
)
def test_kinds_of_statuses(kind: str, codes: list[int]) -> None:
    assert [statuses.kind_of(code) for code in codes] == [kind] * len(codes)


def test_meanings_of_statuses() -> None:
    assert statuses.meaning_of(0x0122) == "SOP Class not supported"
    assert statuses.meaning_of(0xA801, statuses.MOVE) == "Refused: move destination unknown"
    assert 0xA801 not in statuses.GET
    assert statuses.meaning_of(0xA7AB, statuses.STORAGE) == "Refused: out of resources"
    assert statuses.meaning_of(0xC123, statuses.STORAGE) == "Error: cannot understand"
    assert statuses.meaning_of(0xB123) == "Warning"


def test_the_tables_load_without_pydicom_and_numpy() -> None:
    code = (
        "import sys, isocenter.std.dictionary as d, isocenter.std.sop_classes, isocenter.std.transfer_syntaxes;"
        "assert d.vr_of(0x00100010) == 'PN'; print(sorted({'pydicom', 'numpy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
