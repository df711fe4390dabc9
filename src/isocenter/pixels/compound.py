"""Compound graphics of presentation states (PS3.3 C.10.5.1.3) as lines and texts on a picture.

A writer also stores each as simple graphics, for readers that know no others; but only who draws the compound one can
let a line reach the borders of whatever is displayed, and keep a gap or a tick as large as it is on every scale. Types
that are not here are shown by their simple graphics.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isocenter.errors import PixelError
from isocenter.pixels.header import Attributes

Points = NDArray[np.float64]

INSTANCE_ID = 0x00700226
_TYPE, _TICKS = 0x00700294, 0x00700287
_UNITS, _DATA, _FILLED = 0x00700282, 0x00700022, 0x00700024
_ANGLE, _CENTER, _GAP = 0x00700230, 0x00700273, 0x00700261
_POSITION, _LABEL = 0x00700288, 0x00700289
_TICK_SIDE, _LABELLED, _LABEL_SIDE = 0x00700274, 0x00700278, 0x00700279
_MOST_TICKS = 200
_TURN = np.linspace(0, 2 * np.pi, 181)


@dataclass(frozen=True, slots=True)
class Drawing:
    """What is drawn: `lines` as (x, y) on the picture, in pixels from its corner, closed ones `filled` or not; and
    `texts` with the places of their middles."""

    lines: tuple[Points, ...]
    filled: bool = False
    texts: tuple[tuple[str, tuple[float, float]], ...] = ()


@dataclass(frozen=True, slots=True)
class View:
    """How points become `places` on the picture of `shape` (rows, columns); `tick` is the length of a short line."""

    places: Callable[[Points, str], Points]
    shape: tuple[int, int]
    tick: float


def drawing_of(item: Attributes, view: View) -> Drawing | None:
    """An item of Compound Graphic Sequence; None for a type that is not known here.

    PixelError for one whose points are not what its type needs.
    """
    kind = item.text(_TYPE)
    draw = _KINDS.get(kind)
    if draw is None:
        return None
    numbers = item.numbers(_DATA)
    wrong = len(numbers) < 4 or len(numbers) % 4 if kind == "MULTILINE" else len(numbers) != 4
    if wrong or not np.isfinite(numbers).all():
        raise PixelError(f"a compound graphic {kind} with other points than it needs", tag_path="(0070,0022)")
    return draw(np.array(numbers).reshape(-1, 2), item, view)


def _placed(points: Points, item: Attributes, view: View) -> Points:
    """On the picture, turned by Rotation Angle, counterclockwise, around Rotation Point (C.10.5.1.3.2).

    What is in pixels of the image turns in the image, what is in parts of the displayed area on the picture.
    """
    units = item.text(_UNITS)
    angle, center = item.numbers(_ANGLE), item.numbers(_CENTER)
    if not angle or not angle[0] or len(center) < 2:
        return view.places(points, units)
    turn = np.deg2rad(angle[0])
    # Rows run down: counterclockwise to the eye
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    middle = np.array([center[:2]])
    if units == "DISPLAY":
        points, middle = view.places(points, units), view.places(middle, units)
        return np.asarray(middle + (points - middle) @ matrix.T)
    return view.places(middle + (points - middle) @ matrix.T, units)


def _multiline(points: Points, item: Attributes, view: View) -> Drawing:
    places = _placed(points, item, view)
    return Drawing(tuple(places[index : index + 2] for index in range(0, len(places), 2)))


def _rectangle(points: Points, item: Attributes, view: View) -> Drawing:
    (left, top), (right, bottom) = points
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)])
    return Drawing((_placed(corners, item, view),), item.text(_FILLED) == "Y")


def _ellipse(points: Points, item: Attributes, view: View) -> Drawing:
    center, half = points.mean(axis=0), (points[1] - points[0]) / 2
    path = center + np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1) * half
    return Drawing((_placed(path, item, view),), item.text(_FILLED) == "Y")


def _infinite(points: Points, item: Attributes, view: View) -> Drawing:
    """To the borders of the picture, with a gap around Rotation Point (C.10.5.1.3.6)."""
    start, end = _placed(points, item, view)
    along = end - start
    length = float(np.hypot(*along))
    if not length:
        raise PixelError("a line of one point", tag_path="(0070,0022)")
    along = along / length
    reach = _within(start, along, view.shape)
    if reach is None:
        return Drawing(())
    gap, center = item.numbers(_GAP), item.numbers(_CENTER)
    pieces = [reach]
    if gap and gap[0] > 0 and len(center) >= 2:
        middle = float((view.places(np.array([center[:2]]), item.text(_UNITS))[0] - start) @ along)
        half = gap[0] * view.shape[1] / 2
        pieces = [(reach[0], min(reach[1], middle - half)), (max(reach[0], middle + half), reach[1])]
    return Drawing(
        tuple(np.array([start + one * along, start + other * along]) for one, other in pieces if one < other)
    )


def _within(start: Points, along: Points, shape: tuple[int, int]) -> tuple[float, float] | None:
    """From where to where a line lies in the picture, in pixels along it."""
    low, high = -np.inf, np.inf
    for place, step, size in zip(start, along, (shape[1], shape[0]), strict=True):
        if abs(step) < 1e-9:
            if not 0 <= place <= size:
                return None
            continue
        ends = sorted(((0 - place) / step, (size - place) / step))
        low, high = max(low, ends[0]), min(high, ends[1])
    return (float(low), float(high)) if low < high else None


def _cutline(points: Points, item: Attributes, view: View) -> Drawing:
    """Like an infinite line, with an arrow on its right towards the middle of each half."""
    line = _infinite(points, item, view)
    if not line.lines:
        return line
    first, last = line.lines[0][0], line.lines[-1][1]
    along = (last - first) / np.hypot(*(last - first))
    right = np.array([-along[1], along[0]])
    arrows: list[Points] = []
    for part in (0.25, 0.75):
        tip = first + part * (last - first)
        back = tip + right * view.tick
        arrows += [
            np.array([tip + right * 4 * view.tick, tip]),
            np.array([back - along * view.tick / 2, tip, back + along * view.tick / 2]),
        ]
    return Drawing((*line.lines, *arrows))


def _axis(points: Points, item: Attributes, view: View) -> Drawing:
    """A line with ticks at parts of its length, and their labels (C.10.5.1.3.8, C.10.5.1.3.9)."""
    start, end = _placed(points, item, view)
    length = float(np.hypot(*(end - start)))
    if not length:
        raise PixelError("a line of one point", tag_path="(0070,0022)")
    # TOP and BOTTOM are meant for a line from left to right.
    below = np.array([-(end - start)[1], (end - start)[0]]) / length
    sides = {"TOP": (-1.0, 0.0), "BOTTOM": (0.0, 1.0)}
    tick, side = sides.get(item.text(_TICK_SIDE), (-0.5, 0.5)), item.text(_LABEL_SIDE)
    lines, texts = [np.array([start, end])], []
    for index in range(min(_MOST_TICKS, item.count(_TICKS))):
        one = item.item(_TICKS, index)
        assert one is not None
        position = one.numbers(_POSITION)
        if not position or not 0 <= position[0] <= 1:
            raise PixelError("a tick beyond its line", tag_path="(0070,0288)")
        at = start + position[0] * (end - start)
        lines.append(np.array([at + tick[0] * view.tick * below, at + tick[1] * view.tick * below]))
        label = one.prose(_LABEL, "SH")
        if label and item.text(_LABELLED) == "Y":
            place = at + (-2.0 if side == "TOP" else 2.0) * view.tick * below
            texts.append((label, (float(place[0]), float(place[1]))))
    return Drawing(tuple(lines), texts=tuple(texts))


_KINDS: dict[str, Callable[[Points, Attributes, View], Drawing]] = {
    "MULTILINE": _multiline,
    "RECTANGLE": _rectangle,
    "ELLIPSE": _ellipse,
    "INFINITELINE": _infinite,
    "CUTLINE": _cutline,
    "RULER": _axis,
    "AXIS": _axis,
}
