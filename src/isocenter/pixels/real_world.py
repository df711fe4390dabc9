"""Real World Value Mapping (PS3.3 C.7.6.16.2.11): what stored values mean, as data and apart from how they are shown.

A frame may have several, as a mean and a standard deviation, or one for each range of its values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isocenter.errors import PixelError
from isocenter.pixels.header import Attributes
from isocenter.pixels.image import Image
from isocenter.pixels.layout import Array

_MAPPINGS, _FIRST, _LAST = 0x00409096, 0x00409216, 0x00409211
_DOUBLE_FIRST, _DOUBLE_LAST = 0x00409214, 0x00409213
_INTERCEPT, _SLOPE, _LUT_DATA = 0x00409224, 0x00409225, 0x00409212
_LABEL, _EXPLANATION, _UNITS, _QUANTITY = 0x00409210, 0x00283003, 0x004008EA, 0x00409220
_CODE, _SCHEME, _MEANING, _CONCEPT_NAME, _CONCEPT = 0x00080100, 0x00080102, 0x00080104, 0x0040A043, 0x0040A168
_LONG_CODE = 0x00080119
_MOST = 64


@dataclass(frozen=True, slots=True)
class Code:
    """A coded concept (PS3.3 section 8.8): `value` in coding scheme `scheme`, as ("mm2/s", "UCUM")."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, slots=True, eq=False)
class RealWorldMap:
    """One mapping, for stored values from `first` to `last` (both included).

    Real values are `slope` * stored + `intercept`, or `table[stored - first]` where there is a table. `quantity` tells
    what is measured, where the object says so.
    """

    label: str
    explanation: str
    units: Code
    quantity: Code | None
    first: float
    last: float
    slope: float
    intercept: float
    table: NDArray[np.float64] | None = None

    def apply(self, stored: Array) -> NDArray[np.float64]:
        """Real values in `units`, of the shape of `stored`; NaN where the mapping does not apply."""
        inside = (stored >= self.first) & (stored <= self.last)
        if self.table is None:
            real = stored * np.float64(self.slope) + self.intercept
        else:
            real = self.table[np.where(inside, stored - self.first, 0).astype(np.intp)]
        return np.where(inside, real, np.nan)


def real_world_values(image: Image, number: int = 1) -> list[RealWorldMap]:
    """The mappings of frame `number`, in the object's order; [] if there are none.

    They stand in a functional group of the frame, or at the top level of a classic image. PixelError for one that is
    not complete.
    """
    found: list[RealWorldMap] = []
    for holder, index in _holders(image, number):
        item = holder.item(_MAPPINGS, index)
        assert item is not None
        found.append(_mapping(item, image.layout.signed))
    return found


def _holders(image: Image, number: int) -> list[tuple[Attributes, int]]:
    """The macro is a sequence of its own (C.7.6.16.2.11): all its items count, not only the first."""
    for holder in (*image.groups(number), image.attributes):
        count = min(_MOST, holder.count(_MAPPINGS))
        if count:
            return [(holder, index) for index in range(count)]
    return []


def _mapping(item: Attributes, signed: bool) -> RealWorldMap:
    first, last = _end(item, _FIRST, _DOUBLE_FIRST, signed), _end(item, _LAST, _DOUBLE_LAST, signed)
    slope, intercept, entries = item.numbers(_SLOPE), item.numbers(_INTERCEPT), item.numbers(_LUT_DATA)
    table = None
    if entries:
        table = np.array(entries, np.float64)
        if len(table) != last - first + 1:
            raise PixelError(
                f"a real world value table of {len(table)} entries for {last - first + 1:.0f} values",
                tag_path="(0040,9212)",
            )
    elif not slope or not intercept:
        raise PixelError("a real world value mapping without slope and intercept", tag_path="(0040,9225)")
    units = item.item(_UNITS)
    return RealWorldMap(
        label=item.text(_LABEL),
        explanation=item.prose(_EXPLANATION, "LO"),
        units=_code(units) if units is not None else Code("", "", ""),
        quantity=_quantity(item),
        first=first,
        last=last,
        slope=slope[0] if slope else 1.0,
        intercept=intercept[0] if intercept else 0.0,
        table=table,
    )


def _end(item: Attributes, tag: int, double: int, signed: bool) -> float:
    """One end of the range: an integer of the pixels' sign, or of double precision for float pixels."""
    if tag in item:
        word = item.words(tag)[0]
        return float(word - 0x10000 if (signed or item.vr(tag) == "SS") and word & 0x8000 else word)
    values = item.numbers(double)
    if not values:
        raise PixelError("a real world value mapping without its range", tag_path="(0040,9216)")
    return values[0]


def _quantity(item: Attributes) -> Code | None:
    """The concept of the Quantity Definition item whose name is (246205007, SCT, "Quantity")."""
    for index in range(min(_MOST, item.count(_QUANTITY))):
        definition = item.item(_QUANTITY, index)
        name = definition.item(_CONCEPT_NAME) if definition is not None else None
        value = definition.item(_CONCEPT) if definition is not None else None
        if name is not None and value is not None and name.text(_CODE) in ("246205007", "G-C1C6"):
            return _code(value)
    return None


def _code(item: Attributes) -> Code:
    return Code(item.text(_CODE) or item.text(_LONG_CODE), item.text(_SCHEME), item.prose(_MEANING, "LO"))
