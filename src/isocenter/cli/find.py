"""`isocenter find`: C-FIND."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isocenter.cli import calling, output, retrieving, running
from isocenter.errors import UsageError
from isocenter.net.retrieve import SYNTAXES, check_view
from isocenter.services.keys import ROOTS, check_zone, question, tag_named
from isocenter.std.dictionary import keyword_of

if TYPE_CHECKING:
    from pydicom import Dataset

    from isocenter.net.web_client import Service

# What a person wants to see of each level, and what is therefore always asked for.
_COLUMNS: dict[str, tuple[str, ...]] = {
    "PATIENT": ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "NumberOfPatientRelatedStudies"),
    "STUDY": (
        "StudyDate", "PatientID", "PatientName", "AccessionNumber", "ModalitiesInStudy", "StudyDescription",
        "NumberOfStudyRelatedInstances", "StudyInstanceUID",
    ),
    "SERIES": (
        "Modality", "SeriesNumber", "SeriesDescription", "NumberOfSeriesRelatedInstances", "SeriesInstanceUID",
    ),
    "IMAGE": ("InstanceNumber", "SOPClassUID", "SOPInstanceUID"),
}  # fmt: skip

# The same for objects of no patient
MODEL_COLUMNS: dict[str, tuple[str, ...]] = {
    "HANGING_PROTOCOL": ("HangingProtocolName", "HangingProtocolDescription", "HangingProtocolLevel", "SOPInstanceUID"),
    "COLOR_PALETTE": ("ContentLabel", "ContentDescription", "ContentCreatorName", "SOPInstanceUID"),
    "GENERIC_IMPLANT_TEMPLATE": ("Manufacturer", "ImplantName", "ImplantSize", "ImplantPartNumber", "SOPInstanceUID"),
    "IMPLANT_ASSEMBLY_TEMPLATE": ("ImplantAssemblyTemplateName", "SOPInstanceUID"),
    "IMPLANT_TEMPLATE_GROUP": ("ImplantTemplateGroupName", "ImplantTemplateGroupDescription", "SOPInstanceUID"),
    "DEFINED_PROCEDURE_PROTOCOL": (
        "ProtocolName", "Manufacturer", "ManufacturerModelName", "SOPClassUID", "SOPInstanceUID",
    ),
    "INVENTORY": ("InventoryPurpose", "InventoryLevel", "ContentDate", "ContentTime", "SOPInstanceUID"),
    "PROTOCOL_APPROVAL": ("Manufacturer", "InstitutionName", "SOPInstanceUID"),
}  # fmt: skip

_LABELS = {
    "NumberOfPatientRelatedStudies": "Studies",
    "NumberOfStudyRelatedInstances": "Instances",
    "NumberOfSeriesRelatedInstances": "Instances",
    "ModalitiesInStudy": "Modalities",
}

# What takes a line of its own where the table is wider than the terminal
_BELOW = (
    "StudyDescription", "SeriesDescription", "StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID",
)  # fmt: skip

# What a peer has to agree to (PS3.4 C.5.1.1)
Relational = Annotated[bool, typer.Option("--relational", help="Without the keys of the levels above.")]
Combined = Annotated[bool, typer.Option("--combined", help="A range of dates and one of times are one range.")]
Fuzzy = Annotated[bool, typer.Option("--fuzzy", help="Names that sound alike, as the peer understands it.")]
Zone = Annotated[
    str, typer.Option("--zone", metavar="+HHMM", help="Dates and times asked for and answered are of this zone.")
]
EmptyValues = Annotated[bool, typer.Option("--empty-values", help="""KEY='""' matches what has no value there.""")]
MultipleValues = Annotated[
    bool, typer.Option("--multiple-values", help="ModalitiesInStudy='CT\\PT' matches what has both.")
]


@calling.options
def command(
    address: calling.AnyAddress,
    keys: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="What to match, by keyword or tag: PatientName='HONG*', 00080020=20240101-; in a sequence "
            "Sequence.Keyword=VALUE. Without a value, the attribute is only asked for.",
        ),
    ] = None,
    level: Annotated[
        str | None, typer.Option("--level", "-l", help="PATIENT, STUDY, SERIES or IMAGE. [default: STUDY]")
    ] = None,
    root: Annotated[
        str | None,
        typer.Option(
            "--root",
            help="PATIENT or STUDY [default: STUDY, PATIENT at the PATIENT level]; or, for objects of no patient, "
            f"{', '.join(MODEL_COLUMNS)}.",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Cancel after N answers.")] = None,
    charset: Annotated[
        str, typer.Option("--charset", metavar="TERM", help="Specific Character Set of the request; '' for none.")
    ] = "ISO_IR 192",
    relational: Relational = False,
    combined: Combined = False,
    fuzzy: Fuzzy = False,
    zone: Zone = "",
    empty_values: EmptyValues = False,
    multiple_values: MultipleValues = False,
    view: Annotated[
        str, typer.Option("--view", metavar="VIEW", help="CLASSIC or ENHANCED instances, of a peer that converts.")
    ] = "",
    priority: retrieving.Priority = "medium",
    *,
    call: calling.Call,
    as_json: output.Json = False,
) -> None:
    """Search a peer (C-FIND) or a DICOMweb service (QIDO-RS).

    The answers are a table, or with --json one DICOM JSON object each, as it comes.

    A level needs the UIDs of those above it: --level SERIES StudyInstanceUID=1.2.3. Objects of no patient have no
    levels: --root COLOR_PALETTE ContentLabel=HOT*
    """
    level, root, columns = _asked(level, root)
    wanted = {**dict.fromkeys(columns, ""), **parse_keys(keys or [])}
    settings = call.settings()
    asked = {
        "root": root,
        "charset": charset,
        "relational": relational,
        "combined": combined,
        "fuzzy": fuzzy,
        "zone": zone,
        "empty_values": empty_values,
        "multiple_values": multiple_values,
        "view": view.upper(),
        "priority": retrieving.urgency(priority),
        **wanted,
    }
    found = _Found(limit, as_json)
    try:
        if calling.is_web(address):
            _find_web(call.web(address, settings), level, asked, found)
        else:
            # What cannot be asked is said before anybody is called.
            check_view(view.upper())
            check_zone(zone)
            question(level, wanted, SYNTAXES[0], charset=charset, root=root)
            known = call.peer(address)
            running.run(_find(known.address, call.connecting(known, settings), level, asked, found))
    except KeyboardInterrupt:
        found.whole = False
        found.tell(wanted)
        raise
    found.tell(wanted)


class _Found:
    """The answers; as JSON they are written as they come, and none is kept. Not `whole` when there may be more."""

    def __init__(self, limit: int | None, as_json: bool) -> None:
        self.limit = limit
        self.whole = True
        self._as_json = as_json
        self._count = 0
        self._kept: list[Dataset] = []

    def add(self, match: Dataset) -> bool:
        """Whether there may be another one."""
        self._count += 1
        if self._as_json:
            output.write_json(_json(match))
        else:
            self._kept.append(match)
        self.whole = self._count != self.limit
        return self.whole

    def tell(self, columns: Iterable[str]) -> None:
        if self._as_json:
            return
        rows = [[_cell(match, name) for name in columns] for match in self._kept]
        output.table("", [_LABELS.get(name, name) for name in columns], rows, below=_BELOW)
        output.note(f"{self._count} found{'' if self.whole else '; there may be more'}")


def _asked(level: str | None, root: str | None) -> tuple[str, str, tuple[str, ...]]:
    """Level and root, and what a person wants to see there. Raises UsageError."""
    if root is not None and root.upper() in MODEL_COLUMNS:
        if level is not None:
            raise UsageError("--level: objects of no patient have none")
        return "IMAGE", root.upper(), MODEL_COLUMNS[root.upper()]
    level = (level or "STUDY").upper()
    if level not in _COLUMNS:
        raise UsageError(f"--level is one of {', '.join(_COLUMNS)}")
    root = (root or ("PATIENT" if level == "PATIENT" else "STUDY")).upper()
    if root not in ("PATIENT", "STUDY"):
        raise UsageError(f"--root is one of PATIENT, STUDY, {', '.join(MODEL_COLUMNS)}")
    return level, root, _COLUMNS[level]


def parse_keys(words: Iterable[str]) -> dict[str, Any]:
    """KEY=VALUE words as Peer.find takes them, by keyword where there is one; those in a sequence as its item."""
    result: dict[str, Any] = {}
    for word in words:
        path, _, value = word.partition("=")
        *sequences, last = [keyword_of(tag_named(name)) or f"{tag_named(name):08X}" for name in path.split(".")]
        place = result
        for name in sequences:
            place = place.setdefault(name, {})
            if not isinstance(place, dict):
                raise UsageError(f"{name} is given a value and keys inside it")
        if last in place:
            raise UsageError(f"{last} is given twice")
        place[last] = value
    return result


async def _find(address: str, connecting: dict[str, Any], level: str, asked: dict[str, Any], found: _Found) -> None:
    from isocenter.net.client import connect

    needs = {(ROOTS[asked["root"]], syntax) for syntax in SYNTAXES}
    peer = connect(address, **connecting, proposing=needs)
    with running.cancelled_by_ctrl_c(peer.cancel):
        async with peer, aclosing(peer.find(level, **asked)) as matches:
            async for match in matches:
                if not found.add(match):
                    break
    if peer.unsupported:
        output.note(f"{address} neither matches nor returns {', '.join(peer.unsupported)}")


def _find_web(service: Service, level: str, asked: dict[str, Any], found: _Found) -> None:
    """The same of a DICOMweb service (QIDO-RS). Raises UsageError for what C-FIND alone has."""
    from isocenter.net.web_client import WebClient

    alone = [name for name in ("relational", "combined", "zone", "view") if asked.pop(name)]
    if alone or asked.pop("root") not in ("PATIENT", "STUDY") or level == "PATIENT":
        raise UsageError("--root, --level PATIENT, --relational, --combined, --zone and --view are of C-FIND alone")
    del asked["charset"], asked["priority"]
    with WebClient(service) as client:
        for match in client.find(level, limit=found.limit, **asked):
            found.add(match)
        for text in dict.fromkeys(client.warnings):
            output.note(f"the service warns: {text}")


def _json(match: Dataset) -> dict[str, Any]:
    model: dict[str, Any] = match.to_json_dict(suppress_invalid_tags=True)
    if "00080005" in model:
        model["00080005"]["Value"] = ["ISO_IR 192"]  # JSON is UTF-8, whatever the answer was (PS3.18 F.2)
    return model


def _cell(match: Dataset, name: str) -> str:
    element = match.get(name) if name.isalpha() else match.get(int(name, 16))
    value: Any = getattr(element, "value", element)
    if value is None:
        return ""
    if isinstance(value, str) or name.endswith("Name") or not hasattr(value, "__iter__"):
        return str(value)
    parts = list(value)
    return f"{len(parts)} items" if name.endswith("Sequence") else "\\".join(map(str, parts))
