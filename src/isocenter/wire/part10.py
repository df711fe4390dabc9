"""DICOM files (PS3.10 section 7): preamble, prefix and file meta information, read leniently and written strictly.

The File Meta Information Group Length is a claim; the group ends where its tags end. The transfer syntax is a claim
too: the first elements of the data set are looked at, and when they are plainly in another encoding, that is reported.

Flags: "no-preamble", "no-file-meta", "no-meta-length", "wrong-meta-length", "implicit-file-meta", "long-meta-value",
"no-transfer-syntax", "unknown-transfer-syntax", "transfer-syntax-mismatch", "no-media-storage-uids", and those of
isocenter.wire.scan for irregular headers.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from struct import Struct
from typing import Final, NamedTuple

from isocenter.errors import DataSetError, NotDicomError, TruncatedError
from isocenter.std.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from isocenter.std.transfer_syntaxes import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    TRANSFER_SYNTAXES,
    transfer_syntax,
)
from isocenter.wire.elements import (
    LITTLE,
    SHORT_VRS,
    Buffer,
    Element,
    irregular_header,
    looks_explicit,
    path_of,
)
from isocenter.wire.limits import DEFAULT_LIMITS, Limits
from isocenter.wire.scan import scan
from isocenter.wire.sniff import plausible

PREAMBLE_LENGTH: Final = 128
PREFIX: Final = b"DICM"

_GROUP_LENGTH: Final = 0x00020000
_SOP_CLASS: Final = 0x00020002
_SOP_INSTANCE: Final = 0x00020003
_TRANSFER_SYNTAX: Final = 0x00020010
_SOURCE_AET: Final = 0x00020016
_NOTHING: Final = b"\x00\x00\x00\x00"


class FileMeta(NamedTuple):
    """What stands before the data set, and what the data set is.

    `transfer_syntax` is that which the data set is read with; the stated one is raw[0x00020010]. UIDs are "" where
    neither the file meta information nor the data set names them. `raw` has the values of group 0002 as stored.
    """

    sop_class: str
    sop_instance: str
    transfer_syntax: str
    data_set_offset: int
    has_preamble: bool
    source_aet: str | None
    raw: Mapping[int, bytes]
    flags: frozenset[str]


def read_header(buf: Buffer, limits: Limits = DEFAULT_LIMITS) -> FileMeta:
    """Read a Part 10 file's header, or recognise a bare data set (flag "no-file-meta").

    Raises NotDicomError if it is neither, TruncatedError if it ends within group 0002 and DataSetError if that group
    cannot be read. The data set itself is only looked at as far as is needed to know its encoding.
    """
    size = len(buf)
    flags: set[str] = set()
    has_preamble = False
    if size >= 132 and bytes(buf[128:132]) == PREFIX:
        has_preamble = True
        pos = 132
    else:
        flags.add("no-preamble")
        pos = 4 if bytes(buf[:4]) == PREFIX else 0
        if pos + 8 > size or bytes(buf[pos : pos + 2]) != b"\x02\x00":
            return _bare(buf, pos, flags)
    raw, offset = _group_2(buf, pos, limits, flags)
    if not raw:
        return _bare(buf, pos, flags, has_preamble=has_preamble)
    stated = text_of(raw.get(_TRANSFER_SYNTAX, b""))
    actual = _encoding_of_data_set(buf, offset, stated, flags)
    sop_class = text_of(raw.get(_SOP_CLASS, b""))
    sop_instance = text_of(raw.get(_SOP_INSTANCE, b""))
    if not sop_class or not sop_instance:
        flags.add("no-media-storage-uids")
        found = data_set_uids(buf, offset, actual, limits)
        sop_class, sop_instance = sop_class or found[0], sop_instance or found[1]
    source = raw.get(_SOURCE_AET)
    return FileMeta(
        sop_class,
        sop_instance,
        actual,
        offset,
        has_preamble,
        None if source is None else text_of(source),
        raw,
        frozenset(flags),
    )


def text_of(value: bytes) -> str:
    """A UI or AE value as text: padding off, anything outside ASCII replaced."""
    return value.decode("ascii", "replace").strip("\0 ")


def _group_2(buf: Buffer, start: int, limits: Limits, flags: set[str]) -> tuple[dict[int, bytes], int]:
    """Values of group 0002 by tag, and the offset of the first element of another group."""
    raw: dict[int, bytes] = {}
    pos, size = start, len(buf)
    claimed = -1
    unpack, last, most = LITTLE.explicit.unpack_from, size - 8, limits.command_bytes
    for _ in range(limits.elements):
        if pos > last:
            break
        group, number, raw_vr, length = unpack(buf, pos)
        if group != 2:
            break
        tag, offset = 0x00020000 | number, pos + 8
        if raw_vr not in SHORT_VRS:
            tag, _, offset, length = _irregular(buf, pos, size, flags)
        end = offset + length
        if not 0 <= length <= most or end > size:
            if length < 0:
                raise DataSetError("a value of undefined length", tag_path=path_of([tag]), offset=pos)
            if end > size:
                raise TruncatedError(
                    f"a value of {length} bytes reaches beyond the end", tag_path=path_of([tag]), offset=offset
                )
            flags.add("long-meta-value")
        elif tag not in raw:
            raw[tag] = bytes(buf[offset:end])
        if tag == _GROUP_LENGTH and length == 4 and claimed < 0:
            claimed = end + LITTLE.u32.unpack_from(buf, offset)[0]
        pos = end
    if raw and claimed < 0:
        flags.add("no-meta-length")
    elif raw and claimed != pos:
        flags.add("wrong-meta-length")
    return raw, pos


def _irregular(buf: Buffer, pos: int, size: int, flags: set[str]) -> Element:
    """An element of group 0002 with none of the VRs with a short length."""
    found: set[str] = set()
    element = irregular_header(buf, pos, size, LITTLE, found)
    if "implicit-element" in found:
        found = {"implicit-file-meta"}
    flags |= found
    return element


def _encoding_of_data_set(buf: Buffer, offset: int, stated: str, flags: set[str], *, guess: bool = True) -> str:
    """The transfer syntax the data set is in: the stated one, unless its first elements plainly say otherwise."""
    if stated and stated not in TRANSFER_SYNTAXES:
        flags.add("unknown-transfer-syntax")
    syntax = transfer_syntax(stated) if stated else None
    if syntax is not None and (
        syntax.deflated or plausible(buf, offset, little=syntax.little, explicit=syntax.explicit)
    ):
        return stated
    for uid, little, explicit in (
        (EXPLICIT_VR_LITTLE_ENDIAN, True, True),
        (IMPLICIT_VR_LITTLE_ENDIAN, True, False),
        (EXPLICIT_VR_BIG_ENDIAN, False, True),
    ):
        if plausible(buf, offset, little=little, explicit=explicit):
            flags.add("transfer-syntax-mismatch" if stated else "no-transfer-syntax")
            return uid
    if stated:
        return stated
    if not guess:
        raise NotDicomError("neither file meta information nor a data set")
    flags.add("no-transfer-syntax")
    return EXPLICIT_VR_LITTLE_ENDIAN if looks_explicit(buf, offset, len(buf)) else IMPLICIT_VR_LITTLE_ENDIAN


def _bare(buf: Buffer, pos: int, flags: set[str], *, has_preamble: bool = False) -> FileMeta:
    """A data set without file meta information, if this is one."""
    if pos + 8 > len(buf):
        raise NotDicomError("nothing that could be a data set")
    uid = _encoding_of_data_set(buf, pos, "", set(), guess=has_preamble or pos > 0)
    flags.add("no-file-meta")
    sop_class, sop_instance = data_set_uids(buf, pos, uid, DEFAULT_LIMITS)
    return FileMeta(sop_class, sop_instance, uid, pos, has_preamble, None, {}, frozenset(flags))


def data_set_uids(buf: Buffer, offset: int, uid: str, limits: Limits) -> tuple[str, str]:
    """SOP Class and Instance UID of the data set; "" where absent, or in a deflated data set."""
    syntax = transfer_syntax(uid)
    if syntax.deflated:
        return "", ""
    wanted = (0x00080016, 0x00080018)
    try:
        found = scan(
            buf,
            little=syntax.little,
            explicit=syntax.explicit,
            start=offset,
            wanted=frozenset(wanted),
            stop=0x00080019,
            limits=limits,
            whole=False,
        ).elements
    except DataSetError:
        return "", ""
    values = []
    for tag in wanted:
        element = found.get(tag)
        values.append(
            "" if element is None else text_of(bytes(buf[element.offset : element.offset + min(element.length, 128)]))
        )
    return values[0], values[1]


# --- writing -------------------------------------------------------------------------------------------------------

_SHORT = Struct("<HH2sH")
_LONG = Struct("<HH2sHI")
_GROUP_LENGTH_ELEMENT = Struct("<HH2sHI")


def _element(number: int, vr: bytes, value: bytes) -> bytes:
    if len(value) & 1:
        value += b"\0" if vr == b"UI" else b" "
    if vr == b"OB":
        return _LONG.pack(2, number, vr, 0, len(value)) + value
    return _SHORT.pack(2, number, vr, len(value)) + value


def file_meta(
    sop_class: str,
    sop_instance: str,
    transfer_syntax_uid: str,
    *,
    calling_aet: str = "",
    called_aet: str = "",
    preamble: bytes | None = None,
) -> bytes:
    """Preamble, prefix and file meta information of PS3.10 Table 7.1-1, up to where the data set begins.

    `calling_aet` becomes Source and Sending Application Entity Title, `called_aet` the Receiving one. `preamble` is 128
    bytes, or None for zeros. Raises ValueError if it has another length.
    """
    if preamble is not None and len(preamble) != PREAMBLE_LENGTH:
        raise ValueError(f"a preamble of {len(preamble)} bytes")
    instance = sop_instance.encode("ascii")
    if len(instance) & 1:
        instance += b"\0"
    before, after = _around_instance(sop_class, len(instance), transfer_syntax_uid, calling_aet, called_aet)
    header = b"".join((before, instance, after))
    return header if preamble is None else preamble + header[PREAMBLE_LENGTH:]


@lru_cache(maxsize=256)
def _around_instance(
    sop_class: str, length: int, transfer_syntax_uid: str, calling: str, called: str
) -> tuple[bytes, bytes]:
    """What stands before and after a SOP Instance UID of `length` bytes, the same for all objects of an association."""
    before = _element(0x0001, b"OB", b"\x00\x01") + _element(0x0002, b"UI", sop_class.encode("ascii"))
    before += _SHORT.pack(2, 0x0003, b"UI", length)
    parts = [
        _element(0x0010, b"UI", transfer_syntax_uid.encode("ascii")),
        _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID.encode("ascii")),
        _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME.encode("ascii")),
    ]
    if calling:
        parts.append(_element(0x0016, b"AE", calling.encode("ascii")))
        parts.append(_element(0x0017, b"AE", calling.encode("ascii")))
    if called:
        parts.append(_element(0x0018, b"AE", called.encode("ascii")))
    after = b"".join(parts)
    group = _GROUP_LENGTH_ELEMENT.pack(2, 0, b"UL", 4, len(before) + length + len(after))
    return bytes(PREAMBLE_LENGTH) + PREFIX + group + before, after


def preamble_is_safe(preamble: Buffer) -> bool:
    """Whether the 128 bytes are zeros or a TIFF header, the two uses PS3.10 section 7.1 has for them.

    Anything else may make the file something a system would run or open (CVE-2019-11687), and is to be overwritten with
    zeros before the file is kept. BigTIFF counts as TIFF (whole slide images).
    """
    head = bytes(preamble[:PREAMBLE_LENGTH])
    return head in (bytes(PREAMBLE_LENGTH), b"") or head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
