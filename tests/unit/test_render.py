"""The whole chain from an object to greys, colours and files."""

from __future__ import annotations

import struct

import imagecodecs
import numpy as np
import pytest

from isocenter.errors import CodecMissing, NotAcceptable, PixelError, UsageError
from isocenter.pixels.colour import to_rgb
from isocenter.pixels.palette import expand
from isocenter.pixels.pictures import encode
from isocenter.pixels.render import render
from isocenter.pixels.resample import fitted, resize
from pixel_objects import EXPLICIT, data_set, element, encapsulated, gradient, image, sequence

RAMP = np.arange(24, dtype=np.uint8) * 10  # 0 to 230


def window(center: float, width: float) -> bytes:
    return element(0x00281050, "DS", center) + element(0x00281051, "DS", width)


def rescale(intercept: float, slope: float) -> bytes:
    return element(0x00281052, "DS", intercept) + element(0x00281053, "DS", slope)


def greys(extra: bytes = b"", **more: object) -> list[int]:
    return render(image(data_set(RAMP.tobytes(), extra=extra, **more))).reshape(-1).tolist()  # type: ignore[arg-type]


def test_eight_bits_without_a_window_are_what_they_are() -> None:
    assert greys() == RAMP.tolist()


def test_window_of_the_object() -> None:
    """LINEAR, centre 100, width 201: 0 at -0.5, half at 99.5, full at 199.5."""
    expected = [round(255 * min(1, max(0, (v - 99.5) / 200 + 0.5))) for v in RAMP.tolist()]
    assert greys(window(100, 201)) == expected


def test_rescale_comes_before_the_window() -> None:
    assert greys(window(100 * 2 - 50, 201 * 2) + rescale(-50, 2)) == [
        round(255 * min(1, max(0, (2 * v - 50 - 149.5) / 401 + 0.5))) for v in RAMP.tolist()
    ]


def test_a_given_window_replaces_the_objects() -> None:
    found = image(data_set(RAMP.tobytes(), extra=window(1, 2)))
    assert render(found, window=(127.5, 255), function="LINEAR_EXACT").reshape(-1).tolist() == RAMP.tolist()


def test_monochrome1_and_inverse_shape_turn_the_greys_once() -> None:
    turned = (255 - RAMP).tolist()
    shape = element(0x20500020, "CS", "INVERSE")
    assert greys(photometric="MONOCHROME1") == turned
    assert greys(shape) == turned
    assert greys(shape, photometric="MONOCHROME1") == turned


def test_invert_turns_the_result() -> None:
    found = image(data_set(RAMP.tobytes(), photometric="MONOCHROME1"))
    assert render(found, invert=True).reshape(-1).tolist() == RAMP.tolist()


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_pixel_padding_is_black_and_takes_no_part_in_the_automatic_window(photometric: str) -> None:
    values = np.arange(24, dtype=np.int16) * 10 + 1000
    values[:6] = -2000
    values[6] = -1999
    extra = element(0x00280120, "SS", -2000) + element(0x00280121, "SS", -1999)
    found = render(
        image(data_set(values.tobytes(), allocated=16, signed=1, photometric=photometric, extra=extra))
    ).reshape(-1)
    assert found[:7].tolist() == [0] * 7
    assert found[8:-1].min() > 0
    assert found[8:-1].max() < 255


def test_signed_values_below_bits_allocated() -> None:
    """12 bits, signed: the table is indexed by two's complement."""
    values = np.linspace(-2048, 2047, 24).astype(np.int16)
    extra = window(0, 4096)
    found = render(image(data_set(values.tobytes(), allocated=16, stored=12, signed=1, extra=extra))).reshape(-1)
    assert found.tolist() == [round(255 * (v + 0.5 + 2047.5) / 4095) for v in values.tolist()]


