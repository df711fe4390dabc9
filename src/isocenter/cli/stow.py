"""STOW-RS as a client (PS3.18 section 10.5): sources to a DICOMweb service, several in each request.

Bodies are sent as they are read, with a length known beforehand, because not every server takes chunked requests.
"""

from __future__ import annotations

import http.client
import json
import secrets
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

from isocenter.archive.walk import Candidate, require_dicom
from isocenter.cli.output import Bar
from isocenter.cli.summary import Summary
from isocenter.errors import DataSetError, IsocenterError, NetworkError
from isocenter.net.web_client import Service, items_of, value_of, warning_text
from isocenter.std.statuses import STORAGE, meaning_of
from isocenter.std.transfer_syntaxes import transfer_syntax
from isocenter.wire.part10 import read_header, text_of
from isocenter.wire.scan import scan

_MOST_OBJECTS = 50
_MOST_BYTES = 64 << 20
_HEAD = 65536  # of a file, to look for its UIDs
_FAILED, _REFERENCED, _REASON, _INSTANCE, _WARNING = "00081198", "00081199", "00081197", "00081155", "00081196"
_SOP_INSTANCE = 0x00080018
_REASONS = {
    0x0110: "processing failure",
    0x0111: "an instance with this UID and other bytes is stored",
    0x0122: "SOP Class not supported",
    0xA700: "out of resources",
    0xA900: "data set does not match SOP Class",
    0xC000: "the data set cannot be understood",
    0xC001: "a UID is missing or malformed",
    0xC122: "transfer syntax not supported",
}


class Refused(IsocenterError):
    """The server did not store an object, or refused the request; the message is its reason."""

    code = "refused-by-server"


@dataclass(frozen=True, slots=True)
class _Part:
    candidate: Candidate
    chunks: Generator[bytes]
    head: bytes
    instances: frozenset[str]  # the UIDs a server may call it by: the file meta information's and the data set's


def send(found: Iterator[Candidate], service: Service, jobs: int, summary: Summary, bar: Bar) -> None:
    """Store all sources; what is refused is in the summary. ConnectFailed and NetworkError end it."""
    service.take_back(service.connection())  # so that a wrong address is told before anything is read
    with closing(service), ThreadPoolExecutor(jobs, "isocenter-stow") as threads:
        running: set[Future[None]] = set()
        try:
            for batch in _batches(found):
                running.add(threads.submit(_send, service, batch, summary, bar))
                if len(running) >= jobs:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for one in done:
                        one.result()
            for one in running:
                one.result()
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise


