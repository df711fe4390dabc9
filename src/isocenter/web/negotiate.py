"""Which representation a client gets (PS3.18 section 8.7, RFC 9110 section 12.5.1).

A resource lists what it can offer, best first. The client's ranges come from the Accept header, narrowed by the
`accept` query parameter. The most specific range that matches an offer decides its weight; among equal weights the
client's order decides, then ours.

PS3.18 gives Explicit VR Little Endian to whoever names no transfer syntax. We give the stored syntax then, as far as
`application/dicom` is concerned: the bytes a sender gave us are the ones to hand on. Bulk data and frames follow the
standard: uncompressed, unless the client asks for `transfer-syntax=*` or a compressed media type.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from starlette.requests import Request

from isocenter.errors import BadRequest, NotAcceptable
from isocenter.std.transfer_syntaxes import TRANSFER_SYNTAXES
from isocenter.wire.mediatypes import MediaType, format_media_type, parse_media_ranges

DICOM = "application/dicom"
DICOM_JSON = "application/dicom+json"
JSON = "application/json"
OCTET_STREAM = "application/octet-stream"
ZIP = "application/zip"
ANY = "*"

_J = "1.2.840.10008.1.2.4."
_BY_LAST_PART = {
    "image/jpeg": "50 51 52 53 54 55 56 57 58 59 60 61 62 63 64 65 66 70",
    "image/jls": "80 81",
    "image/jp2": "90 91",
    "image/jpx": "92 93",
    "image/jphc": "201 202 203",
    "image/jxl": "110 111 112",
    "video/mpeg": "100 100.1 101 101.1",
    "video/mp4": "102 102.1 103 103.1 104 104.1 105 105.1 106 106.1",
    "video/H265": "107 108",
}
# PS3.18 Table 8.7.3-5
COMPRESSED_MEDIA_TYPES: dict[str, str] = {
    "1.2.840.10008.1.2.5": "image/dicom-rle",
    **{_J + last: name for name, parts in _BY_LAST_PART.items() for last in parts.split()},
}

# The same table: what a media type means without a transfer-syntax parameter
DEFAULT_SYNTAXES = {
    "image/jpeg": "1.2.840.10008.1.2.4.70",
    "image/jls": "1.2.840.10008.1.2.4.80",
    "image/jp2": "1.2.840.10008.1.2.4.90",
    "image/jpx": "1.2.840.10008.1.2.4.92",
    "image/jphc": "1.2.840.10008.1.2.4.201",
    "image/jxl": "1.2.840.10008.1.2.4.110",
    "image/dicom-rle": "1.2.840.10008.1.2.5",
    "video/mpeg": "1.2.840.10008.1.2.4.100",
    "video/mp4": "1.2.840.10008.1.2.4.102",
    "video/h265": "1.2.840.10008.1.2.4.107",
}

_SPACE = re.compile(r"(?<=[a-z]) (?=json|xml)")

# Names older editions and clients use
_ALIASES = {"image/x-dicom-rle": "image/dicom-rle", "image/x-jls": "image/jls", "image/dicom+jpeg": "image/jpeg"}


def frame_media_type(transfer_syntax: str) -> str:
    """The media type of one stored frame or of its pixel data as bulk data."""
    return COMPRESSED_MEDIA_TYPES.get(transfer_syntax, OCTET_STREAM)


def canonical_name(name: str) -> str:
    """A media type's name as the standard has it now."""
    return _ALIASES.get(name, name)


def is_video(transfer_syntax: str) -> bool:
    """Whether pixel data in it are one stream and no frames of their own."""
    return frame_media_type(transfer_syntax).startswith("video/")


class Offer(NamedTuple):
    """One representation. `stored`: what `transfer-syntax=*` asks for; `default`: what is meant by naming none.
    `coded` ones are compressed for this answer: for who takes nothing else as gladly."""

    name: str
    multipart: bool = False
    transfer_syntax: str | None = None
    stored: bool = True
    default: bool = True
    coded: bool = False

    def part_type(self) -> str:
        """Content-Type of a part, or of the body if it is not multipart."""
        if self.transfer_syntax is None:
            return self.name
        return format_media_type(self.name, transfer_syntax=self.transfer_syntax)


