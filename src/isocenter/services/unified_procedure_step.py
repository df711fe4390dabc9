"""Unified procedure steps (PS3.4 Annex CC): what they have to say, what may become of them, and what is told of it.

Pure values and decisions. Who keeps the steps asks here before it changes one; DIMSE and HTTP only translate
(PS3.4 CC.1: a request by the one and the same by the other have the same answer).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

from isocenter.errors import (
    AttributeInvalid,
    AttributeMissing,
    AttributeValueMissing,
    StepClaimed,
    StepCompleted,
    StepNotRenewed,
    StepNotScheduled,
    StepOver,
    StepUnclaimed,
    StepUnfinished,
    TransactionIncorrect,
    TransactionMissing,
)
from isocenter.services.requirements import check_created, check_set, has_value, items_of, lacking, read_table
from isocenter.wire.criteria import is_date_time
from isocenter.wire.dicomjson import Model

SCHEDULED: Final = "SCHEDULED"
IN_PROGRESS: Final = "IN PROGRESS"
COMPLETED: Final = "COMPLETED"
CANCELED: Final = "CANCELED"
FINAL: Final = (COMPLETED, CANCELED)

GLOBAL: Final = "1.2.840.10008.5.1.4.34.5"  # UPS Global Subscription SOP Instance (CC.2.3.2)
FILTERED: Final = "1.2.840.10008.5.1.4.34.5.1"  # UPS Filtered Global Subscription SOP Instance

# Event Type IDs (Table CC.2.4-1)
STATE_REPORT, CANCEL_REQUESTED, PROGRESS_REPORT, SCP_STATUS, ASSIGNED = 1, 2, 3, 4, 5

TRANSACTION: Final = "00081195"
STATE: Final = "00741000"
READINESS: Final = "00404041"
PRIORITY: Final = "00741200"
_START, _EXPECTED = "00404005", "00404011"
_LABEL: Final = "00741202"
_MODIFIED: Final = "00404010"
_PROGRESS: Final = "00741002"
_CANCELED_AT: Final = "00404052"
_STATION: Final = "00404025"
_PERFORMERS: Final = "00404034"
_PERFORMER, _ORGANIZATION = "00404009", "00404036"
REASON, REASON_CODES, CONTACT, CONTACT_NAME = "00741238", "0074100E", "0074100A", "0074100C"
_REQUESTER: Final = "00741236"

_ENUMERATED: Final[Mapping[str, tuple[str, ...]]] = {
    READINESS: ("INCOMPLETE", "UNAVAILABLE", "READY"),
    PRIORITY: ("HIGH", "MEDIUM", "LOW"),
}

# Table CC.2.5-3. What is not here may be there or not; conditions that only who asks can know ("required if known") are
# not looked at. Transaction UID, SOP Class and Instance UID are no business of the data set.
TABLE: Final = read_table("""
    ScheduledProcedureStepPriority                  1 3 R
    ProcedureStepLabel                              1 3 -
    WorklistLabel                                   2 3 -
    ScheduledProcessingParametersSequence           2 3 -
    ScheduledStationNameCodeSequence                2 3 -
    ScheduledStationClassCodeSequence               2 3 -
    ScheduledStationGeographicLocationCodeSequence  2 3 -
    ScheduledHumanPerformersSequence                3 3 -
    >HumanPerformerCodeSequence                     1 3 -
    >HumanPerformerName                             1 3 -
    >HumanPerformerOrganization                     1 3 -
    ScheduledProcedureStepStartDateTime             1 3 R
    ScheduledWorkitemCodeSequence                   2 3 -
    CommentsOnTheScheduledProcedureStep             2 3 -
    InputReadinessState                             1 3 R
    InputInformationSequence                        2 3 -
    PatientName                                     2 n -
    PatientID                                       3 n -
    IssuerOfPatientID                               2 n -
    IssuerOfPatientIDQualifiersSequence             2 n -
    OtherPatientIDsSequence                         2 3 -
    >PatientID                                      1 3 -
    PatientBirthDate                                2 n -
    PatientSex                                      2 n -
    AdmissionID                                     2 n -
    IssuerOfAdmissionIDSequence                     2 n -
    AdmittingDiagnosesDescription                   2 n -
    AdmittingDiagnosesCodeSequence                  2 n -
    ReferencedRequestSequence                       2 n -
    >StudyInstanceUID                               1 3 -
    >AccessionNumber                                2 3 -
    >IssuerOfAccessionNumberSequence                2 3 -
    >OrderPlacerIdentifierSequence                  2 3 -
    >OrderFillerIdentifierSequence                  2 3 -
    >RequestedProcedureID                           2 3 -
    >RequestedProcedureDescription                  2 3 -
    >RequestedProcedureCodeSequence                 2 3 -
    ReplacedProcedureStepSequence                   3 n -
    ProcedureStepState                              1 n R
    ProcedureStepProgressInformationSequence        e 3 X
    >ProcedureStepCancellationDateTime              n 3 X
    >ProcedureStepDiscontinuationReasonCodeSequence n 3 X
    UnifiedProcedureStepPerformedProcedureSequence  e 3 P
    >PerformedStationNameCodeSequence               n 3 P
    >PerformedProcedureStepStartDateTime            n 3 P
    >PerformedWorkitemCodeSequence                  n 3 P
    >PerformedProcedureStepEndDateTime              n 3 P
    >OutputInformationSequence                      n 3 p
