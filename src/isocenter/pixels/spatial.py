"""The part of an image that a presentation state displays, turned and scaled (PS3.3 C.10.4, C.10.6; PS3.4 N.2.5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isocenter.errors import PixelError
from isocenter.pixels.resample import LARGEST, fitted, resize, squared

# Pixels that a state can have made of any image: 4096 by 4096, or twice as many as the image has
_MOST_PIXELS = 1 << 24


@dataclass(frozen=True, slots=True)
class Area:
    """A rectangle in pixels of the image, from its outer top left corner; it may lie outside of it."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def columns(self) -> int:
        return self.right - self.left

    @property
    def rows(self) -> int:
        return self.bottom - self.top


@dataclass(frozen=True, slots=True)
class Spatial:
    """`area` is turned clockwise by `rotation` degrees, then flipped left to right, then scaled.

    `aspect` is the height of an image pixel over its width. `magnification` is the number of display pixels for each
    image pixel along a row, None for as large as fits.
    """

    area: Area
    rotation: int = 0
    flip: bool = False
    aspect: float = 1.0
    magnification: float | None = None

    def apply(self, picture: NDArray[np.uint8], size: tuple[int, int] | None) -> NDArray[np.uint8]:
        """The picture as it is displayed; `size` (width, height) is the viewport to fill, with its shape kept.

        Without it one image pixel becomes one pixel, or `magnification` of them, and pixels become square.
        PixelError for a displayed area that is much larger than the image and than any screen.
        """
        area = self.area
        rows, columns = picture.shape[:2]
        most = max(_MOST_PIXELS, 2 * rows * columns)
        sides = 0 < area.rows <= LARGEST and 0 < area.columns <= LARGEST
        if not sides or area.rows * area.columns > most:
            raise PixelError(f"a displayed area of {area.columns} by {area.rows} pixels", tag_path="(0070,0053)")
        if (area.left, area.top, area.right, area.bottom) != (0, 0, columns, rows):
            cut = np.zeros((area.rows, area.columns, *picture.shape[2:]), np.uint8)
            top, left = max(0, area.top), max(0, area.left)
            seen = picture[top : max(0, area.bottom), left : max(0, area.right)]
            cut[top - area.top :, left - area.left :][: seen.shape[0], : seen.shape[1]] = seen
            picture = cut
        picture = np.rot90(picture, -self.rotation // 90)
        if self.flip:
            picture = picture[:, ::-1]
        return np.ascontiguousarray(resize(np.ascontiguousarray(picture), *self._size(size, most)))

    def _size(self, size: tuple[int, int] | None, most: int) -> tuple[int, int]:
        lying = self.rotation % 180 != 0
        rows, columns = (self.area.columns, self.area.rows) if lying else (self.area.rows, self.area.columns)
        aspect = 1 / self.aspect if lying else self.aspect
        if size is not None:
            return fitted(rows, columns, size, aspect)
        rows, columns = squared(rows, columns, aspect)
        if self.magnification is not None:
            factor = min(self.magnification, LARGEST / max(rows, columns), (most / (rows * columns)) ** 0.5)
            rows, columns = max(1, round(rows * factor)), max(1, round(columns * factor))
        return rows, columns

    def points(self, points: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
        """Where (column, row) positions of the image lie in a picture of `shape` (rows, columns) that `apply` made.

        0.0 is the outer edge of the first pixel, in the image as in the picture. Both have shape (n, 2).
        """
        u = (points[:, 0] - self.area.left) / self.area.columns
        v = (points[:, 1] - self.area.top) / self.area.rows
        for _ in range(self.rotation // 90):
            u, v = 1 - v, u
        if self.flip:
            u = 1 - u
        return np.stack([u * shape[1], v * shape[0]], axis=1)
