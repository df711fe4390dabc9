"""`isocenter serve`: the archive with its DIMSE and web skins, until it is told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isocenter.cli import output, running
from isocenter.errors import IsocenterError
from isocenter.known_peers import load_peers

if TYPE_CHECKING:
    from isocenter.archive.archive import Archive
    from isocenter.server import Loaded, Node


def command(
    data: Annotated[
        Path | None, typer.Option("--data", "-d", metavar="FOLDER", help="Folder of the archive; made if absent.")
    ] = None,
    dimse: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Where DIMSE listens.")] = None,
    http: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Where viewer and DICOMweb listen.")] = None,
    aet: Annotated[str | None, typer.Option(metavar="AET", help="Our AE title.")] = None,
    tls_port: running.TlsPort = None,
    cert: running.Certificate = None,
    key: running.Key = None,
    ca: running.Authorities = None,
    config: running.Config = None,
    ohif: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="OHIF as `make ohif` prepares it, at /ohif/.")
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Fill the archive with demo data.")] = False,
    as_json: output.Json = False,
) -> None:
    """Run the archive: receive by DIMSE and DICOMweb, keep durably, show in the browser.

    Listens on loopback unless told otherwise. Ctrl-C or SIGTERM: open associations finish, then it stops. SIGHUP:
    peers, rules, users, AE titles, limits and certificates are read again; open associations go on.
    """
    listener = running.tls_listener(tls_port, cert, key, ca)

    def read() -> Loaded:
        from isocenter.archive.routing import load_rules

        own = {"archive_data": data, "dimse_aet": aet, "web_ohif": ohif}
        rows = running.settings_from(config, dimse=dimse, http=http, **own, **listener)
        peers = load_peers(config)
        return rows, peers.values(), load_rules(config, peers)

    running.start_logging(read()[0])
    from isocenter.server import serve

    def ready(node: Node) -> Coroutine[None, None, None] | None:
        _announce(node, as_json)
        return _fill(node.archive) if demo else None

    running.run(serve(read, ready))


def _announce(node: Node, as_json: bool) -> None:
    addresses = {
        "viewer": node.url,
        **({"ohif": f"{node.url}ohif/"} if node.settings.web_ohif else {}),
        "dicomweb": f"{node.url}dicomweb",
        "dimse": node.address,
        **({"dimse_tls": node.tls_address} if node.tls_address else {}),
        "data": str(node.settings.archive_data),
    }
    if as_json:
        output.write_json(addresses)
        return
    from rich.panel import Panel
    from rich.table import Table

    rows = Table.grid(padding=(0, 2))
    lines = [
        ("Viewer", addresses["viewer"], "open it in a browser"),
        *([("OHIF", addresses["ohif"], "the same studies in OHIF")] if node.settings.web_ohif else []),
        ("DICOMweb", addresses["dicomweb"], "QIDO-RS, WADO-RS, STOW-RS"),
        ("DIMSE", addresses["dimse"], f"try: isocenter echo {addresses['dimse']}"),
        ("Data", addresses["data"], "verify: isocenter check, when stopped"),
    ]
    if node.tls_address:
        secured = ("DIMSE, TLS", node.tls_address, "try: isocenter echo --tls ...")
        at = [name for name, *_ in lines].index("DIMSE")
        lines[at : at + 1] = [secured] if node.settings.tls_only else [lines[at], secured]
    for name, value, hint in lines:
        rows.add_row(f"[bold]{name}[/]", f"[cyan]{value}[/]", f"[dim]{hint}[/]")
    output.console(stderr=True).print(Panel(rows, title="Isocenter is running", expand=False, border_style="cyan"))


async def _fill(archive: Archive) -> None:
    """Demo data, made in a thread so that the servers answer meanwhile; what is there already stays."""
    from isocenter.demo.objects import demo_objects
    from isocenter.model import Origin

    objects = iter(demo_objects())
    stored = known = 0
    with output.bar("Making demo data", None) as progress:
        while (raw := await asyncio.to_thread(next, objects, None)) is not None:
            try:
                outcome = await archive.ingest([raw], Origin("demo"))
            except IsocenterError as error:
                output.fail(error, "demo data")
                continue
            if outcome.kind == "stored":
                stored += 1
            else:
                known += 1
            progress.advance()
    output.note(f"demo data: {stored} objects stored" + (f", {known} were there" if known else ""))
