"""Mask subtraction (PS3.3 C.7.6.10, C.11.13, C.11.19), against the same sums written out here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

import isocenter
from isocenter.errors import PixelError, UsageError
from isocenter.iod.presentation_state import Mask, presentation_state
from isocenter.pixels.render import render
from isocenter.pixels.state import PresentationState
from state_objects import loaded, read

ROWS, COLUMNS, FRAMES = 24, 32, 9
STORED = np.random.default_rng(3).integers(0, 1024, (FRAMES, ROWS, COLUMNS)).astype(np.uint16)
VALUES = STORED.astype(float)
WIDTH = 1024.0


def cine(**attributes: Any) -> Dataset:
    ds = isocenter.create(STORED, frame_time=66.0)
    assert isinstance(ds, Dataset)
    ds.WindowCenter, ds.WindowWidth = 512, 1024
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def greys(difference: np.ndarray, center: float = 0.0, width: float = WIDTH) -> np.ndarray:
    """LINEAR of C.11.2.1.2.1, in 8 bits."""
    return np.rint(255 * np.clip((difference - (center - 0.5)) / (width - 1) + 0.5, 0, 1)).astype(np.uint8)


def subtracted(mask: Mask, number: int, *, notes: list[str] | None = None, **attributes: Any) -> np.ndarray:
    image = cine(**attributes)
    state = presentation_state(image, window=(0.0, WIDTH), mask=mask)
    return render(loaded(image), number, state=read(state), notes=notes)


def test_one_frame_less_another() -> None:
    for number in (1, 5, FRAMES):
        assert (subtracted(Mask((2,)), number) == greys(VALUES[number - 1] - VALUES[1])).all()


def test_masks_and_frames_are_averaged() -> None:
    expected = greys(VALUES[4:7].mean(axis=0) - VALUES[[0, 2, 3]].mean(axis=0))
    assert (subtracted(Mask((1, 3, 4), averaged=3), 5) == expected).all()


def test_where_too_few_frames_follow_nothing_is_subtracted() -> None:
    notes: list[str] = []
    picture = subtracted(Mask((1,), averaged=3), FRAMES - 1, notes=notes)
    assert (picture == greys(VALUES[FRAMES - 2])).all()
    assert notes == [f"frame {FRAMES - 1} has no mask: it is shown as it is"]


def test_time_interval_differencing() -> None:
    assert (subtracted(Mask(offset=2), 6) == greys(VALUES[5] - VALUES[3])).all()
    assert (subtracted(Mask(offset=-1), 6) == greys(VALUES[5] - VALUES[6])).all()
    notes: list[str] = []
    assert (subtracted(Mask(offset=2), 2, notes=notes) == greys(VALUES[1])).all()
    assert notes


@pytest.mark.parametrize("shift", [(3.0, 0.0), (0.0, -2.0), (-4.0, 5.0)])
def test_the_mask_moves_down_and_to_the_right(shift: tuple[float, float]) -> None:
    down, right = (int(way) for way in shift)
    rows = np.clip(np.arange(ROWS) - down, 0, ROWS - 1)
    columns = np.clip(np.arange(COLUMNS) - right, 0, COLUMNS - 1)
    expected = greys(VALUES[4] - VALUES[0][np.ix_(rows, columns)])
    assert (subtracted(Mask((1,), shift=shift), 5) == expected).all()


def test_the_mask_moves_by_parts_of_a_pixel() -> None:
    ramp = np.add.outer(7.0 * np.arange(ROWS), 11.0 * np.arange(COLUMNS)).astype(np.uint16)
    image = cine()
    image.PixelData = np.stack([ramp] * FRAMES).tobytes()
    state = presentation_state(image, window=(0.0, 100.0), mask=Mask((1,), shift=(0.25, -0.5)))
    picture = render(loaded(image), 2, state=read(state))
    # On a ramp a move by parts of a pixel is a constant: 0.25 rows down takes 1.75 away, half a column left adds 5.5.
    expected = greys(np.array(1.75 - 5.5), width=100.0)
    assert (picture[1:-1, 1:-1] == expected).all()


def test_the_modality_lut_comes_first_and_padding_stays_dark() -> None:
    hidden = STORED[4] == STORED[4, 3, 3]
    # LUT outputs: squares, of which the difference is not the square of a difference
    squares = Dataset()
    squares.add_new("LUTDescriptor", "US", [1024, 0, 16])
    squares.ModalityLUTType = "US"
    squares.add_new("LUTData", "OW", (np.arange(1024) ** 2 // 16).astype("<u2").tobytes())
    picture = subtracted(Mask((1,)), 5, ModalityLUTSequence=[squares], PixelPaddingValue=int(STORED[4, 3, 3]))
    table = (np.arange(1024) ** 2 // 16).astype(float)
    expected = greys(table[STORED[4]] - table[STORED[0]])
    assert (picture[~hidden] == expected[~hidden]).all()
    assert (picture[hidden] == 0).all()


def test_without_a_window_all_differences_are_shown() -> None:
    image = cine()
    ds = presentation_state(image, window=(0.0, WIDTH), mask=Mask((1,)))
    del ds.SoftcopyVOILUTSequence
    top = (1 << image.BitsStored) - 1
    expected = np.rint(255 * ((VALUES[3] - VALUES[0]) / (2 * top) + 0.5))
    assert (render(loaded(image), 4, state=read(ds)) == expected).all()


def test_invert_and_the_presentation_lut_come_after() -> None:
    image = cine()
    state = read(presentation_state(image, window=(0.0, WIDTH), mask=Mask((1,)), invert=True))
    assert (render(loaded(image), 5, state=state) == 255 - greys(VALUES[4] - VALUES[0])).all()


# --- the image's own mask --------------------------------------------------------------------------------------------


def item(**attributes: Any) -> Dataset:
    ds = Dataset()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def test_an_image_is_subtracted_when_that_is_asked_for() -> None:
    """The items of C.7.6.10 are for ranges of frames, also backwards in time."""
    first = item(MaskOperation="AVG_SUB", MaskFrameNumbers=[2, 3], ApplicableFrameRange=[1, 1, 4, 5])
    second = item(MaskOperation="REV_TID", TIDOffset=1, ApplicableFrameRange=[6, 9])
    image = loaded(cine(MaskSubtractionSequence=[first, second], RecommendedViewingMode="SUB"))
    window = (0.0, WIDTH)
    mean = VALUES[1:3].mean(axis=0)
    for number, mask in ((1, mean), (4, mean), (5, mean), (6, VALUES[4]), (7, VALUES[3]), (8, VALUES[2])):
        expected = greys(VALUES[number - 1] - mask)
        assert (render(image, number, window=window, subtract=True) == expected).all(), number
    notes: list[str] = []
    assert (render(image, 3, window=window, subtract=True, notes=notes) == greys(VALUES[2])).all()
    assert notes == ["frame 3 has no mask: it is shown as it is"]
    assert (render(image, 4) == greys(VALUES[3], 512)).all()


def test_what_is_linear_to_the_beam_is_subtracted_as_logarithms() -> None:
    ds = cine(MaskSubtractionSequence=[item(MaskOperation="AVG_SUB", MaskFrameNumbers=[1])])
    ds.PixelIntensityRelationship = "LIN"
    difference = np.log(np.maximum(VALUES[4], 1)) - np.log(np.maximum(VALUES[0], 1))
    picture = render(loaded(ds), 5, window=(0.0, 8.0), subtract=True)
    assert (picture == greys(difference, width=8.0)).all()


def test_the_window_of_a_difference_is_found_in_it() -> None:
    image = loaded(cine(MaskSubtractionSequence=[item(MaskOperation="AVG_SUB", MaskFrameNumbers=[1])]))
    low, high = np.percentile(VALUES[4] - VALUES[0], (0.5, 99.5))
    expected = np.rint(255 * np.clip((VALUES[4] - VALUES[0] - low) / (high - low), 0, 1))
    assert np.abs(render(image, 5, subtract=True) - expected).max() <= 1


def test_a_shift_of_a_functional_group() -> None:
    shifts = [
        item(SubtractionItemID=1, MaskSubPixelShift=[9.0, 9.0]),
        item(SubtractionItemID=2, MaskSubPixelShift=[2.0, 0.0]),
    ]
    ds = cine(
        MaskSubtractionSequence=[item(MaskOperation="AVG_SUB", MaskFrameNumbers=[1], SubtractionItemID=2)],
        SharedFunctionalGroupsSequence=[item(FramePixelShiftSequence=shifts)],
    )
    rows = np.clip(np.arange(ROWS) - 2, 0, None)
    expected = greys(VALUES[4] - VALUES[0][rows])
    assert (render(loaded(ds), 5, window=(0.0, WIDTH), subtract=True) == expected).all()


# --- XA/XRF states (C.11.19, C.11.21) --------------------------------------------------------------------------------


def angiography(image: Dataset, mask: Dataset, **shown: Any) -> PresentationState:
    ds = presentation_state(image, window=(0.0, WIDTH), mask=Mask((1,)))
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.11.5"
    ds.MaskSubtractionSequence = [mask]
    display = item(StartTrim=1, StopTrim=5, RecommendedViewingMode="SUB", **shown)
    ds.MultiFramePresentationSequence = [item(FrameDisplaySequence=[display])]
    return read(ds)


def test_a_part_of_the_mask_stays_visible() -> None:
    image = cine()
    state = angiography(image, item(MaskOperation="AVG_SUB", MaskFrameNumbers=[1]), MaskVisibilityPercentage=25.0)
    assert (render(loaded(image), 4, state=state) == greys(VALUES[3] - 0.75 * VALUES[0])).all()
    assert (render(loaded(image), 7, state=state) == greys(VALUES[6] - VALUES[0])).all()
    native = angiography(image, item(MaskOperation="AVG_SUB", MaskFrameNumbers=[1]))
    assert (render(loaded(image), 4, state=native) == greys(VALUES[3] - VALUES[0])).all()


def test_regions_move_each_in_its_way() -> None:
    """Of several regions that cover a pixel the last counts; outside of all nothing moves."""
    box = [3, 3, 3, 20, 14, 20, 14, 3]
    inner = [8, 8, 8, 12, 12, 12, 12, 8]
    shifts = item(
        PixelShiftFrameRange=[2, 6],
        RegionPixelShiftSequence=[
            item(VerticesOfTheRegion=box, MaskSubPixelShift=[2.0, 0.0]),
            item(VerticesOfTheRegion=inner, MaskSubPixelShift=[0.0, 3.0]),
        ],
    )
    mask = item(MaskOperation="AVG_SUB", MaskFrameNumbers=[1], PixelShiftSequence=[shifts])
    image = cine()
    moved = VALUES[0].copy()
    moved[2:14, 2:20] = VALUES[0][0:12, 2:20]
    moved[7:12, 7:12] = VALUES[0][7:12, 4:9]
    picture = render(loaded(image), 4, state=angiography(image, mask))
    assert (picture == greys(VALUES[3] - moved)).all()
    assert (render(loaded(image), 8, state=angiography(image, mask)) == greys(VALUES[7] - VALUES[0])).all()


def test_tables_to_logarithms_for_some_frames() -> None:
    logarithms = np.rint(90 * np.log(np.arange(1024) + 1.0)).astype("<u2")
    table = item(LUTFrameRange=[1, FRAMES], LUTFunction="TO_LOG")
    table.add_new("LUTDescriptor", "US", [1024, 0, 16])
    table.add_new("LUTData", "OW", logarithms.tobytes())
    mask = item(MaskOperation="TID", TIDOffset=1, PixelIntensityRelationshipLUTSequence=[table])
    image = cine()
    expected = greys(logarithms[STORED[4]].astype(float) - logarithms[STORED[3]])
    assert (render(loaded(image), 5, state=angiography(image, mask)) == expected).all()


# --- what cannot be --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (item(MaskOperation="AVG_SUB"), "numbers of its frames"),
        (item(MaskOperation="AVG_SUB", MaskFrameNumbers=[0]), "image has not"),
        (item(MaskOperation="AVG_SUB", MaskFrameNumbers=[1, 10]), "image has not"),
        (item(MaskOperation="AVG_SUB", MaskFrameNumbers=[1] * 300), "more than 200 frames"),
        (item(MaskOperation="MAGIC"), "not known"),
        (item(), "not known"),
        (item(MaskOperation="TID", MaskSubPixelShift=[float("nan"), 0.0]), "two values"),
        (item(MaskOperation="TID", MaskSubPixelShift=[1.0]), "two values"),
    ],
)
def test_masks_that_cannot_be(mask: Dataset, message: str) -> None:
    image = loaded(cine(MaskSubtractionSequence=[mask]))
    with pytest.raises(PixelError, match=message):
        render(image, 5, subtract=True)


@pytest.mark.parametrize(
    ("mask", "window"),
    [
        (Mask((0,)), (0, 9)), (Mask((FRAMES + 1,)), (0, 9)), (Mask(()), (0, 9)), (Mask((1,), averaged=0), (0, 9)),
        (Mask(offset=0), (0, 100)), (Mask((1,), shift=(float("inf"), 0)), (0, 100)), (Mask((1,)), None),
    ],
    ids=str,
)  # fmt: skip
def test_masks_that_are_not_written(mask: Mask, window: tuple[float, float] | None) -> None:
    with pytest.raises(UsageError, match=r"mask|window"):
        presentation_state(cine(), mask=mask, window=window)


def test_a_shift_far_away_is_the_edge() -> None:
    picture = subtracted(Mask((1,), shift=(1e30, 0.0)), 5)
    assert (picture == greys(VALUES[4] - VALUES[0][:1])).all()


# --- the Modality LUT of angiography ---------------------------------------------------------------------------------


@pytest.mark.parametrize("last", [1, 2, 3])
def test_the_way_back_to_the_beam_is_not_displayed(last: int) -> None:
    """C.8.7.1.1.2: the Modality LUT of these classes is not in the chain; a state's is."""
    ds = cine(RescaleSlope="-2", RescaleIntercept="2048")
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = f"1.2.840.10008.5.1.4.1.1.12.{last}"
    assert (render(loaded(ds), 1) == greys(VALUES[0], 512)).all()
    assert (render(loaded(ds), 1, state=read(presentation_state(ds))) == greys(VALUES[0], 512)).all()
    state = presentation_state(ds)
    state.RescaleSlope, state.RescaleIntercept, state.RescaleType = "-1", "1024", "US"
    assert (render(loaded(ds), 1, state=read(state)) == greys(1024 - VALUES[0], 512)).all()
