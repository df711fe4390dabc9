"""URI Service, WADO-URI (PS3.18 section 9): one object by query parameters, at `/dicomweb/wado`.

Everything in it is had by the Studies Service, too; this is the way in for older clients. So each request is turned
into the representation that the other service would give.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isocenter.errors import BadRequest, NotAcceptable
from isocenter.model import InstanceRef, Scope
from isocenter.names import is_uid
from isocenter.pixels.state import is_state
from isocenter.std.implementation import IMPLEMENTATION_VERSION_NAME as VERSION
from isocenter.std.sop_classes import SOP_CLASSES
from isocenter.std.transfer_syntaxes import TRANSFER_SYNTAXES
from isocenter.web.caching import unchanged, validated
from isocenter.web.context import DICOMWEB, Context, context_of
from isocenter.web.datasets import ONE, answer_metadata
from isocenter.web.negotiate import DICOM, Offer, Range, accepted_ranges, not_acceptable, ranked
from isocenter.web.rendered import PICTURES, answer_itself, as_itself
from isocenter.web.rendering import Rendering, annotation_of, picture, quality_of, side, under_state, window_of
from isocenter.web.wado import ALONE, answer_instances, choose_instances, instance_offers

WADO = f"{DICOMWEB}/wado"

# Section 9.1.2; what else is in the query is ignored, as section 8.3 wants it.
_RENDERING = ("annotation", "rows", "columns", "region", "windowCenter", "windowWidth", "imageQuality")
_PARAMETERS = (
    *("requestType", "studyUID", "seriesUID", "objectUID", "contentType", "charset", "anonymize", "frameNumber"),
    *("presentationUID", "presentationSeriesUID", "transferSyntax", *_RENDERING),
)


def _parameters(request: Request) -> dict[str, str]:
    """Those of the service, each once. Raises BadRequest."""
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in _PARAMETERS:
            continue
        if name in found:
            raise BadRequest(f"{name} is given twice")
        found[name] = value
    if found.get("requestType") != "WADO":
        raise BadRequest("requestType is WADO")
    if found.get("anonymize"):
        # PS3.18 section 9.1.2.2.1: what cannot be de-identified must not be given as if it were.
        raise NotAcceptable("de-identified objects cannot be had here")
    if found.get("charset", "utf-8").lower() not in ("utf-8", "utf8", "*"):
        raise NotAcceptable("text is in UTF-8 only")
    return found


def _scope(parameters: Mapping[str, str], *names: str) -> Scope:
    for name in names:
        if not is_uid(parameters.get(name, "")):
            raise BadRequest(f"{name} is missing or no UID")
    study, series, instance = (parameters[name] for name in names)
    return Scope(study, series, instance)


def _ranges(request: Request, parameters: Mapping[str, str], ref: InstanceRef) -> list[Range]:
    """What the client takes; for who leaves it open, what section 9.1.2.1.5 makes the default of the object."""
    syntax = parameters.get("transferSyntax")
    if syntax is not None and syntax not in TRANSFER_SYNTAXES:
        raise BadRequest("transferSyntax is not known")
    ranges = accepted_ranges(request, "contentType")
    if "contentType" not in parameters and all(one.name == "*/*" for one in ranges):
        row = SOP_CLASSES.get(ref.sop_class)
        image = row is not None and row.keyword.endswith("ImageStorage") and (ref.number_of_frames or 1) == 1
        default = "image/jpeg" if image else DICOM
        ranges = [Range(default, False, None, 1.0), *ranges]
    if syntax is None:
        return ranges
    return [replace(one, transfer_syntax=syntax) if one.name in (DICOM, "*/*") else one for one in ranges]


async def _rendering(context: Context, parameters: Mapping[str, str], ref: InstanceRef) -> Rendering:
    """Section 9.1.2.2, in the terms of the Studies Service. Raises BadRequest, NotFound."""
    result = Rendering()
    center, width = parameters.get("windowCenter"), parameters.get("windowWidth")
    if (center is None) != (width is None):
        raise BadRequest("windowCenter and windowWidth are given together")
    if center is not None and width is not None:
        result = replace(result, window=window_of(center, width, "linear")[0])
    rows, columns = parameters.get("rows"), parameters.get("columns")
    if rows is not None or columns is not None:
        # One of them alone leaves the other free: as much as there can be.
        across = side("columns", columns) if columns is not None else 16384
        result = replace(result, viewport=(across, side("rows", rows) if rows is not None else 16384))
    if "region" in parameters:
        words = parameters["region"].split(",")
        try:
            left, top, right, bottom = (float(word) for word in words)
        except ValueError:
            raise BadRequest("region is left,top,right,bottom") from None
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise BadRequest("region is left,top,right,bottom as parts of the image, 0 to 1")
        result = replace(result, region=(left, top, right, bottom), relative=True)
    if "imageQuality" in parameters:
        result = replace(result, quality=quality_of(parameters["imageQuality"]))
    if "annotation" in parameters:
        result = replace(result, annotation=annotation_of(parameters["annotation"]))
    if "presentationUID" in parameters or "presentationSeriesUID" in parameters:
        given = {**parameters, "study": ref.study}
        scope = _scope(given, "study", "presentationSeriesUID", "presentationUID")
        state = (await context.archive.select(scope))[0]
        if not is_state(state.sop_class):
            raise BadRequest("presentationUID is not that of a presentation state")
        result = await under_state(context, state, result)
    return result


def _frame(parameters: Mapping[str, str]) -> int | None:
    text = parameters.get("frameNumber")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 8 and int(text) > 0):
        raise BadRequest("frameNumber is a number from 1")
    return int(text)


async def retrieve_uri(request: Request) -> Response:
    """`GET /wado?requestType=WADO&...`: the object as DICOM, as its metadata, as a picture, or as what it holds."""
    context = context_of(request)
    parameters = _parameters(request)
    scope = _scope(parameters, "studyUID", "seriesUID", "objectUID")
    ref = (await context.archive.select(scope))[0]
    ranges = _ranges(request, parameters, ref)
    frame = _frame(parameters)
    itself = as_itself(ref)
    shown = (itself,) if itself is not None else PICTURES
    instances = choose_instances([ref], ranges, (ALONE,))
    others = ranked(ranges, (*shown, *ONE))
    if instances is None and others is None:
        raise not_acceptable([*instance_offers(ref.transfer_syntax, ALONE), *shown, *ONE])
    if instances is not None and (others is None or instances[0] >= others[0]):
        if frame is not None or any(name in parameters for name in _RENDERING):
            raise BadRequest("these parameters are for pictures, not for application/dicom")
        return await answer_instances(request, [ref], instances[1])
    assert others is not None
    offer = others[1]
    if offer in ONE:
        return await answer_metadata(request, ref.scope, offer)
    if offer == itself:
        return await answer_itself(request, ref, offer)
    return await _answer_picture(request, ref, frame, await _rendering(context, parameters, ref), offer)


async def _answer_picture(
    request: Request, ref: InstanceRef, frame: int | None, rendering: Rendering, offer: Offer
) -> Response:
    context = context_of(request)
    fields = validated(context, ref.digest, frame, rendering, offer, VERSION, lasting=True, weak=True)
    if answer := unchanged(request, fields):
        return answer
    data = await anyio.to_thread.run_sync(picture, context, ref, frame, rendering, offer.name, limiter=context.decoding)
    return Response(data, 200, fields, media_type=offer.name)


def routes() -> Iterator[Route]:
    """Section 9.1."""
    yield Route(WADO, retrieve_uri, methods=["GET"])
