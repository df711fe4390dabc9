"""What the services about work have in common (PS3.18 sections 11 and 13 to 15): a data set in, data sets out.

A data set that comes is written as bytes and read again, so that each value was looked at and has the one form in which
it is kept, found and given out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from isocenter.errors import BadRequest, PayloadTooLarge, UnsupportedMediaType
from isocenter.index.work import Kind, Step, StepQuery
from isocenter.model import Level
from isocenter.names import ae_title, is_uid
from isocenter.net.identity import shown
from isocenter.std.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from isocenter.web.context import base_url, context_of
from isocenter.web.datasets import DICOM_XML, MANY, answer_models
from isocenter.web.identity import identity_of
from isocenter.web.negotiate import DICOM_JSON, JSON, accepted_ranges, require
from isocenter.web.query import Search, parse_search
from isocenter.wire.dicomjson import Model, dataset_json, read_models
from isocenter.wire.dicomxml import read_native_xml
from isocenter.wire.encode import encode_dataset
from isocenter.wire.limits import Limits
from isocenter.wire.mediatypes import MediaType, parse_media_type
from isocenter.wire.multipart import MultipartParser, PartData, PartStarted

_FORMS = (DICOM_JSON, JSON, DICOM_XML)
_TRANSACTION = 0x00081195
_BATCH = 1000


async def data_set(request: Request, *, required: bool = True) -> Model:
    """The one data set that a request brings, as JSON or XML, alone or as the only part; {} without any.

    Raises UnsupportedMediaType, PayloadTooLarge, BadRequest, DataSetError with the tag path for what is none.
    """
    context = context_of(request)
    if request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMediaType("the request must not have a Content-Encoding")
    text = bytearray()
    async for piece in request.stream():
        text += piece
        if len(text) > context.limits.header_bytes:
            raise PayloadTooLarge(f"the body is over limits.header_bytes, {context.limits.header_bytes}")
    if not text:
        if required:
            raise BadRequest("the request has no data set")
        return {}
    media_type = parse_media_type(request.headers.get("content-type", ""))
    return await anyio.to_thread.run_sync(_read, bytes(text), media_type, context.limits)


def _read(text: bytes, media_type: MediaType, limits: Limits) -> Model:
    name = media_type.name
    if name == "multipart/related":
        name, text = _only_part(text, media_type.parameters)
    if name not in _FORMS:
        raise UnsupportedMediaType("a data set comes as application/dicom+json or application/dicom+xml")
    models = [read_native_xml(text, limits)] if name == DICOM_XML else read_models(text, limits)
    if len(models) != 1:
        raise BadRequest(f"one data set is needed, not {len(models)}")
    data = encode_dataset(models[0], limits=limits)
    return dataset_json(data, EXPLICIT_VR_LITTLE_ENDIAN, exclude_bulk=False, limits=limits)


def _only_part(text: bytes, parameters: Mapping[str, str]) -> tuple[str, bytes]:
    if "boundary" not in parameters:
        raise BadRequest("the multipart Content-Type has no boundary")
    parser = MultipartParser(parameters["boundary"])
    names: list[str] = []
    body = bytearray()
    for event in parser.receive(text):
        if isinstance(event, PartStarted):
            names.append(parse_media_type(dict(event.headers).get("content-type", DICOM_JSON)).name)
        elif isinstance(event, PartData):
            body += event.data
    parser.close()
    if len(names) != 1:
        raise BadRequest(f"one part is needed, not {len(names)}")
    return names[0], bytes(body)


def who(request: Request) -> str:
    """Who asks, for the audit trail."""
    return shown(identity_of(request).name)


def path_uid(request: Request, name: str) -> str:
    """A UID of the path. Raises BadRequest."""
    uid = request.path_params[name]
    if not is_uid(uid):
        raise BadRequest(f"the {name} in the path is not a UID")
    return str(uid)


def path_aet(path: Mapping[str, Any]) -> str:
    """The AE title of a path. Raises BadRequest."""
    with suppress(ValueError):
        return ae_title(path["aetitle"])
    raise BadRequest("the aetitle in the path is no AE title")


def warn(response: Response, request: Request, text: str) -> Response:
    """With a Warning header as PS3.18 writes them."""
    response.headers.append("warning", f"299 {base_url(request)}: {text}")
    return response


class _Searchable:
    """The attributes that steps are searched by: whatever is in them, but for the lock (Table CC.2.5-3)."""

    def __contains__(self, tag: object) -> bool:
        return tag != _TRANSACTION


SEARCHABLE = _Searchable()


def parse(request: Request, parameters: Sequence[tuple[str, str]]) -> Search:
    """Parameters of a search for steps. Raises BadRequest."""
    return parse_search(Level.IMAGE, parameters, context_of(request).settings, known=SEARCHABLE)


async def search(request: Request, kind: Kind, usual: frozenset[int] | None) -> Response:
    """The answer to a search for steps: of each the `usual` attributes and what was asked for (PS3.18 section 8.3.4),
    or, where none are usual, all.

    As for instances: one more than wanted shows whether there are others.
    """
    offer = require(accepted_ranges(request), MANY)
    work = context_of(request).archive.work
    asked = parse(request, request.query_params.multi_items())
    query = StepQuery(kind, asked.query.matches, asked.limit + 1, asked.query.offset, asked.query.fuzzy)
    found = await work.find(query)
    total = query.offset + len(found)
    if len(found) > asked.limit or (not found and query.offset):
        del found[asked.limit :]
        total = await work.count(replace(query, limit=None, offset=0))
    keys = None if usual is None or asked.all_fields else sorted(f"{tag:08X}" for tag in usual | asked.returned)
    batches = [partial(_projected, found[at : at + _BATCH], keys) for at in range(0, len(found) or 1, _BATCH)]
    response = await answer_models(request, batches, offer)
    response.headers["x-total-count"] = str(total)
    for warning in asked.warnings:
        warn(response, request, warning)
    remaining = total - query.offset - len(found)
    if remaining > 0:
        warn(response, request, f"There are {remaining} additional results that can be requested")
    return response


def _projected(found: Sequence[Step], keys: list[str] | None) -> list[Mapping[str, Any]]:
    return [
        step.attributes if keys is None else {key: step.attributes[key] for key in keys if key in step.attributes}
        for step in found
    ]