@pytest.mark.parametrize(("allocated", "dtype"), [(32, "<u4"), (32, "<i4")])
def test_deep_values_go_without_a_table(allocated: int, dtype: str) -> None:
    values = np.linspace(0, 2_000_000_000, 24).astype(dtype)
    found = image(data_set(values.tobytes(), allocated=allocated, signed=int(dtype == "<i4")))
    result = render(found, window=(1e9, 2e9), function="LINEAR_EXACT").reshape(-1)
    assert result.tolist() == [round(255 * v / 2e9) for v in values.tolist()]


def test_float_pixels_with_gaps() -> None:
    values = np.linspace(0, 1, 24, dtype="<f4")
    values[5] = np.nan
    raw = b"\xe0\x7f\x08\x00OF\0\0" + struct.pack("<I", values.nbytes) + values.tobytes()
    found = image(data_set(raw, allocated=32))
    result = render(found, window=(0.5, 1), function="LINEAR_EXACT").reshape(-1)
    assert result[5] == 0
    assert result[-1] == 255
    assert render(found).reshape(-1)[5] == 0


def test_functional_groups_of_the_frame_go_before_the_shared() -> None:
    """C.7.6.16: window per frame, rescale shared."""
    own = [
        sequence(0x00289132, window(100, 201)),
        sequence(0x00289132, window(50, 101)),
    ]
    shared = sequence(0x00289145, rescale(0, 0.5))
    extra = sequence(0x52009229, shared) + sequence(0x52009230, *own)
    found = image(data_set(RAMP.tobytes() * 2, frames=2, extra=extra))
    for number, (center, width) in enumerate([(100, 201), (50, 101)], 1):
        expected = [round(255 * min(1, max(0, (v / 2 - center + 0.5) / (width - 1) + 0.5))) for v in RAMP.tolist()]
        assert render(found, number).reshape(-1).tolist() == expected


def test_functional_groups_of_undefined_length() -> None:
    item = sequence(0x00289132, window(100, 201))
    body = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + item + b"\xfe\xff\x0d\xe0\0\0\0\0"
    extra = b"\x00\x52\x30\x92SQ\0\0\xff\xff\xff\xff" + body * 2 + b"\xfe\xff\xdd\xe0\0\0\0\0"
    found = image(data_set(RAMP.tobytes() * 2, frames=2, extra=extra))
    expected = [round(255 * min(1, max(0, (v - 99.5) / 200 + 0.5))) for v in RAMP.tolist()]
    assert render(found, 2).reshape(-1).tolist() == expected


def test_voi_lut_sequence() -> None:
    data = struct.pack("<256H", *range(65535, 65535 - 256 * 256, -256))
    table = element(0x00283002, "US", [256, 0, 16]) + element(0x00283006, "OW", data)
    assert greys(sequence(0x00283010, table)) == [round(255 * (65535 - 256 * v) / 65535) for v in RAMP.tolist()]


# --- colour ---------------------------------------------------------------------------------------------------------


def test_rgb_is_itself_and_deeper_rgb_is_scaled() -> None:
    pixels = gradient(4, 6, 3, 8)
    assert (render(image(data_set(pixels.tobytes(), samples=3, photometric="RGB", planar=0))) == pixels).all()
    deep = gradient(4, 6, 3, 12)
    found = image(data_set(deep.tobytes(), samples=3, allocated=16, stored=12, photometric="RGB", planar=0))
    assert (render(found) == np.rint(deep * (255 / 4095))).all()


def test_ybr_full_by_the_equations_of_the_standard() -> None:
    """C.7.6.3.1.2, the forward equations; there and back within the rounding of 8 bits."""
    rgb = gradient(30, 40, 3, 8).astype(np.float64)
    r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    ybr = np.stack(
        [
            0.2990 * r + 0.5870 * g + 0.1140 * b,
            -0.1687 * r - 0.3313 * g + 0.5000 * b + 128,
            0.5000 * r - 0.4187 * g - 0.0813 * b + 128,
        ],
        axis=-1,
    )
    stored = np.clip(np.rint(ybr), 0, 255).astype(np.uint8)
    back = render(image(data_set(stored.tobytes(), rows=30, columns=40, samples=3, photometric="YBR_FULL", planar=0)))
    assert np.abs(back.astype(int) - rgb).max() <= 2
    deep = np.clip(np.rint(ybr * 16 + np.array([0, 0, 0])), 0, 4095).astype(np.uint16)
    wide = to_rgb(deep, "YBR_FULL", 12)
    assert np.abs(wide / 16 - rgb).max() <= 0.2


