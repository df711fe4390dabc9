"""Presentation states: written by iod/presentation_state.py, read by pixels/state.py, applied by render."""

from __future__ import annotations

from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

import isocenter
from isocenter.errors import PixelError, UsageError
from isocenter.iod.presentation_state import Graphic, Label, Layer, ShutterShape, presentation_state
from isocenter.pixels import icc
from isocenter.pixels.render import render
from isocenter.pixels.resample import resize
from isocenter.pixels.state import PresentationState
from state_objects import loaded, read

RED = (35000, 53000, 50000)
STORED = np.random.default_rng(7).integers(0, 4096, (30, 40), np.uint16)


def ct(stored: np.ndarray = STORED, **attributes: Any) -> Dataset:
    ds = isocenter.create(stored, modality="CT", pixel_spacing=(0.5, 0.5), slice_thickness=1.0, rescale=(1, -1024))
    assert isinstance(ds, Dataset)
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def shown(
    ds: Dataset, *, size: tuple[int, int] | None = None, notes: list[str] | None = None, **arguments: Any
) -> np.ndarray:
    return render(loaded(ds), state=read(presentation_state(ds, **arguments)), size=size, notes=notes)


def window(center: float, width: float) -> np.ndarray:
    return np.rint(255 * np.clip((STORED - 1024.0 - (center - 0.5)) / (width - 1) + 0.5, 0, 1)).astype(np.uint8)


# --- greys ----------------------------------------------------------------------------------------------------------


def test_a_state_without_arguments_shows_the_image_as_it_is() -> None:
    image = ct(WindowCenter=40, WindowWidth=400)
    assert (shown(image) == render(loaded(image))).all()
    assert (shown(image) == window(40, 400)).all()


def test_its_window_stands_in_for_the_images() -> None:
    assert (shown(ct(WindowCenter=0, WindowWidth=1), window=(300, 2000)) == window(300, 2000)).all()


def test_what_a_state_does_not_say_is_the_identity() -> None:
    """PS3.4 N.2: without Modality and VOI LUT all stored values count, whatever the image says."""
    image = ct(WindowCenter=0, WindowWidth=1)
    state = presentation_state(image)
    del state.SoftcopyVOILUTSequence, state.RescaleSlope, state.RescaleIntercept, state.RescaleType
    expected = np.rint(STORED * (255 / 65535)).astype(np.uint8)
    assert (render(loaded(image), state=read(state)) == expected).all()


def test_photometric_interpretation_does_not_count_but_the_shape_does() -> None:
    image = ct(WindowCenter=40, WindowWidth=400, PhotometricInterpretation="MONOCHROME1")
    state = presentation_state(image)
    assert state.PresentationLUTShape == "INVERSE"
    assert (render(loaded(image), state=read(state)) == 255 - window(40, 400)).all()
    state.PresentationLUTShape = "IDENTITY"
    assert (render(loaded(image), state=read(state)) == window(40, 400)).all()
    assert (shown(image, invert=True) == window(40, 400)).all()


def test_window_and_invert_of_the_caller_come_on_top() -> None:
    image = ct(WindowCenter=40, WindowWidth=400)
    state = read(presentation_state(image, invert=True))
    given = render(loaded(image), state=state, window=(300, 2000), invert=True)
    assert (given == window(300, 2000)).all()


def test_windows_of_several_images_name_them() -> None:
    first, second = ct(WindowCenter=40, WindowWidth=400), ct(WindowCenter=300, WindowWidth=2000)
    second.StudyInstanceUID = first.StudyInstanceUID
    state = presentation_state([first, second])
    assert len(state.SoftcopyVOILUTSequence) == 2
    assert len(state.DisplayedAreaSelectionSequence) == 1
    assert (render(loaded(first), state=read(state)) == window(40, 400)).all()
    assert (render(loaded(second), state=read(state)) == window(300, 2000)).all()
    assert [r.instance for r in read(state).references] == [first.SOPInstanceUID, second.SOPInstanceUID]


def test_a_pseudo_color_state_gives_greys_their_colours() -> None:
    ramp = np.random.default_rng(1).integers(0, 256, (7, 3), np.uint8)
    image = ct(WindowCenter=40, WindowWidth=400)
    level = np.clip((STORED - 1024.0 - 39.5) / 399 + 0.5, 0, 1)
    expected = ramp[np.rint(level * 6).astype(int)]
    assert (shown(image, palette=ramp) == expected).all()
    wide = icc.space("adobergb")
    assert (shown(image, palette=ramp, icc_profile=wide) == icc.convert(expected, wide, icc.space("srgb"))).all()


