"""Transcoding: the same pixels in every other syntax, every other byte as it was, and what a loss obliges to say."""

from __future__ import annotations

import mmap
import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.encaps import parse_basic_offsets
from pydicom.filereader import read_dataset

from isocenter.errors import CodecMissing, DataSetError, NotAcceptable, PixelError
from isocenter.pixels.codecs import CODECS, encode
from isocenter.pixels.encapsulate import encapsulated as encapsulated_element
from isocenter.pixels.encoders import Loss
from isocenter.pixels.image import Image
from isocenter.pixels.layout import Layout
from isocenter.pixels.transcode import Wanted, can_transcode, kept, loses, transcoded
from isocenter.std.transfer_syntaxes import transfer_syntax
from isocenter.wire.limits import DEFAULT_LIMITS
from isocenter.wire.part10 import read_header
from isocenter.wire.scan import scan
from isocenter.wire.splice import Head
from pixel_objects import (
    BIG_ENDIAN,
    DEFLATED_FRAME,
    ENCAPSULATED,
    EXPLICIT,
    HTJ2K,
    IMPLICIT,
    J2K,
    JPEG,
    JPEG_LS,
    JXL,
    RLE,
    data_set,
    element,
    encapsulated,
    fragments,
    gradient,
    image,
    sequence,
)

J2K_LOSSY, HTJ2K_LOSSY, RECOMPRESSED = (f"1.2.840.10008.1.2.4.{n}" for n in (91, 203, 111))
DEFLATED = "1.2.840.10008.1.2.1.99"
LOSSLESS = [uid for uid in CODECS if can_transcode(EXPLICIT, uid) and not loses(EXPLICIT, uid)]


def made(data: bytes, target: str, *, source: str = EXPLICIT, **options: object) -> bytes:
    return b"".join(transcoded(data, 0, source, Wanted(target, **options), DEFAULT_LIMITS))


def file(name: str) -> tuple[bytes, int, str]:
    path = get_testdata_file(name, download=False)
    assert path is not None
    raw = Path(path).read_bytes()
    meta = read_header(raw)
    return raw, meta.data_set_offset, meta.transfer_syntax


def head_of(data: bytes, syntax: str = EXPLICIT) -> bytes:
    row = transfer_syntax(syntax)
    return data[: scan(data, little=row.little, explicit=row.explicit, start=0, stop=0x7FE00000, whole=False).end]


def objects() -> dict[str, tuple[bytes, str]]:
    """Data sets of every kind of sample."""
    grey = np.stack([gradient(19, 22, 1, 12, signed=True, seed=n) for n in range(3)])
    colour = gradient(9, 14, 3, 8)
    bits = np.packbits(np.random.default_rng(1).integers(0, 2, 3 * 35), bitorder="little").tobytes()
    deep = gradient(8, 9, 1, 20)
    odd = np.stack([gradient(5, 7, 1, 8, seed=n) for n in range(3)]).tobytes()
    size = {"rows": 19, "columns": 22, "allocated": 16, "stored": 12, "signed": 1, "frames": 3}
    return {
        "CT, signed, 12 of 16 bits, three frames": (data_set(grey.tobytes(), **size), EXPLICIT),
        "the same, implicit": (data_set(grey.tobytes(), explicit=False, **size), IMPLICIT),
        "the same, big endian": (data_set(grey.astype(">i2").tobytes(), little=False, **size), BIG_ENDIAN),
        "High Bit at the top": (
            data_set((grey.astype(np.int16) << 4).tobytes(), **{**size, "high": 15}),
            EXPLICIT,
        ),
        "RGB by plane": (
            data_set(
                np.ascontiguousarray(colour.transpose(2, 0, 1)).tobytes(),
                rows=9, columns=14, samples=3, photometric="RGB", planar=1,
            ),
            EXPLICIT,
        ),
        "YBR_FULL": (
            data_set(colour.tobytes(), rows=9, columns=14, samples=3, photometric="YBR_FULL", planar=0),
            EXPLICIT,
        ),
        "single bits, frames within a byte": (
            data_set(bits, rows=5, columns=7, allocated=1, frames=3), EXPLICIT,
        ),
        "an odd number of bytes a frame, and in all": (
            data_set(odd + b"\0", rows=5, columns=7, frames=3), EXPLICIT,
        ),
        "20 of 32 bits": (data_set(deep.tobytes(), rows=8, columns=9, allocated=32, stored=20), EXPLICIT),
    }  # fmt: skip


