"""Trees that branch: the vessels of the lungs and of the liver.

Grown once, from a fixed seed, by the rule of Murray's law (the cubes of the children's radii add up to the parent's).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from isocenter.demo.shapes import Tube

Vector = NDArray[np.float64]


def grow(
    root: tuple[float, float, float],
    direction: tuple[float, float, float],
    radius: float,
    inside: Callable[[Vector], bool],
    value: float,
    seed: int,
    least: float = 0.55,
    stretch: float = 7.5,
) -> list[Tube]:
    """Tubes of a tree from `root`, all of whose branching points are `inside`; ends at the `least` radius in mm."""
    rng = np.random.default_rng(seed)
    tubes: list[Tube] = []
    heading = np.array(direction) / np.linalg.norm(direction)
    waiting: list[tuple[Vector, Vector, float]] = [(np.array(root, float), heading, radius)]
    while waiting:
        start, heading, thickness = waiting.pop()
        length = stretch * thickness**0.62 * rng.uniform(0.75, 1.3)
        for _ in range(7):
            bent = heading + rng.normal(0, 0.25, 3)
            bent /= np.linalg.norm(bent)
            end = start + bent * length
            if inside(end):
                break
            length *= 0.75
        else:
            continue
        thinner = thickness * 0.96
        tubes.append(Tube(tuple(start), tuple(end), (thickness, thinner), value, edge=0.9))
        if thinner < least:
            continue
        share = rng.uniform(0.25, 0.5)
        side = np.cross(bent, rng.normal(0, 1, 3))
        side /= max(float(np.linalg.norm(side)), 1e-6)
        for part, turn in ((1 - share, -0.55 * share), (share, 0.95 - share)):
            child = bent + side * turn * 1.4
            waiting.append((end, child / np.linalg.norm(child), thinner * part ** (1 / 3)))
    return tubes
