"""Segmentations as pictures: labels and fractions are seen without a window (PS3.3 C.8.20.2)."""

from __future__ import annotations

import numpy as np
import pytest

from isocenter.pixels.greys import segments_window
from isocenter.pixels.image import Image
from isocenter.pixels.render import render
from pixel_objects import data_set, element, image, sequence

LABELS = np.array([0, 1, 2, 3, 4, 5] * 4, np.uint8).reshape(4, 6)


def segmentation(kind: str, *more: bytes, pixels: np.ndarray = LABELS, window: bytes = b"") -> Image:
    last = element(0x00620001, "CS", kind) + b"".join(more)
    bits = 8 * pixels.itemsize
    return image(data_set(pixels.tobytes(), allocated=bits, extra=window, last=last))


def segments(*numbers: int) -> bytes:
    return sequence(0x00620002, *(element(0x00620004, "US", number) for number in numbers))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_labels_are_greys_from_nothing_to_the_largest(dtype: type) -> None:
    found = segmentation("LABELMAP", segments(0, 5, 1, 2, 3, 4), pixels=LABELS.astype(dtype))
    np.testing.assert_array_equal(render(found), LABELS * 51)


def test_a_label_is_the_same_grey_in_every_frame() -> None:
    """The list of segments decides, not the frame: here with a label that it does not have."""
    found = segmentation("LABELMAP", segments(1, 15))
    np.testing.assert_array_equal(render(found), LABELS * 17)


def test_fractions_go_up_to_the_largest() -> None:
    found = segmentation("FRACTIONAL", element(0x0062000E, "US", 5), segments(1))
    np.testing.assert_array_equal(render(found), LABELS * 51)


def test_a_window_of_the_object_or_of_the_caller_goes_first() -> None:
    window = element(0x00281050, "DS", "128") + element(0x00281051, "DS", "256")
    found = segmentation("LABELMAP", segments(5), window=window)
    np.testing.assert_array_equal(render(found), LABELS)
    np.testing.assert_array_equal(render(segmentation("LABELMAP", segments(5)), window=(128, 256)), LABELS)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("LABELMAP", b""),
        ("LABELMAP", segments()),
        ("LABELMAP", segments(0)),
        ("FRACTIONAL", b""),
        ("BINARY", segments(5)),
    ],
)
def test_without_anything_to_go_by_it_is_an_image_as_any_other(kind: str, more: bytes) -> None:
    found = segmentation(kind, more)
    assert segments_window(found) is None
    np.testing.assert_array_equal(render(found), LABELS)
