"""What one display does with the values it is given, and the table that makes it follow the standard function.

A characteristic curve (PS3.14 section 6.2) says which luminance each digital driving level (DDL) gives. It is measured
with a photometer, for some levels or for all, and kept in the text form of DCMTK's monitor files, which other programs
write and read:

    max   255
    amb   1.0
    0     0.19
    255   115.9
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isocenter.display.gsdf import jnd_index, luminance
from isocenter.errors import UsageError

P_VALUES = 1 << 16
_MOST_LEVELS = 1 << 16
_LONGEST_FILE = 4 << 20
# AAPM TG18 and IEC 62563-1: contrast within 10 per cent of the function's, for primary diagnostic displays.
PRIMARY_TOLERANCE = 0.10


@dataclass(frozen=True, eq=False)
class Characteristic:
    """A display's luminances: `measured` in cd/m2 for `levels` (ascending DDLs, the first 0, the last the greatest).

    `ambient`: the luminance in cd/m2 that the room adds, reflected by the screen.
    """

    levels: NDArray[np.int64]
    measured: NDArray[np.float64]
    ambient: float = 0.0

    def __post_init__(self) -> None:
        levels, measured = self.levels, self.measured
        if levels.ndim != 1 or levels.shape != measured.shape or len(levels) < 2:
            raise UsageError("a characteristic curve needs a luminance for each of at least two levels")
        if levels[0] != 0 or levels[-1] >= _MOST_LEVELS or bool(np.any(np.diff(levels) <= 0)):
            raise UsageError("levels ascend from 0 to at most 65,535")
        if not bool(np.all(np.isfinite(measured))) or not math.isfinite(self.ambient) or self.ambient < 0:
            raise UsageError("luminances are finite and not negative")
        if bool(np.any(np.diff(measured) < 0)) or measured[0] < 0 or measured[-1] <= measured[0]:
            raise UsageError("the luminance has to grow with the level: measure again")
        jnd_index(self.seen[[0, -1]])  # UsageError outside the function

    @classmethod
    def of_gamma(cls, black: float, white: float, gamma: float = 2.2, ambient: float = 0.0) -> Characteristic:
        """The curve of an unmeasured display of 256 levels, from its two luminances in cd/m2 and its gamma."""
        levels = np.arange(256)
        return cls(levels, black + (white - black) * (levels / 255.0) ** gamma, ambient)

    @property
    def seen(self) -> NDArray[np.float64]:
        """The luminance in cd/m2 of every level from 0 to the greatest, with the room's light, as the eye gets it."""
        every = np.arange(int(self.levels[-1]) + 1)
        if len(every) == len(self.levels):
            return self.measured + self.ambient
        # Between measurements the eye's scale is nearly straight, luminance is not.
        known = jnd_index(self.measured + self.ambient)
        return luminance(np.interp(every, self.levels, known))

    @property
    def range(self) -> tuple[float, float]:
        """The JND indices of the darkest and the brightest level."""
        ends = jnd_index(self.seen[[0, -1]])
        return float(ends[0]), float(ends[1])

    @cached_property
    def ddls(self) -> NDArray[np.uint16]:
        """`table` for 65,536 P-Values, made once."""
        return self.table()

    def table(self, p_values: int = P_VALUES) -> NDArray[np.uint16]:
        """The DDL for each of `p_values` P-Values: equal steps of P-Value look equal then (PS3.14 section 6.3).

        For each the level whose luminance is nearest to the wanted one, of equally bright levels the first: which of
        them must not depend on the last bit of a logarithm, as the viewer makes the same table. Shape (p_values,).
        """
        first, last = self.range
        wanted = luminance(np.linspace(first, last, p_values))
        seen, levels = np.unique(self.seen, return_index=True)
        above = np.clip(np.searchsorted(seen, wanted), 1, len(seen) - 1)
        below = above - 1
        return levels[np.where(wanted - seen[below] <= seen[above] - wanted, below, above)].astype(np.uint16)


def standard_luminances(curve: Characteristic, steps: int) -> NDArray[np.float64]:
    """What a display with the curve's darkest and brightest luminance has to show for `steps` P-Values; cd/m2."""
    first, last = curve.range
    return luminance(np.linspace(first, last, steps))


@dataclass(frozen=True)
class Conformance:
    """How well a display follows the function: `deviation` is the greatest relative deviation of contrast between
    neighbouring of 18 P-Values (IEC 62563-1, AAPM TG18), `ratio` the luminance ratio of white to black."""

    deviation: float
    ratio: float
    jnds: float

    @property
    def primary(self) -> bool:
        """Whether contrast is within the tolerance for primary diagnosis."""
        return self.deviation <= PRIMARY_TOLERANCE


def assess(shown: NDArray[np.float64]) -> Conformance:
    """Judge 18 luminances in cd/m2, ambient light included, of P-Values in equal steps from least to greatest."""
    if shown.shape != (18,) or bool(np.any(np.diff(shown) <= 0)):
        raise UsageError("18 growing luminances are judged, of P-Values in equal steps")
    first, last = (float(end) for end in jnd_index(shown[[0, -1]]))
    wanted = luminance(np.linspace(first, last, 18))

    def contrast(values: NDArray[np.float64]) -> NDArray[np.float64]:
        result: NDArray[np.float64] = 2.0 * np.diff(values) / (values[1:] + values[:-1])
        return result

    deviation = float(np.max(np.abs(contrast(shown) / contrast(wanted) - 1.0)))
    return Conformance(deviation, float(shown[-1] / shown[0]), last - first)


def read_characteristic(path: Path) -> Characteristic:
    """A curve from DCMTK's text form. UsageError, with the line, for what is not one; OSError as it comes."""
    if path.stat().st_size > _LONGEST_FILE:
        raise UsageError(f"{path.name} is too large for a characteristic curve")
    rows: dict[int, float] = {}
    greatest, ambient = None, 0.0
    for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            name, value = words
            if name == "max":
                greatest = int(value)
            elif name == "amb":
                ambient = float(value)
            elif name == "ord":
                continue  # the order of a fit, which this reader does without
            else:
                rows[int(name)] = float(value)
        except ValueError:
            raise UsageError(f"{path.name}, line {number}: a level and its luminance are expected") from None
    levels = np.array(sorted(rows), np.int64)
    if greatest is not None and (not len(levels) or levels[-1] != greatest):
        raise UsageError(f"{path.name}: the luminance of level {greatest} (max) is missing")
    return Characteristic(levels, np.array([rows[int(level)] for level in levels], np.float64), ambient)


def write_characteristic(path: Path, curve: Characteristic) -> None:
    """The same form."""
    rows = "".join(f"{level:5d}  {value:.6f}\n" for level, value in zip(curve.levels, curve.measured, strict=True))
    path.write_text(
        "# Characteristic curve of a display: digital driving level, luminance in cd/m2 without ambient light\n"
        f"max  {int(curve.levels[-1])}\namb  {curve.ambient:g}\n{rows}",
        "utf-8",
    )
