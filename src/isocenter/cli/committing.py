"""Storage Commitment on the command line: what `commit` and `store --commit` share."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isocenter.cli import output, running
from isocenter.cli.calling import Call
from isocenter.errors import (
    AssociationRejected,
    ConnectFailed,
    IsocenterError,
    NetworkError,
    NoPresentationContext,
    TlsError,
    UsageError,
)
from isocenter.net.address import host_and_port

if TYPE_CHECKING:
    from isocenter.index.sql_jobs import SqlJobs
    from isocenter.known_peers import KnownPeer
    from isocenter.net.commitment import Reports
    from isocenter.net.storing import StoreOutcome
    from isocenter.services.storage_commitment import CommitmentReport
    from isocenter.settings import Settings

Listen = Annotated[
    str | None,
    typer.Option(
        "--listen", metavar="HOST:PORT", help="Where the peer calls us with its report, if not on our association."
    ),
]
By = Annotated[
    Path | None,
    typer.Option(
        "--archive",
        metavar="FOLDER",
        help="Have the archive of this folder ask a peer that it knows by name, and hear the report where it listens.",
    ),
]
Wait = Annotated[float, typer.Option("--wait", metavar="SECONDS", min=0.0, help="How long to wait for each report.")]
LONGEST = 300.0

# Objects of one request. Each gets its report by itself, so a request that is lost costs no more than these.
_PORTION = 1000
_ALL = 1 << 62
_LOOK = 0.2  # seconds between two looks at the archive's job


@dataclass(slots=True)
class Item:
    """One object: where it is here, what it is, and what became of it. `reason` is the peer's Failure Reason; `fields`
    come first in its JSON."""

    source: str
    sop_class: str = ""
    sop_instance: str = ""
    committed: bool = False
    reason: int | None = None
    why_not: str = ""
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Asking:
    """Who is asked by whom, as the options say: by ourselves, or by an archive that runs."""

    peer: KnownPeer
    connecting: dict[str, Any]
    listen: str | None
    wait: float
    archive: Path | None = None

    @classmethod
    def of(
        cls, call: Call, peer: KnownPeer, settings: Settings, *, listen: str | None, wait: float, archive: Path | None
    ) -> Asking:
        """Raises UsageError for options that do not go together."""
        if archive is not None and listen is not None:
            raise UsageError("--archive and --listen: the report is heard by one of them")
        if archive is not None and "@" in peer.name:
            raise UsageError("--archive: the peer has to be the name of a [[peer]] in the settings file")
        return cls(peer, call.connecting(peer, settings), listen, wait, archive)

    def run(self, items: Sequence[Item], progress: output.Bar) -> None:
        """Ask for commitment of `items`, and put into them what the peer reports.

        Raises NetworkErrors when nothing could be asked; one that comes later is the reason of all that is left.
        """
        if self.archive is None:
            running.run(_ask(self.peer.address, self.connecting, items, self.listen, self.wait, progress))
        else:
            _ask_by(self.archive, self.connecting["settings"], self.peer.name, items, self.wait, progress)


def _ask_by(
    folder: Path, settings: Settings, name: str, items: Sequence[Item], wait: float, progress: output.Bar
) -> None:
    """Make it a job of the archive's; whoever serves the folder performs it, now or when it is started."""
    from isocenter.archive.lifecycle import INDEX_NAME
    from isocenter.dimse.commitment_request import wanted_for
    from isocenter.index.jobs import ENDED
    from isocenter.index.sql import jobs_beside
    from isocenter.services.storage_commitment import Reference

    with jobs_beside(folder / INDEX_NAME) as rows:
        references = [Reference(item.sop_class, item.sop_instance) for item in items]
        [number] = rows.add([wanted_for(name, references)], time.time())
        output.note(f"job {number} of {folder} asks {name}")
        end = time.monotonic() + wait
        try:
            while (job := rows.get(number)).state not in ENDED and time.monotonic() < end:
                progress.advance(job.done + job.failed - progress.done)
                time.sleep(_LOOK)
        finally:
            _settle_by(rows, number, items)


def _settle_by(rows: SqlJobs, number: int, items: Sequence[Item]) -> None:
    """What the archive's job knows by now."""
    from isocenter.archive.commitment import item_of
    from isocenter.services.storage_commitment import Reference

    job, failures = rows.get(number), dict(rows.failures(number, _ALL))
    left = {item for _, item in rows.items(number, 0, _ALL)}
    for item in items:
        key = item_of(Reference(item.sop_class, item.sop_instance))
        if key in failures:
            item.why_not = failures[key]
            item.reason = int(item.why_not[:4], 16)  # as CommitmentRequests.hear() writes it
        elif key in left:
            item.why_not = f"job {number} is {job.state}" + (f": {job.last_error}" if job.last_error else "")
        else:
            item.committed = True


