"""Advanced Blending presentation states (PS3.3 A.33.7, C.11.33, C.11.34; PS3.4 N.2.6): any number of inputs, in steps.

An input is a series or some images of one, in colours: its own, those of a palette, or greys as colours. Where a value
is padding or within no threshold there is nothing of it. A step blends inputs or results of other steps; the one whose
result has no number is what is displayed. The values that thresholds are compared with are those that go into the VOI
LUT, as the standard does not name others. Inputs lie where their own geometry says: registrations are refused, and so
are series of times, whose frames belong together by more than their place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from isocenter.errors import PixelError
from isocenter.pixels.header import Attributes

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

_INPUTS, _NUMBER, _REGISTRATION = 0x00701B01, 0x00701B02, 0x00700404
_TIMES, _GEOMETRY, _PALETTE = 0x00701B07, 0x00701B08, 0x00480120
_STEPS, _STEP_INPUTS, _MODE, _OPACITY = 0x00701B04, 0x00701B03, 0x00701B06, 0x00700403
_THRESHOLDS, _THRESHOLD_TYPE, _THRESHOLD_VALUES, _THRESHOLD_VALUE = 0x00701B11, 0x00701B13, 0x00701B12, 0x00701B14
_MOST = 100  # inputs, steps and thresholds
_SHOWN = -1  # the result of a step that has no number

_COMPARISONS: dict[str, Callable[..., Mask]] = {
    "RANGE_INCL": lambda values, low, high: (values >= low) & (values <= high),
    "RANGE_EXCL": lambda values, low, high: (values < low) | (values > high),
    "GREATER_OR_EQUAL": lambda values, bound: values >= bound,
    "LESS_OR_EQUAL": lambda values, bound: values <= bound,
    "GREATER_THAN": lambda values, bound: values > bound,
    "LESS_THAN": lambda values, bound: values < bound,
}


@dataclass(frozen=True, slots=True)
class Step:
    """One blending: of `inputs` by number, to the number `result`, -1 for what is displayed.

    `opacity` is that of the first of two inputs over the second, None for the mean of all.
    """

    inputs: tuple[int, ...]
    result: int
    opacity: float | None


def inputs_of(attributes: Attributes) -> tuple[int, dict[int, Attributes]]:
    """The items of Advanced Blending Sequence by number, and the number of that whose geometry the picture has.

    That is the one marked so, else the first. PixelError for what cannot be applied.
    """
    found: dict[int, Attributes] = {}
    marked = 0
    for item in _items(attributes, _INPUTS):
        number = item.integer(_NUMBER)
        if number < 1 or number in found:
            raise PixelError("Blending Input Numbers are different and begin with 1", tag_path="(0070,1B02)")
        if item.count(_REGISTRATION):
            raise PixelError("an input that is moved by a spatial registration is not blended", tag_path="(0070,0404)")
        if item.text(_TIMES) == "TRUE":
            raise PixelError("series of times are not blended", tag_path="(0070,1B07)")
        if not marked and item.text(_GEOMETRY) == "TRUE":
            marked = number
        found[number] = item
    if not found:
        raise PixelError("an advanced blending state has inputs", tag_path="(0070,1B01)")
    return marked or next(iter(found)), found


def steps_of(attributes: Attributes, inputs: Mapping[int, Attributes], under: int) -> tuple[Step, ...]:
    """The steps, each after those whose results it takes; 0 is the input `under`. PixelError where that cannot be."""
    left: list[Step] = []
    for item in _items(attributes, _STEPS):
        numbers = tuple(one.integer(_NUMBER) for one in _items(item, _STEP_INPUTS))
        mode = item.text(_MODE)
        if mode == "FOREGROUND":
            opacity = item.numbers(_OPACITY)[:1]
            if len(numbers) != 2 or not opacity or not 0 <= opacity[0] <= 1:
                raise PixelError("FOREGROUND takes two inputs and an opacity of 0 to 1", tag_path="(0070,1B06)")
        elif mode == "EQUAL" and numbers:
            opacity = ()
        else:
            raise PixelError("a Blending Mode that is not known, or without inputs", tag_path="(0070,1B06)")
        left.append(Step(numbers, item.integer(_NUMBER, _SHOWN), opacity[0] if opacity else None))
    results = [step.result for step in left]
    if results.count(_SHOWN) != 1 or len({*results, *inputs}) != len(results) + len(inputs):
        raise PixelError("one step has no number, and each other one of its own", tag_path="(0070,1B04)")
    known, ordered = set(inputs), list[Step]()
    while left:
        ready = [step for step in left if known.issuperset(step.inputs)]
        if not ready:
            raise PixelError("a step takes what no other gives", tag_path="(0070,1B03)")
        ordered += ready
        known.update(step.result for step in ready)
        left = [step for step in left if step not in ready]
    return tuple(
        replace(step, inputs=tuple(0 if number == under else number for number in step.inputs)) for step in ordered
    )


def palette_of(item: Attributes) -> Attributes | None:
    """What has the palette of an input; None if it has none."""
    return item.item(_PALETTE)


def within_thresholds(item: Attributes, values: Floats) -> Mask | None:
    """Which values any of the input's thresholds lets be seen (C.11.33.1.2.1); None if it has no threshold."""
    seen: Mask | None = None
    for threshold in _items(item, _THRESHOLDS):
        compare = _COMPARISONS.get(threshold.text(_THRESHOLD_TYPE))
        if compare is None:
            raise PixelError("a Threshold Type that is not known", tag_path="(0070,1B13)")
        bounds = [one.numbers(_THRESHOLD_VALUE)[:1] for one in _items(threshold, _THRESHOLD_VALUES)]
        if not all(bounds) or len(bounds) != (2 if "RANGE" in threshold.text(_THRESHOLD_TYPE) else 1):
            raise PixelError("a range has two Threshold Values, other types one", tag_path="(0070,1B12)")
        shown = compare(values, *sorted(bound[0] for bound in bounds))
        seen = shown if seen is None else seen | shown
    return seen


