"""Descriptions of stored objects, kept: where the frames of an object lie is found out once, not for each request.

Most frames are a multiplication or an entry of an offset table away. But some objects have no table, so that all of
their fragments have to be walked, and functional groups of undefined length in front of their pixels, through which all
of the header has to be walked: costs that grow with the number of frames. Stored objects never change and their names
never come again, so nothing here has to be made invalid; what was not asked for in a long time makes room. What a walk
over fragments found is kept in a file, too (kept_places.py), and outlives the process.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from isocenter.pixels.image import Image
from isocenter.pixels.kept_places import KeptPlaces
from isocenter.std.transfer_syntaxes import transfer_syntax
from isocenter.wire.elements import Buffer
from isocenter.wire.limits import Limits


class KnownImages:
    """At most about `most` bytes of descriptions, of any number of objects; for any number of threads.

    `kept` has what was found out by earlier processes.
    """

    def __init__(self, most: int, kept: KeptPlaces | None = None) -> None:
        self._most = most
        self._kept = kept
        self._lock = threading.Lock()
        self._images: OrderedDict[str, tuple[Image, int]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._images)

    @contextmanager
    def image(
        self, name: str, buf: Buffer, syntax: str, start: int, limits: Limits, digest: str = ""
    ) -> Iterator[Image]:
        """The image in `buf`, as `Image.of` gives it. `name` is the object's, by which it is known the next time, and
        `digest` that of its bytes; without one, nothing is looked for in files or kept there."""
        if transfer_syntax(syntax).deflated:
            yield Image.of(buf, syntax, start, limits)  # its places are those in a buffer of its own
            return
        with self._lock:
            known = self._images.get(name)
            if known is not None:
                self._images.move_to_end(name)
        image = Image.of(buf, syntax, start, limits) if known is None else known[0].over(buf)
        if known is None and digest and self._kept is not None:
            image.remember(self._kept.of(name, f"{digest} {len(buf)} {start}"))
        try:
            yield image
        finally:
            if known is None or image.known_bytes > known[1]:
                self._keep(name, image)

    def forget(self, names: list[str]) -> None:
        """The objects are deleted; what is known of them in memory makes room by itself."""
        if self._kept is not None:
            self._kept.forget(names)

    def _keep(self, name: str, image: Image) -> None:
        size = image.known_bytes
        if size > self._most:
            return
        with self._lock:
            _, before = self._images.pop(name, (None, 0))
            self._images[name] = image.over(b""), size
            self._size += size - before
            while self._size > self._most:
                _, (_, gone) = self._images.popitem(last=False)
                self._size -= gone
