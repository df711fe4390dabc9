"""References to what a view has converted, as references to what it was converted to (PS3.4 section C.3.5).

Wherever an item names an instance (Referenced SOP Instance UID), the item is rewritten: its class, its instance, its
frames; frames of one object that single images became are named together, and for an object that became single images
there are as many items. Items that hold such references and say the series are split by the new series. Private
attributes stay as they are, and so does Conversion Source Attributes Sequence, which names the other view's instances.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from isocenter.errors import DataSetError
from isocenter.views.attributes import Entry, is_private, items, key, put, text, values
from isocenter.wire.dicomjson import Model

_CLASS, _INSTANCE = key("ReferencedSOPClassUID"), key("ReferencedSOPInstanceUID")
_FRAMES, _SERIES, _UID = key("ReferencedFrameNumber"), key("SeriesInstanceUID"), key("UID")
_CONTENT, _BY_POSITION = key("ContentSequence"), key("ReferencedContentItemIdentifier")
_HELD_SERIES: Final = key("ReferencedSeriesSequence")
# Below Referenced Series Sequence these are of the SOP Instance Reference Macro, which names no frames (PS3.3 C.17.2.1)
_WITHOUT_FRAMES: Final = (key("ReferencedSOPSequence"), key("ReferencedInstanceSequence"))
_LEFT_ALONE: Final = key("ConversionSourceAttributesSequence")
# Their items hold what single images said, a Series Instance UID among it that is no reference
_CONVERTED: Final = (
    key("UnassignedSharedConvertedAttributesSequence"),
    key("UnassignedPerFrameConvertedAttributesSequence"),
)


MOST_REFERENCES: Final = 200_000
"""That one instance can have: each of those to an object of many frames becomes as many."""


class Untold(DataSetError):
    """A reference that cannot be rewritten so that it says the same."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is referred to instead; `frame` is that of it, None for all of it."""

    series: str
    sop_class: str
    instance: str
    frame: int | None = None


@dataclass(frozen=True, slots=True)
class Moved:
    """What has become of one instance: one target, or with `by_frame` one for each of its frames."""

    targets: tuple[Target, ...]
    by_frame: bool = False


@dataclass(frozen=True, slots=True)
class Moves:
    """All that a view has converted: by SOP Instance UID, and of each series that instances have left what there is in
    its stead (itself, too, if some stayed)."""

    instances: Mapping[str, Moved]
    series: Mapping[str, tuple[str, ...]]


