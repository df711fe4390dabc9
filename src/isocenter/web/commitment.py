"""Storage Commitment Service (PS3.18 section 13)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isocenter.web.context import DICOMWEB, base_url, context_of
from isocenter.web.datasets import DICOM_XML, ONE, answer_json, answer_model
from isocenter.web.negotiate import accepted_ranges, require
from isocenter.web.steps import data_set, path_uid, warn, who

TRANSACTION = f"{DICOMWEB}/commitment-requests/{{transaction}}"

_PATIENCE: Final = 2.0  # seconds until a requestor is told to come again
_COME_AGAIN: Final = "10"  # seconds


async def ask(request: Request) -> Response:
    """`POST /commitment-requests/{transaction}`: 13.4; 200 with the answer if that takes no time, else 202."""
    uid = path_uid(request, "transaction")
    require(accepted_ranges(request), ONE)
    await context_of(request).archive.commitments.request(uid, await data_set(request), who(request))
    return await _result(request, uid, _PATIENCE)


async def result(request: Request) -> Response:
    """`GET /commitment-requests/{transaction}`: 13.5."""
    return await _result(request, path_uid(request, "transaction"), 0.0)


async def _result(request: Request, uid: str, patience: float) -> Response:
    offer = require(accepted_ranges(request), ONE)
    location = f"{base_url(request)}/commitment-requests/{uid}"
    answer = await context_of(request).archive.commitments.result(uid, patience)
    if answer is None:
        response = Response(None, 202, {"location": location, "retry-after": _COME_AGAIN})
        return warn(response, request, "The objects are still looked at")
    if offer.name == DICOM_XML:
        response = await answer_model(request, answer, offer)
    else:  # an object and no array, as in the example of section B.27
        response = await answer_json(request, orjson.dumps(answer), offer.name)
    response.headers["content-location"] = location
    return response


def routes() -> Iterator[Route]:
    """Table 13.1.1-1."""
    yield Route(TRANSACTION, ask, methods=["POST"])
    yield Route(TRANSACTION, result, methods=["GET"])
