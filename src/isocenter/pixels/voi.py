"""The transforms of the grey chain: Modality LUT (PS3.3 C.11.1), VOI LUT (C.11.2), Presentation LUT (C.11.4, C.11.6).

The transforms are plain functions of arrays, so that a table of all stored values and a frame of floats go the same
way. Grey levels are floats from 0 (the minimum of the display) to 1 (its maximum).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isocenter.errors import PixelError
from isocenter.pixels.header import Attributes
from isocenter.pixels.layout import Array

Floats = NDArray[np.float64]

_MODALITY_LUT, _VOI_LUT = 0x00283000, 0x00283010
_DESCRIPTOR, _DATA = 0x00283002, 0x00283006
_PRESENTATION_LUT, _PRESENTATION_LUT_SHAPE = 0x20500010, 0x20500020
_CENTER, _WIDTH, _FUNCTION = 0x00281050, 0x00281051, 0x00281056
_INTERCEPT, _SLOPE = 0x00281052, 0x00281053
FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


@dataclass(frozen=True, slots=True)
class Rescale:
    """C.11.1.1: output = slope * stored + intercept."""

    slope: float = 1.0
    intercept: float = 0.0

    def apply(self, values: Array) -> Floats:
        return values * np.float64(self.slope) + self.intercept


@dataclass(frozen=True, slots=True)
class Window:
    """C.11.2.1.2: centre and width in units of the Modality LUT's output, and the VOI LUT Function."""

    center: float
    width: float
    function: str = "LINEAR"

    def __post_init__(self) -> None:
        if self.function not in FUNCTIONS:
            raise PixelError(f"VOI LUT Function is none of {', '.join(FUNCTIONS)}", tag_path="(0028,1056)")
        low = 1.0 if self.function == "LINEAR" else 0.0
        if not (np.isfinite(self.center) and np.isfinite(self.width)):
            raise PixelError("Window Center and Window Width are finite numbers", tag_path="(0028,1050)")
        if self.width < low or not self.width:
            raise PixelError(f"Window Width {self.width:g} is too small for {self.function}", tag_path="(0028,1051)")

    def apply(self, values: Floats) -> Floats:
        """Grey levels 0 to 1."""
        center, width = self.center, self.width
        if self.function == "SIGMOID":
            # Beyond 700 the exponential leaves the range of a double; the result is 0 or 1 long before.
            exponent = np.clip(-4.0 * (values - center) / width, -700, 700)
            return np.asarray(1.0 / (1.0 + np.exp(exponent)))
        if self.function == "LINEAR":
            if width == 1:
                return np.asarray(values > center - 0.5, np.float64)
            return np.asarray(np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0.0, 1.0))
        return np.asarray(np.clip((values - center) / width + 0.5, 0.0, 1.0))


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A lookup table: `entries` for the inputs from `first` on; inputs outside take the first or last entry."""

    first: int
    entries: NDArray[np.uint16]
    bits: int

    def look_up(self, values: Array) -> NDArray[np.uint16]:
        index = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        found: NDArray[np.uint16] = self.entries[index.astype(np.int64)]
        return found

    def apply(self, values: Array) -> Floats:
        """Grey levels 0 to 1."""
        return self.look_up(values) / np.float64((1 << self.bits) - 1)

    def of_levels(self, levels: Floats) -> Floats:
        """Grey levels 0 to 1 of grey levels: the entries share the range of what comes in evenly (C.11.4.1)."""
        index = np.rint(np.nan_to_num(levels) * (len(self.entries) - 1)).astype(np.int64)
        return self.entries[index] / np.float64((1 << self.bits) - 1)


def read_descriptor(attributes: Attributes, tag: int, signed: bool) -> tuple[int, int, int]:
    """Number of entries (0 stands for 65,536), first input value, bits of an entry (C.11.1.1.1, C.7.6.3.1.5).

    The first value has the sign of what goes in: by its VR where that is explicit, by `signed` where not.
    """
    words = attributes.words(tag)
    if len(words) != 3:
        raise PixelError("a LUT Descriptor has three values", tag_path=f"({tag >> 16:04X},{tag & 0xFFFF:04X})")
    count, first, bits = words
    if first >= 0x8000 and (signed or attributes.vr(tag) == "SS"):
        first -= 0x10000
    if not 1 <= bits <= 16:
        raise PixelError(f"LUT entries of {bits} bits", tag_path=f"({tag >> 16:04X},{tag & 0xFFFF:04X})")
    return count or 0x10000, first, bits


def table_entries(data: bytes, count: int, bits: int, little: bool, path: str) -> NDArray[np.uint16]:
    """Table data of `count` entries: one byte each if there are only that many, else 16-bit words."""
    if len(data) >= 2 * count:
        return np.frombuffer(data, "<u2" if little else ">u2", count).astype(np.uint16)
    if bits <= 8 and len(data) >= count:
        octets = np.frombuffer(data, np.uint8)
        if not little:
            octets = octets[: len(octets) & ~1].reshape(-1, 2)[:, ::-1].reshape(-1)
        if len(octets) >= count:
            return octets[:count].astype(np.uint16)
    raise PixelError(f"a lookup table of {len(data)} bytes where {count} entries are announced", tag_path=path)


def read_table(item: Attributes, signed: bool) -> Table:
    """The table in an item of a LUT sequence; `signed` as in `read_descriptor`."""
    count, first, bits = read_descriptor(item, _DESCRIPTOR, signed)
    entries = table_entries(item.raw(_DATA), count, bits, item.little, "(0028,3006)")
    if bits < 16:
        # Entries above their announced depth would leave the range of the display.
        entries = np.minimum(entries, np.uint16((1 << bits) - 1))
    return Table(first, entries, bits)


def modality_units(stored: Rescale | Table, values: Array) -> Floats:
    """The output of the Modality LUT for stored values: rescaled, or the table's entries."""
    return stored.apply(values) if isinstance(stored, Rescale) else stored.look_up(values).astype(np.float64)


