"""`isocenter receive`: a plain Storage SCP that writes files."""

from __future__ import annotations

import asyncio
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isocenter.cli import output, running
from isocenter.errors import UsageError

if TYPE_CHECKING:
    from isocenter.dimse.endpoint import Listener
    from isocenter.net.admission import Books
    from isocenter.services.base import Request
    from isocenter.settings import Settings


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files go; made if absent.")],
    listen: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Where to listen.")] = None,
    aet: Annotated[str | None, typer.Option(metavar="AET", help="Our AE title.")] = None,
    sync: Annotated[bool, typer.Option("--sync", help="Answer only when a file's bytes are on the disk.")] = False,
    private: Annotated[bool, typer.Option("--private", help="Take private SOP classes too.")] = False,
    workers: Annotated[
        int | None,
        typer.Option("--workers", "-w", metavar="N", min=1, max=64, help="Processes (default: cores, at most 4)."),
    ] = None,
    tls_port: running.TlsPort = None,
    cert: running.Certificate = None,
    key: running.Key = None,
    ca: running.Authorities = None,
    config: running.Config = None,
    as_json: output.Json = False,
) -> None:
    """Receive objects over DIMSE into a folder: one DICOM file each, in the transfer syntax it came in.

    No index and no archive; for those there is `isocenter serve`. With --json, one line for each file on stdout.
    """
    settings = running.settings_from(
        config, dimse=listen, dimse_aet=aet, **running.tls_listener(tls_port, cert, key, ca)
    )
    running.start_logging(settings)
    from isocenter.cli.receive_workers import Reception
    from isocenter.cli.workers import cores
    from isocenter.dimse.endpoint import dimse_listeners
    from isocenter.net.admission import OwnBooks
    from isocenter.net.shared_books import SharedBooks

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}") from None
    listeners = dimse_listeners(settings)
    where = " and ".join(
        f"{settings.dimse_aet}@{host}:{port}" + (" (TLS)" if one.tls else "")
        for one in listeners
        for host, port in (one.address,)
    )
    output.note(f"receiving as {where} into {folder}; Ctrl-C stops")

    count = workers or min(cores(), 4)
    books = SharedBooks(settings.dimse_max_associations) if count > 1 else OwnBooks()

    def work(channel: socket.socket) -> int:
        private_too = private or settings.archive_private_sop_classes
        return running.run(_receive(folder, settings, listeners, channel, books, sync, private_too, as_json))

    try:
        received = Reception(count, [one.socket for one in listeners], work).run()
    finally:
        if isinstance(books, SharedBooks):
            books.close()
    output.note(f"{received} objects received into {folder}")


async def _receive(
    folder: Path,
    settings: Settings,
    listeners: list[Listener],
    channel: socket.socket,
    books: Books,
    sync: bool,
    private: bool,
    as_json: bool,
) -> int:
    """Serve what is handed over `channel` until SIGTERM, or until that ends; how many objects came."""
    from isocenter.cli.receive_workers import take_connections
    from isocenter.dimse.endpoint import dimse_server
    from isocenter.dimse.folder import FolderStorage
    from isocenter.services.storage import StorageService
    from isocenter.services.verification import VerificationService
    from isocenter.wire.limits import Limits

    def stored(path: str, request: Request) -> None:
        output.write_json(
            {
                "file": path,
                "sop_class": request.command["AffectedSOPClassUID"],
                "sop_instance": request.command["AffectedSOPInstanceUID"],
                "transfer_syntax": request.context.transfer_syntax,
                "calling": request.peer.calling,
            }
        )

    storage = FolderStorage(folder, stored if as_json else None, sync=sync, limits=Limits.of(settings), ahead=True)
    server = dimse_server((VerificationService(), StorageService(storage, private=private)), settings, books=books)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    take_connections(
        channel, lambda number, accepted: server.serve(accepted, listeners[number].tls), lambda: storage.count, stop.set
    )
    await stop.wait()
    loop.remove_reader(channel)
    await server.close()
    storage.close()
    return storage.count
