"""Softcopy presentation states from Python (PS3.3 A.33): how some images are to be seen, as an object of their study.

Monochrome images get a Grayscale state, or with `palette` a Pseudo-Color one, colour images a Color one, and with
`blend` a Blending state lays other images over them. What no argument says is taken from the images, so that a state
without arguments shows them as they are: their Modality LUT, first VOI LUT, polarity and overlays. A state must say all
of it, because whoever applies it leaves out what it does not say (PS3.4 N.2).

`pixels/state.py` reads what is written here.
"""

from __future__ import annotations

import copy
import datetime
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
from pydicom.dataset import Dataset

from isocenter.errors import UsageError
from isocenter.iod import text
from isocenter.iod.decimal_string import ds_values
from isocenter.iod.graphics import (
    Graphic,
    Label,
    Layer,
    ShutterShape,
    write_graphics,
    write_layers,
    write_shutter,
)
from isocenter.iod.series import finish
from isocenter.iod.subject import Subject, joined_study
from isocenter.iod.uids import UUID_ROOT, UIDs
from isocenter.std.sop_classes import PROJECTION_XRAY

__all__ = ["Graphic", "Label", "Layer", "Mask", "ShutterShape", "presentation_state"]

_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
_NOBODY = Subject(None, None, None, None, None, None, None, None, None, None)


@dataclass(frozen=True, slots=True)
class Mask:
    """What is subtracted from the frames of a multi-frame image (C.7.6.10, C.11.13).

    frames: their mean is the mask (AVG_SUB). averaged: how many frames from the one that is shown on are averaged, too.
    shift: (down, right) in pixels, of the mask. offset: instead of `frames`, how many frames before the one that is
    shown its mask is (TID).
    """

    frames: Sequence[int] = (1,)
    averaged: int = 1
    shift: tuple[float, float] = (0.0, 0.0)
    offset: int | None = None


def presentation_state(
    images: Dataset | Sequence[Dataset],
    *,
    label: str = "PRESENTATION",
    description: str = "",
    creator: str = "",
    window: tuple[float, float] | None = None,
    function: str = "LINEAR",
    invert: bool = False,
    rotation: int = 0,
    flip: bool = False,
    area: tuple[tuple[int, int], tuple[int, int]] | None = None,
    magnification: float | None = None,
    graphics: Sequence[Graphic | Label] = (),
    layers: Sequence[Layer] = (),
    shutter: ShutterShape | None = None,
    overlays: bool = True,
    palette: Any = None,
    blend: Dataset | Sequence[Dataset] | None = None,
    opacity: float = 0.5,
    mask: Mask | None = None,
    icc_profile: bytes | None = None,
    series_number: int = 1,
    uid_root: str = UUID_ROOT,
    uid_seed: str | None = None,
) -> Dataset:
    """A presentation state for `images` of one study, ready for `save_as(path, enforce_file_format=True)`.

    window: (center, width) in Modality LUT units, with `function`, in place of the images' own. invert: turned greys.
    rotation: clockwise, 0, 90, 180 or 270, then `flip` from left to right. area: (column, row) of the top left and
    bottom right pixel to be shown, from 1. magnification: display pixels an image pixel. layers: those of `graphics`
    that are not to be white, and their order. palette: (entries, 3) uint8 RGB over the range of greys. blend: images to
    be laid over `images` in `palette` with `opacity` 0 to 1. mask: subtracted from each frame; `window` is for what is
    left. icc_profile: of colours; sRGB if not given.
    Raises UsageError, naming the argument.
    """
    below, over = _several(images, "images"), _several(blend, "blend") if blend is not None else []
    grey = {str(image.get("PhotometricInterpretation", "")).startswith("MONOCHROME") for image in below + over}
    if len(grey) != 1:
        raise UsageError("images: all grey, or all in colour")
    coloured = not grey.pop()
    if coloured and (window or palette is not None or invert or blend is not None or mask is not None):
        raise UsageError("images: colours have no window, palette, blending, mask or turned greys")
    if over and mask is not None:
        raise UsageError("mask: is not for images that are blended")
    if over and palette is None:
        raise UsageError("palette: needed for what `blend` lays over")
    if rotation not in (0, 90, 180, 270):
        raise UsageError("rotation: 0, 90, 180 or 270 is needed")
    uids = UIDs(uid_root, uid_seed)
    ds = _head(below[0], label, description, creator, series_number, uids)
    _write_area(ds, below, area, magnification)
    if rotation or flip:
        ds.ImageRotation, ds.ImageHorizontalFlip = rotation, "Y" if flip else "N"
    used = write_graphics(ds, graphics)
    if over:
        _write_blending(ds, below, over, window, function, opacity)
    else:
        ds.ReferencedSeriesSequence = _by_series(below)
        if shutter is not None:
            write_shutter(ds, shutter, coloured or palette is not None)
        if overlays:
            used += _activate_overlays(ds, below)
        if not coloured:
            _write_modality(ds, below)
            if mask is not None:
                _write_mask(ds, below, mask, window)
            _write_voi(ds, below, window, function)
    write_layers(ds, layers, used)
    if palette is not None:
        _write_palette(ds, palette)
    elif not coloured:
        turned = below[0].PhotometricInterpretation == "MONOCHROME1" or _shape(below[0]) == "INVERSE"
        ds.PresentationLUTShape = "INVERSE" if turned != invert else "IDENTITY"
    if coloured or palette is not None:
        profile = icc_profile or below[0].get("ICCProfile") or bytes(imagecodecs.cms_profile("srgb"))
        ds.ICCProfile = profile + b"\0" * (len(profile) % 2)
    kind = "blending" if over else "color" if coloured else "pseudo-color" if palette is not None else "grayscale"
    return finish(ds, f"{kind}-softcopy-presentation-state")


