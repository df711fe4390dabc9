"""Directory records of a DICOMDIR: which there are, what each says of its object (PS3.3 Annex F).

A record is told as a model of DICOM JSON (PS3.18 Annex F) with the keys of section F.5. What a record must say and the
object does not is made up, in the directory alone: a viewer of the medium goes by the directory, and the object stays
what it is. A key that is no proper value of its VR counts as not said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from isocenter.errors import DataSetError
from isocenter.std.dictionary import tag_of, vr_of
from isocenter.wire.encode import encode_dataset

Model = Mapping[str, Any]

_STORAGE = "1.2.840.10008.5.1.4.1.1."

_DATE, _TIME = "19000101", "000000"
NUMBER = "NUMBER"
"""Stands for the record's place among its neighbours, from 1."""

# Keyword and what is said where the object says nothing: None where the record may be silent (type 1C), "" where it may
# have no value (type 2).
Keys = dict[str, str | None]
_CONTENT: Keys = {"ContentDate": _DATE, "ContentTime": _TIME}
_INSTANCE: Keys = {"InstanceNumber": NUMBER}
_CODE: Keys = {"ConceptNameCodeSequence": None}
_LABEL: Keys = {"ContentLabel": "UNNAMED", "ContentDescription": "", "ContentCreatorName": ""}

UPPER: dict[str, Keys] = {
    "PATIENT": {"PatientName": "", "PatientID": "UNKNOWN"},
    "STUDY": {
        "StudyDate": _DATE,
        "StudyTime": _TIME,
        "AccessionNumber": "",
        "StudyDescription": "",
        "StudyInstanceUID": None,
        "StudyID": NUMBER,
    },
    "SERIES": {"Modality": "OT", "SeriesInstanceUID": None, "SeriesNumber": NUMBER},
}
"""PS3.3 F.5.1 to F.5.3."""

LOWEST: dict[str, Keys] = {
    "IMAGE": _INSTANCE,
    "RT DOSE": {**_INSTANCE, "DoseSummationType": "PLAN"},
    "RT STRUCTURE SET": {
        **_INSTANCE,
        "StructureSetLabel": "UNNAMED",
        "StructureSetDate": "",
        "StructureSetTime": "",
    },
    "RT PLAN": {**_INSTANCE, "RTPlanLabel": "UNNAMED", "RTPlanDate": "", "RTPlanTime": ""},
    "RT TREAT RECORD": {**_INSTANCE, "TreatmentDate": "", "TreatmentTime": ""},
    "PRESENTATION": {
        **_INSTANCE,
        "PresentationCreationDate": _DATE,
        "PresentationCreationTime": _TIME,
        **_LABEL,
        "ReferencedSeriesSequence": None,
        "BlendingSequence": None,
    },
    "WAVEFORM": {**_INSTANCE, **_CONTENT},
    "SR DOCUMENT": {
        **_INSTANCE,
        **_CONTENT,
        "CompletionFlag": "PARTIAL",
        "VerificationFlag": "UNVERIFIED",
        "VerificationDateTime": None,
        **_CODE,
        "ContentSequence": None,
    },
    "KEY OBJECT DOC": {**_INSTANCE, **_CONTENT, **_CODE, "ContentSequence": None},
    "SPECTROSCOPY": {
        **_INSTANCE,
        **_CONTENT,
        "ImageType": "ORIGINAL",
        "ReferencedImageEvidenceSequence": None,
        "NumberOfFrames": "1",
        "Rows": None,
        "Columns": None,
        "DataPointRows": None,
        "DataPointColumns": None,
    },
    "RAW DATA": {**_CONTENT, "InstanceNumber": ""},
    "REGISTRATION": {**_INSTANCE, **_CONTENT, **_LABEL},
    "FIDUCIAL": {**_INSTANCE, **_CONTENT, **_LABEL},
    "VALUE MAP": {**_INSTANCE, **_CONTENT, **_LABEL},
    "ENCAP DOC": {
        **_INSTANCE,
        "ContentDate": "",
        "ContentTime": "",
        "DocumentTitle": "",
        "HL7InstanceIdentifier": None,
        "ConceptNameCodeSequence": "",
        "MIMETypeOfEncapsulatedDocument": "application/octet-stream",
    },
    "STEREOMETRIC": {**_INSTANCE, **_CONTENT, **_LABEL},
    "MEASUREMENT": {**_INSTANCE, **_CONTENT},
    "SURFACE": {**_INSTANCE, **_CONTENT},
    "SURFACE SCAN": _CONTENT,
    "TRACT": {**_INSTANCE, **_CONTENT},
    "ASSESSMENT": {**_INSTANCE, "InstanceCreationDate": _DATE, "InstanceCreationTime": ""},
    "RADIOTHERAPY": {
        **_INSTANCE,
        "UserContentLabel": None,
        "UserContentLongLabel": None,
        "ContentDescription": "",
        "ContentCreatorName": "",
    },
    "PLAN": _INSTANCE,
    "ANNOTATION": {**_INSTANCE, **_CONTENT, **_LABEL},
}
"""Below a series, by the type of the record (PS3.3 F.5.4 and the sections after it)."""

