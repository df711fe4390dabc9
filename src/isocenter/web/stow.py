"""Store transaction, STOW-RS (PS3.18 section 10.5): `application/dicom`, as parts or alone.

The body goes into the archive as it arrives: no part is ever held in memory. While one object is made durable the next
is being received, so that the archive can commit several together. Each instance succeeds or fails by itself.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isocenter.errors import (
    BadRequest,
    InstanceMismatch,
    IsocenterError,
    PayloadTooLarge,
    UnsupportedMediaType,
    UnsupportedTransferSyntax,
)
from isocenter.model import InstanceRef, Origin, is_uid
from isocenter.std.transfer_syntaxes import transfer_syntax
from isocenter.web.context import DICOMWEB, Context, base_url, context_of
from isocenter.web.errors import log_failure
from isocenter.web.metrics import Metrics
from isocenter.web.negotiate import DICOM, accepted_ranges, require
from isocenter.web.qido import JSON_OFFERS, STUDY_UID
from isocenter.wire.mediatypes import parse_media_type
from isocenter.wire.multipart import MultipartParser, PartData, PartEnded, PartStarted
from isocenter.wire.part10 import read_header, text_of
from isocenter.wire.scan import scan

if TYPE_CHECKING:
    from isocenter.archive.ingest import Incoming

MAX_PARTS = 100_000
COMMITS = 32  # objects of one request that may wait for the disk at a time
_HEAD = 4096  # file meta information is shorter, and names the object a failure is about
_STUDY_HEAD = 1024 * 1024  # where a request names a study, this much is looked through for the object's own

_COERCED = 0xB000  # PS3.4 B.2.3, as over DIMSE
_TRANSFER_SYNTAX = 0xC122  # PS3.18 Table I.2-2: referenced transfer syntax not supported


@dataclass(slots=True)
class Result:
    """What became of one part: exactly one of `ref` and `error` is set in the end."""

    sop_class: str = ""
    sop_instance: str = ""
    ref: InstanceRef | None = None
    kept_first: bool = False
    error: IsocenterError | None = None


def failure_reason(error: IsocenterError) -> int:
    """PS3.18 Table I.2-2."""
    return _TRANSFER_SYNTAX if isinstance(error, UnsupportedTransferSyntax) else error.dimse_status


def study_of(head: bytes) -> str | None:
    """Study Instance UID of the object that begins with `head`, a Part 10 file or data set; None if it is not in it."""
    try:
        meta = read_header(head)
        syntax = transfer_syntax(meta.transfer_syntax)
        data, start = head, meta.data_set_offset
        if syntax.deflated:
            data, start = zlib.decompressobj(-zlib.MAX_WBITS).decompress(head[start:], _STUDY_HEAD), 0
        found = scan(
            data,
            little=syntax.little,
            explicit=syntax.explicit,
            start=start,
            wanted=frozenset({STUDY_UID}),
            stop=STUDY_UID + 1,
            whole=False,
        )
    except (IsocenterError, zlib.error):
        return None
    element = found.elements.get(STUDY_UID)
    return None if element is None else text_of(data[element.offset : element.offset + element.length])


class _Part:
    """One object being received. After a failure the rest of it is thrown away."""

    def __init__(self, incoming: Incoming | None, result: Result, study: str | None) -> None:
        self.result = result
        self._incoming = incoming
        self._study = study
        self._head = bytearray()
        self._kept = _HEAD if study is None else _STUDY_HEAD
        self._size = 0

    def write(self, data: memoryview) -> None:
        self._size += len(data)
        if len(self._head) < self._kept:
            self._head += data[: self._kept - len(self._head)]
        if self._incoming is None:
            return
        try:
            self._incoming.write([data])
        except IsocenterError as error:
            self._fail(error)

    def _fail(self, error: IsocenterError) -> None:
        self.result.error = error
        if self._incoming is not None:
            self._incoming.abandon()
            self._incoming = None

    def cut(self, error: IsocenterError) -> None:
        """The rest will not come."""
        self._name()
        if self.result.error is None:
            self._fail(error)

    def _name(self) -> None:
        """Name the object in the result as far as its header does."""
        with suppress(IsocenterError):  # what is no header names no object
            meta = read_header(bytes(self._head[:_HEAD]))
            self.result.sop_class = meta.sop_class if is_uid(meta.sop_class) else ""
            self.result.sop_instance = meta.sop_instance if is_uid(meta.sop_instance) else ""

    def finish(self) -> Incoming | None:
        """Ready to be committed; None if it has failed already, or belongs to another study than the request."""
        self._name()
        if self._study is not None and self._incoming is not None:
            study = study_of(bytes(self._head))
            # A whole object without a study is the archive's to refuse; it knows better why.
            if study != self._study and (study is not None or self._size > len(self._head)):
                self._fail(InstanceMismatch("the object is not of the study in the path", tag_path="(0020,000D)"))
        return self._incoming


class Receiver:
    """One Store request: parts in, results out, in the order of the parts."""

    def __init__(self, context: Context, origin: Origin, study: str | None) -> None:
        self.results: list[Result] = []
        self._origin = origin
        self._archive = context.archive
        self._study = study
        self._part: _Part | None = None
        self._slots = asyncio.Semaphore(COMMITS)
        self._commits: set[asyncio.Task[None]] = set()
        self._named: dict[str, asyncio.Task[None]] = {}

    def begin(self, refusal: IsocenterError | None = None) -> None:
        if len(self.results) >= MAX_PARTS:
            raise PayloadTooLarge(f"more than {MAX_PARTS} parts in one request")
        result = Result(error=refusal)
        self.results.append(result)
        incoming = None
        if refusal is None:
            try:
                incoming = self._archive.begin(self._origin)
            except IsocenterError as error:
                result.error = error
        self._part = _Part(incoming, result, self._study)

    def write(self, data: memoryview) -> None:
        assert self._part is not None
        self._part.write(data)

    async def end(self) -> None:
        assert self._part is not None
        part, self._part = self._part, None
        incoming = part.finish()
        if incoming is None:
            return
        await self._slots.acquire()
        uid = part.result.sop_instance
        if uid in self._named and not self._named[uid].done():
            await asyncio.wait([self._named[uid]])  # of two with one UID the first is the first
        task = asyncio.create_task(self._commit(incoming, part.result))
        self._commits.add(task)
        self._named[uid] = task
        task.add_done_callback(self._commits.discard)

    async def _commit(self, incoming: Incoming, result: Result) -> None:
        try:
            outcome = await incoming.commit()
            result.ref = outcome.ref
            result.kept_first = outcome.kind == "kept-first"
        except IsocenterError as error:
            result.error = error
        except Exception as error:  # noqa: BLE001  # one object's failure must not take the others' answers away
            log_failure(error, "storing an instance")
            result.error = IsocenterError("the instance could not be stored")
        finally:
            self._slots.release()

    def cut(self, error: IsocenterError) -> None:
        """The body ended, or became unreadable, within a part or between two."""
        if self._part is None:
            self.results.append(Result(error=error))
        else:
            self._part.cut(error)
            self._part = None

    async def settle(self) -> None:
        """Abandon what is unfinished and wait for what is being committed."""
        if self._part is not None:
            self._part.cut(IsocenterError("the request was broken off"))
            self._part = None
        if self._commits:
            await asyncio.wait(self._commits)


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
            url = f"{base}/studies/{ref.study}/series/{ref.series}/instances/{ref.instance}"
            fields = _reference(ref.sop_class, ref.instance) | {"t00081190": ("UR", url)}
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
    if len(studies) == 1:
        answer["00081190"] = {"vr": "UR", "Value": [f"{base}/studies/{studies.pop()}"]}
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


def _boundary(request: Request) -> str | None:
    """The boundary of a multipart body, None if the body is one object. Raises UnsupportedMediaType for any other."""
    text = request.headers.get("content-type")
    if text is None:
        raise UnsupportedMediaType("the request has no Content-Type")
    media_type = parse_media_type(text)
    if media_type.name == DICOM:
        return None
    if media_type.name != "multipart/related":
        raise UnsupportedMediaType(
            'a Store request is multipart/related; type="application/dicom", or application/dicom'
        )
    kind = media_type.parameters.get("type", DICOM).lower()
    if kind != DICOM:
        raise UnsupportedMediaType("only parts of type application/dicom can be stored")
    if "boundary" not in media_type.parameters:
        raise BadRequest("the multipart Content-Type has no boundary")
    return media_type.parameters["boundary"]


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


async def store(request: Request) -> Response:
    """`POST /studies`, `POST /studies/{study}`: with a study, objects of another are refused."""
    context = context_of(request)
    offer = require(accepted_ranges(request), JSON_OFFERS)
    base = base_url(request)
    study = request.path_params.get("study")
    if study is not None and not is_uid(study):
        raise BadRequest("the study in the path is not a UID")
    boundary = _boundary(request)
    if request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMediaType("a Store request must not have a Content-Encoding")
    peer = f"{request.client.host}:{request.client.port}" if request.client else ""
    receiver = Receiver(context, Origin("web", peer), study)
    body = _limited(request, context.settings.web_max_upload)
    trouble: IsocenterError | None = None
    try:
        if boundary is None:
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
    return Response(orjson.dumps(payload(results, base)), status_of(results), media_type=offer.name)


def _count(metrics: Metrics, results: list[Result]) -> None:
    for result in results:
        metrics.stored.labels("refused" if result.error else "stored").inc()


def routes() -> Iterator[Route]:
    """Table 10.5.1-1."""
    yield Route(f"{DICOMWEB}/studies", store, methods=["POST"])
    yield Route(f"{DICOMWEB}/studies/{{study}}", store, methods=["POST"])
