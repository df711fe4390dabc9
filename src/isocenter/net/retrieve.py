"""C-GET and C-MOVE as SCU (PS3.4 C.4.2.2 and C.4.3.2): requests, what is proposed for them, and their progress."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from isocenter.errors import NetworkError, UsageError
from isocenter.model import FrameRange, Level
from isocenter.names import is_uid
from isocenter.net.association import Association
from isocenter.net.find import complaint
from isocenter.net.requestor import Proposal
from isocenter.services.base import Response
from isocenter.services.retrieve import Selection, failed_instances, selection_model
from isocenter.std.non_patient import MODEL_NAMED
from isocenter.std.sop_classes import (
    COMPOSITE_INSTANCE_ROOT_GET,
    COMPOSITE_INSTANCE_ROOT_MOVE,
    PATIENT_ROOT_GET,
    PATIENT_ROOT_MOVE,
    STORAGE_SOP_CLASSES,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    WITHOUT_BULK_DATA_GET,
)
from isocenter.std.statuses import MOVE, PENDING, PENDING_WITH_WARNING, meaning_of
from isocenter.std.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, transfer_syntax
from isocenter.ul.negotiation import Agreed
from isocenter.wire.command import CommandSet
from isocenter.wire.encode import encode_dataset

GET_ROOTS = {
    "PATIENT": PATIENT_ROOT_GET,
    "STUDY": STUDY_ROOT_GET,
    "INSTANCE": COMPOSITE_INSTANCE_ROOT_GET,
    "WITHOUT_BULK_DATA": WITHOUT_BULK_DATA_GET,
}
GET_ROOTS |= {name: model.get for name, model in MODEL_NAMED.items()}
MOVE_ROOTS = {"PATIENT": PATIENT_ROOT_MOVE, "STUDY": STUDY_ROOT_MOVE, "INSTANCE": COMPOSITE_INSTANCE_ROOT_MOVE}
MOVE_ROOTS |= {name: model.move for name, model in MODEL_NAMED.items()}
"""SOP classes by their root's name; INSTANCE is the Composite Instance Root, by SOP Instance UID alone,
WITHOUT_BULK_DATA the same for objects without pixel data and the like (PS3.4 Annexes Y and Z), and the others are the
models of non-patient objects."""

VIEWS = ("CLASSIC", "ENHANCED")
"""Query/Retrieve Views (PS3.4 C.3.5), from SCPs that convert."""

SYNTAXES = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)

# What peers hold objects in, uncompressed first. Not all there are: a request with every one for each SOP class would
# have over 128 KiB, and DCMTK hangs up on that.
_STORED = (
    *SYNTAXES,
    *(f"1.2.840.10008.1.2.4.{n}" for n in ("50", "51", "70", "80", "81", "90", "91", "201", "203", "100", "102")),
    "1.2.840.10008.1.2.5",
)

_TOP = {"PATIENT": Level.PATIENT, "STUDY": Level.STUDY, "INSTANCE": Level.IMAGE, "WITHOUT_BULK_DATA": Level.IMAGE}
_TOP |= dict.fromkeys(MODEL_NAMED, Level.IMAGE)
_KEYS = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_FRAME_KEYS = ("SimpleFrameList", "CalculatedFrameList", "TimeRange")
_MOST_STORAGE = 127  # presentation contexts besides that of C-GET

# Storage classes that peers rarely hold, to be left out first where not all fit: templates and protocols, second
# generation radiotherapy, and measurements of the eye
_RARE = tuple(
    f"1.2.840.10008.5.1.4.{end}"
    for end in (
        "1.1.200.", "1.1.201.", "34.", "38.", "39.", "43.", "44.", "45.", "1.1.78.", "1.1.79.", "1.1.80.", "1.1.81.",
        "1.1.82.", "1.1.90.", "1.1.91.", "1.1.9.6.", "1.1.9.7.", "1.1.9.8.", "1.1.68.", "1.1.131", "1.1.481.1",
        "1.1.481.2", "1.1.66.6", "1.1.66.8", "1.1.11.1", "1.1.104.4", "1.1.104.5",
    )
)  # fmt: skip
_FREQUENT = tuple(f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("11.1", "481.1", "481.2"))
# Retired, and still in every old archive: ultrasound, its multi-frame form, and nuclear medicine
_OLD = tuple(f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("3", "5", "6"))


@dataclass(frozen=True, slots=True)
class Progress:
    """One response to a C-GET or C-MOVE: its status and the counters of sub-operations, None where the peer does not
    tell. The last one has the SOP Instance UIDs that failed."""

    status: int
    remaining: int | None
    completed: int | None
    failed: int | None
    warning: int | None
    failed_instances: tuple[str, ...] = ()
    message: str = ""

    @property
    def pending(self) -> bool:
        """Whether more follow."""
        return self.status in (PENDING, PENDING_WITH_WARNING)

    @property
    def ok(self) -> bool:
        """Whether everything was retrieved."""
        return self.status == 0

    @property
    def done(self) -> int:
        """Sub-operations performed so far, whatever became of them."""
        return (self.completed or 0) + (self.failed or 0) + (self.warning or 0)


def selection_of(
    level: str, root: str, keys: Mapping[str, Any], view: str = "", *, relational: bool = False
) -> Selection:
    """What a caller asks for; keys are keywords with a value, UIDs of `level` also with several. With `relational`,
    those of the levels above may be absent.

    At the FRAME level of the INSTANCE root, one of the keys of PS3.4 Table Y.6-2 says which frames. Raises UsageError
    for what no SCP has to understand (PS3.4 C.4.2.1.4.1).
    """
    if level == "FRAME" and root == "INSTANCE":
        instance = selection_of("IMAGE", root, {name: keys[name] for name in keys if name not in _FRAME_KEYS}, view)
        if len(instance.instances) > 1:
            raise UsageError("frames are of one instance")
        return replace(instance, frames=_frames({name: keys[name] for name in _FRAME_KEYS if name in keys}))
    if root not in _TOP:
        raise UsageError(f"{root!r} is no root: {', '.join(_TOP)}")
    check_view(view)
    if level not in Level.__members__ or Level[level] < _TOP[root]:
        raise UsageError(f"{level!r} is no level of the {root} root")
    unknown = sorted(keys.keys() - set(_KEYS))
    if unknown:
        raise UsageError(f"{unknown[0]!r} is no unique key: {', '.join(_KEYS)}")
    wanted, top = Level[level], _TOP[root]
    values: dict[Level, tuple[str, ...]] = {}
    for each, name in zip(Level, _KEYS, strict=True):
        given = keys.get(name) or ()
        values[each] = (given,) if isinstance(given, str) else tuple(map(str, given))
        if top <= each <= wanted and not values[each] and not (relational and each < wanted):
            raise UsageError(f"the {level} level of the {root} root needs {name}")
        if each > wanted and values[each]:
            raise UsageError(f"{name} has no meaning at the {level} level")
        if len(values[each]) > 1 and (each < wanted or each == Level.PATIENT):
            raise UsageError(f"{name} has one value here")
        if each > Level.PATIENT and not all(map(is_uid, values[each])):
            raise UsageError(f"{name} is not a UID")
    patient = values[Level.PATIENT] if top == Level.PATIENT else ()
    return Selection(
        wanted,
        "".join(patient),
        values[Level.STUDY],
        values[Level.SERIES],
        values[Level.IMAGE],
        bulk=root != "WITHOUT_BULK_DATA",
        sop_classes=MODEL_NAMED[root].sop_classes if root in MODEL_NAMED else (),
        view=view,
    )


def check_view(view: str) -> None:
    """UsageError unless it is a view, or ""."""
    if view and view not in VIEWS:
        raise UsageError(f"{view!r} is no view: {', '.join(VIEWS)}")


def _frames(keys: Mapping[str, Any]) -> FrameRange:
    calculated = [int(number) for number in keys.get("CalculatedFrameList", ())]
    time = [float(moment) for moment in keys.get("TimeRange", ())]
    if len(calculated) % 3 or len(time) not in (0, 2):
        raise UsageError("a Calculated Frame List has three numbers for each range, a Time Range two")
    frames = FrameRange(
        tuple(int(number) for number in keys.get("SimpleFrameList", ())),
        tuple((calculated[at], calculated[at + 1], calculated[at + 2]) for at in range(0, len(calculated), 3)),
        (time[0], time[1]) if time else None,
    )
    if problem := frames.problem():
        raise UsageError(problem)
    return frames


def get_proposals(
    root: str, sop_classes: Iterable[str] = (), syntaxes: Sequence[str] = (), extended: bytes = b""
) -> list[Proposal]:
    """What a C-GET association proposes: the service, and Storage with us as SCP.

    Each transfer syntax gets a context of its own where all of them fit, so that the peer can send everything as it is
    stored; else all of a SOP class share one, the uncompressed first, and the peer chooses. Without `sop_classes`,
    those of the model, or those that are usual. `extended` is for SOP Class Extended Negotiation.
    """
    of_model = MODEL_NAMED[root].sop_classes if root in MODEL_NAMED else ()
    classes = list(dict.fromkeys(sop_classes)) or list(of_model) or usual_sop_classes()
    if len(classes) > _MOST_STORAGE:
        raise UsageError(f"{len(classes)} SOP classes; an association has room for {_MOST_STORAGE}")
    offered = tuple(dict.fromkeys(syntaxes)) or _STORED
    proposals = [Proposal(GET_ROOTS[root], (syntax,), extended) for syntax in SYNTAXES[:1]]
    if len(classes) * len(offered) <= _MOST_STORAGE:
        return proposals + [Proposal(uid, (syntax,), scp=True) for uid in classes for syntax in offered]
    return proposals + [Proposal(uid, offered, scp=True) for uid in classes]


def usual_sop_classes() -> list[str]:
    """As many Storage SOP classes as one association has room for, those that are rarely met left out."""
    current = [uid for uid, row in STORAGE_SOP_CLASSES.items() if row.body == "DICOM" and not row.retired]
    rare = [uid for uid in current if uid.startswith(_RARE) and uid not in _FREQUENT]
    return [*_OLD, *(uid for uid in current if uid not in set(rare)), *rare][:_MOST_STORAGE]


def identifier_of(selection: Selection, syntax_uid: str) -> bytes:
    """The Identifier of a request in a presentation context's transfer syntax."""
    syntax = transfer_syntax(syntax_uid)
    charset = () if selection.patient.isascii() else ("ISO_IR 192",)
    return encode_dataset(selection_model(selection), little=syntax.little, explicit=syntax.explicit, charset=charset)


