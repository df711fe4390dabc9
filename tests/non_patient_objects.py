"""Objects of no patient, one of each storage class of PS3.4 Table GG.3-1, with what their kind is searched by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
from pydicom.data import get_palette_files
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from isocenter.std.sop_classes import SOP_CLASSES
from skins.web_harness import saved

ROOT = "1.2.826.0.1.3680043.8.498.77"
UID_OF = {row.keyword: uid for uid, row in SOP_CLASSES.items()}
PALETTES = sorted(Path(path) for path in get_palette_files("*.dcm"))


def made(keyword: str, number: int = 1, **attributes: Any) -> bytes:
    """A Part 10 file of the class with that keyword; its UID follows from class and `number`."""
    data_set = Dataset()
    data_set.SpecificCharacterSet = "ISO_IR 192"
    data_set.SOPClassUID = UID_OF[keyword]
    data_set.SOPInstanceUID = f"{ROOT}.{UID_OF[keyword].removeprefix('1.2.840.10008.5.1.4.')}.{number}"
    for name, value in attributes.items():
        setattr(data_set, name, value)
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return saved(data_set)


def item(**attributes: Any) -> Dataset:
    """A sequence item."""
    content = Dataset()
    for name, value in attributes.items():
        setattr(content, name, value)
    return content


def hanging_protocol(number: int, name: str, modality: str, **attributes: Any) -> bytes:
    return made(
        "HangingProtocolStorage",
        number,
        HangingProtocolName=name,
        HangingProtocolLevel="SITE",
        HangingProtocolCreationDateTime=f"202401{number:02}120000",
        HangingProtocolDefinitionSequence=[item(Modality=modality, Laterality="L")],
        NumberOfPriorsReferenced=number,
        **attributes,
    )


def one_of_each() -> dict[str, bytes]:
    """Keyword of the class to a file."""
    return {
        "HangingProtocolStorage": hanging_protocol(1, "Mammo", "MG"),
        "ColorPaletteStorage": PALETTES[0].read_bytes(),
        "GenericImplantTemplateStorage": made(
            "GenericImplantTemplateStorage", Manufacturer="Knees & Co", ImplantName="Knee", ImplantSize="L"
        ),
        "ImplantAssemblyTemplateStorage": made(
            "ImplantAssemblyTemplateStorage", ImplantAssemblyTemplateName="Knee, whole"
        ),
        "ImplantTemplateGroupStorage": made("ImplantTemplateGroupStorage", ImplantTemplateGroupName="Knees"),
        "CTDefinedProcedureProtocolStorage": made(
            "CTDefinedProcedureProtocolStorage", ProtocolName="Thorax low dose", EquipmentModality="CT"
        ),
        "XADefinedProcedureProtocolStorage": made(
            "XADefinedProcedureProtocolStorage", ProtocolName="Coronaries", EquipmentModality="XA"
        ),
        "ProtocolApprovalStorage": made(
            "ProtocolApprovalStorage",
            ApprovalSubjectSequence=[item(ReferencedSOPInstanceUID=f"{ROOT}.1.1.200.1.1")],
        ),
        "InventoryStorage": made("InventoryStorage", InventoryLevel="STUDY", InventoryPurpose="MIGRATION"),
    }


def read(raw: bytes) -> pydicom.FileDataset:
    return pydicom.dcmread(pydicom.filebase.DicomBytesIO(raw))
