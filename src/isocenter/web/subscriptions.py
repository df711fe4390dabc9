"""Subscriptions to the worklist (PS3.18 sections 11.10 to 11.13), and the connection on which their events come
(8.10.4): a WebSocket, on which we speak and the client listens.

Subscriptions last, connections need not: whoever opens one hears what happens from then on, and first of a restart of
ours since he subscribed. What happened while nobody listened is in the steps; a deletion lock keeps them there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from itertools import count
from typing import Any, cast

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from isocenter.errors import ArchiveBusy, BadRequest, IsocenterError
from isocenter.index.work import Report
from isocenter.model import Match
from isocenter.std.sop_classes import UNIFIED_PROCEDURE_STEP_PUSH
from isocenter.web.context import DICOMWEB, base_url, context_of
from isocenter.web.errors import error_response, response_of
from isocenter.web.identity import identity_of
from isocenter.web.steps import parse, path_aet, path_uid, who
from isocenter.web.worklist import WORKITEM

CHANNEL = f"{DICOMWEB}/subscribers/{{aetitle}}"
_SUBSCRIBER = f"{WORKITEM}/subscribers/{{aetitle}}"
_QUIET = 3600.0  # seconds; the server itself asks every 20 whether the client is still there
_MESSAGES = 0xFFFF  # Message ID (0000,0110) is a US
_GOING_AWAY, _TRY_AGAIN, _EXPIRED = 1001, 1013, 1008  # RFC 6455 section 7.4.1, and its registry


def _filter(request: Request) -> Sequence[Match]:
    """What steps have to fulfil: `filter`, a list of attribute=value (11.10.1.2), or parameters as of a search."""
    parameters: list[tuple[str, str]] = []
    for name, value in request.query_params.multi_items():
        if name == "filter":
            for one in value.split(","):
                attribute, equals, wanted = one.partition("=")
                if not equals:
                    raise BadRequest("a filter is a list of attribute=value")
                parameters.append((attribute.strip(), wanted))
        elif name != "deletionlock":
            parameters.append((name, value))
    asked = parse(request, parameters)
    if asked.warnings:
        raise BadRequest("a filter has an attribute that is not known, so that it would be wider than it looks")
    return asked.query.matches


async def subscribe(request: Request) -> Response:
    """`POST /workitems/{workitem}/subscribers/{aetitle}`: 11.10."""
    uid, aet = path_uid(request, "workitem"), path_aet(request.path_params)
    lock = request.query_params.get("deletionlock", "false")
    if lock not in ("true", "false"):
        raise BadRequest("deletionlock is true or false")
    matching = _filter(request)
    await context_of(request).archive.work.subscribe(uid, aet, lock=lock == "true", matching=matching, by=who(request))
    # RFC 6455 section 3: ws beside http, wss beside https
    channel = f"ws{base_url(request).removeprefix('http')}/subscribers/{aet}"
    return Response(None, 201, {"content-location": channel})


async def unsubscribe(request: Request) -> Response:
    """`DELETE /workitems/{workitem}/subscribers/{aetitle}`: 11.11."""
    work = context_of(request).archive.work
    await work.unsubscribe(path_uid(request, "workitem"), path_aet(request.path_params), who(request))
    return Response(None, 200)


async def suspend(request: Request) -> Response:
    """`POST /workitems/{workitem}/subscribers/{aetitle}/suspend`: 11.12."""
    work = context_of(request).archive.work
    await work.suspend(path_uid(request, "workitem"), path_aet(request.path_params), who(request))
    return Response(None, 200)


# --- events


def _message(report: Report, number: int) -> str:
    """An event as the text of a frame (11.13): an N-EVENT-REPORT as one DICOM JSON object."""
    head: dict[str, Any] = {
        "00000002": {"vr": "UI", "Value": [UNIFIED_PROCEDURE_STEP_PUSH]},
        "00000110": {"vr": "US", "Value": [number % _MESSAGES + 1]},
        "00001000": {"vr": "UI", "Value": [report.uid]},
        "00001002": {"vr": "US", "Value": [report.event_type]},
    }
    return orjson.dumps({**head, **report.information}).decode()


async def _send(websocket: WebSocket, reports: AsyncIterator[list[Report]]) -> None:
    numbers = count()
    try:
        async for group in reports:
            for report in group:
                await websocket.send_text(_message(report, next(numbers)))
    except ArchiveBusy:
        await websocket.close(_TRY_AGAIN)
    else:
        await websocket.close(_GOING_AWAY)


async def _listen(websocket: WebSocket) -> None:
    """Until the client leaves; what it says has no meaning here, and its length has a limit (serving.py)."""
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass


async def channel(websocket: WebSocket) -> None:
    """`GET /subscribers/{aetitle}` with Upgrade: 8.10.4."""
    try:
        aet = path_aet(cast(Mapping[str, Any], websocket.path_params))
        work = context_of(cast(Request, websocket)).archive.work
        since = await work.last_report()  # what happens once the client knows that it is heard is told
    except IsocenterError as error:
        await websocket.send_denial_response(response_of(error))
        return
    expires = identity_of(websocket).expires
    await websocket.accept()
    async with aclosing(work.follow(aet, since, _QUIET)) as reports:
        tasks = [asyncio.create_task(_send(websocket, reports)), asyncio.create_task(_listen(websocket))]
        left = None if expires is None else max(0.0, expires - time.time())
        done, _ = await asyncio.wait(tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception) and not isinstance(outcome, WebSocketDisconnect):
                raise outcome
    if not done:
        with suppress(WebSocketDisconnect):
            await websocket.close(_EXPIRED)


async def no_channel(request: Request) -> Response:
    """The same without Upgrade."""
    headers = {"upgrade": "websocket", "connection": "upgrade"}
    return error_response("upgrade-required", "Events come on a WebSocket (RFC 6455).", 426, "", headers)


def routes() -> Iterator[BaseRoute]:
    """Tables 11.10.1-1 to 11.12.1-1, and 8.10.4."""
    yield Route(_SUBSCRIBER, subscribe, methods=["POST"])
    yield Route(_SUBSCRIBER, unsubscribe, methods=["DELETE"])
    yield Route(f"{_SUBSCRIBER}/suspend", suspend, methods=["POST"])
    yield WebSocketRoute(CHANNEL, channel)
    yield Route(CHANNEL, no_channel, methods=["GET"])
