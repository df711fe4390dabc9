"""The demo CT: sixty slices of a computed chest, in Hounsfield Units."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np

from isocenter.demo import anatomy
from isocenter.demo.anatomy import AIR, FAT, LUNG, MUSCLE
from isocenter.demo.shapes import Ellipsoid, Grid, Layers, Plane, Tube, blend, ellipse, soft

SLICES = 60
SPACING = 0.742  # mm; a field of view of 380 mm over 512 pixels
STEP = 5.0  # mm
FIRST = -150.0  # mm, height of the lowest slice
_TABLE_Y = 117.5


class Phantom:
    """Slices one at a time; `plane(index)` is the same for the same index, whatever was asked before."""

    def __init__(self, size: int = 512, slices: int = SLICES) -> None:
        self.grid = Grid(size, SPACING * 512 / size)
        self.step = STEP * SLICES / slices
        self.heights = [FIRST + self.step * index for index in range(slices)]

    @cached_property
    def _x(self) -> Plane:
        return self.grid.axis[np.newaxis, :]

    @cached_property
    def _y(self) -> Plane:
        return self.grid.axis[:, np.newaxis]

    @cached_property
    def _outside_field(self) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        return np.hypot(self._x, self._y) > self.grid.size * self.grid.spacing / 2

    @cached_property
    def _dome(self) -> Plane:
        return anatomy.dome(self._x, self._y)

    @cached_property
    def _dome_slope(self) -> Plane:
        up, across = np.gradient(self._dome, self.grid.spacing)
        return np.asarray(np.sqrt(1 + up * up + across * across))

    @cached_property
    def _texture(self) -> Plane:
        """Slow variation of fat and parenchyma, sigma 1."""
        rng = np.random.default_rng(7)
        coarse = rng.standard_normal((40, 40)).astype(np.float32)
        at = np.linspace(0, 38.99, self.grid.size)
        whole, part = at.astype(int), (at % 1).astype(np.float32)
        rows = coarse[whole] * (1 - part[:, None]) + coarse[whole + 1] * part[:, None]
        return np.asarray(rows[:, whole] * (1 - part) + rows[:, whole + 1] * part)

    @cached_property
    def _layers(self) -> dict[str, Layers]:
        groups: dict[str, list[Tube]] = {
            "vessels": [*anatomy.crura(), *anatomy.great_vessels()],
            "airway": anatomy.airway(),
            "lung": anatomy.lung_vessels(),
            "liver": anatomy.liver_vessels(),
            "ribs": anatomy.ribs(),
        }
        return {name: Layers(tubes, self.heights) for name, tubes in groups.items()}

    @cached_property
    def _bones(self) -> list[Tube | Ellipsoid]:
        return [*anatomy.spine(), *anatomy.girdle()]

    def planes(self) -> Iterator[Plane]:
        """All slices from the feet to the head."""
        return map(self.plane, range(len(self.heights)))

    def plane(self, index: int) -> Plane:
        """One slice, float32 (rows, columns), noise included."""
        z = self.heights[index]
        hu = np.full((self.grid.size, self.grid.size), AIR, np.float32)
        self._draw_table(hu)
        self._draw_wall(hu, z)
        self._draw_cavity(hu, index, z)
        for part in self._bones:
            part.draw(hu, self.grid, z)
        self._layers["ribs"].draw(hu, self.grid, index, z)
        self._draw_canal(hu, z)
        self._add_noise(hu, index)
        hu[self._outside_field] = -1024
        return np.clip(hu, -1024, 3071, out=hu)

    def _draw_table(self, hu: Plane) -> None:
        sag = _TABLE_Y - (self._x / 36) ** 2 * 0.9
        below = self._y - sag
        blend(hu, soft(np.abs(below - 14) - 13) * (np.abs(self._x) < 178), -935)  # foam
        blend(hu, soft(np.abs(below) - 1.3) * (np.abs(self._x) < 178), -120)
        blend(hu, soft(np.abs(below - 27) - 1.3) * (np.abs(self._x) < 178), -120)

    def _draw_wall(self, hu: Plane, z: float) -> None:
        """Skin, fat under it, and the muscles of the chest wall."""
        x, y = self._x, self._y
        a, b = anatomy.body(z)
        skin = ellipse(x, y - anatomy.body_center(z), a, b, 2.5)
        blend(hu, soft(skin), 25)
        blend(hu, soft(skin + 2.2), FAT + 5 * self._texture)
        thickness = 11 + 7 * np.clip(-y / b, 0, 1) + 4 * np.abs(x) / a
        depth = skin + thickness
        muscle = np.full_like(hu, MUSCLE)
        muscle += 3 * self._texture
        # Fat between the layers of muscle, deepest at the armpits
        for at, width in ((9.0, 0.9), (17.0, 0.8)):
            blend(muscle, soft(np.abs(depth + at + 0.9 * self._texture) - width, 1.8) * 0.75, FAT)
        for side in (-1, 1):
            Ellipsoid((side * 128.0, 8.0, 92.0), (22, 30, 55), FAT, side * 0.4, edge=9).draw(muscle, self.grid, z)
            Ellipsoid((side * 26.0, 91.0, z), (21, 13, 30), MUSCLE + 4, -side * 0.25, edge=3).draw(muscle, self.grid, z)
            Ellipsoid((side * 62.0, 90.0, z), (34, 9, 30), MUSCLE, side * 0.35, edge=3).draw(muscle, self.grid, z)
        blend(hu, soft(depth, 1.6), muscle)

    def _draw_cavity(self, hu: Plane, index: int, z: float) -> None:
        x, y = self._x, self._y
        a, b = anatomy.cavity(z)
        wall = ellipse(x, y - 2, a, b)
        blend(hu, soft(wall - 11), MUSCLE)
        blend(hu, soft(np.abs(wall - 1.6) - 1.2) * 0.55, FAT)
        cavity = soft(wall)
        above = soft((self._dome - z) / self._dome_slope)
        content = np.full_like(hu, FAT)
        content += 6 * self._texture
        self._draw_belly(content, index, z)
        # The muscle sheet of the diaphragm, then the fat of the mediastinum
        blend(content, soft(np.abs((self._dome - z) / self._dome_slope) - 1.5), MUSCLE)
        fat = FAT + 6 + 9 * self._texture + np.float32(np.interp(z, [90, 130], [0, 110]))
        blend(content, above, fat)
        behind = soft(anatomy.spine_y(z) + 19 - y, 6) * soft(np.abs(x) - 30, 8)
        blend(content, behind, MUSCLE)  # beside the spinous processes
        blend(hu, cavity, content)
        blend(hu, cavity * above * self._lung_field(z), self._lung(index, z))
        self._draw_heart_and_vessels(hu, index, z)

    def _lung_field(self, z: float) -> Plane:
        """1 where the cavity holds lung, 0 in the mediastinum: narrow in front, wide at the hila and at the spine."""
        x = self._x
        front = np.interp(z, [-120, -60, 0, 40, 80, 125], [46, 44, 24, 9, 16, 30])
        middle = np.interp(z, [-120, -60, 0, 30, 80, 125], [30, 34, 40, 38, 31, 28])
        back = np.interp(z, [-120, 0, 60, 125], [27, 28, 27, 26])
        profile = np.interp(
            self.grid.axis, [-90, -50, -15, 10, 30, 48, 66, 90], [front * 0.5, front, middle, middle, back, 24, 22, 22]
        )
        lean = np.where(x > 0, 1.0, 0.93)
        return 1 - soft(np.abs(x) * lean - profile[:, np.newaxis].astype(np.float32), 2.0)

    def _lung(self, index: int, z: float) -> Plane:
        """Parenchyma, denser at the back where the patient lies on it, with fissures, vessels and one nodule."""
        x, y = self._x, self._y
        lung = LUNG + 0.28 * y + 16 * self._texture
        oblique = np.abs((z + 8) + 1.05 * y + 10 - 0.06 * np.abs(x)) / 1.45
        blend(lung, soft(oblique - 0.2, 2.4) * 0.16, -300)
        horizontal = np.abs(z - 26 + 0.10 * (x + 60)) + np.where((x < 0) & (y < -20), 0, 1e3)
        blend(lung, soft(horizontal.astype(np.float32) - 1.0, 5.0) * 0.10, -300)
        self._layers["lung"].draw(lung, self.grid, index, z)
        anatomy.NODULE.draw(lung, self.grid, z)
        return lung

    def _draw_belly(self, content: Plane, index: int, z: float) -> None:
        x, y = self._x, self._y
        if z > -30:
            return
        a, b = anatomy.cavity(z)
        edge = ellipse(x, y - 2, a - 4, b - 4)
        bulk = ellipse(x + 40 + 0.1 * (z + 100), y + 14, 90, 78)
        lobe = x - (40 + 0.4 * np.minimum(y + 20, 0) - 0.9 * np.maximum(y - 4, 0) + 0.15 * (z + 90))
        liver = np.maximum.reduce([edge, (z + 2.5 - self._dome) / self._dome_slope, bulk, lobe / 1.3])
        mask = soft(liver.astype(np.float32), 1.4)
        tissue = 112 + 3 * self._texture
        self._layers["liver"].draw(tissue, self.grid, index, z)
        anatomy.CYST.draw(tissue, self.grid, z)
        blend(content, mask, tissue)
        for organ in anatomy.belly():
            organ.draw(content, self.grid, z)
        stomach = anatomy.belly()[-1].mask(self.grid, z)
        if stomach is not None:
            where, mask = stomach
            gas = soft(y[where[0]] + 38 + 0 * x[:, where[1]], 1.2)
            blend(content[where], mask * gas, -960)

    def _draw_heart_and_vessels(self, hu: Plane, index: int, z: float) -> None:
        before = hu.copy()
        for part in anatomy.heart():
            part.draw(hu, self.grid, z)
        # What the diaphragm covers is not heart
        blend(hu, soft((z - self._dome - 2) / self._dome_slope) * (z < -42), before)
        if z < 90:
            Ellipsoid((8.0, 29.0, z), (8, 6, 20), 46).draw(hu, self.grid, z)
        else:
            Ellipsoid((4.0, 24.0, z), (8, 6, 20), 46).draw(hu, self.grid, z)
        self._layers["vessels"].draw(hu, self.grid, index, z)
        self._layers["airway"].draw(hu, self.grid, index, z)

    def _draw_canal(self, hu: Plane, z: float) -> None:
        y = anatomy.spine_y(z) + 23
        Ellipsoid((0.0, y, z), (9.2, 8.4, 30), 12).draw(hu, self.grid, z)
        Ellipsoid((0.0, y, z), (5.2, 4.2, 30), 44).draw(hu, self.grid, z)

    def _add_noise(self, hu: Plane, index: int) -> None:
        """Noise of a body kernel: correlated over neighbours, stronger in the middle of the patient."""
        noise = np.random.default_rng((2024, index)).standard_normal(hu.shape, dtype=np.float32)
        noise = noise + 0.55 * (np.roll(noise, 1, 0) + np.roll(noise, 1, 1)) + 0.3 * np.roll(noise, (1, 1), (0, 1))
        depth = np.clip(1.15 - (self._x / 210) ** 2 - (self._y / 160) ** 2, 0.35, 1.2)
        hu += noise * (8.5 * depth)
