"""The codec table: exact round trips, and what happens when codestream and header disagree."""

from __future__ import annotations

import struct
import time
from dataclasses import replace

import imagecodecs
import numpy as np
import pytest

from isocenter.errors import CodecMissing, PixelError
from isocenter.pixels.codecs import CODECS, Codec, decode, described, encode
from isocenter.pixels.codestream import read_codestream
from isocenter.pixels.encoders import Loss
from isocenter.pixels.layout import Layout
from isocenter.pixels.native import unpack
from pixel_objects import (
    DEFLATED_FRAME,
    ENCAPSULATED,
    EXPLICIT,
    HTJ2K,
    J2K,
    JPEG,
    JPEG12,
    JPEG_LS,
    JXL,
    RLE,
    data_set,
    encapsulated,
    gradient,
    image,
)

ENCODERS = [uid for uid, codec in CODECS.items() if codec.encoder is not None and codec.encoder.loses != "always"]


def layout_for(pixels: np.ndarray, stored: int, *, signed: bool = False) -> Layout:
    allocated = 1 if stored == 1 else 8 * pixels.dtype.itemsize
    samples = 1 if pixels.ndim == 2 else pixels.shape[2]
    photometric = "RGB" if samples == 3 else "MONOCHROME2"
    return Layout(*pixels.shape[:2], samples, allocated, stored, stored - 1, signed, photometric)


# (transfer syntax, Bits Stored, signed, samples): every lossless cell of the table
CELLS = [
    (uid, stored, signed, samples)
    for uid in ENCODERS
    for stored in (1, 8, 10, 12, 16, 17, 24, 32)
    for signed in (False, True)
    for samples in (1, 3)
    if CODECS[uid].encoder.depths[0] <= stored <= CODECS[uid].encoder.depths[1]
    and (stored > 1 or (not signed and samples == 1))
]


def pictures(stored: int, signed: bool, samples: int) -> list[np.ndarray]:
    """A smooth one, and one of noise over the whole range, which no transform has room for by chance."""
    smooth = gradient(37, 50, samples, stored, signed=signed)
    noise = np.random.default_rng(5).integers(0, 1 << stored, smooth.shape) - (signed << (stored - 1))
    return [smooth, noise.astype(smooth.dtype)]


@pytest.mark.parametrize(("uid", "stored", "signed", "samples"), CELLS)
def test_lossless_round_trip(uid: str, stored: int, signed: bool, samples: int) -> None:
    for pixels in pictures(stored, signed, samples):
        layout = layout_for(pixels, stored, signed=signed)
        data = encode(uid, pixels, layout)
        assert len(data) % 2 == 0
        written = described(uid, layout)
        assert written.bits_stored == stored
        result = decode(uid, data, written)
        assert result.pixels.dtype == pixels.dtype
        np.testing.assert_array_equal(result.pixels, pixels)
        assert (result.bits, result.warnings) == (stored, ())
        assert result.photometric == layout.photometric


# (transfer syntax, what may be lost, root mean square error in thousandths of the range)
LOSSES = [
    (JPEG, Loss(quality=95), 20),
    (JPEG, None, 20),
    (JPEG12, Loss(quality=95), 20),
    ("1.2.840.10008.1.2.4.81", Loss(near=3), 10),
    ("1.2.840.10008.1.2.4.91", Loss(psnr=45), 10),
    ("1.2.840.10008.1.2.4.203", Loss(psnr=45), 10),
    ("1.2.840.10008.1.2.4.112", Loss(quality=95), 20),
    *((uid, Loss(ratio=6), 30) for uid in (JPEG, JPEG12, *(f"1.2.840.10008.1.2.4.{n}" for n in (81, 91, 112, 203)))),
]


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("stored", [8, 10, 12, 16])
@pytest.mark.parametrize(("uid", "loss", "most"), LOSSES)
def test_what_is_lost_is_what_was_asked_for(
    uid: str, loss: Loss | None, most: float, stored: int, signed: bool, samples: int
) -> None:
    pixels = gradient(160, 128, samples, stored, signed=signed)
    layout = layout_for(pixels, stored, signed=signed)
    encoder = CODECS[uid].encoder
    assert encoder is not None
    if stored > encoder.depths[1] or (signed and not encoder.signed):
        with pytest.raises(PixelError, match=CODECS[uid].name):
            encode(uid, pixels, layout, loss)
        return
    data = encode(uid, pixels, layout, loss)
    written = described(uid, layout, loss)
    result = decode(uid, data, written)
    assert result.warnings == ()
    assert result.bits == written.bits_stored
    error = np.abs(result.pixels.astype(np.float64) - pixels)
    size = len(data)  # not in the assertion: pytest would print the bytes
    if loss is not None and loss.near:
        assert 0 < error.max() <= 3
    elif loss is not None and loss.ratio:
        assert size <= pixels.nbytes / 6 + 1
    rms = float(np.sqrt((error**2).mean())) / (1 << stored) * 1000
    assert 0 < rms <= most
    assert size < pixels.nbytes


