"""What happened in the archive, in the order of commits: to be asked for, and told as it happens.

PS3.18 has notifications of work items only; this is for programs that keep up with an archive. Each entry names what
was stored, replaced or deleted; `seq` is where to go on.

A page that shows studies wants to hear that it is out of date, and no more: in summary, all that comes within a second
is one event without a content, so that a scanner's thousand slices cost an open list one look and not a thousand lines.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from isocenter.archive.feed import MOST as MOST_FOLLOWERS
from isocenter.errors import BadRequest
from isocenter.model import Change
from isocenter.web.context import DICOMWEB, context_of
from isocenter.web.datasets import answer_json
from isocenter.web.negotiate import JSON, Offer, accepted_ranges, require

if TYPE_CHECKING:
    from isocenter.archive.archive import Archive

MOST = 10_000
_LIMIT = 1000
_QUIET = 15.0  # seconds after which a comment keeps the connection from being taken for dead
_PACE = 1.0  # seconds from one event to the next in summary
_PAGES = MOST_FOLLOWERS // 2  # followers beside whom a page may be one, so that browsers shut no program out
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
    With `summary=true` it is one event `changed` for all that came, at most one a second, with the newest `seq`.
    """
    require(accepted_ranges(request), (Offer(EVENT_STREAM),))
    summary = request.query_params.get("summary", "false")
    if summary not in ("true", "false"):
        raise BadRequest("summary is true or false")
    archive = context_of(request).archive
    given = request.headers.get("last-event-id") or request.query_params.get("since")
    since = await archive.last_change() if given is None else _number("since", given)
    if summary == "true":
        return _stream(_summed_up(archive, since), _changed)
    return _stream(archive.feed.follow(since, _QUIET), _event)


def _stream(follower: AsyncGenerator[list[Change], None], event: Callable[[Change], bytes]) -> Response:
    async def told() -> AsyncIterator[bytes]:
        yield b"retry: 2000\n\n"  # and headers are out, so that the client knows that it is heard
        async with aclosing(follower) as groups:
            async for group in groups:
                yield b"".join(map(event, group)) or b":\n\n"

    return StreamingResponse(told(), headers={"x-accel-buffering": "no"}, media_type=EVENT_STREAM)


def _event(change: Change) -> bytes:
    # JSON has no line break, which would end the field.
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (change.seq, change.kind.encode(), orjson.dumps(_entry(change)))


async def _summed_up(archive: Archive, since: int) -> AsyncGenerator[list[Change], None]:
    """The newest entry alone, whenever there is one, and not too often."""

    async def newest(after: int) -> list[Change]:
        last = await archive.last_change()
        return await archive.changes(last - 1, 1) if last > after else []

    async with aclosing(archive.feed.follow(since, _QUIET, newest, _PAGES)) as groups:
        async for group in groups:
            yield group
            if group:
                await asyncio.sleep(_PACE)


def _changed(change: Change) -> bytes:
    return b'id: %d\nevent: changed\ndata: {"seq":%d}\n\n' % (change.seq, change.seq)


def routes() -> Iterator[Route]:
    yield Route(f"{DICOMWEB}/changes", changes, methods=["GET"])
    yield Route(f"{DICOMWEB}/events", events, methods=["GET"])
