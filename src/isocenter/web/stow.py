"""Store transaction, STOW-RS (PS3.18 section 10.5): `application/dicom`, as parts or alone.

The request is parsed here and its objects go through receiver.py; then each instance's fate is told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isocenter.errors import (
    BadRequest,
    IsocenterError,
    PayloadTooLarge,
    UnsupportedMediaType,
    UnsupportedTransferSyntax,
)
from isocenter.model import Origin
from isocenter.names import is_uid
from isocenter.net.identity import shown
from isocenter.web.assembling import METADATA, Assembly
from isocenter.web.context import DICOMWEB, base_url, context_of
from isocenter.web.datasets import DICOM_XML
from isocenter.web.identity import identity_of
from isocenter.web.metrics import Metrics
from isocenter.web.negotiate import DICOM, DICOM_JSON, JSON, Offer, accepted_ranges, require
from isocenter.web.receiver import Receiver, Result, Target
from isocenter.wire.dicomxml import native_xml
from isocenter.wire.mediatypes import parse_media_type
from isocenter.wire.multipart import MultipartParser, PartData, PartEnded, PartStarted

STORED = (Offer(DICOM_JSON), Offer(JSON), Offer(DICOM_XML))  # forms of the answer

_REASONS = 5  # that are told in words
_COERCED = 0xB000  # PS3.4 B.2.3, as over DIMSE
_TRANSFER_SYNTAX = 0xC122  # PS3.18 Table I.2-2: referenced transfer syntax not supported


def failure_reason(error: IsocenterError) -> int:
    """PS3.18 Table I.2-2."""
    return _TRANSFER_SYNTAX if isinstance(error, UnsupportedTransferSyntax) else error.dimse_status


# --- the answer (10.5.3)


def _item(**attributes: tuple[str, Any]) -> dict[str, Any]:
    return {tag.removeprefix("t"): {"vr": vr, "Value": [value]} for tag, (vr, value) in sorted(attributes.items())}


def _reference(sop_class: str, sop_instance: str) -> dict[str, tuple[str, Any]]:
    return {"t00081150": ("UI", sop_class), "t00081155": ("UI", sop_instance)}


def payload(results: list[Result], base: str) -> dict[str, Any]:
    """The Store Instances Response module (PS3.18 Table I.1-1) as DICOM JSON."""
    stored, failed, others = [], [], []
    studies: set[str] = set()
    for result in results:
        if result.ref is not None:
            ref = result.ref
            studies.add(ref.study)
            fields = _reference(ref.sop_class, ref.instance) | {"t00081190": ("UR", f"{base}/{ref.resource}")}
            if result.kept_first:
                fields["t00081196"] = ("US", _COERCED)
            stored.append(_item(**fields))
            continue
        assert result.error is not None
        reason = ("US", failure_reason(result.error))
        if result.sop_class and result.sop_instance:
            failed.append(_item(**_reference(result.sop_class, result.sop_instance), t00081197=reason))
        else:
            others.append(_item(t00081197=reason))
    answer: dict[str, Any] = {}
    if len(studies) == 1 and (study := studies.pop()):
        answer["00081190"] = {"vr": "UR", "Value": [f"{base}/studies/{study}"]}
    for tag, items in (("00081198", failed), ("00081199", stored), ("0008119A", others)):
        if items:
            answer[tag] = {"vr": "SQ", "Value": items}
    return answer


def status_of(results: list[Result]) -> int:
    """200 all stored, 202 some or with warnings; none stored: what all the failures have in common, else 409."""
    statuses = {result.error.http_status for result in results if result.error is not None}
    if any(result.ref is not None for result in results):
        return 202 if statuses or any(result.kept_first for result in results) else 200
    return statuses.pop() if len(statuses) == 1 else 409


# --- the request (10.5.1, 10.5.2)


async def _limited(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The body as it arrives. Raises PayloadTooLarge beyond `limit` bytes; at once if the length is announced."""
    announced = request.headers.get("content-length", "")
    refusal = PayloadTooLarge(f"the body is over web.max_upload, {limit} bytes")
    if announced.isdecimal() and int(announced) > limit:
        raise refusal
    received = 0
    async for piece in request.stream():
        received += len(piece)
        if received > limit:
            raise refusal
        if piece:
            yield piece


def _form(request: Request) -> tuple[str, str | None]:
    """What the body is made of, and its boundary if it is multipart. Raises UnsupportedMediaType, BadRequest."""
    text = request.headers.get("content-type")
    if text is None:
        raise UnsupportedMediaType("the request has no Content-Type")
    media_type = parse_media_type(text)
    if media_type.name in (DICOM, *METADATA):
        return media_type.name, None
    kind = media_type.parameters.get("type", DICOM).lower()
    if media_type.name != "multipart/related" or kind not in (DICOM, *METADATA):
        raise UnsupportedMediaType(
            "a Store request is application/dicom, application/dicom+json or application/dicom+xml, in parts or alone"
        )
    if "boundary" not in media_type.parameters:
        raise BadRequest("the multipart Content-Type has no boundary")
    return kind, media_type.parameters["boundary"]


