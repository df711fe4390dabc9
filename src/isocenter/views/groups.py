"""The functional groups of a Legacy Converted Enhanced image (PS3.3 Tables A.70-2, A.71-2, A.72-2; C.7.6.16.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from isocenter.iod import tables
from isocenter.views.attributes import first, is_filled, items, key, put, text, values
from isocenter.views.classes import Kind
from isocenter.views.identity import reference
from isocenter.wire.dicomjson import Model

DESCRIPTION: Final = (
    ("PixelPresentation", "MONOCHROME"),
    ("VolumetricProperties", "VOLUME"),
    ("VolumeBasedCalculationTechnique", "NONE"),
)
"""What is said of classic images, which are slices of greys (C.8.16.2)."""

# Macros that hold attributes of classic images under their own names: what must be there, and what may be
_MACROS: Final = (
    ("PixelMeasuresSequence", ("PixelSpacing",), ("SliceThickness", "SpacingBetweenSlices")),
    ("PlanePositionSequence", ("ImagePositionPatient",), ()),
    ("PlaneOrientationSequence", ("ImageOrientationPatient",), ()),
    ("IrradiationEventIdentificationSequence", ("IrradiationEventUID",), ()),
    ("DerivationImageSequence", ("SourceImageSequence",), ("DerivationDescription", "DerivationCodeSequence")),
)
# The same under the name of the attribute itself
_WHOLE: Final = ("ReferencedImageSequence", "RealWorldValueMappingSequence")
_NOT_OF: Final = {
    "CT": ("RealWorldValueMappingSequence",),
    "MR": ("IrradiationEventIdentificationSequence",),
    "PT": (),
}

Made = tuple[Model, tuple[str, ...]]
"""The item of a macro, and the attributes that are told by it and need not be kept elsewhere."""


def groups_of(models: Sequence[Model], kind: Kind, shared: Model, each: Sequence[Model]) -> tuple[Model, list[Model]]:
    """The item of the shared groups, and those of each frame. `shared` and `each` are what is left to keep of all and
    of each image; what a macro tells is taken out of them."""
    groups: Model = {}
    own: list[Model] = [{} for _ in models]
    for sequence, make in _makers(kind):
        made = [make(model) for model in models]
        told = [one for one in made if one is not None]
        if len(told) < len(models):
            continue  # a macro is of all frames or none: it stays as an attribute of those that have it
        for _, names in told:
            for name in names:
                shared.pop(name, None)
                for one in each:
                    one.pop(name, None)
        if all(item == told[0][0] for item, _ in told):
            put(groups, sequence, told[0][0])
        else:
            for group, (item, _) in zip(own, told, strict=True):
                put(group, sequence, item)
    for name in (key(keyword) for keyword in _WHOLE if keyword not in _NOT_OF[kind.modality]):
        if name in shared:
            groups[name] = shared.pop(name)
        elif all(name in one for one in each):
            for group, one in zip(own, each, strict=True):
                group[name] = one.pop(name)
    put(groups, "UnassignedSharedConvertedAttributesSequence", dict(sorted(shared.items())))
    for model, group, one in zip(models, own, each, strict=True):
        put(group, "FrameContentSequence", _content(model))
        source = reference(text(model, "SOPClassUID"), text(model, "SOPInstanceUID"))
        put(group, "ConversionSourceAttributesSequence", source)
        put(group, "UnassignedPerFrameConvertedAttributesSequence", dict(sorted(one.items())))
    return dict(sorted(groups.items())), [dict(sorted(group.items())) for group in own]


def frame_type(model: Model) -> list[str]:
    """Frame Type and Image Type (C.8.16.1) of a classic image by its own Image Type, which is kept beside."""
    given = [str(value or "") for value in values(model, "ImageType")]
    third = given[2] if len(given) > 2 and given[2] else "VOLUME"
    return ["ORIGINAL" if given[:1] == ["ORIGINAL"] else "DERIVED", "PRIMARY", third, "NONE"]


def _makers(kind: Kind) -> list[tuple[str, Callable[[Model], Made | None]]]:
    made: list[tuple[str, Callable[[Model], Made | None]]] = [
        (sequence, _macro(needed, more)) for sequence, needed, more in _MACROS if sequence not in _NOT_OF[kind.modality]
    ]
    made.append((kind.frame_type, _frame_type))
    made.append(("PixelValueTransformationSequence", _transformation))
    made.append(("FrameVOILUTSequence", _window if kind.modality == "MR" else _window_or_range))
    made.append(("FrameAnatomySequence", _anatomy))
    return made


def _macro(needed: Sequence[str], more: Sequence[str]) -> Callable[[Model], Made | None]:
    def make(model: Model) -> Made | None:
        if not all(is_filled(model.get(key(keyword))) for keyword in needed):
            return None
        names = tuple(key(keyword) for keyword in (*needed, *more) if is_filled(model.get(key(keyword))))
        return {name: model[name] for name in sorted(names)}, names

    return make


def _frame_type(model: Model) -> Made:
    item: Model = {}
    put(item, "FrameType", *frame_type(model))
    for keyword, value in DESCRIPTION:
        put(item, keyword, first(model, keyword) or value)
    return item, ()


def _transformation(model: Model) -> Made | None:
    names = tuple(key(keyword) for keyword in ("RescaleIntercept", "RescaleSlope"))
    if not all(is_filled(model.get(name)) for name in names):
        return None
    item = {name: model[name] for name in names}
    of_type = text(model, "RescaleType")
    if not of_type:
        # Hounsfield units are what CT images are in, but for localizers (C.8.2.1.1.4); US is unspecified
        hounsfield = text(model, "Modality") == "CT" and "LOCALIZER" not in values(model, "ImageType")
        of_type = "HU" if hounsfield else "US"
    put(item, "RescaleType", of_type)
    return item, (*names, key("RescaleType"))


def _window(model: Model) -> Made | None:
    return _macro(("WindowCenter", "WindowWidth"), ("WindowCenterWidthExplanation", "VOILUTFunction"))(model)


def _window_or_range(model: Model) -> Made | None:
    """The window; where there is none, but there must be, all that the stored bits hold."""
    made = _window(model)
    if made is not None:
        return made
    stored, signed = first(model, "BitsStored"), first(model, "PixelRepresentation") == 1
    slope, intercept = first(model, "RescaleSlope"), first(model, "RescaleIntercept")
    if not isinstance(stored, int) or not isinstance(slope, int | float) or not isinstance(intercept, int | float):
        return None
    item: Model = {}
    middle = 0 if signed else 1 << max(stored - 1, 0)
    put(item, "WindowCenter", middle * slope + intercept)
    put(item, "WindowWidth", max(abs((1 << stored) * slope), 1))
    put(item, "WindowCenterWidthExplanation", "All stored values")
    return item, ()


def _anatomy(model: Model) -> Made | None:
    """Frame Anatomy by the code, or the code of Body Part Examined (PS3.16 Annex L); none where the side of a part that
    people have two of is not told, as Frame Laterality has no word for that."""
    side = text(model, "ImageLaterality") or text(model, "Laterality")
    part = tables.body_part(text(model, "BodyPartExamined"))
    item: Model = {}
    names: tuple[str, ...] = ()
    if is_filled(model.get(key("AnatomicRegionSequence"))):
        names = tuple(
            name
            for name in (key("AnatomicRegionSequence"), key("PrimaryAnatomicStructureSequence"))
            if is_filled(model.get(name))
        )
        item |= {name: model[name] for name in names}
        regions = [text(one, "CodeValue") for one in items(model, "AnatomicRegionSequence")]
        paired = part is None or part.code not in regions or part.paired
    elif part is not None:
        code: Model = {}
        put(code, "CodeValue", part.code)
        put(code, "CodingSchemeDesignator", part.scheme)
        put(code, "CodeMeaning", part.meaning)
        put(item, "AnatomicRegionSequence", code)
        paired = part.paired
    else:
        return None
    if side not in ("R", "L", "B") and paired:
        return None
    put(item, "FrameLaterality", side if side in ("R", "L", "B") else "U")
    return dict(sorted(item.items())), names


def _content(model: Model) -> Model:
    """Frame Content (C.7.6.16.2.2): when and in which acquisition."""
    item: Model = {}
    moment = text(model, "AcquisitionDateTime")
    if not moment and text(model, "AcquisitionDate") and text(model, "AcquisitionTime"):
        moment = text(model, "AcquisitionDate") + text(model, "AcquisitionTime")
    if moment:
        put(item, "FrameAcquisitionDateTime", moment)
    number = first(model, "AcquisitionNumber")
    if isinstance(number, int) and 0 <= number <= 0xFFFF:
        put(item, "FrameAcquisitionNumber", number)
    duration = _milliseconds(model)
    if duration is not None:
        put(item, "FrameAcquisitionDuration", duration)
    if text(model, "ImageComments"):
        put(item, "FrameComments", text(model, "ImageComments"))
    return item


def _milliseconds(model: Model) -> float | None:
    duration: Any = first(model, "ActualFrameDuration")  # of PET, in ms; Acquisition Duration is in seconds
    if isinstance(duration, int | float):
        return float(duration)
    duration = first(model, "AcquisitionDuration")
    return float(duration) * 1000 if isinstance(duration, int | float) else None
