"""What lies over an image or beside its greys: overlays, shutters, palettes for some values, colour profiles."""

from __future__ import annotations

import io
import struct

import imagecodecs
import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageCms

from isocenter.errors import PixelError
from isocenter.pixels import icc
from isocenter.pixels.colour import lab_to_srgb
from isocenter.pixels.overlay import outline, overlays_of, placed
from isocenter.pixels.render import render
from isocenter.pixels.rle import encode_rle
from isocenter.pixels.shutter import polygon
from pixel_objects import BIG_ENDIAN, EXPLICIT, RLE, data_set, element, encapsulated, image, sequence

BLACK = bytes(24)


def packed(bits: np.ndarray) -> bytes:
    data = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    return data + b"\0" * (len(data) % 2)


def plane(
    bits: np.ndarray, *, group: int = 0x6000, kind: str = "G", origin: tuple[int, int] = (1, 1), **more: object
) -> bytes:
    """An overlay of `bits`, shape (rows, columns) or (frames, rows, columns)."""
    base = group << 16
    little = bool(more.pop("little", True))

    def one(number: int, vr: str, value: object) -> bytes:
        return element(base | number, vr, value, little=little)

    rows, columns = bits.shape[-2:]
    data = packed(bits)
    if not little:
        data = np.frombuffer(data, "<u2").astype(">u2").tobytes()
    parts = one(0x10, "US", rows) + one(0x11, "US", columns)
    if "frames" in more:
        parts += one(0x15, "IS", more["frames"])
    parts += one(0x40, "CS", kind) + one(0x50, "SS", origin)
    if "first" in more:
        parts += one(0x51, "US", more["first"])
    return parts + one(0x100, "US", 1) + one(0x102, "US", 0) + one(0x3000, "OW", data)


def shown(
    extra: bytes, *, frame: int = 1, frames: int | None = None, notes: list[str] | None = None, **more: object
) -> np.ndarray:
    found = image(data_set(BLACK * (frames or 1), last=extra, frames=frames))
    return render(found, frame, notes=notes, **more)  # type: ignore[arg-type]


CHECKERS = (np.indices((4, 6)).sum(axis=0) % 2).astype(bool)


def test_an_overlay_is_white_where_its_bits_are() -> None:
    assert (shown(plane(CHECKERS)) == CHECKERS * 255).all()
    assert (shown(plane(CHECKERS), overlays=False) == 0).all()


@pytest.mark.parametrize("origin", [(1, 1), (2, 3), (-1, 0), (4, 6), (9, 9), (-9, 1)])
def test_origin(origin: tuple[int, int]) -> None:
    """(row, column) from 1; what is outside of the image is cut."""
    expected = np.zeros((4, 6), bool)
    for row, column in np.argwhere(CHECKERS):
        y, x = row + origin[0] - 1, column + origin[1] - 1
        if 0 <= y < 4 and 0 <= x < 6:
            expected[y, x] = True
    assert (shown(plane(CHECKERS, origin=origin)) == expected * 255).all()


def test_a_region_of_interest_is_its_outline() -> None:
    region = np.zeros((4, 6), bool)
    region[:3, 1:5] = True
    edge = region.copy()
    edge[1, 2:4] = False
    assert (shown(plane(region, kind="R")) == edge * 255).all()
    assert (outline(np.ones((1, 1), bool))).all()


def test_overlays_of_some_frames() -> None:
    """C.9.3: two overlay frames from image frame 2 on; planes begin within a byte."""
    bits = np.stack([CHECKERS, ~CHECKERS, CHECKERS])[:, :, :5]
    extra = plane(bits, frames=3, first=2)
    seen = [shown(extra, frame=number, frames=5) for number in range(1, 6)]
    assert not seen[0].any()
    for index in range(3):
        assert (seen[index + 1][:, :5] == bits[index] * 255).all()
    assert not seen[4].any()


def test_an_overlay_without_frames_is_over_all_of_them() -> None:
    assert (shown(plane(CHECKERS), frame=3, frames=3) == CHECKERS * 255).all()


def test_overlays_in_big_endian_words() -> None:
    extra = plane(CHECKERS, little=False)
    data = data_set(BLACK, last=extra, little=False)
    assert (render(image(data, BIG_ENDIAN)) == CHECKERS * 255).all()


