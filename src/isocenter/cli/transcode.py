"""`isocenter transcode`: DICOM files in another transfer syntax.

Each of `--jobs` processes has one file at a time, so that a crash in a codec costs that file and no other; the first
process walks, hands out and counts. A single file is worked on by one process, and its frames by `--jobs` threads.
Messages are lines of JSON: to a worker [path, place in a zip or None, size, target], from it a row of the report; on a
single file, before it, now and then {"frames": how many are done, "of": how many}.
"""

from __future__ import annotations

import difflib
import json
import mmap
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isocenter.archive.walk import Candidate, found_again, walk
from isocenter.cli import exit_codes, output
from isocenter.cli.workers import Crew, Worker, cores
from isocenter.errors import DataSetError, IsocenterError, NotDicomError, UsageError
from isocenter.std.transfer_syntaxes import TRANSFER_SYNTAXES, TransferSyntax
from isocenter.wire.limits import DEFAULT_LIMITS

if TYPE_CHECKING:
    from isocenter.pixels.encoders import Loss
    from isocenter.pixels.transcode import Wanted
    from isocenter.wire.elements import Buffer

_MOST_TOLD = 20
_EVERY = 0.2  # seconds between what is told of a single file


def command(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="DICOM files, folders and zip files.")],
    to: Annotated[
        str,
        typer.Option("--to", "-t", metavar="SYNTAX", help="Transfer syntax: keyword, as JPEG2000Lossless, or UID."),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="PATH", help="A .dcm file for one, else a folder; made if absent.")
    ],
    quality: Annotated[
        float | None, typer.Option(metavar="1-100", min=1, max=100, help="What JPEG (90) and JPEG XL may lose.")
    ] = None,
    psnr: Annotated[
        float | None, typer.Option(metavar="DB", min=1, max=200, help="What JPEG 2000 and HTJ2K may lose.")
    ] = None,
    near: Annotated[
        int | None, typer.Option(metavar="ERROR", min=1, max=255, help="The largest error of a sample, JPEG-LS.")
    ] = None,
    ratio: Annotated[
        float | None, typer.Option(metavar="RATIO", min=1.01, help="Lose what it takes: native size by this, a frame.")
    ] = None,
    extended: Annotated[
        bool, typer.Option("--extended-offset-table", help="Also where the basic one would do.")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", metavar="N", min=1, max=256, help="At a time (number of cores).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files.")] = False,
    as_json: output.Json = False,
) -> None:
    """Write DICOM files in another transfer syntax.

    Nothing is lost unless --quality, --psnr, --near or --ratio asks for it, or the syntax cannot but lose (JPEG
    Baseline and Extended). What lost something is a new object: it has its own SOP Instance UID and says so. Folders
    keep their structure. What cannot be transcoded is named with the reason (exit code 1).
    """
    from isocenter.pixels.transcode import Wanted

    syntax = _syntax(to)
    wanted = Wanted(syntax.uid, _loss(quality, psnr, near, ratio), extended=extended)
    _check(wanted, syntax)
    output.hush()
    tasks = list(_tasks(paths, out))
    total = _Total(frozenset(paths), as_json)
    count = jobs or cores()
    if len(tasks) == 1:
        wanted, count = Wanted(syntax.uid, wanted.loss, extended=extended, threads=count), 1
    with output.bar("transcoding", len(tasks)) as bar:
        try:
            for row in _rows(tasks, count, wanted, force):
                if "frames" in row:
                    bar.total = row["of"]
                    bar.advance(row["frames"] - bar.done)
                    continue
                total.add(row)
                bar.advance()
        finally:
            total.tell()
    if total.failed:
        raise typer.Exit(exit_codes.SOME_FAILED)


def _syntax(text: str) -> TransferSyntax:
    """A transfer syntax by UID or keyword. UsageError for another word, with those that resemble it."""
    by_word = {row.keyword.lower(): row for row in TRANSFER_SYNTAXES.values()} | TRANSFER_SYNTAXES
    found = by_word.get(text) or by_word.get(text.lower())
    if found is None:
        near = difflib.get_close_matches(text.lower(), [row.keyword.lower() for row in TRANSFER_SYNTAXES.values()], 3)
        hint = f"; perhaps {', '.join(by_word[word].keyword for word in near)}" if near else ""
        raise UsageError(f"--to {text}: no transfer syntax has this keyword or UID{hint}")
    return found


