"""`isocenter echo`: C-ECHO."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from isocenter.cli import calling, output, running


@calling.options
def command(
    address: calling.PeerAddress,
    count: Annotated[int, typer.Option("--count", "-n", metavar="N", min=1, help="How many, on one association.")] = 1,
    *,
    call: calling.Call,
    as_json: output.Json = False,
) -> None:
    """Ask a peer whether it answers (C-ECHO), and how long that takes."""
    settings = call.settings()
    known = call.peer(address)
    address = known.address
    connecting = call.connecting(known, settings)
    times: list[float] = []
    try:
        running.run(_echo(address, count, connecting, times))
    except KeyboardInterrupt:
        if len(times) > 1:
            _tell(address, times, as_json)
        raise
    _tell(address, times, as_json)


def _tell(address: str, times: list[float], as_json: bool) -> None:
    association, *trips = times
    count = len(trips)
    if as_json:
        output.write_json({"peer": address, "association_ms": association, "echo_ms": trips})
        return
    from statistics import median  # not before: it takes as long to import as a peer takes to answer

    middle = f"{median(trips):.2f} ms"
    if count > 1:
        middle = f"median {middle}, least {min(trips):.2f} ms, most {max(trips):.2f} ms of {count}"
    output.write(f"{address} answers: association {association:.2f} ms, echo {middle}")


async def _echo(address: str, count: int, connecting: dict[str, Any], times: list[float]) -> None:
    """Milliseconds of the association and of each C-ECHO, added to `times`."""
    from isocenter.net.storing import StoragePeer, way_to

    begun = time.perf_counter()
    async with StoragePeer(way_to(address, **connecting)) as peer:
        times.append((time.perf_counter() - begun) * 1000)
        for _ in range(count):
            begun = time.perf_counter()
            await peer.echo()
            times.append((time.perf_counter() - begun) * 1000)