def mentions(model: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """The SOP Instance UIDs and the Series Instance UIDs that a model refers to."""
    instances: set[str] = set()
    series: set[str] = set()
    for name, item in _items_within(model):
        for tag in (_INSTANCE, _UID):
            instances.update(value for value in item.get(tag, {}).get("Value") or () if isinstance(value, str))
        if name not in _CONVERTED:
            series.update(value for value in item.get(_SERIES, {}).get("Value") or () if isinstance(value, str))
        series.update(value for value in item.get(_UID, {}).get("Value") or () if isinstance(value, str))
    return instances, series


def _items_within(model: Mapping[str, Any]) -> Iterator[tuple[str, Model]]:
    """Every item of every sequence that is looked into, with the sequence's name."""
    waiting = [model]
    while waiting:
        for name, entry in waiting.pop().items():
            if entry.get("vr") == "SQ" and name != _LEFT_ALONE and not is_private(name):
                for item in entry.get("Value") or ():
                    if isinstance(item, dict):
                        yield name, item
                        waiting.append(item)


def rewritten(model: Model, moves: Moves) -> Model:
    """The model with its references as the view has them. Raises Untold."""
    one_each = any(_BY_POSITION in item for _, item in _items_within(model))
    return _Rewriting(moves, one_each).model(model, "")


class _Rewriting:
    """`one_each`: content items are referred to by their position, and so cannot become several."""

    def __init__(self, moves: Moves, one_each: bool) -> None:
        self._moves = moves
        self._one_each = one_each
        self._left = MOST_REFERENCES

    def model(self, model: Model, inside: str) -> Model:
        """`inside` is the name of the sequence of which this is an item, "" for none."""
        result: Model = {}
        for name, entry in model.items():
            result[name] = self._entry(name, entry, inside, model)
        return result

    def _entry(self, name: str, entry: Entry, inside: str, owner: Model) -> Entry:
        if is_private(name) or name == _LEFT_ALONE:
            return entry
        if name == _UID:
            return self._uid(entry)
        given = entry.get("Value")
        if entry.get("vr") != "SQ" or not given:
            return entry
        found: list[Model] = []
        for item in given:
            found.extend(one for _, one in self._item(item or {}, name, inside, owner))
        return {**entry, "Value": _merged(found, named=inside != _HELD_SERIES or name not in _WITHOUT_FRAMES)}

    def _item(self, item: Model, name: str, inside: str, owner: Model) -> list[tuple[str | None, Model]]:
        """What becomes of an item of the sequence `name`, each with the series that its reference is of, if any."""
        moved = self._moves.instances.get(text(item, "ReferencedSOPInstanceUID"))
        if moved is not None:
            return self._reference(item, moved, name)
        if _SERIES in item and name not in _CONVERTED:
            return [(None, one) for one in self._series_item(item, name)]
        if name == _CONTENT:
            return [(None, one) for one in self._content_item(item, owner)]
        return [(None, self.model(item, name))]

    def _reference(self, item: Model, moved: Moved, name: str) -> list[tuple[str | None, Model]]:
        inner = self.model(item, name)
        targets = moved.targets
        self._left -= 1 if not moved.by_frame else len(values(item, "ReferencedFrameNumber")) or len(targets)
        if self._left < 0:
            raise Untold(f"it would refer to over {MOST_REFERENCES} instances")
        if moved.by_frame:
            inner.pop(_FRAMES, None)
            named = values(item, "ReferencedFrameNumber")
            if named:
                targets = tuple(targets[number - 1] for number in _numbers(named) if 1 <= number <= len(targets))
            if not targets:
                raise Untold("a reference names no frame that there is")
        found: list[tuple[str | None, Model]] = []
        for target in targets:
            one = dict(inner)
            put(one, "ReferencedSOPClassUID", target.sop_class)
            put(one, "ReferencedSOPInstanceUID", target.instance)
            if target.frame is not None:
                put(one, "ReferencedFrameNumber", target.frame)
            found.append((target.series, dict(sorted(one.items()))))
        return found

    def _series_item(self, item: Model, name: str) -> list[Model]:
        """An item that says the series of what its sequences refer to: one for each series they are in now."""
        series = text(item, "SeriesInstanceUID")
        common: Model = {}
        parts: dict[str, dict[str, list[Model]]] = {}
        for tag, entry in item.items():
            if entry.get("vr") != "SQ" or is_private(tag) or tag == _LEFT_ALONE:
                common[tag] = self._entry(tag, entry, name, item)
                continue
            referred = [_INSTANCE in (one or {}) for one in entry.get("Value") or ()]
            if not any(referred):
                common[tag] = self._entry(tag, entry, name, item)
                continue
            for one in entry["Value"]:
                for where, made in self._item(one or {}, tag, name, item):
                    parts.setdefault(where or series, {}).setdefault(tag, []).append(made)
        if not parts:
            parts = {where: {} for where in self._moves.series.get(series, (series,))}
        result = []
        for where, lists in parts.items():
            part = dict(common)
            put(part, "SeriesInstanceUID", where)
            for tag, found in lists.items():
                named = name != _HELD_SERIES or tag not in _WITHOUT_FRAMES
                part[tag] = {"vr": "SQ", "Value": _merged(found, named=named)}
            result.append(dict(sorted(part.items())))
        return result

    def _content_item(self, item: Model, owner: Model) -> list[Model]:
        """A content item; one that refers to an object that became several is repeated for each."""
        made = self.model(item, _CONTENT)
        referred = items(made, "ReferencedSOPSequence")
        if len(referred) <= 1 or len(items(item, "ReferencedSOPSequence")) != 1:
            return [made]
        if self._one_each or text(owner, "ValueType") in ("SCOORD", "TCOORD"):
            raise Untold("a content item would refer to several images")
        name = key("ReferencedSOPSequence")
        return [{**made, name: {"vr": "SQ", "Value": [one]}} for one in referred]

    def _uid(self, entry: Entry) -> Entry:
        """UIDs as values of content items: those of series, and of instances that became one."""
        found: list[Any] = []
        for uid in entry.get("Value") or ():
            moved = self._moves.instances.get(uid) if isinstance(uid, str) else None
            if moved is not None and len({target.instance for target in moved.targets}) == 1:
                found.append(moved.targets[0].instance)
                continue
            series = self._moves.series.get(uid, (uid,)) if isinstance(uid, str) else (uid,)
            found.append(series[0] if len(series) == 1 else uid)
        return {**entry, "Value": found} if found else entry


def _merged(found: Sequence[Model], *, named: bool) -> list[Model]:
    """References that differ in their frames only as one; with `named` it names them, else it is of the whole."""
    result: list[Model] = []
    places: dict[bytes, int] = {}
    frames: dict[int, set[int] | None] = {}  # of the references at these places; None is all of them
    for item in found:
        if _INSTANCE not in item:
            result.append(item)
            continue
        rest = {name: entry for name, entry in item.items() if name != _FRAMES}
        place = places.setdefault(orjson.dumps(rest), len(result))
        if place == len(result):
            result.append(rest)
            frames[place] = set()
        known = frames[place]
        if not named or _FRAMES not in item:
            frames[place] = None
        elif known is not None:
            known.update(_numbers(item[_FRAMES].get("Value") or ()))
    for place, numbers in frames.items():
        if numbers:
            put(result[place], "ReferencedFrameNumber", *sorted(numbers))
            result[place] = dict(sorted(result[place].items()))
    return result


def _numbers(given: Sequence[Any]) -> list[int]:
    try:
        return [int(value) for value in given]
    except (TypeError, ValueError):
        raise Untold("a Referenced Frame Number is none") from None
