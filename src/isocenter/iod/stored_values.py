"""From a numpy array of any numeric type to the stored values of the Image Pixel Module (PS3.3 C.7.6.3), and the
Rescale Slope and Intercept (C.11.1) that lead back from them.

The rules, also told to users in `isocenter.create`:
- uint8, int16 and uint16 are stored as they are, int8 as int16.
- Wider integers are stored as 16 bits where their values fit; else shifted, where their span fits.
- Floating point is spread over the 16 bits of its own range, unless it holds whole numbers that fit.
- With `rescale`, integers are taken as stored values, and floating point as output values to be converted with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isocenter.errors import UsageError
from isocenter.iod.decimal_string import decimal

IDENTITY = (1.0, 0.0)
_WORDS = (np.dtype("<i2"), np.dtype("<u2"))


@dataclass(frozen=True)
class StoredValues:
    """`array` is (frames, rows, columns) or (frames, rows, columns, 3); dtype uint8, or little-endian int16 or uint16.

    Output value = slope x stored value + intercept, both representable as DS (16 characters).
    """

    array: NDArray[Any]
    rescale: tuple[float, float] = IDENTITY

    @property
    def color(self) -> bool:
        return self.array.ndim == 4

    @property
    def signed(self) -> bool:
        return self.array.dtype.kind == "i"

    @property
    def bits(self) -> int:
        return self.array.dtype.itemsize * 8

    def output_range(self) -> tuple[float, float]:
        """Least and greatest output value."""
        slope, intercept = self.rescale
        ends = (slope * float(self.array.min()) + intercept, slope * float(self.array.max()) + intercept)
        return min(ends), max(ends)

    def as_words(self) -> StoredValues:
        """The same values in 16 bits, for IODs that have nothing smaller."""
        return self if self.bits == 16 else replace(self, array=self.array.astype("<u2"))

    def as_unsigned(self) -> StoredValues:
        """The same output values with Pixel Representation 0, for IODs that have no other."""
        if not self.signed:
            return self
        slope, intercept = self.rescale
        shifted = (self.array.astype("<i4") + 32768).astype("<u2")
        return StoredValues(shifted, (slope, decimal(intercept - 32768 * slope)))


def frames_of(pixels: Any, color: bool | None) -> tuple[NDArray[Any], bool]:
    """`pixels` as (frames, rows, columns) or (frames, rows, columns, 3), and whether they were a stack of frames.

    Raises UsageError.
    """
    array = np.asarray(pixels)
    if isinstance(pixels, np.ma.MaskedArray) and np.ma.is_masked(pixels):
        raise UsageError("pixels: is a masked array; fill it first, as pixels.filled(-1024)")
    if array.dtype.kind not in "iuf":
        fix = "; for a mask use pixels.astype('uint8')" if array.dtype.kind == "b" else ""
        raise UsageError(f"pixels: numbers are needed, not dtype {array.dtype}{fix}")
    if array.ndim not in (2, 3, 4):
        raise UsageError(
            f"pixels: shape {array.shape} is none of (rows, columns), (frames, rows, columns), (rows, columns, 3) "
            "and (frames, rows, columns, 3)"
        )
    if array.size == 0:
        raise UsageError(f"pixels: shape {array.shape} has no pixels")
    if color is None:
        color = array.ndim == 4 or (array.ndim == 3 and array.shape[-1] in (3, 4) and array.dtype == np.uint8)
    if color:
        if array.ndim == 2 or array.shape[-1] != 3:
            fix = "; drop alpha with pixels[..., :3], or pass color=False for grey" if array.shape[-1] == 4 else ""
            raise UsageError(f"pixels: the last axis of colour must be 3 (RGB), not {array.shape[-1]}{fix}")
        if array.dtype != np.uint8:
            raise UsageError(f"pixels: colour is stored as uint8, not {array.dtype}; scale to 0..255 and convert")
    elif array.ndim == 4:
        raise UsageError(f"pixels: shape {array.shape} has four axes, which only colour can have")
    stack = array.ndim == (4 if color else 3)
    if not stack:
        array = array[np.newaxis]
    if max(array.shape[1:3]) > 65535:
        raise UsageError(f"pixels: {array.shape[1]} x {array.shape[2]}: at most 65535 rows and columns are possible")
    return array, stack


def store(array: NDArray[Any], rescale: tuple[float, float] | None) -> StoredValues:
    """Stored values for an array as `frames_of` returns it. Raises UsageError naming argument and remedy."""
    given = None if rescale is None else _checked_rescale(rescale)
    if array.dtype.kind == "f":
        return _from_floats(array, given)
    if array.dtype == np.uint8:
        return StoredValues(array, given or IDENTITY)
    return _from_integers(array, given)


def _checked_rescale(rescale: tuple[float, float]) -> tuple[float, float]:
    try:
        slope, intercept = (float(value) for value in rescale)
    except (TypeError, ValueError):
        raise UsageError("rescale: two numbers are needed, (slope, intercept)") from None
    if not (math.isfinite(slope) and math.isfinite(intercept)) or slope == 0:
        raise UsageError("rescale: slope and intercept must be finite, and slope not 0")
    return decimal(slope), decimal(intercept)


def _fitting(low: int, high: int) -> np.dtype[Any] | None:
    for word in _WORDS:
        info = np.iinfo(word)
        if info.min <= low and high <= info.max:
            return word
    return None


def _from_integers(array: NDArray[Any], given: tuple[float, float] | None) -> StoredValues:
    if array.dtype.itemsize == 1:
        return StoredValues(array.astype("<i2"), given or IDENTITY)
    if array.dtype.itemsize == 2:
        word = _WORDS[0] if array.dtype.kind == "i" else _WORDS[1]
        return StoredValues(array.astype(word, copy=False), given or IDENTITY)
    low, high = int(array.min()), int(array.max())
    word_or_none = _fitting(low, high)
    if word_or_none is not None:
        return StoredValues(array.astype(word_or_none), given or IDENTITY)
    if given is not None:
        raise UsageError(
            f"pixels: with rescale, integers are stored values, and {low}..{high} do not fit 16 bits; "
            "pass output values as float, or leave rescale out"
        )
    if high - low > 65535 or decimal(low) != low:
        raise UsageError(
            f"pixels: {low}..{high} span more than 16 bits; convert with pixels.astype('float64') to keep 1 part "
            "in 65535 of the range"
        )
    # Wraps around on purpose: the difference fits 16 bits whatever the integer type
    return StoredValues((array - array.dtype.type(low)).astype("<u2"), (1.0, float(low)))


def _from_floats(array: NDArray[Any], given: tuple[float, float] | None) -> StoredValues:
    finite = np.isfinite(array)
    if not finite.all():
        count = int(array.size - np.count_nonzero(finite))
        raise UsageError(
            f"pixels: {count} of {array.size} values are NaN or infinite; replace them, as "
            "numpy.nan_to_num(pixels, nan=-1024, posinf=3071, neginf=-1024)"
        )
    low, high = float(array.min()), float(array.max())
    if given is not None:
        ends = sorted(round_half_even((end - given[1]) / given[0]) for end in (low, high))
        word = _fitting(*ends)
        if word is None:
            raise UsageError(
                f"rescale: values {low:g}..{high:g} become {ends[0]}..{ends[1]}, which do not fit 16 bits; "
                "choose a greater slope, or leave rescale out"
            )
        return StoredValues(_converted(array, given, word), given)
    word = _fitting(math.floor(low), math.ceil(high))
    if word is not None and bool((array == np.rint(array)).all()):
        return StoredValues(array.astype(word))
    if not math.isfinite(high - low):
        raise UsageError(f"pixels: {low:g}..{high:g} is too wide a range; scale the values down")
    slope = decimal((high - low) / 65535) or 1.0
    return StoredValues(_converted(array, (slope, decimal(low)), _WORDS[1]), (slope, decimal(low)))


def round_half_even(value: float) -> int:
    """numpy.rint for one value; huge values stay huge instead of overflowing."""
    return round(value) if math.isfinite(value) else 2**63


def _converted(array: NDArray[Any], rescale: tuple[float, float], word: np.dtype[Any]) -> NDArray[Any]:
    result = np.empty(array.shape, word)
    info = np.iinfo(word)
    for source, target in zip(array, result, strict=True):  # a frame at a time: the double is four times the frame
        values = np.rint((source.astype(np.float64) - rescale[1]) / rescale[0])
        np.clip(values, info.min, info.max, out=target, casting="unsafe")
    return result
