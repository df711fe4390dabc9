"""Steps scheduled for modalities (PS3.4 Annex K): what each has to say to be worth finding.

The standard has no service that schedules them; orders come by HL7 or by hand. What is asked of one is what Table K.6-1
has every answer of a modality worklist say (Return Key Type 1 and 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from isocenter.errors import AttributeInvalid
from isocenter.names import is_uid
from isocenter.services.requirements import check_created, items_of, read_table
from isocenter.wire.dicomjson import Model

SCHEDULED: Final = "SCHEDULED"
STARTED: Final = "STARTED"

_SEQUENCE: Final = "00400100"  # Scheduled Procedure Step Sequence
_STEP_ID, _STATUS, _STUDY = "00400009", "00400020", "0020000D"

TABLE: Final = read_table("""
    AccessionNumber                        2 3 -
    ReferringPhysicianName                 2 3 -
    PatientName                            1 3 -
    PatientID                              1 3 -
    PatientBirthDate                       2 3 -
    PatientSex                             2 3 -
    StudyInstanceUID                       1 3 -
    ScheduledProcedureStepSequence         1 3 -
    >Modality                              1 3 -
    >ScheduledStationAETitle               1 3 -
    >ScheduledProcedureStepStartDate       1 3 -
    >ScheduledProcedureStepStartTime       1 3 -
    >ScheduledProcedureStepID              1 3 -
    RequestedProcedureID                   1 3 -
""")


def checked(model: Mapping[str, Any]) -> tuple[str, Model]:
    """The name of a scheduled step, Study Instance UID and Scheduled Procedure Step ID with a backslash between, and
    the step as it is kept: with a status. Raises AttributeMissing, AttributeValueMissing, AttributeInvalid."""
    check_created(TABLE, model)
    study = str(model[_STUDY]["Value"][0])
    if not is_uid(study):
        raise AttributeInvalid("a Study Instance UID is no UID", tag_path="(0020,000D)")
    steps = [dict(item) for _, item in items_of(model, _SEQUENCE)]
    if len(steps) != 1:
        raise AttributeInvalid("one step is scheduled at a time", tag_path="(0040,0100)")
    step = steps[0]
    step.setdefault(_STATUS, {"vr": "CS", "Value": [SCHEDULED]})
    kept = {**model, _SEQUENCE: {"vr": "SQ", "Value": [dict(sorted(step.items()))]}}
    return name_of(study, str(step[_STEP_ID]["Value"][0]).strip(" ")), kept


def name_of(study: str, step: str) -> str:
    """What tells scheduled steps apart. Neither part can have a backslash."""
    return f"{study}\\{step}"


def state_of(model: Mapping[str, Any]) -> str:
    """Scheduled Procedure Step Status."""
    for _, item in items_of(model, _SEQUENCE):
        values = item.get(_STATUS, {}).get("Value") or ("",)
        return str(values[0] or "")
    return ""


def started(model: Mapping[str, Any]) -> Model:
    """The step once a modality performs it."""
    steps = [{**item, _STATUS: {"vr": "CS", "Value": [STARTED]}} for _, item in items_of(model, _SEQUENCE)]
    return {**model, _SEQUENCE: {"vr": "SQ", "Value": [dict(sorted(step.items())) for step in steps]}}
