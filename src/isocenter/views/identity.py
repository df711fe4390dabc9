"""What is converted is a new instance: its UIDs, where it says what it comes from, and who made it (C.3.5)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from isocenter.iod.uids import UIDs
from isocenter.views.attributes import items, key, put, text
from isocenter.views.view import View
from isocenter.wire.dicomjson import Model

LEGACY_CREATED: Final = "Legacy Enhanced Image created from Classic Images"
CLASSIC_CREATED: Final = "Classic Image created from Enhanced Image"
REFERENCES_UPDATED: Final = "Updated UID references during Legacy Enhanced Classic conversion"

_DATE_TIME: Final = key("ContributionDateTime")
# Not true of another instance: signatures, and who made the source when
_LEFT_BEHIND: Final = (
    *("MACParametersSequence", "DigitalSignaturesSequence"),
    *("InstanceCreatorUID", "InstanceCreationDate", "InstanceCreationTime"),
)


@dataclass(frozen=True, slots=True)
class New:
    """Who a converted instance is. `since` are the earliest Series Date and Time of what its series was made of, "" if
    that does not say."""

    series: str
    instance: str
    since: tuple[str, str] = ("", "")


def new_uid(view: View, sources: Iterable[str], role: str) -> str:
    """The UID of what plays `role` in the view and comes from these SOP or Series Instance UIDs: always the same."""
    return UIDs(seed="\n".join((f"Query/Retrieve View {view}", *sources))).new(role)


def new_series(view: View, series: str) -> str:
    """The series for what is made of instances of a series."""
    return new_uid(view, (series,), "series")


def reference(sop_class: str, instance: str, frame: int | None = None) -> Model:
    """An item of the Image SOP Instance Reference Macro."""
    item: Model = {}
    put(item, "ReferencedSOPClassUID", sop_class)
    put(item, "ReferencedSOPInstanceUID", instance)
    if frame is not None:
        put(item, "ReferencedFrameNumber", frame)
    return item


def identify(model: Model, new: New) -> None:
    """Make it another instance: its own UIDs, and nothing that was true of the source alone."""
    for keyword in _LEFT_BEHIND:
        model.pop(key(keyword), None)
    put(model, "SOPInstanceUID", new.instance)
    put(model, "SeriesInstanceUID", new.series)
    date, time = new.since
    if date:
        put(model, "SeriesDate", date)
        put(model, "SeriesTime", *([time] if time else []))


def earliest(models: Iterable[Model]) -> tuple[str, str]:
    """The earliest Series Date and Time, "" where there is none."""
    found = [(text(model, "SeriesDate"), text(model, "SeriesTime")) for model in models]
    return min((moment for moment in found if moment[0]), default=("", ""))


def contributed(models: Sequence[Model], description: str) -> list[Model]:
    """The items of Contributing Equipment Sequence of what is made of these: theirs where they agree, and ours.

    It tells no time and no version of ours: the same view of the same study is to have the same values tomorrow.
    """
    before = [_without_times(items(model, "ContributingEquipmentSequence")) for model in models]
    kept = items(models[0], "ContributingEquipmentSequence") if all(one == before[0] for one in before) else []
    purpose: Model = {}
    put(purpose, "CodeValue", "109106")
    put(purpose, "CodingSchemeDesignator", "DCM")
    put(purpose, "CodeMeaning", "Enhanced Multi-frame Conversion Equipment")  # PS3.16 CID 7005
    ours: Model = {}
    put(ours, "Manufacturer", "Isocenter")
    put(ours, "ContributionDescription", description)
    put(ours, "PurposeOfReferenceCodeSequence", purpose)
    return [*kept, ours]


def _without_times(given: Sequence[Model]) -> list[dict[str, Any]]:
    return [{name: entry for name, entry in item.items() if name != _DATE_TIME} for item in given]
