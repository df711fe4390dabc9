"""The DICOM JSON Model of a data set, straight from its bytes (PS3.18 Annex F).

Values above a threshold, and always pixel data, become a BulkDataURI: `bulk_uri`, then the path of the element, with
item numbers from 1: "…/bulkdata/00081140/2/00420011". `find_bulk` is the way back.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import orjson

from isocenter.errors import DataSetError, LimitExceeded, NotFound
from isocenter.std.dictionary import entry_of
from isocenter.std.transfer_syntaxes import TransferSyntax, transfer_syntax
from isocenter.wire.deflate import inflate
from isocenter.wire.elements import PIXEL_TAGS, TRAILING_PADDING, Buffer, Element
from isocenter.wire.limits import DEFAULT_LIMITS, Limits
from isocenter.wire.values import BINARY_VRS, NUMBER_VRS, WORD_WIDTH, json_values, texts
from isocenter.wire.walk import ELEMENT, FRAGMENTS, ITEM_BEGIN, ITEM_END, SEQUENCE, Event, Walker

SPECIFIC_CHARACTER_SET: Final = 0x00080005
PIXEL_REPRESENTATION: Final = 0x00280103

# Command elements and file meta information that strayed into a data set are not part of its model.
_LOWEST: Final = 0x00040000

Model = dict[str, Any]


# Bounded: received data choose the tags.
@lru_cache(maxsize=8192)
def _key(tag: int) -> str:
    return f"{tag:08X}"


def dumps(obj: Any) -> bytes:
    """JSON text in UTF-8."""
    return orjson.dumps(obj)


def read_models(data: bytes, limits: Limits = DEFAULT_LIMITS) -> list[Model]:
    """The models of a DICOM JSON array, or of one object; what is in them is not looked at.

    Stricter than JSON is: a name that comes twice in an object and numbers that are none are refused, since two readers
    would read two things. Raises DataSetError, LimitExceeded for what is nested too deep.
    """
    try:
        found = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_no_number)
    except RecursionError:
        raise LimitExceeded(f"sequences nested deeper than {limits.nesting} (limits.nesting)") from None
    except ValueError as error:
        raise DataSetError("no JSON", offset=getattr(error, "pos", None)) from None
    models = found if isinstance(found, list) else [found]
    if not all(isinstance(model, dict) for model in models):
        raise DataSetError("metadata are JSON objects")
    return models


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise DataSetError("a name comes twice in a JSON object")
    return result


def _no_number(_text: str) -> Any:
    raise DataSetError("a JSON number that is none")


class _Scope:
    """One data set under construction: the outermost, or an item. What an item inherits is copied into it."""

    __slots__ = ("charset", "in_order", "model", "order", "path", "signed")

    def __init__(self, path: str, charset: Sequence[str], signed: bool) -> None:
        self.model: Model = {}
        self.path = path
        self.charset = charset
        self.signed = signed  # Pixel Representation 1: ambiguous US/SS are SS
        self.order = _LOWEST - 1  # the highest tag yet
        self.in_order = True


class Builder:
    """Turns the events of one walk into a model."""

    def __init__(
        self, walker: Walker, syntax: TransferSyntax, bulk_uri: str | None, threshold: int, exclude_bulk: bool
    ) -> None:
        self.walker = walker
        self.buf = walker.buf
        self.little = syntax.little
        self.explicit = syntax.explicit
        self.bulk_uri = bulk_uri
        self.threshold = threshold
        self.exclude_bulk = exclude_bulk
        self.flags: set[str] = set()
        self.scopes = [_Scope("", (), False)]
        self.sequences: list[tuple[str, Model, list[Model]]] = []

    def read(self, events: Iterable[Event]) -> None:
        """Add what the walker found to the model."""
        walker, little, element = self.walker, self.little, self.element
        for kind, tag, vr, offset, length in events:
            if kind == ELEMENT:
                element(tag, vr, offset, length, little or walker.little)
            elif kind == SEQUENCE:
                self.sequence(tag)
            elif kind == ITEM_BEGIN:
                self.item()
            elif kind == ITEM_END:
                self.item_end()
            elif kind == FRAGMENTS:
                self.fragments(tag, vr)
            else:
                self.sequence_end()

    def finish(self) -> Model:
        """The model of all that was read."""
        _in_order(self.scopes[0])
        return self.scopes[0].model

    def element(self, tag: int, vr: str, offset: int, length: int, little: bool) -> None:
        scope = self.scopes[-1]
        if tag > scope.order and tag & 0xFFFF and tag != TRAILING_PADDING:
            scope.order = tag
        elif not self._out_of_order(scope, tag):
            return
        entry: Model = {"vr": vr}
        if vr in BINARY_VRS or tag in PIXEL_TAGS:
            if not self._binary(entry, tag, vr, offset, length, little):
                return
        elif length > self.threshold and vr in NUMBER_VRS and self.bulk_uri is not None:
            entry["BulkDataURI"] = f"{self.bulk_uri}/{scope.path}{tag:08X}"
        elif length:
            if vr == "US" and not self.explicit and scope.signed and _is_ambiguous(tag):
                entry["vr"] = vr = "SS"
            values = json_values(bytes(self.buf[offset : offset + length]), vr, little, scope.charset, self.flags)
            if values:
                entry["Value"] = values
                if tag == PIXEL_REPRESENTATION:
                    scope.signed = values[0] == 1
                elif tag == SPECIFIC_CHARACTER_SET:
                    scope.charset = texts(bytes(self.buf[offset : offset + length]), "CS")
                    # What the model is written in is UTF-8 (PS3.18 F.2, note); the value says so.
                    entry["Value"] = ["ISO_IR 192"]
        scope.model[_key(tag)] = entry

    def _out_of_order(self, scope: _Scope, tag: int) -> bool:
        """Whether a tag that is not above those before it is one to keep."""
        if tag < _LOWEST or not tag & 0xFFFF or tag == TRAILING_PADDING:
            return False
        if _key(tag) in scope.model:
            self.flags.add("duplicate-tag")
            return False
        scope.in_order = False
        return True

    def _binary(self, entry: Model, tag: int, vr: str, offset: int, length: int, little: bool) -> bool:
        """Put bytes in line or by reference into `entry`; False if they are to be left out."""
        pixels = tag in PIXEL_TAGS
        if length and (pixels or length > self.threshold):
            if self.bulk_uri is not None:
                entry["BulkDataURI"] = f"{self.bulk_uri}/{self.scopes[-1].path}{tag:08X}"
                return True
            if self.exclude_bulk:
                return False
        if length:
            entry["InlineBinary"] = b64encode(
                little_endian(bytes(self.buf[offset : offset + length]), vr, little)
            ).decode()
        return True

    def fragments(self, tag: int, vr: str) -> None:
        """Encapsulated pixel data: by reference or not at all, since a model has no form for fragments."""
        scope = self.scopes[-1]
        if self.bulk_uri is not None and (tag > scope.order or self._out_of_order(scope, tag)):
            scope.order = max(tag, scope.order)
            scope.model[_key(tag)] = {"vr": vr, "BulkDataURI": f"{self.bulk_uri}/{scope.path}{tag:08X}"}

    def sequence(self, tag: int) -> None:
        scope = self.scopes[-1]
        items: list[Model] = []
        entry: Model = {"vr": "SQ", "Value": items}
        if tag > scope.order:
            scope.order = tag
            scope.model[_key(tag)] = entry
        elif self._out_of_order(scope, tag):
            scope.model[_key(tag)] = entry
        self.sequences.append((_key(tag), entry, items))

    def item(self) -> None:
        parent = self.scopes[-1]
        key, _, items = self.sequences[-1]
        self.scopes.append(_Scope(f"{parent.path}{key}/{len(items) + 1}/", parent.charset, parent.signed))
        items.append(self.scopes[-1].model)

    def item_end(self) -> None:
        _in_order(self.scopes.pop())

    def sequence_end(self) -> None:
        _, entry, items = self.sequences.pop()
        if not items:
            del entry["Value"]


def _in_order(scope: _Scope) -> None:
    """PS3.18 F.2.2: attributes in ascending order, whatever the order in the bytes."""
    if not scope.in_order:
        ordered = sorted(scope.model.items())
        scope.model.clear()
        scope.model.update(ordered)


def _is_ambiguous(tag: int) -> bool:
    entry = entry_of(tag)
    return entry is not None and entry.vr.startswith("US/SS")


def little_endian(raw: bytes | memoryview, vr: str, little: bool) -> bytes:
    """Binary values with their words in little endian order, as JSON and bulk data have them (PS3.18 F.2.7)."""
    width = WORD_WIDTH.get(vr) or NUMBER_VRS.get(vr, ("", 1))[1]
    if little or width == 1:
        return bytes(raw)
    count = len(raw) // width * width
    swapped = bytearray(count)
    for byte in range(width):
        swapped[byte::width] = raw[width - 1 - byte : count : width]
    return bytes(swapped) + bytes(raw[count:])


def dataset_json(
    buf: Buffer,
    transfer_syntax_uid: str,
    *,
    start: int = 0,
    end: int | None = None,
    bulk_uri: str | None = None,
    bulk_threshold: int = 1024,
    exclude_bulk: bool = True,
    limits: Limits = DEFAULT_LIMITS,
    flags: set[str] | None = None,
) -> Model:
    """The model of the data set in buf[start:end]: tag (eight upper-case hex digits) to vr and Value, InlineBinary or
    BulkDataURI, in ascending order of tags.

    Binary and numeric values of more than `bulk_threshold` bytes, and pixel data of any size, become a BulkDataURI
    under `bulk_uri`. Without `bulk_uri`, such binary values are left out if `exclude_bulk`, else in line; encapsulated
    pixel data have no in-line form and are left out. Group lengths, groups 0000 and 0002 and padding are not part of a
    model. Specific Character Set becomes ISO_IR 192, the model's own. `flags` receives the leniencies.
    Raises TruncatedError, DataSetError or LimitExceeded with tag path and offset.
    """
    syntax = transfer_syntax(transfer_syntax_uid)
    finish = len(buf) if end is None else end
    if syntax.deflated:
        buf, start = inflate(buf, limits, start=start, end=finish), 0
        finish = len(buf)
    walker = Walker(buf, little=syntax.little, explicit=syntax.explicit, end=finish, limits=limits, resolve_un=True)
    builder = Builder(walker, syntax, bulk_uri, bulk_threshold, exclude_bulk)
    builder.read(walker.data_set(start))
    if flags is not None:
        flags |= walker.flags | builder.flags
    return builder.finish()


def find_bulk(
    buf: Buffer,
    transfer_syntax_uid: str,
    path: str,
    *,
    start: int = 0,
    end: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Element:
    """The element a BulkDataURI's path ("00081140/2/00420011") leads to; length -1 for encapsulated pixel data.

    Offsets are those of `buf`, or of the inflated data set. Raises NotFound if there is none.
    """
    syntax = transfer_syntax(transfer_syntax_uid)
    walker = Walker(
        buf, little=syntax.little, explicit=syntax.explicit, end=len(buf) if end is None else end, limits=limits,
        resolve_un=True,
    )  # fmt: skip
    wanted = path.upper().strip("/")
    prefixes = [""]
    counts: list[int] = []
    for kind, tag, vr, offset, length in walker.data_set(start):
        here = f"{prefixes[-1]}{tag:08X}"
        if kind == SEQUENCE:
            counts.append(0)
        elif kind == ITEM_BEGIN:
            counts[-1] += 1
            prefixes.append(f"{here}/{counts[-1]}/")
        elif kind == ITEM_END:
            prefixes.pop()
        elif kind == ELEMENT and here == wanted:
            return Element(tag, vr, offset, length)
        elif kind == FRAGMENTS and here == wanted:
            return Element(tag, vr, offset, -1)
        elif kind not in (ELEMENT, FRAGMENTS):
            counts.pop()
    raise NotFound("no bulk data at this path")
