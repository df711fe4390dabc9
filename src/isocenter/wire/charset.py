"""Text in every Specific Character Set, both ways (PS3.5 section 6.1, PS3.3 C.12.1.1.2, ISO/IEC 2022).

Decoding never fails: what cannot be read becomes U+FFFD, and a flag says so. Text is decoded before it is split into
values, because in GB18030, GBK and the two-byte sets of ISO 2022 the byte of a backslash can be half a character.

Flags: "unknown-charset" (a term nobody defined; the rest is used), "undecodable-text" (replacement happened),
"undeclared-charset" (bytes above 7F under the default repertoire, read as Latin-1), "missing-escape" (a two-byte
character whose escape sequence the writer forgot).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from isocenter.errors import DataSetError

# The VRs that Specific Character Set applies to (PS3.5 section 6.1.2.2)
AFFECTED_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})

ESC = b"\x1b"


@dataclass(frozen=True, slots=True)
class CodeElement:
    """One set that can be designated: `escape` to do so, G0 or G1, its Python codec.

    `wide` sets have two bytes a character. `shift` maps bytes as they stand in the text to bytes of the codec, where
    they differ: "euc" sets the high bits, "euc3" also puts 8F in front.
    """

    escape: bytes
    g1: bool
    codec: str
    wide: bool = False
    shift: str = ""


_ASCII = CodeElement(ESC + b"(B", False, "ascii")
_ROMAJI = CodeElement(ESC + b"(J", False, "shift_jis")
_KATAKANA = CodeElement(ESC + b")I", True, "shift_jis")
_JIS_X_0208 = CodeElement(ESC + b"$B", False, "euc_jp", True, "euc")
_JIS_X_0212 = CodeElement(ESC + b"$(D", False, "euc_jp", True, "euc3")
_KS_X_1001 = CodeElement(ESC + b"$)C", True, "euc_kr", True)
_GB_2312 = CodeElement(ESC + b"$)A", True, "gb2312", True)

# ISO registration number to Python codec and final byte(s) of the G1 escape: PS3.3 Tables C.12-2 and C.12-3
_LATIN_LIKE = {
    100: ("latin_1", b"A"),
    101: ("iso8859_2", b"B"),
    109: ("iso8859_3", b"C"),
    110: ("iso8859_4", b"D"),
    126: ("iso8859_7", b"F"),
    127: ("iso8859_6", b"G"),
    138: ("iso8859_8", b"H"),
    144: ("iso8859_5", b"L"),
    148: ("iso8859_9", b"M"),
    166: ("tis_620", b"T"),
    203: ("iso8859_15", b"b"),
}
_BY_NUMBER: dict[int, tuple[CodeElement, ...]] = {
    6: (_ASCII,),
    13: (_ROMAJI, _KATAKANA),
    58: (_ASCII, _GB_2312),
    87: (_JIS_X_0208,),
    149: (_ASCII, _KS_X_1001),
    159: (_JIS_X_0212,),
    **{n: (_ASCII, CodeElement(ESC + b"-" + end, True, codec)) for n, (codec, end) in _LATIN_LIKE.items()},
}
_BY_ESCAPE = {element.escape: element for elements in _BY_NUMBER.values() for element in elements}
# JIS C 6226-1978, the set's older edition
_BY_ESCAPE[ESC + b"$@"] = _JIS_X_0208

# Character sets that stand alone, without code extensions (PS3.3 Table C.12-5)
_ALONE = {"ISO_IR 192": "utf_8", "GB18030": "gb18030", "GBK": "gbk"}

_TERM = re.compile(r"ISO[ _-]*(?:(2022)[ _-]*)?IR[ _-]*(\d+)")
_ESCAPE = re.compile(rb"\x1b(?:\$?[()\-][ -~]|\$[@B])")
_GRAPHIC = re.compile(rb"[\x21-\x7e]+")
_CONTROLS = rb"\t\n\x0c\r"
_RESETS = {
    "PN": re.compile(rb"([" + _CONTROLS + rb"\\^=])"),
    "": re.compile(rb"([" + _CONTROLS + rb"\\])"),
    "ST": re.compile(rb"([" + _CONTROLS + rb"])"),
}
_SINGLE_VALUED = frozenset({"ST", "LT", "UT"})


def _resets(vr: str) -> re.Pattern[bytes]:
    """The bytes after which the initial sets are in force again (PS3.5 section 6.1.2.5.3)."""
    return _RESETS["PN"] if vr == "PN" else _RESETS["ST"] if vr in _SINGLE_VALUED else _RESETS[""]


@dataclass(frozen=True, slots=True)
class Repertoire:
    """A Specific Character Set, understood.

    `codec` reads a whole value when no escape sequence is in it. `g0` and `g1` are the initial sets, `declared` all
    that may be designated; empty for a character set that stands alone. `known` is false if a term was not.
    """

    codec: str
    g0: CodeElement
    g1: CodeElement | None
    declared: tuple[CodeElement, ...]
    known: bool = True


def repertoire(terms: Sequence[str]) -> Repertoire:
    """Understand the values of Specific Character Set (0008,0005); misspellings that are seen are taken."""
    return _repertoire(tuple(terms))


# Bounded: received data choose the terms.
@lru_cache(maxsize=256)
def _repertoire(terms: tuple[str, ...]) -> Repertoire:
    numbers: list[int] = []
    known = True
    for position, raw in enumerate(terms):
        term = raw.strip(" \0").upper()
        alone = _ALONE.get(re.sub(r"^ISO[ _-]*IR[ _-]*192$", "ISO_IR 192", term))
        if alone is not None:
            if position == 0:
                return Repertoire(alone, _ASCII, None, (), known)
            known = False
            continue
        match = _TERM.fullmatch(term)
        number = int(match[2]) if match else int(term) if term.isdecimal() and len(term) < 5 else -1
        if not term and position == 0:
            numbers.append(6)
        elif number in _BY_NUMBER:
            numbers.append(number)
        else:
            known = False
    first = _BY_NUMBER[numbers[0]] if numbers else (_ASCII,)
    g1 = next((element for element in first if element.g1), None)
    g0 = next((element for element in first if not element.g1 and not element.wide), _ASCII)
    declared = [element for number in numbers for element in _BY_NUMBER[number]]
    if _ASCII not in declared and g0 is _ASCII:
        declared.insert(0, _ASCII)
    return Repertoire(g1.codec if g1 else g0.codec, g0, g1, tuple(dict.fromkeys(declared)), known)


# --- decoding ------------------------------------------------------------------------------------------------------


def decode(
    raw: bytes, specific_character_set: Sequence[str] = (), vr: str = "LO", flags: set[str] | None = None
) -> str:
    """The text of a value, with its backslashes and its padding. Never raises; `flags` receives what was wrong.

    `vr` decides where code extensions end; for VRs that Specific Character Set does not apply to, the default
    repertoire is used whatever the terms.
    """
    try:
        # Most values of most VRs; and ASCII means itself in every repertoire but where an escape changes it.
        if ESC not in raw:
            return raw.decode("ascii")
    except UnicodeDecodeError:
        pass
    found: set[str] = set() if flags is None else flags
    if vr not in AFFECTED_VRS:
        return _default(raw, found)
    table = _repertoire(tuple(specific_character_set))
    if not table.known:
        found.add("unknown-charset")
    if not table.declared or ESC not in raw:
        if table.codec == "ascii":
            return _without_escape(raw, table, found)
        return _replace(raw, table.codec, found)
    return "".join(_segments(raw, table, vr, found))


def _default(raw: bytes, flags: set[str]) -> str:
    text = raw.decode("latin_1")
    if not text.isascii():
        flags.add("undeclared-charset")
    return text


def _replace(raw: bytes, codec: str, flags: set[str]) -> str:
    try:
        return raw.decode(codec)
    except UnicodeDecodeError:
        flags.add("undecodable-text")
        return raw.decode(codec, "replace")


def _without_escape(raw: bytes, table: Repertoire, flags: set[str]) -> str:
    """High bytes without an escape, where the initial set has none: a two-byte G1 set if just one was declared."""
    wide = [element for element in table.declared if element.g1 and element.wide]
    if len(wide) == 1:
        try:
            text = raw.decode(wide[0].codec)
        except UnicodeDecodeError:
            return _default(raw, flags)
        flags.add("missing-escape")
        return text
    return _default(raw, flags)


def _segments(raw: bytes, table: Repertoire, vr: str, flags: set[str]) -> Iterator[str]:
    """Decode run by run, following designations and resets."""
    resets = _resets(vr)
    g0, g1 = table.g0, table.g1
    at = 0
    while at < len(raw):
        escape = raw.find(ESC, at)
        run = raw[at : escape if escape >= 0 else len(raw)]
        if run:
            if g0.wide:
                parts = re.split(rb"([" + _CONTROLS + rb"])", run, maxsplit=1)
            else:
                parts = resets.split(run, maxsplit=1)
            yield _run(parts[0], g0, g1, table, flags)
            if len(parts) > 1:
                yield parts[1].decode("ascii")
                g0, g1 = table.g0, table.g1
                at += len(parts[0]) + 1
                continue
        if escape < 0:
            return
        match = _ESCAPE.match(raw, escape)
        element = _BY_ESCAPE.get(match[0]) if match else None
        if element is None:
            flags.add("undecodable-text")
            yield "\ufffd"
            at = match.end() if match else escape + 1
            continue
        if element.g1:
            g1 = element
        else:
            g0 = element
        at = escape + len(element.escape)


def _run(run: bytes, g0: CodeElement, g1: CodeElement | None, table: Repertoire, flags: set[str]) -> str:
    """Text without escapes and resets, in one state."""
    if not g0.wide:
        if run.isascii():
            return run.decode("ascii")
        if g1 is None:
            return _without_escape(run, table, flags)
        return _replace(run, g1.codec, flags)
    # A wide G0 set: graphic characters come in pairs, spaces and high bytes keep their meaning.
    text = ""
    at = 0
    while at < len(run):
        match = _GRAPHIC.match(run, at)
        if match is None:
            end = at + 1
            while end < len(run) and not 0x21 <= run[end] <= 0x7E:
                end += 1
            piece = run[at:end]
            text += piece.decode("ascii") if piece.isascii() else _replace(piece, g1.codec if g1 else "ascii", flags)
            at = end
            continue
        text += _replace(_euc(match[0], g0), g0.codec, flags)
        at = match.end()
    return text


def _euc(pairs: bytes, element: CodeElement) -> bytes:
    high = bytes(byte | 0x80 for byte in pairs)
    if element.shift != "euc3":
        return high
    return b"".join(b"\x8f" + high[at : at + 2] for at in range(0, len(high), 2))


# --- encoding ------------------------------------------------------------------------------------------------------


def encode(text: str, specific_character_set: Sequence[str] = (), vr: str = "LO") -> bytes:
    """The bytes of a text, escapes included; raises DataSetError if the character sets lack one of its characters."""
    if text.isascii():
        return text.encode("ascii")
    table = _repertoire(tuple(specific_character_set) if vr in AFFECTED_VRS else ())
    try:
        raw = text.encode(table.codec)
    except UnicodeEncodeError:
        if not table.declared:
            raise _missing(text) from None
    else:
        # One byte a character, or a character set that stands alone: no designation is needed.
        if not table.declared or len(raw) == len(text):
            return raw
    out = bytearray()
    g0, g1 = table.g0, table.g1
    resets = _resets(vr)
    for character in text:
        if character.isascii() and resets.fullmatch(character.encode("ascii")):
            # Back to the initial sets before a delimiter; a narrow G0 is all it takes to be read.
            if g0 is not table.g0:
                out += table.g0.escape
            g0, g1 = table.g0, table.g1
            out += character.encode("ascii")
            continue
        for element in (g0, g1, *table.declared):
            code = _character(character, element) if element is not None else None
            if element is None or code is None:
                continue
            if element.g1:
                if element is not g1:
                    out += element.escape
                g1 = element
            else:
                if element is not g0:
                    out += element.escape
                g0 = element
            out += code
            break
        else:
            raise _missing(text)
    if g0 is not table.g0:
        out += table.g0.escape
    return bytes(out)


def _missing(text: str) -> DataSetError:
    return DataSetError(f"a text of {len(text)} characters has one that the declared character sets lack")


def _character(character: str, element: CodeElement) -> bytes | None:
    """One character as bytes of a set, None if the set lacks it."""
    try:
        raw = character.encode(element.codec)
    except UnicodeEncodeError:
        return None
    if element.shift == "euc":
        return bytes(byte & 0x7F for byte in raw) if len(raw) == 2 and raw[0] != 0x8E else None
    if element.shift == "euc3":
        return bytes(byte & 0x7F for byte in raw[1:]) if len(raw) == 3 and raw[0] == 0x8F else None
    if element.wide:
        return raw if len(raw) == 2 else None
    if len(raw) != 1 or (raw[0] >= 0x80) != element.g1:
        return None
    return raw