@pytest.mark.parametrize("syntax", [EXPLICIT, RLE])
def test_an_overlay_in_unused_bits(syntax: str) -> None:
    """Bit 12 of cells with 12 Bits Stored (retired, C.9.2 of 2004): the greys do not see it, the overlay does."""
    cells = np.arange(24, dtype="<u2").reshape(4, 6) * 100 | CHECKERS.astype("<u2") << 12
    extra = (
        element(0x60000010, "US", 4)
        + element(0x60000011, "US", 6)
        + element(0x60000040, "CS", "G")
        + element(0x60000050, "SS", (1, 1))
        + element(0x60000100, "US", 16)
        + element(0x60000102, "US", 12)
    )
    pixels = cells.tobytes()
    if syntax == RLE:
        pixels = encapsulated(b"", encode_rle(cells))
    found = image(data_set(pixels, allocated=16, stored=12, last=extra), syntax)
    plain = render(found, overlays=False)
    assert plain.max() < 255 or not (plain == 255)[CHECKERS].all()
    assert (render(found)[CHECKERS] == 255).all()
    assert (render(found)[~CHECKERS] == plain[~CHECKERS]).all()


def test_an_overlay_that_is_cut_off_is_left_out_and_noted() -> None:
    notes: list[str] = []
    huge = np.ones((4, 6), bool)
    extra = plane(huge).replace(element(0x60000010, "US", 4), element(0x60000010, "US", 40000))
    assert not shown(extra, notes=notes).any()
    assert notes == ["an overlay is left out: the overlay is cut off at (6000,3000)"]


def test_an_overlay_without_a_size_is_left_out_and_noted() -> None:
    notes: list[str] = []
    extra = plane(CHECKERS).replace(element(0x60000010, "US", 4), element(0x60000010, "DS", "tall"))
    assert not shown(extra, notes=notes).any()
    assert notes == ["an overlay is left out: the value is not a number at (6000,0010)"]


def test_a_bitmap_shutter_of_the_image_itself() -> None:
    """C.7.6.15: the overlay it names hides, and is no graphic."""
    head = element(0x00181600, "CS", "BITMAP") + element(0x00181622, "US", 0x4000) + element(0x00181623, "US", 0x6000)
    found = image(head + data_set(bytes([200] * 24), last=plane(CHECKERS)))
    assert (render(found) == np.where(CHECKERS, 64, 200)).all()


def test_overlays_tell_what_they_are() -> None:
    found = overlays_of(image(data_set(BLACK, last=plane(CHECKERS, group=0x6002, kind="R"))).attributes)
    assert [(o.group, o.rows, o.columns, o.graphic, o.frames, o.bit) for o in found] == [
        (0x6002, 4, 6, False, None, None)
    ]
    assert placed(CHECKERS, (100, 100), (4, 6)).sum() == 0


# --- shutters -------------------------------------------------------------------------------------------------------


def shuttered(shape: str, *rest: bytes, rows: int = 20, columns: int = 30, **more: object) -> np.ndarray:
    extra = element(0x00181600, "CS", shape) + b"".join(rest)
    white = np.full((rows, columns), 255, np.uint8)
    tail = more.pop("tail", b"")
    data = extra + data_set(white.tobytes(), rows=rows, columns=columns, extra=tail)  # type: ignore[arg-type]
    return render(image(data), **more)  # type: ignore[arg-type]


RECTANGLE = b"".join(
    element(tag, "IS", value) for tag, value in ((0x00181602, 5), (0x00181604, 20), (0x00181606, 3), (0x00181608, 10))
)


def test_rectangular_shutter() -> None:
    """Edges are columns and rows from 1, and are shown."""
    expected = np.zeros((20, 30), np.uint8)
    expected[2:10, 4:20] = 255
    assert (shuttered("RECTANGULAR", RECTANGLE) == expected).all()
    assert (shuttered("RECTANGULAR", RECTANGLE, shutter=False) == 255).all()


def test_shutter_presentation_value() -> None:
    assert shuttered("RECTANGULAR", RECTANGLE, element(0x00181622, "US", 0x8000))[0, 0] == 128


def test_shutter_in_colour() -> None:
    """CIELab of C.10.7.1.1: white, mid grey and a strong red, against the definition of sRGB."""
    assert lab_to_srgb((65535, 0x8080, 0x8080)) == (255, 255, 255)
    assert lab_to_srgb((0, 0x8080, 0x8080)) == (0, 0, 0)
    red = tuple(round(x) for x in (54.29 / 100 * 65535, (80.8 + 128) / 255 * 65535, (69.89 + 128) / 255 * 65535))
    assert np.abs(np.array(lab_to_srgb(red)) - (255, 0, 0)).max() <= 2  # type: ignore[arg-type]
    picture = shuttered("RECTANGULAR", RECTANGLE, element(0x00181624, "US", red))
    assert picture.shape == (20, 30, 3)
    assert picture[5, 10].tolist() == [255, 255, 255]
    assert picture[0, 0, 0] > 250
    assert picture[0, 0, 1:].max() < 5


