"""Presentation states beside highdicom: what it writes we apply, and what we write it reads and computes alike.

highdicom makes states and knows the transforms in them, so its `apply` is the expectation of our picture.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from isocenter.iod.presentation_state import Graphic, Label, presentation_state
from isocenter.pixels.image import Image
from isocenter.pixels.render import render
from isocenter.pixels.state import PresentationState
from isocenter.wire.part10 import read_header

pytestmark = pytest.mark.interop

CT = "pydicom/test_files/CT_small.dcm"
RAMP = np.stack([np.arange(256) ** 2 // 255, np.arange(256), 255 - np.arange(256)], axis=1).astype(np.uint8)


@pytest.fixture
def image(corpus: Path) -> Dataset:
    return pydicom.dcmread(corpus / CT)


@pytest.fixture
def show(corpus: Path, tmp_path: Path) -> Any:
    def picture(state: Dataset) -> np.ndarray:
        path = tmp_path / "state.dcm"
        state.save_as(path, enforce_file_format=True)
        buffers = [(corpus / CT).read_bytes(), path.read_bytes()]
        (data, head), (presented, kept) = ((one, read_header(one)) for one in buffers)
        found = Image.of(data, head.transfer_syntax, head.data_set_offset)
        read = PresentationState.of(presented, kept.transfer_syntax, kept.data_set_offset)
        notes: list[str] = []
        shown = render(found, state=read, notes=notes)
        assert notes == []
        return shown

    return picture


def read_file(ds: Dataset, path: Path, kind: Any) -> Any:
    ds.save_as(path, enforce_file_format=True)
    data = path.read_bytes()
    meta = read_header(data)
    return kind.of(data, meta.transfer_syntax, meta.data_set_offset)


def made(kind: Any, image: Dataset, **arguments: Any) -> Dataset:
    return kind(
        referenced_images=[image], series_instance_uid=hd.UID(), series_number=9, sop_instance_uid=hd.UID(),
        instance_number=1, manufacturer="A", manufacturer_model_name="B", software_versions="1",
        device_serial_number="2", content_label="STATE", **arguments,
    )  # fmt: skip


def units(image: Dataset) -> np.ndarray:
    transform = hd.ModalityLUTTransformation(float(image.RescaleIntercept), float(image.RescaleSlope), "HU")
    return transform.apply(image.pixel_array, dtype=np.float64)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_its_windows_are_what_it_computes(function: str, image: Dataset, show: Any) -> None:
    voi = hd.pr.SoftcopyVOILUTTransformation(40.0, 400.0, voi_lut_function=function)
    state = made(hd.pr.GrayscaleSoftcopyPresentationState, image, voi_lut_transformations=[voi])
    expected = hd.pixels.apply_voi_window(units(image), 40.0, 400.0, function, (0.0, 255.0))
    assert np.abs(show(state) - expected).max() <= 0.51


def test_its_voi_luts_are_what_it_computes(image: Dataset, show: Any) -> None:
    table = hd.VOILUT(0, (np.linspace(0, 1, 3000) ** 1.7 * 65535).astype(np.uint16))
    voi = hd.pr.SoftcopyVOILUTTransformation(voi_luts=[table])
    state = made(hd.pr.GrayscaleSoftcopyPresentationState, image, voi_lut_transformations=[voi])
    expected = table.apply(np.clip(units(image), 0, None).astype(np.int32)) / 257.0
    assert np.abs(show(state) - expected).max() <= 0.51


def test_its_colours_are_what_it_computes(image: Dataset, show: Any) -> None:
    channels = [
        hd.PaletteColorLUT(0, RAMP[:, index].astype(np.uint16) * 257, color)
        for index, color in enumerate(("red", "green", "blue"))
    ]
    # highdicom 0.28 takes no window for this class and copies that of the image.
    image.WindowCenter, image.WindowWidth = 40, 400
    state = made(
        hd.pr.PseudoColorSoftcopyPresentationState, image,
        palette_color_lut_transformation=hd.PaletteColorLUTTransformation(*channels),
    )  # fmt: skip
    del state.ICCProfile  # the colours themselves are looked at
    levels = np.rint(hd.pixels.apply_voi_window(units(image), 40.0, 400.0, output_range=(0.0, 255.0))).astype(np.uint8)
    expected = hd.PaletteColorLUTTransformation(*channels).apply(levels) // 257
    assert (show(state) == expected).all()


def test_its_advanced_blending_is_what_it_computes(image: Dataset, tmp_path: Path) -> None:
    """One image twice, in two palettes and windows: both in equal parts, and the first over the second."""
    windows, ramps = ((40.0, 400.0), (300.0, 900.0)), (RAMP, RAMP[::-1])
    palettes, items = [], []
    rescale = hd.ModalityLUTTransformation(float(image.RescaleIntercept), float(image.RescaleSlope), "HU")
    for number, (window, ramp) in enumerate(zip(windows, ramps, strict=True), 1):
        names = enumerate(("red", "green", "blue"))
        channels = [hd.PaletteColorLUT(0, ramp[:, at].astype(np.uint16) * 257, color) for at, color in names]
        palettes.append(hd.PaletteColorLUTTransformation(*channels))
        voi = hd.pr.SoftcopyVOILUTTransformation(*window)
        items.append(hd.pr.AdvancedBlending([image], number, rescale, [voi], palettes[-1]))
    inputs = [hd.pr.BlendingDisplayInput(number) for number in (1, 2)]
    found = read_file(image, tmp_path / "image.dcm", Image)
    parts = []
    for window, palette in zip(windows, palettes, strict=True):
        levels = hd.pixels.apply_voi_window(units(image), *window, output_range=(0.0, 255.0))
        parts.append((palette.apply(np.rint(levels).astype(np.uint8)) // 257).astype(float))
    for mode, opacity, share in (("EQUAL", None, 0.5), ("FOREGROUND", 0.3, 0.3)):
        display = hd.pr.BlendingDisplay(mode, inputs, relative_opacity=opacity)
        made_state = made(hd.pr.AdvancedBlendingPresentationState, image, blending=items, blending_display=[display])
        del made_state.ICCProfile  # the colours themselves are looked at
        state = read_file(made_state, tmp_path / f"{mode}.dcm", PresentationState)
        picture = render(found, state=state, over={2: (found, 1)})
        assert np.abs(picture - (share * parts[0] + (1 - share) * parts[1])).max() <= 0.51


def test_its_graphics_are_ours(image: Dataset, show: Any) -> None:
    """The same shapes, written by it and by us, are the same picture."""
    line, circle = np.array([[20.0, 30.0], [60.0, 80.0], [90.0, 40.0]]), np.array([[64.0, 64.0], [84.0, 64.0]])
    layer = hd.pr.GraphicLayer("GRAPHICS", 1, display_color=hd.color.CIELabColor(100, 0, 0))
    objects = [hd.pr.GraphicObject("POLYLINE", line, "PIXEL"), hd.pr.GraphicObject("CIRCLE", circle, "PIXEL")]
    text = hd.pr.TextObject("12 mm", "PIXEL", bounding_box=(10.0, 90.0, 50.0, 105.0), text_justification="LEFT")
    annotation = hd.pr.GraphicAnnotation([image], layer, graphic_objects=objects, text_objects=[text])
    voi = hd.pr.SoftcopyVOILUTTransformation(40.0, 400.0)
    theirs = made(
        hd.pr.GrayscaleSoftcopyPresentationState, image, voi_lut_transformations=[voi],
        graphic_annotations=[annotation], graphic_layers=[layer],
    )  # fmt: skip
    ours = presentation_state(
        image,
        window=(40.0, 400.0),
        graphics=[
            Graphic("POLYLINE", [(x, y) for x, y in line]),
            Graphic("CIRCLE", [(x, y) for x, y in circle]),
            Label("12 mm", box=((10, 90), (50, 105))),
        ],
    )
    grey = show(ours)
    plain = show(presentation_state(image, window=(40.0, 400.0)))
    assert np.count_nonzero(grey != plain) > 150
    # Its layer has a colour, CIELab white, so that its picture is one of colours.
    assert np.abs(show(theirs).astype(int) - grey[:, :, None]).max() <= 1


def test_it_reads_ours(image: Dataset, tmp_path: Path) -> None:
    """Its own classes take the sequences of our states, and compute from them what we show."""
    state = presentation_state(image, window=(40.0, 400.0), function="SIGMOID", palette=RAMP)
    state.save_as(tmp_path / "state.dcm", enforce_file_format=True)
    read = pydicom.dcmread(tmp_path / "state.dcm")
    palette = hd.PaletteColorLUTTransformation.extract_from_dataset(read)
    for index, table in enumerate((palette.red_lut, palette.green_lut, palette.blue_lut)):
        assert (table.lut_data == RAMP[:, index].astype(np.uint16) * 257).all()
    item = read.SoftcopyVOILUTSequence[0]
    voi = hd.pr.SoftcopyVOILUTTransformation(item.WindowCenter, item.WindowWidth, voi_lut_function=item.VOILUTFunction)
    levels = voi.apply(units(image), output_range=(0.0, 1.0))
    assert levels == pytest.approx(1 / (1 + np.exp(-4 * (units(image) - 40) / 400)))
