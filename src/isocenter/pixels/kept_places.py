"""Where the fragments of long objects lie, kept in files: an object without an offset table is walked through once.

A walk over 10,000 fragments is 10,000 places of a disk. What it found is kept for the next process in a file of its own
beside the objects, and may be lost at any time: then somebody walks again. It must never be wrong. So a file is
believed only if it is whole (it begins with the digest of the rest), and if it speaks of this very object (digest, size
and where the data set begins); and the item header before each fragment that is then asked for is looked at
(`EncapsulatedFrames.fragments`). Nothing is synchronised, nothing in it tells of a patient.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import zlib
from array import array
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from isocenter.errors import NotFound
from isocenter.pixels.frames import WORTH, Fragments

log = logging.getLogger("isocenter.pixels")

_MAGIC = b"isocenter fragments 1\n"
_DIGEST = 32
_CODES = "QII"  # offsets, lengths, where the fragments of each frame end


@dataclass(frozen=True, slots=True)
class Place:
    """The `Memory` of one object."""

    kept: KeptPlaces
    name: str
    stamp: str

    def find(self) -> Fragments | None:
        return self.kept.find(self.name, self.stamp)

    def keep(self, found: Fragments) -> None:
        self.kept.keep(self.name, self.stamp, found)


class KeptPlaces:
    """The files of one folder, which is made when there is the first. For any number of threads, and one process.

    `exists` says whether an object is still there, or raises NotFound for what is no name of one: files of others are
    removed at the start, and those that nobody could finish.
    """

    def __init__(self, folder: Path, exists: Callable[[str], bool]) -> None:
        self._folder = folder
        with suppress(OSError):
            for name in os.listdir(folder):
                try:
                    wanted = exists(name.replace(".", "/"))
                except NotFound:
                    wanted = False
                if not wanted:
                    (folder / name).unlink()

    def of(self, name: str, stamp: str) -> Place:
        """The memory of the object `name` whose bytes `stamp` tells from all others."""
        return Place(self, name, stamp)

    def find(self, name: str, stamp: str) -> Fragments | None:
        """As `Memory.find`."""
        try:
            data = self._path(name).read_bytes()
        except OSError:
            return None
        body = data[len(_MAGIC) + _DIGEST :]
        if data[: len(_MAGIC) + _DIGEST] != _MAGIC + sha256(body).digest():
            return None
        head, _, packed = body.partition(b"\n")
        said = json.loads(head)
        if said["object"] != stamp or said["order"] != sys.byteorder:
            return None
        arrays = [array(code) for code in _CODES]
        raw, at = zlib.decompress(packed), 0
        for values, count in zip(arrays, said["counts"], strict=True):
            values.frombytes(raw[at : at + count * values.itemsize])
            at += count * values.itemsize
        return Fragments(*arrays)

    def keep(self, name: str, stamp: str, found: Fragments) -> None:
        """As `Memory.keep`; where the disk takes no more, only the next reader's time is lost."""
        arrays = found.arrays
        if len(arrays[0]) < WORTH:
            return
        head = {"object": stamp, "order": sys.byteorder, "counts": [len(values) for values in arrays]}
        packed = zlib.compress(b"".join(values.tobytes() for values in arrays), 1)
        body = json.dumps(head).encode() + b"\n" + packed
        path = self._path(name)
        unfinished = path.with_name(f"{path.name}.{os.urandom(4).hex()}")  # several threads may have walked
        try:
            self._folder.mkdir(mode=0o750, exist_ok=True)
            unfinished.write_bytes(_MAGIC + sha256(body).digest() + body)
            unfinished.replace(path)
        except OSError as error:
            log.info("places of frames could not be kept: %s", error.strerror)
            with suppress(OSError):
                unfinished.unlink()

    def forget(self, names: Iterable[str]) -> None:
        """The objects are deleted."""
        for name in names:
            with suppress(OSError):
                self._path(name).unlink()

    def _path(self, name: str) -> Path:
        return self._folder / name.replace("/", ".")