def test_circular_shutter_is_round_to_the_eye() -> None:
    circle = element(0x00181610, "IS", "10\\15") + element(0x00181612, "IS", 6)
    rows, columns = np.mgrid[1:21, 1:31]
    assert (shuttered("CIRCULAR", circle) == ((rows - 10) ** 2 + (columns - 15) ** 2 <= 36) * 255).all()
    flat = shuttered("CIRCULAR", circle, tail=element(0x00280034, "IS", "2\\1"))
    assert (flat == ((2 * (rows - 10)) ** 2 + (columns - 15) ** 2 <= 36) * 255).all()


def test_polygonal_shutter() -> None:
    square = element(0x00181620, "IS", "3\\5\\3\\20\\10\\20\\10\\5")
    expected = np.zeros((20, 30), np.uint8)
    expected[2:10, 4:20] = 255
    assert (shuttered("POLYGONAL", square) == expected).all()
    triangle = polygon(np.array([[0.0, 0.0], [0.0, 9.0], [9.0, 0.0]]), 10, 10)
    assert (triangle == (np.indices((10, 10)).sum(axis=0) <= 9)).all()


def test_several_shutters_leave_what_all_of_them_leave() -> None:
    circle = element(0x00181610, "IS", "10\\15") + element(0x00181612, "IS", 6)
    both = shuttered("RECTANGULAR\\CIRCULAR", RECTANGLE, circle)
    assert (both == np.minimum(shuttered("RECTANGULAR", RECTANGLE), shuttered("CIRCULAR", circle))).all()


def test_a_shutter_that_is_not_complete_does_not_hide_the_image() -> None:
    notes: list[str] = []
    assert (shuttered("CIRCULAR", element(0x00181612, "IS", 6), notes=notes) == 255).all()
    assert notes == ["shown without its shutter: a circular shutter has a center and a radius at (0018,1610)"]


# --- values in colour -----------------------------------------------------------------------------------------------


def test_supplemental_palette_colours_the_values_from_its_first_on() -> None:
    values = np.arange(24, dtype="<u2") * 10
    tables = [struct.pack("<3H", *(c << 8 for c in channel)) for channel in ((1, 2, 3), (4, 5, 6), (7, 8, 9))]
    extra = element(0x00281050, "DS", 100) + element(0x00281051, "DS", 201)
    extra += b"".join(element(0x00281101 + c, "US", [3, 200, 16]) for c in range(3))
    extra += b"".join(element(0x00281201 + c, "OW", table) for c, table in enumerate(tables))
    head = element(0x00089205, "CS", "COLOR")
    picture = render(image(head + data_set(values.tobytes(), allocated=16, extra=extra))).reshape(-1, 3)
    greys = [round(255 * min(1, max(0, (v - 99.5) / 200 + 0.5))) for v in range(0, 200, 10)]
    assert picture[:20].tolist() == [[g, g, g] for g in greys]
    assert picture[20:].tolist() == [[1, 4, 7], [3, 6, 9], [3, 6, 9], [3, 6, 9]]
    plain = render(image(data_set(values.tobytes(), allocated=16, extra=extra)))
    assert plain.shape == (4, 6)


def test_presentation_lut_of_entries() -> None:
    """C.11.4: four entries share the range of the VOI LUT's output."""
    ramp = np.linspace(0, 255, 24).astype(np.uint8)
    table = element(0x00283002, "US", [4, 0, 8]) + element(0x00283006, "OW", bytes([0, 10, 200, 255]))
    picture = render(image(data_set(ramp.tobytes(), last=sequence(0x20500010, table)))).reshape(-1)
    assert picture.tolist() == [[0, 10, 200, 255][round(v / 255 * 3)] for v in ramp.tolist()]


# --- colour profiles ------------------------------------------------------------------------------------------------

COLOURS = np.random.default_rng(3).integers(0, 256, (4, 6, 3), np.uint8)


def coloured(profile: bytes, **more: object) -> np.ndarray:
    extra = element(0x00282000, "OB", profile + b"\0" * (len(profile) % 2)) if profile else b""
    found = image(data_set(COLOURS.tobytes(), samples=3, photometric="RGB", planar=0, extra=extra))
    return render(found, **more)  # type: ignore[arg-type]


