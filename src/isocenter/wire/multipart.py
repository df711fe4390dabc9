"""multipart/related (RFC 2046 section 5.1, RFC 2387, PS3.18 section 8.6.1.2.1), pure: bytes in, events out.

The parser looks at each byte once and keeps none of a body: fragments leave as views of what was pushed in. What it
may hold is a piece of a delimiter and the header lines of one part, both bounded.

A line of a body that begins with "--boundary" ends the part whatever follows (RFC 2046 section 5.1.1), and anything
but padding after it is an error. Two readers can therefore not disagree about where a part ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import Enum, auto
from typing import NamedTuple

from isocenter.errors import BadRequest, TruncatedError

MAX_PART_HEADERS = 16 * 1024
MAX_PADDING = 1024

# RFC 2046 allows fewer signs, and 70 of them; clients use more (two UUIDs in a row are 73, as Orthanc's are). What
# would break a line or a header is refused.
_BOUNDARY = re.compile(r"[\x20-\x7e]{0,199}[\x21-\x7e]")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*:[ \t]*([^\r\n\x00]*?)[ \t]*")


class PartStarted(NamedTuple):
    """Field names are in lower case."""

    headers: Mapping[str, str]


class PartData(NamedTuple):
    """A fragment of the part's body, valid until the next call of `receive`."""

    data: memoryview


class PartEnded(NamedTuple):
    """The part's last fragment has been delivered."""


class MessageEnded(NamedTuple):
    """The closing delimiter was read; what follows it is ignored."""


Event = PartStarted | PartData | PartEnded | MessageEnded


class _State(Enum):
    PREAMBLE = auto()
    DELIMITER_LINE = auto()
    HEADERS = auto()
    BODY = auto()
    EPILOGUE = auto()


def check_boundary(boundary: str) -> str:
    """The boundary itself. Raises BadRequest unless it has 1 to 200 printable ASCII characters, the last no space."""
    if not _BOUNDARY.fullmatch(boundary):
        raise BadRequest("multipart boundary must be 1 to 200 printable ASCII characters, the last no space")
    return boundary


