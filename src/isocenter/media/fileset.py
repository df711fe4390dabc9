"""Stored objects as a file-set (PS3.10 section 8): what each file is called, and the DICOMDIR over all of them.

File IDs are ours and say nothing of whom they are about (section 8.2: components of 8 characters out of A-Z, 0-9 and _,
at most 8 of them): DICOM/ST000001/SE000001/IM000001. The profile is a general purpose one (PS3.11 Annex D,
STD-GEN-...): Explicit VR Little Endian, whatever the SOP class. An object that cannot be had so stays as it is stored,
and its record says in what.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import anyio.to_thread
import orjson

from isocenter.errors import NotFound
from isocenter.media.dicomdir import Node, dicomdir
from isocenter.media.records import record, record_type
from isocenter.model import InstanceRef
from isocenter.std.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN

DIRECTORY = "DICOMDIR"
FILE_SET_ID = "ISOCENTER"
SYNTAX = EXPLICIT_VR_LITTLE_ENDIAN
"""That of the general purpose profiles."""

_FOLDER = "DICOM"
_SOME = 256
_MOST = 999_999  # of anything: what six digits count


@dataclass(slots=True)
class File:
    """One file: its place below the root of the medium, the object, and the transfer syntax that it is written in."""

    path: str
    ref: InstanceRef
    transfer_syntax: str
    node: Node | None = None
    stored: bytes = b""  # the record's elements if the object stays in the syntax that it is stored in
    gone: bool = False  # it was deleted before it was written, and the directory is not to list it

    def keep(self) -> None:
        """The object is written as it is stored after all; before the directory is made."""
        self.transfer_syntax = self.ref.transfer_syntax
        assert self.node is not None
        self.node.elements = self.stored


@dataclass(frozen=True, slots=True)
class FileSet:
    """The files, and the directory that lists them."""

    files: tuple[File, ...]
    root: list[Node]

    def directory(self) -> bytes:
        """The DICOMDIR: the same for the same files."""
        files = [file for file in self.files if not file.gone]
        name = "\n".join(f"{file.ref.instance} {file.ref.digest} {file.transfer_syntax}" for file in files)
        root = self.root if len(files) == len(self.files) else _left(self.root, {id(file.node) for file in files})
        return dicomdir(FILE_SET_ID, f"2.25.{uuid5(NAMESPACE_OID, name).int}", root)


def _left(nodes: Iterable[Node], leaves: Set[int]) -> list[Node]:
    """The records of these files, and those above them; of four levels, so that it may call itself."""
    left = []
    for node in nodes:
        below = _left(node.below, leaves)
        if below or id(node) in leaves:
            left.append(Node(node.elements, below))
    return left


@dataclass(slots=True)
class _Tree:
    """The records made so far, and which of them is that of whom."""

    root: list[Node] = field(default_factory=list)
    known: dict[tuple[str, ...], Node] = field(default_factory=dict)

    def entity(self, kind: str, name: tuple[str, ...], siblings: list[Node], said: Mapping[str, Any]) -> Node:
        node = self.known.get(name)
        if node is None:
            node = self.known[name] = Node(record(kind, said, len(siblings) + 1, {}))
            siblings.append(node)
        return node

    def add(self, file: File, said: Mapping[str, Any]) -> None:
        ref = file.ref
        patient = self.entity("PATIENT", _patient(said), self.root, said)
        study = self.entity("STUDY", (*_patient(said), ref.study), patient.below, said)
        series = self.entity("SERIES", (*_patient(said), ref.study, ref.series), study.below, said)
        file.stored = self._lowest(file, ref.transfer_syntax, said, len(series.below) + 1)
        file.node = Node(self._lowest(file, file.transfer_syntax, said, len(series.below) + 1))
        series.below.append(file.node)

    def _lowest(self, file: File, transfer_syntax: str, said: Mapping[str, Any], number: int) -> bytes:
        about = {
            "00041500": {"vr": "CS", "Value": file.path.split("/")},
            "00041510": {"vr": "UI", "Value": [file.ref.sop_class]},
            "00041511": {"vr": "UI", "Value": [file.ref.instance]},
            "00041512": {"vr": "UI", "Value": [transfer_syntax]},
        }
        return record(record_type(file.ref.sop_class), said, number, about)


def _patient(said: Mapping[str, Any]) -> tuple[str, ...]:
    """What tells patients apart: the ID and who issued it, or else the name."""
    number, issuer, name = (orjson.dumps(said.get(key, {}).get("Value") or []).decode() for key in _PATIENT)
    return (number, issuer) if number != "[]" else (number, issuer, name)


_PATIENT = ("00100020", "00100021", "00100010")


def named(refs: Iterable[InstanceRef], syntax_of: Callable[[str], str]) -> tuple[File, ...]:
    """The files of objects in their order, `syntax_of` saying what a stored transfer syntax is written in. Raises
    ValueError for more than there are names for."""
    studies: dict[str, int] = {}
    series: dict[str, dict[str, int]] = {}  # of each study
    count: Counter[tuple[str, str]] = Counter()
    files = []
    for ref in refs:
        study = studies.setdefault(ref.study, len(studies) + 1)
        siblings = series.setdefault(ref.study, {})
        number = siblings.setdefault(ref.series, len(siblings) + 1)
        count[ref.study, ref.series] += 1
        image = count[ref.study, ref.series]
        if max(study, number, image) > _MOST:
            raise ValueError("more objects than a file-set has names for")
        path = f"{_FOLDER}/ST{study:06d}/SE{number:06d}/IM{image:06d}"
        files.append(File(path, ref, syntax_of(ref.transfer_syntax)))
    return tuple(files)


async def file_set(
    refs: Sequence[InstanceRef], headers: AsyncIterator[bytes], syntax_of: Callable[[str], str]
) -> FileSet:
    """The file-set of `refs`; `headers` are their attributes as DICOM JSON, one object each, in any order (those of
    `Archive.metadata`). Raises NotFound if one of them has none, as it was deleted meanwhile.

    It takes about a kilobyte of memory for each.
    """
    files = {file.ref.instance: file for file in named(refs, syntax_of)}
    tree = _Tree()
    written: list[File] = []

    def take(texts: Sequence[bytes]) -> None:
        for text in texts:
            said = orjson.loads(text)
            file = files.pop(said["00080018"]["Value"][0], None)
            if file is not None:
                tree.add(file, said)
                written.append(file)

    some: list[bytes] = []
    async for text in headers:
        some.append(text)
        if len(some) == _SOME:
            await anyio.to_thread.run_sync(take, some)
            some = []
    await anyio.to_thread.run_sync(take, some)
    if files:
        raise NotFound("what goes into the file-set is not there any more")
    return FileSet(tuple(written), tree.root)
