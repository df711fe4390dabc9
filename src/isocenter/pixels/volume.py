"""A series as one array: the planes of many objects, read, ordered by geometry.py, and decoded into slices.

Headers are read first, and tell which volumes there are and what is in none, and why. Pixels are read for one volume at
a time, when somebody asks for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np

from isocenter.errors import DataSetError, LimitExceeded, NotAVolume, UsageError
from isocenter.pixels.geometry import Gap, LeftOut, Matrix, Plane, Stack, stacks, tilt_of
from isocenter.pixels.image import Image
from isocenter.pixels.layout import Array
from isocenter.pixels.planes import NoPlanes, read_planes
from isocenter.pixels.voi import Rescale, modality, modality_units
from isocenter.wire.elements import Buffer
from isocenter.wire.limits import DEFAULT_LIMITS, Limits

Gaps = Literal["fill", "keep", "refuse"]

_PIXEL_VALUE_TRANSFORMATION = 0x00289145
_STEEPEST = 60.0  # degrees; gantries are tilted by 30, and beyond this the slices would grow without bound
_FLIP = np.diag((-1.0, -1.0, 1.0, 1.0))


class Source(Protocol):
    """One object that can be read, now and again."""

    @property
    def label(self) -> str:
        """For people: a path, or a UID."""
        ...

    def opened(self) -> AbstractContextManager[tuple[Buffer, str, int]]:
        """The bytes, the transfer syntax, and where in them the data set begins. DataSetError if it is no object."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """`array` has shape (slices, rows, columns) and no direction of its own: `affine` says where each value lies.

    `affine` (4 x 4) takes (slice, row, column, 1) to patient coordinates in mm, LPS as DICOM has them; `ras` is the
    same for RAS, as NIfTI has them. Slices follow each other along row direction x column direction, so both are
    right-handed. `rescale` is (slope, intercept) still to be applied, None where the values are in the units of the
    Modality LUT. `empty` are the slices that no image stands behind. `stack` has the rest: spacing, gaps, tilt,
    duplicates, and where each slice comes from.
    """

    array: Array
    affine: Matrix
    stack: Stack
    rescale: tuple[float, float] | None = None
    empty: tuple[int, ...] = ()

    @property
    def ras(self) -> Matrix:
        return _FLIP @ self.affine

    @property
    def spacing(self) -> tuple[float, float, float]:
        """(between slices along their normal, between rows, between columns), mm."""
        return self.stack.spacing

    @property
    def gaps(self) -> tuple[Gap, ...]:
        return self.stack.gaps

    @property
    def tilt(self) -> float:
        """Degrees between the line of slices and their normal; the affine has it as a shear."""
        return tilt_of(self.affine)

    @property
    def duplicates(self) -> tuple[Plane, ...]:
        return self.stack.duplicates

    def upright(self) -> Volume:
        """The same with slices straight behind each other, for software that has no place for a shear.

        Each slice moves within its plane, by linear interpolation (segments: to the nearest pixel), and slices grow so
        that nothing is cut off. What was in no slice is NaN, or the lowest of stored values, or 0 in a segment.
        NotAVolume for slices beside rather than behind each other.
        """
        if not self.tilt:
            return self
        if self.tilt > _STEEPEST:
            raise NotAVolume(f"slices tilted by {self.tilt:.0f} degrees cannot be put upright")
        step, row, column = (self.affine[:3, axis] for axis in range(3))
        # Pixels by which each slice is off the one before, along rows and columns
        off = [float(step @ side) / float(side @ side) for side in (row, column)]
        last = len(self.array) - 1
        first = [math.floor(min(0.0, one * last)) for one in off]
        more = [math.ceil(max(0.0, one * last)) - begin for one, begin in zip(off, first, strict=True)]
        nowhere, nearest = self._nowhere, bool(self.stack.planes[0].segment)
        slices = [
            _moved(plane, [begin - one * place for one, begin in zip(off, first, strict=True)], more, nowhere, nearest)
            for place, plane in enumerate(self.array)
        ]
        affine = self.affine.copy()
        affine[:3, 0] = step - off[0] * row - off[1] * column
        affine[:3, 3] += first[0] * row + first[1] * column
        return replace(self, array=np.stack(slices), affine=affine)

    @property
    def _nowhere(self) -> float:
        """The value of places that no image shows."""
        if self.array.dtype.kind == "f":
            return math.nan
        return 0 if self.stack.planes[0].segment else self.array.min()


@dataclass(frozen=True, slots=True, eq=False)
class Volumes:
    """What volumes there are among `sources`, and which of these are in none. Nothing of their pixels was read."""

    stacks: tuple[Stack, ...]
    left_out: tuple[LeftOut, ...]
    sources: Sequence[Source]
    limits: Limits = DEFAULT_LIMITS

    def load(
        self,
        stack: Stack | None = None,
        *,
        rescale: bool = True,
        gaps: Gaps = "fill",
        progress: Callable[[], None] = lambda: None,
    ) -> Volume:
        """The pixels of one of `stacks` (the only one, if none is named); blocking.

        With `rescale` values are in the units of the Modality LUT (HU, Gy, Bq/ml), as float32, or float64 where stored
        values have more than 24 bits. Without, they are as stored, in the stored type.
        `gaps` says what is done where slices are missing: "fill" puts empty slices there (NaN; without `rescale` the
        volume's lowest value), so that the affine is true of every slice; "keep" puts the slices side by side as if
        nothing were missing; "refuse" raises. Slices at irregular distances are put together by "keep" only.
        `progress` is called for each slice.
        Raises NotAVolume with the reason, and what `Image.decode` raises.
        """
        chosen = self.only() if stack is None else stack
        if gaps not in ("fill", "keep", "refuse"):
            raise UsageError(f"gaps: fill, keep or refuse are known, not {gaps}")
        if gaps != "keep" and not chosen.regular:
            raise NotAVolume(f"its slices lie at irregular distances{_told(chosen)}")
        if gaps == "refuse" and chosen.gaps:
            raise NotAVolume(f"slices are missing{_told(chosen)}")
        if not rescale and chosen.rescale is None:
            raise NotAVolume("its slices have different rescales: their stored values cannot be compared")
        return _Loading(self, chosen, rescale, gaps == "keep").volume(progress)

    def only(self) -> Stack:
        """The one volume there is; NotAVolume if there is none or another, with the reasons."""
        if len(self.stacks) == 1:
            return self.stacks[0]
        if self.stacks:
            names = sorted({name for stack in self.stacks for name in stack.apart})
            why = f", told apart by {', '.join(names)}" if names else " of several series"
            raise NotAVolume(f"there are {len(self.stacks)} volumes{why}; load one of them")
        reasons = "; ".join(dict.fromkeys(one.reason for one in self.left_out)) or "there are no objects"
        raise NotAVolume(f"there is no volume: {reasons}")


def _told(stack: Stack) -> str:
    first = stack.gaps[0]
    return f": after slice {first.after + 1} of {len(stack.planes)} come {first.distance:.4g} mm"


def survey(
    sources: Iterable[Source], limits: Limits = DEFAULT_LIMITS, progress: Callable[[], None] = lambda: None
) -> Volumes:
    """The volumes among `sources`; blocking. Reads every header, and raises for none: what is damaged is left out.

    `progress` is called for each source.
    """
    known: list[Source] = []
    planes: list[Plane] = []
    reasons: dict[tuple[str, bool], list[int]] = {}
    for number, source in enumerate(sources):
        known.append(source)
        try:
            with source.opened() as (buf, transfer_syntax, start):
                planes += read_planes(buf, transfer_syntax, start, number, limits)
        except NoPlanes as fact:
            reasons.setdefault((fact.message, False), []).append(number)
        except DataSetError as error:
            reasons.setdefault((str(error), True), []).append(number)
        progress()
    found, left_out = stacks(planes)
    left_out += [LeftOut(tuple(numbers), reason, "", damaged) for (reason, damaged), numbers in reasons.items()]
    return Volumes(tuple(found), tuple(left_out), known, limits)


class _Loading:
    """One stack on its way into an array."""

    def __init__(self, volumes: Volumes, stack: Stack, rescale: bool, keep: bool) -> None:
        self._volumes, self._stack, self._rescale = volumes, stack, rescale
        self._places = tuple(range(len(stack.planes))) if keep else stack.places
        self._array: Array | None = None

    def volume(self, progress: Callable[[], None]) -> Volume:
        wanted: dict[int, list[tuple[Plane, int]]] = {}
        for plane, place in zip(self._stack.planes, self._places, strict=True):
            wanted.setdefault(plane.source, []).append((plane, place))
        for number, planes in wanted.items():
            source = self._volumes.sources[number]
            with source.opened() as (buf, transfer_syntax, start):
                image = Image.of(buf, transfer_syntax, start, self._volumes.limits)
                for plane, place in planes:
                    self._put(image, plane, place)
                    progress()
        array = self._array
        assert array is not None, "a stack has planes"
        return Volume(
            array=array,
            affine=self._stack.affine,
            stack=self._stack,
            rescale=None if self._rescale else self._stack.rescale,
            empty=self._fill(array),
        )

    def _put(self, image: Image, plane: Plane, place: int) -> None:
        decoded = image.decode(plane.frame)
        pixels = decoded.pixels
        if pixels.ndim != 2 or decoded.photometric == "PALETTE COLOR":
            raise NotAVolume("its pixels are colours")
        if pixels.shape != plane.shape:
            raise NotAVolume("a slice has not the size its header says")
        if self._rescale:
            pixels = _rescaled(image, plane, pixels)
        if self._array is None:
            shape = self._places[-1] + 1, *plane.shape
            try:
                self._array = np.empty(shape, pixels.dtype)
            except MemoryError:
                raise LimitExceeded(f"{shape[0]} slices of {shape[1]} x {shape[2]} do not fit into memory") from None
        elif pixels.dtype != self._array.dtype and not self._rescale:
            raise NotAVolume("its slices differ in Bits Allocated or sign")
        self._array[place] = pixels

    def _fill(self, array: Array) -> tuple[int, ...]:
        """Make slices that were not read visible as such; their numbers."""
        held = set(self._places)
        empty = tuple(place for place in range(len(array)) if place not in held)
        if empty:
            if self._rescale:
                array[list(empty)] = np.nan
            elif self._stack.planes[0].segment:
                array[list(empty)] = 0  # frames where nothing belongs to the segment are left out (C.8.20.2)
            else:
                array[list(empty)] = min(array[place].min() for place in held)
        return empty


def _moved(plane: Array, by: Sequence[float], more: Sequence[int], nowhere: float, nearest: bool) -> Array:
    """`plane` read `by` (rows, columns) further on, on a grid with `more` of each; between pixels, or at the nearest.

    What is not between two pixels is `nowhere`.
    """
    work: Array = plane
    for axis, (start, extra) in enumerate(zip(by, more, strict=True)):
        work = work.swapaxes(0, axis)
        whole = round(start) if nearest else math.floor(start)
        part = 0.0 if nearest else start - whole
        size = len(work) + extra
        moved = np.full((size, *work.shape[1:]), nowhere, work.dtype)
        begin, end = max(0, whole), min(len(work) - (part > 0), whole + size)
        values = work[begin:end]
        if part:
            values = values * (1 - part) + work[begin + 1 : end + 1] * part
        if work.dtype.kind != "f":
            values = np.rint(values)
        moved[begin - whole : end - whole] = values
        work = moved.swapaxes(0, axis)
    return work


def _rescaled(image: Image, plane: Plane, pixels: Array) -> Array:
    wide = image.layout.bits_stored > 24 and pixels.dtype != np.float32
    dtype = np.float64 if wide else np.float32
    if plane.rescale is None:
        stored = modality(image.group(_PIXEL_VALUE_TRANSFORMATION, plane.frame), image.layout.signed)
    else:
        stored = Rescale(*plane.rescale)
    return modality_units(stored, pixels).astype(dtype)