OBJECTS = objects()


@pytest.mark.parametrize("target", LOSSLESS, ids=[CODECS[uid].name for uid in LOSSLESS])
@pytest.mark.parametrize("what", OBJECTS)
def test_the_same_pixels_in_every_lossless_syntax_and_back(what: str, target: str) -> None:
    data, source = OBJECTS[what]
    original = Image.of(data, source, 0)
    encoder = CODECS[target].encoder
    too_deep = original.bits_stored > (encoder.depths[1] if encoder is not None and not encoder.native else 64)
    # 32 bits in OW: whether words or samples change their order is not said anywhere
    if too_deep or (target == BIG_ENDIAN and original.bits_allocated > 16):
        with pytest.raises(DataSetError):
            made(data, target, source=source)
        return
    result = made(data, target, source=source)
    found = Image.of(result, target, 0)
    for number in range(1, original.number_of_frames + 1):
        was, now = original.decode(number), found.decode(number)
        np.testing.assert_array_equal(was.pixels, now.pixels)
        assert (was.photometric, was.bits, ()) == (now.photometric, now.bits, now.warnings)
    if found.encapsulated:
        lengths = [length for at in range(1, found.number_of_frames + 1) for _, length in found.frame_places(at)[0]]
        assert not any(length % 2 for length in lengths)
    restored = made(result, EXPLICIT, source=target)
    assert not len(restored) % 2
    again = Image.of(restored, EXPLICIT, 0)
    np.testing.assert_array_equal(original.frame(1), again.frame(1))
    assert (again.number_of_frames, again.planar_configuration) == (
        original.number_of_frames,
        found.planar_configuration,
    )


@pytest.mark.parametrize("target", [J2K, RLE, JPEG_LS, HTJ2K, JXL, ENCAPSULATED, DEFLATED_FRAME])
def test_of_the_header_nothing_changes_that_need_not(target: str) -> None:
    raw, start, source = file("CT_small.dcm")
    result = b"".join(transcoded(raw, start, source, Wanted(target), DEFAULT_LIMITS))
    assert head_of(raw[start:]) == head_of(result)
    trailing = raw[-138:]  # Data Set Trailing Padding
    assert result.endswith(trailing)


def test_planes_become_pixels_and_the_header_says_so_and_no_more() -> None:
    data, _ = OBJECTS["RGB by plane"]
    result = made(data, J2K)
    expected = head_of(data).replace(
        element(0x00280004, "CS", "RGB"), element(0x00280004, "CS", "YBR_RCT")
    ).replace(element(0x00280006, "US", 1), element(0x00280006, "US", 0))  # fmt: skip
    assert expected == head_of(result)


def test_a_group_length_stays_true() -> None:
    data, _ = OBJECTS["RGB by plane"]
    group = head_of(data)
    data = element(0x00280000, "UL", len(group)) + data
    result = made(data, J2K)
    assert len(head_of(result)) - 12 == struct.unpack("<I", Head(head_of(result)).value(0x00280000))[0]


def test_frames_on_several_threads_give_the_same_bytes() -> None:
    data, _ = OBJECTS["CT, signed, 12 of 16 bits, three frames"]
    assert made(data, J2K) == made(data, J2K, threads=3)


# --- offset tables --------------------------------------------------------------------------------------------------


def test_the_basic_offset_table_is_true() -> None:
    data, _ = OBJECTS["CT, signed, 12 of 16 bits, three frames"]
    result = made(data, RLE)
    ds = read_dataset(BytesIO(result), False, True)
    offsets = parse_basic_offsets(ds.PixelData)
    assert len(offsets) == 3
    start = 8 + 12
    assert all(ds.PixelData[start + offset :][:4] == b"\xfe\xff\x00\xe0" for offset in offsets)


def test_the_extended_offset_table_is_true() -> None:
    data, _ = OBJECTS["CT, signed, 12 of 16 bits, three frames"]
    result = made(data, RLE, extended=True)
    ds = read_dataset(BytesIO(result), False, True)
    assert ds.PixelData[:8] == b"\xfe\xff\x00\xe0\0\0\0\0"
    offsets, lengths = (
        np.frombuffer(value, "<u8") for value in (ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths)
    )
    found = image(result, RLE)
    for number, (offset, length) in enumerate(zip(offsets, lengths, strict=True), 1):
        assert found.frame_bytes(number) == ds.PixelData[16 + int(offset) :][: int(length)]
    np.testing.assert_array_equal(found.frame(3), image(data).frame(3))


