"""multipart/related: parser and writer (RFC 2046 section 5.1, PS3.18 section 8.6.1.2.1)."""

from __future__ import annotations

import contextlib
import itertools
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isocenter.errors import BadRequest, TruncatedError
from isocenter.wire.mediatypes import format_media_type, parse_media_ranges, parse_media_type
from isocenter.wire.multipart import (
    MAX_PART_HEADERS,
    MessageEnded,
    MultipartParser,
    MultipartWriter,
    PartData,
    PartEnded,
    PartStarted,
)

Part = tuple[dict[str, str], bytes]


def parse(boundary: str, pieces: list[bytes]) -> tuple[list[Part], bool]:
    """Parts and whether the message ended; fragments are copied at once, as their contract demands."""
    parser = MultipartParser(boundary)
    parts: list[Part] = []
    open_part: tuple[dict[str, str], bytearray] | None = None
    ended = False
    for piece in pieces:
        for event in parser.receive(piece):
            match event:
                case PartStarted(headers):
                    assert open_part is None
                    open_part = (dict(headers), bytearray())
                case PartData(data):
                    assert open_part is not None
                    open_part[1].extend(data)
                case PartEnded():
                    assert open_part is not None
                    parts.append((open_part[0], bytes(open_part[1])))
                    open_part = None
                case MessageEnded():
                    ended = True
    parser.close()
    return parts, ended


def write(boundary: str, parts: list[Part]) -> bytes:
    writer = MultipartWriter(boundary)
    return b"".join(writer.part(headers) + body for headers, body in parts) + writer.end()


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    points = sorted({0, len(data), *(c % (len(data) + 1) for c in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(points)]


def test_the_example_a_person_would_write() -> None:
    message = (
        b"This is the preamble.\r\n--b1\r\nContent-Type: application/dicom\r\nContent-ID: <1>\r\n\r\nfirst\r\nbody"
        b"\r\n--b1  \t\r\n\r\nno headers\r\n--b1--\r\nThis is the epilogue.\r\n--b1\r\n"
    )
    expected = [({"content-type": "application/dicom", "content-id": "<1>"}, b"first\r\nbody"), ({}, b"no headers")]
    assert (expected, True) == parse("b1", [message])


# Bodies made of what confuses a parser: pieces of the delimiter
AWKWARD = st.lists(st.sampled_from([b"\r", b"\n", b"-", b"--", b"\r\n-", b"\r\n--", b"--bound", b"x", b""])).map(
    b"".join
)
BODY = (st.binary(max_size=200) | AWKWARD).filter(lambda b: b"\r\n--boundary" not in b"\r\n" + b)


@settings(max_examples=300)
@given(bodies=st.lists(BODY, max_size=4), cuts=st.lists(st.integers(0, 2000), max_size=12))
def test_however_the_message_is_cut_the_parts_are_what_was_written(bodies: list[bytes], cuts: list[int]) -> None:
    parts = [({"content-type": "application/dicom"}, body) for body in bodies]
    message = write("boundary", parts)
    assert (parts, True) == parse("boundary", split(message, cuts))


@given(bodies=st.lists(BODY, min_size=1, max_size=3))
def test_byte_by_byte_equals_whole(bodies: list[bytes]) -> None:
    message = write("boundary", [({"a": "b"}, body) for body in bodies])
    assert parse("boundary", [message]) == parse("boundary", [message[i : i + 1] for i in range(len(message))])


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_arbitrary_bytes_give_events_or_a_typed_error(noise: bytes, cuts: list[int]) -> None:
    for message in (noise, b"--b\r\n" + noise, b"--b\r\n\r\n" + noise + b"\r\n--b--"):
        with contextlib.suppress(BadRequest, TruncatedError):
            parse("b", split(message, cuts))


def test_fragments_are_views_of_the_bytes_pushed_in() -> None:
    parser = MultipartParser("b")
    list(parser.receive(b"--b\r\n\r\n"))
    piece = bytes(100_000)
    fragments = [event.data for event in parser.receive(piece) if isinstance(event, PartData)]
    assert piece is fragments[0].obj
    assert len(piece) == sum(map(len, fragments))


def test_memory_does_not_grow_with_the_body() -> None:
    parser = MultipartParser("b")
    list(parser.receive(b"--b\r\n\r\n"))
    piece = b"\r\n--a" * 20_000
    tracemalloc.start()
    try:
        for _ in range(200):
            for _event in parser.receive(piece):
                pass
        assert tracemalloc.get_traced_memory()[1] < 64 * 1024
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (b"--b\r\nno colon\r\n\r\nx\r\n--b--", "malformed header"),
        (b"--b\r\nA: 1\r\na: 2\r\n\r\nx\r\n--b--", "twice"),
        (b"--b\r\nA: 1\x002\r\n\r\nx\r\n--b--", "malformed header"),
        (b"--b\r\nA: 1\nB: 2\r\n\r\nx\r\n--b--", "malformed header"),
        (b"--b\r\n: 1\r\n\r\nx\r\n--b--", "malformed header"),
        (b"--bogus\r\n\r\nx\r\n--b--", "delimiter followed by"),
        (b"--b\r\n\r\nx\r\n--bogus\r\n--b--", "delimiter followed by"),
        (b"--b-x\r\n", "delimiter followed by"),
        (b"--b" + b" " * 5000 + b"\r\n", "delimiter followed by"),
        (b"--b\r\nA: " + b"x" * MAX_PART_HEADERS + b"\r\n\r\n", "headers over"),
        (b"--b\r\n" + b"A: x\r\n" * MAX_PART_HEADERS, "headers over"),
    ],
)
def test_malformed_messages_are_refused_however_they_arrive(message: bytes, text: str) -> None:
    for pieces in ([message], [message[i : i + 1] for i in range(len(message))]):
        with pytest.raises(BadRequest, match=text):
            parse("b", pieces)


