"""Blending presentation states (PS3.3 C.11.14, PS3.4 N.2.4): an image in colours over another in greys.

Both lie where their geometry says (C.7.6.2), on planes that are parallel; images without geometry have to have the same
size. Registrations of frames of reference are not read. Which frame lies over which is found here for advanced blending
(advanced.py), too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isocenter.errors import PixelError
from isocenter.pixels.image import Image

Picture = NDArray[np.uint8]
Floats = NDArray[np.float64]

_PLANE_POSITION, _PLANE_ORIENTATION, _PIXEL_MEASURES = 0x00209113, 0x00209116, 0x00289110
_POSITION, _ORIENTATION, _SPACING = 0x00200032, 0x00200037, 0x00280030
_PARALLEL = 0.9962  # the cosine of 5 degrees
_FARTHEST, _SMALLEST = 1e6, 1e-6  # mm
_SAME = 0.01  # mm: planes of one place, as those of several times
_HALF = 0.51


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """A frame in the patient: `position` of the centre of its first pixel, and the steps to the next pixel along a row
    (`across`) and along a column (`down`), in mm, LPS."""

    position: Floats
    across: Floats
    down: Floats

    @property
    def normal(self) -> Floats:
        normal = np.cross(self.across, self.down)
        return np.asarray(normal / np.linalg.norm(normal))

    def distance(self, other: Plane) -> float:
        """How far the planes are apart, in mm; infinite if they are not parallel."""
        return abs(self.offset(other))

    def offset(self, other: Plane) -> float:
        """The same with its sign: above zero where the other lies in the direction of the normal."""
        if abs(float(self.normal @ other.normal)) < _PARALLEL:
            return float("inf")
        return float(self.normal @ (other.position - self.position))


def plane_of(image: Image, number: int) -> Plane | None:
    """Where a frame lies; None if its header does not say."""
    position = image.group(_PLANE_POSITION, number).numbers(_POSITION)
    orientation = image.group(_PLANE_ORIENTATION, number).numbers(_ORIENTATION)
    spacing = image.group(_PIXEL_MEASURES, number).numbers(_SPACING)
    if (len(position), len(orientation), len(spacing)) != (3, 6, 2):
        return None
    cosines = np.array(orientation)
    # What is no place in a patient is none: far away, no directions, pixels of no size. NaN compares as False.
    if not (np.abs([*position, *orientation, *spacing]) <= _FARTHEST).all() or not min(spacing) >= _SMALLEST:
        return None
    if not np.linalg.norm(np.cross(cosines[:3], cosines[3:])) >= _SMALLEST:
        return None
    return Plane(np.array(position), cosines[:3] * spacing[1], cosines[3:] * spacing[0])


def nearest(plane: Plane | None, others: Sequence[Plane | None]) -> int | None:
    """The index of the plane to be laid over another: the nearest parallel one, or the only one that there is.

    None where those planes end before this one: it lies beyond the outermost by more than half of their spacing.
    PixelError if none is parallel, or geometry is missing, so that nobody can say which one it is.
    """
    if len(others) == 1:
        return 0
    apart = np.array([plane.offset(other) if plane is not None and other is not None else np.inf for other in others])
    if not np.isfinite(apart).any():
        raise PixelError("there is nothing to superimpose in a plane parallel to it")
    best = int(np.argmin(np.abs(apart)))
    known = apart[np.isfinite(apart)]
    if known.min() <= 0 <= known.max():
        return best
    gaps = np.abs(known - apart[best])
    spacing = gaps.min(where=gaps > _SAME, initial=np.inf)
    return best if abs(apart[best]) <= spacing * _HALF else None


def blend(below: Picture, over: Picture, seen: NDArray[np.bool_], opacity: float) -> Picture:
    """`opacity` of `over`, the rest of `below`, where `seen`; RGB of one shape."""
    mixed = np.rint(below * (1.0 - opacity) + over * opacity)
    return np.asarray(np.where(seen[..., None], mixed, below), np.uint8)


def moved(
    picture: Picture, seen: NDArray[np.bool_], source: Plane | None, target: Plane | None, shape: tuple[int, int]
) -> tuple[Picture, NDArray[np.bool_]]:
    """A picture (RGB) of the plane `source` as it lies on `target`, whose frame has `shape` (rows, columns).

    `seen` tells which of its pixels are shown; so does the second that comes back, of the new shape. Colours between
    pixels are interpolated. PixelError where the two cannot be brought together.
    """
    if source is None or target is None:
        if picture.shape[:2] != shape:
            raise PixelError("images without geometry are blended only if they have the same size")
        return picture, seen
    if not np.isfinite(source.distance(target)):
        raise PixelError("the images to be blended do not lie in parallel planes", tag_path="(0020,0037)")
    inverse = np.linalg.inv(np.stack([source.across, source.down, source.normal], axis=1))
    start = inverse @ (target.position - source.position)
    across, down = inverse @ target.across, inverse @ target.down
    columns = np.arange(shape[1], dtype=np.float64)
    colours, covered = np.empty((*shape, 3), np.uint8), np.empty(shape, np.bool_)
    # Some rows at a time: what is in between is many times as large as the picture
    step = max(1, (1 << 17) // shape[1])
    for first in range(0, shape[0], step):
        part = slice(first, min(shape[0], first + step))
        rows = np.arange(part.start, part.stop, dtype=np.float64)[:, None]
        x = start[0] + columns * across[0] + rows * down[0]
        y = start[1] + columns * across[1] + rows * down[1]
        colours[part], covered[part] = _sampled(picture, seen, x, y)
    return colours, covered


def _sampled(picture: Picture, seen: NDArray[np.bool_], x: Floats, y: Floats) -> tuple[Picture, NDArray[np.bool_]]:
    height, width = picture.shape[:2]
    inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    left, top = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    u, v = (x - left)[..., None], (y - top)[..., None]
    upper = picture[top, left] * (1 - u) + picture[top, right] * u
    lower = picture[bottom, left] * (1 - u) + picture[bottom, right] * u
    near = seen[np.rint(y).astype(np.intp), np.rint(x).astype(np.intp)]
    return np.rint(upper * (1 - v) + lower * v).astype(np.uint8), np.asarray(inside & near)
