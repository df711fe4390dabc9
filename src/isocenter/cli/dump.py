"""`isocenter dump`: what is in a DICOM file, and where a damaged one ends to make sense."""

from __future__ import annotations

import mmap
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated

import typer

from isocenter.cli import exit_codes, frame_list, output
from isocenter.cli.frame_numbers import FrameNumbers
from isocenter.cli.tree import Tree, View
from isocenter.errors import IsocenterError, NotDicomError, UsageError
from isocenter.std.dictionary import tag_of, vr_of
from isocenter.std.transfer_syntaxes import TransferSyntax, transfer_syntax
from isocenter.wire.deflate import inflate
from isocenter.wire.dicomjson import dataset_json, dumps
from isocenter.wire.elements import Buffer
from isocenter.wire.part10 import FileMeta, read_header
from isocenter.wire.walk import ITEM_BEGIN, SEQUENCE, SEQUENCE_END, Walker

_COLOURS = {"tag": "36", "vr": "2", "name": "1", "value": ""}


def command(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="DICOM files; - is standard input.")],
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", "-t", metavar="TAG", help="Only this attribute, as 00100010 or PatientName; repeatable."),
    ] = None,
    max_value: Annotated[
        int, typer.Option(metavar="N", min=0, help="Characters of a value to show; 0 shows all.")
    ] = 80,
    frames: Annotated[
        str | None, typer.Option(metavar="FRAMES", help="Not the attributes, but where frames lie: 1,5-8 or all.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="With --frames: write each as it is stored.")
    ] = None,
    offsets: Annotated[bool, typer.Option("--offsets", help="Show where each value lies: @offset+length.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="DICOM JSON (PS3.18 Annex F), one object a file.")] = False,
) -> None:
    """Show what is in DICOM files: tag, VR, name and value.

    A damaged file is shown as far as it can be read; the byte at which it stops, and why, is on stderr (exit code 1).
    """
    if out is not None and frames is None:
        raise UsageError("--out takes frames: which, says --frames")
    chosen = None if frames is None else FrameNumbers(frames)
    wanted = frozenset(parse_tag(text) for text in tag or ())
    view = View(wanted, max_value, offsets, output.painter(_COLOURS))
    failed = False
    for index, name in enumerate(files):
        label = "standard input" if name == "-" else name
        if len(files) > 1 and not as_json:
            output.write(f"{'' if index == 0 else chr(10)}# {label}")
        try:
            with opened(name) as buf:
                if chosen is not None:
                    frame_list.show(buf, chosen, label, out, as_json=as_json)
                elif as_json:
                    _json(buf, wanted, label)
                else:
                    _text(buf, view, label)
        except UsageError:
            raise
        except IsocenterError as error:
            sys.stdout.flush()
            output.fail(error, label)
            failed = True
    if failed:
        raise typer.Exit(exit_codes.SOME_FAILED)


def parse_tag(text: str) -> int:
    """A tag from 00100010, (0010,0010), 0010,0010 or a keyword. Raises UsageError."""
    digits = text.strip("()").replace(",", "")
    if len(digits) == 8 and all(digit in "0123456789abcdefABCDEF" for digit in digits):
        return int(digits, 16)
    found = tag_of(text)
    if found is None:
        raise UsageError(f"--tag {text}: neither a tag, as 00100010, nor the keyword of an attribute, as PatientName")
    return found


@contextmanager
def opened(name: str) -> Iterator[Buffer]:
    """The bytes of a file, or of standard input for "-", mapped, not read. UsageError if there is no such file."""
    try:
        file = Path(name).open("rb") if name != "-" else _standard_input()  # noqa: SIM115 - closed below
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror or error}") from None
    with file:
        try:
            if not file.seek(0, os.SEEK_END):
                raise NotDicomError("the file is empty")
            buf = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise UsageError(f"{name}: {error.strerror or error}") from None
        with buf:
            yield buf


def _standard_input() -> IO[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
    file.flush()
    return file


def _data_set(buf: Buffer, meta: FileMeta) -> tuple[Buffer, int, TransferSyntax]:
    """The buffer that holds the data set, where in it it begins, and how it is written."""
    syntax = transfer_syntax(meta.transfer_syntax)
    if not syntax.deflated:
        return buf, meta.data_set_offset, syntax
    with memoryview(buf) as view, view[meta.data_set_offset :] as stream:
        return inflate(stream), 0, syntax


def _text(buf: Buffer, view: View, label: str) -> None:
    meta = read_header(buf)
    for line in _file_meta(meta, view):
        output.write(line)
    data, start, syntax = _data_set(buf, meta)
    tree = Tree(data, little=syntax.little, explicit=syntax.explicit, view=view)
    try:
        for line in tree.lines(start):
            output.write(line)
    finally:
        tree.release()
        sys.stdout.flush()
        _tell(meta.flags | tree.flags, label)


def _file_meta(meta: FileMeta, view: View) -> Iterator[str]:
    # As a data set of its own, so that one place knows how a line looks
    parts = []
    for tag, value in meta.raw.items():
        vr = vr_of(tag).encode()
        size = len(value).to_bytes(4, "little")
        head = tag.to_bytes(4, "big")
        place = head[1::-1] + head[:1:-1]
        parts.append(place + vr + (b"\0\0" + size if vr in (b"OB", b"UN") else size[:2]) + value)
    plain = View(view.tags, view.most, False, view.paint)
    yield from Tree(b"".join(parts), little=True, explicit=True, view=plain).lines(0)


def _tell(flags: frozenset[str] | set[str], label: str) -> None:
    if flags:
        output.note(f"note: {label}: read leniently: {', '.join(sorted(flags))}")


def _json(buf: Buffer, wanted: frozenset[int], label: str) -> None:
    meta = read_header(buf)
    flags = set(meta.flags)
    damage: IsocenterError | None = None
    uid, start = meta.transfer_syntax, meta.data_set_offset
    try:
        model = dataset_json(buf, uid, start=start, exclude_bulk=False, flags=flags)
    except IsocenterError as error:
        damage = error
        data, begin, syntax = _data_set(buf, meta)
        end = _readable_until(data, begin, syntax)
        model = dataset_json(
            data, syntax.uid if not syntax.deflated else _INFLATED, start=begin, end=end, exclude_bulk=False
        )
    if wanted:
        model = {key: value for key, value in model.items() if int(key, 16) in wanted}
    if sys.stdout.isatty():
        output.write_json(model)
    else:
        output.write(dumps(model).decode())
    _tell(flags, label)
    if damage is not None:
        raise damage


_INFLATED = "1.2.840.10008.1.2.1"


def _readable_until(buf: Buffer, start: int, syntax: TransferSyntax) -> int:
    """The end of the last whole top-level element."""
    walker = Walker(buf, little=syntax.little, explicit=syntax.explicit, end=len(buf), resolve_un=True)
    depth, reached = 0, start
    try:
        for kind, *_ in walker.data_set(start):
            depth += (kind in (SEQUENCE, ITEM_BEGIN)) - (kind == SEQUENCE_END or kind == ITEM_BEGIN + 1)
            if not depth:
                reached = walker.pos
    except IsocenterError:
        pass
    return reached
