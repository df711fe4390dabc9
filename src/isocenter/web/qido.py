"""Search transaction, QIDO-RS (PS3.18 section 10.6)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isocenter.errors import BadRequest
from isocenter.index.keys import DEFAULT, MODALITIES_IN_STUDY, SOP_CLASS
from isocenter.model import Equal, Found, Level, Match
from isocenter.names import is_uid
from isocenter.std.dictionary import vr_of
from isocenter.std.non_patient import RESOURCE_OF
from isocenter.web.context import DICOMWEB, base_url, context_of
from isocenter.web.datasets import MANY, answer_models
from isocenter.web.negotiate import JSON, accepted_ranges, require
from isocenter.web.query import Search, parse_search

STUDY_UID, SERIES_UID, INSTANCE_UID = 0x0020000D, 0x0020000E, 0x00080018
RETRIEVE_URL, AVAILABILITY = 0x00081190, 0x00080056

# Of the default attributes of Tables 10.6.3-3 to 10.6.3-5 those that are answered only if they have a value. The others
# are answered without one, too.
_IF_KNOWN = frozenset(
    {
        *(0x00080201, 0x0008103E, 0x00081030, 0x00083002, 0x00100021, 0x00280008, 0x00280010, 0x00280011, 0x00280100),
        *(0x00400244, 0x00400245, 0x00400275),
    }
)

# Never answered without a value, which a study has if one of its objects has a Modality, as all should: OHIF (3.13.2)
# does not ask whether there is a value, and shows no list at all where there is none.
_MODALITIES = f"{MODALITIES_IN_STUDY:08X}"

_UIDS = {Level.STUDY: STUDY_UID, Level.SERIES: SERIES_UID, Level.IMAGE: INSTANCE_UID}

_BATCH = 1000


def _key(tag: int) -> str:
    return f"{tag:08X}"


class Projection:
    """Picks an answer's attributes, ordered by tag (PS3.18 F.2.2), and adds its Retrieve URL."""

    def __init__(self, levels: Iterable[Level], search: Search, base: str) -> None:
        levels = tuple(levels)
        wanted = {tag for level in levels for tag in DEFAULT[level]} | search.returned | {RETRIEVE_URL}
        if not search.query.sop_classes:
            # An answer alone should say what it belongs to, though the path said so.
            wanted |= {uid for level, uid in _UIDS.items() if level <= search.query.level}
        required = wanted - (_IF_KNOWN - search.returned) - {MODALITIES_IN_STUDY}
        self._absent: dict[str, dict[str, Any]] = {_key(tag): {"vr": vr_of(tag)} for tag in required}
        self._wanted = None if search.all_fields else [_key(tag) for tag in sorted(wanted)]
        self._base = base

    def _url(self, found: Found) -> str:
        if not found.study:
            (sop_class,) = found.attributes[_key(SOP_CLASS)]["Value"]
            return f"{self._base}/{RESOURCE_OF[sop_class]}/{found.instance}"
        url = f"{self._base}/studies/{found.study}"
        if found.series is not None:
            url += f"/series/{found.series}"
        if found.instance is not None:
            url += f"/instances/{found.instance}"
        return url

    def __call__(self, found: Found) -> Mapping[str, Any]:
        own = {"00081190": {"vr": "UR", "Value": [self._url(found)]}, "00080056": {"vr": "CS", "Value": ["ONLINE"]}}
        known = found.attributes
        if "Value" not in known.get(_MODALITIES, own["00080056"]):
            known = {key: value for key, value in known.items() if key != _MODALITIES}
        if self._wanted is None:
            return dict(sorted({**self._absent, **known, **own}.items()))
        absent = self._absent
        answer: dict[str, Any] = {}
        for key in self._wanted:
            value = own.get(key) or known.get(key) or absent.get(key)
            if value is not None:
                answer[key] = value
        return answer