def _several(images: Dataset | Sequence[Dataset], argument: str) -> list[Dataset]:
    found = [images] if isinstance(images, Dataset) else list(images)
    if not found or len({str(image.get("StudyInstanceUID")) for image in found}) != 1:
        raise UsageError(f"{argument}: one image or more of one study are needed")
    for keyword in ("SOPInstanceUID", "SOPClassUID", "SeriesInstanceUID", "Rows", "Columns"):
        if any(keyword not in image for image in found):
            raise UsageError(f"{argument}: an image without {keyword}")
    return found


def _head(image: Dataset, label: str, description: str, creator: str, number: int, uids: UIDs) -> Dataset:
    """Patient, study, series, equipment and Presentation State Identification (C.11.10)."""
    now = datetime.datetime.now().astimezone()
    ds = joined_study(_NOBODY, image)
    ds.Modality = "PR"
    ds.SeriesInstanceUID, ds.SOPInstanceUID = uids.new("series"), uids.new("instance")
    ds.SeriesNumber, ds.InstanceNumber = number, 1
    ds.Manufacturer = "Isocenter"
    ds.ContentLabel = text.checked("label", label, "CS")
    ds.ContentDescription = text.checked("description", description, "LO")
    ds.ContentCreatorName = text.checked("creator", creator, "PN")
    ds.PresentationCreationDate, ds.PresentationCreationTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    return ds


# --- what is referred to --------------------------------------------------------------------------------------------


