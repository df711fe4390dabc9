"""Whether the server answers and its index can be read."""

from __future__ import annotations

import orjson
from starlette.requests import Request
from starlette.responses import Response

from isocenter.model import Level, Query
from isocenter.web.context import context_of


async def healthz(request: Request) -> Response:
    """`/healthz`: 200 if a search of the index succeeds; its failure is answered as any other."""
    await context_of(request).archive.find(Query(Level.STUDY, limit=1))
    return Response(orjson.dumps({"status": "ok"}), media_type="application/json")