@pytest.mark.parametrize(
    ("uid", "loss", "why"),
    [
        (RLE, Loss(ratio=10), "loses nothing"),
        ("1.2.840.10008.1.2.4.91", Loss(quality=90), "psnr or ratio"),
        (JPEG, Loss(psnr=50), "quality or ratio"),
        ("1.2.840.10008.1.2.4.81", Loss(near=200), "more than JPEG-LS has"),
    ],
)
def test_a_loss_that_a_process_does_not_know(uid: str, loss: Loss, why: str) -> None:
    with pytest.raises(PixelError, match=why):
        encode(uid, gradient(8, 8, 1, 8), Layout(8, 8), loss)


@pytest.mark.parametrize("options", [{}, {"quality": 90, "near": 1}, {"quality": 101}, {"ratio": -1}])
def test_a_loss_is_one_thing(options: dict[str, float]) -> None:
    with pytest.raises(PixelError):
        Loss(**options)


@pytest.mark.parametrize("change", [{"photometric": "PALETTE COLOR"}, {"bits_allocated": 32, "floating": True}])
def test_what_may_not_be_lost(change: dict[str, object]) -> None:
    layout = replace(Layout(8, 8), **change)
    with pytest.raises(PixelError):
        encode("1.2.840.10008.1.2.4.91", np.zeros((8, 8), layout.dtype), layout, Loss(ratio=5))


def test_htj2k_meets_the_rpcl_syntax() -> None:
    """PS3.5 section 10.18: resolutions first, tile-part lengths, the smallest resolution 64 pixels in one direction."""
    pixels = np.tile(gradient(64, 64, 1, 12), (80, 65))[:5000, :4100]
    data = encode("1.2.840.10008.1.2.4.202", pixels, layout_for(pixels, 12))
    cod, start = data.index(b"\xff\x52"), data.index(b"\xff\x90")
    assert data[cod + 5] == 2, "not RPCL"
    assert 4100 / 2 ** data[cod + 9] <= 65
    assert b"\xff\x55" in data[:start], "no TLM"
    assert data[40:43] == b"\x00\x01\x0b", "not 12 bits"


def test_a_jpeg_goes_into_jpeg_xl_and_comes_out_as_it_was() -> None:
    pixels = gradient(40, 40, 3, 8)
    jpeg = encode(JPEG, pixels, layout_for(pixels, 8), Loss(quality=80))
    recompressed = CODECS["1.2.840.10008.1.2.4.111"].same[JPEG](jpeg.removesuffix(b"\0"))
    assert CODECS[JPEG].same["1.2.840.10008.1.2.4.111"](recompressed) == jpeg.removesuffix(b"\0")
    layout = replace(layout_for(pixels, 8), photometric="YBR_FULL_422")
    ours, theirs = decode(JPEG, jpeg, layout), decode("1.2.840.10008.1.2.4.111", recompressed, layout)
    assert ours.photometric == theirs.photometric == "RGB"
    assert np.abs(ours.pixels.astype(int) - theirs.pixels).max() <= 6  # each upsamples chroma in its own way
    with pytest.raises(PixelError, match="no JPEG codestream"):
        CODECS[JPEG].same["1.2.840.10008.1.2.4.111"](encode(JXL, pixels, layout_for(pixels, 8)))
    with pytest.raises(PixelError, match="cannot be recompressed"):
        CODECS["1.2.840.10008.1.2.4.111"].same[JPEG](b"\xff\xd8\xff")


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_bits_stored_below_and_high_bit_below_the_top(signed: bool) -> None:
    """10 bits at bits 3 to 12 of 16, everything around them set: only the ten count."""
    values = gradient(5, 7, 1, 10, signed=signed)
    raw = (values.astype(np.int32) << 3 & 0x1FF8 | 0xE007).astype("<u2")
    layout = Layout(5, 7, 1, 16, 10, 12, signed)
    np.testing.assert_array_equal(unpack(raw.tobytes(), layout), values)


