"""Every Specific Character Set both ways: the standard's own examples, pydicom's reading, and broken text."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue

from isocenter.errors import DataSetError
from isocenter.wire.charset import AFFECTED_VRS, decode, encode

KANJI = ("", "ISO 2022 IR 87")
KATAKANA = ("ISO 2022 IR 13", "ISO 2022 IR 87")
KOREAN = ("", "ISO 2022 IR 149")
CHINESE = ("", "ISO 2022 IR 58")

# PS3.5 Annexes H, I, J and K: bytes and what they say
EXAMPLES = [
    (
        KANJI,
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ),
    (
        KATAKANA,
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    ),
    (
        KOREAN,
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
        "Hong^Gildong=洪^吉洞=홍^길동",
    ),
    (CHINESE, b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=", "Zhang^XiaoDong=张^小东="),
    (("ISO_IR 192",), "Wang^XiaoDong=王^小東".encode(), "Wang^XiaoDong=王^小東"),
    (("GB18030",), b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab", "Wang^XiaoDong=王^小东"),
    (("GBK",), b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab", "Wang^XiaoDong=王^小东"),
    (("ISO_IR 100",), b"Buc^J\xe9r\xf4me", "Buc^Jérôme"),
    (("ISO_IR 101",), b"W\xb3odarczyk", "Włodarczyk"),
    (("ISO_IR 109",), b"\xa6u\xfda", "Ĥuŭa"),
    (("ISO_IR 110",), b"\xb9irs", "širs"),
    (("ISO_IR 126",), b"\xc4\xe9\xef\xed\xf5\xf3\xe9\xef\xf2", "Διονυσιος"),
    (("ISO_IR 127",), b"\xe2\xc8\xc7\xe6\xea^\xe4\xe6\xd2\xc7\xd1", "قباني^لنزار"),
    (("ISO_IR 138",), b"\xf9\xf8\xe5\xef^\xe3\xe1\xe5\xf8\xe4", "שרון^דבורה"),
    (("ISO_IR 144",), b"\xbb\xee\xda\xe1\xd5\xdc\xd1\xe3\xe0\xd3", "Люксембург"),
    (("ISO_IR 148",), b"\xddstanbul", "İstanbul"),
    (("ISO_IR 166",), b"\xca\xc1\xaa\xd2\xc2", "สมชาย"),
    (("ISO_IR 203",), b"\xa4uro", "€uro"),
    (("ISO_IR 13",), b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
    (("", "ISO 2022 IR 144"), b"A^\x1b-L\xbb\xee", "A^Лю"),
    (("ISO 2022 IR 100", "ISO 2022 IR 126"), b"J\xe9r^\x1b-F\xc4\xe9=\xe9", "Jér^Δι=é"),
    (("", "ISO 2022 IR 159"), b"\x1b$(D\x30\x21\x1b(B", "丂"),
]


@pytest.mark.parametrize(("terms", "raw", "text"), EXAMPLES)
def test_examples(terms: tuple[str, ...], raw: bytes, text: str) -> None:
    flags: set[str] = set()
    assert decode(raw, terms, "PN", flags) == text
    assert flags == set()
    assert decode(encode(text, terms, "PN"), terms, "PN") == text


@pytest.mark.parametrize(("terms", "raw", "text"), [row for row in EXAMPLES if row[0] != CHINESE])
def test_encoding_writes_what_the_standard_shows(terms: tuple[str, ...], raw: bytes, text: str) -> None:
    assert encode(text, terms, "PN") == raw


@pytest.mark.parametrize("vr", ["LO", "ST"])
@pytest.mark.parametrize("separator", ["\\", "\r\n", "\t", "\f"])
def test_delimiters_reset_the_sets(vr: str, separator: str) -> None:
    text = f"홍{separator}길동"
    raw = encode(text, KOREAN, vr)
    again = vr == "ST" and separator == "\\"  # no delimiter in text of one value
    assert raw.count(b"\x1b") == (1 if again else 2)
    assert decode(raw, KOREAN, vr) == text


def test_half_characters_are_no_delimiters() -> None:
    # 0x5C is the second byte of these; the character decides, not the byte
    assert decode("表\\倀".encode("gb18030"), ("GB18030",), "LO") == "表\\倀"
    raw = encode("ソ^\\ソ", KANJI, "PN")
    assert decode(raw, KANJI, "PN") == "ソ^\\ソ"
    assert decode(b"\x1b$B%;%*\x1b(B\\a", KANJI, "LO") == "セオ\\a"


@pytest.mark.parametrize(
    "spelling",
    ["ISO_IR 100", "ISO IR 100", "ISO-IR 100", "ISO_IR_100", "iso_ir 100", "100", "ISO 2022 IR 100", " ISO_IR 100 "],
)
def test_misspelt_terms_that_are_met(spelling: str) -> None:
    flags: set[str] = set()
    assert decode(b"J\xe9r", (spelling,), "PN", flags) == "Jér"
    assert flags == set()


@pytest.mark.parametrize(
    ("flag", "terms", "raw", "text"),
    [
        ("unknown-charset", ("ISO_IR 999",), b"J\xe9r", "Jér"),
        ("unknown-charset", ("ISO_IR 100", "klingon"), b"J\xe9r", "Jér"),
        ("undeclared-charset", (), b"J\xe9r", "Jér"),
        ("undeclared-charset", ("ISO_IR 6",), b"J\xe9r", "Jér"),
        ("undecodable-text", ("ISO_IR 192",), b"J\xe9r", "J\ufffdr"),
        ("undecodable-text", KANJI, b"\x1b$B;3E", "山\ufffd"),
        ("undecodable-text", KANJI, b"\x1b%GA", None),
        ("undecodable-text", KANJI, b"A\x1b", "A\ufffd"),
        ("missing-escape", KOREAN, b"\xc8\xab", "홍"),
        ("missing-escape", KOREAN, b"Hong=\x1b$)C\xc8\xab^\xb1\xe6", "Hong=홍^길"),
    ],
)
def test_broken_text_is_read_with_a_flag(flag: str, terms: tuple[str, ...], raw: bytes, text: str | None) -> None:
    flags: set[str] = set()
    found = decode(raw, terms, "PN", flags)
    assert flag in flags
    assert text is None or found == text


def test_vrs_outside_the_character_set_are_default_repertoire() -> None:
    assert decode("é".encode(), ("ISO_IR 192",), "CS") == "Ã©"
    assert decode("é".encode(), ("ISO_IR 192",), "LO") == "é"


def test_what_a_set_lacks_cannot_be_encoded() -> None:
    for terms in ((), ("ISO_IR 100",), ("ISO 2022 IR 100", "ISO 2022 IR 126"), KOREAN, ("GBK",)):
        with pytest.raises(DataSetError) as caught:
            encode("Жуков \U0001f9e0", terms, "LO")
        assert "Жуков" not in str(caught.value)
    assert encode("\U0001f9e0", ("GB18030",)) == "\U0001f9e0".encode("gb18030")


TERMS = st.lists(
    st.sampled_from(
        ["", "ISO_IR 6", "ISO_IR 100", "ISO 2022 IR 13", "ISO 2022 IR 87", "ISO 2022 IR 159", "ISO 2022 IR 149",
         "ISO 2022 IR 58", "ISO 2022 IR 144", "ISO_IR 192", "GB18030", "GBK", "nonsense"]
    ),
    max_size=4,
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(
    st.lists(
        st.sampled_from([b"\x1b", b"$", b"(", b")", b"B", b"C", b"J", b"\\", b"^", b"=", b"\xb1\xe6"])
        | st.binary(max_size=3)
    ),
    TERMS,
    st.sampled_from(sorted(AFFECTED_VRS)),
)
def test_decoding_never_raises(parts: list[bytes], terms: list[str], vr: str) -> None:
    assert isinstance(decode(b"".join(parts), terms, vr, set()), str)


@settings(max_examples=500, deadline=None)
@given(st.text("aZ 9^=\\\r\néüßДюΔשع山田太郎ヤﾔ홍길동洪张小东ア丂"), TERMS, st.sampled_from(["PN", "LO", "UT"]))
def test_what_can_be_encoded_is_decoded_again(text: str, terms: list[str], vr: str) -> None:
    try:
        raw = encode(text, terms, vr)
    except DataSetError:
        return
    flags: set[str] = set()
    assert decode(raw, terms, vr, flags) == text
    assert flags <= {"unknown-charset"}


def test_the_charset_files_read_as_by_pydicom(corpus: Path) -> None:
    compared = 0

    def compare(ds: Dataset, inherited: list[str]) -> None:
        nonlocal compared
        declared = ds.get("SpecificCharacterSet", inherited)
        terms = [declared] if isinstance(declared, str) else list(declared or [])
        for tag, raw in list(ds._dict.items()):
            if isinstance(raw, RawDataElement) and raw.value and (raw.VR or dictionary_VR(tag)) in AFFECTED_VRS:
                value = ds[tag].value
                expected = "\\".join(map(str, value)) if isinstance(value, MultiValue) else str(value)
                # pydicom drops empty component groups at the end
                assert decode(raw.value, terms, raw.VR or dictionary_VR(tag)).rstrip(" \0=") == expected.rstrip(" ")
                compared += 1
        for element in ds:
            if element.VR == "SQ":
                for child in element.value:
                    compare(child, terms)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in sorted((corpus / "pydicom" / "charset_files").glob("*.dcm")):
            compare(dcmread(path), [])
    assert compared > 100
