"""Images of every kind of pixels and of every way from them to the screen, by what they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import viewer_objects as objects
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

ROWS, COLUMNS = 60, 84
Pixels = np.ndarray[Any, Any]


def slopes(low: float, high: float, frames: int = 1) -> Pixels:
    """Values from `low` to `high` in a pattern whose rows, columns and frames all differ."""
    values = np.linspace(low, high, frames * ROWS * COLUMNS).reshape(frames, ROWS, COLUMNS)
    values[:, ::7] = values[:, ::7][:, :, ::-1]
    return values if frames > 1 else values[0]


def image(number: int, pixels: Pixels, **attributes: object) -> Dataset:
    """An object of `pixels`, shape (rows, columns[, 3]) or (frames, rows, columns), in explicit little endian."""
    samples = 3 if pixels.shape[-1] == 3 else 1
    bits = pixels.dtype.itemsize * 8
    ds = objects.ct(number, f"PIXELS {number}")
    for name in ("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept", "PixelPaddingValue"):
        if name in ds:
            delattr(ds, name)
    ds.Rows, ds.Columns = pixels.shape[-3:-1] if samples == 3 else pixels.shape[-2:]
    ds.SamplesPerPixel = samples
    ds.PhotometricInterpretation = "RGB" if samples == 3 else "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = bits
    ds.HighBit = bits - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    if samples == 3:
        ds.PlanarConfiguration = 0
    if pixels.ndim - (samples == 3) == 3:
        ds.NumberOfFrames = len(pixels)
    data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    ds.add_new("PixelData", "OW" if bits > 8 else "OB", data + b"\0" * (len(data) % 2))
    for name, value in attributes.items():
        if isinstance(value, tuple):
            ds.add_new(name, *value)
        else:
            setattr(ds, name, value)
    return ds


def item(**attributes: object) -> Dataset:
    made = Dataset()
    for name, value in attributes.items():
        if isinstance(value, tuple):
            made.add_new(name, *value)
        else:
            setattr(made, name, value)
    return made


def packed(bits: Pixels) -> bytes:
    data = np.packbits(bits.reshape(-1).astype(bool), bitorder="little").tobytes()
    return data + b"\0" * (len(data) % 2)


def lut(first: int, entries: Pixels, bits: int) -> Dataset:
    return objects.lut_item(first, entries, bits)


def palette(bits: int, first: int = 0, count: int = 256) -> dict[str, object]:
    top = (1 << bits) - 1
    ramp = np.linspace(0, top, count)
    channels = {"Red": ramp, "Green": top - ramp, "Blue": np.abs(ramp - top / 2)}
    kind = "<u2" if bits > 8 else "u1"
    made: dict[str, object] = {}
    for name, values in channels.items():
        descriptor = [count, first, bits]
        made[f"{name}PaletteColorLookupTableDescriptor"] = ("SS" if first < 0 else "US", descriptor)
        made[f"{name}PaletteColorLookupTableData"] = ("OW", np.rint(values).astype(kind).tobytes())
    return made


def overlay(group: int, bits: Pixels, **rest: object) -> dict[Any, object]:
    """Elements of an overlay plane, by tag."""
    made: dict[Any, object] = {
        (group, 0x0010): ("US", bits.shape[-2]),
        (group, 0x0011): ("US", bits.shape[-1]),
        (group, 0x0040): ("CS", "G"),
        (group, 0x0050): ("SS", [1, 1]),
        (group, 0x0100): ("US", 1),
        (group, 0x0102): ("US", 0),
        (group, 0x3000): ("OW", packed(bits)),
    }
    if bits.ndim == 3:
        made[group, 0x0015] = ("IS", len(bits))
        made[group, 0x0051] = ("US", 2)
    return made


def laid(ds: Dataset, elements: dict[Any, object]) -> Dataset:
    for tag, (vr, value) in elements.items():  # type: ignore[misc]
        ds.add_new(tag, vr, value)
    return ds


def values() -> Iterator[tuple[str, Dataset]]:
    """Stored values of every depth and sign."""
    yield "8 bits signed", image(101, slopes(-128, 127).astype(np.int8), WindowCenter=-20, WindowWidth=100)
    yield "8 bits without a window", image(102, slopes(0, 255).astype(np.uint8))
    yield "16 bits without a window", image(103, slopes(100, 60000).astype(np.uint16))
    rubbish = (slopes(-2048, 2047).astype(np.int16) & 0x0FFF | 0x5000).astype(np.int16)
    yield (
        "12 bits signed, rubbish above",
        image(104, rubbish, BitsStored=12, HighBit=11, WindowCenter=100, WindowWidth=900),
    )
    shifted = (slopes(0, 4095).astype(np.uint16) << 4).astype(np.uint16)
    yield "high bit 15 of 12 bits", image(105, shifted, BitsStored=12, HighBit=15, WindowCenter=2000, WindowWidth=3000)
    single = image(106, np.zeros((ROWS, COLUMNS), np.uint8), BitsAllocated=1, BitsStored=1, HighBit=0)
    single.PixelData = packed(slopes(0, 10) % 2 > 1)
    yield "one bit", single
    yield (
        "32 bits signed",
        image(107, (slopes(-2e9, 2e9)).astype(np.int32), WindowCenter=1e8, WindowWidth=3e9, VOILUTFunction="SIGMOID"),
    )
    floats = image(108, slopes(-1, 3).astype(np.float32), WindowCenter="0.7", WindowWidth="1.9")
    floats.add_new("FloatPixelData", "OF", floats.PixelData)
    for name in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(floats, name)
    floats.VOILUTFunction = "LINEAR_EXACT"
    yield "floating point", floats
    ends = {"PixelPaddingValue": ("SS", -2000), "PixelPaddingRangeLimit": ("SS", -1500)}
    yield "a range of padding", image(109, slopes(-2000, 2000).astype(np.int16), PresentationLUTShape="INVERSE", **ends)


def greys() -> Iterator[tuple[str, Dataset]]:
    """Ways from values to greys."""
    pixels = slopes(0, 4095).astype(np.uint16)
    twelve = {"BitsStored": 12, "HighBit": 11}
    beer = (4095 * (1 - np.exp(-np.linspace(0, 5, 4096)))).astype(np.uint16)
    yield (
        "Modality LUT and window",
        image(120, pixels, ModalityLUTSequence=[lut(0, beer, 12)], WindowCenter=3000, WindowWidth=1500, **twelve),
    )
    yield "Modality LUT alone", image(121, pixels, ModalityLUTSequence=[lut(100, beer[:3000], 12)], **twelve)
    toe = (65535 * np.linspace(0, 1, 2500) ** 0.5).astype(np.uint16)
    yield (
        "Modality and VOI LUT",
        image(
            122, pixels, ModalityLUTSequence=[lut(0, beer, 12)], VOILUTSequence=[lut(900, toe, 16)],
            PhotometricInterpretation="MONOCHROME1", **twelve,
        ),
    )  # fmt: skip
    negative = lut(0, toe, 16)
    negative.LUTDescriptor = [2500, -1000, 16]
    yield (
        "VOI LUT from below zero",
        image(123, pixels, RescaleIntercept=-1024, RescaleSlope=1, VOILUTSequence=[negative], **twelve),
    )
    octets = item(LUTDescriptor=("US", [256, 300, 8]), LUTData=("OW", np.arange(255, -1, -1, np.uint8).tobytes()))
    yield "VOI LUT of octets", image(124, pixels, VOILUTSequence=[octets], **twelve)
    yield (
        "several windows",
        image(
            125, pixels, WindowCenter=[900, 2000], WindowWidth=[301.5, 4000], VOILUTFunction="LINEAR_EXACT", **twelve
        ),
    )
    yield (
        "a falling slope",
        image(
            126, pixels, RescaleSlope="-0.731", RescaleIntercept="1999.5", WindowCenter=0, WindowWidth=1777, **twelve
        ),
    )
    table = item(
        LUTDescriptor=("US", [17, 0, 8]), LUTData=("OW", (np.arange(17, dtype="<u2") ** 2 * 255 // 256).tobytes())
    )
    yield (
        "Presentation LUT of entries",
        image(127, pixels, WindowCenter=2000, WindowWidth=4000, PresentationLUTSequence=[table], **twelve),
    )
    yield (
        "no window, MONOCHROME1",
        image(128, slopes(-900, 3000).astype(np.int16), PhotometricInterpretation="MONOCHROME1"),
    )
    yield (
        "pixels twice as high",
        image(129, pixels, WindowCenter=1000, WindowWidth=2000, PixelAspectRatio=[2, 1], **twelve),
    )


def groups() -> Iterator[tuple[str, Dataset]]:
    """Transforms in functional groups, each frame its own."""
    pixels = slopes(0, 60000, 3).astype(np.uint16)

    def transforms(slope: float, center: float, function: str) -> Dataset:
        return item(
            PixelValueTransformationSequence=[item(RescaleSlope=str(slope), RescaleIntercept="-10", RescaleType="US")],
            FrameVOILUTSequence=[item(WindowCenter=center, WindowWidth=9000, VOILUTFunction=function)],
        )

    own = [transforms(0.5, 5000, "LINEAR"), transforms(2, 60000, "SIGMOID"), transforms(0.1, 4900, "LINEAR_EXACT")]
    enhanced = "1.2.840.10008.5.1.4.1.1.2.1"
    ds = image(140, pixels, PerFrameFunctionalGroupsSequence=own, SharedFunctionalGroupsSequence=[Dataset()])
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = enhanced
    yield "a group for each frame", ds
    shared = image(
        141, pixels, SharedFunctionalGroupsSequence=[transforms(1, 15000, "SIGMOID")],
        PerFrameFunctionalGroupsSequence=[Dataset(), own[0], Dataset()],
    )  # fmt: skip
    shared.SOPClassUID = shared.file_meta.MediaStorageSOPClassUID = enhanced
    yield "shared groups and a frame's own", shared
    coloured = image(
        142, slopes(0, 5000).astype(np.uint16), PixelPresentation="MIXED", WindowCenter=2000, WindowWidth=4000
    )
    for name, value in palette(16, 4000, 1001).items():
        coloured.add_new(name, *value)  # type: ignore[misc]
    yield "greys of which some are colours", coloured
    mask = item(MaskOperation="AVG_SUB", MaskFrameNumbers=[1])
    angiogram = image(143, slopes(0, 255, 3).astype(np.uint8), MaskSubtractionSequence=[mask])
    angiogram.SOPClassUID = angiogram.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.12.1"
    yield "a mask that nobody asked for", angiogram


def colours() -> Iterator[tuple[str, Dataset]]:
    """Palettes and colour spaces."""
    index = slopes(0, 255).astype(np.uint8)
    name = "PALETTE COLOR"
    yield "palette of octets", image(160, index, PhotometricInterpretation=name, **palette(8))
    yield "palette of words", image(161, index, PhotometricInterpretation=name, **palette(16, 20, 200))
    signed = slopes(-300, 300).astype(np.int16)
    yield "palette from below zero", image(162, signed, PhotometricInterpretation=name, **palette(16, -250, 500))
    segmented = image(163, index, PhotometricInterpretation=name, **palette(16))
    for k, channel in enumerate(("Red", "Green", "Blue")):
        delattr(segmented, f"{channel}PaletteColorLookupTableData")
        words = np.array([0, 1, 0, 1, 127, 65535 - 20000 * k, 1, 128, 1000 * k], "<u2")
        segmented.add_new(f"Segmented{channel}PaletteColorLookupTableData", "OW", words.tobytes())
    yield "segmented palette", segmented
    rgb = np.stack([slopes(0, 255), slopes(255, 0), np.abs(slopes(-255, 255))], -1).astype(np.uint8)
    yield "RGB by pixel", image(164, rgb)
    planar = image(165, rgb, PlanarConfiguration=1)
    planar.PixelData = np.ascontiguousarray(np.moveaxis(rgb, -1, 0)).tobytes()
    yield "RGB by plane", planar
    yield "RGB of 16 bits", image(166, (rgb.astype(np.uint16) * 257))
    yield "YBR_FULL", image(167, rgb, PhotometricInterpretation="YBR_FULL")
    half = image(168, rgb, PhotometricInterpretation="YBR_FULL_422")
    pairs = np.stack([rgb[:, ::2, 0], rgb[:, 1::2, 0], rgb[:, ::2, 1], rgb[:, ::2, 2]], -1)
    half.PixelData = pairs.tobytes()
    yield "YBR_FULL_422", half


def covers() -> Iterator[tuple[str, Dataset]]:
    """Overlays and shutters where they are not alone with 16-bit greys."""
    ring = np.abs(np.hypot(*(np.mgrid[:ROWS, :COLUMNS] - np.array([[[30]], [[40]]]))) - 20) < 2
    index = slopes(0, 255).astype(np.uint8)
    rgb = np.stack([index, index[::-1], np.full_like(index, 99)], -1)
    yield "an overlay on colours", laid(image(180, rgb), overlay(0x6000, ring))
    yield (
        "a shutter on colours",
        image(
            181, rgb, ShutterShape="CIRCULAR", CenterOfCircularShutter=[30, 40], RadiusOfCircularShutter=22,
            ShutterPresentationValue=0x4000,
        ),
    )  # fmt: skip
    frames = slopes(0, 255, 3).astype(np.uint8)
    yield "overlays of some frames", laid(image(182, frames), overlay(0x6002, np.stack([ring, ~ring])))
    twelve = slopes(0, 4095).astype(np.uint16) | np.where(ring, 0x8000, 0).astype(np.uint16)
    within = laid(
        image(183, twelve, BitsStored=12, HighBit=11, WindowCenter=2000, WindowWidth=4096), overlay(0x6000, ring)
    )
    del within[0x6000, 0x3000]
    within[0x6000, 0x0100].value, within[0x6000, 0x0102].value = 16, 15
    yield "an overlay among the bits of pixels", within
    hidden = image(184, index, ShutterShape="BITMAP", ShutterOverlayGroup=0x6000, ShutterPresentationValue=0x2000)
    yield "an overlay that is a shutter", laid(hidden, overlay(0x6000, ~ring))
    high = image(185, index, PixelAspectRatio=[2, 1], ShutterShape="CIRCULAR", CenterOfCircularShutter=[30, 40])
    high.RadiusOfCircularShutter = 35
    yield "a round shutter on high pixels", high


def radiograph() -> Dataset:
    """15 megapixels of 14 bits, MONOCHROME1, as a detector of 43 by 35 cm gives them."""
    rows, columns = np.mgrid[:4280, :3520]
    pixels = ((rows * 3 + columns * 5) % 16384).astype(np.uint16)
    ds = image(
        190, pixels, BitsStored=14, HighBit=13, PhotometricInterpretation="MONOCHROME1",
        WindowCenter=8000, WindowWidth=15000, VOILUTFunction="SIGMOID", Modality="DX",
    )  # fmt: skip
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    return ds


def every() -> dict[str, Dataset]:
    made = dict([*values(), *greys(), *groups(), *colours(), *covers()])
    for ds in made.values():
        for name in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
            if name in ds:
                setattr(ds, name, Sequence(getattr(ds, name)))
    return made