async def progress(
    association: Association, context: Agreed, command: CommandSet, identifier: bytes
) -> AsyncGenerator[Progress, None]:
    """The responses to one request as they come; failures are not raised, the last Progress tells them.

    Closing it early sends C-CANCEL and waits for the peer's last word. Raises NetworkErrors.
    """
    responses = association.responses(context, command, [identifier])
    over = False
    try:
        async for response in responses:
            told = _progress(response, context)
            over = not told.pending
            yield told
    finally:
        if not over and association.usable:
            association.cancel(context, command["MessageID"])
            with contextlib.suppress(NetworkError):
                async for _ in responses:
                    """What was under way when we cancelled."""


def _progress(response: Response, context: Agreed) -> Progress:
    command = response.command
    names = ("Remaining", "Completed", "Failed", "Warning")
    remaining, completed, failed, warning = (command.get(f"NumberOf{name}Suboperations") for name in names)
    pending = response.status in (PENDING, PENDING_WITH_WARNING)
    message = "" if pending or not response.status else meaning_of(response.status, MOVE)
    comment = complaint(command)
    return Progress(
        response.status,
        remaining,
        completed,
        failed,
        warning,
        () if pending else failed_instances(response.data_set, context.transfer_syntax),
        f"{message}: {comment}" if comment and message else message or comment,
    )