def test_neutral_chroma_is_grey_in_every_space() -> None:
    full = np.full((2, 2, 3), 128, np.uint8)
    assert to_rgb(full, "YBR_FULL", 8).tolist() == full.tolist()
    partial = np.array([[[16, 128, 128], [235, 128, 128]]], np.uint8)
    assert to_rgb(partial, "YBR_PARTIAL_422", 8).tolist() == [[[0, 0, 0], [255, 255, 255]]]


def palette(descriptor: list[int], red: bytes, green: bytes, blue: bytes, first: int = 0x00281201) -> bytes:
    return b"".join(element(0x00281101 + c, "US", descriptor) for c in range(3)) + b"".join(
        element(first + c, "OW", data) for c, data in enumerate((red, green, blue))
    )


def test_palette_color() -> None:
    red, green, blue = (struct.pack("<3H", *values) for values in ((0, 256, 65535), (9 << 8, 0, 0), (0, 0, 7 << 8)))
    pixels = bytes([9, 10, 11, 12, 13, 255])
    found = image(
        data_set(pixels, rows=1, columns=6, photometric="PALETTE COLOR", extra=palette([3, 10, 16], red, green, blue))
    )
    assert render(found)[0].tolist() == [[0, 9, 0], [0, 9, 0], [1, 0, 0], [255, 0, 7], [255, 0, 7], [255, 0, 7]]


@pytest.mark.parametrize("bits", [8, 16])
def test_palette_of_eight_bit_entries(bits: int) -> None:
    """Two ways of writers: one byte an entry, and a word each under a descriptor that says 16."""
    data = bytes([1, 2, 3, 4]) if bits == 8 else struct.pack("<4H", 1, 2, 3, 4)
    extra = palette([4, 0, bits], data, data, data)
    found = image(data_set(bytes([0, 1, 2, 3]), rows=1, columns=4, photometric="PALETTE COLOR", extra=extra))
    assert render(found)[0, :, 0].tolist() == [1, 2, 3, 4]


def test_segmented_palette() -> None:
    """C.7.9.2: discrete, linear, and a copy of both (offset in bytes, low word first)."""
    words = (0, 2, 0, 10, 1, 4, 50, 2, 2, 0, 0)
    assert expand(words, 12, 16).tolist() == [0, 10, 20, 30, 40, 50, 0, 10, 20, 30, 40, 50]
    with pytest.raises(PixelError, match="announced"):
        expand(words, 13, 16)
    with pytest.raises(PixelError, match="type 1"):
        expand((1, 4, 50), 4, 16)
    with pytest.raises(PixelError, match="type 2"):
        expand((0, 1, 5, 2, 1, 6, 0), 4, 16)


def test_what_cannot_be_shown_says_so() -> None:
    with pytest.raises(PixelError, match="cannot be shown"):
        render(image(data_set(bytes(24), photometric="FUZZ")))


# --- size and files -------------------------------------------------------------------------------------------------


def test_a_viewport_keeps_the_shape() -> None:
    found = image(data_set(bytes(24)))
    assert render(found, size=(60, 60)).shape == (40, 60)
    assert render(found, size=(600, 20)).shape == (20, 30)
    assert render(found, size=(3, 3)).shape == (2, 3)


@pytest.mark.parametrize(
    "extra",
    [
        element(0x00280034, "IS", "2\\1"),
        element(0x00280030, "DS", "0.8\\0.4"),
        sequence(0x52009229, sequence(0x00289110, element(0x00280030, "DS", "0.8\\0.4"))),
    ],
    ids=["Pixel Aspect Ratio", "Pixel Spacing", "Pixel Measures"],
)
def test_pixels_that_are_not_square(extra: bytes) -> None:
    """Rows twice as far apart as columns: four rows are as high as eight columns are wide."""
    found = image(data_set(bytes(24), extra=extra))
    assert render(found, size=(60, 80)).shape == (80, 60)
    assert render(found).shape == (4, 6)


