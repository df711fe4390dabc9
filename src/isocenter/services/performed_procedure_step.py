"""Modality performed procedure steps (PS3.4 section F.7): what they have to say, and what may become of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from isocenter.errors import AttributeInvalid, AttributeValueMissing, PerformedStepOver
from isocenter.services.requirements import check_created, check_set, has_value, items_of, lacking, read_table
from isocenter.wire.dicomjson import Model

IN_PROGRESS: Final = "IN PROGRESS"
FINAL: Final = ("COMPLETED", "DISCONTINUED")

STATUS: Final = "00400252"
_SCHEDULED: Final = "00400270"  # Scheduled Step Attributes Sequence
_STUDY, _STEP_ID = "0020000D", "00400009"

# Table F.7.2-1. The final codes of the items are asked for where there are items.
TABLE: Final = read_table("""
    ScheduledStepAttributesSequence               1 n -
    >StudyInstanceUID                             1 n -
    >ReferencedStudySequence                      2 n -
    >AccessionNumber                              2 n -
    >RequestedProcedureID                         2 n -
    >RequestedProcedureDescription                2 n -
    >ScheduledProcedureStepID                     2 n -
    >ScheduledProcedureStepDescription            2 n -
    >ScheduledProtocolCodeSequence                2 n -
    PatientName                                   2 n -
    PatientID                                     2 n -
    PatientBirthDate                              2 n -
    PatientSex                                    2 n -
    ReferencedPatientSequence                     2 n -
    PerformedProcedureStepID                      1 n -
    PerformedStationAETitle                       1 n -
    PerformedStationName                          2 n -
    PerformedLocation                             2 n -
    PerformedProcedureStepStartDate               1 n -
    PerformedProcedureStepStartTime               1 n -
    PerformedProcedureStepStatus                  1 3 R
    PerformedProcedureStepDescription             2 3 -
    PerformedProcedureTypeDescription             2 3 -
    ProcedureCodeSequence                         2 3 -
    PerformedProcedureStepEndDate                 2 3 R
    PerformedProcedureStepEndTime                 2 3 R
    Modality                                      1 n -
    StudyID                                       2 n -
    PerformedProtocolCodeSequence                 2 3 -
    PerformedSeriesSequence                       2 3 R
    >PerformingPhysicianName                      2 3 p
    >ProtocolName                                 1 3 R
    >OperatorsName                                2 3 p
    >SeriesInstanceUID                            1 3 R
    >SeriesDescription                            2 3 p
    >RetrieveAETitle                              2 3 p
    >ReferencedImageSequence                      2 3 p
    >ReferencedNonImageCompositeSOPInstanceSequence 2 3 p
""")


def status_of(model: Mapping[str, Any]) -> str:
    """Performed Procedure Step Status; "" without it."""
    values = model.get(STATUS, {}).get("Value") or ("",)
    return str(values[0] or "")


def check_new(model: Mapping[str, Any]) -> None:
    """What an N-CREATE cannot be like. Raises AttributeMissing, AttributeValueMissing, AttributeInvalid."""
    check_created(TABLE, model)
    if status_of(model) != IN_PROGRESS:
        raise AttributeInvalid("a step is created as IN PROGRESS", tag_path="(0040,0252)")


def changed(before: Mapping[str, Any], model: Mapping[str, Any]) -> Model:
    """A step after an N-SET, which may be the one that ends it.

    Raises PerformedStepOver, AttributeInvalid, and AttributeValueMissing for what a step that is over has to say.
    """
    if status_of(before) in FINAL:
        raise PerformedStepOver(f"the step is {status_of(before)}")
    check_set(TABLE, model, before)
    after: Model = dict(sorted({**before, **model}.items()))
    status = status_of(after)
    if status not in (IN_PROGRESS, *FINAL):
        raise AttributeInvalid("no such status", tag_path="(0040,0252)")
    if status in FINAL:
        found = lacking(TABLE, after, "Rp")
        if found is not None:
            raise AttributeValueMissing(f"this lacks to be {status}", tag_path=found)
    return after


def scheduled_steps(model: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Study Instance UID and Scheduled Procedure Step ID of the scheduled steps that one performs."""
    for _, item in items_of(model, _SCHEDULED):
        if has_value(item, _STUDY) and has_value(item, _STEP_ID):
            yield str(item[_STUDY]["Value"][0]), str(item[_STEP_ID]["Value"][0]).strip(" ")
