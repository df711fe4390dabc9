"""Soft-edged shapes drawn into one axial slice of Hounsfield Units.

Everything is in patient coordinates in mm (PS3.3 C.7.6.2: x to the left, y to the back, z to the head). An edge is as
wide as the point spread of a scanner, so that nothing looks cut out with scissors. Small shapes touch only the window
of the slice that they can reach: that is what keeps thousands of vessels cheap.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.floating[Any]]
Point = tuple[float, float, float]
EDGE = 1.1  # mm: about the in-plane resolution of a body scan


@dataclass(frozen=True, slots=True)
class Grid:
    """`size` x `size` pixels of `spacing` mm, centred on the origin."""

    size: int
    spacing: float

    @property
    def axis(self) -> Plane:
        places: Plane = (np.arange(self.size, dtype=np.float32) - (self.size - 1) / 2) * np.float32(self.spacing)
        return places

    def window(self, low: float, high: float) -> slice:
        """Indices whose coordinate can lie in low..high."""
        middle = (self.size - 1) / 2
        return slice(
            max(0, int(low / self.spacing + middle)), max(0, min(self.size, int(high / self.spacing + middle) + 2))
        )


def soft(distance: Plane, edge: float = EDGE) -> Plane:
    """1 inside (negative distance in mm), 0 outside, and a slope of width `edge` between."""
    mask: Plane = np.clip(0.5 - distance / edge, 0, 1)
    return mask


def blend(plane: Plane, mask: Plane, value: float | Plane) -> None:
    """Draw `value` where `mask` is 1, in place."""
    plane += mask * (value - plane)


def ellipse(x: Plane, y: Plane, a: float, b: float, power: float = 2.0) -> Plane:
    """Approximate signed distance in mm from a (super)ellipse with half axes a and b around the origin."""
    if a <= 0 or b <= 0:
        return np.full(np.broadcast_shapes(x.shape, y.shape), 1e3, np.float32)
    u, v = np.abs(x) / a, np.abs(y) / b
    if power == 2.0:
        k = np.sqrt(u * u + v * v)
        gradient = np.sqrt((u / a) ** 2 + (v / b) ** 2) / np.maximum(k, 1e-3)
    else:
        k = (u**power + v**power) ** np.float32(1 / power)
        gradient = np.sqrt((u ** (power - 1) / a) ** 2 + (v ** (power - 1) / b) ** 2) / np.maximum(k, 1e-3) ** (
            power - 1
        )
    return (k - 1) / np.maximum(gradient, 1e-3)


@dataclass(frozen=True, slots=True)
class Ellipsoid:
    """Turned by `angle` (radians) about the z axis."""

    center: Point
    radii: Point
    value: float
    angle: float = 0.0
    edge: float = EDGE

    def mask(self, grid: Grid, z: float) -> tuple[tuple[slice, slice], Plane] | None:
        """The window it can touch in the plane at `z`, and the mask there."""
        across = (z - self.center[2]) / self.radii[2]
        if abs(across) >= 1:
            return None
        scale = (1 - across * across) ** 0.5
        reach = max(self.radii[0], self.radii[1]) * scale + 2 * self.edge
        where = (
            grid.window(self.center[1] - reach, self.center[1] + reach),
            grid.window(self.center[0] - reach, self.center[0] + reach),
        )
        x = grid.axis[where[1]][np.newaxis, :] - self.center[0]
        y = grid.axis[where[0]][:, np.newaxis] - self.center[1]
        if self.angle:
            c, s = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
            x, y = c * x + s * y, c * y - s * x
        return where, soft(ellipse(x, y, self.radii[0] * scale, self.radii[1] * scale), self.edge)

    def draw(self, plane: Plane, grid: Grid, z: float) -> None:
        found = self.mask(grid, z)
        if found is not None:
            blend(plane[found[0]], found[1], self.value)


@dataclass(frozen=True, slots=True)
class Tube:
    """A straight piece from `start` to `end` with a radius at each; `flat` squeezes it in z (ribs, plates)."""

    start: Point
    end: Point
    radii: tuple[float, float]
    value: float
    edge: float = EDGE
    flat: float = 1.0

    @property
    def span(self) -> tuple[float, float]:
        """Lowest and highest z it can touch."""
        reach = max(self.radii) * max(1.0, 1 / self.flat) + self.edge
        return min(self.start[2], self.end[2]) - reach, max(self.start[2], self.end[2]) + reach

    def draw(self, plane: Plane, grid: Grid, z: float) -> None:
        low, high = self.span
        if not low < z < high:
            return
        (x0, y0, z0), (x1, y1, z1) = self.start, self.end
        reach = max(self.radii) + self.edge
        rows = grid.window(min(y0, y1) - reach, max(y0, y1) + reach)
        columns = grid.window(min(x0, x1) - reach, max(x0, x1) + reach)
        x = grid.axis[columns][np.newaxis, :] - x0
        y = grid.axis[rows][:, np.newaxis] - y0
        if not x.size or not y.size:
            return
        f = self.flat
        dx, dy, dz, h = x1 - x0, y1 - y0, (z1 - z0) * f, (z - z0) * f
        along = np.clip((x * dx + y * dy + h * dz) / max(dx * dx + dy * dy + dz * dz, 1e-6), 0, 1)
        distance = np.sqrt((x - along * dx) ** 2 + (y - along * dy) ** 2 + (h - along * dz) ** 2)
        radius = self.radii[0] + along * (self.radii[1] - self.radii[0])
        blend(plane[rows, columns], soft(distance - radius, self.edge), self.value)


def chain(points: list[Point], radii: list[float], value: float, flat: float = 1.0) -> list[Tube]:
    """Tubes from point to point."""
    return [
        Tube(a, b, (r, s), value, flat=flat) for a, b, r, s in zip(points, points[1:], radii, radii[1:], strict=False)
    ]


class Layers:
    """Tubes sorted into the slices they touch, so that a slice looks only at its own."""

    def __init__(self, tubes: Iterable[Tube], heights: list[float]) -> None:
        self._by_slice: list[list[Tube]] = [[] for _ in heights]
        for tube in tubes:
            low, high = tube.span
            for index, z in enumerate(heights):
                if low < z < high:
                    self._by_slice[index].append(tube)

    def draw(self, plane: Plane, grid: Grid, index: int, z: float) -> None:
        for tube in self._by_slice[index]:
            tube.draw(plane, grid, z)