def blended(inputs: Mapping[int, tuple[Picture, Mask]], steps: tuple[Step, ...], shape: tuple[int, int]) -> Picture:
    """What the last step gives of RGB `inputs` of one `shape` and of where there is something of them; black elsewhere.

    Inputs that are not there are nowhere.
    """
    picture = np.empty((*shape, 3), np.uint8)
    height = max(1, (1 << 17) // shape[1])  # some rows at a time: floats are many times as large as the picture
    nothing = np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.bool_)
    needed = {number for step in steps for number in step.inputs} - {step.result for step in steps}
    for first in range(0, shape[0], height):
        rows = slice(first, first + height)
        known: dict[int, tuple[Floats, NDArray[np.float64]]] = {}
        for number in needed:
            colours, seen = inputs.get(number, nothing)
            weight = seen[rows, :, None].astype(np.float64)
            known[number] = colours[rows] * weight, weight
        for step in steps:
            known[step.result] = _blend([known[number] for number in step.inputs], step.opacity)
        picture[rows] = np.rint(known[_SHOWN][0])
    return picture


def _blend(parts: list[tuple[Floats, Floats]], opacity: float | None) -> tuple[Floats, Floats]:
    """Colours, and 1 where there are any, else 0, in which case the colours are 0, too (PS3.4 N.2.6)."""
    if opacity is None:
        shares = [seen for _, seen in parts]
    else:
        # Where one of the two is nothing the other is left as it is.
        (_, first), (_, second) = parts
        shares = [first * (opacity * second + (1 - second)), second * ((1 - opacity) * first + (1 - first))]
    total = sum(shares[1:], shares[0])
    mixed = sum((colours * share for (colours, _), share in zip(parts, shares, strict=True)), np.zeros(1))
    return np.asarray(mixed / np.maximum(total, 1.0)), (total > 0).astype(np.float64)


def _items(attributes: Attributes, sequence: int) -> list[Attributes]:
    count = attributes.count(sequence)
    if count > _MOST:
        raise PixelError(f"more than {_MOST} items", tag_path=f"({sequence >> 16:04X},{sequence & 0xFFFF:04X})")
    found = [attributes.item(sequence, index) for index in range(count)]
    return [item for item in found if item is not None]