""")

RETURNED: Final = frozenset(
    [row.tag for row in TABLE if row.create != "3"] + [0x00080016, 0x00080018, 0x00100020, 0x0020000D, 0x00404010]
)
"""What a search answers without being asked for: Return Key Types 1 and 2, and where they are known 1C."""

_DISCONTINUED: Final[Model] = {  # CID 9300: nobody said why
    "00080100": {"vr": "SH", "Value": ["110513"]},
    "00080102": {"vr": "SH", "Value": ["DCM"]},
    "00080104": {"vr": "LO", "Value": ["Discontinued for unspecified reason"]},
}


def text_of(model: Mapping[str, Any], key: str) -> str:
    """The first value of an attribute as text; "" without one."""
    values = model.get(key, {}).get("Value") or ("",)
    return str(values[0] if values[0] is not None else "").strip(" ")


def _said(vr: str, *values: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)}


class Created(NamedTuple):
    """A new step as it is kept; `modified` says that it is not quite what was sent (B300)."""

    model: Model
    modified: bool


def created(model: Mapping[str, Any], label: str, now: str) -> Created:
    """What is kept of the Attribute List of an N-CREATE (CC.2.5.3). `label` names the worklist of a step that names
    none; `now` is a DT.

    Raises StepNotScheduled, AttributeMissing, AttributeValueMissing, AttributeInvalid.
    """
    state = text_of(model, STATE)
    if state and state != SCHEDULED:
        raise StepNotScheduled("a step is created as SCHEDULED", tag_path="(0074,1000)")
    if has_value(model, TRANSACTION):
        raise AttributeInvalid("nobody performs a step that is new", tag_path="(0008,1195)")
    check_created(TABLE, model)
    _check_values(model)
    kept = {key: entry for key, entry in model.items() if key != TRANSACTION}
    modified = _MODIFIED in kept
    kept[_MODIFIED] = _said("DT", now)
    if not has_value(kept, _LABEL):
        kept[_LABEL] = _said("LO", label)
        modified = True
    return Created(kept, modified)


def changed(before: Mapping[str, Any], model: Mapping[str, Any], now: str) -> Model:
    """A step after an N-SET. Raises AttributeInvalid, AttributeValueMissing."""
    if STATE in model and model[STATE] != before.get(STATE):
        raise AttributeInvalid("the state is changed by an action of its own", tag_path="(0074,1000)")
    check_set(TABLE, model, before)
    _check_values(model)
    return {**before, **{key: entry for key, entry in model.items() if key != TRANSACTION}, _MODIFIED: _said("DT", now)}


def _check_values(model: Mapping[str, Any]) -> None:
    for key, allowed in _ENUMERATED.items():
        if has_value(model, key) and text_of(model, key) not in allowed:
            raise AttributeInvalid(f"it is one of {', '.join(allowed)}", tag_path=f"({key[:4]},{key[4:]})")
    for key in (_START, _EXPECTED):
        if has_value(model, key) and not is_date_time(text_of(model, key)):
            raise AttributeInvalid("it is no date and time", tag_path=f"({key[:4]},{key[4:]})")


def require_transaction(state: str, given: str, lock: str) -> None:
    """That somebody may set attributes of a step in `state`, which was claimed with `lock` (CC.2.6.2, CC.2.6.3).

    Raises StepOver, TransactionMissing, TransactionIncorrect, and StepUnclaimed for a Transaction UID of a step that
    nobody has claimed.
    """
    if state in FINAL:
        raise StepOver(f"the step is {state}")
    if state == SCHEDULED:
        if given:
            raise StepUnclaimed("nobody performs the step yet, so that there is no Transaction UID")
        return
    _require_lock(given, lock)


def _require_lock(given: str, lock: str) -> None:
    if not given:
        raise TransactionMissing("the Transaction UID is missing", tag_path="(0008,1195)")
    if given != lock:
        raise TransactionIncorrect("the Transaction UID is another one", tag_path="(0008,1195)")


Transition = Literal["change", "canceled-already", "completed-already"]


def transition(model: Mapping[str, Any], lock: str, wanted: str, given: str) -> Transition:
    """What a request to change the state comes to (Table CC.1.1-2). Raises the errors of that table."""
    state = text_of(model, STATE)
    if not wanted:
        raise AttributeMissing("the state to change to is required", tag_path="(0074,1000)")
    if wanted == SCHEDULED:
        raise StepNotRenewed("a step becomes SCHEDULED when it is created only", tag_path="(0074,1000)")
    if wanted not in (IN_PROGRESS, *FINAL):
        raise AttributeInvalid("no such state", tag_path="(0074,1000)")
    _require_lock(given, given if state == SCHEDULED else lock)
    if wanted == IN_PROGRESS:
        if state == IN_PROGRESS:
            raise StepClaimed("the step is IN PROGRESS already")
        if state in FINAL:
            raise StepOver(f"the step is {state}")
        return "change"
    if state == SCHEDULED:
        raise StepUnclaimed("the step is not IN PROGRESS yet")
    if state == wanted:
        return "canceled-already" if state == CANCELED else "completed-already"
    if state in FINAL:
        raise StepOver(f"the step is {state}")
    # What a canceled step lacks of its own, in_state() fills in.
    found = lacking(TABLE, model, "RPp" if wanted == COMPLETED else "R")
    if found is not None:
        raise StepUnfinished(f"this lacks to be {wanted}", tag_path=found)
    return "change"


def in_state(model: Mapping[str, Any], state: str, now: str, why: Mapping[str, Any] | None = None) -> Model:
    """A step in another state. What a canceled one has to say is filled in as far as it lacks: when that was, and why
    as far as `why` (the information of a cancel request) or anybody knows."""
    after: Model = {**model, STATE: _said("CS", state)}
    if state != CANCELED:
        return after
    progress = [dict(item) for _, item in items_of(model, _PROGRESS)] or [{}]
    first = progress[0]
    for key in (REASON, REASON_CODES):
        if why is not None and has_value(why, key) and not has_value(first, key):
            first[key] = why[key]
    if not has_value(first, _CANCELED_AT):
        first[_CANCELED_AT] = _said("DT", now)
    if not has_value(first, REASON_CODES):
        first[REASON_CODES] = _said("SQ", dict(_DISCONTINUED))
    after[_PROGRESS] = _said("SQ", *(dict(sorted(item.items())) for item in progress))
    return after


def check_cancel(model: Mapping[str, Any]) -> None:
    """What the information of a cancel request cannot be (Table CC.2.2-1). Raises AttributeValueMissing."""
    for number, item in items_of(model, REASON_CODES):
        if not any(has_value(item, key) for key in ("00080100", "00080119", "00080120")):
            raise AttributeValueMissing("a code lacks its value", tag_path=f"(0074,100E)[{number}]")


def require_cancelable(state: str) -> None:
    """Raises StepCompleted."""
    if state == COMPLETED:
        raise StepCompleted("the step is COMPLETED")


# --- events (CC.2.4) ----------------------------------------------------------------------------------------------


class Event(NamedTuple):
    """What is told of a step: an Event Type ID and its information."""

    type_id: int
    information: Model


def _some(model: Mapping[str, Any], *keys: str) -> Model:
    return {key: model[key] for key in sorted(keys) if has_value(model, key)}


def state_report(model: Mapping[str, Any]) -> Event:
    """The state and what it is waiting for; why, if it was canceled."""
    information = _some(model, STATE, READINESS)
    if text_of(model, STATE) == CANCELED:
        for _, item in items_of(model, _PROGRESS):
            information |= _some(item, REASON, REASON_CODES)
            break
    return Event(STATE_REPORT, dict(sorted(information.items())))


def cancel_requested(why: Mapping[str, Any], requester: str) -> Event:
    """Somebody (an AE title) wants that whoever performs the step cancels it."""
    information = _some(why, REASON, REASON_CODES, CONTACT, CONTACT_NAME) | {_REQUESTER: _said("AE", requester)}
    return Event(CANCEL_REQUESTED, dict(sorted(information.items())))


def assignments(model: Mapping[str, Any]) -> Iterator[Event]:
    """To whom a step is given: an event for each person, or one for the device alone. None if it is to nobody."""
    station = _some(model, _STATION)
    people = [_some(item, _PERFORMER, _ORGANIZATION) for _, item in items_of(model, _PERFORMERS)]
    for person in people or ([{}] if station else []):
        yield Event(ASSIGNED, dict(sorted({**station, **person}.items())))


def events_of_change(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Event]:
    """What is told of an N-SET."""
    if before.get(READINESS) != after.get(READINESS):
        yield state_report(after)
    if before.get(_PROGRESS) != after.get(_PROGRESS) and _PROGRESS in after:
        yield Event(PROGRESS_REPORT, {_PROGRESS: after[_PROGRESS]})
    if any(before.get(key) != after.get(key) for key in (_STATION, _PERFORMERS)):
        yield from assignments(after)


def restarted() -> Event:
    """The SCP was started again, and has its subscriptions and steps as they were."""
    values = {"00741242": "RESTARTED", "00741244": "WARM START", "00741246": "WARM START"}
    return Event(SCP_STATUS, {key: _said("CS", value) for key, value in values.items()})