class MultipartParser:
    """Push bytes into `receive`, iterate over the events it gives, call `close` at the end of the input.

    Raises BadRequest, with the offset in the message body, for what is not multipart, and TruncatedError from
    `close` when the closing delimiter never came. After an error the parser must not be used any further.
    """

    def __init__(self, boundary: str) -> None:
        self._delimiter = b"\r\n--" + check_boundary(boundary).encode("ascii")
        self._state = _State.PREAMBLE
        # The first delimiter may stand at the very beginning: the line break before it is supposed to have been there.
        self._held = b"\r\n"
        self._offset = 0  # of the first byte not yet looked at, in the whole message

    def receive(self, data: bytes) -> Iterator[Event]:
        """Events of the next piece of the message, of whatever length. Exhaust the iterator before the next call."""
        position = 0
        start = self._offset
        while position < len(data):
            if self._state is _State.EPILOGUE:
                position = len(data)
            elif self._state is _State.DELIMITER_LINE:
                position, ended = self._delimiter_line(data, position, start)
                if ended:
                    yield MessageEnded()
            elif self._state is _State.HEADERS:
                position, headers = self._headers(data, position, start)
                if headers is not None:
                    yield PartStarted(headers)
            else:
                in_body = self._state is _State.BODY
                for fragment in self._until_delimiter(data, position):
                    if isinstance(fragment, int):
                        position = fragment
                    elif in_body and len(fragment):
                        yield PartData(memoryview(fragment))
                if in_body and self._state is not _State.BODY:
                    yield PartEnded()
        self._offset = start + len(data)

    def close(self) -> None:
        """The input has ended. Raises TruncatedError if the message has not."""
        if self._state is not _State.EPILOGUE:
            raise TruncatedError("multipart message ends before its closing delimiter", offset=self._offset)

    def _until_delimiter(self, data: bytes, position: int) -> Iterator[bytes | memoryview | int]:
        """What precedes the next delimiter; last the position to go on from. Enters DELIMITER_LINE if it was found."""
        delimiter = self._delimiter
        if self._held:
            held = self._held
            # Long enough for any delimiter that begins in what was held, too short for one that does not.
            probe = held + data[position : position + len(delimiter) - 1]
            found = probe.find(delimiter)
            if found >= 0:
                yield held[:found]
                self._held = b""
                self._state = _State.DELIMITER_LINE
                yield position + found + len(delimiter) - len(held)
                return
            if len(data) - position < len(delimiter) - 1:
                self._held = self._beginning_of_delimiter(probe)
                yield probe[: len(probe) - len(self._held)]
                yield len(data)
                return
            self._held = b""
            yield held
        found = data.find(delimiter, position)
        if found >= 0:
            yield memoryview(data)[position:found]
            self._state = _State.DELIMITER_LINE
            yield found + len(delimiter)
            return
        self._held = self._beginning_of_delimiter(data[max(position, len(data) - len(delimiter) + 1) :])
        yield memoryview(data)[position : len(data) - len(self._held)]
        yield len(data)

    def _beginning_of_delimiter(self, data: bytes) -> bytes:
        """The end of `data` that may be the beginning of a delimiter; only its first byte is a carriage return."""
        last = data.rfind(b"\r")
        return data[last:] if last >= 0 and self._delimiter.startswith(data[last:]) else b""

    def _delimiter_line(self, data: bytes, position: int, start: int) -> tuple[int, bool]:
        """The rest of a line that began with a delimiter: "--" at the end of the message (True), or a line break."""
        while position < len(data):
            line = self._held + data[position : position + 1]
            position += 1
            if line == b"--":
                self._held = b""
                self._state = _State.EPILOGUE
                return position, True
            if line.endswith(b"\r\n"):
                self._held = b"\r\n"  # so that a part without header fields is no special case
                self._state = _State.HEADERS
                return position, False
            if len(line) > MAX_PADDING or not (line == b"-" or line.removesuffix(b"\r").strip(b" \t") == b""):
                raise BadRequest("multipart delimiter followed by something else", offset=start + position - 1)
            self._held = line
        return position, False

    def _headers(self, data: bytes, position: int, start: int) -> tuple[int, Mapping[str, str] | None]:
        held = self._held
        block = held + data[position : position + MAX_PART_HEADERS + 4 - len(held)]
        end = block.find(b"\r\n\r\n")
        if end > MAX_PART_HEADERS or (end < 0 and len(block) > MAX_PART_HEADERS):
            raise BadRequest(f"multipart part headers over {MAX_PART_HEADERS} bytes", offset=start + position)
        if end < 0:
            self._held = block
            return len(data), None
        self._held = b""
        self._state = _State.BODY
        after = position + end + 4 - len(held)
        return after, _parse_headers(block[2:end], start + after)


def _parse_headers(block: bytes, offset: int) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    unfolded = re.sub(rb"\r\n[ \t]+", b" ", block)  # RFC 5322 section 2.2.3
    for line in unfolded.split(b"\r\n") if unfolded else ():
        match = _FIELD.fullmatch(line)
        if match is None:
            raise BadRequest("multipart part has a malformed header field", offset=offset)
        name = match[1].decode("ascii").lower()
        if name in headers:
            raise BadRequest(f"multipart part has the header field {name[:64]} twice", offset=offset)
        headers[name] = match[2].decode("latin-1")
    return headers


class MultipartWriter:
    """Builds a message: `part` before each body, `end` after the last.

    The boundary must not occur in any body; 128 random bits take care of that without reading them.
    """

    def __init__(self, boundary: str) -> None:
        self._boundary = check_boundary(boundary).encode("ascii")
        self._first = True

    def part(self, headers: Mapping[str, str]) -> bytes:
        """What stands before the next body. Raises ValueError for a field that would break out of its line."""
        lines = [f"{name}: {value}" for name, value in headers.items()]
        text = "".join(lines)
        if "\r" in text or "\n" in text or "\0" in text:  # an expression takes ten times as long, for each of thousands
            raise ValueError("a header field contains a line break")
        begin = b"--" if self._first else b"\r\n--"
        self._first = False
        return begin + self._boundary + "\r\n".join(["", *lines, "\r\n"]).encode("latin-1")

    def end(self) -> bytes:
        """The closing delimiter."""
        return (b"--" if self._first else b"\r\n--") + self._boundary + b"--\r\n"