def _levels(level: Level, within: Sequence[Match]) -> tuple[Level, ...]:
    """Levels whose attributes are answered: those the path does not already fix (10.6.3.3.2, 10.6.3.3.3)."""
    fixed = {match.tag for match in within}
    levels = [level]
    if level is Level.IMAGE and SERIES_UID not in fixed:
        levels.append(Level.SERIES)
    if level > Level.STUDY and STUDY_UID not in fixed:
        levels.append(Level.STUDY)
    return tuple(levels)


def _within(request: Request) -> tuple[Match, ...]:
    matches = []
    for name, tag in (("study", STUDY_UID), ("series", SERIES_UID)):
        uid = request.path_params.get(name)
        if uid is not None:
            if not is_uid(uid):
                raise BadRequest(f"the {name} in the path is not a UID")
            matches.append(Equal(tag, (uid,)))
    return tuple(matches)


async def search(request: Request, level: Level, sop_classes: tuple[str, ...] = ()) -> Response:
    """The answer to a search at `level`, or for non-patient instances of some classes."""
    offer = require(accepted_ranges(request), MANY)
    context = context_of(request)
    base = base_url(request)
    within = _within(request)
    asked = parse_search(level, request.query_params.multi_items(), context.settings, within, sop_classes)
    warnings = list(asked.warnings)
    # One more than wanted shows whether there are others; to count them costs as much as to find them.
    found = await context.archive.find(replace(asked.query, limit=asked.limit + 1))
    total = asked.query.offset + len(found)
    if len(found) > asked.limit or (not found and asked.query.offset):
        del found[asked.limit :]
        total = await context.archive.count(asked.query)
    remaining = total - asked.query.offset - len(found)
    if remaining > 0:
        warnings.append(f"There are {remaining} additional results that can be requested")
    # PS3.18 Table 10.6.3-1 asked for 204 when nothing matched until CP-2473; since then it is 200 and an empty list,
    # as PS3.18 had it first. dicomweb-client and OHIF take both, but a list is what a client can always parse.
    projection = Projection(() if sop_classes else _levels(level, within), asked, base)
    batches = [partial(_projected, found[at : at + _BATCH], projection) for at in range(0, len(found) or 1, _BATCH)]
    response = await answer_models(request, batches, offer)
    response.headers["x-total-count"] = str(total)
    for warning in warnings:
        response.headers.append("warning", f"299 {base}: {warning}")
    return response


def _projected(found: Sequence[Found], projection: Projection) -> list[Mapping[str, Any]]:
    return [projection(one) for one in found]


async def search_studies(request: Request) -> Response:
    """`/studies`: 10.6.1.1 All Studies."""
    return await search(request, Level.STUDY)


async def search_series(request: Request) -> Response:
    """`/series`, `/studies/{study}/series`."""
    return await search(request, Level.SERIES)


async def search_instances(request: Request) -> Response:
    """`/instances`, `/studies/{study}/instances`, `/studies/{study}/series/{series}/instances`."""
    return await search(request, Level.IMAGE)


async def tally(request: Request) -> Response:
    """`/tally`: how many of the studies that a search of `/studies` finds have each modality; not of the standard."""
    context = context_of(request)
    asked = parse_search(Level.STUDY, request.query_params.multi_items(), context.settings)
    found = await context.archive.tally(asked.query)
    body = orjson.dumps({"modalities": dict(sorted(found.items()))})
    return Response(body, 200, {"cache-control": "no-store"}, media_type=JSON)


def routes() -> Iterator[Route]:
    """Table 10.6.1-1, and our own."""
    yield Route(f"{DICOMWEB}/studies", search_studies, methods=["GET"])
    yield Route(f"{DICOMWEB}/series", search_series, methods=["GET"])
    yield Route(f"{DICOMWEB}/instances", search_instances, methods=["GET"])
    yield Route(f"{DICOMWEB}/tally", tally, methods=["GET"])
    yield Route(f"{DICOMWEB}/studies/{{study}}/series", search_series, methods=["GET"])
    yield Route(f"{DICOMWEB}/studies/{{study}}/instances", search_instances, methods=["GET"])
    yield Route(f"{DICOMWEB}/studies/{{study}}/series/{{series}}/instances", search_instances, methods=["GET"])
