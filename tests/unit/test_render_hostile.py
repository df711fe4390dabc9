"""Overlays, shutters, palettes and presentation states with wrong bytes: a picture, or a typed error, and soon."""

from __future__ import annotations

import random
import time
from io import BytesIO

import numpy as np
import pytest
from pydicom.dataset import Dataset

import isocenter
from isocenter.errors import IsocenterError
from isocenter.iod.presentation_state import Graphic, Label, Layer, Mask, ShutterShape, presentation_state
from isocenter.pixels.image import Image
from isocenter.pixels.real_world import real_world_values
from isocenter.pixels.render import render
from isocenter.pixels.state import PresentationState
from isocenter.wire.part10 import read_header

SECONDS = 2.0  # of processor time; ordinary pictures of this size take milliseconds


def encoded(ds: Dataset) -> bytes:
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def image() -> Dataset:
    """An image with everything that lies over one."""
    ds = isocenter.create(
        np.arange(64 * 64, dtype=np.uint16).reshape(64, 64), modality="CT", pixel_spacing=(1, 1), slice_thickness=1
    )
    assert isinstance(ds, Dataset)
    for number, vr, value in (
        (0x10, "US", 60), (0x11, "US", 50), (0x15, "IS", 1), (0x40, "CS", "R"), (0x50, "SS", [-5, 30]), (0x51, "US", 1),
        (0x100, "US", 1), (0x102, "US", 0), (0x3000, "OW", bytes(376)),
    ):  # fmt: skip
        ds.add_new((0x6000, number), vr, value)
    ds.ShutterShape = ["RECTANGULAR", "CIRCULAR", "POLYGONAL"]
    ds.ShutterLeftVerticalEdge, ds.ShutterRightVerticalEdge = 3, 60
    ds.ShutterUpperHorizontalEdge, ds.ShutterLowerHorizontalEdge = 2, 61
    ds.CenterOfCircularShutter, ds.RadiusOfCircularShutter = [30, 30], 28
    ds.VerticesOfThePolygonalShutter = [1, 1, 1, 60, 60, 30]
    ds.PixelPresentation = "COLOR"
    for name in ("Red", "Green", "Blue"):
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [16, 4000, 16])
        setattr(ds, f"{name}PaletteColorLookupTableData", bytes(32))
    return ds


CT = image()
SOUND = encoded(CT)
GRAPHICS = [
    Graphic("CIRCLE", [(32, 32), (40, 32)]),
    Graphic("POLYLINE", [(20, 30), (40, 30), (40, 50), (20, 30)], filled=True, layer="RED"),
    Graphic("ELLIPSE", [(10, 30), (50, 30), (30, 20), (30, 40)]),
    Graphic("INTERPOLATED", [(30, 60), (40, 20), (60, 35), (50, 5)]),
    Label("HEART", box=((10, 20), (50, 44)), anchor=(32, 32)),
]
MORE = {"graphics": GRAPHICS, "shutter": ShutterShape((5, 60, 3, 60), (30, 30, 25)), "area": ((5, 5), (60, 60))}


def laden() -> Dataset:
    """A state with a mask and compound graphics, too."""
    ds = presentation_state(CT, window=(40, 400), mask=Mask((1,), shift=(0.5, -1.5)), **MORE)
    kinds = ("RECTANGLE", "ELLIPSE", "CUTLINE", "INFINITELINE", "AXIS", "MULTILINE")
    items = []
    for number, kind in enumerate(kinds):
        item, tick = Dataset(), Dataset()
        item.CompoundGraphicInstanceID, item.CompoundGraphicUnits, item.CompoundGraphicType = number, "PIXEL", kind
        item.GraphicDimensions, item.NumberOfGraphicPoints, item.GraphicData = 2, 2, [10.0, 20.0, 50.0, 44.0]
        item.RotationAngle, item.RotationPoint, item.GapLength = 30.0, [30.0, 30.0], 0.2
        tick.TickPosition, tick.TickLabel = 0.5, "12"
        item.MajorTicksSequence, item.ShowTickLabel, item.TickAlignment = [tick], "Y", "CENTER"
        items.append(item)
    ds.GraphicAnnotationSequence[0].CompoundGraphicSequence = items
    return ds


STATES = [
    encoded(laden()),
    encoded(presentation_state(CT, window=(40, 400), rotation=90, layers=[Layer("RED", 3, (1, 2, 3))], **MORE)),
    encoded(presentation_state(CT, palette=np.zeros((16, 3), np.uint8), **MORE)),
]


def spoilt(data: bytes, end: int, chance: random.Random) -> bytes:
    """Some bytes after the file meta information and before `end` are others."""
    found = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 5])):
        found[chance.randrange(330, end)] = chance.choice([0, 1, 127, 128, 255, chance.randrange(256)])
    return bytes(found)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["image", "state"])
def test_wrong_bytes_give_a_picture_or_a_typed_error(kind: str, seed: int) -> None:
    chance = random.Random(f"{kind} {seed}")
    shown = 0
    for _ in range(50):
        began = time.process_time()
        notes: list[str] = []
        data = SOUND if kind == "state" else spoilt(SOUND, len(SOUND) - 64 * 64 * 2, chance)
        state = chance.choice(STATES)
        state = spoilt(state, len(state), chance)
        try:
            head = read_header(data)
            found = Image.of(data, head.transfer_syntax, head.data_set_offset)
            applied = None
            if kind == "state":
                kept = read_header(state)
                applied = PresentationState.of(state, kept.transfer_syntax, kept.data_set_offset)
            assert render(found, state=applied, notes=notes).dtype == np.uint8
            real_world_values(found)
            shown += 1
        except IsocenterError as error:
            assert str(error)
        assert time.process_time() - began < SECONDS
    assert shown > 10