def test_planar_configuration() -> None:
    pixels = gradient(4, 6, 3, 8)
    colour_by_plane = np.ascontiguousarray(pixels.transpose(2, 0, 1)).tobytes()
    found = image(data_set(colour_by_plane, samples=3, photometric="RGB", planar=1))
    np.testing.assert_array_equal(found.frame(1), pixels)


def test_native_ybr_full_422_shares_chroma_between_two_pixels() -> None:
    """PS3.3 C.7.6.3.1.2: Y1 Y2 Cb Cr for each pair."""
    found = image(
        data_set(
            bytes([10, 20, 1, 2, 30, 40, 3, 4]), rows=1, columns=4, samples=3, photometric="YBR_FULL_422", planar=0
        )
    )
    decoded = found.decode(1)
    assert decoded.pixels.tolist() == [[[10, 1, 2], [20, 1, 2], [30, 3, 4], [40, 3, 4]]]
    assert decoded.photometric == "YBR_FULL"


def test_native_422_that_stores_all_samples() -> None:
    value = bytes(range(12))
    found = image(data_set(value, rows=1, columns=4, samples=3, photometric="YBR_FULL_422", planar=0))
    assert found.frame(1).tolist() == np.arange(12).reshape(1, 4, 3).tolist()
    assert found.flags == {"not-subsampled"}


@pytest.mark.parametrize(("vr_tag", "dtype", "allocated"), [(b"\x08", "<f4", 32), (b"\x09", "<f8", 64)])
def test_float_pixel_data(vr_tag: bytes, dtype: str, allocated: int) -> None:
    values = np.linspace(-1.5, 1e9, 24).astype(dtype)
    vr = b"OF" if allocated == 32 else b"OD"
    value = b"\xe0\x7f" + vr_tag + b"\x00" + vr + b"\0\0" + struct.pack("<I", values.nbytes) + values.tobytes()
    found = image(data_set(value, allocated=allocated))
    assert found.frame(1).tolist() == values.reshape(4, 6).tolist()
    assert found.frame(1).dtype == np.dtype(f"f{allocated // 8}")


def test_samples_of_three_bytes() -> None:
    values = np.array([0, 1, 0x123456, 0xFFFFFF], np.uint32)
    raw = b"".join(int(v).to_bytes(3, "little") for v in values)
    found = image(data_set(raw, rows=2, columns=2, allocated=24))
    assert found.frame(1).tolist() == values.reshape(2, 2).tolist()


# --- colour of codestreams ------------------------------------------------------------------------------------------


def colour_jpeg(**options: object) -> tuple[bytes, np.ndarray]:
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:8], pixels[8:] = (250, 10, 20), (20, 10, 250)
    return imagecodecs.jpeg8_encode(pixels, level=100, **options), pixels


@pytest.mark.parametrize("header", ["YBR_FULL_422", "RGB"])
def test_jpeg_with_jfif_marker_is_ycbcr_whatever_the_header_says(header: str) -> None:
    data, pixels = colour_jpeg(subsampling="444")
    assert read_codestream(data).ycc is True
    result = decode(JPEG, data, Layout(16, 16, 3, photometric=header))
    assert result.photometric == "RGB"
    assert np.abs(result.pixels.astype(int) - pixels).max() <= 3


def test_jpeg_with_adobe_marker_of_no_transform_is_rgb() -> None:
    data, pixels = colour_jpeg(outcolorspace="RGB", subsampling="444")
    assert read_codestream(data).ycc is False
    result = decode(JPEG, data, Layout(16, 16, 3, photometric="YBR_FULL"))
    assert np.abs(result.pixels.astype(int) - pixels).max() <= 3


