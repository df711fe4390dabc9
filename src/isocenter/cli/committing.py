"""Storage Commitment on the command line: what `commit` and `store --commit` share."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isocenter.cli import output, running
from isocenter.errors import (
    AssociationRejected,
    ConnectFailed,
    IsocenterError,
    NetworkError,
    NoPresentationContext,
    TlsError,
)
from isocenter.net.address import host_and_port

if TYPE_CHECKING:
    from isocenter.net.client import StoreOutcome
    from isocenter.net.commitment import Reports
    from isocenter.services.storage_commitment import CommitmentReport
    from isocenter.settings import Settings

Listen = Annotated[
    str | None,
    typer.Option(
        "--listen", metavar="HOST:PORT", help="Where the peer calls us with its report, if not on our association."
    ),
]
Wait = Annotated[float, typer.Option("--wait", metavar="SECONDS", min=0.0, help="How long to wait for each report.")]
LONGEST = 300.0

# Objects of one request. Each gets its report by itself, so a request that is lost costs no more than these.
_PORTION = 1000


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


async def ask(
    address: str,
    connecting: dict[str, Any],
    items: Sequence[Item],
    *,
    listen: str | None,
    wait: float,
    progress: output.Bar,
) -> None:
    """Ask for commitment of `items`, and put into them what the peer reports.

    Raises NetworkErrors when nothing could be asked; one that comes later is the reason of all that is left.
    """
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


def after_store(
    items: Sequence[Item],
    address: str,
    connecting: dict[str, Any],
    *,
    listen: str | None,
    wait: float,
    as_json: bool,
) -> bool:
    """Ask for commitment of what stored() gave, and tell; whether all is safe to delete. What was stored and cannot be
    asked for any more is no error, but not safe."""
    asked = [item for item in items if not item.why_not]
    if asked:
        try:
            with output.bar("committing", len(asked)) as progress:
                running.run(ask(address, connecting, asked, listen=listen, wait=wait, progress=progress))
        except IsocenterError as error:
            output.fail(error)
            _left(asked, str(error))
        except KeyboardInterrupt:
            interrupted(items, address, as_json)
            raise
    return tell(items, address, as_json)


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
        )
    safe = sum(item.committed for item in items)
    output.note(
        f"{safe} committed by {address} and safe to delete here, {len(items) - safe} not"
        if items
        else "nothing to ask for: no DICOM object found"
    )
    return safe == len(items)