def test_a_profile_is_applied_as_littlecms_does_in_pillow() -> None:
    profile = icc.space("adobergb")
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), "RGB", "RGB"
    )
    expected = np.asarray(ImageCms.applyTransform(Pillow.fromarray(COLOURS), transform))
    picture = coloured(profile)
    assert np.abs(picture.astype(int) - expected).max() <= 1
    assert np.abs(picture.astype(int) - COLOURS).max() > 10
    assert (coloured(profile, colours=None) == COLOURS).all()
    assert (coloured(b"") == COLOURS).all()
    assert np.abs(coloured(profile, colours="adobergb").astype(int) - COLOURS).max() == 0


# Columns: XYZ of red, green and blue, adapted to D50. sRGB is that of IEC 61966-2-1; the other is made up, with red and
# green in each other's place and less blue, so that a profile that is left out, or turned around, is seen.
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
OTHER = np.array([[0.34150, 0.40607, 0.17307], [0.66687, 0.25249, 0.08061], [0.10708, 0.03392, 0.68410]])


def matrix_profile(columns: np.ndarray, gamma: float) -> bytes:
    """A profile of three primaries and one power law (ICC.1 section 8.4.3): header, tag table, tags."""

    def fixed(*values: float) -> bytes:
        return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))

    tags = {
        name: b"XYZ " + bytes(4) + fixed(*columns[:, place]) for place, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))
    }
    tags |= dict.fromkeys(
        (b"rTRC", b"gTRC", b"bTRC"), b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    )
    tags[b"wtpt"] = b"XYZ " + bytes(4) + fixed(0.9642, 1.0, 0.8249)
    tags[b"desc"] = b"desc" + bytes(4) + struct.pack(">I", 2) + b"x\0" + bytes(4 + 4 + 2 + 1 + 67 + 1)
    tags[b"cprt"] = b"text" + bytes(4) + b"none"
    table, data, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += name + struct.pack(">II", at + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    size = struct.pack(">I", 128 + len(table) + len(data))
    head = (
        size + bytes(4) + b"\2\x10\0\0" + b"mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28) + fixed(0.9642, 1.0, 0.8249)
    )
    return head.ljust(128, b"\0") + table + data


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
@pytest.mark.parametrize("columns", [SRGB, OTHER], ids=["primaries of sRGB", "others"])
def test_colours_of_a_matrix_profile_are_those_of_the_formula(columns: np.ndarray, gamma: float) -> None:
    """Device values to a power, by the primaries to XYZ, by those of sRGB back, and sRGB's own curve."""
    pixels = np.random.default_rng(5).integers(0, 256, (60, 60, 3), np.uint8)
    linear = (pixels / 255.0) ** gamma @ columns.T @ np.linalg.inv(SRGB).T
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055)
    expected = 255 * np.clip(encoded, 0, 1)
    profile = matrix_profile(columns, gamma)
    extra = element(0x00282000, "OB", profile + b"\0" * (len(profile) % 2))
    notes: list[str] = []
    found = image(data_set(pixels.tobytes(), rows=60, columns=60, samples=3, photometric="RGB", extra=extra))
    picture = render(found, notes=notes)
    assert notes == []
    assert np.abs(expected - pixels).max() > 5
    # Eight bits of a linear profile are far apart where sRGB is steep: LittleCMS rounds on its way.
    assert np.abs(picture - expected).max() <= (2.0 if gamma == 1.0 else 1.2)


def test_a_profile_of_the_optical_path() -> None:
    profile = icc.space("adobergb")
    path = element(0x00282000, "OB", profile) + element(0x00480106, "SH", "1")
    found = image(data_set(COLOURS.tobytes(), samples=3, photometric="RGB", planar=0, extra=sequence(0x00480105, path)))
    assert icc.profile_of(found) == profile
    assert (render(found) == coloured(profile)).all()


@pytest.mark.parametrize("profile", [b"x" * 200, icc.space("adobergb")[:300], b"RGB "], ids=["noise", "cut", "short"])
def test_a_broken_profile_is_noted(profile: bytes) -> None:
    notes: list[str] = []
    assert (coloured(profile, notes=notes) == COLOURS).all()
    assert len(notes) == 1
    with pytest.raises(PixelError):
        icc.convert(COLOURS, profile, icc.space("srgb"))
    assert imagecodecs.CMS.available


# --- shape ----------------------------------------------------------------------------------------------------------


def test_square_pixels_on_request() -> None:
    tall = image(data_set(BLACK, extra=element(0x00280034, "IS", "3\\2")))
    assert render(tall, square=True).shape == (6, 6)
    wide = image(data_set(BLACK, extra=element(0x00280034, "IS", "1\\2")))
    assert render(wide, square=True).shape == (4, 12)
    assert render(wide).shape == (4, 6)
