"""`isocenter get`: C-GET into a folder."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isocenter.cli import calling, output, retrieving, running
from isocenter.errors import UsageError

if TYPE_CHECKING:
    from isocenter.net.retrieve import Progress
    from isocenter.net.web_client import Service
    from isocenter.services.base import Request


@calling.options
def command(
    address: calling.AnyAddress,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files go; made if absent.")],
    patient: retrieving.Patient = None,
    study: retrieving.Study = None,
    series: retrieving.Series = None,
    instance: retrieving.Instance = None,
    frames: retrieving.Frames = None,
    model: retrieving.Root = None,
    relational: retrieving.Relational = False,
    view: retrieving.View = "",
    priority: retrieving.Priority = "medium",
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
    """Retrieve objects from a peer (C-GET) or a DICOMweb service (WADO-RS) into a folder, one file each.

    C-GET uses the one association that we open.

    With --json, one line for each file on stdout, and a last one with the outcome. Exit code 1 unless all came.
    """
    settings = call.settings()
    if calling.is_web(address):
        if patient or frames or model or relational or view or no_bulk_data or sop_class or len(syntax or ()) > 1:
            raise UsageError("a DICOMweb service knows --study, --series, --instance and one --syntax alone")
        service = call.web(address, settings)
        _get_web(service, folder, study or (), series or (), instance or (), (syntax or ["*"])[0], as_json)
        return
    known = call.peer(address)
    level, root, keys = retrieving.asked(patient, study, series, instance, frames, model, relational=relational)
    if no_bulk_data:
        if (level, root) != ("IMAGE", "INSTANCE"):
            raise UsageError("--no-bulk-data needs --instance alone")
        root = "WITHOUT_BULK_DATA"
    output.hush()
    connecting = call.connecting(known, settings)
    asked = {
        **keys,
        "root": root,
        "relational": relational,
        "view": view.upper(),
        "priority": retrieving.urgency(priority),
        "sop_classes": sop_class or (),
        "transfer_syntaxes": syntax or (),
    }
    retrieving.check(level, root, keys, view.upper(), relational)
    verb = f"retrieved into {folder}"
    work = partial(_get, known.address, connecting, folder, level, asked, as_json)
    last = retrieving.run(work, "retrieving", verb, known.address)
    retrieving.tell(last, verb, known.address, as_json)


def _get_web(
    service: Service,
    folder: Path,
    study: Sequence[str],
    series: Sequence[str],
    instance: Sequence[str],
    syntax: str,
    as_json: bool,
) -> None:
    """The same of a DICOMweb service (WADO-RS): each thing that is named by a request of its own."""
    from isocenter.net.web_client import WebClient

    if not study or (series and len(study) > 1) or (instance and len(series) != 1):
        raise UsageError("a DICOMweb service wants --study; with --series one --study, with --instance one --series")
    if instance:
        named: list[tuple[str, str | None, str | None]] = [(study[0], series[0], one) for one in instance]
    else:
        named = [(study[0], one, None) for one in series] if series else [(one, None, None) for one in study]
    count = 0
    output.hush()
    with output.bar("retrieving", None) as bar, WebClient(service) as client:
        for one in named:
            for path in client.get(folder, *one, transfer_syntax=syntax):
                count += 1
                bar.advance()
                if as_json:
                    output.write_json({"file": str(path)})
    if not as_json:
        output.note(f"{count} retrieved into {folder}")


async def _get(
    address: str,
    connecting: dict[str, Any],
    folder: Path,
    level: str,
    asked: dict[str, Any],
    as_json: bool,
    bar: output.Bar,
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

    try:
        storage = FolderStorage(folder, stored, limits=Limits.of(connecting["settings"]), ahead=True)
    except OSError as error:
        raise typer.BadParameter(f"{folder}: {error.strerror}") from None
    with closing(storage):
        # C-GET has an association of its own, and the one that entering a Peer opens would be for nothing.
        peer = connect(address, **connecting)
        with running.cancelled_by_ctrl_c(peer.cancel):
            return await retrieving.follow(peer.get(level, into=storage, **asked), bar)