def test_beyond_32_bits_the_table_is_extended() -> None:
    """Sizes are enough to write a table: no frame is looked at before it."""
    pieces = encapsulated_element([0xFFFFFFF0, 8, 8], iter(()))
    assert next(pieces)[:4] == b"\xe0\x7f\x01\x00"
    assert np.frombuffer(next(pieces)[12:], "<u8").tolist() == [0xFFFFFFF0, 8, 8]
    with pytest.raises(NotAcceptable):
        next(encapsulated_element([0xFFFFFFFF], iter(())))


# --- codestreams that serve as they are -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"), [(J2K, J2K_LOSSY), (HTJ2K, HTJ2K_LOSSY), (JXL, "1.2.840.10008.1.2.4.112")]
)
def test_a_lossless_codestream_is_kept_where_both_are_allowed(first: str, second: str) -> None:
    data, _ = OBJECTS["CT, signed, 12 of 16 bits, three frames"]
    lossless = made(data, first)
    assert lossless == made(lossless, second, source=first)


def test_a_jpeg_recompressed_and_restored() -> None:
    pixels = gradient(16, 24, 3, 8)
    codestream = encode(JPEG, pixels, Layout(16, 24, 3, photometric="RGB")).removesuffix(b"\0")
    said = element(0x00282110, "CS", "01")
    data = data_set(
        encapsulated(b"", codestream), rows=16, columns=24, samples=3, photometric="YBR_FULL_422", planar=0, extra=said
    )
    packed = made(data, RECOMPRESSED, source=JPEG)
    again = image(made(packed, JPEG, source=RECOMPRESSED), JPEG)
    assert codestream == again.frame_bytes(1).removesuffix(b"\0")
    with pytest.raises(CodecMissing, match="made of JPEG Baseline codestreams"):
        made(OBJECTS["YBR_FULL"][0], RECOMPRESSED)


# --- loss -----------------------------------------------------------------------------------------------------------

UID = "1.2.3.4.5"


def lossy(target: str, loss: Loss | None, extra: str = "ORIGINAL\\PRIMARY\\AXIAL") -> pydicom.Dataset:
    raw, start, source = file("CT_small.dcm")
    head = Head(head_of(raw[start:])).spliced({0x00080008: ("CS", extra.encode())})
    data = head + raw[start + len(head_of(raw[start:])) :]
    if target in (JPEG, "1.2.840.10008.1.2.4.51"):
        data = data.replace(element(0x00280103, "US", 1), element(0x00280103, "US", 0)).replace(
            element(0x00280101, "US", 16), element(0x00280101, "US", 12)
        )
    assert loses(source, target, loss)
    result = b"".join(transcoded(data, 0, source, Wanted(target, loss, UID), DEFAULT_LIMITS))
    ds = read_dataset(BytesIO(result), False, True)
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = target
    return ds


@pytest.mark.parametrize(
    ("target", "loss", "method"),
    [
        (J2K_LOSSY, Loss(ratio=20), "ISO_15444_1"),
        (HTJ2K_LOSSY, Loss(psnr=50), "ISO_15444_15"),
        ("1.2.840.10008.1.2.4.51", None, "ISO_10918_1"),
    ],
)
def test_a_loss_makes_another_object_and_says_so(target: str, loss: Loss | None, method: str) -> None:
    ds, original = lossy(target, loss), pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    assert (UID, "01", method) == (ds.SOPInstanceUID, ds.LossyImageCompression, ds.LossyImageCompressionMethod)
    native = 2 * 128 * 128
    size = len(ds.PixelData) - 12 - 8  # the offset table's item of one entry, the header of the frame's
    assert float(ds.LossyImageCompressionRatio) == pytest.approx(native / size, rel=0.01)
    if loss is not None and loss.ratio:
        assert float(ds.LossyImageCompressionRatio) >= loss.ratio
    assert ["DERIVED", "PRIMARY", "AXIAL"] == list(ds.ImageType)
    (source,) = ds.SourceImageSequence
    assert original.SOPInstanceUID == source.ReferencedSOPInstanceUID
    assert original.SOPClassUID == source.ReferencedSOPClassUID
    assert source.PurposeOfReferenceCodeSequence[0].CodeValue == "121320"
    assert ds.DerivationCodeSequence[0].CodeValue == "113040"
    assert "lossy" in ds.DerivationDescription
    changed = {
        "ImageType", "SOPInstanceUID", "DerivationDescription", "SourceImageSequence", "DerivationCodeSequence",
        "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod", "PixelData",
        "BitsStored", "HighBit", "PixelRepresentation",
    }  # fmt: skip
    for one in original:
        if one.keyword not in changed:
            assert ds[one.tag].value == one.value


