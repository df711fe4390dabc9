"""Query/Retrieve, its retrieving half: C-MOVE and C-GET (PS3.4 C.4.2, C.4.3 and Annexes Y and Z), and those of the
non-patient objects (Annexes U, X, BB, HH, II and JJ).

Pure: an identifier becomes a Selection, whoever holds the objects performs the sub-operations, and this counts them.
How instances are found, read and sent is the business of the Retriever that the composition root hands in.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from struct import Struct
from typing import Any, Protocol

from isocenter.errors import BadRequest, DataSetError, InvalidFrameRange, OutOfResources
from isocenter.model import UNIQUE_KEY, FrameRange, Level
from isocenter.names import is_uid
from isocenter.services.base import Reply, Request, Service
from isocenter.services.identifier import view_of
from isocenter.services.query import refusal
from isocenter.std.dictionary import name_of
from isocenter.std.non_patient import NON_PATIENT_MODELS
from isocenter.std.sop_classes import (
    COMPOSITE_INSTANCE_ROOT_GET,
    COMPOSITE_INSTANCE_ROOT_MOVE,
    PATIENT_ROOT_GET,
    PATIENT_ROOT_MOVE,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    WITHOUT_BULK_DATA_GET,
)
from isocenter.std.statuses import CANCEL, PENDING, SUCCESS
from isocenter.std.transfer_syntaxes import transfer_syntax
from isocenter.ul.negotiation import Support
from isocenter.wire.charset import decode
from isocenter.wire.command import CommandSet, Verb
from isocenter.wire.elements import path_of
from isocenter.wire.encode import encode_dataset
from isocenter.wire.limits import DEFAULT_LIMITS, Limits
from isocenter.wire.scan import scan
from isocenter.wire.values import texts

# Preferred first, as a requestor proposes them
TRANSFER_SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2")

UNABLE_TO_COUNT = 0xA701
UNABLE_TO_PERFORM = 0xA702
MOVE_DESTINATION_UNKNOWN = 0xA801
SOME_FAILED = 0xB000

_HIERARCHY = {PATIENT_ROOT_GET: Level.PATIENT, PATIENT_ROOT_MOVE: Level.PATIENT}
_HIERARCHY |= {STUDY_ROOT_GET: Level.STUDY, STUDY_ROOT_MOVE: Level.STUDY}
_HIERARCHY |= {COMPOSITE_INSTANCE_ROOT_GET: Level.IMAGE, COMPOSITE_INSTANCE_ROOT_MOVE: Level.IMAGE}
_HIERARCHY |= {WITHOUT_BULK_DATA_GET: Level.IMAGE}
_NON_PATIENT = {uid: model.sop_classes for model in NON_PATIENT_MODELS for uid in (model.get, model.move)}
_HIERARCHY |= dict.fromkeys(_NON_PATIENT, Level.IMAGE)
_FRAME_ROOTS = frozenset({COMPOSITE_INSTANCE_ROOT_GET, COMPOSITE_INSTANCE_ROOT_MOVE})
_MOVES = frozenset({PATIENT_ROOT_MOVE, STUDY_ROOT_MOVE, COMPOSITE_INSTANCE_ROOT_MOVE})
_MOVES |= {model.move for model in NON_PATIENT_MODELS}

_CHARACTER_SET, _LEVEL, _VIEW, _FAILED_LIST = 0x00080005, 0x00080052, 0x00080053, "00080058"
_FRAME = "FRAME"  # the level below IMAGE in the Composite Instance Root (PS3.4 Table Y.6.1-1)
_SIMPLE, _CALCULATED, _TIME = 0x00081161, 0x00081162, 0x00081163
_WANTED = frozenset({_CHARACTER_SET, _LEVEL, _VIEW, *UNIQUE_KEY.values(), _SIMPLE, _CALCULATED, _TIME})


def _negotiate(info: bytes) -> bytes:
    """The answer to SOP Class Extended Negotiation (PS3.4 C.5.2.1): relational retrieval, and views of converted
    instances (Enhanced Multi-Frame Image Conversion); what more is proposed nobody has defined."""
    return bytes(byte == 1 and number < 2 for number, byte in enumerate(info))


def _negotiate_nothing(info: bytes) -> bytes:
    """The same where there is neither: Annexes Y and Z, and non-patient objects."""
    return bytes(len(info))


_SUPPORT = Support(frozenset(TRANSFER_SYNTAXES), extended=_negotiate)
_SUPPORT_INSTANCES = Support(frozenset(TRANSFER_SYNTAXES), extended=_negotiate_nothing)
_MOST = 0xFFFF  # counters are US

# Pending responses may be left out (PS3.4 sections C.4.2.3.1 and C.4.3.3.1), and one for each of many small objects
# costs more than reading them: there is one for each hundredth of the whole, of many not before so many seconds after
# the last, and another after so many without.
_PORTIONS, _APART, _QUIET = 100, 0.01, 0.1


@dataclass(frozen=True, slots=True)
class Selection:
    """What to retrieve: unique keys as of PS3.4 C.4.2.1.4. Several values at `level` only; what is empty narrows
    nothing. With `frames`, a new object with these frames of the one instance; without `bulk`, what Annex Z leaves;
    with `sop_classes`, only instances of these non-patient classes. With `view`, CLASSIC or ENHANCED, keys and
    instances are those of what they are converted to (C.3.5)."""

    level: Level
    patient: str = field(default="", repr=False)
    studies: tuple[str, ...] = ()
    series: tuple[str, ...] = ()
    instances: tuple[str, ...] = ()
    frames: FrameRange | None = None
    bulk: bool = True
    sop_classes: tuple[str, ...] = ()
    view: str = ""


@dataclass(slots=True)
class Suboperation:
    """What became of one C-STORE sub-operation: its status; None where nothing was sent or nothing came back, and why.
    `lost`: the association ended with it, so that it may be there or not, and another try may do better; `again`: it
    was not sent for want of something that we may have later. Not to be changed; as with Request, it is not frozen
    because there is one for every object."""

    sop_instance: str
    status: int | None
    why: str = ""
    lost: bool = False
    again: bool = False

    @property
    def warned(self) -> bool:
        return self.status is not None and self.status >> 12 == 0xB


class Transfer(Protocol):
    """The sub-operations of one request."""

    @property
    def total(self) -> int:
        """How many there will be."""

    def perform(self) -> AsyncGenerator[Suboperation, None]:
        """Perform them, one for each instance. Once the request is cancelled none is begun, and those that run are the
        last. OutOfResources if no more can be performed."""


class Retriever(Protocol):
    """Whoever holds the objects. Both raise OutOfResources when the instances cannot be counted, FrameRetrieveErrors
    when frames cannot be had."""

    async def get(self, request: Request, selection: Selection) -> Transfer:
        """To the requestor, on its own association."""

    async def move(self, request: Request, selection: Selection, destination: str) -> Transfer | None:
        """To the application entity `destination`; None if that is not known."""


@dataclass(slots=True)
class _Tally:
    remaining: int
    completed: int = 0
    warned: int = 0
    failed: list[str] = field(default_factory=list)
    why: str = ""  # the last one failed, as far as that is ours to tell

    def add(self, done: Suboperation) -> None:
        self.remaining = max(0, self.remaining - 1)
        if done.status == SUCCESS:
            self.completed += 1
        elif done.warned:
            self.warned += 1
        else:
            self.failed.append(done.sop_instance)
            self.why = done.why

    @property
    def status(self) -> int:
        """Of the final response when nothing remains (PS3.4 C.4.2.3.1): a failure only where all have failed."""
        if not self.failed:
            return SOME_FAILED if self.warned else SUCCESS
        return SOME_FAILED if self.completed or self.warned else UNABLE_TO_PERFORM

    def elements(self, *, remaining: bool) -> dict[str, int]:
        """The counters of a response; Number of Remaining only in pending and cancelled ones (PS3.7 9.1.3.1)."""
        counters = {
            "NumberOfCompletedSuboperations": min(self.completed, _MOST),
            "NumberOfFailedSuboperations": min(len(self.failed), _MOST),
            "NumberOfWarningSuboperations": min(self.warned, _MOST),
        }
        if remaining:
            counters["NumberOfRemainingSuboperations"] = min(self.remaining, _MOST)
        return counters


class RetrieveService(Service):
    """C-MOVE and C-GET as SCP: Patient Root, Study Root, Composite Instance Root, Without Bulk Data, and each kind of
    non-patient objects."""

    name = "Query/Retrieve: Retrieve"

    def __init__(self, retriever: Retriever, *, clock: Callable[[], float], limits: Limits = DEFAULT_LIMITS) -> None:
        self._retriever = retriever
        self._clock = clock
        self._limits = limits

    def sop_classes(self) -> Iterable[str]:
        return tuple(_HIERARCHY)

    def supports(self, abstract_syntax: str) -> Support | None:
        top = _HIERARCHY.get(abstract_syntax)
        if top is None:
            return None
        return _SUPPORT_INSTANCES if top == Level.IMAGE else _SUPPORT

    def c_get(self, request: Request, data_set: bytes) -> AsyncIterator[Reply]:
        return self._retrieve(request, data_set, Verb.C_GET)

    def c_move(self, request: Request, data_set: bytes) -> AsyncIterator[Reply]:
        return self._retrieve(request, data_set, Verb.C_MOVE)

    async def _retrieve(self, request: Request, data_set: bytes, verb: Verb) -> AsyncIterator[Reply]:
        sop_class = request.context.abstract_syntax
        if (verb == Verb.C_MOVE) != (sop_class in _MOVES):
            yield Reply(0x0211, f"this SOP class has no {verb.name.replace('_', '-')}")
            return
        try:
            context = request.context
            relational, views = (context.extended[at : at + 1] == b"\x01" for at in (0, 1))
            selection = read_selection(
                data_set, context.transfer_syntax, sop_class, self._limits, relational=relational, views=views
            )
            transfer = await self._transfer(request, selection, verb)
        except DataSetError as error:
            yield refusal(BadRequest(error.message, tag_path=error.tag_path))
            return
        except (BadRequest, InvalidFrameRange) as error:
            yield refusal(error)
            return
        except OutOfResources as error:
            yield Reply(UNABLE_TO_COUNT, str(error))
            return
        if transfer is None:
            yield Reply(MOVE_DESTINATION_UNKNOWN, "the move destination is none of the configured peers")
            return
        tally = _Tally(transfer.total)
        portion, told = max(1, transfer.total // _PORTIONS), self._clock()
        apart = _APART if portion > 1 else 0.0
        failure: OutOfResources | None = None
        async with aclosing(transfer.perform()) as steps:
            try:
                async for done in steps:
                    tally.add(done)
                    if not tally.remaining or request.cancellation.requested:
                        continue
                    now = self._clock()
                    if now - told >= (_QUIET if tally.remaining % portion else apart):
                        told = now
                        yield Reply(PENDING, elements=tally.elements(remaining=True))
            except OutOfResources as error:
                failure = error
        if failure is not None:
            yield self._final(request, UNABLE_TO_PERFORM, str(failure), tally)
        elif tally.remaining and request.cancellation.requested:
            yield self._final(request, CANCEL, "", tally)
        else:
            status = tally.status
            yield self._final(request, status, tally.why if status == UNABLE_TO_PERFORM else "", tally)

    async def _transfer(self, request: Request, selection: Selection, verb: Verb) -> Transfer | None:
        if verb == Verb.C_GET:
            return await self._retriever.get(request, selection)
        return await self._retriever.move(request, selection, request.command.get("MoveDestination", "").strip())

    def _final(self, request: Request, status: int, comment: str, tally: _Tally) -> Reply:
        """The last response, with the Failed SOP Instance UID List (PS3.4 C.4.2.1.4.2) where something failed."""
        data_set = None
        if tally.failed:
            syntax = transfer_syntax(request.context.transfer_syntax)
            data_set = encode_dataset(
                {_FAILED_LIST: {"vr": "UI", "Value": tally.failed}},
                little=syntax.little,
                explicit=syntax.explicit,
                charset=(),
            )
        return Reply(status, comment, data_set, tally.elements(remaining=status == CANCEL))


# --- identifiers ----------------------------------------------------------------------------------------------------


def read_selection(
    data_set: bytes,
    syntax_uid: str,
    sop_class: str,
    limits: Limits = DEFAULT_LIMITS,
    *,
    relational: bool = False,
    views: bool = False,
) -> Selection:
    """What the identifier of a C-MOVE or C-GET asks for.

    Raises BadRequest (A900) unless the level is one of the model's, each level above it has one value (or none, where
    relational retrieval was negotiated) and the level itself at least one (PS3.4 C.4.2.1.4.1, C.4.2.2.2), and for a
    view unless `views` were negotiated; InvalidFrameRange (AA04) for frames that are not named as they should. Other
    attributes have no meaning and are passed over; so has the level of non-patient objects (PS3.4 sections U.4.2 ...).
    """
    syntax = transfer_syntax(syntax_uid)
    found = scan(
        data_set, little=syntax.little, explicit=syntax.explicit, wanted=_WANTED, limits=limits, whole=False
    ).elements
    raw = {tag: data_set[at.offset : at.offset + max(0, at.length)] for tag, at in found.items()}
    view = view_of(decode(raw.get(_VIEW, b""), vr="CS").strip(" \0"), agreed=views)
    classes = _NON_PATIENT.get(sop_class, ())
    name = Level.IMAGE.name if classes else decode(raw.get(_LEVEL, b""), vr="CS").strip(" \0")
    frames = None
    if name == _FRAME and sop_class in _FRAME_ROOTS:
        name, frames = Level.IMAGE.name, _frames(raw, "<" if syntax.little else ">")
    try:
        level = Level[name]
    except KeyError:
        complaint = "Query/Retrieve Level is missing or not of this SOP class"
        raise BadRequest(complaint, tag_path=path_of((_LEVEL,))) from None
    top = _HIERARCHY[sop_class]
    if level < top:
        raise BadRequest(f"Query/Retrieve Level {level.name} is not of this SOP class", tag_path=path_of((_LEVEL,)))
    charset = texts(raw.get(_CHARACTER_SET, b""), "CS")
    keys: dict[Level, tuple[str, ...]] = {}
    for each in Level:
        if top <= each <= level:
            keys[each] = _key(
                raw.get(UNIQUE_KEY[each], b""), each, level, charset, may_lack=relational and each < level
            )
    instances = keys.get(Level.IMAGE, ())
    if frames is not None and len(instances) > 1:
        raise InvalidFrameRange("frames of several instances at once")
    return Selection(
        level,
        "".join(keys.get(Level.PATIENT, ())),
        keys.get(Level.STUDY, ()),
        keys.get(Level.SERIES, ()),
        instances,
        frames,
        sop_class != WITHOUT_BULK_DATA_GET,
        classes,
        view,
    )


def _frames(raw: Mapping[int, bytes], order: str) -> FrameRange:
    """The frames of a FRAME level identifier (PS3.4 section Y.3.2.1). Raises InvalidFrameRange."""
    simple, calculated, time = (
        _numbers(raw.get(tag, b""), code, order) for tag, code in ((_SIMPLE, "I"), (_CALCULATED, "I"), (_TIME, "d"))
    )
    if len(calculated) % 3 or len(time) not in (0, 2):
        raise InvalidFrameRange("a list of frames with values missing")
    ranges = tuple((calculated[at], calculated[at + 1], calculated[at + 2]) for at in range(0, len(calculated), 3))
    frames = FrameRange(simple, ranges, (time[0], time[1]) if time else None)
    if problem := frames.problem():
        raise InvalidFrameRange(problem)
    return frames


def _numbers(raw: bytes, code: str, order: str) -> tuple[Any, ...]:
    one = Struct(f"{order}{code}")
    if len(raw) % one.size:
        raise InvalidFrameRange("a list of frames with half a value")
    return tuple(value for (value,) in one.iter_unpack(raw))


def _key(raw: bytes, each: Level, level: Level, charset: Sequence[str], *, may_lack: bool) -> tuple[str, ...]:
    if each == Level.PATIENT:
        values = [decode(raw, charset, "LO").strip(" \0")]
    else:
        values = [one.strip(" \0") for one in raw.decode("latin-1").split("\\")]
    values = list(dict.fromkeys(one for one in values if one))
    if not values and may_lack:
        return ()
    wrong = ""
    if not values:
        wrong = "is missing"
    elif len(values) > 1 and each < level:
        wrong = f"has several values, above {level.name}"
    elif each == Level.PATIENT and ("\\" in values[0] or "*" in values[0] or "?" in values[0]):
        wrong = "is not a single value"
    elif each > Level.PATIENT and not all(map(is_uid, values)):
        wrong = "is not a UID"
    if wrong:
        raise BadRequest(f"{name_of(UNIQUE_KEY[each])} {wrong}", tag_path=path_of((UNIQUE_KEY[each],)))
    return tuple(values)


# --- as SCU ---------------------------------------------------------------------------------------------------------


def selection_model(selection: Selection) -> dict[str, dict[str, object]]:
    """The DICOM JSON model of an identifier; wire.encode writes it. The models of non-patient objects have no level."""
    frames = selection.frames
    name = selection.level.name if frames is None else _FRAME
    model: dict[str, dict[str, object]] = {}
    if not selection.sop_classes:
        model[f"{_LEVEL:08X}"] = {"vr": "CS", "Value": [name]}
    if selection.view:
        model[f"{_VIEW:08X}"] = {"vr": "CS", "Value": [selection.view]}
    if frames is not None:
        calculated = [number for one in frames.calculated for number in one]
        for tag, vr, values in (
            (_SIMPLE, "UL", list(frames.simple)),
            (_CALCULATED, "UL", calculated),
            (_TIME, "FD", list(frames.time or ())),
        ):
            if values:
                model[f"{tag:08X}"] = {"vr": vr, "Value": values}
    if selection.patient:
        model[f"{UNIQUE_KEY[Level.PATIENT]:08X}"] = {"vr": "LO", "Value": [selection.patient]}
    for level, uids in (
        (Level.STUDY, selection.studies),
        (Level.SERIES, selection.series),
        (Level.IMAGE, selection.instances),
    ):
        if uids:
            model[f"{UNIQUE_KEY[level]:08X}"] = {"vr": "UI", "Value": list(uids)}
    return model


def get_request(message_id: int, sop_class: str, *, priority: int = 0) -> CommandSet:
    """C-GET-RQ (PS3.7 section 9.3.3.1). `priority` 0 medium, 1 high, 2 low."""
    return {
        "AffectedSOPClassUID": sop_class,
        "CommandField": Verb.C_GET,
        "MessageID": message_id,
        "Priority": priority,
    }


def move_request(message_id: int, sop_class: str, destination: str, *, priority: int = 0) -> CommandSet:
    """C-MOVE-RQ (PS3.7 section 9.3.4.1) to the AE title `destination`. `priority` 0 medium, 1 high, 2 low."""
    return {
        **get_request(message_id, sop_class, priority=priority),
        "CommandField": Verb.C_MOVE,
        "MoveDestination": destination,
    }


def failed_instances(data_set: bytes | None, syntax_uid: str) -> tuple[str, ...]:
    """The Failed SOP Instance UID List of a final response; empty where there is none. Raises DataSetError."""
    if not data_set:
        return ()
    syntax = transfer_syntax(syntax_uid)
    tag = int(_FAILED_LIST, 16)
    found = scan(data_set, little=syntax.little, explicit=syntax.explicit, wanted=frozenset({tag}), whole=False)
    element = found.elements.get(tag)
    if element is None:
        return ()
    value = data_set[element.offset : element.offset + element.length].decode("latin-1")
    return tuple(uid for uid in (one.strip(" \0") for one in value.split("\\")) if uid)
