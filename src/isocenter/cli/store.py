"""`isocenter store`: C-STORE of files, folders and zips."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isocenter.cli import calling, committing, exit_codes, output, running
from isocenter.cli.workers import cores
from isocenter.errors import DataSetError, NetworkError, UsageError

if TYPE_CHECKING:
    from isocenter.archive.walk import Candidate
    from isocenter.net.storing import StoreOutcome, Way
    from isocenter.net.web_client import Service
    from isocenter.wire.limits import Limits


@calling.options
def command(
    address: calling.AnyAddress,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files, folders and zip files.")],
    jobs: Annotated[int, typer.Option("--jobs", "-j", metavar="N", min=1, max=64, help="Associations at a time.")] = 1,
    window: Annotated[
        int | None, typer.Option("--window", metavar="N", min=1, help="Objects under way on each, if the peer agrees.")
    ] = None,
    commit: Annotated[
        bool,
        typer.Option("--commit", help="Then ask the peer to answer for the objects, and say which can be deleted."),
    ] = False,
    listen: committing.Listen = None,
    archive: committing.By = None,
    wait: committing.Wait = committing.LONGEST,
    *,
    call: calling.Call,
    as_json: output.Json = False,
) -> None:
    """Send objects to a peer (C-STORE) or a DICOMweb service (STOW-RS), each in the transfer syntax it is in.

    Folders and zip files are looked into; what is not DICOM is left alone. With --json, one line for each object on
    stdout. Exit code 1 if the peer refused any.

    With --commit (Storage Commitment), a row or line for each object says whether it is safe to delete here: stored
    without a warning, and reported as committed. Exit code 1 unless all are.
    """
    from isocenter.archive.walk import walk
    from isocenter.net.storing import way_to
    from isocenter.wire.limits import Limits

    settings = call.settings(dimse_window=window)
    if calling.is_web(address):
        if commit or window is not None:
            raise UsageError("--commit and --window are of DIMSE alone")
        _store_web(call.web(address, settings), paths, jobs, as_json)
        return
    known = call.peer(address)
    asking = committing.Asking.of(call, known, settings, listen=listen, wait=wait, archive=archive)
    connecting = asking.connecting
    processes = min(jobs, cores())
    tally = _Tally(as_json, frozenset(map(str, paths)), keep=commit)
    candidates = walk(paths, everything=True)  # each file but the first is opened once, by whoever sends it
    first = next(candidates, None)
    if first is not None:
        candidates = itertools.chain((first,), candidates)
    way = way_to(known.address, **connecting, proposing=_needs(first, Limits.of(settings)))
    try:
        with output.bar("sending", None) as progress:

            def done(outcome: StoreOutcome) -> None:
                tally.add(outcome)
                progress.advance()

            def count() -> None:
                progress.total = sum(1 for _ in walk(paths, everything=True))

            def begun() -> None:
                if progress.visible:
                    threading.Thread(target=count, daemon=True).start()

            if processes > 1:
                from isocenter.cli.store_workers import Sharing

                Sharing(candidates, way, jobs=jobs, processes=processes, done=done).run(begun)
            else:
                begun()
                running.run(_send(way, _Shared(candidates), jobs, done))
    except KeyboardInterrupt:
        tally.tell(known.address, whole=False)
        if commit:
            committing.interrupted(tally.kept, known.address, as_json)
        raise
    tally.tell(known.address)
    sure = not commit or committing.after_store(tally.kept, asking, as_json)
    if tally.failed or not sure:
        raise typer.Exit(exit_codes.SOME_FAILED)


def _store_web(service: Service, paths: list[Path], jobs: int, as_json: bool) -> None:
    """The same to a DICOMweb service (STOW-RS), `jobs` requests at a time."""
    from isocenter.archive.walk import walk
    from isocenter.cli.stow import send
    from isocenter.cli.summary import Summary

    summary = Summary(named=frozenset(paths))
    output.hush()
    try:
        with output.bar("sending", None) as progress:
            send(walk(paths, everything=True), service, jobs, summary, progress)
    finally:
        if summary.counts:
            summary.report(as_json)  # what was done, also if it was broken off
    if summary.refused:
        raise typer.Exit(exit_codes.SOME_FAILED)


def _needs(first: Candidate | None, limits: Limits) -> set[tuple[str, str]]:
    """SOP Class and transfer syntax of the first object, so that associations are opened for such and not once more."""
    from isocenter.net.storing import announced

    if first is None:
        return set()
    try:
        with contextlib.closing(first.chunks(limits)) as chunks:
            meta, sop_class, _ = announced(next(chunks, b""), limits)
    except DataSetError:
        return set()  # whoever is to send it says so
    return {(sop_class, meta.transfer_syntax)}


class _Shared:
    """One iterator for several associations, which read it in threads."""

    def __init__(self, items: Iterator[Candidate]) -> None:
        self._items = items
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Candidate]:
        return self

    def __next__(self) -> Candidate:
        with self._lock:
            return next(self._items)


class _Tally:
    """What became of the objects. With `keep` each outcome is kept, and told by somebody else."""

    def __init__(self, as_json: bool, named: frozenset[str], *, keep: bool = False) -> None:
        self.stored = 0
        self.warned = 0
        self.failed: list[StoreOutcome] = []
        self.kept: list[committing.Item] = []
        self._keep = keep
        self._as_json = as_json
        self._named = named

    def add(self, outcome: StoreOutcome) -> None:
        if outcome.not_dicom and outcome.source not in self._named:
            return  # found while looking through a folder or zip, and left alone
        if not outcome.ok:
            self.failed.append(outcome)
        elif outcome.status:
            self.warned += 1
        else:
            self.stored += 1
        if self._keep:
            self.kept.append(committing.stored(outcome))
        elif self._as_json:
            output.write_json(
                {
                    "source": outcome.source,
                    "sop_class": outcome.sop_class,
                    "sop_instance": outcome.sop_instance,
                    "status": outcome.status,
                    "ok": outcome.ok,
                    "message": outcome.message,
                }
            )

    def tell(self, address: str, *, whole: bool = True) -> None:
        """The summary, for the person; not `whole` when we were interrupted."""
        from isocenter.std.statuses import STORAGE, meaning_of

        for outcome in self.failed[:20]:
            status = "" if outcome.status is None else f"{outcome.status:04X} {meaning_of(outcome.status, STORAGE)} "
            output.note(f"refused: {outcome.source}: {status}{outcome.message}")
        if len(self.failed) > 20:
            output.note(f"refused: {len(self.failed) - 20} more; --json lists them all")
        text = f"{self.stored} stored, {self.warned} stored with a warning, {len(self.failed)} refused by {address}"
        if whole and not (self.stored or self.warned or self.failed):
            text = "nothing to send: no DICOM object found"
        output.note(text)


async def _send(way: Way, items: Iterator[Candidate], jobs: int, done: Callable[[StoreOutcome], None]) -> None:
    from isocenter.net.storing import StoragePeer

    async def work(first: bool) -> None:
        try:
            async with StoragePeer(way) as peer:
                async for outcome in peer.store(items):
                    done(outcome)
        except NetworkError:
            # A peer that takes fewer associations than asked for is no failure as long as the first one works.
            if first:
                raise

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(jobs):
                group.create_task(work(number == 0))
    except* NetworkError as failed:
        raise failed.exceptions[0] from None