def _reference(image: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    return item


def _by_series(images: Iterable[Dataset]) -> list[Dataset]:
    """Items of Referenced Series Sequence (C.11.11)."""
    found: dict[str, Dataset] = {}
    for image in images:
        series = str(image.SeriesInstanceUID)
        if series not in found:
            found[series] = Dataset()
            found[series].SeriesInstanceUID = series
            found[series].ReferencedImageSequence = []
        found[series].ReferencedImageSequence.append(_reference(image))
    return list(found.values())


def _grouped(images: Sequence[Dataset], items: Sequence[Dataset]) -> list[Dataset]:
    """Items, one an image, without repeats; where they differ each names its images."""
    found: dict[str, tuple[Dataset, list[Dataset]]] = {}
    for image, item in zip(images, items, strict=True):
        found.setdefault(item.to_json(), (item, []))[1].append(_reference(image))
    if len(found) > 1:
        for item, references in found.values():
            item.ReferencedImageSequence = references
    return [item for item, _ in found.values()]


# --- greys ----------------------------------------------------------------------------------------------------------


def _group(image: Dataset, sequence: str) -> Dataset:
    """Where a transform of an image stands: its shared functional group, that of its first frame, or the top level."""
    for parent in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        groups = image.get(parent)
        if groups and groups[0].get(sequence):
            item: Dataset = groups[0][sequence].value[0]
            return item
    return image


def _write_modality(ds: Dataset, images: Sequence[Dataset]) -> None:
    """The Modality LUT of all images (C.11.1), as far as it is for display (C.8.7.1.1.2)."""
    found = {}
    for image in images:
        if image.SOPClassUID in PROJECTION_XRAY:
            found[Dataset().to_json()] = Dataset()
            continue
        source, item = _group(image, "PixelValueTransformationSequence"), Dataset()
        if source.get("ModalityLUTSequence"):
            item.ModalityLUTSequence = copy.deepcopy(source.ModalityLUTSequence)
        elif source.get("RescaleSlope") is not None:
            item.RescaleIntercept, item.RescaleSlope = source.get("RescaleIntercept", 0), source.RescaleSlope
            item.RescaleType = source.get("RescaleType") or "US"
        found[item.to_json()] = item
    if len(found) > 1:
        raise UsageError("images: have different Modality LUTs, which one state cannot hold; make one for each")
    ds.update(next(iter(found.values())))


def _write_voi(ds: Dataset, images: Sequence[Dataset], window: tuple[float, float] | None, function: str) -> None:
    """The Softcopy VOI LUT (C.11.8), if there is any."""
    items = [_voi(image, window, function) for image in images]
    if all(len(item) for item in items):
        ds.SoftcopyVOILUTSequence = _grouped(images, items)
    elif any(len(item) for item in items):
        raise UsageError("window: some of the images have none of their own, so one has to be given")


def _voi(image: Dataset, window: tuple[float, float] | None, function: str) -> Dataset:
    item, source = Dataset(), _group(image, "FrameVOILUTSequence")
    if window is None and source.get("VOILUTSequence"):
        item.VOILUTSequence = [copy.deepcopy(source.VOILUTSequence[0])]
        return item
    if window is None:
        centers, widths = _numbers(source, "WindowCenter"), _numbers(source, "WindowWidth")
        if not centers or not widths:
            return item
        window, function = (centers[0], widths[0]), str(source.get("VOILUTFunction") or "LINEAR")
    if function not in _FUNCTIONS:
        raise UsageError(f"function: one of {', '.join(_FUNCTIONS)} is needed")
    if not all(math.isfinite(number) for number in window) or window[1] < (1 if function == "LINEAR" else 1e-9):
        raise UsageError("window: the width has to be positive, and at least 1 for LINEAR (C.11.2.1.2)")
    item.WindowCenter, item.WindowWidth = ds_values(window)
    if function != "LINEAR":
        item.VOILUTFunction = function
    return item


def _write_mask(ds: Dataset, images: Sequence[Dataset], mask: Mask, window: tuple[float, float] | None) -> None:
    """Presentation State Mask (C.11.13)."""
    frames = min(int(image.get("NumberOfFrames") or 1) for image in images)
    if window is None:
        raise UsageError("window: needed for what a mask leaves; that of the images is for their frames")
    if mask.offset is None and not (mask.frames and all(1 <= number <= frames for number in mask.frames)):
        raise UsageError(f"mask: frames are 1 to {frames}")
    if not 1 <= mask.averaged <= frames or mask.offset == 0 or not all(math.isfinite(way) for way in mask.shift):
        raise UsageError("mask: an average of one frame or more, another frame, and a finite shift are needed")
    item = Dataset()
    if mask.offset is None:
        item.MaskOperation, item.MaskFrameNumbers = "AVG_SUB", list(mask.frames)
    else:
        item.MaskOperation, item.TIDOffset = "TID", mask.offset
    item.ContrastFrameAveraging = mask.averaged
    if any(mask.shift):
        item.MaskSubPixelShift = [float(way) for way in mask.shift]
    ds.MaskSubtractionSequence, ds.RecommendedViewingMode = [item], "SUB"


def _numbers(ds: Dataset, keyword: str) -> list[float]:
    value = ds.get(keyword)
    if value is None or value == "":
        return []
    return [float(one) for one in (value if isinstance(value, Iterable) else [value])]


def _shape(image: Dataset) -> str:
    return str(image.get("PresentationLUTShape", ""))


def _write_palette(ds: Dataset, palette: Any) -> None:
    """The palette (C.7.9) as 16-bit entries."""
    entries = np.asarray(palette)
    if entries.ndim != 2 or entries.shape[1] != 3 or entries.dtype != np.uint8 or not 2 <= len(entries) <= 65536:
        raise UsageError("palette: uint8 of shape (entries, 3) is needed, with 2 to 65,536 entries")
    for channel, name in enumerate(("Red", "Green", "Blue")):
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [len(entries) & 0xFFFF, 0, 16])
        words = entries[:, channel].astype("<u2") * 257
        setattr(ds, f"{name}PaletteColorLookupTableData", words.tobytes())