async def _ask(
    address: str,
    connecting: dict[str, Any],
    items: Sequence[Item],
    listen: str | None,
    wait: float,
    progress: output.Bar,
) -> None:
    from isocenter.net.client import connect
    from isocenter.net.commitment import Reports

    reports = Reports(listening=listen is not None)
    async with (
        _listening(reports, connecting["settings"], listen, connecting["calling"], secured=bool(connecting["tls"])),
        connect(address, **connecting, reports=reports) as peer,
    ):
        for at in range(0, len(items), _PORTION):
            some = items[at : at + _PORTION]
            try:
                report = await peer.commit([(item.sop_class, item.sop_instance) for item in some], timeout=wait)
            except (ConnectFailed, TlsError, AssociationRejected, NoPresentationContext):
                if at == 0:
                    raise
                _left(items[at:], "the peer could not be asked any more")
                return
            except NetworkError as error:
                _left(items[at:], str(error))
                return
            for item in some:
                _settle(item, report)
                progress.advance()


def _settle(item: Item, report: CommitmentReport) -> None:
    from isocenter.services.storage_commitment import Reference
    from isocenter.std.statuses import COMMITMENT_FAILURE_REASONS, meaning_of

    reference = Reference(item.sop_class, item.sop_instance)
    item.committed, item.reason = reference in report.committed, report.failed.get(reference)
    if item.reason is not None:
        item.why_not = f"{item.reason:04X} {meaning_of(item.reason, COMMITMENT_FAILURE_REASONS)}"
    elif not item.committed:
        item.why_not = "the peer's report does not say what became of it"


def _left(items: Sequence[Item], why: str) -> None:
    for item in items:
        if not item.committed and not item.why_not:
            item.why_not = why


@contextlib.asynccontextmanager
async def _listening(
    reports: Reports, settings: Settings, listen: str | None, aet: str, *, secured: bool
) -> AsyncIterator[None]:
    """Offer to take reports where `listen` says; with TLS, if that is how we call and we have a certificate."""
    if listen is None:
        yield
        return
    from isocenter.dimse.endpoint import dimse_server, listening_socket
    from isocenter.net.tls import server_context
    from isocenter.services.verification import VerificationService

    host, port = host_and_port(listen, lowest=0)
    tls = server_context(settings) if secured else None
    server = dimse_server(
        (VerificationService(), reports.service), settings.replace(dimse_aet=aet, dimse_drain_timeout=1.0)
    )
    await server.listen(listening_socket(host, port, "DIMSE", secured=tls is not None), tls)
    bound, number = server.address
    output.note(f"the report can come to {aet}@{bound}:{number}{' (TLS)' if tls else ''}")
    try:
        yield
    finally:
        await server.close()


def after_store(items: Sequence[Item], asking: Asking, as_json: bool) -> bool:
    """Ask for commitment of what stored() gave, and tell; whether all is safe to delete. What was stored and cannot be
    asked for any more is no error, but not safe."""
    asked = [item for item in items if not item.why_not]
    if asked:
        try:
            with output.bar("committing", len(asked)) as progress:
                asking.run(asked, progress)
        except IsocenterError as error:
            output.fail(error)
            _left(asked, str(error))
        except KeyboardInterrupt:
            interrupted(items, asking.peer.address, as_json)
            raise
    return tell(items, asking.peer.address, as_json)


def interrupted(items: Sequence[Item], address: str, as_json: bool) -> None:
    """Tell what is known by now: it stays true."""
    _left(items, "interrupted")
    tell(items, address, as_json)


def stored(outcome: StoreOutcome) -> Item:
    """An object that was to be stored. One that was stored with a warning is not to be asked for: the peer keeps
    something else than what was sent."""
    from isocenter.std.statuses import STORAGE, meaning_of

    item = Item(outcome.source, outcome.sop_class, outcome.sop_instance)
    item.fields = {"status": outcome.status, "ok": outcome.ok, "message": outcome.message}
    if outcome.status is None:
        item.why_not = f"not stored: {outcome.message}"
    elif outcome.status:
        verdict = "stored with a warning" if outcome.ok else "not stored"
        item.why_not = f"{verdict}: {outcome.status:04X} {meaning_of(outcome.status, STORAGE)}"
    return item


def tell(items: Sequence[Item], address: str, as_json: bool) -> bool:
    """Every object with what became of it on stdout, the sum on stderr; whether all were committed."""
    if as_json:
        for item in items:
            output.write_json(
                {
                    "source": item.source,
                    "sop_class": item.sop_class,
                    "sop_instance": item.sop_instance,
                    **item.fields,
                    "committed": item.committed,
                    "reason": None if item.reason is None else f"{item.reason:04X}",
                    "why_not": item.why_not,
                }
            )
    elif items:
        output.table(
            "",
            ("Committed", "Object", "SOP Instance UID", "Why not"),
            [("yes" if item.committed else "no", item.source, item.sop_instance, item.why_not) for item in items],
            below=("SOP Instance UID", "Why not"),
        )
    safe = sum(item.committed for item in items)
    output.note(
        f"{safe} committed by {address} and safe to delete here, {len(items) - safe} not"
        if items
        else "nothing to ask for: no DICOM object found"
    )
    return safe == len(items)