def test_smaller_is_the_mean_of_what_is_covered() -> None:
    rng = np.random.default_rng(5)
    picture = rng.integers(0, 256, (60, 45), np.uint8)
    expected = np.rint(picture.reshape(20, 3, 15, 3).mean(axis=(1, 3)))
    assert np.abs(resize(picture, 20, 15) - expected).max() <= 1
    # Fractions: 3 columns to 2, each of one and a half.
    row = np.array([[0, 90, 180]], np.uint8)
    assert resize(row, 1, 2).tolist() == [[30, 150]]
    flat = np.full((101, 97, 3), 77, np.uint8)
    assert np.unique(resize(flat, 33, 50)).tolist() == [77]


def test_larger_is_between_the_pixels() -> None:
    row = np.array([[0, 100]], np.uint8)
    assert resize(row, 1, 4).tolist() == [[0, 25, 75, 100]]
    assert resize(np.full((3, 5), 200, np.uint8), 50, 70).min() == 200


@pytest.mark.parametrize("size", [(0, 10), (10, -1), (100_000, 10)])
def test_viewports_that_cannot_be(size: tuple[int, int]) -> None:
    with pytest.raises(UsageError):
        render(image(data_set(bytes(24))), size=size)
    with pytest.raises(UsageError):
        fitted(1, 1, size, 1.0)


@pytest.mark.parametrize("samples", [1, 3])
def test_png_is_exact_and_jpeg_is_close(samples: int) -> None:
    picture = gradient(40, 50, samples, 8)
    assert (imagecodecs.png_decode(encode(picture, "image/png")) == picture).all()
    jpeg = imagecodecs.jpeg8_decode(encode(picture, "image/jpeg", 95))
    assert np.abs(jpeg.astype(int) - picture).mean() < 4
    assert len(encode(picture, "image/jpeg", 10)) < len(encode(picture, "image/jpeg", 95))
    assert (imagecodecs.png_decode(encode(gradient(40, 50, 1, 16), "image/png")) == gradient(40, 50, 1, 16)).all()
    with pytest.raises(NotAcceptable):
        encode(picture, "image/tiff")


def test_errors_of_the_frame_come_through() -> None:
    with pytest.raises(PixelError, match="frame 1"):
        render(image(data_set(encapsulated(b"", b"ab")), "1.2.840.10008.1.2.4.90"))
    with pytest.raises(PixelError, match="frame 2"):
        render(image(data_set(bytes(24), frames=2), EXPLICIT), 2)


def test_a_sequence_that_passed_through_an_implicit_writer_as_un() -> None:
    """PS3.5 section 6.2.2: UN holds implicit VR little endian; the window in it counts."""
    inner = element(0x00281050, "DS", "100", explicit=False) + element(0x00281051, "DS", "201 ", explicit=False)
    voi_item = struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner
    group = element(0x00289132, "SQ", voi_item, explicit=False)
    shared = struct.pack("<HHI", 0xFFFE, 0xE000, len(group)) + group
    expected = [round(255 * min(1, max(0, (v - 99.5) / 200 + 0.5))) for v in RAMP.tolist()]
    assert greys(element(0x52009229, "UN", shared)) == expected
    assert greys(element(0x00281050, "UN", b"100 ") + element(0x00281051, "UN", b"201 ")) == expected


def test_a_video_has_no_frames_to_be_rendered_and_is_not_damaged() -> None:
    """Its frames are in one stream: the second one has no fragment."""
    found = image(
        data_set(encapsulated(b"", b"\0\0\0\1\x09\xf0" * 4), rows=8, columns=8, frames=25), "1.2.840.10008.1.2.4.102"
    )
    for number in (1, 13):
        with pytest.raises(CodecMissing, match="no codec for transfer syntax"):
            render(found, number)
