"""What a decoder gives of one frame."""

from __future__ import annotations

from dataclasses import dataclass

from isocenter.pixels.layout import Array


@dataclass(frozen=True, slots=True)
class Decoded:
    """One frame: stored values, shape (rows, columns) or (rows, columns, samples), and the colour space they are in.

    `photometric` differs from Photometric Interpretation where the codec has a colour transform of its own:
    YBR_FULL_422 from JPEG, and YBR_RCT and YBR_ICT from JPEG 2000, come back as RGB; native YBR_FULL_422 as YBR_FULL.
    `bits` is the number of significant bits a sample has; `warnings` tells what was followed against the header.
    """

    pixels: Array
    photometric: str
    bits: int
    warnings: tuple[str, ...] = ()
