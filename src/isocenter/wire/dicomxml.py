"""The Native DICOM Model, XML form of a data set (PS3.19 Annex A.1), from and to a DICOM JSON model (PS3.18 Annex F).

Both models say the same but for private attributes: XML names them by their creator, with the digits of the block as
00, so that reading puts them back into the block that the creator has.

The reader is for what strangers send. Expat is told to refuse a document type declaration: without one there are no
entities to expand and nothing to fetch, which is what defusedxml would add. Depth, elements and the text of one value
are bounded by our own handlers, which keep an explicit stack.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from xml.parsers import expat

from isocenter.errors import DataSetError, LimitExceeded
from isocenter.std.dictionary import keyword_of, vr_of
from isocenter.wire.dicomjson import Model
from isocenter.wire.elements import ANY_VR
from isocenter.wire.limits import DEFAULT_LIMITS, Limits
from isocenter.wire.values import BINARY_VRS, NUMBER_VRS, decimal, integer

NAMESPACE: Final = "http://dicom.nema.org/PS3.19/models/NativeDICOM"

_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
_COMPONENTS: Final = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_TAG = re.compile(r"[0-9A-Fa-f]{8}")

# --- writing -------------------------------------------------------------------------------------------------------

_SIGNS: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;"}
# A line break in an attribute or a carriage return anywhere would not survive; other control characters are not XML.
_SPECIAL = re.compile('[&<>"\r\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]')


def _escaped(text: str) -> str:
    return _SPECIAL.sub(lambda found: _SIGNS.get(found[0], "\ufffd"), text)


def native_xml(model: Mapping[str, Any]) -> bytes:
    """One document in UTF-8. Characters that XML 1.0 has no form for become U+FFFD."""
    parts = [f'<?xml version="1.0" encoding="UTF-8"?>\n<NativeDicomModel xmlns="{NAMESPACE}" xml:space="preserve">']
    _write(model, parts)
    parts.append("</NativeDicomModel>\n")
    return "".join(parts).encode()


def _write(model: Mapping[str, Any], parts: list[str]) -> None:
    for key, entry in model.items():
        vr = entry["vr"]
        parts.append(f'<DicomAttribute tag="{_private(key, model)}" vr="{vr}"')
        keyword = keyword_of(int(key, 16))
        parts.append(f' keyword="{keyword}">' if keyword else ">")
        if "BulkDataURI" in entry:
            parts.append(f'<BulkData uri="{_escaped(entry["BulkDataURI"])}"/>')
        elif "InlineBinary" in entry:
            parts.append(f"<InlineBinary>{entry['InlineBinary']}</InlineBinary>")
        for number, value in enumerate(entry.get("Value", ()), 1):
            if vr == "SQ":
                parts.append(f'<Item number="{number}">')
                _write(value or {}, parts)
                parts.append("</Item>")
            elif vr == "PN":
                _write_name(number, value, parts)
            else:
                text = "" if value is None else _escaped(value if isinstance(value, str) else repr(value))
                parts.append(f'<Value number="{number}">{text}</Value>')
        parts.append("</DicomAttribute>")


def _private(key: str, model: Mapping[str, Any]) -> str:
    """The tag; of a private attribute whose creator is known without the block, and the creator."""
    if key[3] in "02468ACE" or key[4:6] == "00":
        return key
    creators = model.get(f"{key[:4]}00{key[4:6]}", {}).get("Value", ())
    if len(creators) != 1 or not isinstance(creators[0], str):
        return key
    return f'{key[:4]}00{key[6:]}" privateCreator="{_escaped(creators[0])}'


def _write_name(number: int, value: Mapping[str, str] | None, parts: list[str]) -> None:
    parts.append(f'<PersonName number="{number}">')
    for group in _GROUPS:
        text = (value or {}).get(group)
        if text:
            parts.append(f"<{group}>")
            for component, word in zip(_COMPONENTS, text.split("^", 4), strict=False):
                if word:
                    parts.append(f"<{component}>{_escaped(word)}</{component}>")
            parts.append(f"</{group}>")
    parts.append("</PersonName>")


# --- reading -------------------------------------------------------------------------------------------------------

# Which element may stand in which
_WITHIN: Final[dict[str, tuple[str, ...]]] = {
    "": ("NativeDicomModel",),
    "NativeDicomModel": ("DicomAttribute",),
    "DicomAttribute": ("Value", "PersonName", "Item", "InlineBinary", "BulkData"),
    "Item": ("DicomAttribute",),
    "PersonName": _GROUPS,
    **dict.fromkeys(_GROUPS, _COMPONENTS),
}
_TEXTS: Final = frozenset(("Value", "InlineBinary", *_COMPONENTS))


class _Attribute:
    __slots__ = ("entry", "key", "values", "vr")

    def __init__(self, key: str, vr: str) -> None:
        self.key = key
        self.vr = vr
        self.entry: Model = {"vr": vr}
        self.values: list[Any] = []


class _Scope:
    """A data set being read: the outermost or an item. Private attributes wait for their creators until its end."""

    __slots__ = ("model", "private")

    def __init__(self) -> None:
        self.model: Model = {}
        self.private: list[tuple[str, str, Model]] = []

    def finish(self) -> Model:
        for key, creator, entry in self.private:
            self.model[self._free(key, creator)] = entry
        return dict(sorted(self.model.items()))

    def _free(self, key: str, creator: str) -> str:
        """The tag in a block of the creator where the attribute is not yet, reserving one if there is none."""
        group = key[:4]
        unused = ""
        for block in range(0x10, 0x100):
            reserved = self.model.get(f"{group}00{block:02X}")
            tag = f"{group}{block:02X}{key[6:]}"
            if reserved is None:
                unused = unused or f"{block:02X}"
            elif reserved.get("Value") == [creator] and tag not in self.model:
                return tag
        if not unused:
            raise DataSetError("no private block is free", tag_path=_path(key))
        self.model[f"{group}00{unused}"] = {"vr": "LO", "Value": [creator]}
        return f"{group}{unused}{key[6:]}"


def _path(key: str) -> str:
    return f"({key[:4]},{key[4:]})"


class _Reader:
    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.open: list[str] = [""]
        self.scopes: list[_Scope] = []
        self.attributes: list[_Attribute] = []
        self.name: dict[str, str] = {}
        self.components: dict[str, str] = {}
        self.text: list[str] = []
        self.characters = 0
        self.elements = limits.elements
        self.result: Model | None = None
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters

    def _wrong(self, what: str) -> DataSetError:
        path = ".".join(_path(attribute.key) for attribute in self.attributes) or None
        return DataSetError(what, tag_path=path, offset=self.parser.CurrentByteIndex)

    def _doctype(self, *_: object) -> None:
        raise self._wrong("a document type declaration, which this XML must not have")

    def _count(self, number: int = 1) -> None:
        self.elements -= number
        if self.elements < 0:
            raise LimitExceeded(f"more than {self.limits.elements} XML elements (limits.elements)")

    def _start(self, full_name: str, fields: dict[str, str]) -> None:
        namespace, _, name = full_name.rpartition(" ")
        self._count()
        if namespace not in ("", NAMESPACE) or name not in _WITHIN.get(self.open[-1], ()):
            raise self._wrong("an XML element that does not belong there")
        self.open.append(name)
        self.text.clear()
        self.characters = 0
        if name in ("NativeDicomModel", "Item"):
            if name == "Item":
                self._place(fields, "SQ")
            if len(self.scopes) > self.limits.nesting:
                raise LimitExceeded(f"sequences nested deeper than {self.limits.nesting} (limits.nesting)")
            self.scopes.append(_Scope())
        elif name == "DicomAttribute":
            self._attribute(fields)
        elif name == "Value":
            self._place(fields, "")
        elif name == "PersonName":
            self._place(fields, "PN")
            self.name = {}
        elif name in _GROUPS:
            self.components = {}
        elif name == "BulkData":
            uri = fields.get("uri") or fields.get("uuid")
            if not uri:
                raise self._wrong("BulkData has neither uri nor uuid")
            self._only("BulkDataURI", uri)

    def _attribute(self, fields: dict[str, str]) -> None:
        key = fields.get("tag", "").upper()
        if not _TAG.fullmatch(key):
            raise self._wrong("a tag that is none of eight hex digits")
        vr = fields.get("vr") or vr_of(int(key, 16))
        attribute = _Attribute(key, vr)
        self.attributes.append(attribute)
        if vr.encode("ascii", "replace") not in ANY_VR:
            raise self._wrong("no such VR")
        scope = self.scopes[-1]
        creator = fields.get("privateCreator")
        if creator and key[3] in "13579BDF" and key[4:6] == "00":
            scope.private.append((key, creator, attribute.entry))
        elif key in scope.model:
            raise self._wrong("an attribute comes twice")
        else:
            scope.model[key] = attribute.entry

    def _place(self, fields: dict[str, str], vr: str) -> None:
        """Make room for the value `number`; those left out before it have no value."""
        attribute = self.attributes[-1]
        fits = attribute.vr == vr if vr else attribute.vr not in (*BINARY_VRS, "SQ", "PN")
        if not fits or len(attribute.entry) > 1:
            raise self._wrong("a value that does not belong to the VR, or beside bulk data")
        text = fields.get("number", str(len(attribute.values) + 1))
        number = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
        missing = number - len(attribute.values) - 1
        if missing < 0:
            raise self._wrong("the numbers of values do not ascend from 1")
        self._count(missing)
        attribute.values.extend([None] * (missing + 1))

    def _only(self, name: str, value: str) -> None:
        attribute = self.attributes[-1]
        if len(attribute.entry) > 1 or attribute.values or attribute.vr == "SQ":
            raise self._wrong("bulk or binary data beside another value")
        attribute.entry[name] = value

    def _characters(self, text: str) -> None:
        if self.open[-1] in _TEXTS:
            self.characters += len(text)
            if self.characters > self.limits.header_bytes:
                raise LimitExceeded(f"a value of over {self.limits.header_bytes} characters (limits.header_bytes)")
            self.text.append(text)
        elif not text.isspace():
            raise self._wrong("text that does not belong there")

    def _end(self, _name: str) -> None:
        name = self.open.pop()
        text = "".join(self.text) if name in _TEXTS else ""
        self.text.clear()
        if name == "Value":
            attribute = self.attributes[-1]
            attribute.values[-1] = self._value(attribute.vr, text)
        elif name == "InlineBinary":
            if text.strip():
                self._only("InlineBinary", "".join(text.split()))
        elif name in _COMPONENTS:
            if name in self.components:
                raise self._wrong("a part of a name comes twice")
            self.components[name] = text
        elif name in _GROUPS:
            joined = "^".join(self.components.get(component, "") for component in _COMPONENTS).rstrip("^")
            if joined:
                self.name[name] = joined
        elif name == "PersonName":
            self.attributes[-1].values[-1] = self.name or None
        elif name == "DicomAttribute":
            self._end_attribute()
        elif name == "Item":
            self.attributes[-1].values[-1] = self.scopes.pop().finish()
        elif name == "NativeDicomModel":
            self.result = self.scopes.pop().finish()

    def _value(self, vr: str, text: str) -> Any:
        """As in DICOM JSON (PS3.18 F.2.3): numbers as numbers where JSON has them, else text."""
        if not text:
            return None
        if vr in NUMBER_VRS:
            number = decimal(text.strip()) if vr in ("FD", "FL") else integer(text.strip())
            if isinstance(number, str) and vr not in ("FD", "FL", "UV"):
                raise self._wrong(f"a value that is none of VR {vr}")
            return number
        if vr in ("DS", "IS"):
            return decimal(text.strip()) if vr == "DS" else integer(text.strip())
        return text

    def _end_attribute(self) -> None:
        attribute = self.attributes.pop()
        values = attribute.values
        if attribute.vr == "SQ":
            values = [item or {} for item in values]
        if values and values != [None]:
            attribute.entry["Value"] = values


def read_native_xml(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Model:
    """The DICOM JSON model of one document. Raises DataSetError with tag path and offset for what is not the Native
    DICOM Model or no XML, and for any document type declaration; LimitExceeded beyond the limits."""
    reader = _Reader(limits)
    try:
        reader.parser.Parse(data, True)
    except expat.ExpatError as error:
        raise DataSetError("not well-formed XML", offset=reader.parser.ErrorByteIndex) from error
    except (LookupError, ValueError):
        raise DataSetError("XML in a character set that is not known") from None
    assert reader.result is not None
    return reader.result
