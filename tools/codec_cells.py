"""docs/reference/codecs.md: what each transfer syntax carries, found by writing and reading it.

A cell is a small frame that is transcoded and read again; nothing in the tables is claimed that was not just done.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from isocenter.errors import IsocenterError
from isocenter.pixels.codecs import CODECS
from isocenter.pixels.encoders import DEFAULT_LOSS, Encoder, Loss
from isocenter.pixels.image import Image
from isocenter.pixels.transcode import Wanted, can_transcode, transcoded
from isocenter.std.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, TRANSFER_SYNTAXES
from isocenter.wire.limits import DEFAULT_LIMITS
from pixel_objects import data_set
from pixel_oracles import COMPARED, DISAGREEMENTS, ONE_MORE_BIT, ONLY_WE, OWN_WAY, REFUSED

_BITS = (1, 8, 10, 12, 16, 24, 32)
_LOSSES = {"quality": DEFAULT_LOSS, "psnr": Loss(psnr=50), "near": Loss(near=2)}
_SIZE = 20


def _object(bits: int, signed: bool, samples: int) -> tuple[bytes, np.ndarray]:
    """Noise over the whole range, which nothing compresses without loss by chance."""
    shape = (_SIZE, _SIZE) if samples == 1 else (_SIZE, _SIZE, samples)
    size = 1 if bits <= 8 else 2 if bits <= 16 else 4
    values = np.random.default_rng(bits).integers(0, 1 << bits, shape) - (signed << (bits - 1))
    pixels = values.astype(f"{'i' if signed else 'u'}{size}")
    value = np.packbits(pixels, bitorder="little").tobytes() if bits == 1 else pixels.tobytes()
    return data_set(
        value, rows=_SIZE, columns=_SIZE, samples=samples, allocated=1 if bits == 1 else 8 * size, stored=bits,
        signed=int(signed), photometric="MONOCHROME2" if samples == 1 else "RGB", planar=None if samples == 1 else 0,
    ), pixels  # fmt: skip


@cache
def outcome(uid: str, bits: int, signed: bool, samples: int, loss: Loss | None) -> str:
    """Whether the samples come back exactly ("="), nearly ("~"), or cannot be written ("")."""
    data, pixels = _object(bits, signed, samples)
    wanted = Wanted(uid, loss, "1.2.3")
    try:
        written = b"".join(transcoded(data, 0, EXPLICIT_VR_LITTLE_ENDIAN, wanted, DEFAULT_LIMITS))
        read = Image.of(written, uid, 0).decode(1)
    except IsocenterError:
        return ""
    if read.warnings:
        raise AssertionError(f"{uid}: {read.warnings} of a frame of our own")
    if np.array_equal(read.pixels, pixels):
        return "="
    return "~"


def _cell(uid: str, encoder: Encoder | None, bits: int, signed: bool, samples: int) -> str:
    found = outcome(uid, bits, signed, samples, None)
    if encoder is not None and encoder.loses == "asked":
        lossy = outcome(uid, bits, signed, samples, _LOSSES[encoder.measure])
        found += "~" if lossy else ""
    return found


def _table(samples: int) -> list[str]:
    lines = [
        "| Transfer syntax | " + " | ".join(f"{bits}" for bits in _BITS) + " |",
        "|---|" + "---|" * len(_BITS),
    ]
    for uid, codec in CODECS.items():
        if not can_transcode(EXPLICIT_VR_LITTLE_ENDIAN, uid):
            continue
        cells = []
        for bits in _BITS:
            signs = (False,) if bits == 1 else (False, True)
            parts = [_cell(uid, codec.encoder, bits, signed, samples) or "-" for signed in signs]
            cells.append(parts[0] if len(set(parts)) == 1 else " / ".join(parts))
        lines.append(f"| {codec.name}, `{TRANSFER_SYNTAXES[uid].keyword}` | " + " | ".join(cells) + " |")
    return lines


def page() -> str:
    """The page in Markdown."""
    lines = [
        "# Codecs",
        "",
        "Which samples are read and written in which transfer syntax, by `isocenter transcode`, in Python and, without",
        "loss, by C-GET and C-MOVE. Made by writing and reading a frame of noise for each cell: `=` it came back",
        "exactly, `~` with a loss (`=~`: only if one is asked for), `-` it cannot be written. Where the sign makes a",
        "difference, unsigned stands before signed. Columns are Bits Stored.",
        "",
        "## One sample a pixel",
        "",
        *_table(1),
        "",
        "## Three samples a pixel (RGB)",
        "",
        *_table(3),
        "",
        "Floating-point pixel data are carried by syntaxes without compression, and by nothing else (PS3.5 A.4).",
        "Samples of 24 bits come in 32 here; a native frame of 24 Bits Allocated is read, too.",
        "",
        "## Read and not written",
        "",
        "| Transfer syntax | Why |",
        "|---|---|",
    ]
    for uid, codec in CODECS.items():
        if codec.encoder is None and not can_transcode(EXPLICIT_VR_LITTLE_ENDIAN, uid):
            lines.append(f"| {codec.name}, `{TRANSFER_SYNTAXES[uid].keyword}` | {codec.unwritten} |")
    lines += [
        "",
        "JPEG Baseline becomes JPEG XL JPEG Recompression and comes back byte by byte. Codestreams that serve in the",
        "other syntax as they are (a lossless one where both are allowed) are kept. MPEG-2, H.264 and H.265 are",
        "stored, retrieved and served as they are.",
        "",
        "JPEG 2000 Part 2 is written and read frame by frame. Each frame is a component collection of its own (PS3.5",
        "section A.4.4), in which Part 2 has nothing to transform, so that its codestream is one of Part 1; GDCM reads",
        "these objects, and FFmpeg their codestreams. No byte is saved so: it is for receivers that take nothing else.",
        "Transforms across frames or components (T.801 Annex J) are neither written nor read, as no decoder can tell",
        "whether ours would be right: OpenJPEG 2.5 and Grok 10 refuse such a codestream, and FFmpeg leaves the",
        "transform out and decodes something else. Objects with them, with other extensions, or with several frames as",
        "components of one codestream are refused by name, kept and given back; none is in the corpus.",
        "",
        "## What is not as one might expect",
        "",
        *(f"- {text}" for text in ONE_MORE_BIT),
        "",
        "## Compared with other decoders",
        "",
        "Every file of a corpus of real objects is decoded by us and by all of these that can: lossless frames are",
        "equal, others within 1. The numbers are files that both read; fewer fail the test.",
        "",
        "| Transfer syntax | Decoder: files |",
        "|---|---|",
    ]
    for uid, decoders in COMPARED.items():
        told = ", ".join(f"{name}: {count}" for name, count in decoders.items())
        lines.append(f"| {CODECS[uid].name} | {told} |")
    for (uid, decoder), (most, reason) in OWN_WAY.items():
        lines += ["", f"{CODECS[uid].name}, {decoder}: within {most}. {reason}."]
    lines += ["", "They differ on these files:", "", "| File | Decoder | Who is right |", "|---|---|---|"]
    for name, (decoders, reason) in DISAGREEMENTS.items():
        lines.append(f"| `{name}` | {', '.join(decoders)} | {reason} |")
    lines += ["", "Others read these, and we refuse:", "", "| File | Why |", "|---|---|"]
    lines += [f"| `{name}` | {reason} |" for name, reason in REFUSED.items()]
    lines += ["", "Nobody else at hand reads these:", "", "| File | Why |", "|---|---|"]
    lines += [f"| `{name}` | {reason} |" for name, reason in ONLY_WE.items()]
    return "\n".join(lines) + "\n"
