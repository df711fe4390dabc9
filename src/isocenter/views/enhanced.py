"""Classic CT, MR and PET images of a series as a Legacy Converted Enhanced image (PS3.4 section C.3.5, PS3.3 A.70-72).

What the macros of functional groups ask for goes there, and what is the same in all images and of a module of the IOD
to the top level; everything else is kept in the Unassigned Converted Attributes Sequences, private attributes with
their creators. What is translated on the way is kept there, too, so that nothing is lost on the way back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

import orjson

from isocenter.errors import DataSetError
from isocenter.iod import tables
from isocenter.views.attributes import complete, first, is_filled, is_private, items, key, put, text, values
from isocenter.views.classes import Kind
from isocenter.views.groups import DESCRIPTION, frame_type, groups_of
from isocenter.views.identity import LEGACY_CREATED, New, contributed, identify, reference
from isocenter.wire.dicomjson import Model

_NEEDED: Final = (
    *("PixelSpacing", "SliceThickness", "ImagePositionPatient", "ImageOrientationPatient"),
    *("FrameOfReferenceUID", "ImageType"),
)
# What all frames of one object have in common, beside their transfer syntax: Image Pixel, padding, what was lost, where
# frames lie; and Image Type, so that localizers and derived images are objects of their own
_COMMON: Final = tuple(
    key(keyword)
    for keyword in (
        *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "BitsAllocated"),
        *("BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit"),
        *("PixelAspectRatio", "LossyImageCompression", "LossyImageCompressionMethod", "FrameOfReferenceUID"),
        *("ImageType", "BurnedInAnnotation", "Modality"),
    )
)
# Told anew of the whole, so that what the images said of themselves is kept with each
_OF_EACH: Final = frozenset(key(keyword) for keyword in ("InstanceNumber", "ImageType"))
# Neither kept nor told: who the images are is told by the conversion source, and pixel data are put together
_LEFT_OUT: Final = frozenset(
    key(keyword)
    for keyword in (
        *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SpecificCharacterSet", "NumberOfFrames"),
        *("ConversionSourceAttributesSequence", "ContributingEquipmentSequence", "MACParametersSequence"),
        *("DigitalSignaturesSequence", "PixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
        "PixelDataProviderURL",
    )
)
# True of a source alone, or said by Pixel Measures
_NOT_AT_TOP: Final = frozenset(
    key(keyword)
    for keyword in ("InstanceCreatorUID", "InstanceCreationDate", "InstanceCreationTime", "PixelAspectRatio")
)
_EVIDENCE: Final = (
    ("ReferencedImageSequence", "ReferencedImageEvidenceSequence"),
    ("SourceImageSequence", "SourceImageEvidenceSequence"),
)
_DATES: Final = (
    ("ContentDate", "ContentTime"),
    ("AcquisitionDate", "AcquisitionTime"),
    ("SeriesDate", "SeriesTime"),
    ("StudyDate", "StudyTime"),
)


def problem(model: Model, kind: Kind) -> str:
    """What keeps an image from becoming a frame; "" if nothing does."""
    for keyword in _NEEDED:
        if not is_filled(model.get(key(keyword))):
            return f"it has no {keyword}"
    if text(model, "NumberOfFrames") not in ("", "1"):
        return "it has several frames"
    if text(model, "PhotometricInterpretation") != "MONOCHROME2":
        return "its Photometric Interpretation is not MONOCHROME2"
    if first(model, "BitsAllocated") not in kind.allocated or first(model, "BitsStored") not in kind.stored:
        return "enhanced images do not have its Bits Allocated or Bits Stored"
    if any(name[:2] in ("50", "60") and not is_private(name) for name in model):
        return "it has overlays or curves"
    if key("PixelData") not in model:
        return "it has no pixel data"
    if key("GraphicAnnotationSequence") in model or key("PixelDataProviderURL") in model:
        return "it has annotations, or its pixel data elsewhere"
    if key("SharedFunctionalGroupsSequence") in model or key("ModalityLUTSequence") in model:
        return "it has functional groups or a Modality LUT"
    if _moment([model]) is None:
        return "it has no date"
    if text(model, "Modality") in ("CT", "PT") and not (
        is_filled(model.get(key("RescaleSlope"))) and is_filled(model.get(key("RescaleIntercept")))
    ):
        return "it has no rescale slope and intercept"
    return ""


def common(model: Model, syntax: str) -> bytes:
    """The same for images that can be frames of one object."""
    return orjson.dumps([syntax, *(model.get(name, {}).get("Value") for name in _COMMON)])


def place(model: Model) -> tuple[int, str]:
    """What frames are put in order by: Instance Number, and what is always there."""
    try:
        return int(first(model, "InstanceNumber") or 0), text(model, "SOPInstanceUID")
    except (TypeError, ValueError):
        return 0, text(model, "SOPInstanceUID")


def enhanced(
    models: Sequence[Model], kind: Kind, new: New, number: int, *, where: Mapping[str, str] | None = None
) -> Model:
    """The images, in the order of their frames, as one with this Instance Number, without pixel data.

    `where` tells the series of the instances of the study, for what is evidence; without it there are no functional
    groups, for queries. Raises DataSetError where something is missing that it must say.
    """
    result, shared, each = _spread(models, kind)
    put(result, "SOPClassUID", kind.legacy)
    put(result, "InstanceNumber", number)
    _describe(result, models, kind)
    identify(result, new)
    missing = complete(result, kind.legacy_iod)
    if missing:
        raise DataSetError(f"the images do not say {missing}")
    if where is not None:
        for keyword, evidence in _EVIDENCE:
            _prove(result, evidence, [item for model in models for item in items(model, keyword)], where)
        groups, own = groups_of(models, kind, shared, each)
        put(result, "SharedFunctionalGroupsSequence", groups)
        put(result, "PerFrameFunctionalGroupsSequence", *own)
    return dict(sorted(result.items()))


def _spread(models: Sequence[Model], kind: Kind) -> tuple[Model, Model, list[Model]]:
    """All attributes: those of the top level, those that all images have in common, and those of each."""
    types = _types(kind)
    top: Model = {}
    shared: Model = {}
    each: list[Model] = [{} for _ in models]
    names = sorted({name for model in models for name in model} - _LEFT_OUT)
    for name in names:
        entries = [model.get(name) for model in models]
        if is_private(name):
            _spread_private(name, models, shared, each)
            continue
        same = all(entry == entries[0] for entry in entries)
        at_top = name in types and name not in _NOT_AT_TOP
        if at_top and (same or types[name] in ("1", "1C", "2")):
            top[name] = next(entry for entry in entries if entry is not None)
        if same and at_top and name not in _OF_EACH:
            continue
        if same and name != key("InstanceNumber"):
            shared[name] = entries[0] or {}
            continue
        for own, entry in zip(each, entries, strict=True):
            if entry is not None:
                own[name] = entry
    return top, shared, each


def _spread_private(name: str, models: Sequence[Model], shared: Model, each: Sequence[Model]) -> None:
    """A private attribute goes where its creator goes along: the same tag may be another creator's elsewhere."""
    if int(name[4:], 16) < 0x1000:
        return  # a creator; without attributes it says nothing
    creator = f"{name[:4]}00{name[4:6]}"
    pairs = [(model.get(creator), model.get(name)) for model in models]
    if all(pair == pairs[0] for pair in pairs):
        held: Sequence[Model] = (shared,)
    else:
        held = each
    for own, (who, entry) in zip(held, pairs, strict=False):
        if entry is not None:
            own[name] = entry
            if who is not None:
                own[creator] = who


