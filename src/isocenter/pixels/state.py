"""Softcopy presentation states (PS3.3 A.33, PS3.4 Annex N): what one says of an image, read from its bytes.

A state replaces every transform of the image that it could have said something about; what it leaves out is the
identity (PS3.4 N.2). So the image's own windows, shutters and Photometric Interpretation do not count under a state,
and of its overlays only those are shown that the state activates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from isocenter.errors import PixelError
from isocenter.pixels.advanced import Step, inputs_of, palette_of, steps_of, within_thresholds
from isocenter.pixels.codecs import Decoded
from isocenter.pixels.colour import WHITE, Ink
from isocenter.pixels.greys import Greys, display_modality, hidden_by, padding_of, supplement_of, whole_range
from isocenter.pixels.header import Attributes
from isocenter.pixels.image import Image
from isocenter.pixels.mask import MASK_SUBTRACTION, Subtraction, subtraction_of
from isocenter.pixels.overlay import Mask, Overlay, overlays_of
from isocenter.pixels.palette import has_palette, read_palette
from isocenter.pixels.shutter import laid_over
from isocenter.pixels.spatial import Area, Spatial
from isocenter.pixels.voi import Rescale, Table, Window, modality, modality_units, presentation, voi
from isocenter.std.transfer_syntaxes import transfer_syntax
from isocenter.wire.elements import Buffer
from isocenter.wire.limits import DEFAULT_LIMITS, Limits
from isocenter.wire.scan import inflate, scan

_SOP_CLASS, _INSTANCE, _STUDY, _SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
_SERIES_SEQUENCE, _IMAGES, _CLASS_OF, _UID_OF, _FRAMES_OF = 0x00081115, 0x00081140, 0x00081150, 0x00081155, 0x00081160
_SOFTCOPY_VOI_LUT, _AREAS = 0x00283110, 0x0070005A
_ROTATION, _FLIP = 0x00700042, 0x00700041
_TOP_LEFT, _BOTTOM_RIGHT, _SIZE_MODE = 0x00700052, 0x00700053, 0x00700100
_SPACING, _ASPECT, _MAGNIFICATION = 0x00700101, 0x00700102, 0x00700103
_LAYERS, _LAYER, _LAYER_ORDER, _LAYER_GREY, _LAYER_LAB = 0x00700060, 0x00700002, 0x00700062, 0x00700066, 0x00700401
_VARIABLE_MODALITY_LUT = 0x00283001
_MODALITY = (0x00281052, 0x00281053, 0x00283000)
_PRESENTED, _DISPLAYED, _START, _STOP = 0x00289505, 0x00089458, 0x00082142, 0x00082143
_VIEWING_MODE, _VISIBILITY = 0x00281090, 0x00289478
_ACTIVATION = 0x1001  # of an overlay's group
_BLENDING, _OPACITY, _POSITION = 0x00700402, 0x00700403, 0x00700405

GRAYSCALE, COLOR, PSEUDO_COLOR, BLENDING = "grayscale", "color", "pseudo-color", "blending"
ADVANCED_BLENDING = "advanced blending"
# PS3.4 Table B.5-1. XA/XRF states are grayscale states with a mask and edge enhancement.
KINDS = {
    "1.2.840.10008.5.1.4.1.1.11.1": GRAYSCALE,
    "1.2.840.10008.5.1.4.1.1.11.2": COLOR,
    "1.2.840.10008.5.1.4.1.1.11.3": PSEUDO_COLOR,
    "1.2.840.10008.5.1.4.1.1.11.4": BLENDING,
    "1.2.840.10008.5.1.4.1.1.11.5": GRAYSCALE,
    "1.2.840.10008.5.1.4.1.1.11.8": ADVANCED_BLENDING,
    "1.2.840.10008.5.1.4.1.1.11.12": GRAYSCALE,  # of a Modality LUT for each image; with a palette, pseudo-color
}
# What makes pictures of volumes is named when it is refused.
_REFUSED = {
    "6": "planar reconstructions of volumes",
    "7": "planar reconstructions of volumes",
    "9": "renderings of volumes",
    "10": "renderings of volumes",
    "11": "renderings of volumes",
}
_FAMILY = "1.2.840.10008.5.1.4.1.1.11."
_MOST_ITEMS = 10_000


def is_state(sop_class: str) -> bool:
    """Whether the SOP class is one of presentation states, also of a kind that PresentationState refuses by name."""
    return sop_class in KINDS or (sop_class.startswith(_FAMILY) and sop_class.removeprefix(_FAMILY) in _REFUSED)


@dataclass(frozen=True, slots=True)
class Reference:
    """An image that a state is made for; no `frames` stand for all of them, and no `instance` for all of the series.

    `input` is 0 for what a picture is made of. Others are laid over it: 1 is what a blending state superimposes, and
    advanced blending has their Blending Input Numbers.
    """

    study: str
    series: str
    sop_class: str
    instance: str
    frames: tuple[int, ...] = ()
    input: int = 0


class PresentationState:
    """One presentation state; made by `PresentationState.of`."""

    def __init__(self, attributes: Attributes) -> None:
        self.attributes = attributes
        self.sop_class = attributes.text(_SOP_CLASS)
        self.kind = KINDS.get(self.sop_class, "")
        if not self.kind:
            what = _REFUSED[self.sop_class.removeprefix(_FAMILY)] if is_state(self.sop_class) else ""
            raise PixelError(
                f"presentation states for {what} are not applied"
                if what
                else "the object is no softcopy presentation state",
                tag_path="(0008,0016)",
            )
        if self.kind == GRAYSCALE and has_palette(attributes) and _VARIABLE_MODALITY_LUT in attributes:
            self.kind = PSEUDO_COLOR
        self.instance = attributes.text(_INSTANCE)
        # What speaks of each input, by the numbers of `Reference.input`
        self._inputs = {0: attributes}
        self.steps: tuple[Step, ...] = ()
        if self.kind == BLENDING:
            self._inputs = dict(enumerate(_blended(attributes)))
        elif self.kind == ADVANCED_BLENDING:
            under, found = inputs_of(attributes)
            self.steps = steps_of(attributes, found, under)
            self._inputs = {0 if number == under else number: item for number, item in found.items()}
        read = _references_of_input if self.kind == ADVANCED_BLENDING else _references
        self.references = tuple(
            reference for number, item in self._inputs.items() for reference in read(item, item.text(_STUDY), number)
        )

    @classmethod
    def of(cls, buf: Buffer, syntax: str, data_set_offset: int, limits: Limits = DEFAULT_LIMITS) -> PresentationState:
        """The presentation state in a Part 10 file or bare data set in transfer syntax `syntax`.

        `buf` must stay open as long as the state is used. PixelError for other objects, and the errors
        of a damaged data set.
        """
        encoding = transfer_syntax(syntax)
        start = data_set_offset
        if encoding.deflated:
            buf, start = inflate(memoryview(buf)[start:], limits), 0
        found = scan(buf, little=encoding.little, explicit=encoding.explicit, start=start, limits=limits)
        return cls(Attributes(buf, found.elements, little=encoding.little, explicit=encoding.explicit, limits=limits))

    @property
    def opacity(self) -> float:
        """Relative Opacity of what a blending state superimposes, 0 to 1."""
        values = self.attributes.numbers(_OPACITY)
        if not values or not 0 <= values[0] <= 1:
            raise PixelError("Relative Opacity is 0 to 1", tag_path="(0070,0403)")
        return values[0]

    @property
    def over(self) -> tuple[int, ...]:
        """The inputs that are laid over the one that the picture is of; none unless the state blends."""
        return tuple(sorted(number for number in self._inputs if number))

    def covers(self, image: Image, number: int = 1, *, input: int = 0) -> bool:
        """Whether the state is made for this frame of this image, or has it in the input `input`."""
        instance, series = image.attributes.text(_INSTANCE), image.attributes.text(_SERIES)
        return any(
            reference.input == input
            and (reference.instance == instance or (not reference.instance and reference.series == series))
            and (not reference.frames or number in reference.frames)
            for reference in self.references
        )

    def check(self, image: Image, number: int) -> None:
        """PixelError if the state cannot be applied to this frame."""
        if not self.covers(image, number):
            raise PixelError("the presentation state is not made for this image", frame=number, tag_path="(0008,1115)")
        grey = image.photometric_interpretation.startswith("MONOCHROME")
        if grey == (self.kind == COLOR) and self.kind != ADVANCED_BLENDING:
            raise PixelError(
                f"a {self.kind} presentation state is not for {'grey' if grey else 'colour'} images", frame=number
            )

    def items(self, sequence: int, image: Image, number: int) -> Iterator[Attributes]:
        """The items of a sequence that apply to this frame: those that name it, or that name nothing."""
        yield from _items_for(self.attributes, sequence, image, number)

    def item(self, sequence: int, image: Image, number: int) -> Attributes | None:
        """The first of `items`."""
        return next(self.items(sequence, image, number), None)

    # --- what it says -----------------------------------------------------------------------------------------------

    def modality(self, image: Image, number: int, *, input: int = 0) -> Rescale | Table:
        """The Modality LUT of a frame: that of all, or in a Variable Modality LUT state its own (C.11.35).

        Advanced blending says nothing of it, so that it is the image's; what an item has all the same is taken.
        """
        source = self._inputs[input]
        if self.kind == ADVANCED_BLENDING and not any(tag in source for tag in _MODALITY):
            return display_modality(image, number)
        item = next(_items_for(source, _VARIABLE_MODALITY_LUT, image, number), source)
        return modality(item, image.layout.signed)

    def greys(self, image: Image, number: int, decoded: Decoded, *, input: int = 0, subtracted: bool = False) -> Greys:
        """The grey chain (PS3.4 N.2.1), with a palette at its end in a pseudo-color state and for what a blending state
        superimposes (N.2.2, N.2.4, N.2.6). The values of a `subtracted` frame are differences of those it has."""
        signed = image.layout.signed
        source = self._inputs[input]
        stored = self.modality(image, number, input=input)
        negative = signed or subtracted or (isinstance(stored, Rescale) and stored.intercept < 0)
        item = next(_items_for(source, _SOFTCOPY_VOI_LUT, image, number), None)
        chosen = voi(item, negative) if item is not None else None
        if chosen is None:
            if decoded.pixels.dtype.kind == "f":
                raise PixelError("a state for floating-point pixels needs a VOI LUT", tag_path="(0028,3110)")
            chosen = whole_range(stored, decoded.bits, signed)
            if subtracted:
                chosen = Window(0.0, 2 * chosen.width, "LINEAR_EXACT")
        table, inverse = presentation(self.attributes)
        coloured: Attributes | None = None
        if self.kind == ADVANCED_BLENDING:
            coloured = palette_of(source)
        elif self.kind == PSEUDO_COLOR or input:
            coloured = self.attributes
        colours = read_palette(coloured, False) if coloured is not None else None
        # Colours among the greys are as in the image, unless all greys become colours (PS3.4 N.2).
        supplement = None if coloured is not None else supplement_of(image, decoded)
        return Greys(stored, chosen, table, inverse, padding_of(image, decoded), colours=colours, supplement=supplement)

    def seen(self, image: Image, number: int, decoded: Decoded, *, input: int = 0) -> Mask:
        """Where a frame of greys has something to blend: what is neither padding nor outside of thresholds."""
        hidden = hidden_by(padding_of(image, decoded), decoded.pixels)
        seen = np.ones(decoded.pixels.shape, np.bool_) if hidden is None else ~hidden
        if self.kind == ADVANCED_BLENDING:
            values = modality_units(self.modality(image, number, input=input), decoded.pixels)
            within = within_thresholds(self._inputs[input], values)
            seen = seen if within is None else seen & within
        return seen

    def coloured(self, *, input: int) -> bool:
        """Whether the state has a palette for the greys of an input."""
        return self.kind != ADVANCED_BLENDING or palette_of(self._inputs[input]) is not None

    @property
    def subtracts(self) -> bool:
        """Whether there is a mask to be subtracted from any frame."""
        return MASK_SUBTRACTION in self.attributes

    def subtraction(self, image: Image, number: int) -> Subtraction | None:
        """What is subtracted from a frame (C.11.13, for angiography C.11.19); None if nothing."""
        share = self._subtracted_share(image, number)
        for item in self.items(MASK_SUBTRACTION, image, number) if share else ():
            found = subtraction_of(item, number, image.number_of_frames)
            if found is not None:
                return replace(found, share=share)
        return None

    def _subtracted_share(self, image: Image, number: int) -> float:
        """How much of the mask is subtracted: 1, or what is not left visible of it (C.11.21, C.8.19.7.1)."""
        for item in self.items(_PRESENTED, image, number):
            for index in range(min(_MOST_ITEMS, item.count(_DISPLAYED))):
                shown = item.item(_DISPLAYED, index)
                assert shown is not None
                if shown.integer(_START, 1) <= number <= shown.integer(_STOP, 0):
                    visible = shown.numbers(_VISIBILITY)
                    if shown.text(_VIEWING_MODE) == "NAT":
                        return 0.0
                    return 1 - min(100.0, max(0.0, visible[0])) / 100 if visible else 1.0
        return 1.0

    def laid(self, image: Image, number: int, aspect: float, notes: list[str]) -> Iterator[tuple[Mask, Ink]]:
        """What is laid over the image's pixels: shutters, then overlays by the order of their layers.

        Overlays come from the state, and from the image where the state activates them (C.11.7).
        """
        own = overlays_of(self.attributes, notes)
        inks = self.layers()
        order = {layer: place for place, layer in enumerate(inks)}
        shown: list[tuple[int, Overlay, Ink]] = []
        for group, overlay in {one.group: one for one in (*overlays_of(image.attributes, notes), *own)}.items():
            layer = self.attributes.text(group << 16 | _ACTIVATION)
            if layer:
                shown.append((order.get(layer, -1), overlay, inks.get(layer, WHITE)))
        shown.sort(key=lambda one: (one[0], one[1].group))
        pairs = [(overlay, ink) for _, overlay, ink in shown]
        return laid_over(image, number, aspect, self.attributes, own, pairs, notes)

    def layers(self) -> dict[str, Ink]:
        """What each graphic layer is drawn in (C.10.7), the lowest first."""
        found: list[tuple[int, str, Ink]] = []
        for index in range(min(_MOST_ITEMS, self.attributes.count(_LAYERS))):
            item = self.attributes.item(_LAYERS, index)
            assert item is not None
            grey, lab = item.words(_LAYER_GREY), item.words(_LAYER_LAB)
            ink = Ink(grey[0] if grey else 0xFFFF, (lab[0], lab[1], lab[2]) if len(lab) >= 3 else None)
            found.append((item.integer(_LAYER_ORDER, 0), item.text(_LAYER), ink))
        return {name: ink for _, name, ink in sorted(found, key=lambda one: one[0])}

    def spatial(self, image: Image, number: int) -> Spatial:
        """Which part of the image is shown, how it is turned, and how large (C.10.4, C.10.6)."""
        rotation = self.attributes.integer(_ROTATION, 0)
        if rotation % 90:
            raise PixelError(f"an Image Rotation of {rotation} degrees", tag_path="(0070,0042)")
        flip = self.attributes.text(_FLIP) == "Y"
        item = self.item(_AREAS, image, number)
        if item is None:
            return Spatial(Area(0, 0, image.columns, image.rows), rotation % 360, flip)
        corners = item.integers(_TOP_LEFT)[:2], item.integers(_BOTTOM_RIGHT)[:2]
        if not all(len(corner) == 2 for corner in corners):
            raise PixelError("a displayed area has two corners", tag_path="(0070,0052)")
        (x0, y0), (x1, y1) = corners
        # After a rotation or flip the corner at the top left of the display is another one of the image.
        area = Area(min(x0, x1) - 1, min(y0, y1) - 1, max(x0, x1), max(y0, y1))
        spacing = item.numbers(_SPACING) or item.numbers(_ASPECT)
        aspect = spacing[0] / spacing[1] if len(spacing) >= 2 and min(spacing[:2]) > 0 else 1.0
        magnify = item.text(_SIZE_MODE) == "MAGNIFY"
        ratio = item.numbers(_MAGNIFICATION) if magnify else ()
        return Spatial(area, rotation % 360, flip, aspect, ratio[0] if ratio and ratio[0] > 0 else None)


def _blended(attributes: Attributes) -> tuple[Attributes, Attributes]:
    """The items of Blending Sequence for what is underlying and what is superimposed."""
    items = [attributes.item(_BLENDING, index) for index in range(min(2, attributes.count(_BLENDING)))]
    found = {item.text(_POSITION): item for item in items if item is not None}
    if set(found) != {"UNDERLYING", "SUPERIMPOSED"}:
        raise PixelError("a blending state tells what is underlying and what is superimposed", tag_path="(0070,0402)")
    return found["UNDERLYING"], found["SUPERIMPOSED"]


def _items_for(attributes: Attributes, sequence: int, image: Image, number: int) -> Iterator[Attributes]:
    for index in range(min(_MOST_ITEMS, attributes.count(sequence))):
        item = attributes.item(sequence, index)
        if item is not None and _names(item, image, number):
            yield item


def _references_of_input(item: Attributes, study: str, number: int) -> Iterator[Reference]:
    """Those of an item of Advanced Blending Sequence, which is about all of its series if it names no images."""
    if not item.count(_IMAGES):
        yield Reference(study, item.text(_SERIES), "", "", (), number)
    yield from _references_of_series(item, study, number)


def _references(attributes: Attributes, study: str, number: int) -> Iterator[Reference]:
    for index in range(min(_MOST_ITEMS, attributes.count(_SERIES_SEQUENCE))):
        series = attributes.item(_SERIES_SEQUENCE, index)
        assert series is not None
        yield from _references_of_series(series, study, number)


def _references_of_series(series: Attributes, study: str, number: int) -> Iterator[Reference]:
    """The images that an item names of one series."""
    uid = series.text(_SERIES)
    for place in range(min(_MOST_ITEMS, series.count(_IMAGES))):
        item = series.item(_IMAGES, place)
        assert item is not None
        yield Reference(study, uid, item.text(_CLASS_OF), item.text(_UID_OF), item.integers(_FRAMES_OF), number)


def _names(item: Attributes, image: Image, number: int) -> bool:
    count = item.count(_IMAGES)
    if not count:
        return True
    instance = image.attributes.text(_INSTANCE)
    for index in range(min(_MOST_ITEMS, count)):
        reference = item.item(_IMAGES, index)
        if reference is not None and reference.text(_UID_OF) == instance:
            frames = reference.integers(_FRAMES_OF)
            if not frames or number in frames:
                return True
    return False
