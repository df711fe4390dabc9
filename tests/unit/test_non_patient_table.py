"""The table of non-patient information models against the registry of SOP classes (PS3.6 Table A-1)."""

from __future__ import annotations

import pytest
from pynetdicom import presentation

from isocenter.std.dictionary import keyword_of, tag_of, vr_of
from isocenter.std.non_patient import NON_PATIENT_KEYS, NON_PATIENT_MODELS, RESOURCE_OF, NonPatientModel
from isocenter.std.sop_classes import SOP_CLASSES, STORAGE_SOP_CLASSES


def test_the_classes_are_those_of_pynetdicom() -> None:
    expected = {str(one.abstract_syntax) for one in presentation.NonPatientObjectPresentationContexts}
    assert NON_PATIENT_KEYS.keys() == expected
    assert RESOURCE_OF.keys() == expected
    assert NON_PATIENT_KEYS.keys() <= STORAGE_SOP_CLASSES.keys()


@pytest.mark.parametrize("model", NON_PATIENT_MODELS, ids=lambda model: model.find)
def test_each_uid_is_what_its_name_says(model: NonPatientModel) -> None:
    stem = model.resource.replace("-", "").rstrip("s").removesuffix("ie")
    for uid, end in ((model.find, "Find"), (model.move, "Move"), (model.get, "Get")):
        keyword = SOP_CLASSES[uid].keyword
        assert keyword.endswith(end)
        assert stem[:7] in keyword.lower()
    services = SOP_CLASSES[model.find].keyword.partition("Information")[0].removesuffix("QueryRetrieve")
    for uid in model.sop_classes:
        assert services.removesuffix("Find").lower() in SOP_CLASSES[uid].keyword.lower()


@pytest.mark.parametrize(
    ("sop_class", "keywords"),
    [
        ("HangingProtocolStorage", "HangingProtocolName HangingProtocolLevel HangingProtocolDefinitionSequence"),
        ("HangingProtocolStorage", "NumberOfPriorsReferenced HangingProtocolUserIdentificationCodeSequence"),
        ("ColorPaletteStorage", "ContentLabel ContentDescription ContentCreatorName"),
        ("GenericImplantTemplateStorage", "Manufacturer ImplantName ImplantSize ImplantPartNumber ImplantType"),
        ("ImplantAssemblyTemplateStorage", "ImplantAssemblyTemplateName ProcedureTypeCodeSequence"),
        ("ImplantTemplateGroupStorage", "ImplantTemplateGroupName ImplantTemplateGroupIssuer"),
        ("CTDefinedProcedureProtocolStorage", "ProtocolName ModelSpecificationSequence EquipmentModality"),
        ("ProtocolApprovalStorage", "ApprovalSubjectSequence ApprovalSequence"),
        ("InventoryStorage", "InventoryLevel InventoryPurpose ScopeOfInventorySequence ContentDate"),
    ],
)
def test_keys_of_the_annexes_tables(sop_class: str, keywords: str) -> None:
    (uid,) = (uid for uid, row in SOP_CLASSES.items() if row.keyword == sop_class)
    for keyword in ("SOPClassUID", "SOPInstanceUID", *keywords.split()):
        assert tag_of(keyword) in NON_PATIENT_KEYS[uid]


def test_every_key_can_be_matched() -> None:
    for tag in set().union(*NON_PATIENT_KEYS.values()):
        assert keyword_of(tag)
        assert vr_of(tag) not in ("OB", "OW", "UN")
