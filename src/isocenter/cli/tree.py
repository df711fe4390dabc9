"""A data set as lines of text: tag, VR, name and value, nested by indentation. Reads as far as the bytes make sense."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from isocenter.cli.output import printable
from isocenter.std.dictionary import entry_of, name_of, private_entry
from isocenter.std.sop_classes import name_of as sop_class_name
from isocenter.std.transfer_syntaxes import TRANSFER_SYNTAXES
from isocenter.wire.elements import LITTLE, Buffer
from isocenter.wire.fragments import items
from isocenter.wire.limits import DEFAULT_LIMITS
from isocenter.wire.values import BINARY_VRS, NUMBER_VRS, numbers, tags, texts
from isocenter.wire.walk import ELEMENT, FRAGMENTS, ITEM_BEGIN, ITEM_END, SEQUENCE, SEQUENCE_END, Walker

_CHARACTER_SET = 0x00080005
_PIXEL_REPRESENTATION = 0x00280103
_MOST_WHOLE = 1 << 20  # bytes of one value that are shown when all are asked for

Paint = Callable[[str, str], str]


@dataclass(frozen=True, slots=True)
class View:
    """What to show: `tags` (all if empty) at any depth, `most` characters of a value, byte offsets or not.

    `paint(text, kind)` colours; kind is "tag", "vr", "name" or "value".
    """

    tags: frozenset[int] = frozenset()
    most: int = 80
    offsets: bool = False
    paint: Paint = lambda text, kind: text


@dataclass(slots=True)
class _Scope:
    """One data set: the outermost or an item, with what its items inherit."""

    charset: Sequence[str] = ()
    signed: bool = False
    creators: dict[int, str] = field(default_factory=dict)
    items: int = 0  # of the sequence being read
    tag: int = 0


def _shortened(text: str, most: int) -> str:
    return text if not most or len(text) <= most else text[: most - 1] + "…"


def _value(raw: bytes, length: int, vr: str, little: bool, charset: Sequence[str], most: int) -> str:
    if not length:
        return ""
    if vr in BINARY_VRS:
        shown = raw[: max(most - 16, 8) // 3] if most else raw
        return f"{length} bytes: {shown.hex(' ')}" + ("" if len(shown) == length else " …")
    if vr in NUMBER_VRS:
        text = "\\".join(f"{number:.9g}" if vr == "FL" else str(number) for number in numbers(raw, vr, little))
    elif vr == "AT":
        text = "\\".join(f"({tag >> 16:04X},{tag & 0xFFFF:04X})" for tag in tags(raw, little))
    else:
        text = "\\".join(texts(raw, vr, charset))
        if vr == "UI" and text:
            known = TRANSFER_SYNTAXES[text].name if text in TRANSFER_SYNTAXES else sop_class_name(text)
            text += f" = {known}" if known and known != text else ""
    if len(raw) < length:
        text += "…"
    return _shortened(printable(text), most)


class Tree:
    """Lines of one data set. `flags` holds the leniencies and `pos` the offset reached, also after an error."""

    def __init__(self, buf: Buffer, *, little: bool, explicit: bool, view: View) -> None:
        self._buf = memoryview(buf)
        self._explicit = explicit
        self._view = view
        self._walker = Walker(buf, little=little, explicit=explicit, end=len(buf), resolve_un=True)
        self._scopes = [_Scope()]
        self._inside = 0  # depth of sequences whose tag was asked for

    @property
    def flags(self) -> set[str]:
        return self._walker.flags

    def release(self) -> None:
        """Let go of the buffer, so that a mapped file can be closed."""
        self._buf.release()

    def lines(self, start: int) -> Iterator[str]:
        """Raises DataSetError, TruncatedError or LimitExceeded where the bytes stop making sense."""
        for kind, tag, vr, offset, length in self._walker.data_set(start):
            scope = self._scopes[-1]
            if kind == ELEMENT:
                yield from self._element(scope, tag, vr, offset, length)
            elif kind == FRAGMENTS:
                yield from self._line(scope, tag, vr, offset, length, self._fragments(offset, offset + length))
            elif kind == SEQUENCE:
                scope.tag, scope.items = tag, 0
                yield from self._line(scope, tag, "SQ", offset, length, "")
                self._inside += self._inside > 0 or tag in self._view.tags
            elif kind == ITEM_BEGIN:
                scope.items += 1
                if self._shown(0):
                    yield f"{self._indent()}  [{scope.items - 1}]"
                self._scopes.append(_Scope(scope.charset, scope.signed))
            elif kind == ITEM_END:
                self._scopes.pop()
            elif kind == SEQUENCE_END:
                self._inside -= self._inside > 0

    def _element(self, scope: _Scope, tag: int, vr: str, offset: int, length: int) -> Iterator[str]:
        if vr == "US" and not self._explicit and scope.signed and (entry_of(tag) or ("",))[0].startswith("US/SS"):
            vr = "SS"
        most = self._view.most
        read = min(length, _MOST_WHOLE if not most else max(4 * most + 16, 256))
        raw = bytes(self._buf[offset : offset + read])
        if tag == _CHARACTER_SET:
            scope.charset = texts(raw, "CS")
        elif tag == _PIXEL_REPRESENTATION:
            scope.signed = raw[:2] in (b"\x01\x00", b"\x00\x01")
        elif tag & 0x10000 and 0x10 <= tag & 0xFFFF <= 0xFF:
            scope.creators[tag >> 16 << 8 | tag & 0xFF] = "".join(texts(raw, "LO")[:1])
        yield from self._line(
            scope, tag, vr, offset, length, _value(raw, length, vr, self._walker.little, scope.charset, most)
        )

    def _fragments(self, offset: int, end: int) -> str:
        sizes = [length for _, length in items(self._buf, offset, end, LITTLE, DEFAULT_LIMITS)][1:-1]
        return f"{len(sizes)} fragment{'s' * (len(sizes) != 1)}, {sum(sizes)} bytes"

    def _shown(self, tag: int) -> bool:
        return not self._view.tags or tag in self._view.tags or self._inside > 0

    def _indent(self) -> str:
        if self._view.tags:
            return "    " * max(self._inside - 1, 0)
        return "    " * (len(self._scopes) - 1)

    def _line(self, scope: _Scope, tag: int, vr: str, offset: int, length: int, value: str) -> Iterator[str]:
        if not self._shown(tag):
            return
        view = self._view
        path = ""
        if view.tags and not self._inside:
            # Found inside a sequence that was not asked for: say where
            for outer in self._scopes[:-1]:
                path += f"({outer.tag >> 16:04X},{outer.tag & 0xFFFF:04X})[{outer.items - 1}]."
        indent = self._indent() + ("    " if self._inside else "")
        place = f"  @{offset}+{length if length >= 0 else 'undefined'}" if view.offsets else ""
        yield (
            f"{indent}{view.paint(f'{path}({tag >> 16:04X},{tag & 0xFFFF:04X})', 'tag')} {view.paint(vr, 'vr')} "
            f"{view.paint(f'{self._name(scope, tag):<{max(36 - len(indent), 20)}}', 'name')} "
            f"{view.paint(value, 'value')}{place}".rstrip()
        )

    def _name(self, scope: _Scope, tag: int) -> str:
        if not tag & 0x10000 or tag & 0xFFFF < 0x100:
            return name_of(tag)
        creator = scope.creators.get(tag >> 16 << 8 | tag >> 8 & 0xFF, "")
        entry = private_entry(tag, creator) if creator else None
        return f"{printable(creator) or 'private'}: {entry.name if entry else '?'}"
