"""DICOM JSON text of data sets that resemble each other, as the images of a series do (PS3.18 Annex F).

Most elements of an image are those of the image before it, byte for byte. So the text of each element of one data set,
the pattern, is kept with its bytes; a data set that follows takes over the text of what it has in the same bytes, and
only the rest of it is read. What is the same is found by comparing runs of elements, halved until they are equal:
comparing a thousand bytes costs less than reading one element.

The text is the one that reading everything would give. The elements of a pattern are regular, and such
an element is read by its own bytes and by what goes before it: the character set, the pixel representation and
the private creators. Where one of these differs, or the order of tags is not ascending, all is read, and the data set
is the next pattern.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from isocenter.errors import IsocenterError
from isocenter.std.transfer_syntaxes import TransferSyntax, transfer_syntax
from isocenter.wire.deflate import inflate
from isocenter.wire.dicomjson import PIXEL_REPRESENTATION, SPECIFIC_CHARACTER_SET, Builder, Model, dumps
from isocenter.wire.elements import PIXEL_TAGS, Buffer
from isocenter.wire.limits import DEFAULT_LIMITS, Limits
from isocenter.wire.walk import ELEMENT, FRAGMENTS, SEQUENCE, SEQUENCE_END, Event, Walker

_LARGEST: Final = 1 << 20  # bytes of a pattern: what is larger is rarely followed by its like
_LONGER: Final = 4096  # bytes by which a data set's header may exceed the pattern's and still be compared to its end
# Leniencies that concern an element's own bytes; with any other there is no pattern
_HARMLESS: Final = frozenset({"odd-length", "reserved-bytes", "trailing-padding"})


@dataclass(frozen=True, slots=True)
class _Pattern:
    """The elements of one data set up to its pixel data. `begins` has one more offset than there are elements."""

    syntax: TransferSyntax
    head: bytes
    begins: list[int]
    tags: list[int]
    texts: list[bytes]  # of each element: a comma, its name and what it is; empty if it is left out of a model
    charset: Sequence[str]
    signed: bool
    creators: dict[int, str]

    changing: list[int]  # the numbers of elements that were seen to differ, in order; and the number of elements

    def same(self, first: int, other: bytes, at: int) -> int:
        """The number of an element before which other[at:] has all from number `first` on in the same bytes.

        It is the next one that differs, or one that differed earlier.
        """
        head, begins, changing = self.head, self.begins, self.changing
        known = bisect_left(changing, first)
        same, different = first, changing[known]
        if other.startswith(head[begins[first] : begins[different]], at):
            return different
        shift = at - begins[first]
        while different - same > 1:
            middle = (same + different) // 2
            if other.startswith(head[begins[same] : begins[middle]], begins[same] + shift):
                same = middle
            else:
                different = middle
        changing.insert(known, same)
        return same


class SeriesJson:
    """Makes the text of one data set after another; not for use by two threads at a time."""

    def __init__(self, bulk_uri: str, *, bulk_threshold: int = 1024, limits: Limits = DEFAULT_LIMITS) -> None:
        """`bulk_uri` and `bulk_threshold` as for `dataset_json`."""
        self._bulk_uri = bulk_uri
        self._threshold = bulk_threshold
        self._limits = limits
        self._pattern: _Pattern | None = None

    def text(self, buf: Buffer, transfer_syntax_uid: str, *, start: int = 0) -> bytes:
        """`dumps(dataset_json(...))` of the data set that fills `buf` from `start` on, with the same errors."""
        syntax = transfer_syntax(transfer_syntax_uid)
        if syntax.deflated:
            buf, start = inflate(buf, self._limits, start=start), 0
        pattern, texts = self._pattern, None
        if pattern is not None and pattern.syntax == syntax:
            try:
                texts = self._follow(pattern, buf, start)
            except IsocenterError:
                texts = None  # raised again below, with a tag path that names what goes before
        if texts is None:
            texts = self._begin(syntax, buf, start)
        return b"{%b}" % b"".join(texts)[1:]

    def _builder(self, syntax: TransferSyntax, buf: Buffer) -> Builder:
        walker = Walker(
            buf,
            little=syntax.little,
            explicit=syntax.explicit,
            end=len(buf),
            limits=self._limits,
            resolve_un=True,
        )
        return Builder(walker, syntax, self._bulk_uri, self._threshold, exclude_bulk=True)

    def _begin(self, syntax: TransferSyntax, buf: Buffer, start: int) -> list[bytes]:
        """Read all of a data set and make it the pattern if it can be one."""
        self._pattern = None
        builder = self._builder(syntax, buf)
        walker = builder.walker
        found: list[tuple[int, int]] = []
        builder.read(_outermost(walker.data_set(start), found))
        model = builder.finish()
        tags = [tag for tag, _ in found]
        if not walker.flags <= _HARMLESS or any(tag <= before for before, tag in pairwise(tags)):
            return [_text(model)]
        texts = [_text({key: model[key]}) if (key := f"{tag:08X}") in model else b"" for tag in tags]
        begins = [0, *(end - start for _, end in found)]
        count = next((number for number, tag in enumerate(tags) if tag in PIXEL_TAGS), len(tags))
        if begins[count] <= _LARGEST:
            head = bytes(buf[start : start + begins[count]])
            scope = builder.scopes[0]
            self._pattern = _Pattern(
                syntax, head, begins[: count + 1], tags[:count], texts[:count], scope.charset, scope.signed,
                walker.creators, [count],
            )  # fmt: skip
        return texts

    def _follow(self, pattern: _Pattern, buf: Buffer, start: int) -> list[bytes] | None:
        """The texts of a data set, as far as possible those of the pattern; None if it is too different."""
        other = bytes(buf[start : start + len(pattern.head) + _LONGER])
        builder = self._builder(pattern.syntax, buf)
        walker, scope = builder.walker, builder.scopes[0]
        walker.creators = dict(pattern.creators)
        tags, texts = pattern.tags, []
        number = at = last = read = 0
        while True:
            same = pattern.same(number, other, at)
            if same > number:
                texts += pattern.texts[number:same]
                at += pattern.begins[same] - pattern.begins[number]
                number, last = same, tags[same - 1]
            scope.charset = pattern.charset if last >= SPECIFIC_CHARACTER_SET else ()
            scope.signed = pattern.signed and last >= PIXEL_REPRESENTATION
            event = walker.first(start + at)
            if event is not None and event[0] in (ELEMENT, FRAGMENTS):
                builder.read((event,))
                tag, end = event[1], event[3] + event[4]
            else:
                found: list[tuple[int, int]] = []
                builder.read(_outermost(walker.data_set(start + at), found, 1))
                tag, end = found[0] if found else (1 << 32, -1)
            after = bisect_right(tags, tag, number)
            if tag <= last or _matters(tag) or any(map(_matters, tags[number:after])):
                return None
            if end < 0:
                return texts
            if scope.model:
                texts.append(_text(scope.model))
                scope.model.clear()
            read += 1
            if read > len(tags) // 4 + 8:
                # Reading elements one by one costs more than reading all.
                return None
            number, at, last = after, end - start, tag


def _matters(tag: int) -> bool:
    """Whether what comes after an element is read by what it says."""
    return tag in (SPECIFIC_CHARACTER_SET, PIXEL_REPRESENTATION) or (
        tag & 0x10000 != 0 and 0x10 <= tag & 0xFFFF <= 0xFF
    )


def _text(model: Model) -> bytes:
    return b"," + dumps(model)[1:-1] if model else b""


def _outermost(events: Iterable[Event], found: list[tuple[int, int]], most: int = 0) -> Iterator[Event]:
    """The events of `most` elements of the outermost data set, or of all; `found` gets their tags and ends."""
    depth = 0
    for event in events:
        yield event
        kind, tag, _, offset, length = event
        if kind == SEQUENCE:
            depth += 1
        elif kind == SEQUENCE_END:
            depth -= 1
        if not depth and kind in (ELEMENT, FRAGMENTS, SEQUENCE_END):
            found.append((tag, offset + length))
            if len(found) == most:
                return
