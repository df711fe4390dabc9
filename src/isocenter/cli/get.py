"""`isocenter get`: C-GET into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isocenter.cli import calling, output, retrieving, running
from isocenter.errors import UsageError

if TYPE_CHECKING:
    from isocenter.net.retrieve import Progress
    from isocenter.services.base import Request


@calling.options
def command(
    address: calling.PeerAddress,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files go; made if absent.")],
    patient: retrieving.Patient = None,
    study: retrieving.Study = None,
    series: retrieving.Series = None,
    instance: retrieving.Instance = None,
    frames: retrieving.Frames = None,
    model: retrieving.Root = None,
    view: retrieving.View = "",
    no_bulk_data: Annotated[
        bool,
        typer.Option("--no-bulk-data", help="The instances of --instance without pixel data and the like (headers)."),
    ] = False,
    sop_class: Annotated[
        list[str] | None,
        typer.Option(
            "--sop-class",
            metavar="UID",
            help="SOP classes that may come. With one or two, the peer can send each object as it is stored.",
        ),
    ] = None,
    syntax: Annotated[
        list[str] | None,
        typer.Option("--syntax", metavar="UID", help="Transfer syntaxes that may come, the preferred first."),
    ] = None,
    *,
    call: calling.Call,
    as_json: output.Json = False,
) -> None:
    """Retrieve objects from a peer into a folder (C-GET), one file each, on the one association that we open.

    With --json, one line for each file on stdout, and a last one with the outcome. Exit code 1 unless all came.
    """
    settings = call.settings()
    known = call.peer(address)
    level, root, keys = retrieving.asked(patient, study, series, instance, frames, model)
    if no_bulk_data:
        if (level, root) != ("IMAGE", "INSTANCE"):
            raise UsageError("--no-bulk-data needs --instance alone")
        root = "WITHOUT_BULK_DATA"
    output.hush()
    connecting = call.connecting(known, settings)
    asked = {
        **keys,
        "root": root,
        "view": view.upper(),
        "sop_classes": sop_class or (),
        "transfer_syntaxes": syntax or (),
    }
    last = running.run(_get(known.address, connecting, folder, level, asked, as_json))
    retrieving.tell(last, f"retrieved into {folder}", known.address, as_json)


async def _get(
    address: str, connecting: dict[str, Any], folder: Path, level: str, asked: dict[str, Any], as_json: bool
) -> Progress | None:
    from isocenter.dimse.folder import FolderStorage
    from isocenter.net.client import connect
    from isocenter.wire.limits import Limits

    def stored(path: str, request: Request) -> None:
        bar.advance()
        if as_json:
            output.write_json(
                {
                    "file": path,
                    "sop_class": request.command["AffectedSOPClassUID"],
                    "sop_instance": request.command["AffectedSOPInstanceUID"],
                    "transfer_syntax": request.context.transfer_syntax,
                }
            )

    with output.bar("retrieving", None) as bar:
        try:
            storage = FolderStorage(folder, stored, limits=Limits.of(connecting["settings"]))
        except OSError as error:
            raise typer.BadParameter(f"{folder}: {error.strerror}") from None
        async with connect(address, **connecting) as peer:
            return await retrieving.follow(peer.get(level, into=storage, **asked), bar)
