"""Write the data files of isocenter.std: data dictionary, private dictionary, SOP classes, keys of non-patient objects.

Run by hand when a new pydicom is out: `python tools/generate_std.py [FOLDER WITH sops.json]`. The tables come from
pydicom's (PS3.6 tables 6-1, 7-1, 8-1, 9-1 and A-1) and from the SOP class list of PS3.4 B.5, GG.3 (sops.json of
innolitics/dicom-standard, edition 2024e); what later editions added is listed here. Which of these classes have no
patient and study, and which attributes their objects have, is in the same folder and in the module to attribute map of
the PyPI package highdicom; without the folder that table stays as it is. Nothing of this is needed at run time.
"""

from __future__ import annotations

import json
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydicom import __version__ as pydicom_version
from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary
from pydicom._private_dict import private_dictionaries
from pydicom._uid_dict import UID_dictionary
from pydicom.datadict import dictionary_VR, tag_for_keyword

STD = Path(__file__).resolve().parents[1] / "src" / "isocenter" / "std"

# PS3.6 Table A-1, editions 2024d to 2025d: UID, keyword, name, note
LATER_SOP_CLASSES = [
    ("1.2.840.10008.5.1.4.1.1.66.7", "LabelMapSegmentationStorage", "Label Map Segmentation Storage", ""),
    ("1.2.840.10008.5.1.4.1.1.66.8", "HeightMapSegmentationStorage", "Height Map Segmentation Storage", ""),
    ("1.2.840.10008.5.1.4.1.1.601.3", "ThermographyImageStorage", "Thermography Image Storage", "DICONDE"),
    (
        "1.2.840.10008.5.1.4.1.1.601.4",
        "ThermographyMultiFrameImageStorage",
        "Thermography Multi-frame Image Storage",
        "DICONDE",
    ),
]
# Media Storage Directory Storage is a media class (PS3.4 Annex I): a DICOMDIR never travels by C-STORE.
NOT_BY_C_STORE = {"1.2.840.10008.1.3.10"}
# Storage classes are told by the word in their name; these have the word and are something else.
WORD_WITHOUT_STORAGE = {"StorageCommitmentPushModel", "StorageCommitmentPullModel"}

# Attributes of non-patient objects that nobody searches by: their content, and what concerns encoding and protection.
NOT_KEYS = {
    *("SpecificCharacterSet", "EncryptedAttributesSequence", "DigitalSignaturesSequence", "MACParametersSequence"),
    *("OriginalAttributesSequence", "PrivateDataElementCharacteristicsSequence", "QueryRetrieveView"),
    *("CodingSchemeIdentificationSequence", "ContextGroupIdentificationSequence"),
    *("MappingResourceIdentificationSequence", "ConversionSourceAttributesSequence", "ContributingEquipmentSequence"),
    *("HL7StructuredDocumentReferenceSequence", "PixelPaddingValue", "SpatialResolution"),
    *("ImageSetsSequence", "DisplaySetsSequence", "NavigationIndicatorSequence", "SynchronizedScrollingSequence"),
    *("RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor"),
    *("BluePaletteColorLookupTableDescriptor", "SurfaceSequence", "HPGLDocumentSequence"),
    *("MatingFeatureSetsSequence", "PlanningLandmarkPointSequence", "PlanningLandmarkLineSequence"),
    *("PlanningLandmarkPlaneSequence", "SurfaceModelDescriptionSequence", "SurfaceModelScalingFactor"),
    *("ImplantTemplate3DModelSurfaceNumber", "NumberOfSurfaces", "InventoriedStudiesSequence"),
    *("AcquisitionProtocolElementSpecificationSequence", "ReconstructionProtocolElementSpecificationSequence"),
    *("StorageProtocolElementSpecificationSequence", "InstructionSequence"),
}
BINARY = ("OB", "OD", "OF", "OL", "OV", "OW", "UN")


