"""Where the planes of a series lie in the patient, and which of them make a volume (PS3.3 C.7.6.2, C.7.6.16.2).

Knows no bytes and no pixels: `Plane` in, `Stack` out, so that files, an archive and the viewer's server share one
opinion. Patient coordinates are LPS in mm: x to the patient's left, y to the back, z to the head (C.7.6.2.1.1).

Only geometry decides what belongs together and in which order. Attributes (echo, temporal position, b-value, ...) are
asked only where planes lie on one another, or on no common line, and then as few of them as tell the planes apart.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Mark = str | tuple[float, ...]

# What tells planes in one place apart, the most telling first. MARKS of planes.py says where each is read.
DISCRIMINATORS = (
    "StackID", "TemporalPosition", "EchoNumbers", "EchoTime", "DiffusionBValue", "DiffusionGradientOrientation",
    "CardiacPhase", "RespiratoryPhase", "InversionTime", "FlipAngle", "ComplexImageComponent", "FrameType",
    "FrameReferenceTime", "ConvolutionKernel", "ReconstructionDiameter", "AcquisitionNumber", "TriggerTime",
    "EnergyWindow", "TimeSlot", "AcquisitionDateTime",
)  # fmt: skip

_DIRECTION = 1e-3  # difference of two cosines that is rounding
_MOST_ORIENTATIONS = 64  # of one series; a turning camera has as many as frames
_MOST_PARTS = 8  # to which a gap may divide a series
_SAME_PLACE = 0.01  # of a pixel
_OFF_LINE = 0.25  # of a pixel, by which slices may lie beside their line
_OFF_GRID = 0.05  # of a step, by which a slice may lie before or behind its place
_MOST_HOLES = 1000  # of a segment, whose empty slices are left out (C.8.20.2); others have no more holes than slices
_NO_TILT = 0.05  # degrees that are rounding


@dataclass(frozen=True, slots=True)
class Plane:
    """The place of one frame. `source` counts objects from 0, `frame` from 1; `shape` is (rows, columns).

    `position` is the centre of the first pixel, `orientation` the direction of rows and then of columns, `spacing`
    (between rows, between columns), all in mm. `marks` says what may tell it from others in its place; `segment`
    is the number of the one it shows, where it shows one. `rescale` is (slope, intercept) of its stored values
    (Modality LUT, or Dose Grid Scaling), None where a table stands in for them.
    """

    source: int
    frame: int
    position: tuple[float, float, float]
    orientation: tuple[float, ...]
    spacing: tuple[float, float]
    shape: tuple[int, int]
    series: str = ""
    frame_of_reference: str = ""
    instance: str = ""
    number: int = 0
    segment: str = ""
    rescale: tuple[float, float] | None = (1.0, 0.0)
    marks: Mapping[str, Mark] = field(default_factory=dict)

    @property
    def normal(self) -> tuple[float, float, float]:
        rx, ry, rz, cx, cy, cz = self.orientation
        return ry * cz - rz * cy, rz * cx - rx * cz, rx * cy - ry * cx

    @property
    def location(self) -> float:
        """Distance of the plane from the origin along its normal, mm."""
        return sum(p * n for p, n in zip(self.position, self.normal, strict=True))


@dataclass(frozen=True, slots=True)
class Gap:
    """More than one step between slice `after` (index into `planes`) and the next: `distance` mm.

    `missing` slices would fill it exactly; 0 where no whole number does.
    """

    after: int
    distance: float
    missing: int


@dataclass(frozen=True, slots=True)
class Stack:
    """Planes that make a volume, ordered along their normal (row direction x column direction).

    `places` is the index of each plane on the common grid: 0, 1, 2, 4 where one slice is missing. `affine` (4 x 4)
    takes (place, row, column, 1) to LPS mm. `spacing` is (between slices along their normal, between rows, between
    columns). `tilt` in degrees is the angle between the line of slices and their normal; the affine has it as a shear.
    `deviation` in mm is how far at most a slice lies from where the affine puts it. Not `regular`: no grid fits the
    distances, and the affine is true on average only. `duplicates` were left out, being copies. `apart` says what
    tells this stack from others of its series.
    """

    planes: tuple[Plane, ...]
    places: tuple[int, ...]
    affine: Matrix
    spacing: tuple[float, float, float]
    tilt: float
    deviation: float
    regular: bool
    gaps: tuple[Gap, ...] = ()
    duplicates: tuple[Plane, ...] = ()
    apart: Mapping[str, str] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(slices with those that are missing, rows, columns)."""
        return self.places[-1] + 1, *self.planes[0].shape

    @property
    def series(self) -> str:
        return self.planes[0].series

    @property
    def rescale(self) -> tuple[float, float] | None:
        """(slope, intercept) that all slices have in common; None if they differ, as in PET, or a table is needed."""
        found = {plane.rescale for plane in self.planes}
        return found.pop() if len(found) == 1 else None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Objects (or frames of one) that are in no volume, and why. `sources` counts objects from 0.

    `damaged`: they could not be read, so that a volume may lack them.
    """

    sources: tuple[int, ...]
    reason: str
    series: str = ""
    damaged: bool = False


def stacks(planes: Iterable[Plane]) -> tuple[list[Stack], list[LeftOut]]:
    """The volumes that `planes` make, and what makes none, series after series in the order of the planes."""
    found: list[Stack] = []
    left_out: list[LeftOut] = []
    for series in _grouped(planes, lambda plane: plane.series).values():
        unique, copies = _without_copies(series)
        for apart, group in _rigid(unique, left_out):
            for part in _split(group):
                if part.reason:
                    left_out.append(_left_out(part.planes, part.reason))
                    continue
                held = {(plane.instance, plane.frame) for plane in part.planes}
                twice = tuple(plane for plane in copies if (plane.instance, plane.frame) in held)
                found.append(replace(_stack(part.planes), duplicates=twice, apart={**apart, **part.apart}))
    return found, left_out


def _grouped(planes: Iterable[Plane], key: Callable[[Plane], Hashable]) -> dict[Hashable, list[Plane]]:
    groups: dict[Hashable, list[Plane]] = {}
    for plane in planes:
        groups.setdefault(key(plane), []).append(plane)
    return groups


def _left_out(planes: Sequence[Plane], reason: str) -> LeftOut:
    return LeftOut(tuple(dict.fromkeys(plane.source for plane in planes)), reason, planes[0].series)


def _without_copies(planes: list[Plane]) -> tuple[list[Plane], list[Plane]]:
    """Planes of different objects or frames, and those that came a second time."""
    seen: set[tuple[str, int]] = set()
    unique: list[Plane] = []
    copies: list[Plane] = []
    for plane in planes:
        name = (plane.instance, plane.frame)
        (copies if plane.instance and name in seen else unique).append(plane)
        seen.add(name)
    return unique, copies


# --- what can never be one volume -----------------------------------------------------------------------------------


def _rigid(planes: list[Plane], left_out: list[LeftOut]) -> list[tuple[dict[str, str], list[Plane]]]:
    """Planes with equal size, spacing, direction and kind, with what sets each group apart from the others."""
    keys: dict[str, Callable[[Plane], str]] = {
        "FrameOfReferenceUID": lambda plane: plane.frame_of_reference,
        "Rows and Columns": lambda plane: f"{plane.shape[0]} x {plane.shape[1]}",
        "PixelSpacing": lambda plane: f"{plane.spacing[0]:.5g} x {plane.spacing[1]:.5g}",
        "ReferencedSegmentNumber": lambda plane: plane.segment,
    }
    groups = _grouped(planes, lambda plane: tuple(key(plane) for key in keys.values()))
    varying = [
        name for at, name in enumerate(keys) if len({values[at] for values in groups if isinstance(values, tuple)}) > 1
    ]
    result: list[tuple[dict[str, str], list[Plane]]] = []
    for group in groups.values():
        apart = {name: keys[name](group[0]) for name in varying}
        clusters = _directions(group)
        if clusters is None:
            left_out.append(_left_out(group, f"the planes have more than {_MOST_ORIENTATIONS} orientations"))
            continue
        for at, cluster in enumerate(clusters, 1):
            more = {"orientation": f"{at} of {len(clusters)}"} if len(clusters) > 1 else {}
            result.append(({**apart, **more}, cluster))
    return result


def _directions(planes: list[Plane]) -> list[list[Plane]] | None:
    """The planes by orientation; None if there are too many to be several volumes."""
    clusters: list[list[Plane]] = []
    for plane in planes:
        for cluster in clusters:
            pairs = zip(plane.orientation, cluster[0].orientation, strict=True)
            if all(abs(one - other) <= _DIRECTION for one, other in pairs):
                cluster.append(plane)
                break
        else:
            if len(clusters) == _MOST_ORIENTATIONS:
                return None
            clusters.append([plane])
    return clusters


# --- several in one place -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Part:
    planes: list[Plane]
    apart: dict[str, str] = field(default_factory=dict)
    reason: str = ""


def _split(planes: list[Plane], names: Sequence[str] = DISCRIMINATORS) -> list[_Part]:
    """Parts of parallel planes that are volumes, as few as can be, or have a reason why they are none.

    One call for each attribute that divides them, so no deeper than there are attributes.
    """
    if len(planes) == 1:
        return [_Part(planes, reason="a single slice")]
    places = _places(planes)
    most = max(map(len, places))
    flaw = "" if most > 1 else _flaw(planes)
    if most == 1 and not flaw:
        return [_Part(planes)]
    for at, name in enumerate(names):
        groups = list(_grouped(planes, partial(_mark, name)).items())
        if len(groups) < 2:
            continue
        if most > 1:
            # Each value is in one place with another: an attribute that follows the slices would have more values.
            useful = len(groups) <= most and any(len({_mark(name, plane) for plane in here}) > 1 for here in places)
        else:
            useful = len(groups) <= _MOST_PARTS and all(len(g) > 1 and not _flaw(g) for _, g in groups)
        if useful:
            return [
                replace(part, apart={name: _shown(value), **part.apart})
                for value, group in groups
                for part in _split(group, names[at + 1 :])
            ]
    if most == 1:
        return [_Part(planes, reason=flaw if flaw in (_BESIDE, _IN_PLANE) else "")]
    if {len(here) for here in places} == {most}:
        # Nothing but their order tells them apart, as dynamic series of older scanners
        ranked = [sorted(here, key=lambda plane: (plane.number, plane.source, plane.frame)) for here in places]
        parts = [_split([here[rank] for here in ranked], ())[0] for rank in range(most)]
        return [replace(part, apart={"order": f"{rank} of {most}"}) for rank, part in enumerate(parts, 1)]
    crowded = sum(len(here) > 1 for here in places)
    return [
        _Part(planes, reason=f"{crowded} of {len(places)} places have several planes that no attribute tells apart")
    ]


def _mark(name: str, plane: Plane) -> Mark:
    return plane.marks.get(name, "")


def _shown(value: Hashable) -> str:
    return "\\".join(f"{number:g}" for number in value) if isinstance(value, tuple) else str(value)


def _places(planes: list[Plane]) -> list[list[Plane]]:
    """Planes that have the same place, along the normal."""
    tolerance = _SAME_PLACE * min(planes[0].spacing)
    places: list[list[Plane]] = []
    # By cells as wide as the tolerance, so that only neighbouring cells have to be looked at
    cells: dict[tuple[int, ...], list[list[Plane]]] = {}
    for plane in sorted(planes, key=lambda plane: plane.location):
        cell = tuple(math.floor(part / tolerance) for part in plane.position)
        around = itertools.product(*((part - 1, part, part + 1) for part in cell))
        here = next(
            (
                here
                for one in around
                for here in cells.get(one, ())
                if math.dist(plane.position, here[0].position) <= tolerance
            ),
            None,
        )
        if here is not None:
            here.append(plane)
            continue
        places.append([plane])
        cells.setdefault(cell, []).append(places[-1])
    return places


_BESIDE = "the slices lie beside each other, on no common line"
_IN_PLANE = "the slices lie in one plane"


def _flaw(planes: list[Plane]) -> str:
    """What keeps planes in different places from being one gapless regular volume; "" if nothing does."""
    stack = _stack(planes)
    if not stack.spacing[0] > _SAME_PLACE * min(planes[0].spacing):
        return _IN_PLANE
    if _beside_the_line(stack) > _OFF_LINE * min(planes[0].spacing):
        return _BESIDE
    return "" if stack.regular and not stack.gaps else "gaps"


# --- one volume -----------------------------------------------------------------------------------------------------


def _line(along: Matrix, positions: Matrix) -> tuple[Matrix, Matrix]:
    """Origin and step of the line that is nearest to `positions` (n x 3) at the numbers `along`."""
    centre = along.mean()
    step = ((along - centre) @ (positions - positions.mean(axis=0))) / ((along - centre) @ (along - centre))
    return positions.mean(axis=0) - centre * step, step


def _beside_the_line(stack: Stack) -> float:
    """How far, in mm, a slice lies at most from the line of all, wherever along the normal it is."""
    positions = np.array([plane.position for plane in stack.planes])
    along = np.array([plane.location for plane in stack.planes])
    origin, step = _line(along, positions)
    return float(np.linalg.norm(positions - (origin + along[:, None] * step), axis=1).max())


def _stack(planes: list[Plane]) -> Stack:
    """Two or more planes in different places, ordered and put on a grid."""
    ordered = tuple(sorted(planes, key=lambda plane: plane.location))
    positions = np.array([plane.position for plane in ordered])
    locations = np.array([plane.location for plane in ordered])
    distances = np.diff(locations)
    # The step is the common distance; where slices are missing the others are multiples of it.
    smallest = distances.min()
    step = float(np.median(distances[distances <= 1.25 * smallest])) if smallest > 0 else 0.0
    regular, places = _grid(locations, step, segmented=bool(ordered[0].segment))
    if not regular:
        step, places = float(np.median(distances)), np.arange(len(ordered))
    origin, vector = _line(places.astype(np.float64), positions)
    first = ordered[0]
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 3] = vector, origin
    affine[:3, 1] = np.array(first.orientation[3:]) * first.spacing[0]
    affine[:3, 2] = np.array(first.orientation[:3]) * first.spacing[1]
    away = np.linalg.norm(positions - (origin + places[:, None] * vector), axis=1)
    upright = abs(float(vector @ np.array(first.normal)))
    gaps = tuple(
        Gap(at, float(distance), int(places[at + 1] - places[at] - 1))
        for at, distance in enumerate(distances)
        if (places[at + 1] - places[at] > 1 if regular else abs(distance - step) > _OFF_GRID * step)
    )
    return Stack(
        planes=ordered,
        places=tuple(places.tolist()),
        affine=affine,
        spacing=(upright, *first.spacing),
        tilt=tilt_of(affine),
        deviation=float(away.max()),
        regular=regular,
        gaps=gaps,
    )


def tilt_of(affine: Matrix) -> float:
    """Degrees between the line of slices and their normal; 0 for what is rounding."""
    vector, normal = affine[:3, 0], np.cross(affine[:3, 2], affine[:3, 1])
    lengths = float(np.linalg.norm(vector)) * float(np.linalg.norm(normal))
    tilt = math.degrees(math.acos(min(1.0, abs(float(vector @ normal)) / lengths))) if lengths else 0.0
    return tilt if tilt > _NO_TILT else 0.0


def _grid(locations: Matrix, step: float, *, segmented: bool) -> tuple[bool, NDArray[np.int64]]:
    """Whether the slices lie on places of a grid of about `step`, and on which."""
    none = np.arange(len(locations))
    if not step > 0:
        return False, none
    places = np.concatenate(([0], np.cumsum(np.rint(np.diff(locations) / step).astype(np.int64))))
    holes = int(places[-1]) + 1 - len(locations)
    sparse = segmented and holes <= _MOST_HOLES and 2 * (np.diff(places) == 1).sum() >= len(places) - 1
    if holes > len(locations) and not sparse:
        # It is by chance that they fit: a much finer grid fits anything.
        return False, none
    origin, vector = _line(places.astype(np.float64), locations[:, None])
    away = np.abs(locations - (origin + places[:, None] * vector)[:, 0])
    return bool(away.max() <= _OFF_GRID * step), places
