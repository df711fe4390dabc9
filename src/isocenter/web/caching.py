"""Validators, conditions, byte ranges and what may be kept by whom (RFC 9110 sections 8.8, 13 and 14, RFC 9111).

A stored object never changes under its UID unless `archive.on_conflict` is `replace`, so its bytes and frames may be
kept without asking again, by the client alone: `private`, since no proxy may hold patients' images. What grows, studies
and their metadata, is asked for again with its entity tag.

There is no Last-Modified, and so dates of a request decide nothing (RFC 9110 sections 13.1.3 to 13.1.5). A study from
which an object was deleted would have an older date than before, a picture that is made otherwise after an upgrade the
same, and what replaces an object within a second, too: a date would say "unchanged" where a tag knows better.

Of several ranges at once none is given: the whole is, as RFC 9110 section 14.2 allows. No client of images asks for
them, and they are how a small request makes a large answer.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Mapping
from hashlib import blake2b

from starlette.requests import Request
from starlette.responses import Response

from isocenter.errors import PreconditionFailed, RangeNotSatisfiable
from isocenter.web.body import primed, streamed
from isocenter.web.context import Context
from isocenter.web.unread import Piece

VARY = "Accept, Accept-Encoding"

LASTING = "private, max-age=31536000, immutable"
ASK_AGAIN = "private, no-cache"

_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_RANGE = re.compile(r"bytes=[ \t]*(\d{0,18})-(\d{0,18})[ \t]*", re.ASCII)


def validated(context: Context, *parts: object, lasting: bool = False, weak: bool = False) -> dict[str, str]:
    """Header fields of a representation that is the same as long as all `parts` are the same: stored bytes by their
    digest, and whatever chose the form. `weak`: the same in meaning, not in bytes, as multipart with its boundary is.
    `lasting`: it stays as it is as long as it is there."""
    digest = blake2b("\n".join(map(str, parts)).encode("utf-8", "replace"), digest_size=16).hexdigest()
    lasting = lasting and context.settings.archive_on_conflict != "replace"
    return {
        "etag": f'W/"{digest}"' if weak else f'"{digest}"',
        "cache-control": LASTING if lasting else ASK_AGAIN,
        "vary": VARY,
    }


def unchanged(request: Request, fields: Mapping[str, str]) -> Response | None:
    """304 if the client has it already (RFC 9110 section 13.2.2). Raises PreconditionFailed for If-Match."""
    tag = fields["etag"]
    wanted = request.headers.get("if-match")
    if wanted is not None and wanted.strip() != "*" and (tag.startswith("W/") or tag not in _TAG.findall(wanted)):
        raise PreconditionFailed("what is stored is not what If-Match names")
    known = request.headers.get("if-none-match")
    if known is None:
        return None
    weakly = tag.removeprefix("W/")
    if known.strip() == "*" or any(one.removeprefix("W/") == weakly for one in _TAG.findall(known)):
        return Response(None, 304, dict(fields))
    return None


def _asked_range(request: Request, length: int, tag: str) -> tuple[int, int] | None:
    """First and last byte (exclusive) that are asked for; None for all of it. Raises RangeNotSatisfiable."""
    match = _RANGE.fullmatch(request.headers.get("range", ""))
    if match is None or request.method != "GET" or request.headers.get("if-range", tag) != tag:
        return None
    first, last = match[1], match[2]
    if not first and not last:
        return None
    start = int(first) if first else max(0, length - int(last))
    end = min(int(last) + 1, length) if first and last else length
    if first and last and int(last) < int(first):
        return None  # not a range at all (section 14.1.1)
    if start >= end:
        raise RangeNotSatisfiable(f"bytes {start} and after of {length} were asked for", length=length)
    return start, end


async def ranged(
    request: Request,
    read: Callable[[int, int], AsyncGenerator[Piece, None]],
    content_type: str,
    length: int,
    fields: Mapping[str, str],
) -> Response:
    """All of `length` bytes, or the range that is asked for; `read` gives those from one offset to before another.
    Raises RangeNotSatisfiable."""
    headers = {**fields, "accept-ranges": "bytes"}
    asked = _asked_range(request, length, fields["etag"])
    if asked is None:
        return streamed(request, await primed(read(0, length)), content_type, length, headers)
    start, end = asked
    headers["content-range"] = f"bytes {start}-{end - 1}/{length}"
    return streamed(request, await primed(read(start, end)), content_type, end - start, headers, status=206)