@pytest.mark.parametrize("header", ["YBR_FULL", "RGB"])
def test_jpeg_without_a_sign_follows_the_header(header: str) -> None:
    data, pixels = colour_jpeg(subsampling="444", **({} if header == "YBR_FULL" else {"outcolorspace": "RGB"}))
    bare = without_segments(data, {0xE0, 0xEE})
    stream = read_codestream(bare)
    if header == "RGB":
        # The letters become numbers, in the frame header and in the scan header.
        sof, sos = bare.index(b"\xff\xc0") + 10, bare.index(b"\xff\xda") + 5
        numbered = bytearray(bare)
        for component in range(3):
            numbered[sof + 3 * component] = numbered[sos + 2 * component] = component + 1
        bare = bytes(numbered)
        stream = read_codestream(bare)
    assert stream.ycc is None
    result = decode(JPEG, bare, Layout(16, 16, 3, photometric=header))
    assert np.abs(result.pixels.astype(int) - pixels).max() <= 3


def without_segments(data: bytes, markers: set[int]) -> bytes:
    out, at = data[:2], 2
    while data[at + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", data, at + 2)
        if data[at + 1] not in markers:
            out += data[at : at + 2 + length]
        at += 2 + length
    return out + data[at:]


def test_jpeg_2000_with_component_transform_comes_back_as_rgb() -> None:
    pixels = gradient(20, 30, 3, 8)
    data = imagecodecs.jpeg2k_encode(pixels, codecformat="J2K", level=0, reversible=True, mct=True)
    result = decode(J2K, data, Layout(20, 30, 3, photometric="YBR_RCT"))
    assert result.photometric == "RGB"
    np.testing.assert_array_equal(result.pixels, pixels)


def test_jpeg_2000_without_component_transform_keeps_the_header_colour_space() -> None:
    pixels = gradient(20, 30, 3, 8)
    data = imagecodecs.jpeg2k_encode(pixels, codecformat="J2K", level=0, reversible=True, mct=False)
    assert decode(J2K, data, Layout(20, 30, 3, photometric="YBR_FULL")).photometric == "YBR_FULL"


def test_jpeg_2000_in_a_jp2_file() -> None:
    pixels = gradient(20, 30, 1, 12)
    data = imagecodecs.jpeg2k_encode(pixels, codecformat="JP2", level=0, reversible=True, bitspersample=12)
    np.testing.assert_array_equal(decode(J2K, data, Layout(20, 30, 1, 16, 12, 11)).pixels, pixels)


def test_irreversible_htj2k_does_not_wrap_around() -> None:
    """White beside black overshoots 255 after the inverse transform: it must stay white."""
    pixels = np.zeros((64, 64), np.uint8)
    pixels[:, 20:40] = 255
    data = imagecodecs.htj2k_encode(pixels, level=0.02, reversible=False)
    result = decode("1.2.840.10008.1.2.4.203", data, Layout(64, 64)).pixels
    assert np.abs(result.astype(int) - pixels).max() < 100


# --- header and codestream disagree ---------------------------------------------------------------------------------


def test_rle_segments_that_hold_padding() -> None:
    """Some writers compress the bytes along that fill a plane up."""
    planes = [np.arange(15, dtype=np.uint8) + 20 * n for n in range(3)]
    packed = [bytes(imagecodecs.packbits_encode(np.append(plane, np.zeros(3, np.uint8)))) for plane in planes]
    offsets = np.cumsum([64, *map(len, packed)])[:3]
    data = struct.pack("<16I", 3, *offsets, *[0] * 12) + b"".join(packed)
    result = decode(RLE, data, Layout(3, 5, 3, photometric="RGB"))
    np.testing.assert_array_equal(result.pixels, np.stack(planes, axis=-1).reshape(3, 5, 3))


def test_codestream_of_lower_precision_than_bits_stored() -> None:
    pixels = gradient(20, 30, 1, 10)
    data = imagecodecs.jpeg2k_encode(pixels, codecformat="J2K", level=0, reversible=True, bitspersample=10)
    result = decode(J2K, data, Layout(20, 30, 1, 16, 12, 11))
    np.testing.assert_array_equal(result.pixels, pixels)
    assert (result.bits, result.warnings) == (10, ("codestream precision is 10, Bits Stored is 12",))


def test_codestream_of_higher_precision_whose_samples_fit() -> None:
    """The whole 16-bit container was compressed: nothing to warn of."""
    pixels = gradient(20, 30, 1, 12)
    result = decode(JPEG_LS, imagecodecs.jpegls_encode(np.where(pixels, pixels, 0) | 0), Layout(20, 30, 1, 16, 12, 11))
    np.testing.assert_array_equal(result.pixels, pixels)
    assert result.warnings == ()


def test_codestream_of_higher_precision_whose_samples_do_not_fit() -> None:
    pixels = gradient(20, 30, 1, 16)
    result = decode(JPEG_LS, imagecodecs.jpegls_encode(pixels), Layout(20, 30, 1, 16, 12, 11))
    np.testing.assert_array_equal(result.pixels, pixels)
    assert (result.bits, result.warnings) == (16, ("codestream precision is 16, Bits Stored is 12",))


def test_codestream_deeper_than_bits_allocated() -> None:
    pixels = gradient(20, 30, 1, 12)
    data = imagecodecs.jpeg2k_encode(pixels, codecformat="J2K", level=0, reversible=True, bitspersample=12)
    result = decode(J2K, data, Layout(20, 30))
    np.testing.assert_array_equal(result.pixels, pixels)
    assert result.pixels.dtype == np.uint16


@pytest.mark.parametrize("stream_bits", [12, 16])
def test_signed_samples_in_a_codestream_that_knows_no_sign(stream_bits: int) -> None:
    pixels = gradient(20, 30, 1, 12, signed=True)
    held = pixels.view(np.uint16) & ((1 << stream_bits) - 1)
    data = imagecodecs.jpegls_encode(held.astype(np.uint16))
    result = decode(JPEG_LS, data, Layout(20, 30, 1, 16, 12, 11, True))
    np.testing.assert_array_equal(result.pixels, pixels)


@pytest.mark.parametrize("signed", [False, True])
def test_sign_of_jpeg_2000_differs_from_the_header(signed: bool) -> None:
    """The same bits under another label, as every writer that forgot the label held them."""
    pixels = gradient(20, 30, 1, 12, signed=signed)
    other = pixels.astype(np.int32) & 0xFFF
    if not signed:
        other = np.where(other >= 0x800, other - 0x1000, other)
    other = other.astype(np.uint16 if signed else np.int16)
    data = imagecodecs.jpeg2k_encode(other, codecformat="J2K", level=0, reversible=True, bitspersample=12)
    result = decode(J2K, data, Layout(20, 30, 1, 16, 12, 11, signed))
    np.testing.assert_array_equal(result.pixels, pixels)
    assert len(result.warnings) == 1
    assert "Pixel Representation" in result.warnings[0]


def test_lossless_jpeg_under_the_name_of_baseline() -> None:
    pixels = gradient(20, 30, 1, 16)
    data = imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1, bitspersample=16)
    np.testing.assert_array_equal(decode(JPEG, data, Layout(20, 30, 1, 16, 16, 15)).pixels, pixels)