def _batches(found: Iterator[Candidate]) -> Iterator[list[Candidate]]:
    batch: list[Candidate] = []
    size = 0
    for candidate in found:
        if batch and (len(batch) >= _MOST_OBJECTS or size + candidate.size > _MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(candidate)
        size += candidate.size
    if batch:
        yield batch


def _send(service: Service, batch: list[Candidate], summary: Summary, bar: Bar) -> None:
    parts: list[_Part] = []
    try:
        for candidate in batch:
            try:
                chunks = candidate.chunks()
                head = next(chunks, b"")
                require_dicom(head)
            except IsocenterError as error:
                summary.refuse(candidate, error)
            else:
                parts.append(_Part(candidate, chunks, head, _instances(head[:_HEAD])))
        for together in _apart(parts):
            _request(service, together, summary)
    finally:
        for part in parts:
            part.chunks.close()
    bar.advance(len(batch))


def _apart(parts: list[_Part]) -> list[list[_Part]]:
    """The parts in as many requests as it takes that no UID comes twice in one: the answer goes by UID."""
    requests: list[tuple[set[str], list[_Part]]] = []
    for part in parts:
        free = next((one for one in requests if not one[0] & part.instances), None)
        if free is None:
            free = (set(), [])
            requests.append(free)
        free[0].update(part.instances)
        free[1].append(part)
    return [together for _, together in requests]


def _instances(head: bytes) -> frozenset[str]:
    found = set()
    with suppress(DataSetError):  # what the head does not tell, the server will not either
        meta = read_header(head)
        found.add(meta.sop_instance)
        syntax = transfer_syntax(meta.transfer_syntax)
        if not syntax.deflated:
            scanned = scan(
                head,
                little=syntax.little,
                explicit=syntax.explicit,
                start=meta.data_set_offset,
                wanted=frozenset((_SOP_INSTANCE,)),
                stop=_SOP_INSTANCE + 1,
                whole=False,
            )
            for element in scanned.elements.values():
                found.add(text_of(head[element.offset : element.offset + element.length]))
    return frozenset(found) - {""}


def _request(service: Service, parts: list[_Part], summary: Summary) -> None:
    boundary = f"isocenter-{secrets.token_hex(16)}"
    opening = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    ending = f"--{boundary}--\r\n".encode()
    length = sum(len(opening) + part.candidate.size + 2 for part in parts) + len(ending)
    headers = {
        "Accept": "application/dicom+json",
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
        "Content-Length": str(length),
    }
    with service.asked("POST", "/studies", body=_body(parts, opening, ending), headers=headers) as answer:
        content = answer.read(_MOST_BYTES)
        for field in answer.headers.get_all("Warning", []):
            summary.say(warning_text(field))
    _account(parts, answer.status, content, summary)


def _body(parts: list[_Part], opening: bytes, ending: bytes) -> Iterator[bytes]:
    for part in parts:
        yield opening
        left = part.candidate.size
        chunk = part.head
        while chunk and left >= len(chunk):
            left -= len(chunk)
            yield chunk
            chunk = next(part.chunks, b"")
        if left or chunk:
            raise OSError(f"{part.candidate.label} changed while it was sent")
        yield b"\r\n"
    yield ending


def _account(parts: list[_Part], status: int, content: bytes, summary: Summary) -> None:
    """Read the Store Instances Response (PS3.18 section 10.5.3, Annex I)."""
    try:
        answer = json.loads(content)
    except ValueError:
        answer = None
    if status in (401, 403, 404, 405, 502, 503, 504):
        raise NetworkError(f"the server answers {status} {http.client.responses.get(status, '')}{_said(answer)}")
    body = answer[0] if isinstance(answer, list) and answer else answer
    told = isinstance(body, dict) and (_FAILED in body or _REFERENCED in body)
    stored = {str(value_of(item, _INSTANCE)): item for item in items_of(body, _REFERENCED)}
    failed = {str(value_of(item, _INSTANCE)): value_of(item, _REASON) for item in items_of(body, _FAILED)}
    for part in parts:
        known = part.instances & stored.keys()
        if known or (status < 300 and not told):
            summary.took("stored", part.candidate.size)
            warnings = [value_of(stored[uid], _WARNING) for uid in known if _WARNING in stored[uid]]
            if warnings:
                summary.warn(part.candidate, _warning(warnings[0]))
            continue
        reasons = [failed[uid] for uid in part.instances & failed.keys()]
        if reasons and isinstance(reasons[0], int):
            reason = f"{_REASONS.get(reasons[0], 'not stored')} ({reasons[0]:04X})"
        elif told:
            reason = "the server does not name it among the stored"
        else:
            reason = f"the server answers {status}{_said(answer)}"
        summary.refuse(part.candidate, Refused(reason))


def _warning(reason: Any) -> str:
    """The words of a Warning Reason (PS3.18 Table I.2-1), which has the codes of C-STORE (PS3.4 B.2.3)."""
    if not isinstance(reason, int):
        return "the server does not say why"
    return f"{meaning_of(reason, STORAGE)} ({reason:04X})"


def _said(answer: Any) -> str:
    error = answer.get("error") if isinstance(answer, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    return f": {message}" if isinstance(message, str) else ""
