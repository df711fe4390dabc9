"""Media types and their parameters as text (RFC 9110 sections 5.6.6 and 8.3.1, RFC 2045 section 5.1).

One parser for Content-Type of requests, Content-Type of multipart parts and the ranges of Accept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from isocenter.errors import BadRequest

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_TYPE = re.compile(rf"[ \t]*({_TOKEN})/({_TOKEN})[ \t]*")
# A bare value takes what real clients leave unquoted: `type=application/dicom`, boundaries with "=" or ":" in them.
_QUOTED = r'"((?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\t\x20-\x7e])*)"'
_PARAMETER = re.compile(rf'[ \t]*;[ \t]*(?:({_TOKEN})[ \t]*=[ \t]*(?:{_QUOTED}|([^\s;,"]*))[ \t]*)?')
_ESCAPE = re.compile(r"\\(.)")
_NO_PARAMETERS: Mapping[str, str] = MappingProxyType({})

MAX_HEADER = 8192  # longer than any list of media types a client has a reason to send


class MediaType(NamedTuple):
    """`name` is "type/subtype" in lower case; parameter names are in lower case, values as sent."""

    name: str
    parameters: Mapping[str, str] = _NO_PARAMETERS

    def __str__(self) -> str:
        return format_media_type(self.name, **self.parameters)


def format_media_type(name: str, **parameters: str) -> str:
    """The field value; underscores in parameter names are hyphens (transfer_syntax: transfer-syntax)."""
    parts = [name]
    for key, value in parameters.items():
        quoted = value if re.fullmatch(_TOKEN, value) else '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'
        parts.append(f"{key.replace('_', '-')}={quoted}")
    return "; ".join(parts)


def _parse_at(text: str, position: int) -> tuple[MediaType, int]:
    match = _TYPE.match(text, position)
    if match is None:
        raise BadRequest("not a media type", offset=position)
    position = match.end()
    parameters: dict[str, str] = {}
    while parameter := _PARAMETER.match(text, position):
        position = parameter.end()
        if parameter[1] is None:  # an empty parameter, as after a final semicolon
            continue
        key = parameter[1].lower()
        if key in parameters:
            raise BadRequest(f"media type parameter {key} is given twice", offset=parameter.start())
        parameters[key] = parameter[3] if parameter[2] is None else _ESCAPE.sub(r"\1", parameter[2])
    return MediaType(f"{match[1]}/{match[2]}".lower(), parameters), position


def parse_media_type(text: str) -> MediaType:
    """One media type, as in Content-Type. Raises BadRequest with the offset of what cannot be read."""
    if len(text) > MAX_HEADER:
        raise BadRequest("media type too long")
    media_type, position = _parse_at(text, 0)
    if position != len(text):
        raise BadRequest("media type followed by something else", offset=position)
    return media_type


def parse_media_ranges(text: str) -> Iterator[MediaType]:
    """The comma-separated media ranges of an Accept field, in order, weights still among the parameters.

    Raises BadRequest with the offset of what cannot be read.
    """
    if len(text) > MAX_HEADER:
        raise BadRequest("list of media types too long")
    position = 0
    while position < len(text):
        if text[position] in " \t,":
            position += 1
            continue
        media_type, position = _parse_at(text, position)
        if position < len(text) and text[position] != ",":
            raise BadRequest("media type followed by something else", offset=position)
        yield media_type
