"""`isocenter dump --frames`: where the frames of an object lie, what they announce, and their bytes as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from isocenter.cli import output
from isocenter.cli.frame_numbers import FrameNumbers
from isocenter.errors import IsocenterError, PixelError, UsageError

if TYPE_CHECKING:
    from isocenter.pixels.image import Image
    from isocenter.wire.elements import Buffer

_HEAD = 64 * 1024  # of a codestream, in which it has announced itself
# For people, and as the end of a file's name
_KINDS = {
    "dct": ("JPEG", ".jpg"),
    "lossless": ("JPEG lossless", ".jpg"),
    "jpegls": ("JPEG-LS", ".jls"),
    "j2k": ("JPEG 2000", ".j2k"),
    "htj2k": ("HTJ2K", ".j2c"),
    "jxl": ("JPEG XL", ".jxl"),
}


def show(buf: Buffer, frames: FrameNumbers, label: str, out: Path | None, *, as_json: bool) -> None:
    """One line, or one JSON document, for each frame. Raises the errors of Image.of, and UsageError for `out`.

    A frame that is not all there is told, and the others follow; PixelError at the end then.
    """
    from isocenter.pixels.image import Image
    from isocenter.wire.part10 import read_header

    with memoryview(buf) as view:
        meta = read_header(view)
        image = Image.of(view, meta.transfer_syntax, meta.data_set_offset)
        if not as_json:
            output.write(_about(image))
        failed = 0
        for number in frames.of(image.number_of_frames):
            try:
                told = _described(image, number)
                if out is not None:
                    told["file"] = str(_written(image, number, told, out, label))
            except PixelError as error:
                output.fail(error, label)
                failed += 1
                continue
            if as_json:
                output.write_json(told)
            else:
                output.write(_line(told))
        if image.flags:
            output.note(f"note: {label}: read leniently: {', '.join(sorted(image.flags))}")
        if failed:
            raise PixelError(f"{failed} frames are not all there")


def _about(image: Image) -> str:
    layout = image.layout
    samples = f" x {layout.samples}" if layout.samples > 1 else ""
    return (
        f"{image.number_of_frames} frames of {layout.rows} x {layout.columns}{samples}, {layout.photometric}, "
        f"{layout.bits_stored} of {layout.bits_allocated} bits{', signed' if layout.signed else ''}"
        f"{f'; {image.offset_table}' if image.offset_table else ''}"
    )


def _described(image: Image, number: int) -> dict[str, Any]:
    places, bit = image.frame_places(number)
    told: dict[str, Any] = {"frame": number, "places": places, "bytes": sum(length for _, length in places)}
    if bit:
        told["bit"] = bit
    if image.encapsulated:
        told |= _announced(image.frame_bytes(number)[:_HEAD])
    else:
        image.frame_bytes(number)  # says whether all of it is there
    return told


def _announced(head: bytes) -> dict[str, Any]:
    """What a codestream says of itself; its first bytes where it is none, as RLE and uncompressed frames are not."""
    from isocenter.pixels.codestream import read_codestream

    try:
        stream = read_codestream(head)
    except IsocenterError:
        return {"begins": head[:8].hex(" ")}
    return {
        "codestream": stream.kind,
        "rows": stream.rows,
        "columns": stream.columns,
        "samples": stream.samples,
        "precision": stream.precision,
    }


def _line(told: dict[str, Any]) -> str:
    places = " ".join(f"@{offset}+{length}" for offset, length in told["places"][:4])
    more = len(told["places"]) - 4
    words = [f"{told['frame']:>6}", places + (f" and {more} more" if more > 0 else "")]
    if len(told["places"]) > 1:
        words.append(f"{told['bytes']} bytes")
    if "bit" in told:
        words.append(f"from bit {told['bit']}")
    if "codestream" in told:
        samples = f" x {told['samples']}" if told["samples"] > 1 else ""
        words.append(
            f"{_KINDS[told['codestream']][0]} {told['rows']} x {told['columns']}{samples}, {told['precision']} bits"
        )
    elif "begins" in told:
        words.append(told["begins"])
    if "file" in told:
        words.append(told["file"])
    return "  ".join(words)


def _written(image: Image, number: int, told: dict[str, Any], out: Path, label: str) -> Path:
    suffix = _KINDS[told["codestream"]][1] if "codestream" in told else ".raw"
    path = out / f"{Path(label).stem}-{number:04d}{suffix}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(image.frame_bytes(number))
    except FileExistsError:
        raise UsageError(f"{path} is there already") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    return path