def test_a_second_loss_is_added_to_the_first() -> None:
    first = lossy(J2K_LOSSY, Loss(ratio=5))
    file = BytesIO()
    first.save_as(file, enforce_file_format=True)
    data = file.getvalue()
    start = read_header(data).data_set_offset
    wanted = Wanted(HTJ2K_LOSSY, Loss(psnr=45), "1.2.3.4.6")
    result = read_dataset(BytesIO(b"".join(transcoded(data, start, J2K_LOSSY, wanted, DEFAULT_LIMITS))), False, True)
    assert ["ISO_15444_1", "ISO_15444_15"] == list(result.LossyImageCompressionMethod)
    assert len(result.LossyImageCompressionRatio) == 2
    assert [UID] == [item.ReferencedSOPInstanceUID for item in result.SourceImageSequence][1:]
    assert "PurposeOfReferenceCodeSequence" not in result.SourceImageSequence[1]  # it was compressed already


def test_what_was_lost_in_jpeg_baseline_is_told_when_it_is_decompressed() -> None:
    """PS3.3 C.7.6.1.1.5: the flag is for what an image has undergone, whatever it is stored in now."""
    pixels = gradient(16, 24, 1, 8)
    data = data_set(encapsulated(b"", encode(JPEG, pixels, Layout(16, 24))), rows=16, columns=24)
    native = read_dataset(BytesIO(made(data, EXPLICIT, source=JPEG)), False, True)
    assert ("01", "ISO_10918_1") == (native.LossyImageCompression, native.LossyImageCompressionMethod)
    assert "SourceImageSequence" not in native, "nothing was lost now"


def test_colour_in_lossy_syntaxes() -> None:
    pixels = gradient(32, 40, 3, 8)
    data = data_set(pixels.tobytes(), rows=32, columns=40, samples=3, photometric="RGB", planar=0)
    for target, loss, photometric in (
        (JPEG, None, "YBR_FULL_422"),
        (J2K_LOSSY, Loss(psnr=45), "YBR_ICT"),
        ("1.2.840.10008.1.2.4.112", Loss(quality=95), "XYB"),
        ("1.2.840.10008.1.2.4.81", Loss(near=2), "RGB"),
    ):
        found = image(made(data, target, loss=loss, sop_instance=UID), target)
        assert photometric == found.photometric_interpretation
        decoded = found.decode(1)
        assert ("RGB", ()) == (decoded.photometric, decoded.warnings)
        assert np.abs(decoded.pixels.astype(int) - pixels).mean() < 8


# --- what cannot be -------------------------------------------------------------------------------------------------

OVERLAY = element(0x60000102, "US", 12)


@pytest.mark.parametrize(
    ("data", "source", "target", "why"),
    [
        (element(0x00080016, "UI", "1.2\0"), EXPLICIT, J2K, "no pixel data"),
        (
            data_set(element(0x7FE00008, "OF", bytes(96)), allocated=32),
            EXPLICIT, J2K, "no pixel data to compress",
        ),
        (data_set(bytes(48), allocated=16, stored=12, last=OVERLAY), EXPLICIT, J2K, r"overlay.*\(6000,0102\)"),
        (data_set(bytes(24), photometric="PALETTE COLOR"), EXPLICIT, JPEG, "palette"),
        (data_set(bytes(48), allocated=16, signed=1, stored=12), EXPLICIT, "1.2.840.10008.1.2.4.51", "signed"),
        (data_set(bytes(48), allocated=16), EXPLICIT, JPEG, "2 to 8 bits, not 16"),
        (data_set(bytes(12), frames=2), EXPLICIT, J2K, "frame 1"),
        (data_set(bytes(24 + 12), frames=2), EXPLICIT, J2K, "frame 2"),
        (data_set(encapsulated(b"", b"\xff\xd8\xff\xd9")), JPEG, EXPLICIT, "frame 1"),
        (
            sequence(0x00880200, data_set(encapsulated(b"", b"\1\2"))) + data_set(bytes(24)),
            EXPLICIT, J2K, "within a sequence",
        ),
        (data_set(bytes(24)), EXPLICIT, "1.2.840.10008.1.2.4.102", "not written"),
        (data_set(encapsulated(b"", b"\0\0\1\xb3")), "1.2.840.10008.1.2.4.100", EXPLICIT, "not read"),
    ],
)  # fmt: skip
def test_what_cannot_be_says_why(data: bytes, source: str, target: str, why: str) -> None:
    with pytest.raises(DataSetError, match=why):
        made(data, target, source=source, sop_instance=UID)


