"""`isocenter import`: files, folders and zips into a data folder, or into a running server by STOW-RS."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isocenter.archive.walk import CHUNK, Candidate, require_dicom, walk
from isocenter.cli import exit_codes, output, running
from isocenter.cli.summary import Summary
from isocenter.errors import IsocenterError, OutOfResources, UsageError
from isocenter.known_peers import load_peers
from isocenter.model import Origin
from isocenter.wire.limits import Limits

if TYPE_CHECKING:
    from isocenter.archive.archive import Archive
    from isocenter.settings import Settings

_AHEAD = 64  # files found in one go


def command(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Files, folders and zip files.")],
    data: Annotated[
        Path | None, typer.Option("--data", "-d", metavar="FOLDER", help="Folder of the archive; made if absent.")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="URL", help="A DICOMweb service, as http://127.0.0.1:8042/dicomweb."),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", "-j", metavar="N", min=1, max=256, help="Objects at a time (32); with --to requests (4)."
        ),
    ] = None,
    config: running.Config = None,
    as_json: output.Json = False,
) -> None:
    """Put files, folders and zip files into an archive.

    Into the data folder, while no server runs on it; or with --to into a running server. Files are looked into: what
    is not DICOM is counted and left alone. The same bytes again are "already there". Exit code 1 if any was refused.
    With --config, forwarding rules apply; the next server on the folder sends.
    """
    if to is not None and data is not None:
        raise UsageError("--data and --to: only one place at a time")
    if to is not None and "://" not in to:
        raise UsageError(
            f"--to {to}: a URL is needed, as http://127.0.0.1:8042/dicomweb; `isocenter store` sends by DIMSE"
        )
    settings = running.settings_from(config, archive_data=data)
    found = walk(paths, everything=True)
    output.hush()
    summary = Summary(named=frozenset(paths))
    try:
        with output.bar("importing", None) as bar:
            if bar.visible:
                threading.Thread(target=_count, args=(paths, bar), daemon=True).start()
            if to is not None:
                from isocenter.cli.stow import send
                from isocenter.net.web_client import Service

                send(found, Service(to, named="--to "), jobs or 4, summary, bar)
            else:
                running.run(_into_folder(found, settings, config, jobs or 32, summary, bar))
    except (IsocenterError, KeyboardInterrupt):
        if summary.counts:
            summary.report(as_json)  # what was done before it ended
        raise
    summary.report(as_json)
    if summary.refused:
        raise typer.Exit(exit_codes.SOME_FAILED)


def _count(paths: list[Path], bar: output.Bar) -> None:
    bar.total = sum(1 for _ in walk(paths, everything=True))


async def _into_folder(
    found: Iterator[Candidate], settings: Settings, config: Path | None, jobs: int, summary: Summary, bar: output.Bar
) -> None:
    from isocenter.archive.archive import Archive
    from isocenter.archive.routing import load_rules

    peers = load_peers(config)
    rules = load_rules(config, peers)
    archive = await Archive.open(settings.archive_data, settings)
    # What rules ask for is done by the next server on the folder.
    archive.router.replace(settings, rules, peers.values())
    try:
        free = asyncio.Semaphore(jobs)
        full: list[OutOfResources] = []
        async with asyncio.TaskGroup() as group:

            async def take(candidate: Candidate) -> None:
                try:
                    await _take(archive, candidate, summary)
                except OutOfResources as error:
                    full.append(error)
                finally:
                    bar.advance()
                    free.release()

            while not full and (some := await asyncio.to_thread(lambda: list(islice(found, _AHEAD)))):
                for candidate in some:
                    await free.acquire()
                    group.create_task(take(candidate))
        if full:
            raise full[0]
    finally:
        await archive.close()


async def _take(archive: Archive, candidate: Candidate, summary: Summary) -> None:
    """Store one file; everything but a full disk is counted, not raised."""
    chunks = candidate.chunks(Limits.of(archive.settings))
    try:
        chunk = await asyncio.to_thread(_first, chunks)
        incoming = archive.begin(Origin("import", str(candidate.path.parent)))
        size = 0
        try:
            while chunk:
                size += len(chunk)
                incoming.write([chunk])
                chunk = b"" if len(chunk) < CHUNK else await asyncio.to_thread(next, chunks, b"")
        except BaseException:
            incoming.abandon()
            raise
        outcome = await incoming.commit()
    except OutOfResources:
        raise
    except IsocenterError as error:
        summary.refuse(candidate, error)
    else:
        summary.took(outcome.kind, size)
    finally:
        with suppress(ValueError):  # after Ctrl-C a thread may still be reading; it closes the file when it is done
            chunks.close()


def _first(chunks: Iterator[bytes]) -> bytes:
    # What is not DICOM is told by its first bytes, before any of it is written anywhere
    chunk = next(chunks, b"")
    require_dicom(chunk)
    return chunk
