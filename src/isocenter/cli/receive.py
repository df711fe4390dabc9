"""`isocenter receive`: a plain Storage SCP that writes files."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isocenter.cli import output, running

if TYPE_CHECKING:
    from isocenter.services.base import Request
    from isocenter.settings import Settings


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files go; made if absent.")],
    listen: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Where to listen.")] = None,
    aet: Annotated[str | None, typer.Option(metavar="AET", help="Our AE title.")] = None,
    sync: Annotated[bool, typer.Option("--sync", help="Answer only when a file's bytes are on the disk.")] = False,
    private: Annotated[bool, typer.Option("--private", help="Take private SOP classes too.")] = False,
    config: running.Config = None,
    as_json: output.Json = False,
) -> None:
    """Receive objects over DIMSE into a folder: one DICOM file each, in the transfer syntax it came in.

    No index and no archive; for those there is `isocenter serve`. With --json, one line for each file on stdout.
    """
    settings = running.settings_from(config, dimse=listen, dimse_aet=aet)
    running.start_logging(settings)
    count = running.run(_receive(folder, settings, sync, private or settings.archive_private_sop_classes, as_json))
    output.note(f"{count} objects received into {folder}")


async def _receive(folder: Path, settings: Settings, sync: bool, private: bool, as_json: bool) -> int:
    from isocenter.dimse.endpoint import dimse_server, listen_dimse
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

    try:
        storage = FolderStorage(folder, stored if as_json else None, sync=sync, limits=Limits.of(settings))
    except OSError as error:
        raise typer.BadParameter(f"{folder}: {error.strerror}") from None
    server = dimse_server((VerificationService(), StorageService(storage, private=private)), settings)
    await listen_dimse(server, settings)
    host, port = server.address
    output.note(f"receiving as {settings.dimse_aet}@{host}:{port} into {folder}; Ctrl-C stops")
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await server.close()
    return storage.count