def supplemented() -> Dataset:
    """Greys below 3000, and from there on 4 colours (C.7.6.19)."""
    image = ct(WindowCenter=40, WindowWidth=400, PixelPresentation="COLOR")
    for channel, name in enumerate(("Red", "Green", "Blue")):
        setattr(image, f"{name}PaletteColorLookupTableDescriptor", [4, 3000, 16])
        entries = np.array([10, 60, 110, 160], "<u2") * 257 + 257 * 20 * channel
        setattr(image, f"{name}PaletteColorLookupTableData", entries.tobytes())
    return image


def test_colours_among_greys_stay_under_a_grayscale_state() -> None:
    """PS3.4 N.2: a state's greys are for the grey values, and the colours are those of the image."""
    picture = shown(supplemented(), window=(-500, 800))
    coloured = STORED >= 3000
    entries = np.array([10, 60, 110, 160])[np.minimum(STORED[coloured] - 3000, 3)]
    assert (picture[coloured] == entries[:, None] + [0, 20, 40]).all()
    assert (picture[~coloured] == window(-500, 800)[~coloured][:, None]).all()


def test_a_pseudo_color_state_takes_their_place() -> None:
    palette = np.stack([np.arange(256), 255 - np.arange(256), np.arange(256) // 2], axis=1).astype(np.uint8)
    picture = shown(supplemented(), window=(-500, 800), palette=palette)
    assert (picture == palette[window(-500, 800)]).all()


def variable(image: Dataset, items: list[tuple[float, float, list[int]]], **arguments: Any) -> PresentationState:
    """A Variable Modality LUT state (A.33.8): slope, intercept and the frames that have them."""
    ds = presentation_state(image, **arguments)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.11.12"
    for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType"):
        del ds[keyword]
    ds.VariableModalityLUTSequence = []
    for slope, intercept, frames in items:
        reference, item = Dataset(), Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
        reference.ReferencedFrameNumber = frames
        item.ReferencedImageSequence = [reference]
        item.RescaleSlope, item.RescaleIntercept, item.RescaleType = slope, intercept, "US"
        ds.VariableModalityLUTSequence.append(item)
    return read(ds)


@pytest.mark.parametrize("palette", [None, np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)])
def test_a_modality_lut_for_each_frame(palette: np.ndarray | None) -> None:
    image = isocenter.create(np.stack([STORED] * 3), frame_time=40.0)
    assert isinstance(image, Dataset)
    image.RescaleSlope, image.RescaleIntercept, image.RescaleType = 1, 0, "US"
    state = variable(image, [(1, -1024, [1]), (2, -3000, [2])], window=(100, 2000), palette=palette)
    for number, values in ((1, STORED - 1024.0), (2, 2.0 * STORED - 3000), (3, STORED.astype(float))):
        expected = np.rint(255 * np.clip((values - 99.5) / 1999 + 0.5, 0, 1))
        picture = render(loaded(image), number, state=state)
        assert (picture == (expected if palette is None else expected[..., None])).all(), number


@pytest.mark.parametrize(
    ("last", "what"),
    [
        (6, "planar reconstructions"),
        (7, "planar"),
        (9, "volumes"),
        (10, "volumes"),
        (11, "vol"),
    ],
)
def test_states_of_volumes_are_refused_by_name(last: int, what: str) -> None:
    ds = presentation_state(ct())
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = f"1.2.840.10008.5.1.4.1.1.11.{last}"
    with pytest.raises(PixelError, match=f"{what}.* not applied"):
        read(ds)


def test_a_color_state_turns_colours() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (8, 9, 3), np.uint8)
    ds = isocenter.create(pixels)
    assert isinstance(ds, Dataset)
    assert (shown(ds, rotation=90) == np.rot90(pixels, -1)).all()