def modality(attributes: Attributes, signed: bool) -> Rescale | Table:
    """The Modality LUT of a data set or of a Pixel Value Transformation item; the identity if there is none."""
    item = attributes.item(_MODALITY_LUT)
    if item is not None:
        return read_table(item, signed)
    slope = attributes.numbers(_SLOPE)
    intercept = attributes.numbers(_INTERCEPT)
    if not np.isfinite([*slope[:1], *intercept[:1]]).all():
        raise PixelError("Rescale Slope and Rescale Intercept are finite numbers", tag_path="(0028,1053)")
    return Rescale(slope[0] if slope and slope[0] else 1.0, intercept[0] if intercept else 0.0)


def voi(attributes: Attributes, signed: bool, index: int = 0) -> Window | Table | None:
    """The VOI LUT of a data set or of a Frame VOI LUT item; None if there is none.

    A VOI LUT Sequence goes before a window: whoever made a table meant more than two numbers. `index` chooses among
    the alternatives that the object offers. `signed` tells whether the Modality LUT's output may be negative.
    """
    item = attributes.item(_VOI_LUT, index)
    if item is not None:
        return read_table(item, signed)
    centers, widths = attributes.numbers(_CENTER), attributes.numbers(_WIDTH)
    if index >= min(len(centers), len(widths)):
        return None
    function = attributes.text(_FUNCTION).upper() or "LINEAR"
    if function not in FUNCTIONS:
        function = "LINEAR"  # C.11.2.1.3: the default where the named function is not known
    width = widths[index]
    if not width > 0 or (function == "LINEAR" and width < 1):
        return None  # an empty window, as some modalities write for "none"
    if not np.isfinite([centers[index], width]).all():
        return None  # nor is this one, with which nothing could be shown
    return Window(centers[index], width, function)


def presentation(attributes: Attributes) -> tuple[Table | None, bool]:
    """The Presentation LUT (C.11.4, C.11.6): its table, None for a shape, and whether the shape is INVERSE."""
    item = attributes.item(_PRESENTATION_LUT)
    if item is not None:
        return read_table(item, False), False
    return None, attributes.text(_PRESENTATION_LUT_SHAPE) == "INVERSE"


def automatic(values: Array, counts: NDArray[np.intp] | None = None) -> Window:
    """A window for values that came without one: from their 0.5th to their 99.5th percentile.

    `values` are outputs of the Modality LUT, without padding; with `counts` each occurs so often (`counted`). A handful
    of outliers (metal, burnt-in text) then does not take the contrast of the rest. At most a million evenly spaced
    values are looked at, unless they are counted.
    """
    flat = values.reshape(-1)
    if counts is None:
        flat = flat[:: max(1, flat.size // 1_000_000)]
    if flat.dtype.kind == "f":
        finite = np.isfinite(flat)
        flat, counts = flat[finite], None if counts is None else counts[finite]
    if not flat.size:
        return Window(0.5, 1.0, "LINEAR_EXACT")
    if counts is None:
        low, high = (float(x) for x in np.percentile(flat, (0.5, 99.5)))
    else:
        low, high = _percentiles(flat, counts)
    if high <= low:
        low, high = float(flat.min()), float(flat.max())
    return Window((low + high) / 2, (high - low) or 1.0, "LINEAR_EXACT")


def counted(values: Array) -> tuple[Array, NDArray[np.intp]] | None:
    """The different values of some and how often each occurs; None unless they are integers of at most 16 bits, of
    which it takes a quarter of the time that sorting takes."""
    if values.dtype.kind not in "iu" or values.dtype.itemsize > 2 or not values.size:
        return None
    first = int(values.min())
    counts = np.bincount(values.astype(np.intp) - first)
    found = np.flatnonzero(counts)
    return (found + first).astype(values.dtype), counts[found]


def _percentiles(values: Array, counts: NDArray[np.intp]) -> tuple[float, float]:
    """As np.percentile of all values one by one, in between linearly."""
    order = np.argsort(values, kind="stable")
    values, ends = values[order], np.cumsum(counts[order])

    def at(part: float) -> float:
        place = part * float(ends[-1] - 1)
        below = int(place)
        first, second = (float(values[np.searchsorted(ends, n, side="right")]) for n in (below, int(-(-place // 1))))
        return first + (second - first) * (place - below)

    return at(0.005), at(0.995)
