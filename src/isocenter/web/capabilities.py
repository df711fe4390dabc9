"""Retrieve Capabilities (PS3.18 section 8.9, Annex H) as WADL, and the same as an OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from typing import Any
from xml.sax.saxutils import quoteattr

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isocenter.web.context import DICOMWEB, base_url
from isocenter.web.datasets import answer_json
from isocenter.web.negotiate import JSON, Offer, accepted_ranges, require
from isocenter.web.resources import KINDS, RESOURCE_TABLE, WADL, Resource

_UID = {"type": "string", "maxLength": 64, "pattern": r"^(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*$", "example": "1.2.840.1"}
_BOOLEAN = {"type": "string", "enum": ["true", "false"]}
_COUNT = {"type": "integer", "minimum": 0}
_TEXT = {"type": "string"}
_NUMBER = {"type": "number"}
_SIDE = {"type": "integer", "minimum": 1, "maximum": 16384}
_SCHEMAS: dict[str, dict[str, Any]] = {
    "study": _UID,
    "series": _UID,
    "instance": _UID,
    "uid": _UID,
    **dict.fromkeys(("workitem", "transaction", "transaction-uid", "mpps"), _UID),
    "aetitle": {"type": "string", "maxLength": 16, "pattern": "^[A-Z0-9_]+$", "example": "WATCHER"},
    "step": {"type": "string", "maxLength": 16, "pattern": "^[A-Z0-9]+$", "example": "S1"},
    "npi": {"type": "string", "enum": list(KINDS)},
    "frames": {"type": "string", "pattern": "^[1-9][0-9]{0,6}(,[1-9][0-9]{0,6})*$", "example": "1,2"},
    "path": {"type": "string", "pattern": "^[0-9A-F]{8}(/[1-9][0-9]{0,5}/[0-9A-F]{8})*$", "example": "7FE00010"},
    "limit": _COUNT,
    "offset": _COUNT,
    "since": _COUNT,
    **dict.fromkeys(
        ("fuzzymatching", "emptyvaluematching", "multiplevaluematching", "force", "deletionlock"), _BOOLEAN
    ),
    "window": {"type": "string", "example": "40,400,linear"},
    "viewport": {"type": "string", "example": "512,512"},
    "quality": {"type": "integer", "minimum": 1, "maximum": 100},
    "imageQuality": {"type": "integer", "minimum": 1, "maximum": 100},
    "annotation": {"type": "string", "enum": ["patient", "technique", "patient,technique"]},
    "iccprofile": {"type": "string", "enum": ["no", "yes", "srgb", "adobergb"]},
    "requestType": {"type": "string", "enum": ["WADO"]},
    **dict.fromkeys(("studyUID", "seriesUID", "objectUID", "presentationSeriesUID", "presentationUID"), _UID),
    **dict.fromkeys(("rows", "columns"), _SIDE),
    **dict.fromkeys(("windowCenter", "windowWidth"), _NUMBER),
    "frameNumber": {"type": "integer", "minimum": 1},
    "region": {"type": "string", "example": "0,0,0.5,0.5"},
}
_REQUIRED = frozenset({"requestType", "studyUID", "seriesUID", "objectUID"})
_VARIABLE = re.compile(r"\{(\w+)\}")
# Attributes to match by; any other keyword or tag that is kept may be one, too (PS3.18 section 8.3.4.1).
_MATCHED = ("PatientID", "PatientName", "StudyDate", "StudyInstanceUID", "ModalitiesInStudy", "AccessionNumber")
_FAILURE = {
    "description": "Refused; the body says why.",
    "content": {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}},
}


def _parameters(resource: Resource) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": _SCHEMAS[name]}
        for name in _VARIABLE.findall(resource.path)
    ]
    names = (*resource.query, *(_MATCHED if "limit" in resource.query and "since" not in resource.query else ()))
    found += [
        {"name": name, "in": "query", "required": name in _REQUIRED, "schema": _SCHEMAS.get(name, _TEXT)}
        for name in names
    ]
    return found


def _operation(resource: Resource) -> dict[str, Any]:
    summary = f"{resource.what}{f' (PS3.18 section {resource.section})' if resource.section else ''}"
    done = {"description": "Done.", "content": {name: {} for name in resource.answers}}
    operation: dict[str, Any] = {
        "operationId": resource.name,
        "summary": summary,
        "parameters": _parameters(resource),
        "responses": {"204" if resource.method == "DELETE" else "200": done, "default": _FAILURE},
    }
    if resource.takes:
        body = {"schema": {"type": "string", "format": "binary"}}
        names = (name.partition(";")[0] for name in resource.takes)
        operation["requestBody"] = {"required": True, "content": dict.fromkeys(names, body)}
    return operation


def openapi(base: str) -> dict[str, Any]:
    """The OpenAPI document of a service whose base URI is `base`."""
    paths: dict[str, dict[str, Any]] = {}
    for resource in RESOURCE_TABLE:
        if resource.path:
            paths.setdefault(resource.path, {})[resource.method.lower()] = _operation(resource)
    error = {"code": _TEXT, "message": _TEXT, "hint": _TEXT, "status": {"type": "integer"}}
    return {
        "openapi": "3.0.3",
        "info": {"title": "Isocenter: DICOMweb", "version": version("isocenter")},
        "servers": [{"url": base}],
        "paths": paths,
        "components": {
            "schemas": {
                "Error": {
                    "type": "object",
                    "properties": {"error": {"type": "object", "properties": error, "required": list(error)}},
                    "required": ["error"],
                }
            }
        },
    }


def wadl(base: str) -> bytes:
    """The Capabilities Description (Annex H): resources within resources, with their methods."""
    tree: dict[str, Any] = {}
    for resource in RESOURCE_TABLE:
        at = tree
        for step in filter(None, resource.path.split("/")):
            at = at.setdefault(step, {})
        at.setdefault("", []).append(resource)
    parts = ['<?xml version="1.0" encoding="UTF-8"?>\n<application xmlns="http://wadl.dev.java.net/2009/02">']
    parts.append(f"<resources base={quoteattr(base)}>")
    _resources(tree, parts)
    parts.append("</resources></application>\n")
    return "".join(parts).encode()


def _resources(tree: dict[str, Any], parts: list[str]) -> None:
    for step, below in tree.items():
        if not step:
            parts += map(_method, (one for one in below if one.path not in ("", "/")))
            continue
        parts.append(f"<resource path={quoteattr(step)}>")
        if step.startswith("{"):
            parts.append(f'<param name={quoteattr(step.strip("{}"))} style="template" required="true"/>')
        _resources(below, parts)
        parts.append("</resource>")


def _method(resource: Resource) -> str:
    query = "".join(f'<param name={quoteattr(name)} style="query"/>' for name in resource.query)
    taken = "".join(f"<representation mediaType={quoteattr(name)}/>" for name in resource.takes)
    accepted = "".join(f"<option value={quoteattr(name)}/>" for name in resource.answers)
    given = "".join(f"<representation mediaType={quoteattr(name)}/>" for name in resource.answers)
    accept = f'<param name="Accept" style="header">{accepted}</param>' if accepted else ""
    return (
        f"<method name={quoteattr(resource.method)} id={quoteattr(resource.name)}>"
        f"<request>{accept}{query}{taken}</request><response>{given}</response></method>"
    )


@cache
def _allowed() -> str:
    return ", ".join(sorted({resource.method for resource in RESOURCE_TABLE}))


async def capabilities(request: Request) -> Response:
    """`OPTIONS /`: the description as WADL, or as OpenAPI for who takes JSON."""
    offer = require(accepted_ranges(request), (Offer(WADL), Offer(JSON)))
    base = base_url(request)
    text = wadl(base) if offer.name == WADL else orjson.dumps(openapi(base))
    return Response(text, headers={"allow": _allowed()}, media_type=offer.name)


async def describe(request: Request) -> Response:
    """`GET /openapi.json`."""
    require(accepted_ranges(request), (Offer(JSON),))
    return await answer_json(request, orjson.dumps(openapi(base_url(request))), JSON)


def routes() -> Iterator[Route]:
    """Section 8.9."""
    for path in (DICOMWEB, f"{DICOMWEB}/"):
        yield Route(path, capabilities, methods=["OPTIONS"])
    yield Route(f"{DICOMWEB}/openapi.json", describe, methods=["GET"])
