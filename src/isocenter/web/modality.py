"""Modality Scheduled and Performed Procedure Step Services (PS3.18 sections 14 and 15).

The standard lets modalities search for what is scheduled, and says nothing of how that came in: `POST` and `DELETE` of
scheduled steps are ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isocenter.web.context import DICOMWEB, base_url, context_of
from isocenter.web.datasets import ONE, answer_model
from isocenter.web.negotiate import accepted_ranges, require
from isocenter.web.steps import data_set, parse, path_uid, search, who

SCHEDULED = f"{DICOMWEB}/modality-scheduled-procedure-steps"
PERFORMED = f"{DICOMWEB}/modality-performed-procedure-steps/{{mpps}}"


async def search_scheduled(request: Request) -> Response:
    """`GET /modality-scheduled-procedure-steps`: 14.4."""
    return await search(request, "scheduled", None)


async def schedule(request: Request) -> Response:
    """`POST /modality-scheduled-procedure-steps`: one step, new (201) or in place of the one with its names (200)."""
    name, new = await context_of(request).archive.modality.schedule(await data_set(request), who(request))
    study, _, step = name.partition("\\")
    location = f"{base_url(request)}/modality-scheduled-procedure-steps/{study}/{quote(step, safe='')}"
    return Response(None, 201 if new else 200, {"location": location})


async def unschedule(request: Request) -> Response:
    """`DELETE /modality-scheduled-procedure-steps/{study}/{step}`."""
    study, step = path_uid(request, "study"), request.path_params["step"]
    await context_of(request).archive.modality.unschedule(study, step, who(request))
    return Response(None, 204)


async def create_or_update(request: Request) -> Response:
    """`POST /modality-performed-procedure-steps/{mpps}`: 15.4; with `?update` 15.5."""
    uid = path_uid(request, "mpps")
    steps, model = context_of(request).archive.modality, await data_set(request)
    if "update" in request.query_params:
        await steps.set(uid, model, who(request))
        return Response(None, 200)
    await steps.create(uid, model, who(request))
    return Response(None, 201, {"location": f"{base_url(request)}/modality-performed-procedure-steps/{uid}"})


async def retrieve(request: Request) -> Response:
    """`GET /modality-performed-procedure-steps/{mpps}`: 15.6; of a step what `includefield` names, else all."""
    offer = require(accepted_ranges(request), ONE)
    asked = parse(request, request.query_params.multi_items())
    model = await context_of(request).archive.modality.get(path_uid(request, "mpps"))
    if asked.returned and not asked.all_fields:
        keys = sorted(f"{tag:08X}" for tag in asked.returned)
        model = {key: model[key] for key in keys if key in model}
    return await answer_model(request, model, offer)


def routes() -> Iterator[Route]:
    """Tables 14.1.1-1 and 15.1.1-1."""
    yield Route(SCHEDULED, search_scheduled, methods=["GET"])
    yield Route(SCHEDULED, schedule, methods=["POST"])
    yield Route(f"{SCHEDULED}/{{study}}/{{step:path}}", unschedule, methods=["DELETE"])
    yield Route(PERFORMED, create_or_update, methods=["POST"])
    yield Route(PERFORMED, retrieve, methods=["GET"])