@cache
def _types(kind: Kind) -> dict[str, str]:
    """The attributes of the top level by name, with their types; 1 where one module says so."""
    found: dict[str, str] = {}
    for module in tables.iod(kind.legacy_iod).modules:
        for keyword, of_type in tables.attributes(module).items():
            name = key(keyword)
            found[name] = min(of_type, found.get(name, of_type))
    return found


def _describe(result: Model, models: Sequence[Model], kind: Kind) -> None:
    """What is said of the whole."""
    moment = _moment(models)
    if moment is None:
        raise DataSetError("the images have no date")
    put(result, "ContentDate", moment[0])
    put(result, "ContentTime", moment[1])
    put(result, "ImageType", *frame_type(models[0]))
    put(result, "NumberOfFrames", len(models))
    put(result, "PresentationLUTShape", "IDENTITY")
    for keyword, value in DESCRIPTION:
        if not is_filled(result.get(key(keyword))):
            put(result, keyword, value)
    if kind.modality == "PT" and not is_filled(result.get(key("ContentQualification"))):
        put(result, "ContentQualification", "PRODUCT")  # of Type 1 here, and nothing classic images have a word for
    ratios = [value for model in models for value in values(model, "LossyImageCompressionRatio")[:1]]
    if ratios and text(result, "LossyImageCompression") == "01":
        # One number for all frames: the one of the frame that lost most
        put(result, "LossyImageCompressionRatio", max(ratios, key=_number))
    requests: dict[bytes, Model] = {}
    for model in models:
        for item in items(model, "RequestAttributesSequence"):
            requests.setdefault(orjson.dumps(item), item)
    if requests:
        put(result, "RequestAttributesSequence", *requests.values())
    put(result, "ContributingEquipmentSequence", *contributed(models, LEGACY_CREATED))


def _prove(result: Model, keyword: str, referred: Sequence[Model], where: Mapping[str, str]) -> None:
    """Where in the study the images are that the frames refer to (C.8.13.1, C.8.15.2), as far as they are in it."""
    held: dict[str, dict[str, Model]] = {}
    for item in referred:
        uid = text(item, "ReferencedSOPInstanceUID")
        if uid in where:
            held.setdefault(where[uid], {})[uid] = reference(text(item, "ReferencedSOPClassUID"), uid)
    series: list[Model] = []
    for of, found in held.items():
        one: Model = {}
        put(one, "ReferencedSOPSequence", *found.values())
        put(one, "SeriesInstanceUID", of)
        series.append(one)
    if series:
        study: Model = {}
        put(study, "ReferencedSeriesSequence", *series)
        put(study, "StudyInstanceUID", text(result, "StudyInstanceUID"))
        put(result, keyword, study)


def _moment(models: Sequence[Model]) -> tuple[str, str] | None:
    """The earliest date and time of the images' content, or of what there is nearest to it."""
    for day, hour in _DATES:
        found = [(text(model, day), text(model, hour) or "000000") for model in models if text(model, day)]
        if found:
            return min(found)
    return None


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0
