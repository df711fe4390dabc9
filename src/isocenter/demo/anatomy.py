"""A chest, as numbers: where each organ of the demo phantom lies, and how dense it is.

Coordinates are mm in the patient (x left, y back, z head), the origin in the middle of the chest at the height of the
left atrium's roof. Hounsfield Units are those of a scan in the portal venous phase. Computed, not copied: no person
was scanned.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from isocenter.demo.shapes import Ellipsoid, Plane, Point, Tube, chain
from isocenter.demo.vessels import grow

AIR, LUNG, FAT, MUSCLE, BLOOD, BONE, MARROW = -1000.0, -865.0, -104.0, 58.0, 165.0, 620.0, 190.0

# Half axes by height: (z, across, deep). The body is a superellipse, the chest cavity an ellipse.
_BODY = np.array(
    [
        (-160, 152, 106), (-110, 156, 108), (-50, 164, 113), (20, 170, 115), (70, 172, 108), (105, 160, 97),
        (130, 128, 86), (160, 84, 74),
    ],
    float,
)  # fmt: skip
_CAVITY = np.array(
    [(-160, 116, 82), (-100, 125, 88), (-40, 131, 92), (20, 127, 90), (55, 116, 83), (85, 94, 68), (105, 70, 50),
     (120, 44, 32), (128, 20, 14), (130, 0, 0)], float,
)  # fmt: skip


def _at(table: NDArray[np.float64], z: float) -> tuple[float, float]:
    return float(np.interp(z, table[:, 0], table[:, 1])), float(np.interp(z, table[:, 0], table[:, 2]))


def body(z: float) -> tuple[float, float]:
    """Half axes of the skin."""
    return _at(_BODY, z)


def body_center(z: float) -> float:
    """How far behind the origin the middle of the body lies: the neck sits at the back of the chest."""
    return float(np.interp(z, [60, 105, 130, 160], [0, 9, 22, 34]))


def cavity(z: float) -> tuple[float, float]:
    """Half axes of the chest cavity, inside the ribs."""
    return _at(_CAVITY, z)


def dome(x: Plane | float, y: Plane | float) -> Plane:
    """Height of the diaphragm; lung above it, belly below. The right dome (x < 0) is the higher one."""
    right = -42 - 62 * ((np.asarray(x) + 62) / 78) ** 2 - 34 * (np.asarray(y) / 70) ** 2
    left = -58 - 58 * ((np.asarray(x) - 66) / 76) ** 2 - 34 * (np.asarray(y) / 70) ** 2
    return np.asarray(np.maximum(right, left) - 0.30 * np.maximum(np.asarray(y), 0), np.float32)


def in_lung(point: NDArray[np.float64], margin: float = 3.0) -> bool:
    """Whether a vessel may branch here."""
    x, y, z = (float(v) for v in point)
    a, b = cavity(z)
    if a <= margin * 2 or z < float(dome(x, y)) + margin:
        return False
    return (x / (a - margin)) ** 2 + ((y - 2) / (b - margin)) ** 2 < 1 and abs(x) > 20 + (10 if x > 0 and z < 10 else 0)


def spine_y(z: float) -> float:
    """Middle of the vertebral bodies: the curve of the back."""
    return 47 + 6 * math.cos(z / 95)


def spine(heights: tuple[float, float] = (-165, 165), pitch: float = 23.0) -> list[Tube | Ellipsoid]:
    """Vertebrae with cortex, marrow, pedicles, laminae, processes and discs; canal and cord come with soft_tissue."""
    parts: list[Tube | Ellipsoid] = []
    z = heights[0] + 4
    while z < heights[1]:
        y = spine_y(z)
        size = 1.06 - 0.0009 * (z + 160)
        parts.append(Ellipsoid((0, y, z), (17.5 * size, 14 * size, 30), 75))  # disc and ligaments, seen between bodies
        for end in (-9.2, 9.2):
            parts += [Tube((-6, y, z + end), (6, y, z + end), (10.5 * size, 10.5 * size), 420, flat=4.0)]
        parts.append(Ellipsoid((0, y, z), (17.5 * size, 14 * size, 17), BONE * 0.82))
        parts.append(Ellipsoid((0, y - 0.3, z), (15.7 * size, 12.2 * size, 13), MARROW))
        back = y + 12 * size
        for side in (-1, 1):
            parts += chain(
                [
                    (side * 11, back - 3, z + 3), (side * 12.5, back + 9, z + 3), (side * 8, back + 20, z - 3),
                    (0, back + 25, z - 7),
                ],
                [4.2, 4.4, 3.4, 3.2], 480,
            )  # fmt: skip
            parts += chain(
                [(side * 13, back + 10, z + 2), (side * 26, back + 16, z + 5), (side * 33, back + 18, z + 6)],
                [4, 3.6, 4.2],
                420,
            )
        parts += chain([(0, back + 24, z - 6), (0, back + 32, z - 16), (0, back + 38, z - 24)], [3.4, 2.8, 3.4], 450)
        z += pitch
    return parts


def ribs(pitch: float = 23.0) -> list[Tube]:
    """Twelve pairs: round the cavity from the spine, sloping down to the front, cartilage before the sternum."""
    tubes: list[Tube] = []
    for number in range(13):
        head = 131 - number * pitch
        reach = 0.93 if number < 8 else 0.93 - 0.13 * (number - 7)
        for side in (-1.0, 1.0):
            points: list[Point] = []
            for step in range(25):
                turn = step / 24 * math.pi * reach
                drop = 46 * (1 - math.cos(turn * 0.62)) * (0.62 if number == 0 else 1.0)
                z = head - drop
                a, b = cavity(min(z, 112 - 2 * number))
                a, b = max(a, 46) + 6.0, max(b, 34) + 5.5
                points.append((side * a * math.sin(turn) * 0.999, 2 + b * math.cos(turn), z))
            bend = spine_y(head)
            points[:3] = [
                (side * 18, bend + 8, head),
                (side * 26, bend + 24, head),
                (side * 36, 2 + b * 0.93, head - 1),
            ]
            tubes += chain(points[:20], [4.6] * 20, 520, flat=0.62)
            tubes += chain(points[:20], [2.7] * 20, MARROW + 40, flat=0.55)
            tubes += chain(points[19:], [4.4] * 6, 118, flat=0.7)  # costal cartilage
    return tubes


def girdle() -> list[Tube | Ellipsoid]:
    """Sternum, clavicles and shoulder blades."""
    parts: list[Tube | Ellipsoid] = []
    for points, radius, value in (([(0, -80, 84), (0, -87, 60), (0, -95, 20), (0, -97, -38)], 5.6, 430.0),):
        for shift in (-10, -5, 0, 5, 10):
            parts += chain([(x + shift, y + abs(shift) * 0.12, z) for x, y, z in points], [radius] * 4, value)
        for shift in (-8, -4, 0, 4, 8):
            parts += chain([(x + shift, y + abs(shift) * 0.12, z) for x, y, z in points], [radius - 2.3] * 4, 170)
    for side in (-1, 1):
        clavicle: list[Point] = [
            (side * 14, -74, 88),
            (side * 44, -70, 97),
            (side * 78, -52, 108),
            (side * 112, -26, 118),
        ]
        parts += chain(clavicle, [8, 6, 5.6, 6], 600)
        parts += chain(clavicle, [5, 3.4, 3, 3], 210)
        for k in range(11):
            z = 112 - 13 * k
            outer = 132 - 4.2 * k if k < 9 else 100
            inner = 92 - 1.5 * k
            y_out, y_in = 44 + 1.5 * k, 76 - 0.4 * k
            parts.append(Tube((side * inner, y_in, z), (side * outer, y_out, z), (2.6, 3.8), 510, flat=0.42))
        parts += chain(
            [(side * 92, 84, 78), (side * 118, 70, 96), (side * 138, 44, 112)], [3, 4, 5.5], 520
        )  # its spine
    return parts


def heart() -> list[Ellipsoid]:
    """Pericardial fat, muscle and four chambers, apex to the left and front."""
    t = -0.62
    return [
        Ellipsoid((22, -32, -26), (70, 50, 56), -90, t),
        Ellipsoid((22, -30, -24), (62, 44, 51), 112, t),
        Ellipsoid((44, -30, -32), (31, 17, 32), BLOOD, t),  # left ventricle
        Ellipsoid((6, -58, -34), (34, 11, 34), BLOOD * 0.92, t - 0.1),  # right ventricle
        Ellipsoid((-26, -26, -22), (18, 25, 29), BLOOD * 0.9, 0.2),  # right atrium
        Ellipsoid((6, 6, -6), (29, 14, 21), BLOOD, 0.0),  # left atrium
        Ellipsoid((44, -28, -30), (6, 3.4, 20), 112, t),  # papillary muscle
    ]


def great_vessels() -> list[Tube]:
    """Aorta with its arch and branches, pulmonary arteries and veins, caval veins."""
    aorta: list[Point] = [
        (2, -22, -8), (-12, -30, 12), (-17, -30, 32), (-14, -25, 52), (-4, -12, 66), (12, 10, 70), (23, 30, 60),
        (26, 36, 42), (25, 38, 0), (21, 38, -60), (15, 37, -110), (9, 35, -165),
    ]  # fmt: skip
    parts = chain(aorta, [14.5, 16, 15.5, 15, 14, 13, 12.5, 12, 12, 11.5, 11, 10.5], BLOOD)
    trunk: list[Point] = [(20, -46, -4), (20, -40, 14), (16, -26, 26), (8, -14, 28)]
    parts += chain(trunk, [14, 14, 13.5, 12.5], BLOOD * 0.95)
    parts += chain([(10, -14, 28), (-16, -4, 26), (-44, 2, 20)], [12, 11, 9], BLOOD * 0.95)
    parts += chain([(14, -18, 28), (30, -2, 32), (44, 14, 28), (48, 20, 12)], [12, 11, 10, 7.5], BLOOD * 0.95)
    parts += chain(
        [(-28, -14, 70), (-31, -18, 40), (-30, -22, 8), (-27, -24, -6)], [8, 9, 10, 12], BLOOD
    )  # superior caval
    parts += chain([(-24, -6, -40), (-24, 8, -70), (-22, 20, -110), (-20, 24, -165)], [13, 12.5, 12, 12], BLOOD * 0.85)
    parts += chain([(44, -24, 104), (30, -34, 84), (0, -34, 76), (-28, -16, 68)], [6, 6.5, 7, 7.5], BLOOD * 1.05)
    parts += chain([(-46, -22, 106), (-32, -22, 86), (-28, -16, 68)], [6, 7, 8], BLOOD)
    for route in (
        [(-8, -16, 66), (-16, -12, 84), (-22, -4, 108), (-26, 4, 160)],
        [(3, -4, 70), (12, -2, 88), (21, 4, 112), (25, 8, 160)],
        [(13, 10, 72), (24, 16, 90), (36, 12, 110), (62, 0, 124)],
    ):
        parts += chain([(float(x), float(y), float(z)) for x, y, z in route], [6, 5, 4.2, 4], BLOOD)
    for side, ends in ((-1, ((-58, -8, -2), (-54, 26, -18))), (1, ((56, -6, 6), (54, 26, -14)))):
        for end in ends:
            parts += chain([(side * 18 + 6, 6, -4), end], [7.5, 5.5], BLOOD)  # pulmonary veins
    return parts


def airway() -> list[Tube]:
    """Trachea and main bronchi: first the walls, then the air."""
    trachea: list[Point] = [(0, 4, 165), (0, 8, 110), (0, 12, 70), (-1, 16, 44)]
    right: list[Point] = [(-1, 16, 44), (-18, 16, 30), (-34, 16, 16), (-46, 22, -4), (-54, 32, -28)]
    left: list[Point] = [(-1, 16, 44), (16, 18, 32), (36, 22, 20), (48, 28, 2), (58, 38, -24)]
    upper: list[Tube] = []
    for wall, value in ((1.6, 42.0), (0.0, AIR)):
        upper += chain(trachea, [9 + wall] * 4, value)
        upper += chain(right, [7.6 + wall, 7 + wall, 5.4 + wall, 4 + wall, 2.4 + wall * 0.6], value)
        upper += chain(left, [7.4 + wall, 6.6 + wall, 5.2 + wall, 3.8 + wall, 2.4 + wall * 0.6], value)
        upper += chain([(-26, 16, 24), (-44, 14, 34), (-60, 10, 52)], [4.6 + wall, 3.4 + wall, 1.8 + wall * 0.6], value)
        upper += chain([(34, 21, 20), (46, 12, 32), (58, 4, 48)], [4.4 + wall, 3.2 + wall, 1.8 + wall * 0.6], value)
    return upper


# Where vessels leave the right hilum (mirrored for the left), where to, and how wide
_HILUM = (
    ((42, 10, 16), (1.0, -0.2, 0.3), 3.8),
    ((44, 16, 0), (1.0, -0.3, -0.9), 4.2),
    ((48, 24, -4), (0.8, 0.9, 0.1), 3.8),
    ((42, 2, 26), (0.2, 0.5, 1.0), 4.0),
    ((50, 6, -4), (0.6, -0.4, -1.0), 4.0),
    ((40, 4, 22), (0.5, -0.3, 1.0), 4.6),
    ((44, 8, 20), (0.9, 0.5, 0.6), 4.0),
    ((46, 14, 6), (0.9, 0.1, -0.2), 4.2),
    ((48, 20, -2), (0.45, 0.5, -1.0), 4.8),
    ((50, 0, 2), (0.8, -0.8, -0.4), 4.0),
    ((46, 24, -12), (0.5, 0.9, -0.5), 4.2),
    ((46, 0, 24), (0.5, -0.9, 0.4), 3.6),
)


def lung_vessels() -> list[Tube]:
    """Arteries and veins from both hila into every direction."""
    tubes: list[Tube] = []
    seed = 11
    for side in (-1, 1):
        for root, heading, radius in _HILUM:
            origin = (side * (root[0] + (4 if side > 0 else 0)), float(root[1]), float(root[2]))
            tubes += grow(origin, (side * heading[0], heading[1], heading[2]), radius, in_lung, 48.0, seed, least=0.42)
            seed += 1
    return tubes


def liver_vessels() -> list[Tube]:
    """Hepatic and portal veins."""

    def inside(point: NDArray[np.float64]) -> bool:
        x, y, z = (float(v) for v in point)
        a, b = cavity(z)
        return (x / (a - 10)) ** 2 + (y / (b - 8)) ** 2 < 1 and z < float(dome(x, y)) - 8 and -110 < x < 40 and z > -175

    tubes: list[Tube] = []
    for seed, heading in enumerate(((-1.0, -0.2, -0.3), (-0.5, -0.9, -0.4), (0.6, -1.0, -0.3), (-0.9, 0.5, -0.8))):
        tubes += grow((-24, 8, -78), heading, 5.2, inside, 172.0, 40 + seed, least=1.0, stretch=9)
    for seed, heading in enumerate(((-1.0, 0.1, 0.3), (-0.7, -0.7, 0.2), (0.4, -1.0, 0.2))):
        tubes += grow((-28, -12, -126), heading, 5.0, inside, 178.0, 50 + seed, least=1.0, stretch=9)
    return tubes


def crura() -> list[Tube]:
    """The diaphragm's pillars beside the aorta."""
    parts = chain([(-8, 34, -165), (-6, 26, -120), (4, 22, -84)], [6, 5, 3], MUSCLE)
    return parts + chain([(28, 44, -165), (30, 34, -120), (22, 24, -84)], [6, 5, 3], MUSCLE)


def belly() -> list[Ellipsoid]:
    """Spleen, kidney, stomach wall and contents; the liver is everything else on the right (phantom.py)."""
    return [
        Ellipsoid((94, 32, -114), (25, 44, 46), 122, 0.35),
        Ellipsoid((46, 58, -158), (26, 21, 34), 150, 0.5),  # upper pole of the left kidney
        Ellipsoid((52, -22, -112), (40, 47, 48), 88, -0.25),
        Ellipsoid((52, -22, -112), (36.5, 43.5, 44.5), 22, -0.25),
    ]


NODULE = Ellipsoid((-72, -26, 58), (5.5, 5.0, 6.5), 36)
CYST = Ellipsoid((-66, -18, -112), (11, 10, 12), 6)
