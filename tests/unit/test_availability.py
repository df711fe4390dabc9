"""Instance Availability Notification: what is written, what is read, and with which status the rest is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from isocenter.errors import AttributeInvalid, AttributeMissing, AttributeValueMissing, IsocenterError
from isocenter.services.availability import Available, Notification, notification_model, read_notification
from isocenter.services.normalized import encoded
from isocenter.wire.dicomjson import dataset_json

CT = "1.2.840.10008.5.1.4.1.1.2"
STEP = ("1.2.840.10008.3.1.2.3.3", "1.2.3.9")
TWO_SERIES = Notification(
    "1.2.3",
    (
        Available("1.2.3.1", CT, "1.2.3.1.1", ("ISOCENTER",)),
        Available("1.2.3.1", CT, "1.2.3.1.2", ("ISOCENTER", "OTHER"), "NEARLINE"),
        Available("1.2.3.2", CT, "1.2.3.2.1", ("ISOCENTER",)),
    ),
)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"])
@pytest.mark.parametrize("step", [None, STEP])
def test_what_is_written_is_read(syntax: str, step: tuple[str, str] | None) -> None:
    said = Notification(TWO_SERIES.study, TWO_SERIES.instances, step)
    raw = encoded(notification_model(said), syntax, ())
    assert said == read_notification(dataset_json(raw, syntax, exclude_bulk=False))


def test_only_the_attributes_of_the_table_are_sent() -> None:
    """Table R.3.2-1; R.3.2.1.2 forbids others, so that nothing of the patient is in it."""
    model = notification_model(TWO_SERIES)
    assert {"00081111", "00081115", "0020000D"} == model.keys()
    for series in model["00081115"]["Value"]:
        assert {"0020000E", "00081199"} == series.keys()
        for item in series["00081199"]["Value"]:
            assert {"00080054", "00080056", "00081150", "00081155"} == item.keys()


def at(model: dict[str, Any], *path: str | int) -> Any:
    for part in path:
        model = model[part] if isinstance(part, int) else model[part]["Value"]  # type: ignore[index, assignment]
    return model


SERIES = ("00081115", 0)
ITEM = (*SERIES, "00081199", 1)


@pytest.mark.parametrize(
    ("where", "key", "value", "error", "path"),
    [
        ((), "0020000D", None, AttributeMissing, "(0020,000D)"),
        ((), "0020000D", {"vr": "UI"}, AttributeValueMissing, "(0020,000D)"),
        ((), "0020000D", {"vr": "UI", "Value": ["1.02"]}, AttributeInvalid, "(0020,000D)"),
        ((), "0020000D", {"vr": "UI", "Value": ["1.2", "1.3"]}, AttributeInvalid, "(0020,000D)"),
        ((), "0020000D", {"vr": "LO", "Value": ["1.2"]}, AttributeInvalid, "(0020,000D)"),
        ((), "00081111", None, AttributeMissing, "(0008,1111)"),
        ((), "00081111", {"vr": "SQ", "Value": [{}, {}]}, AttributeInvalid, "(0008,1111)"),
        ((), "00081111", {"vr": "SQ", "Value": [{}]}, AttributeMissing, "(0008,1111)[0].(0040,4019)"),
        ((), "00081115", None, AttributeMissing, "(0008,1115)"),
        ((), "00081115", {"vr": "SQ"}, AttributeValueMissing, "(0008,1115)"),
        (SERIES, "0020000E", None, AttributeMissing, "(0008,1115)[0].(0020,000E)"),
        (SERIES, "00081199", {"vr": "SQ", "Value": []}, AttributeValueMissing, "(0008,1115)[0].(0008,1199)"),
        (ITEM, "00081150", None, AttributeMissing, "(0008,1115)[0].(0008,1199)[1].(0008,1150)"),
        (ITEM, "00081155", None, AttributeMissing, "(0008,1115)[0].(0008,1199)[1].(0008,1155)"),
        (ITEM, "00080054", {"vr": "AE", "Value": [""]}, AttributeValueMissing, "[1].(0008,0054)"),
        (ITEM, "00080056", {"vr": "CS", "Value": ["SOON"]}, AttributeInvalid, "[1].(0008,0056)"),
    ],
)
def test_what_lacks_something_is_refused(
    where: tuple[str | int, ...], key: str, value: Any, error: type[IsocenterError], path: str
) -> None:
    model = copy.deepcopy(notification_model(TWO_SERIES))
    place = at(model, *where)
    if value is None:
        del place[key]
    else:
        place[key] = value
    with pytest.raises(error) as raised:
        read_notification(model)
    assert raised.value.tag_path is not None
    assert raised.value.tag_path.endswith(path)


def test_the_statuses_are_those_of_the_standard() -> None:
    """PS3.7 Annex C: missing attribute, missing attribute value, invalid attribute value."""
    assert (0x0120, 0x0121, 0x0106) == tuple(
        error.dimse_status for error in (AttributeMissing, AttributeValueMissing, AttributeInvalid)
    )