def test_an_overlay_in_unused_bits_comes_out_of_a_whole_container() -> None:
    """Bit 12 of a signed image of 12 bits, compressed with all sixteen (as scanners did before overlays had data)."""
    samples = gradient(4, 6, 1, 12, signed=True).astype(np.uint16) & 0x0FFF | np.arange(24).reshape(4, 6) % 2 << 12
    container = samples.astype(np.uint16)
    codestream = encode("1.2.840.10008.1.2.4.70", container, Layout(4, 6, 1, 16, 16, 15))
    header = {"allocated": 16, "stored": 12, "signed": 1, "last": OVERLAY}
    result = made(data_set(encapsulated(b"", codestream), **header), EXPLICIT, source="1.2.840.10008.1.2.4.70")
    assert data_set(container.tobytes(), **header) == result
    np.testing.assert_array_equal(image(result).frame(1), gradient(4, 6, 1, 12, signed=True))


def test_a_broken_frame_in_the_middle_leaves_nothing_half_made() -> None:
    good = encode(RLE, gradient(4, 6, 1, 8), Layout(4, 6))
    data = data_set(encapsulated(b"", good, good[:70], good), frames=3)
    pieces = transcoded(data, 0, RLE, Wanted(J2K), DEFAULT_LIMITS)
    with pytest.raises(PixelError, match="frame 2"):
        next(pieces)


def test_native_pixel_data_longer_than_an_element(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isocenter.pixels.transcode._LONGEST", 40)
    with pytest.raises(NotAcceptable, match="longer than a data element"):
        made(made(OBJECTS["YBR_FULL"][0], RLE), EXPLICIT, source=RLE)


def test_the_pieces_of_a_mapped_file_are_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read of a mapped file counts as ours until we say otherwise."""
    monkeypatch.setattr("isocenter.pixels.transcode._FORGET", 1 << 20)
    rows, frames = 512, 64
    path = tmp_path / "many.dcm"
    data = data_set(b"", rows=rows, columns=rows, allocated=16, stored=12, frames=frames)
    head = data[:-12] + b"\xe0\x7f\x10\x00OW\0\0" + struct.pack("<I", 2 * rows * rows * frames)
    with path.open("wb") as written:
        written.write(head)
        written.truncate(len(head) + 2 * rows * rows * frames)
    with path.open("rb") as read, mmap.mmap(read.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        view = memoryview(mapped)
        most = 0
        result = transcoded(view, 0, EXPLICIT, Wanted(RLE, scratch=str(tmp_path)), DEFAULT_LIMITS)
        for _ in result:
            most = max(most, resident(str(path)))
        view.release()
    assert most < 8 << 20


def resident(path: str) -> int:
    """Bytes of a mapped file that count as this process's."""
    found = 0
    lines = Path("/proc/self/smaps").read_text().splitlines()
    for at, line in enumerate(lines):
        if line.endswith(path):
            found += next(int(one.split()[1]) << 10 for one in lines[at:] if one.startswith("Rss:"))
    return found


def test_kept_pieces() -> None:
    assert bytes(kept([b"ab", b"", b"c"])) == b"abc"
    assert bytes(kept([])) == b""


def test_fragments_of_one_frame_are_joined() -> None:
    whole = encode(J2K, gradient(4, 6, 1, 8), Layout(4, 6))
    data = data_set(b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + fragments(b"", whole[:40], whole[40:]), frames=1)
    np.testing.assert_array_equal(image(made(data, RLE, source=J2K), RLE).frame(1), gradient(4, 6, 1, 8))