# --- space ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", [False, True])
def test_turned_clockwise_then_flipped(rotation: int, flip: bool) -> None:
    image = ct(WindowCenter=40, WindowWidth=400)
    expected = np.rot90(window(40, 400), -rotation // 90)
    assert (shown(image, rotation=rotation, flip=flip) == (expected[:, ::-1] if flip else expected)).all()


def test_the_displayed_area_may_lie_beyond_the_image() -> None:
    image = ct(WindowCenter=40, WindowWidth=400)
    expected = np.zeros((25, 20), np.uint8)
    expected[5:, 4:] = window(40, 400)[:20, :16]
    assert (shown(image, area=((-3, -4), (16, 20))) == expected).all()
    assert (shown(image, area=((11, 6), (12, 8))) == window(40, 400)[5:8, 10:12]).all()


def test_magnification_viewport_and_pixel_shape() -> None:
    image = ct(WindowCenter=40, WindowWidth=400)
    assert (shown(image, magnification=2.0) == resize(window(40, 400), 60, 80)).all()
    assert shown(image, size=(100, 100)).shape == (75, 100)
    assert shown(image, size=(100, 100), rotation=90).shape == (100, 75)
    tall = ct(WindowCenter=40, WindowWidth=400, PixelSpacing=[1.0, 0.5])
    assert shown(tall).shape == (60, 40)
    assert shown(tall, rotation=90).shape == (40, 60)


def test_an_area_too_large_to_be_shown() -> None:
    with pytest.raises(PixelError, match="displayed area"):
        shown(ct(), area=((1, 1), (100_000, 100_000)))


# --- over the image -------------------------------------------------------------------------------------------------


def test_shutter_with_its_value() -> None:
    image = ct(WindowCenter=40, WindowWidth=400)
    picture = shown(image, shutter=ShutterShape(rectangle=(5, 30, 3, 20), grey=0x8000))
    expected = np.full((30, 40), 128, np.uint8)
    expected[2:20, 4:30] = window(40, 400)[2:20, 4:30]
    assert (picture == expected).all()


def test_a_shutter_over_colours_has_the_same_grey() -> None:
    ds = isocenter.create(np.full((30, 40, 3), 200, np.uint8))
    assert isinstance(ds, Dataset)
    picture = shown(ds, shutter=ShutterShape(circle=(15, 20, 5), grey=0x8000))
    assert np.abs(picture[0, 0].astype(int) - 128).max() <= 1
    assert picture[14, 19].tolist() == [200, 200, 200]


def overlaid(image: Dataset, group: int, bits: np.ndarray) -> Dataset:
    for element, vr, value in (
        (0x10, "US", bits.shape[0]), (0x11, "US", bits.shape[1]), (0x40, "CS", "G"), (0x50, "SS", [1, 1]),
        (0x100, "US", 1), (0x102, "US", 0),
        (0x3000, "OW", np.packbits(bits.reshape(-1), bitorder="little").tobytes()),
    ):  # fmt: skip
        image.add_new((group, element), vr, value)
    return image


CHECKERS = np.indices((30, 40)).sum(axis=0) % 2 == 1


def test_only_overlays_that_are_activated_are_shown_in_their_layer() -> None:
    image = overlaid(ct(WindowCenter=40, WindowWidth=400), 0x6002, CHECKERS)
    assert (shown(image) == np.where(CHECKERS, 255, window(40, 400))).all()
    assert (shown(image, overlays=False) == window(40, 400)).all()
    grey = shown(image, layers=[Layer("OVERLAYS", 0x4000)])
    assert (grey == np.where(CHECKERS, 64, window(40, 400))).all()
    red = shown(image, layers=[Layer("OVERLAYS", lab=RED)])
    assert red.shape == (30, 40, 3)
    assert (red[CHECKERS] == red[CHECKERS][0]).all()
    assert red[CHECKERS][0, 0] > 200 > 60 > red[CHECKERS][0, 1]


def test_a_bitmap_shutter_hides_where_its_bits_are() -> None:
    image = ct(WindowCenter=40, WindowWidth=400)
    state = overlaid(presentation_state(image), 0x6004, CHECKERS)
    state.add_new((0x6004, 0x1001), "CS", "")
    state.ShutterShape, state.ShutterOverlayGroup, state.ShutterPresentationValue = "BITMAP", 0x6004, 0x2020
    assert (render(loaded(image), state=read(state)) == np.where(CHECKERS, 32, window(40, 400))).all()


# --- graphics -------------------------------------------------------------------------------------------------------

BLANK = np.zeros((100, 120), np.uint16)


def drawn(*graphics: Graphic | Label, size: tuple[int, int] | None = None, **more: Any) -> np.ndarray:
    notes: list[str] = []
    picture = shown(ct(BLANK, WindowCenter=40, WindowWidth=400), graphics=graphics, size=size, notes=notes, **more)
    assert notes == []
    return picture


def box(picture: np.ndarray) -> tuple[int, int, int, int]:
    """First and last row, first and last column that are lit."""
    rows, columns = np.nonzero(picture if picture.ndim == 2 else picture.max(axis=2))
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())