def _refusal(headers: dict[str, str]) -> IsocenterError | None:
    """Why a part is not taken, from its own header fields."""
    if headers.get("content-transfer-encoding", "binary").lower() not in ("binary", "8bit", "7bit"):
        return UnsupportedMediaType("a part has a Content-Transfer-Encoding")
    text = headers.get("content-type", DICOM)
    with suppress(BadRequest):
        if parse_media_type(text).name == DICOM:
            return None
    return UnsupportedMediaType("a part is not application/dicom")


async def _receive_parts(body: AsyncIterator[bytes], boundary: str, receiver: Receiver) -> None:
    parser = MultipartParser(boundary)
    async for piece in body:
        for event in parser.receive(piece):
            if isinstance(event, PartData):
                receiver.write(event.data)
            elif isinstance(event, PartStarted):
                receiver.begin(_refusal(dict(event.headers)))
            elif isinstance(event, PartEnded):
                await receiver.end()
    parser.close()


async def _receive_one(body: AsyncIterator[bytes], receiver: Receiver) -> None:
    receiver.begin()
    async for piece in body:
        receiver.write(memoryview(piece))
    await receiver.end()


async def _receive_metadata(
    body: AsyncIterator[bytes], boundary: str | None, kind: str, assembly: Assembly, receiver: Receiver
) -> None:
    """Metadata with their bulk data. Nothing is stored of a request that is cut off: which bulk data would have come
    nobody knows."""
    if boundary is None:
        assembly.begin({"content-type": kind})
        async for piece in body:
            assembly.write(memoryview(piece))
        await assembly.end()
    else:
        parser = MultipartParser(boundary)
        async for piece in body:
            for event in parser.receive(piece):
                if isinstance(event, PartData):
                    assembly.write(event.data)
                elif isinstance(event, PartStarted):
                    assembly.begin(event.headers)
                elif isinstance(event, PartEnded):
                    await assembly.end()
        parser.close()
    await assembly.store(receiver)


async def store(request: Request) -> Response:
    """`POST /studies`, `POST /studies/{study}`: with a study, objects of another are refused."""
    study = request.path_params.get("study", "")
    if study and not is_uid(study):
        raise BadRequest("the study in the path is not a UID")
    return await store_into(request, Target(study))


async def store_into(request: Request, target: Target) -> Response:
    """Store the objects of a request, as far as they belong to what its path says."""
    context = context_of(request)
    offer = require(accepted_ranges(request), STORED)
    base = base_url(request)
    kind, boundary = _form(request)
    if request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMediaType("a Store request must not have a Content-Encoding")
    peer = f"{request.client.host}:{request.client.port}" if request.client else ""
    receiver = Receiver(context, Origin("web", peer, shown(identity_of(request).name)), target)
    body = _limited(request, context.settings.web_max_upload)
    trouble: IsocenterError | None = None
    try:
        if kind != DICOM:
            with Assembly(context, base) as assembly:
                await _receive_metadata(body, boundary, kind, assembly, receiver)
        elif boundary is None:
            await _receive_one(body, receiver)
        else:
            await _receive_parts(body, boundary, receiver)
    except IsocenterError as error:
        # What came whole before is stored and must be answered for; what did not is one more failure.
        trouble = error
        receiver.cut(error)
    finally:
        await receiver.settle()
    results = receiver.results
    _count(request.app.state.metrics, results)
    if trouble is not None and all(result.ref is None for result in results):
        raise trouble
    if not results:
        raise BadRequest("the request has no parts")
    answer = payload(results, base)
    text = native_xml(answer) if offer.name == DICOM_XML else orjson.dumps(answer)
    response = Response(text, status_of(results), media_type=offer.name)
    if already := sum(result.already for result in results):
        response.headers["x-already-stored"] = str(already)
    if why := _in_words(results):
        response.headers["warning"] = f"299 {base}: {why}"
    return response


def _in_words(results: list[Result]) -> str:
    """What the Failure Reasons of the answer are about, which has no place for words; "" if nothing was refused."""
    failures = [result.error for result in results if result.error is not None]
    reasons = dict.fromkeys(str(error) for error in failures)
    told = "; ".join([*list(reasons)[:_REASONS], *(["and others"] if len(reasons) > _REASONS else [])])
    return f"{len(failures)} not stored: {told}".encode("ascii", "replace").decode() if failures else ""


def _count(metrics: Metrics, results: list[Result]) -> None:
    for result in results:
        metrics.stored.labels("refused" if result.error else "stored").inc()


def routes() -> Iterator[Route]:
    """Table 10.5.1-1."""
    yield Route(f"{DICOMWEB}/studies", store, methods=["POST"])
    yield Route(f"{DICOMWEB}/studies/{{study}}", store, methods=["POST"])
