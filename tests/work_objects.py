"""Steps of work as clients send them: DICOM JSON that has what PS3.4 Tables CC.2.5-3 and F.7.2-1 require, no more."""

from __future__ import annotations

from typing import Any

from isocenter.std.dictionary import tag_of, vr_of

Model = dict[str, Any]
CODE = {"CodeValue": "110005", "CodingSchemeDesignator": "DCM", "CodeMeaning": "Interpretation"}
STATION = {"CodeValue": "WS1", "CodingSchemeDesignator": "99SITE", "CodeMeaning": "Workstation 1"}


def data_set(**values: Any) -> Model:
    """DICOM JSON of keywords: a list of dicts is a sequence, None is an attribute without a value."""
    model: Model = {}
    for keyword, value in values.items():
        tag = tag_of(keyword)
        assert tag is not None, keyword
        vr = vr_of(tag)
        entry: Model = {"vr": vr}
        if isinstance(value, list) and vr == "SQ":
            value = [data_set(**item) for item in value]
        elif vr == "PN" and value is not None:
            value = [{"Alphabetic": value}]
        elif value is not None and not isinstance(value, list):
            value = [value]
        if value:
            entry["Value"] = value
        model[f"{tag:08X}"] = entry
    return dict(sorted(model.items()))


_REQUEST = {
    "StudyInstanceUID": "1.2.826.1",
    "AccessionNumber": "A17",
    "IssuerOfAccessionNumberSequence": [],
    "OrderPlacerIdentifierSequence": [],
    "OrderFillerIdentifierSequence": [],
    "RequestedProcedureID": "P1",
    "RequestedProcedureDescription": "CT thorax",
    "RequestedProcedureCodeSequence": [],
}


def workitem(**values: Any) -> Model:
    """A unified procedure step as it is created."""
    usual: dict[str, Any] = {
        "TransactionUID": None,
        "ScheduledProcedureStepPriority": "MEDIUM",
        "ProcedureStepLabel": "Read CT",
        "WorklistLabel": "READING",
        "ScheduledProcessingParametersSequence": [],
        "ScheduledStationNameCodeSequence": [],
        "ScheduledStationClassCodeSequence": [],
        "ScheduledStationGeographicLocationCodeSequence": [],
        "InputInformationSequence": [],
        "ScheduledProcedureStepStartDateTime": "20261122090000",
        "ScheduledWorkitemCodeSequence": [CODE],
        "CommentsOnTheScheduledProcedureStep": None,
        "InputReadinessState": "READY",
        "PatientName": "Hong^Gildong",
        "PatientID": "17",
        "IssuerOfPatientID": None,
        "IssuerOfPatientIDQualifiersSequence": [],
        "OtherPatientIDsSequence": [],
        "PatientBirthDate": "19700101",
        "PatientSex": "M",
        "AdmissionID": None,
        "IssuerOfAdmissionIDSequence": [],
        "AdmittingDiagnosesDescription": None,
        "AdmittingDiagnosesCodeSequence": [],
        "ReferencedRequestSequence": [_REQUEST],
        "ProcedureStepState": "SCHEDULED",
        "ProcedureStepProgressInformationSequence": [],
        "UnifiedProcedureStepPerformedProcedureSequence": [],
    }
    return data_set(**{**usual, **values})


def state(wanted: str, transaction: str | None = None) -> Model:
    """The information of a change of state."""
    return data_set(ProcedureStepState=wanted, **({} if transaction is None else {"TransactionUID": transaction}))


def performed() -> Model:
    """What a step has to say of its performance before it can be completed."""
    item = {
        "PerformedStationNameCodeSequence": [STATION],
        "PerformedWorkitemCodeSequence": [CODE],
        "PerformedProcedureStepStartDateTime": "20261122091500",
        "PerformedProcedureStepEndDateTime": "20261122093000",
        "OutputInformationSequence": [],
    }
    return data_set(UnifiedProcedureStepPerformedProcedureSequence=[item])


def scheduled(study: str, step: str, **values: Any) -> Model:
    """A step as it is scheduled for a modality; keywords of the step itself go into its sequence."""
    item = {
        "Modality": "CT",
        "ScheduledStationAETitle": "CT1",
        "ScheduledProcedureStepStartDate": "20261122",
        "ScheduledProcedureStepStartTime": "093000",
        "ScheduledProcedureStepID": step,
        "ScheduledPerformingPhysicianName": None,
        "ScheduledProcedureStepDescription": "CT thorax",
    }
    inner = {key: values.pop(key) for key in list(values) if key in item}
    usual: dict[str, Any] = {
        "AccessionNumber": "A17",
        "ReferringPhysicianName": None,
        "PatientName": "Hong^Gildong",
        "PatientID": "17",
        "PatientBirthDate": "19700101",
        "PatientSex": "M",
        "StudyInstanceUID": study,
        "RequestedProcedureID": "P1",
        "ScheduledProcedureStepSequence": [{**item, **inner}],
    }
    return data_set(**{**usual, **values})


def begun(study: str = "1.2.826.1", step: str = "S1", **values: Any) -> Model:
    """A performed procedure step as a modality creates it."""
    request: dict[str, Any] = {
        "StudyInstanceUID": study,
        "ReferencedStudySequence": [],
        "AccessionNumber": "A17",
        "RequestedProcedureID": "P1",
        "RequestedProcedureDescription": None,
        "ScheduledProcedureStepID": step,
        "ScheduledProcedureStepDescription": None,
        "ScheduledProtocolCodeSequence": [],
    }
    usual: dict[str, Any] = {
        "ScheduledStepAttributesSequence": [request],
        "PatientName": "Hong^Gildong",
        "PatientID": "17",
        "PatientBirthDate": "19700101",
        "PatientSex": "M",
        "ReferencedPatientSequence": [],
        "PerformedProcedureStepID": "PPS1",
        "PerformedStationAETitle": "CT1",
        "PerformedStationName": None,
        "PerformedLocation": None,
        "PerformedProcedureStepStartDate": "20261122",
        "PerformedProcedureStepStartTime": "093100",
        "PerformedProcedureStepStatus": "IN PROGRESS",
        "PerformedProcedureStepDescription": None,
        "PerformedProcedureTypeDescription": None,
        "ProcedureCodeSequence": [],
        "PerformedProcedureStepEndDate": None,
        "PerformedProcedureStepEndTime": None,
        "Modality": "CT",
        "StudyID": None,
        "PerformedProtocolCodeSequence": [],
        "PerformedSeriesSequence": [],
    }
    return data_set(**{**usual, **values})


def ended(status: str = "COMPLETED", **values: Any) -> Model:
    """How a performed procedure step ends."""
    series: dict[str, Any] = {
        "PerformingPhysicianName": None,
        "ProtocolName": "THORAX",
        "OperatorsName": None,
        "SeriesInstanceUID": "1.2.826.1.1",
        "SeriesDescription": None,
        "RetrieveAETitle": "ISOCENTER",
        "ReferencedImageSequence": [],
        "ReferencedNonImageCompositeSOPInstanceSequence": [],
    }
    usual: dict[str, Any] = {
        "PerformedProcedureStepStatus": status,
        "PerformedProcedureStepEndDate": "20261122",
        "PerformedProcedureStepEndTime": "094500",
        "PerformedSeriesSequence": [series],
    }
    return data_set(**{**usual, **values})
