"""Pictures of `isocenter render` as a cine: one moving picture, in a file or on stdout."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isocenter.cli import output
from isocenter.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from isocenter.cli.render import Shown


class Cine:
    """Pictures with their times, taken one at a time; `count` and `shape` are of those taken so far."""

    def __init__(self, pictures: Iterable[Shown], rate: float | None) -> None:
        from isocenter.pixels.cine import DEFAULT

        self._pictures = iter(pictures)
        self._time = None if rate is None else 1000.0 / rate
        self._before = DEFAULT
        self.count = 0
        self.shape: tuple[int, ...] = ()

    def __iter__(self) -> Iterator[tuple[NDArray[np.uint8], float]]:
        for _, picture, time in self._pictures:
            # What does not say how long it is shown stays as long as what came before it.
            self._before = time if time is not None else self._before
            self.shape = self.shape or picture.shape[:2]
            if picture.shape[:2] != self.shape:
                raise UsageError("the pictures of a cine have one size: name images of one size, or give a folder")
            self.count += 1
            yield picture, self._time or self._before


def write(cine: Cine, path: Path | None, suffix: str, force: bool) -> dict[str, Any]:
    """Write a cine to `path`, or to stdout where it is None; what is to be told of it, {} if it has no picture."""
    from isocenter.pixels.cine import find_ffmpeg, gif, video

    pictures = iter(cine)
    if path is None:
        if suffix != ".gif":
            raise UsageError("a video needs a file: it is not written from its beginning to its end")
        for piece in gif(pictures):
            sys.stdout.buffer.write(piece)
        return {}
    if suffix != ".gif":
        find_ffmpeg()
    if path.exists() and not force:
        raise UsageError(f"{path} is there already: --force overwrites it")
    first = next(pictures, None)
    if first is None:
        return {}
    # Beside its place until it is whole: half a cine is none, and must not stand where another was.
    part = path.with_name(f".{path.stem}.{os.getpid()}{suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        together = itertools.chain((first,), pictures)
        if suffix == ".gif":
            with part.open("xb") as file:
                file.writelines(gif(together))
        else:
            video((picture for picture, _ in together), part, 1000.0 / first[1])
        part.replace(path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)
    if cine.count == 1:
        output.note(f"note: {path}: a single picture")
    return {"file": str(path), "pictures": cine.count, "width": cine.shape[1], "height": cine.shape[0]}