def test_twelve_bit_jpeg() -> None:
    pixels = gradient(40, 40, 1, 12)
    data = imagecodecs.jpeg8_encode(pixels, level=100, bitspersample=12)
    result = decode(JPEG12, data, Layout(40, 40, 1, 16, 12, 11))
    assert np.abs(result.pixels.astype(int) - pixels).max() <= 8


# --- cut off and damaged --------------------------------------------------------------------------------------------


def streams() -> dict[str, tuple[str, bytes, Layout]]:
    grey, colour = gradient(64, 80, 1, 12), gradient(64, 80, 3, 8)
    deep, flat = layout_for(grey, 12), layout_for(colour, 8)
    made = {CODECS[uid].name: (uid, encode(uid, grey, deep), deep) for uid in ENCODERS}
    made["JPEG Baseline"] = (JPEG, imagecodecs.jpeg8_encode(colour, level=90), flat)
    made["JPEG Extended"] = (JPEG12, imagecodecs.jpeg8_encode(grey, level=90, bitspersample=12), deep)
    return made


STREAMS = streams()


@pytest.mark.parametrize("part", [0.999, 0.9, 0.5, 0.1, 0.02, 0.0])
@pytest.mark.parametrize("name", STREAMS)
def test_a_frame_that_is_cut_off_is_an_error_and_never_half_a_picture(name: str, part: float) -> None:
    uid, data, layout = STREAMS[name]
    cut = data[: min(int(len(data) * part), len(data.rstrip(b"\0")) - 3)] if part else b""
    start = time.process_time()
    with pytest.raises(PixelError):
        decode(uid, cut, layout)
    assert time.process_time() - start < 1


