"""Frames of enhanced CT, MR and PET images as classic single-frame images (PS3.4 section C.3.5).

What the functional groups say of a frame (the shared ones, then its own) comes to the top level; attributes that
classic images say in another way are translated; what a legacy conversion kept in its Unassigned Converted Attributes
Sequences comes back last, and so as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from isocenter.errors import DataSetError
from isocenter.views.attributes import complete, first, is_filled, items, key, put, text, values
from isocenter.views.classes import Kind
from isocenter.views.identity import CLASSIC_CREATED, New, contributed, identify, reference
from isocenter.wire.dicomjson import Model

SHARED, PER_FRAME = key("SharedFunctionalGroupsSequence"), key("PerFrameFunctionalGroupsSequence")

# Functional groups whose name is also that of the classic attribute: taken whole
_WHOLE: Final = (key("ReferencedImageSequence"), key("RealWorldValueMappingSequence"))
_DERIVATION: Final = key("DerivationImageSequence")
_UNASSIGNED: Final = (
    "UnassignedSharedConvertedAttributesSequence",
    "UnassignedPerFrameConvertedAttributesSequence",
)
_SOURCES: Final = key("ConversionSourceAttributesSequence")
# About several frames or parts of one object, which a single image is not; offset tables are written anew
_LEFT_OUT: Final = frozenset(
    {SHARED, PER_FRAME, _SOURCES}
    | {
        key(keyword)
        for keyword in (
            *("NumberOfFrames", "RepresentativeFrameNumber", "StereoPairsPresent", "ConcatenationUID"),
            *("SOPInstanceUIDOfConcatenationSource", "InConcatenationNumber", "InConcatenationTotalNumber"),
            *("ConcatenationFrameOffsetNumber", "PixelDataProviderURL", "EncapsulatedPixelDataValueTotalLength"),
        )
    }
)
# Who it is and how its pixels lie: never from what is said of a frame
_OF_ITSELF: Final = frozenset(
    key(keyword)
    for keyword in (
        *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SpecificCharacterSet"),
        *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "Rows", "Columns"),
        *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "FrameOfReferenceUID"),
        *("ContributingEquipmentSequence", "NumberOfFrames"),
    )
)
# What classic images call otherwise, in the same unit (PS3.3 C.8.2.1 and C.8.15.3, C.8.3.1 and C.8.13)
_RENAMED: Final = (
    ("FrameType", "ImageType"),
    ("FrameAcquisitionNumber", "AcquisitionNumber"),
    ("FrameComments", "ImageComments"),
    ("ExposureTimeInms", "ExposureTime"),
    ("XRayTubeCurrentInmA", "XRayTubeCurrent"),
    ("ExposureInmAs", "Exposure"),
    ("EffectiveEchoTime", "EchoTime"),
    ("InversionTimes", "InversionTime"),
    ("TransmitterFrequency", "ImagingFrequency"),
    ("PulseSequenceName", "SequenceName"),
    ("MRAcquisitionPhaseEncodingStepsInPlane", "NumberOfPhaseEncodingSteps"),
    ("NominalCardiacTriggerDelayTime", "TriggerTime"),
)
_WHOLE_NUMBERS: Final = frozenset({"ExposureTime", "XRayTubeCurrent", "Exposure", "AcquisitionNumber"})


def frame_count(model: Model) -> int:
    """Number of Frames, 0 where it is none."""
    try:
        return int(first(model, "NumberOfFrames") or 0)
    except (TypeError, ValueError):
        return 0


def problem(model: Model) -> str:
    """What keeps all frames of an object from being taken apart; "" if nothing does."""
    frames = frame_count(model)
    groups = items(model, "PerFrameFunctionalGroupsSequence")
    if frames < 1:
        return "it has no number of frames"
    if key("PixelData") not in model:
        return "it has no pixel data"
    if len(groups) != frames and not (frames == 1 and not groups and items(model, "SharedFunctionalGroupsSequence")):
        return f"it has {len(groups)} items of per-frame functional groups for {frames} frames"
    return ""


def classic(model: Model, kind: Kind, number: int, new: New) -> Model:
    """Frame `number` (from 1) of `model` as a classic image without pixel data; its references are rewritten already.

    Raises DataSetError where something is missing that a classic image must say.
    """
    groups = _groups(model, number)
    result: Model = {name: entry for name, entry in model.items() if name not in _LEFT_OUT}
    top = dict(result)
    flat = _flat(groups)
    result |= {name: entry for name, entry in flat.items() if _may_be_told(name)}
    _translate(result, kind, number, already=top)
    for keyword in _UNASSIGNED:
        for group in groups:
            for item in items(group, keyword):
                result |= {name: entry for name, entry in item.items() if _may_be_told(name)}
    put(result, "SOPClassUID", kind.classic)
    put(result, "Modality", kind.modality)
    identify(result, new)
    source = reference(text(model, "SOPClassUID"), text(model, "SOPInstanceUID"), number)
    put(result, "ConversionSourceAttributesSequence", source)
    put(result, "ContributingEquipmentSequence", *contributed([model], CLASSIC_CREATED))
    missing = complete(result, kind.classic_iod)
    if missing:
        raise DataSetError(f"it does not say {missing} of frame {number}")
    return dict(sorted(result.items()))


def _may_be_told(name: str) -> bool:
    """Whether an attribute of a frame may be one of the image; its pixel data and what comes after may not."""
    return name not in _OF_ITSELF and name not in _LEFT_OUT and name < "7FE0"


def _groups(model: Model, number: int) -> list[Model]:
    shared = items(model, "SharedFunctionalGroupsSequence")[:1]
    own = items(model, "PerFrameFunctionalGroupsSequence")[number - 1 : number]
    return [*shared, *own]


def _flat(groups: Sequence[Model]) -> Model:
    """The attributes that functional groups hold, side by side."""
    result: Model = {}
    for group in groups:
        for name, entry in group.items():
            if name == _SOURCES or name in map(key, _UNASSIGNED):
                continue
            if name in _WHOLE:
                result[name] = entry
            elif name == _DERIVATION:
                result |= _derivation(items(group, "DerivationImageSequence"))
            elif entry.get("vr") != "SQ" or len(entry.get("Value") or ()) > 1:
                result[name] = entry  # not one item's attributes: kept as it is
            else:
                for item in entry.get("Value") or ():
                    result |= item or {}
    return result


def _derivation(given: Sequence[Model]) -> Model:
    """All derivations of a frame as those of an image: what it was made of, how, and in words."""
    result: Model = {}
    for keyword in ("SourceImageSequence", "DerivationCodeSequence"):
        found = [one for item in given for one in items(item, keyword)]
        if found:
            put(result, keyword, *found)
    told = [text(item, "DerivationDescription") for item in given if text(item, "DerivationDescription")]
    if told:
        put(result, "DerivationDescription", "; ".join(dict.fromkeys(told))[:1024])
    return result


def _translate(result: Model, kind: Kind, number: int, *, already: Mapping[str, Any]) -> None:
    """Say what the groups said in the words of classic images. `already` is what the top level said by itself."""
    for enhanced, plain in _RENAMED:
        found = values(result, enhanced)
        if not found or found == [None]:
            continue
        if plain in _WHOLE_NUMBERS:
            found = [round(value) for value in found if isinstance(value, int | float)]
        elif plain == "ImagingFrequency":
            found = found[:1]
        if found and (plain == "ImageType" or not is_filled(result.get(key(plain)))):
            put(result, plain, *found)
    moment = text(result, "FrameAcquisitionDateTime")
    if len(moment) >= 8 and key("AcquisitionDate") not in already:
        put(result, "AcquisitionDate", moment[:8])
        time = moment[8:].partition("+")[0].partition("-")[0]
        if time and key("AcquisitionTime") not in already:
            put(result, "AcquisitionTime", time)
    result.pop(key("FrameType"), None)  # told as Image Type
    if text(result, "InPlanePhaseEncodingDirection") == "COLUMN":
        put(result, "InPlanePhaseEncodingDirection", "COL")
    put(result, "InstanceNumber", number)
    if kind.modality == "MR":
        _mr(result)


_SCANNING: Final = {"SPIN": ("SE",), "GRADIENT": ("GR",), "BOTH": ("SE", "GR")}


def _mr(result: Model) -> None:
    """Scanning Sequence and Sequence Variant (PS3.3 C.8.3.1.1), which enhanced images tell apart; an inversion time
    only where there is an inversion."""
    if key("EchoPulseSequence") in result and not is_filled(result.get(key("ScanningSequence"))):
        found = list(_SCANNING.get(text(result, "EchoPulseSequence"), ()))
        found += ["IR"] if text(result, "InversionRecovery") == "YES" else []
        found += ["EP"] if text(result, "EchoPlanarPulseSequence") == "YES" else []
        put(result, "ScanningSequence", *(found or ["RM"]))
    if key("SteadyStatePulseSequence") in result and not is_filled(result.get(key("SequenceVariant"))):
        put(result, "SequenceVariant", *(_variants(result) or ["NONE"]))
    if "IR" not in values(result, "ScanningSequence"):
        result.pop(key("InversionTime"), None)


def _variants(result: Model) -> list[str]:
    steady = text(result, "SteadyStatePulseSequence")
    says = {
        "SK": text(result, "SegmentedKSpaceTraversal") not in ("", "SINGLE"),
        "MTC": text(result, "MagnetizationTransfer") not in ("", "NONE"),
        "SS": steady not in ("", "NONE", "TIME_REVERSED"),
        "TRSS": steady == "TIME_REVERSED",
        "SP": text(result, "Spoiling") not in ("", "NONE"),
        "OSP": text(result, "OversamplingPhase") not in ("", "NONE"),
    }
    return [variant for variant, said in says.items() if said]
