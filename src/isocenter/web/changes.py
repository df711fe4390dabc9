"""What happened in the archive, in the order of commits: to be asked for, and told as it happens.

PS3.18 has notifications of work items only; this is for programs that keep up with an archive. Each entry names what
was stored, replaced or deleted; `seq` is where to go on.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from isocenter.errors import BadRequest
from isocenter.model import Change
from isocenter.web.context import DICOMWEB, context_of
from isocenter.web.datasets import answer_json
from isocenter.web.negotiate import JSON, Offer, accepted_ranges, require

MOST = 10_000
_LIMIT = 1000
_QUIET = 15.0  # seconds after which a comment keeps the connection from being taken for dead
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)

EVENT_STREAM = "text/event-stream"


def _number(name: str, text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise BadRequest(f"{name} is a whole number, zero or more")
    return int(text)


def _entry(change: Change) -> dict[str, Any]:
    scope = change.scope
    found = {"seq": change.seq, "kind": change.kind, "at": change.at}
    names = {"study": scope.study, "series": scope.series, "instance": scope.instance}
    names |= {"reason": change.reason, "by": change.by}
    return found | {name: value for name, value in names.items() if value}


async def changes(request: Request) -> Response:
    """`GET /changes?since=0&limit=1000`: entries after `since`, oldest first; `last` is the `since` to go on with."""
    offer = require(accepted_ranges(request), (Offer(JSON),))
    since = _number("since", request.query_params.get("since", "0"))
    limit = min(_number("limit", request.query_params.get("limit", str(_LIMIT))), MOST)
    found = await context_of(request).archive.changes(since, limit)
    body = {"changes": [_entry(one) for one in found], "last": found[-1].seq if found else since}
    return await answer_json(request, orjson.dumps(body), offer.name)


async def events(request: Request) -> Response:
    """`GET /events`: server-sent events, one for each entry: its kind, `seq` as its id, and the entry as JSON.

    Begins after `since` or, as browsers ask when they connect again, after Last-Event-ID; else with what comes now.
    """
    require(accepted_ranges(request), (Offer(EVENT_STREAM),))
    archive = context_of(request).archive
    given = request.headers.get("last-event-id") or request.query_params.get("since")
    since = await archive.last_change() if given is None else _number("since", given)
    follower = archive.feed.follow(since, _QUIET)

    async def told() -> AsyncIterator[bytes]:
        yield b"retry: 2000\n\n"  # and headers are out, so that the client knows that it is heard
        async with aclosing(follower) as groups:
            async for group in groups:
                yield b"".join(map(_event, group)) or b":\n\n"

    return StreamingResponse(told(), headers={"x-accel-buffering": "no"}, media_type=EVENT_STREAM)


def _event(change: Change) -> bytes:
    # JSON has no line break, which would end the field.
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (change.seq, change.kind.encode(), orjson.dumps(_entry(change)))


def routes() -> Iterator[Route]:
    yield Route(f"{DICOMWEB}/changes", changes, methods=["GET"])
    yield Route(f"{DICOMWEB}/events", events, methods=["GET"])
