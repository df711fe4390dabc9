"""Delete: a study, series or instance is gone, for a reason that is kept (PS3.18 has no such transaction; the requests
are those that dicomweb-client and the larger archives know).

`DELETE /studies/{s}?reason=...`. The change feed keeps what was deleted, when, why, and by whom. What is yet to be done
for a peer with an object, by a rule or because it asked, would be lost with it: 409, unless `force=true`.
"""

from __future__ import annotations

from collections.abc import Iterator

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isocenter.errors import BadRequest
from isocenter.net.identity import shown
from isocenter.web.context import context_of, scope_of
from isocenter.web.identity import identity_of
from isocenter.web.wado import INSTANCE, SERIES, STUDY

_LONGEST = 1000  # characters of a reason


def reason_of(request: Request) -> str:
    """Why something is deleted. Raises BadRequest without a reason, and for one that cannot be kept."""
    given = request.query_params.getlist("reason")
    reason = given[0].strip() if len(given) == 1 else ""
    if not reason and context_of(request).settings.web_delete_reason:
        raise BadRequest("a reason is needed, as ?reason=wrong%20patient; it is kept")
    if len(given) > 1 or len(reason) > _LONGEST or not reason.isprintable():
        raise BadRequest(f"a reason is one line of at most {_LONGEST} characters")
    return reason


async def delete(request: Request) -> Response:
    """204: everything of the scope is gone, and so are its bytes. Raises NotFound and StillWanted."""
    context, who = context_of(request), identity_of(request)
    forced = request.query_params.get("force", "false")
    if forced not in ("true", "false"):
        raise BadRequest("force is true or false")
    scope, reason = scope_of(request), reason_of(request)
    await context.archive.delete(scope, reason, shown(who.name), unless_wanted=forced == "false")
    return Response(None, 204)


def routes() -> Iterator[Route]:
    for path in (STUDY, SERIES, INSTANCE):
        yield Route(path, delete, methods=["DELETE"])