def _loss(quality: float | None, psnr: float | None, near: int | None, ratio: float | None) -> Loss | None:
    asked = {"quality": quality, "psnr": psnr, "near": near, "ratio": ratio}
    given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    if len(given) > 1:
        raise UsageError("one of --quality, --psnr, --near and --ratio is enough to say what may be lost")
    if not given:
        return None
    from isocenter.pixels.encoders import Loss

    return Loss(**given)


def _check(wanted: Wanted, syntax: TransferSyntax) -> None:
    """UsageError for a syntax that is not written, or a loss that it does not know."""
    from isocenter.pixels.codecs import CODECS
    from isocenter.pixels.transcode import can_transcode

    if not any(can_transcode(source, wanted.syntax) for source in TRANSFER_SYNTAXES if source != wanted.syntax):
        why = CODECS[syntax.uid].unwritten if syntax.uid in CODECS else "no codec for it is here"
        raise UsageError(f"--to {syntax.keyword}: cannot be written: {why}")
    encoder = CODECS[syntax.uid].encoder if syntax.uid in CODECS else None
    if wanted.loss is not None:
        if encoder is None:
            raise UsageError(f"--to {syntax.keyword}: loses nothing, whatever is asked for")
        try:
            encoder.loss_of(wanted.loss)
        except DataSetError as error:
            raise UsageError(f"--to {syntax.keyword}: {error.message}") from None


# --- what is to be done ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Task:
    candidate: Candidate
    target: Path


def _tasks(paths: list[Path], out: Path) -> Iterator[_Task]:
    """Every file with its place: as it lies below the path that was given, members of a zip by their number."""
    alone = len(paths) == 1 and not paths[0].is_dir() and not out.is_dir()
    for path in paths:
        members = 0
        for candidate in walk(path, everything=True):
            if candidate.member is not None:
                members += 1
                # Names in a zip are never made names of files
                yield _Task(candidate, out / candidate.path.name / f"{members:06}.dcm")
            elif alone:
                yield _Task(candidate, out)
            else:
                base = path if path.is_dir() else path.parent
                yield _Task(candidate, out / candidate.path.relative_to(base))


def _rows(tasks: list[_Task], jobs: int, wanted: Wanted, force: bool) -> Iterator[dict[str, Any]]:
    """The reports on `tasks`, done by `jobs` processes. A process that dies costs its file; when none is left, others
    begin."""
    left = deque(tasks)
    single = len(tasks) == 1

    def work(_: int, channel: socket.socket) -> None:
        told = time.monotonic()

        def tell(done: int, frames: int) -> None:
            nonlocal told
            if single and time.monotonic() - told > _EVERY:
                told = time.monotonic()
                say({"frames": done, "of": frames})

        def say(row: dict[str, Any]) -> None:
            channel.sendall(json.dumps(row).encode() + b"\n")

        with channel.makefile("r", encoding="utf-8") as asked:
            for line in asked:
                say(_row(json.loads(line), wanted, force, tell))

    while left:
        with Crew(min(jobs, len(left)), work) as crew:
            held: dict[int, _Task] = {}
            heard = {worker.pid: b"" for worker in crew.workers}

            def give(worker: Worker, held: dict[int, _Task] = held, crew: Crew = crew) -> None:
                if left and not crew.stopped:
                    task = held[worker.pid] = left.popleft()
                    one = task.candidate
                    place = None if one.member is None else one.member.header_offset
                    line = json.dumps([str(one.path), place, one.size, str(task.target)])
                    with suppress(OSError):  # that it has ended is heard, too
                        worker.channel.sendall(line.encode() + b"\n")
                else:
                    with suppress(OSError):
                        worker.channel.shutdown(socket.SHUT_WR)

            for worker in crew.workers:
                give(worker)
            for worker, said in crew.listen():
                if not said:
                    if task := held.pop(worker.pid, None):
                        yield {"file": task.candidate.label, "error": _death(worker.exit_code or 0)}
                    continue
                heard[worker.pid] += said
                while b"\n" in heard[worker.pid]:
                    line, heard[worker.pid] = heard[worker.pid].split(b"\n", 1)
                    row = json.loads(line)
                    yield row
                    if "frames" not in row:
                        held.pop(worker.pid, None)
                        give(worker)
        if crew.stopped:
            raise KeyboardInterrupt


def _death(exit_code: int) -> str:
    return f"the process that worked on it was killed by signal {-exit_code}" if exit_code < 0 else "its process ended"


