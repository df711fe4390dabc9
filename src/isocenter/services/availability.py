"""Instance Availability Notification (PS3.4 Annex R), both roles: an archive tells others which instances can be had.

A notification is an N-CREATE of which nothing is kept: there is no other operation on what it makes. It says nothing of
patients, and may not (R.3.2.1.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from isocenter.errors import AttributeInvalid, AttributeMissing, AttributeValueMissing
from isocenter.names import is_uid
from isocenter.services.base import Peer, Reply
from isocenter.services.normalized import INVALID_INSTANCE, SUPPORTED, NormalizedService, Operation
from isocenter.std.sop_classes import INSTANCE_AVAILABILITY_NOTIFICATION
from isocenter.ul.negotiation import Support
from isocenter.wire.dicomjson import Model
from isocenter.wire.limits import Limits

AVAILABILITIES = ("ONLINE", "NEARLINE", "OFFLINE", "UNAVAILABLE")  # PS3.3 C.4.23.1.1

_STUDY, _SERIES, _SERIES_SEQUENCE, _SOP_SEQUENCE = "0020000D", "0020000E", "00081115", "00081199"
_STEP_SEQUENCE, _WORKITEM = "00081111", "00404019"
_CLASS, _INSTANCE, _AVAILABILITY, _RETRIEVE_AET = "00081150", "00081155", "00080056", "00080054"

_SUPPORT = Support(SUPPORTED)


@dataclass(frozen=True, slots=True)
class Available:
    """One instance, and where and how soon it can be had."""

    series: str
    sop_class: str
    instance: str
    retrieve_aets: tuple[str, ...]
    availability: str = "ONLINE"


@dataclass(frozen=True, slots=True)
class Notification:
    """Instances of one study (PS3.4 Table R.3.2-1). `step`: SOP Class and Instance UID of the Performed Procedure Step
    that they are the outcome of, if one is named."""

    study: str
    instances: tuple[Available, ...] = field(repr=False)
    step: tuple[str, str] | None = None


class AvailabilityService(NormalizedService):
    """Instance Availability Notification as SCP; `notified` hears of each one that is as it should be."""

    name = "Instance Availability Notification"

    def __init__(self, notified: Callable[[Notification, Peer], None], limits: Limits) -> None:
        self._notified = notified
        self._limits = limits

    def sop_classes(self) -> Iterable[str]:
        return (INSTANCE_AVAILABILITY_NOTIFICATION,)

    def supports(self, abstract_syntax: str) -> Support | None:
        return _SUPPORT if abstract_syntax == INSTANCE_AVAILABILITY_NOTIFICATION else None

    async def create(self, operation: Operation) -> Reply:
        if not operation.instance:
            return Reply(INVALID_INSTANCE, "Affected SOP Instance UID is missing")  # R.3.2.1.2
        self._notified(read_notification(operation.model(self._limits)), operation.peer)
        return Reply()


def notification_model(notification: Notification) -> Model:
    """The Attribute List of an N-CREATE, with the attributes of Table R.3.2-1 and no others."""
    by_series: dict[str, list[Model]] = {}
    for one in notification.instances:
        by_series.setdefault(one.series, []).append(
            {
                _RETRIEVE_AET: {"vr": "AE", "Value": list(one.retrieve_aets)},
                _AVAILABILITY: {"vr": "CS", "Value": [one.availability]},
                _CLASS: {"vr": "UI", "Value": [one.sop_class]},
                _INSTANCE: {"vr": "UI", "Value": [one.instance]},
            }
        )
    series = [
        {_SOP_SEQUENCE: {"vr": "SQ", "Value": items}, _SERIES: {"vr": "UI", "Value": [uid]}}
        for uid, items in by_series.items()
    ]
    steps = []
    if notification.step is not None:
        sop_class, instance = notification.step
        steps.append(
            {
                _CLASS: {"vr": "UI", "Value": [sop_class]},
                _INSTANCE: {"vr": "UI", "Value": [instance]},
                _WORKITEM: {"vr": "SQ"},
            }
        )
    return {
        _STEP_SEQUENCE: {"vr": "SQ", "Value": steps} if steps else {"vr": "SQ"},
        _SERIES_SEQUENCE: {"vr": "SQ", "Value": series},
        _STUDY: {"vr": "UI", "Value": [notification.study]},
    }


def read_notification(model: Mapping[str, Any]) -> Notification:
    """The notification in an N-CREATE's Attribute List.

    Raises AttributeMissing (0120), AttributeValueMissing (0121) and AttributeInvalid (0106) with the tag path.
    """
    steps = _items(model, _STEP_SEQUENCE, "", required=False)
    if len(steps) > 1:
        raise AttributeInvalid("more than one Performed Procedure Step", tag_path=_path(_STEP_SEQUENCE))
    step = None
    if steps:
        where = f"{_path(_STEP_SEQUENCE)}[0]."
        _items(steps[0], _WORKITEM, where, required=False)
        step = _uid(steps[0], _CLASS, where), _uid(steps[0], _INSTANCE, where)
    study = _uid(model, _STUDY, "")
    found: list[Available] = []
    for n, series in enumerate(_items(model, _SERIES_SEQUENCE, "")):
        where = f"{_path(_SERIES_SEQUENCE)}[{n}]."
        uid = _uid(series, _SERIES, where)
        for m, item in enumerate(_items(series, _SOP_SEQUENCE, where)):
            found.append(_available(uid, item, f"{where}{_path(_SOP_SEQUENCE)}[{m}]."))
    return Notification(study, tuple(found), step)


def _available(series: str, item: Mapping[str, Any], where: str) -> Available:
    availability = _values(item, _AVAILABILITY, "CS", where)[0]
    if availability not in AVAILABILITIES:
        raise AttributeInvalid("no such Instance Availability", tag_path=where + _path(_AVAILABILITY))
    aets = tuple(str(aet) for aet in _values(item, _RETRIEVE_AET, "AE", where))
    return Available(series, _uid(item, _CLASS, where), _uid(item, _INSTANCE, where), aets, availability)


def _items(model: Mapping[str, Any], key: str, where: str, *, required: bool = True) -> list[Mapping[str, Any]]:
    """The items of a sequence that has to be there: of Type 1 if `required`, else of Type 2."""
    return [item for item in _values(model, key, "SQ", where, required=required) if isinstance(item, Mapping)]


def _values(model: Mapping[str, Any], key: str, vr: str, where: str, *, required: bool = True) -> list[Any]:
    attribute = model.get(key)
    if attribute is None:
        raise AttributeMissing("a required attribute is missing", tag_path=where + _path(key))
    values = [value for value in attribute.get("Value", ()) if value not in (None, "")]
    if required and not values:
        raise AttributeValueMissing("a required attribute has no value", tag_path=where + _path(key))
    if attribute.get("vr") != vr:
        raise AttributeInvalid(f"the value representation is {vr}", tag_path=where + _path(key))
    return values


def _uid(model: Mapping[str, Any], key: str, where: str) -> str:
    values = _values(model, key, "UI", where)
    if len(values) != 1 or not is_uid(values[0]):
        raise AttributeInvalid("not a UID", tag_path=where + _path(key))
    return str(values[0])


def _path(key: str) -> str:
    return f"({key[:4]},{key[4:]})"