def dictionary() -> list[str]:
    """Lines `tag vr vm keyword name retired`; a repeating group has x for the digits that vary."""
    rows = [(f"{tag:08X}", *entry) for tag, entry in sorted(DicomDictionary.items())]
    rows += [(mask, *entry) for mask, entry in sorted(RepeatersDictionary.items())]
    lines = []
    for tag, vr, vm, name, retired, keyword in rows:
        vr = "" if vr == "NONE" else vr.replace(" or ", "/")
        lines.append("\t".join((tag, vr, vm, keyword, name, "R" if retired else "")))
    return lines


def private() -> list[str]:
    """Lines `group element-low-byte vr vm name` under a line `=creator`."""
    lines = []
    for creator in sorted(private_dictionaries):
        lines.append(f"={creator}")
        for mask, entry in sorted(private_dictionaries[creator].items()):
            lines.append("\t".join((mask, entry[0].replace(" or ", "/"), entry[1], entry[2])))
    return lines


def sop_classes(standard: Path | None) -> list[str]:
    """Lines `uid kind keyword name note`; kind is storage, meta or other; note R for retired, else a body's name."""
    listed = set()
    if standard is not None:
        listed = {row["id"] for row in json.loads((standard / "sops.json").read_text("utf-8"))}
    lines = []
    seen = set()
    for uid, (name, kind, info, retired, keyword) in UID_dictionary.items():
        if kind not in ("SOP Class", "Meta SOP Class") or not name:
            continue
        storage = "Storage" in name and keyword not in WORD_WITHOUT_STORAGE
        if uid in NOT_BY_C_STORE:
            storage = False
        elif uid in listed and not storage:
            raise SystemExit(f"{uid} is a storage class of PS3.4 and is not taken for one")
        form = "meta" if kind.startswith("Meta") else "storage" if storage else "other"
        note = "R" if retired else info.split()[0] if info else ""
        lines.append("\t".join((uid, form, keyword, name, note)))
        seen.add(uid)
    lines += [
        "\t".join((uid, "storage", kw, name, note)) for uid, kw, name, note in LATER_SOP_CLASSES if uid not in seen
    ]
    missing = listed - seen - {row[0] for row in LATER_SOP_CLASSES}
    if missing:
        raise SystemExit(f"named by PS3.4 but unknown: {sorted(missing)}")
    return sorted(lines, key=lambda line: [int(part) for part in line.split("\t")[0].split(".")])


def non_patient(standard: Path) -> list[str]:
    """Lines `uid tags`: each storage class whose IOD has no General Study module, with the top-level attributes its
    objects can be searched by."""

    def rows(name: str) -> list[dict[str, Any]]:
        content: list[dict[str, Any]] = json.loads((standard / f"{name}.json").read_text("utf-8"))
        return content

    attributes = json.loads(files("highdicom").joinpath("_standard/module_attribute_map.json").read_text("utf-8"))
    iods = {row["name"]: row["id"] for row in rows("ciods")}
    modules: dict[str, set[str]] = {}
    for row in rows("ciod_to_modules"):
        modules.setdefault(row["ciodId"], set()).add(row["moduleId"])
    lines = []
    for row in rows("sops"):
        has = modules[iods[row["ciod"]]]
        if "general-study" in has or row["id"] in NOT_BY_C_STORE:
            continue
        keywords = {one["keyword"] for module in has for one in attributes[module] if not one["path"]} - NOT_KEYS
        tags = [tag_for_keyword(keyword) for keyword in keywords if dictionary_VR(keyword)[:2] not in BINARY]
        lines.append("\t".join((row["id"], " ".join(f"{tag:08X}" for tag in sorted(tags)))))
    return sorted(lines)


def main() -> None:
    standard = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    tables = [
        ("dictionary.tsv", dictionary()),
        ("private.tsv", private()),
        ("sop_classes.tsv", sop_classes(standard)),
    ]
    if standard is not None:
        tables.append(("non_patient.tsv", non_patient(standard)))
    for name, lines in tables:
        (STD / name).write_text("\n".join(lines) + "\n", "utf-8")
        print(f"{name}: {len(lines)} lines from pydicom {pydicom_version}")


if __name__ == "__main__":
    main()
