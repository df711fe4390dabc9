"""`isocenter move`: C-MOVE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from isocenter.cli import calling, output, retrieving, running
from isocenter.known_peers import load_peers

if TYPE_CHECKING:
    from isocenter.net.retrieve import Progress


@calling.options
def command(
    address: calling.PeerAddress,
    destination: Annotated[
        str,
        typer.Option(
            "--to", metavar="AET", help="AE title of the receiver, which the peer has to know; or its name in our file."
        ),
    ],
    patient: retrieving.Patient = None,
    study: retrieving.Study = None,
    series: retrieving.Series = None,
    instance: retrieving.Instance = None,
    frames: retrieving.Frames = None,
    model: retrieving.Root = None,
    view: retrieving.View = "",
    priority: retrieving.Priority = "medium",
    *,
    call: calling.Call,
    as_json: output.Json = False,
) -> None:
    """Have a peer send objects to another one (C-MOVE). Exit code 1 unless all were sent."""
    settings = call.settings()
    known = call.peer(address)
    receivers = load_peers(call.config)
    title = receivers[destination].aet if destination in receivers else destination
    level, root, keys = retrieving.asked(patient, study, series, instance, frames, model)
    connecting = call.connecting(known, settings)
    asked = {**keys, "root": root, "view": view.upper(), "priority": priority.upper()}
    last = running.run(_move(known.address, connecting, title, level, asked))
    retrieving.tell(last, f"moved to {title}", known.address, as_json)


async def _move(
    address: str, connecting: dict[str, Any], destination: str, level: str, asked: dict[str, Any]
) -> Progress | None:
    from isocenter.net.client import connect

    with output.bar("moving", None) as bar:
        async with connect(address, **connecting) as peer:
            return await retrieving.follow(peer.move(destination, level, **asked), bar)
