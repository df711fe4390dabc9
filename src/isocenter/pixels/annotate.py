"""Graphics and text of presentation states (PS3.3 C.10.5), drawn by Pillow on a picture that has its last size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isocenter.display.calibration import Characteristic
from isocenter.errors import PixelError
from isocenter.pixels import compound
from isocenter.pixels.colour import WHITE, Ink
from isocenter.pixels.header import Attributes
from isocenter.pixels.image import Image
from isocenter.pixels.spatial import Spatial

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

    from isocenter.pixels.state import PresentationState

Picture = NDArray[np.uint8]
Points = NDArray[np.float64]
Path = list[tuple[float, float]]  # what Pillow draws along
Draw = Callable[["_Canvas", Attributes, Ink], None]  # one graphic or text, in the ink of its layer

_ANNOTATIONS, _LAYER, _TEXTS, _GRAPHICS, _COMPOUNDS = 0x00700001, 0x00700002, 0x00700008, 0x00700009, 0x00700209
_UNITS, _POINTS, _KIND, _FILLED = 0x00700005, 0x00700022, 0x00700023, 0x00700024
_BOX_UNITS, _ANCHOR_UNITS, _TEXT, _BOX_TOP, _BOX_BOTTOM = 0x00700003, 0x00700004, 0x00700006, 0x00700010, 0x00700011
_JUSTIFICATION, _ANCHOR, _ANCHOR_VISIBLE = 0x00700012, 0x00700014, 0x00700015
_TEXT_STYLE, _TEXT_COLOUR, _LINE_STYLE, _LINE_COLOUR = 0x00700231, 0x00700241, 0x00700232, 0x00700251
_LINE_THICKNESS = 0x00700253

_MOST_OBJECTS = 2000  # of one state; a drawing of that many is meant to keep somebody busy
_MOST_POINTS = 100_000  # of all of them
_MOST_PAPER = 1 << 29  # pixels that are looked at to draw all of them
_EDGE = Ink(0)
_SMALLEST, _LARGEST = 8, 96  # pixels, of letters
# For letters that the font of Pillow has not; the first that is installed
_FONTS = ("NotoSansCJK-Regular.ttc", "NotoSans-Regular.ttf", "DejaVuSans.ttf", "Arial Unicode.ttf", "arial.ttf")


def annotated(
    picture: Picture,
    state: PresentationState,
    image: Image,
    number: int,
    spatial: Spatial,
    display: Characteristic | None,
    notes: list[str],
) -> Picture:
    """`picture` with what the state draws on this frame; one of greys becomes one of colours for coloured layers.

    What cannot be drawn is left out, with a line in `notes`.
    """
    inks = state.layers()
    groups = list(state.items(_ANNOTATIONS, image, number))
    order = {layer: place for place, layer in enumerate(inks)}
    groups.sort(key=lambda group: order.get(group.text(_LAYER), -1))
    canvas = _Canvas(picture, spatial, display)
    objects: list[tuple[Draw, Attributes, Ink]] = []
    for group in groups:
        ink = inks.get(group.text(_LAYER), WHITE)
        # Simple graphics with the number of a compound one stand in for it where that cannot be drawn (C.10.5.1.3.1).
        compounds: dict[int, Draw] = {}
        for item in _items(group, _COMPOUNDS):
            try:
                drawn = _compound(canvas, item)
            except PixelError as error:
                notes.append(f"a compound graphic is shown by simple ones: {error}")
                continue
            if drawn is not None:
                compounds[item.integer(compound.INSTANCE_ID, -1 - len(compounds))] = drawn
                objects.append((drawn, item, ink))
        simple: tuple[tuple[int, Draw], ...] = ((_GRAPHICS, _graphic), (_TEXTS, _text))
        for sequence, draw in simple:
            for item in _items(group, sequence):
                if compound.INSTANCE_ID not in item or item.integer(compound.INSTANCE_ID) not in compounds:
                    objects.append((draw, item, ink))
    if not objects:
        return picture
    if len(objects) > _MOST_OBJECTS:
        notes.append(f"of {len(objects)} annotations {_MOST_OBJECTS} are drawn")
    for paint, item, ink in objects[:_MOST_OBJECTS]:
        try:
            paint(canvas, item, ink)
        except PixelError as error:
            notes.append(f"an annotation is left out: {error}")
    return canvas.picture


def _items(group: Attributes, sequence: int) -> list[Attributes]:
    found = (group.item(sequence, index) for index in range(min(_MOST_OBJECTS + 1, group.count(sequence))))
    return [item for item in found if item is not None]


class _Canvas:
    """The picture, and how positions become places on it."""

    def __init__(self, picture: Picture, spatial: Spatial, display: Characteristic | None) -> None:
        self.picture = picture
        self.left = _MOST_POINTS
        self._paper = _MOST_PAPER
        self._spatial = spatial
        self._display = display

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self.picture.shape[:2]
        return rows, columns

    @property
    def scale(self) -> float:
        """Pixels of the picture for one of the image."""
        area = self._spatial.area
        return max(self.shape) / max(area.rows, area.columns)

    def places(self, points: Points, units: str) -> Points:
        """(x, y) on the picture, in pixels from its corner, of points in PIXEL or DISPLAY units."""
        if not np.isfinite(points).all():
            raise PixelError("a graphic point is no number", tag_path="(0070,0022)")
        if units not in ("PIXEL", "DISPLAY"):
            raise PixelError("annotation units that are not supported", tag_path="(0070,0005)")
        size = np.array([self.shape[1], self.shape[0]])
        places = points * size if units == "DISPLAY" else self._spatial.points(points, self.shape)
        # Far outside nothing is seen, and Pillow counts in 32 bits.
        return np.clip(places, -1e6, 1e6)

    def draw(self, ink: Ink, path: Points, margin: float, paint: Callable[[ImageDraw.ImageDraw, Path], None]) -> None:
        """What `paint` draws in 255 on a mask, along `path` and at most `margin` beside it, in `ink` on the picture.

        `paint` gets the path as it lies on the mask, which is only as large as it has to be.
        """
        from PIL import Image as Pillow
        from PIL import ImageDraw

        rows, columns = self.shape
        left, top = (max(0, int(edge - margin)) for edge in path.min(axis=0))
        right, bottom = (int(edge + margin) + 2 for edge in path.max(axis=0))
        right, bottom = min(columns, right), min(rows, bottom)
        if left >= right or top >= bottom:
            return
        self._paper -= (right - left) * (bottom - top)
        if self._paper < 0:
            raise PixelError("the annotations before it cover more than pictures have", tag_path="(0070,0001)")
        mask = Pillow.new("L", (right - left, bottom - top))
        paint(ImageDraw.Draw(mask), [(float(x) - left, float(y) - top) for x, y in path])
        alpha = np.asarray(mask).astype(np.float32) / 255
        if not alpha.any():
            return
        if ink.lab is not None and self.picture.ndim == 2:
            self.picture = np.repeat(self.picture[:, :, None], 3, axis=2)
        part = self.picture[top:bottom, left:right]
        if part.ndim == 3:
            alpha = alpha[:, :, None]
        colour = np.array(ink.grey(self._display) if part.ndim == 2 else ink.rgb(), np.float32)
        self.picture[top:bottom, left:right] = np.rint(part * (1 - alpha) + colour * alpha).astype(np.uint8)


def _graphic(canvas: _Canvas, item: Attributes, ink: Ink) -> None:
    numbers = item.numbers(_POINTS)
    if len(numbers) < 2 or len(numbers) % 2:
        raise PixelError("a graphic object without points", tag_path="(0070,0022)")
    canvas.left -= len(numbers) // 2
    if canvas.left < 0:
        raise PixelError(f"more than {_MOST_POINTS} graphic points", tag_path="(0070,0022)")
    points = np.array(numbers, np.float64).reshape(-1, 2)
    kind = item.text(_KIND)
    places = canvas.places(_outline(kind, points), item.text(_UNITS))
    # Pillow counts from the middle of a pixel.
    path = places - 0.5
    ink, width = _pen(item, ink)
    if kind == "POINT":
        arm = 2.0 + width
        for step in (np.array([arm, 0.0]), np.array([0.0, arm])):
            ends = np.vstack([path[0] - step, path[0] + step])
            canvas.draw(ink, ends, width, lambda on, line: on.line(line, 255, width))
    else:
        _line(canvas, path, ink, width, item.text(_FILLED) == "Y")


def _line(canvas: _Canvas, path: Points, ink: Ink, width: int, filled: bool) -> None:
    if filled and len(path) > 2:
        canvas.draw(ink, path, 1, lambda on, line: on.polygon(line, fill=255, outline=255))
    else:
        joint = "curve" if width > 2 else None
        canvas.draw(ink, path, width + 1, lambda on, line: on.line(line, 255, width, joint=joint))


def _pen(item: Attributes, ink: Ink) -> tuple[Ink, int]:
    """Colour and width, in pixels, of a graphic's lines: those of its Line Style, else its layer's and 1."""
    style = item.item(_LINE_STYLE)
    thickness = style.numbers(_LINE_THICKNESS) if style is not None else ()
    width = max(1, min(50, round(thickness[0]))) if thickness and np.isfinite(thickness[0]) else 1
    return _styled(ink, style, _LINE_COLOUR), width


def _compound(canvas: _Canvas, item: Attributes) -> Draw | None:
    """How a compound graphic is drawn; None for a type that only its simple graphics show."""
    size = 10 * min(3.0, max(1.2, canvas.scale))
    drawing = compound.drawing_of(item, compound.View(canvas.places, canvas.shape, size / 2))
    if drawing is None:
        return None

    def draw(canvas: _Canvas, item: Attributes, ink: Ink) -> None:
        canvas.left -= sum(len(path) for path in drawing.lines)
        if canvas.left < 0:
            raise PixelError(f"more than {_MOST_POINTS} graphic points", tag_path="(0070,0022)")
        pen, width = _pen(item, ink)
        for path in drawing.lines:
            _line(canvas, np.clip(path, -1e6, 1e6) - 0.5, pen, width, drawing.filled)
        letters = _styled(ink, item.item(_TEXT_STYLE), _TEXT_COLOUR)
        for label, (x, y) in drawing.texts:
            font = _font(label, round(size))
            _letters(canvas, [label], [(x - font.getlength(label) / 2, y - size * 0.6)], font, letters)

    return draw


def _styled(ink: Ink, style: Attributes | None, tag: int) -> Ink:
    lab = style.words(tag) if style is not None else ()
    return Ink(ink.p_value, (lab[0], lab[1], lab[2])) if len(lab) >= 3 else ink


def _outline(kind: str, points: Points) -> Points:
    """The line that a graphic of C.10.5.1.2 is drawn with, in its own units."""
    turn = np.linspace(0, 2 * np.pi, 181)[:, None]
    if kind in ("POINT", "POLYLINE"):
        return points
    if kind == "CIRCLE" and len(points) == 2:
        radius = float(np.hypot(*(points[1] - points[0])))
        return np.asarray(points[0] + radius * np.hstack([np.cos(turn), np.sin(turn)]))
    if kind == "ELLIPSE" and len(points) == 4:
        center = (points[0] + points[1]) / 2
        return np.asarray(
            center + np.cos(turn) * (points[1] - points[0]) / 2 + np.sin(turn) * (points[3] - points[2]) / 2
        )
    if kind == "INTERPOLATED":
        return _curve(points)
    raise PixelError("a graphic of a type or number of points that is not known", tag_path="(0070,0023)")


def _curve(points: Points) -> Points:
    """A smooth line through the points (Catmull-Rom); closed where the last is the first."""
    if len(points) < 3:
        return points
    closed = bool((points[0] == points[-1]).all())
    before = points[-2] if closed else points[0]
    after = points[1] if closed else points[-1]
    padded = np.vstack([before, points, after])
    t = np.linspace(0, 1, 9)[:-1, None, None]
    a, b, c, d = (padded[i : i + len(points) - 1][None] for i in range(4))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return np.vstack([curve.swapaxes(0, 1).reshape(-1, 2), points[-1:]])


def _text(canvas: _Canvas, item: Attributes, ink: Ink) -> None:
    text = item.prose(_TEXT)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[:100]
    if not text.strip():
        return
    ink = _styled(ink, item.item(_TEXT_STYLE), _TEXT_COLOUR)
    box = None
    corners = item.numbers(_BOX_TOP)[:2] + item.numbers(_BOX_BOTTOM)[:2]
    if len(corners) == 4:
        sides = canvas.places(np.array(corners).reshape(2, 2), item.text(_BOX_UNITS))
        box = (*sides.min(axis=0), *sides.max(axis=0))
    anchor = None
    if len(item.numbers(_ANCHOR)) >= 2:
        anchor = canvas.places(np.array([item.numbers(_ANCHOR)[:2]]), item.text(_ANCHOR_UNITS))[0]
    if box is None and anchor is None:
        raise PixelError("a text without a place", tag_path="(0070,0010)")
    # Letters as high as the box lets them; the box is only a place to begin at where it is too small (C.10.5.1.1).
    height = (box[3] - box[1]) / len(lines) / 1.25 if box is not None else 14 * min(3.0, max(1.0, canvas.scale))
    font = _font(text, round(min(_LARGEST, max(_SMALLEST, height))))
    widest = max(font.getlength(line[:500]) for line in lines)
    if box is not None and widest > box[2] - box[0] > 0:
        fitting = max(_SMALLEST, int(font.size * (box[2] - box[0]) / widest))
        font = _font(text, min(int(font.size), fitting))
    step = font.size * 1.25
    x, y = (box[0], box[1]) if box is not None else (float(anchor[0]) + 6, float(anchor[1]) - step / 2)  # type: ignore[index]
    room = box[2] - box[0] if box is not None else 0.0
    place = {"CENTER": 0.5, "RIGHT": 1.0}.get(item.text(_JUSTIFICATION), 0.0) if box is not None else 0.0

    starts = [(x + place * (room - font.getlength(line[:500])), y + index * step) for index, line in enumerate(lines)]
    _letters(canvas, lines, starts, font, ink)
    if box is not None and anchor is not None and item.text(_ANCHOR_VISIBLE) == "Y":
        near = np.clip(anchor, box[:2], box[2:])
        canvas.draw(ink, np.vstack([near, anchor]) - 0.5, 1, lambda on, line: on.line(line, 255, 1))


def _letters(
    canvas: _Canvas, lines: Sequence[str], starts: Sequence[tuple[float, float]], font: ImageFont.FreeTypeFont, ink: Ink
) -> None:
    """Lines of text, each from its top left corner."""
    step = font.size * 1.25
    ends = [(left + font.getlength(line[:500]), top + step) for (left, top), line in zip(starts, lines, strict=True)]

    def write(on: ImageDraw.ImageDraw, at: Path, stroke: int = 0) -> None:
        for start, line in zip(at, lines, strict=False):
            on.text(start, line[:500], fill=255, font=font, stroke_width=stroke)

    # White letters are read on white bone only by their edge.
    edge = _EDGE if ink.lab is not None or ink.p_value >= 0x8000 else WHITE
    path = np.array([*starts, *ends])
    canvas.draw(edge, path, step, lambda on, at: write(on, at, 1))
    canvas.draw(ink, path, step, write)


def caption(picture: Picture, lines: Sequence[str]) -> Picture:
    """A copy of the picture with lines of text in its upper left corner, white with a black edge."""
    from PIL import Image as Canvas
    from PIL import ImageDraw

    size = max(_SMALLEST, min(_LARGEST, picture.shape[0] // 28))
    canvas = Canvas.fromarray(np.ascontiguousarray(picture))
    on = ImageDraw.Draw(canvas)
    white, black = (255, 0) if picture.ndim == 2 else ((255,) * 3, (0,) * 3)
    for number, line in enumerate(lines):
        place = (size // 2, size // 2 + number * (size + size // 3))
        on.text(place, line, white, _font(line, size), stroke_width=max(1, size // 12), stroke_fill=black)
    return np.asarray(canvas)


def _font(text: str, size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font, so that pictures are the same everywhere; an installed one for letters that it has not."""
    from PIL import ImageFont

    own = ImageFont.load_default(size)
    if not isinstance(own, ImageFont.FreeTypeFont):
        raise PixelError("Pillow is built without FreeType: texts cannot be drawn")
    if all(ord(letter) < 0x250 for letter in text):
        return own
    for name in _FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return own
