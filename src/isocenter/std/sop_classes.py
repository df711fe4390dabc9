"""SOP classes of PS3.6 Table A-1 (edition 2025), and which of them objects are stored with.

Storage classes are those of PS3.4 Annexes B.5 and GG.3, with retired and trial ones that are still sent, and those that
DICOS and DICONDE registered. Media Storage Directory Storage is not among them: a DICOMDIR does not travel by C-STORE.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

VERIFICATION = "1.2.840.10008.1.1"
MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
STORAGE_COMMITMENT_PUSH = "1.2.840.10008.1.20.1"
MODALITY_PERFORMED_PROCEDURE_STEP = "1.2.840.10008.3.1.2.3.3"
INSTANCE_AVAILABILITY_NOTIFICATION = "1.2.840.10008.5.1.4.33"
MODALITY_WORKLIST_FIND = "1.2.840.10008.5.1.4.31"
UNIFIED_PROCEDURE_STEP_PUSH = "1.2.840.10008.5.1.4.34.6.1"
PATIENT_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.1.1"
PATIENT_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.1.2"
PATIENT_ROOT_GET = "1.2.840.10008.5.1.4.1.2.1.3"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
COMPOSITE_INSTANCE_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.4.2"
COMPOSITE_INSTANCE_ROOT_GET = "1.2.840.10008.5.1.4.1.2.4.3"
WITHOUT_BULK_DATA_GET = "1.2.840.10008.5.1.4.1.2.5.3"
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
# X-Ray Angiographic, X-Ray Radiofluoroscopic, and X-Ray Angiographic Bi-Plane (retired) Image Storage
PROJECTION_XRAY = frozenset(f"1.2.840.10008.5.1.4.1.1.12.{last}" for last in (1, 2, 3))


class SOPClass(NamedTuple):
    """One class. `kind` is "storage", "meta" (a group negotiated as one) or "other"; `body` who registered it."""

    uid: str
    keyword: str
    name: str
    kind: str
    retired: bool
    body: str


def _load() -> dict[str, SOPClass]:
    classes = {}
    for line in (Path(__file__).with_name("sop_classes.tsv")).read_text("utf-8").splitlines():
        uid, kind, keyword, name, note = line.split("\t")
        body = "DICOM" if note in ("", "R") else note
        classes[uid] = SOPClass(uid, keyword, name, kind, note == "R", body)
    return classes


SOP_CLASSES: dict[str, SOPClass] = _load()

STORAGE_SOP_CLASSES: dict[str, SOPClass] = {uid: row for uid, row in SOP_CLASSES.items() if row.kind == "storage"}


def name_of(uid: str) -> str:
    """The name for display, without a trailing "SOP Class"; the UID itself if it is not in the table."""
    row = SOP_CLASSES.get(uid)
    return uid if row is None else row.name.removesuffix(" UID").removesuffix(" SOP Class")
