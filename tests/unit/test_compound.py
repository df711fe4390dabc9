"""Compound graphics (PS3.3 C.10.5.1.3): where they are drawn, and what stands in for those that cannot be."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

import isocenter
from isocenter.iod.presentation_state import Graphic, presentation_state
from isocenter.pixels.image import Image
from isocenter.pixels.render import render
from isocenter.pixels.state import PresentationState
from isocenter.wire.part10 import read_header

ROWS, COLUMNS = 100, 120
BLANK = np.zeros((ROWS, COLUMNS), np.uint16)
SIMPLE = Graphic("POLYLINE", [(100, 90), (110, 90)])


def encoded(ds: Dataset) -> bytes:
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


IMAGE = isocenter.create(
    BLANK, modality="CT", pixel_spacing=(1, 1), slice_thickness=1, rescale=(1, 0), window=(50, 100)
)
assert isinstance(IMAGE, Dataset)


def compound(kind: str, points: list[float], **attributes: Any) -> Dataset:
    item = Dataset()
    item.CompoundGraphicInstanceID, item.CompoundGraphicUnits, item.CompoundGraphicType = 7, "PIXEL", kind
    item.GraphicDimensions, item.NumberOfGraphicPoints, item.GraphicData = 2, len(points) // 2, points
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def ticks(*marks: tuple[float, str]) -> list[Dataset]:
    found = []
    for position, label in marks:
        item = Dataset()
        item.TickPosition, item.TickLabel = position, label
        found.append(item)
    return found


def state(item: Dataset, **arguments: Any) -> Dataset:
    """With a simple graphic in the lower right corner that stands in for the compound one."""
    ds = presentation_state(IMAGE, graphics=[SIMPLE], **arguments)
    group = ds.GraphicAnnotationSequence[0]
    group.GraphicObjectSequence[0].CompoundGraphicInstanceID = 7
    group.CompoundGraphicSequence = [item]
    return ds


def shown(item: Dataset, notes: list[str] | None = None, **arguments: Any) -> np.ndarray:
    """Which pixels of the picture are drawn on."""
    data, presented = encoded(IMAGE), encoded(state(item, **arguments))
    head, kept = read_header(data), read_header(presented)
    image = Image.of(data, head.transfer_syntax, head.data_set_offset)
    read = PresentationState.of(presented, kept.transfer_syntax, kept.data_set_offset)
    return np.asarray(render(image, state=read, notes=notes) > 0)


def test_lines_of_pairs_of_points() -> None:
    mask = shown(compound("MULTILINE", [10.5, 20.5, 30.5, 20.5, 50.5, 40.5, 50.5, 60.5]))
    expected = np.zeros_like(mask)
    expected[20, 10:31] = True
    expected[40:61, 50] = True
    assert (mask == expected).all()


def test_a_rectangle_by_two_corners_filled_and_turned() -> None:
    mask = shown(compound("RECTANGLE", [20.5, 30.5, 60.5, 50.5], GraphicFilled="Y"))
    expected = np.zeros_like(mask)
    expected[30:51, 20:61] = True
    assert (mask == expected).all()
    # A quarter of a turn around its middle: 21 high and 41 wide becomes 41 high and 21 wide.
    turned = shown(
        compound(
            "RECTANGLE", [20.5, 30.5, 60.5, 50.5], GraphicFilled="Y", RotationAngle=90.0, RotationPoint=[40.5, 40.5]
        )
    )
    expected[:] = False
    expected[20:61, 30:51] = True
    assert (turned == expected).all()


def test_turns_are_counterclockwise() -> None:
    line = [40.5, 40.5, 70.5, 40.5]
    mask = shown(compound("MULTILINE", line, RotationAngle=90.0, RotationPoint=[40.5, 40.5]))
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max(), set(columns)) == (10, 40, {40})


def test_an_ellipse_by_its_bounding_rectangle() -> None:
    rows, columns = np.nonzero(shown(compound("ELLIPSE", [20, 30, 81, 71], GraphicFilled="Y")))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == pytest.approx((30, 70, 20, 80), abs=1)
    assert len(rows) == pytest.approx(np.pi * 62 * 42 / 4, rel=0.03)


def test_an_infinite_line_reaches_the_borders_of_what_is_displayed() -> None:
    line = compound("INFINITELINE", [50.5, 40.5, 60.5, 40.5])
    assert shown(line)[40].all()
    cut = shown(line, area=((31, 31), (90, 80)))
    assert cut.shape == (50, 60)
    assert cut[10].all()
    steep = shown(compound("INFINITELINE", [20.5, 40.5, 20.5, 39.5]))
    assert steep[:, 20].all()
    outside = shown(compound("INFINITELINE", [50.5, 140.5, 60.5, 140.5]))
    assert not outside.any()


def test_a_gap_is_a_part_of_the_display() -> None:
    mask = shown(compound("INFINITELINE", [0.5, 40.5, 9.5, 40.5], GapLength=0.25, RotationPoint=[60.5, 40.5]))
    gap = np.flatnonzero(~mask[40])
    assert len(gap) == pytest.approx(0.25 * COLUMNS, abs=2)
    assert gap.mean() == pytest.approx(60, abs=1)


def test_arrows_point_at_a_cut_line_from_its_right() -> None:
    """From left to right the right side is below."""
    mask = shown(compound("CUTLINE", [50.5, 40.5, 60.5, 40.5]))
    assert mask[40].all()
    assert not mask[:39].any()
    shafts = np.flatnonzero(mask[55])
    assert list(shafts) == pytest.approx([COLUMNS * 0.25 - 0.5, COLUMNS * 0.75 - 0.5], abs=1)
    heads = mask[44].sum()
    assert heads >= 4
    back = shown(compound("CUTLINE", [60.5, 40.5, 50.5, 40.5]))
    assert not back[42:].any()
    assert back[:39].any()


@pytest.mark.parametrize(("side", "rows"), [("TOP", (33, 40)), ("CENTER", (37, 44)), ("BOTTOM", (40, 47))])
def test_ticks_on_their_side(side: str, rows: tuple[int, int]) -> None:
    marks = ticks((0.0, ""), (0.5, ""), (1.0, ""))
    mask = shown(compound("AXIS", [10.5, 40.5, 90.5, 40.5], MajorTicksSequence=marks, TickAlignment=side))
    assert mask[40, 10:91].all()
    for column in (10, 50, 90):
        found = np.flatnonzero(mask[:, column])
        assert (found.min(), found.max()) == pytest.approx(rows, abs=1)
    assert mask[36:45, 30].sum() == 1


@pytest.mark.parametrize(("side", "below"), [("TOP", False), ("BOTTOM", True)])
def test_labels_of_ticks(side: str, below: bool) -> None:
    marks = ticks((0.25, "10"), (0.75, "20"))
    arguments = {"MajorTicksSequence": marks, "TickAlignment": "CENTER", "TickLabelAlignment": side}
    mask = shown(compound("RULER", [10.5, 50.5, 90.5, 50.5], ShowTickLabel="Y", **arguments))
    plain = shown(compound("RULER", [10.5, 50.5, 90.5, 50.5], ShowTickLabel="N", **arguments))
    rows, columns = np.nonzero(mask & ~plain)
    assert len(rows) > 20
    assert (rows > 50).all() if below else (rows < 50).all()
    assert columns.min() < 35
    assert columns.max() > 65


def test_display_units() -> None:
    mask = shown(compound("RECTANGLE", [0.25, 0.25, 0.75, 0.75], CompoundGraphicUnits="DISPLAY", GraphicFilled="Y"))
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max()) == pytest.approx((25, 75), abs=1)
    assert (columns.min(), columns.max()) == pytest.approx((30, 90), abs=1)


def corner(mask: np.ndarray) -> bool:
    return bool(mask[89:92, 100:111].any())


def test_what_stands_in_is_not_drawn_twice() -> None:
    assert not corner(shown(compound("RECTANGLE", [20, 30, 60, 50])))
    assert corner(shown(compound("RECTANGLE", [20, 30, 60, 50], CompoundGraphicInstanceID=8)))


@pytest.mark.parametrize(
    ("item", "told"),
    [
        (compound("CROSSHAIR", [50, 50]), False),
        (compound("MINE", [1, 2, 3, 4]), False),
        (compound("RECTANGLE", [1, 2, 3]), True),
        (compound("RECTANGLE", [1, 2, 3, float("nan")]), True),
        (compound("MULTILINE", [1, 2, 3, 4, 5, 6]), True),
        (compound("INFINITELINE", [5, 5, 5, 5]), True),
        (compound("AXIS", [5, 5, 9, 5], MajorTicksSequence=ticks((2.0, ""))), True),
        (compound("AXIS", [5, 5, 9, 5], CompoundGraphicUnits="MM"), True),
    ],
    ids=range(8),
)
def test_simple_graphics_stand_in_for_what_cannot_be_drawn(item: Dataset, told: bool) -> None:
    notes: list[str] = []
    assert corner(shown(item, notes))
    assert len(notes) == told