# --- one file -------------------------------------------------------------------------------------------------------


def _row(asked: list[Any], wanted: Wanted, force: bool, tell: Callable[[int, int], None]) -> dict[str, Any]:
    """The report on one file: what was made of it, or why nothing."""
    path, place, size, target = asked
    label = path
    try:
        candidate = found_again(path, place, size)
        label = candidate.label
        return {"file": label} | _transcode(candidate, Path(target), wanted, force, tell)
    except IsocenterError as error:
        return {"file": label, "error": str(error), "not_dicom": isinstance(error, NotDicomError)}
    except OSError as error:
        return {"file": label, "error": f"{error.strerror or error}"}
    except MemoryError:
        return {"file": label, "error": "there is not enough memory"}


def _transcode(
    candidate: Candidate, target: Path, wanted: Wanted, force: bool, tell: Callable[[int, int], None]
) -> dict[str, Any]:
    from isocenter.iod.uids import UIDs
    from isocenter.pixels.transcode import Wanted, loses, transcoded
    from isocenter.wire.part10 import file_meta, read_header

    if target.exists() and not force:
        raise UsageError(f"{target} exists already; --force overwrites")
    with _opened(candidate) as buf:
        meta = read_header(buf)
        source = meta.transfer_syntax
        instance = UIDs().new("instance") if loses(source, wanted.syntax, wanted.loss) else ""
        target.parent.mkdir(parents=True, exist_ok=True)
        exact = Wanted(wanted.syntax, wanted.loss, instance, wanted.extended, wanted.threads, str(target.parent))
        written = 0
        # Under its last name it is whole: also when it is the file that is read.
        unfinished = target.with_name(f".{target.name[:200]}.{os.getpid()}.part")
        try:
            with unfinished.open("xb") as file:
                file.write(file_meta(meta.sop_class, instance or meta.sop_instance, wanted.syntax))
                for piece in transcoded(buf, meta.data_set_offset, source, exact, DEFAULT_LIMITS, tell):
                    file.write(piece)
                written = file.tell()
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)
        return {
            "out": str(target),
            "SOPInstanceUID": instance or meta.sop_instance,
            "derived": bool(instance),
            "from": source,
            "bytes_before": len(buf),
            "bytes": written,
        }


@contextmanager
def _opened(candidate: Candidate) -> Iterator[Buffer]:
    """The bytes of a file, mapped; those of a zip's member in an unnamed file, mapped."""
    if candidate.member is not None:
        from isocenter.pixels.transcode import kept

        yield kept(candidate.chunks())
        return
    with candidate.path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise NotDicomError("the file is empty")
        with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as buf:
            yield buf


# --- what became of it ----------------------------------------------------------------------------------------------


@dataclass
class _Total:
    """Counts of one run, written when it is over; rows of JSON as they come."""

    named: frozenset[Path]  # the paths the person gave
    as_json: bool
    done: int = 0
    derived: int = 0
    failed: int = 0
    not_dicom: int = 0
    before: int = 0
    after: int = 0
    errors: list[str] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)

    def add(self, row: dict[str, Any]) -> None:
        found = Path(row["file"]) not in self.named
        if row.pop("not_dicom", False) and found:
            self.not_dicom += 1
            return
        if "error" in row:
            self.failed += 1
            if len(self.errors) < _MOST_TOLD:
                self.errors.append(f"{row['file']}: {row['error']}")
        else:
            self.done += 1
            self.derived += row["derived"]
            self.before += row["bytes_before"]
            self.after += row["bytes"]
        if self.as_json:
            output.write_json(row)

    def tell(self) -> None:
        parts = [f"{self.done} transcoded"]
        if self.derived:
            parts.append(f"{self.derived} of them with a loss, under new SOP Instance UIDs")
        parts.append(f"{self.failed} not")
        if self.not_dicom:
            parts.append(f"{self.not_dicom} not DICOM, left alone")
        (output.note if self.as_json else output.write)(", ".join(parts))
        seconds = max(time.monotonic() - self.begun, 1e-6)
        output.note(
            f"{output.amount(self.before)} became {output.amount(self.after)} in {seconds:.1f} s, "
            f"{self.done / seconds:.0f} objects/s"
        )
        for line in self.errors:
            output.note(f"  {line}")
        if self.failed > len(self.errors):
            output.note(f"  and {self.failed - len(self.errors)} more (--json names all)")