def _write_blending(
    ds: Dataset,
    below: Sequence[Dataset],
    over: Sequence[Dataset],
    window: tuple[float, float] | None,
    function: str,
    opacity: float,
) -> None:
    """Presentation State Blending (C.11.14)."""
    if not 0 <= opacity <= 1:
        raise UsageError("opacity: 0 to 1 is needed")
    ds.BlendingSequence = []
    for position, images, given in (("UNDERLYING", below, window), ("SUPERIMPOSED", over, None)):
        item = Dataset()
        item.BlendingPosition = position
        item.StudyInstanceUID = images[0].StudyInstanceUID
        item.ReferencedSeriesSequence = _by_series(images)
        _write_modality(item, images)
        _write_voi(item, images, given, function)
        ds.BlendingSequence.append(item)
    ds.RelativeOpacity = float(opacity)


# --- space ----------------------------------------------------------------------------------------------------------


def _write_area(
    ds: Dataset,
    images: Sequence[Dataset],
    area: tuple[tuple[int, int], tuple[int, int]] | None,
    magnification: float | None,
) -> None:
    """Displayed Area Selection (C.10.4)."""
    items = []
    for image in images:
        item = Dataset()
        corners = area or ((1, 1), (int(image.Columns), int(image.Rows)))
        if corners[0][0] > corners[1][0] or corners[0][1] > corners[1][1]:
            raise UsageError("area: the top left pixel comes before the bottom right one")
        item.DisplayedAreaTopLeftHandCorner, item.DisplayedAreaBottomRightHandCorner = map(list, corners)
        item.PresentationSizeMode = "SCALE TO FIT" if magnification is None else "MAGNIFY"
        measures = _group(image, "PixelMeasuresSequence")
        spacing = _numbers(measures, "PixelSpacing") or _numbers(image, "ImagerPixelSpacing")
        if len(spacing) == 2 and min(spacing) > 0:
            item.PresentationPixelSpacing = ds_values(spacing)
        else:
            ratio = _numbers(image, "PixelAspectRatio")
            item.PresentationPixelAspectRatio = [int(one) for one in ratio] if len(ratio) == 2 else [1, 1]
        if magnification is not None:
            if not (math.isfinite(magnification) and magnification > 0):
                raise UsageError("magnification: a positive number is needed")
            item.PresentationPixelMagnificationRatio = float(magnification)
        items.append(item)
    ds.DisplayedAreaSelectionSequence = _grouped(images, items)


def _activate_overlays(ds: Dataset, images: Sequence[Dataset]) -> list[str]:
    """Overlay Activation (C.11.7) for every overlay of the images; the layers this needs."""
    groups = {group for image in images for group in range(0x6000, 0x6020, 2) if (group, 0x0010) in image}
    for group in sorted(groups):
        ds.add_new((group, 0x1001), "CS", "OVERLAYS")
    return ["OVERLAYS"] if groups else []