@pytest.mark.parametrize("message", [b"", b"no delimiter at all", b"--b", b"--b\r\n\r\nhalf", b"--b\r\n\r\nx\r\n--b-"])
def test_a_message_without_its_end_is_truncated(message: bytes) -> None:
    with pytest.raises(TruncatedError, match="closing delimiter"):
        parse("b", [message])


def test_a_message_of_no_parts() -> None:
    assert parse("b", [b"--b--"]) == ([], True)
    assert parse("b", [write("b", [])]) == ([], True)


def test_folded_header_fields_are_joined() -> None:
    message = b"--b\r\nContent-Type: multipart/related;\r\n\ttype=x\r\n\r\n\r\n--b--"
    assert parse("b", [message]) == ([({"content-type": "multipart/related; type=x"}, b"")], True)


@pytest.mark.parametrize("boundary", ["", "x" * 201, "a\r\nb", "end ", "\u00e9", "a\0b"])
def test_hostile_boundaries_are_refused(boundary: str) -> None:
    with pytest.raises(BadRequest, match="boundary"):
        MultipartParser(boundary)
    with pytest.raises(BadRequest, match="boundary"):
        MultipartWriter(boundary)


@pytest.mark.parametrize("boundary", ["x", "-" * 70, "y" * 200, ".*", "a b", "'()+_,-./:=?", "\\", "[^]"])
def test_boundaries_are_taken_literally(boundary: str) -> None:
    parts = [({"a": "1"}, b"--\r\n--"), ({}, b"")]
    assert (parts, True) == parse(boundary, [write(boundary, parts)])


def test_the_writer_refuses_to_be_broken_out_of() -> None:
    with pytest.raises(ValueError, match="line break"):
        MultipartWriter("b").part({"Content-Location": "x\r\nSet-Cookie: y"})


# --- media types


@pytest.mark.parametrize(
    ("text", "name", "parameters"),
    [
        ("Application/DICOM", "application/dicom", {}),
        ('multipart/related; type="application/dicom"; boundary="a b"', "multipart/related",
         {"type": "application/dicom", "boundary": "a b"}),
        ("multipart/related;type=application/dicom;BOUNDARY=x=y:z", "multipart/related",
         {"type": "application/dicom", "boundary": "x=y:z"}),
        (r'a/b; x="quoted \" and \\"', "a/b", {"x": r'quoted " and \ '.strip()}),
        ("application/dicom; transfer-syntax=1.2.840.10008.1.2.1;", "application/dicom",
         {"transfer-syntax": "1.2.840.10008.1.2.1"}),
        ("application/dicom; transfer-syntax=*", "application/dicom", {"transfer-syntax": "*"}),
    ],
)  # fmt: skip
def test_media_types(text: str, name: str, parameters: dict[str, str]) -> None:
    parsed = parse_media_type(text)
    assert (name, parameters) == (parsed.name, dict(parsed.parameters))
    assert parsed == parse_media_type(str(parsed))


@pytest.mark.parametrize("text", ["", "dicom", "a/", "/b", "a/b c", 'a/b; x="open', "a/b; x=1; X=2", "a/b\r\nc: d"])
def test_bad_media_types(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_media_type(text)


def test_a_hostile_media_type_takes_no_time() -> None:
    with pytest.raises(BadRequest):
        parse_media_type("a/b" + "; x" * 2000 + "\x00")
    with pytest.raises(BadRequest, match="too long"):
        list(parse_media_ranges("a/b," * 10_000))


def test_ranges_keep_their_order_and_quoted_commas() -> None:
    parsed = list(parse_media_ranges('a/b;q=0.5 , ,multipart/related; type="x,y", */*'))
    assert parsed == [("a/b", {"q": "0.5"}), ("multipart/related", {"type": "x,y"}), ("*/*", {})]


def test_format_quotes_what_is_no_token() -> None:
    assert (
        format_media_type("multipart/related", type="application/dicom", transfer_syntax="1.2")
        == 'multipart/related; type="application/dicom"; transfer-syntax=1.2'
    )