def test_a_filled_square_covers_its_pixels() -> None:
    """Column 10.0 to 20.0 is the eleventh to the twentieth pixel; a line's pixel more is forgiven."""
    square = [(10.0, 30.0), (20.0, 30.0), (20.0, 50.0), (10.0, 50.0), (10.0, 30.0)]
    top, bottom, left, right = box(drawn(Graphic("POLYLINE", square, filled=True)))
    assert (top in (29, 30), bottom in (49, 50), left in (9, 10), right in (19, 20)) == (True,) * 4


def test_circle_and_ellipse_have_their_size() -> None:
    circle = drawn(Graphic("CIRCLE", [(60, 50), (60, 20)]))
    assert np.abs(np.array(box(circle)) - (20, 80, 30, 90)).max() <= 1
    assert circle[50, 60] == 0
    assert np.hypot(*(np.argwhere(circle) + 0.5 - (50, 60)).T) == pytest.approx(30, abs=1.2)
    ellipse = drawn(Graphic("ELLIPSE", [(20, 50), (100, 50), (60, 40), (60, 60)], filled=True))
    assert np.abs(np.array(box(ellipse)) - (40, 60, 20, 100)).max() <= 1
    assert ellipse[50, 60] == 255


def test_a_smooth_line_passes_its_points() -> None:
    points = [(10.5, 10.5), (50.5, 80.5), (90.5, 20.5), (110.5, 60.5)]
    curve = drawn(Graphic("INTERPOLATED", points))
    for x, y in points:
        assert curve[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2].max() == 255


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", [False, True])
def test_graphics_stay_on_what_they_mark(rotation: int, flip: bool) -> None:
    """A bright pixel in the image and a graphic around it come together again in a turned, cut and larger picture."""
    stored = np.zeros((100, 120), np.uint16)
    stored[70, 30] = 4000
    around = Graphic("CIRCLE", [(30.5, 70.5), (35.5, 70.5)], layer="MARKS")
    image = ct(stored, WindowCenter=40, WindowWidth=400)
    picture = shown(
        image, graphics=[around], layers=[Layer("MARKS", lab=RED)], rotation=rotation, flip=flip,
        area=((11, 41), (70, 95)), size=(600, 600),
    )  # fmt: skip
    bright = np.argwhere(picture.min(axis=2) > 100).mean(axis=0)
    ring = np.argwhere((picture[..., 0] > 150) & (picture[..., 1] < 60)).astype(float)
    assert len(ring) > 200
    assert np.abs((ring.max(axis=0) + ring.min(axis=0)) / 2 - bright).max() < 2
    assert np.hypot(*(ring - bright).T) == pytest.approx(5 * 10, abs=4)


def test_display_units_are_parts_of_the_displayed_area() -> None:
    line = Graphic("POLYLINE", [(0.25, 0.5), (0.75, 0.5)], units="DISPLAY")
    top, bottom, left, right = box(drawn(line, size=(600, 600), rotation=90))
    assert abs(top - 300) <= 1 >= abs(bottom - 300)
    assert abs(left - 125) <= 1 >= abs(right - 375)


def test_text_fills_its_box_in_any_turn() -> None:
    label = Label("HEART\r\n12.5 mm", box=((20, 30), (80, 70)))
    top, bottom, left, right = box(drawn(label, size=(600, 500)))
    assert 145 <= top < bottom <= 360
    assert 95 <= left < right <= 405
    assert right - left > 150
    low = box(drawn(label, size=(600, 500), rotation=180))
    assert low[0] >= 145
    assert low[2] >= 195


def test_text_beside_its_anchor_and_text_right_in_its_box() -> None:
    left = box(drawn(Label("A", anchor=(60, 50))))
    assert 60 <= left[2] <= 75
    wide = drawn(Label("I", box=((10, 10), (110, 22)), justification="RIGHT"))
    assert box(wide)[2] > 95


