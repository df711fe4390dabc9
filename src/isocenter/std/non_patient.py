"""Objects of no patient: hanging protocols, colour palettes, implant templates and the like (PS3.4 Annex GG).

Their IODs have neither Patient nor Study, so they stand beside the hierarchy of patients, studies and series. Each
kind has a single-level information model of its own to be found and retrieved by, over DIMSE (PS3.4 Annexes U, X, BB,
HH, II and JJ) and as a resource of DICOMweb (PS3.18 section 12).

non_patient.tsv, made by tools/generate_std.py, says of each storage class which attributes its objects are searched by:
those of its modules at the top level, which include every key of the annexes' tables.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class NonPatientModel(NamedTuple):
    """An information model: its name, the SOP classes of its objects and of C-FIND, C-MOVE and C-GET, and the name of
    its resource, which several models may share."""

    name: str
    resource: str
    sop_classes: tuple[str, ...]
    find: str
    move: str
    get: str


def _load() -> dict[str, frozenset[int]]:
    lines = Path(__file__).with_name("non_patient.tsv").read_text("utf-8").splitlines()
    table = dict(line.split("\t") for line in lines)
    return {uid: frozenset(int(tag, 16) for tag in tags.split(" ")) for uid, tags in table.items()}


NON_PATIENT_KEYS: dict[str, frozenset[int]] = _load()
"""The attributes that objects of each class are searched by; its keys are the storage classes of PS3.4 Table GG.3-1."""

_DICOM = "1.2.840.10008.5.1.4."


def _model(name: str, resource: str, storage: Iterable[str], services: str, first: int = 2) -> NonPatientModel:
    """The UIDs of PS3.6 Table A-1, below their common root: those of C-FIND, C-MOVE and C-GET follow each other."""
    find, move, get = (f"{_DICOM}{services}.{first + number}" for number in range(3))
    return NonPatientModel(name, resource, tuple(_DICOM + one for one in storage), find, move, get)


NON_PATIENT_MODELS: tuple[NonPatientModel, ...] = (
    _model("HANGING_PROTOCOL", "hanging-protocols", ["38.1"], "38"),
    _model("COLOR_PALETTE", "color-palettes", ["39.1"], "39"),
    _model("GENERIC_IMPLANT_TEMPLATE", "implant-templates", ["43.1"], "43"),
    _model("IMPLANT_ASSEMBLY_TEMPLATE", "implant-templates", ["44.1"], "44"),
    _model("IMPLANT_TEMPLATE_GROUP", "implant-templates", ["45.1"], "45"),
    _model("DEFINED_PROCEDURE_PROTOCOL", "defined-procedure-protocols", ["1.1.200.1", "1.1.200.7"], "20", 1),
    _model("INVENTORY", "inventories", ["1.1.201.1"], "1.1.201"),
    # PS3.18 has no name for these yet; this is that of CP-2551.
    _model("PROTOCOL_APPROVAL", "protocol-approvals", ["1.1.200.3"], "1.1.200", 4),
)

MODEL_NAMED: dict[str, NonPatientModel] = {model.name: model for model in NON_PATIENT_MODELS}

RESOURCES: dict[str, tuple[str, ...]] = {
    name: tuple(uid for model in NON_PATIENT_MODELS if model.resource == name for uid in model.sop_classes)
    for name in dict.fromkeys(model.resource for model in NON_PATIENT_MODELS)
}
"""The SOP classes of each resource of PS3.18 Table 12.1.1-1."""

RESOURCE_OF: dict[str, str] = {uid: name for name, classes in RESOURCES.items() for uid in classes}
