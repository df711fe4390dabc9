"""Presentation states for `isocenter render`: which frames one covers, and what a blending state lays over them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from isocenter.archive.walk import walk
from isocenter.cli.dump import opened
from isocenter.errors import DataSetError, UsageError
from isocenter.pixels.blend import Plane, nearest, plane_of
from isocenter.pixels.image import Image
from isocenter.pixels.state import PresentationState
from isocenter.wire.part10 import read_header


class State:
    """One state and the images that are rendered by it; `used` tells whether there was any."""

    def __init__(self, state: PresentationState) -> None:
        self.of = state
        self.used = False
        self._over: dict[int, list[tuple[str, int, Plane | None]]] = {number: [] for number in state.over}

    def superimpose(self, files: list[str]) -> None:
        """Find among `files` the frames that a blending state lays over others."""
        for name in files:
            for candidate in walk(name, everything=not Path(name).is_dir()) if name != "-" else ():
                if candidate.member is not None:
                    continue  # blending opens its images again; what is in an archive file is not looked for
                try:
                    with opened(str(candidate.path)) as buf, memoryview(buf) as view:
                        image = _image(view)
                        for number in range(1, image.number_of_frames + 1):
                            for input, found in self._over.items():
                                if self.of.covers(image, number, input=input):
                                    found.append((str(candidate.path), number, plane_of(image, number)))
                except DataSetError:
                    continue  # told when its own picture is made
        if not all(self._over.values()):
            raise UsageError("--state: none of these is an image that the blending state superimposes")

    def covered(self, image: Image, numbers: list[int]) -> list[int]:
        """Those of the frames that the state covers; where it covers none of them, the first that it does."""
        found = [number for number in numbers if self.of.covers(image, number)]
        if not found:
            every = range(1, image.number_of_frames + 1)
            found = [number for number in every if self.of.covers(image, number)][:1]
        self.used = self.used or bool(found)
        return found

    @contextmanager
    def over(self, image: Image, number: int) -> Iterator[dict[int, tuple[Image, int]] | None]:
        """What is laid over a frame, by input: the nearest frames in parallel planes. None for states that don't."""
        if not self._over:
            yield None
            return
        with ExitStack() as stack:
            shown = {}
            for input, found in self._over.items():
                index = nearest(plane_of(image, number), [plane for _, _, plane in found])
                if index is not None:
                    path, frame, _ = found[index]
                    view = stack.enter_context(memoryview(stack.enter_context(opened(path))))
                    shown[input] = _image(view), frame
            yield shown


def load(name: str, files: list[str]) -> State:
    """The state in a file; UsageError for a file that is none."""
    with opened(name) as buf:
        data = bytes(buf)
    try:
        meta = read_header(data)
        state = State(PresentationState.of(data, meta.transfer_syntax, meta.data_set_offset))
    except DataSetError as error:
        raise UsageError(f"--state {name}: {error}") from None
    if state.of.over:
        state.superimpose(files)
    return state


def _image(view: memoryview) -> Image:
    meta = read_header(view)
    return Image.of(view, meta.transfer_syntax, meta.data_set_offset)