@dataclass(frozen=True, slots=True)
class Range:
    """One media range. `multipart` is None where the client leaves the packaging open, as */* does."""

    name: str
    multipart: bool | None
    transfer_syntax: str | None
    weight: float

    def specificity(self, offer: Offer) -> int:
        """0 if the offer is outside the range; the more the range says about it, the more."""
        if self.multipart is not None and self.multipart != offer.multipart:
            return 0
        if offer.transfer_syntax is not None:
            if self.transfer_syntax is None:
                if not offer.default:
                    return 0
            elif not (offer.stored if self.transfer_syntax == ANY else self.transfer_syntax == offer.transfer_syntax):
                return 0
        if self.name == "*/*":
            level = 1
        elif self.name.endswith("/*"):
            level = 2 if offer.name.startswith(self.name[:-1]) else 0
        else:
            level = 3 if self.name == offer.name.lower() else 0
        if level == 0:
            return 0
        return 4 * level + 2 * (self.multipart is not None) + (self.transfer_syntax is not None)


def _range(media_type: MediaType) -> Range | None:
    parameters = dict(media_type.parameters)
    try:
        weight = float(parameters.pop("q", "1"))
    except ValueError:
        return None
    if not 0 <= weight <= 1:
        return None
    name, multipart = media_type.name, False
    if name in ("multipart/related", "multipart/*"):
        name, multipart = parameters.get("type", "*/*").lower(), True
    syntax = parameters.get("transfer-syntax")
    if syntax is not None and syntax != ANY and syntax not in TRANSFER_SYNTAXES:
        return None
    return Range(_ALIASES.get(name, name), None if name == "*/*" and not multipart else multipart, syntax, weight)


def parse_ranges(text: str) -> list[Range]:
    """The ranges of an Accept field; those with unknown or unusable parameters are ignored (PS3.18 section 8.4.3)."""
    return [r for r in map(_range, parse_media_ranges(text)) if r is not None]


def _compatible(parameter: Range, header: Sequence[Range]) -> bool:
    offer = Offer(parameter.name, bool(parameter.multipart))
    return any(r.weight > 0 and r.specificity(offer) for r in header)


def accepted_ranges(request: Request, name: str = "accept") -> list[Range]:
    """What the client takes: the query parameter `name`, as far as the Accept header allows it, else the header.

    Without either, anything. Raises BadRequest for a parameter or header that is no list of media types.
    """
    header = parse_ranges(",".join(request.headers.getlist("accept")) or "*/*")
    # A plus sign written as it is in a query means a space, and no media type has one there.
    parameter = _SPACE.sub("+", ",".join(request.query_params.getlist(name)))
    if not parameter:
        return header
    ranges = parse_ranges(parameter)
    if any(ANY in r.name for r in ranges):
        raise BadRequest(f"{name} has a wildcard; only the Accept header may (PS3.18 section 8.3.3.1)")
    return [r for r in ranges if _compatible(r, header)]


Rank = tuple[float, bool, int]


def ranked(ranges: Sequence[Range], offers: Iterable[Offer]) -> tuple[Rank, Offer] | None:
    """The best acceptable offer, and how good it is beside others: weight, what is there, then the client's order; or
    None."""
    best: tuple[Rank, Offer] | None = None
    for offer in offers:
        matching = [(r.specificity(offer), -order) for order, r in enumerate(ranges)]
        specificity, order = max(matching, default=(0, 0))
        if specificity == 0:
            continue
        weight = ranges[-order].weight
        if weight > 0 and (best is None or (weight, not offer.coded, order) > best[0]):
            best = (weight, not offer.coded, order), offer
    return best


def choose(ranges: Sequence[Range], offers: Iterable[Offer]) -> Offer | None:
    """The best acceptable offer, or None."""
    found = ranked(ranges, offers)
    return None if found is None else found[1]


def require(ranges: Sequence[Range], offers: Sequence[Offer]) -> Offer:
    """As `choose`. Raises NotAcceptable, naming what there is, if nothing fits."""
    chosen = choose(ranges, offers)
    if chosen is None:
        raise not_acceptable(offers)
    return chosen


def not_acceptable(offers: Sequence[Offer]) -> NotAcceptable:
    """The refusal that lists what could be had instead."""
    forms: dict[str, dict[str, None]] = {}  # what to write, for each media type
    syntaxes: dict[str, dict[str, None]] = {}
    for name, multipart, syntax, *_ in offers:
        forms.setdefault(name, {})[f'multipart/related; type="{name}"' if multipart else name] = None
        if syntax is not None:
            syntaxes.setdefault(name, {})[syntax] = None
    kinds = (
        " or ".join(written) + (f" (transfer-syntax {', '.join(syntaxes[name])})" if name in syntaxes else "")
        for name, written in forms.items()
    )
    available = f"; available: {', '.join(kinds)}" if forms else ""
    return NotAcceptable(f"none of the accepted media types can be produced{available}")