@pytest.mark.parametrize("name", ["JPEG Baseline", "JPEG Extended", "JPEG-LS Lossless"])
def test_a_jpeg_that_only_lacks_its_end_marker_is_read(name: str) -> None:
    uid, data, layout = STREAMS[name]
    data = data[: data.rindex(b"\xff\xd9") + 2]
    whole = decode(uid, data, layout).pixels
    stripped = data.removesuffix(b"\xff\xd9")
    assert len(stripped) == len(data) - 2
    np.testing.assert_array_equal(decode(uid, stripped, layout).pixels, whole)


# What native bytes and RLE cannot tell: fewer rows (the rest is padding), and the same number of pixels
BARE = {"1.2.840.10008.1.2", EXPLICIT, ENCAPSULATED, "1.2.840.10008.1.2.1.99", DEFLATED_FRAME, RLE}
CHANGES = [{"rows": 63}, {"columns": 160}, {"rows": 80, "columns": 64}, {"samples": 3}]
LIES = [
    (name, change)
    for name, (uid, _, _) in STREAMS.items()
    for change in CHANGES
    if uid not in BARE or change in ({"columns": 160}, {"samples": 3})
]


@pytest.mark.parametrize(("name", "change"), LIES)
def test_a_frame_of_another_size_is_refused(name: str, change: dict[str, int]) -> None:
    uid, data, layout = STREAMS[name]
    if layout.samples == 3 and "samples" in change:
        change = {"samples": 1}
    other = replace(layout, **change)
    other = replace(other, photometric="RGB" if other.samples == 3 else "MONOCHROME2")
    with pytest.raises(PixelError):
        decode(uid, data, other)


def test_random_bytes_in_codestreams_do_no_harm() -> None:
    rng = np.random.default_rng(11)
    for name, (uid, data, layout) in STREAMS.items():
        for _ in range(60):
            damaged = bytearray(data)
            for at in rng.integers(0, len(damaged), 8):
                damaged[at] = rng.integers(0, 256)
            try:
                result = decode(uid, bytes(damaged), layout)
            except PixelError:
                continue
            assert result.pixels.shape == layout.shape, name


# --- the table ------------------------------------------------------------------------------------------------------


def test_unknown_and_video_syntaxes_have_no_codec() -> None:
    with pytest.raises(CodecMissing, match=r"1\.2\.840\.10008\.1\.2\.4\.102"):
        decode("1.2.840.10008.1.2.4.102", b"\0\0", Layout(2, 2))


def test_every_row_is_available_here_and_knows_a_missing_part() -> None:
    assert [codec.name for codec in CODECS.values() if not codec.available()] == []
    absent = Codec("1.2.3", "Absent", True, CODECS[J2K].decode, None, ("NO_SUCH_CODEC",))
    assert absent.missing() == "imagecodecs is built without NO_SUCH_CODEC"


@pytest.mark.parametrize(
    ("uid", "why"),
    [("111", "made of JPEG Baseline codestreams"), ("53", "retired"), ("55", "retired")],
)
def test_what_can_only_be_read_says_why_it_is_not_written(uid: str, why: str) -> None:
    with pytest.raises(CodecMissing, match=f"can be read but not written: .*{why}"):
        encode(f"1.2.840.10008.1.2.4.{uid}", np.zeros((2, 2), np.uint8), Layout(2, 2))


def test_samples_must_be_what_the_layout_says() -> None:
    with pytest.raises(PixelError, match="shape"):
        encode(J2K, np.zeros((2, 3), np.uint8), Layout(2, 2))


def test_encapsulated_frames_through_an_image() -> None:
    pixels = [gradient(4, 6, 1, 12, seed=n) for n in range(3)]
    layout = layout_for(pixels[0], 12)
    value = encapsulated(b"", *(encode(HTJ2K, frame, layout) for frame in pixels))
    found = image(data_set(value, allocated=16, stored=12, frames=3), HTJ2K)
    for number, frame in enumerate(pixels, 1):
        np.testing.assert_array_equal(found.frame(number), frame)