def test_letters_can_be_read_on_white() -> None:
    white = np.full((100, 120), 4000, np.uint16)
    label = Label("HEART", box=((20, 30), (100, 70)))
    picture = shown(ct(white, WindowCenter=40, WindowWidth=400), graphics=[label])
    assert (picture < 60).any()


def test_what_cannot_be_drawn_is_noted() -> None:
    image = ct(BLANK, WindowCenter=40, WindowWidth=400)
    state = presentation_state(image, graphics=[Graphic("CIRCLE", [(60, 50), (60, 20)])])
    state.GraphicAnnotationSequence[0].GraphicObjectSequence[0].GraphicType = "SQUARE"
    notes: list[str] = []
    assert not render(loaded(image), state=read(state), notes=notes).any()
    assert len(notes) == 1
    assert notes[0].startswith("an annotation is left out")


# --- what is refused ------------------------------------------------------------------------------------------------


def test_a_state_of_another_image_is_refused() -> None:
    with pytest.raises(PixelError, match="not made for this image"):
        render(loaded(ct()), state=read(presentation_state(ct())))


def test_frames_that_a_state_does_not_name_are_refused() -> None:
    ds = isocenter.create(np.zeros((3, 8, 8), np.uint8))
    assert isinstance(ds, Dataset)
    state = presentation_state(ds)
    state.ReferencedSeriesSequence[0].ReferencedImageSequence[0].ReferencedFrameNumber = [1, 3]
    assert render(loaded(ds), 3, state=read(state)).shape == (8, 8)
    with pytest.raises(PixelError, match="not made for this image"):
        render(loaded(ds), 2, state=read(state))


def test_an_image_is_no_state() -> None:
    with pytest.raises(PixelError, match="no softcopy presentation state"):
        read(ct())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rotation": 45}, "rotation"),
        ({"window": (40, 0.5)}, "window"),
        ({"window": (40, 400), "function": "CUBIC"}, "function"),
        ({"area": ((5, 5), (4, 9))}, "area"),
        ({"magnification": 0.0}, "magnification"),
        ({"shutter": ShutterShape()}, "shutter"),
        ({"palette": np.zeros((4, 2), np.uint8)}, "palette"),
        ({"graphics": [Graphic("CIRCLE", [(1, 1)])]}, "graphics"),
        ({"graphics": [Graphic("POLYLINE", [(1, 1), (2, 2)], filled=True)]}, "graphics"),
        ({"graphics": [Label("A")]}, "graphics"),
        ({"graphics": [Graphic("POLYLINE", [(k % 100, k % 90) for k in range(9000)])]}, "graphics"),
        ({"label": "small"}, "label"),
    ],
    ids=range(12),
)
def test_arguments_that_make_no_state(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        presentation_state(ct(), **arguments)


def test_the_same_seed_gives_the_same_uids() -> None:
    image = ct()
    first, second = (presentation_state(image, uid_seed="x") for _ in range(2))
    assert first.SOPInstanceUID == second.SOPInstanceUID
    assert pydicom.uid.UID(first.SOPInstanceUID).is_valid


def test_a_state_cannot_make_a_picture_without_bounds() -> None:
    image = ct(BLANK)
    assert 1 << 23 < shown(image, magnification=1e6).size <= 1 << 24
    with pytest.raises(PixelError, match="displayed area"):
        shown(image, area=((1, 1), (8_000, 8_000)))
    circle = Graphic("CIRCLE", [(60, 50), (60, 1)])
    notes: list[str] = []
    picture = shown(image, graphics=[circle] * 2001, notes=notes)
    assert picture.any()
    assert notes == ["of 2001 annotations 2000 are drawn"]
    far = shown(image, graphics=[Graphic("POLYLINE", [(-1e30, 50), (1e30, 50)])], notes=notes)
    assert (far[49:51] > 0).any()


def test_annotations_that_cover_too_much_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isocenter.pixels.annotate._MOST_PAPER", 20_000)
    notes: list[str] = []
    whole = Graphic("POLYLINE", [(0, 0), (120, 0), (120, 100), (0, 0)], filled=True)
    shown(ct(BLANK), graphics=[whole] * 3, notes=notes)
    assert len(notes) == 2
    assert "cover more" in notes[0]
