"""What those who run the archive see and do with a browser: peers to send to, what is on its way to them, and how full
the disk is. Not of PS3.18; below /operation, of which all needs the scope `write` (gate.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isocenter.archive import audit
from isocenter.archive.routing import COMMITTED, FORWARD
from isocenter.errors import BadRequest, NotFound
from isocenter.index.jobs import STATES, Wanted
from isocenter.known_peers import KnownPeer
from isocenter.model import Scope
from isocenter.names import is_uid
from isocenter.net.identity import shown
from isocenter.web.context import context_of
from isocenter.web.identity import identity_of
from isocenter.web.signing_in import json_fields

OPERATION = "/operation"
MOST_JOBS = 1000
_JOBS = 100
_MOST_REASONS = 10  # of one job
_LARGEST = 2**63 - 1  # that a row may have for its number
_LEVELS = ("study", "series", "instance")

Peers = Callable[[], Iterable[KnownPeer]]


def _answer(body: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, {"cache-control": "no-store"}, "application/json")


def _peers(request: Request) -> dict[str, KnownPeer]:
    return {peer.name: peer for peer in cast(Peers, request.app.state.peers)()}


async def peers(request: Request) -> Response:
    """`GET /operation/peers`: name and AE title of each; where they listen is nobody's business here."""
    return _answer({"peers": [{"name": peer.name, "aet": peer.aet} for peer in _peers(request).values()]})


async def send(request: Request) -> Response:
    """`POST /operation/jobs`: `{"peer": ..., "study": ..., "series": ..., "instance": ...}`, the last two as far as
    wanted, and `"commit": "true"` to ask for Storage Commitment afterwards. 202 with the job, which is durable."""
    given = await json_fields(request)
    unknown = given.keys() - {"peer", "commit", *_LEVELS}
    if unknown:
        raise BadRequest("peer, study, series, instance and commit can be given, and nothing else")
    if given.get("commit", "false") not in ("true", "false"):
        raise BadRequest("commit is true or false")
    peer = _peers(request).get(given.get("peer", ""))
    if peer is None:
        raise NotFound("there is no [[peer]] of this name in the settings file")
    scope = _scope(given)
    archive, who = context_of(request).archive, identity_of(request)
    # Before anything is looked up: whoever sees some studies only has no jobs either.
    jobs = archive.jobs
    refs = await archive.select(scope)
    key = COMMITTED if given.get("commit") == "true" else ""
    numbers = await jobs.add(Wanted(FORWARD, peer.name, items=[ref.instance for ref in refs], key=key))
    audit.to_be_sent(scope, len(refs), peer.name, shown(who.name))
    return _answer((await jobs.get(numbers[0])).told(), 202)


def _scope(given: dict[str, str]) -> Scope:
    uids = [given.get(level, "") for level in _LEVELS]
    if not uids[0] or (uids[2] and not uids[1]):
        raise BadRequest("a study is needed, and a series for an instance of it")
    for level, uid in zip(_LEVELS, uids, strict=True):
        if uid and not is_uid(uid):
            raise BadRequest(f"the {level} is not a UID")
    return Scope(uids[0], uids[1] or None, uids[2] or None)


async def jobs(request: Request) -> Response:
    """`GET /operation/jobs?state=waiting&state=failed&limit=100`: the newest first, each with why objects failed, and
    how many there are in each state."""
    states = request.query_params.getlist("state")
    limit = request.query_params.get("limit", str(_JOBS))
    if not set(states) <= set(STATES):
        raise BadRequest(f"a state is one of {', '.join(STATES)}")
    if not (limit.isascii() and limit.isdigit()) or not 1 <= int(limit[:9]) <= MOST_JOBS:
        raise BadRequest(f"limit is a number from 1 to {MOST_JOBS}")
    queue = context_of(request).archive.jobs
    listed = await queue.listed(cast(Any, states), int(limit))
    reasons = await queue.reasons(listed)
    rows = [{**job.told(), "reasons": _told(reasons.get(job.id, {}))} for job in listed]
    return _answer({"jobs": rows, "counts": await queue.counts()})


def _told(reasons: dict[str, int]) -> list[dict[str, Any]]:
    some = list(reasons.items())[:_MOST_REASONS]
    return [{"why": why, "count": count} for why, count in some]


def _number(request: Request) -> int:
    number = cast(int, request.path_params["job"])
    if number > _LARGEST:
        raise NotFound("there is no such job")
    return number


async def retry(request: Request) -> Response:
    """`POST /operation/jobs/{job}/retry`: a failed or cancelled job again, a waiting one now."""
    return _answer((await context_of(request).archive.jobs.retry(_number(request))).told())


async def cancel(request: Request) -> Response:
    """`POST /operation/jobs/{job}/cancel`."""
    return _answer((await context_of(request).archive.jobs.cancel(_number(request))).told())


async def storage(request: Request) -> Response:
    """`GET /operation/storage`: what is stored, and the disk, in bytes."""
    context = context_of(request)
    statistics = await context.archive.statistics()
    free, size = await asyncio.to_thread(context.archive.space)
    names = ("patients", "studies", "series", "instances", "non_patient", "bytes")
    stored = {name: getattr(statistics, name) for name in names}
    return _answer({**stored, "free": free, "size": size, "reserve": context.settings.archive_minimum_free})


def routes() -> Iterator[Route]:
    yield Route(f"{OPERATION}/peers", peers, methods=["GET"])
    yield Route(f"{OPERATION}/jobs", send, methods=["POST"])
    yield Route(f"{OPERATION}/jobs", jobs, methods=["GET"])
    yield Route(f"{OPERATION}/jobs/{{job:int}}/retry", retry, methods=["POST"])
    yield Route(f"{OPERATION}/jobs/{{job:int}}/cancel", cancel, methods=["POST"])
    yield Route(f"{OPERATION}/storage", storage, methods=["GET"])
