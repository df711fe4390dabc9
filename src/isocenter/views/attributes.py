"""Reading and writing single attributes of a DICOM JSON model by their keywords."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from isocenter.index.keys import KEPT
from isocenter.iod import tables
from isocenter.model import Level
from isocenter.std.dictionary import tag_of, vr_of
from isocenter.wire.dicomjson import Model

Entry = dict[str, Any]

_KEPT: Final = tuple(f"{tag:08X}" for level in Level for tag in sorted(KEPT[level]))


@cache
def key(keyword: str) -> str:
    """The name of an attribute in a model: "00100010" of "PatientName"."""
    tag = tag_of(keyword)
    if tag is None:
        raise KeyError(keyword)
    return f"{tag:08X}"


def values(model: Mapping[str, Any], keyword: str) -> list[Any]:
    """Its values, those that are empty included; [] where it is absent."""
    found = model.get(key(keyword), {}).get("Value")
    return found if isinstance(found, list) else []


def first(model: Mapping[str, Any], keyword: str) -> Any:
    """Its first value; None if there is none."""
    found = values(model, keyword)
    return found[0] if found else None


def text(model: Mapping[str, Any], keyword: str) -> str:
    """Its first value as text, "" if there is none."""
    value = first(model, keyword)
    return "" if value is None else str(value)


def items(model: Mapping[str, Any], keyword: str) -> list[Model]:
    """The items of a sequence; [] where it is absent, or has another VR."""
    if model.get(key(keyword), {}).get("vr") != "SQ":
        return []
    return [item for item in values(model, keyword) if isinstance(item, dict)]


def is_filled(entry: Mapping[str, Any] | None) -> bool:
    """Whether an attribute has a value, in line or elsewhere."""
    if entry is None:
        return False
    found = entry.get("Value")
    return bool(found and found != [None]) or bool(entry.keys() & {"InlineBinary", "BulkDataURI"})


def put(model: Model, keyword: str, *given: Any) -> None:
    """Give it these values, none for an empty one; of a sequence its items."""
    name = key(keyword)
    entry: Entry = {"vr": vr_of(int(name, 16))}
    if given:
        entry["Value"] = list(given)
    model[name] = entry


def slim(model: Model) -> Model:
    """What of a model the index would keep, and so queries can be about; no bulk data."""
    return {name: model[name] for name in _KEPT if name in model and "BulkDataURI" not in model[name]}


def is_private(name: str) -> bool:
    """Whether the attribute of this name in a model is a private one."""
    return int(name[3], 16) % 2 == 1


def complete(model: Model, iod: str) -> str:
    """Give it the empty attributes of Type 2 that it lacks; the keyword of the first of Type 1 that has no value, or
    "". `iod` as in isocenter.iod.tables; Pixel Data and functional groups are others' business."""
    for module, usage in tables.iod(iod).modules.items():
        if usage != "M":
            continue
        for keyword, kind in tables.attributes(module).items():
            if kind == "2" and key(keyword) not in model:
                put(model, keyword)
            elif kind == "1" and keyword != "SharedFunctionalGroupsSequence" and not is_filled(model.get(key(keyword))):
                return keyword
    return ""
