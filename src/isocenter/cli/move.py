"""`isocenter move`: C-MOVE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from isocenter.cli import calling, output, retrieving, running
from isocenter.errors import UsageError
from isocenter.known_peers import load_peers
from isocenter.names import ae_title

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
    relational: retrieving.Relational = False,
    view: retrieving.View = "",
    priority: retrieving.Priority = "medium",
    *,
    call: calling.Call,
    as_json: output.Json = False,
) -> None:
    """Have a peer send objects to another one (C-MOVE). Exit code 1 unless all were sent."""
    from isocenter.net.client import connect
    from isocenter.net.retrieve import MOVE_ROOTS, SYNTAXES

    settings = call.settings()
    known = call.peer(address)
    receivers = load_peers(call.config)
    try:
        title = receivers[destination].aet if destination in receivers else ae_title(destination)
    except ValueError as error:
        raise UsageError(f"--to: {error}") from None
    level, root, keys = retrieving.asked(patient, study, series, instance, frames, model, relational=relational)
    connecting = call.connecting(known, settings)
    options: dict[str, Any] = {
        **keys,
        "root": root,
        "relational": relational,
        "view": view.upper(),
        "priority": retrieving.urgency(priority),
    }
    retrieving.check(level, root, keys, view.upper(), relational)
    needs = {(MOVE_ROOTS[root], syntax) for syntax in SYNTAXES}

    async def work(bar: output.Bar) -> Progress | None:
        peer = connect(known.address, **connecting, proposing=needs)
        with running.cancelled_by_ctrl_c(peer.cancel):
            async with peer:
                return await retrieving.follow(peer.move(title, level, **options), bar)

    verb = f"moved to {title}"
    last = retrieving.run(work, "moving", verb, known.address)
    retrieving.tell(last, verb, known.address, as_json)