# What is no IMAGE, by the end of its SOP Class UID.
_TYPES = {
    "RT DOSE": "481.2",
    "RT STRUCTURE SET": "481.3",
    "RT PLAN": "481.5 481.8",
    "RT TREAT RECORD": "481.4 481.6 481.7 481.9",
    "RADIOTHERAPY": "481.10 481.11 481.12 481.13 481.14 481.15 481.16 481.17 481.18 481.19 481.20 481.21 481.22 481.25",
    "PRESENTATION": "11.1 11.2 11.3 11.4 11.5 11.6 11.7 11.8 11.9 11.10 11.11 11.12 131",
    "WAVEFORM": "9.1.1 9.1.2 9.1.3 9.1.4 9.2.1 9.3.1 9.4.1 9.4.2 9.5.1 9.6.1 9.6.2 9.7.1 9.7.2 9.7.3 9.7.4 9.8.1"
    " 9.100.1",
    "SR DOCUMENT": "78.6 79.1 88.11 88.22 88.33 88.34 88.35 88.40 88.50 88.65 88.67 88.68 88.69 88.70 88.71 88.72 88.73"
    " 88.74 88.75 88.76 88.77",
    "KEY OBJECT DOC": "88.59",
    "SPECTROSCOPY": "4.2",
    "RAW DATA": "66 9.100.2",
    "REGISTRATION": "66.1 66.3",
    "FIDUCIAL": "66.2",
    "SURFACE": "66.5",
    "TRACT": "66.6",
    "VALUE MAP": "67",
    "SURFACE SCAN": "68.1 68.2",
    "STEREOMETRIC": "77.1.5.3",
    "MEASUREMENT": "78.1 78.2 78.3 78.4 78.5 78.7 78.8 80.1",
    "ASSESSMENT": "90.1",
    "ANNOTATION": "91.1",
    "ENCAP DOC": "104.1 104.2 104.3 104.4 104.5",
}
_TYPE_OF = {f"{_STORAGE}{end}": name for name, ends in _TYPES.items() for end in ends.split()}
_TYPE_OF |= dict.fromkeys(("1.2.840.10008.5.1.4.34.7", "1.2.840.10008.5.1.4.34.10"), "PLAN")


def record_type(sop_class: str) -> str:
    """Directory Record Type (0004,1430) of an object below a series."""
    return _TYPE_OF.get(sop_class, "IMAGE")


@dataclass(frozen=True, slots=True)
class _Key:
    name: str
    vr: str
    keyword: str
    otherwise: str | None


def _keys(keys: Keys) -> tuple[_Key, ...]:
    found = []
    for keyword, otherwise in keys.items():
        tag = tag_of(keyword)
        assert tag is not None, keyword
        found.append(_Key(f"{tag:08X}", vr_of(tag), keyword, otherwise))
    return tuple(found)


_KEYS = {name: _keys(keys) for name, keys in (UPPER | LOWEST).items()}


def record(kind: str, said: Model, number: int, more: Model) -> bytes:
    """The record's elements after the three about offsets and use, in Explicit VR Little Endian.

    `said` is what the object says, `number` the record's place among its neighbours, `more` the elements of its file.
    """
    model: dict[str, Any] = {"00041430": {"vr": "CS", "Value": [kind]}, **more}
    for key in _KEYS[kind]:
        value = _value(key, said, number)
        if value is not None:
            model[key.name] = value
    try:
        return encode_dataset(model, charset=())
    except DataSetError:
        return encode_dataset(model)  # with characters that are not of the default repertoire


def _value(key: _Key, said: Model, number: int) -> dict[str, Any] | None:
    given = said.get(key.name, {})
    values = given.get("Value") or []
    if key.keyword == "ContentSequence":
        # Of its content a document's record has what modifies its title (PS3.3 F.5.24, F.5.26).
        values = [item for item in values if item.get("0040A010", {}).get("Value") == ["HAS CONCEPT MOD"]]
    if key.keyword == "VerificationDateTime":
        values = [max(times)] if (times := list(_verified(said))) else []
    if any(one not in (None, "") for one in values) and given.get("vr", key.vr) == key.vr:
        value = {"vr": key.vr, "Value": values}
        if _encodes(key.name, value):
            return value
    if key.otherwise is None:
        return None
    return (
        {"vr": key.vr, "Value": [str(number) if key.otherwise == NUMBER else key.otherwise]}
        if key.otherwise
        else {"vr": key.vr}
    )


def _verified(said: Model) -> Iterator[str]:
    """When a document was verified: its record has the latest (PS3.3 F.5.24)."""
    for item in said.get("0040A073", {}).get("Value") or []:
        yield from map(str, item.get("0040A030", {}).get("Value") or [])


def _encodes(name: str, value: Mapping[str, Any]) -> bool:
    try:
        encode_dataset({name: value})
    except DataSetError:
        return False
    return True
