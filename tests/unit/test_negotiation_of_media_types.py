"""Content negotiation as tables (PS3.18 section 8.7, RFC 9110 section 12.5.1)."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from isocenter.errors import BadRequest, NotAcceptable
from isocenter.web.datasets import MANY
from isocenter.web.frames import frame_offers
from isocenter.web.negotiate import (
    DICOM_JSON,
    JSON,
    Offer,
    accepted_ranges,
    choose,
    frame_media_type,
    parse_ranges,
    require,
)
from isocenter.web.wado import ALONE, PARTS, ZIPPED, Packaging, instance_offers

EXPLICIT, IMPLICIT, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
JPEG, J2K, MPEG = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.102"
OCTETS = "application/octet-stream"


def offers(stored: str, *ways: Packaging) -> list[Offer]:
    return [offer for way in ways for offer in instance_offers(stored, way)]


def multi(kind: str, syntax: str | None = None) -> str:
    return f'multipart/related; type="{kind}"' + (f"; transfer-syntax={syntax}" if syntax else "")


def pick(accept: str, offers: list[Offer] | tuple[Offer, ...]) -> tuple[str, bool, str | None] | None:
    chosen = choose(parse_ranges(accept), offers)
    return None if chosen is None else (chosen.name, chosen.multipart, chosen.transfer_syntax)


@pytest.mark.parametrize(
    ("expected", "accept"),
    [
        ("application/dicom+json", "*/*"),
        ("application/dicom+json", "application/*"),
        ("application/dicom+json", "application/dicom+json"),
        ("application/json", "application/json"),
        ("application/dicom+json", "application/dicom+json, application/json"),
        ("application/json", "application/dicom+json;q=0.5, application/json;q=0.6"),
        ("application/json", "application/json, */*;q=0.1"),
        ("application/json", "application/dicom+json;q=0, */*"),
        ("application/dicom+json", "APPLICATION/DICOM+JSON; charset=utf-8"),
        ("application/dicom+json", "text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8"),
        ("application/dicom+xml", 'multipart/related; type="application/dicom+xml", application/dicom+json;q=0.1'),
        (None, "application/dicom+xml"),
        ("application/dicom+xml", 'multipart/related; type="application/dicom+xml"'),
        (None, "text/html"),
        (None, "*/*;q=0"),
        (None, "application/json;q=2"),
        (None, "application/json;q=x"),
    ],
)
def test_json(expected: str | None, accept: str) -> None:
    chosen = choose(parse_ranges(accept), MANY)
    assert (None if chosen is None else chosen.name) == expected


@pytest.mark.parametrize(
    ("expected", "stored", "accept"),
    [
        ((True, J2K), J2K, "*/*"),
        ((True, J2K), J2K, multi("application/dicom")),
        ((True, J2K), J2K, multi("application/dicom", "*")),
        ((True, J2K), J2K, multi("application/dicom", J2K)),
        ((True, EXPLICIT), J2K, multi("application/dicom", EXPLICIT)),
        ((True, J2K), J2K, multi("application/dicom", EXPLICIT) + ";q=0.5, " + multi("application/dicom", "*")),
        ((True, EXPLICIT), J2K, f"{multi('application/dicom', JPEG)}, {multi('application/dicom', EXPLICIT)}"),
        ((False, J2K), J2K, "application/dicom"),
        ((False, J2K), J2K, "application/dicom; transfer-syntax=*"),
        ((False, EXPLICIT), J2K, f"application/dicom; transfer-syntax={EXPLICIT}"),
        ((True, J2K), J2K, "multipart/related"),
        ((True, EXPLICIT), EXPLICIT, multi("application/dicom", EXPLICIT)),
        ((True, EXPLICIT), IMPLICIT, multi("application/dicom", EXPLICIT)),
        ((True, IMPLICIT), IMPLICIT, multi("application/dicom")),
        (None, MPEG, multi("application/dicom", EXPLICIT)),
        ((True, MPEG), MPEG, multi("application/dicom", "*")),
        ((True, EXPLICIT), BIG, multi("application/dicom", EXPLICIT)),
        (None, BIG, multi("application/dicom", IMPLICIT)),
        (None, J2K, multi("application/dicom", MPEG)),
        (None, J2K, multi("application/dicom", "1.2.3")),
        (None, J2K, multi("image/jp2")),
        (None, J2K, "application/dicom+json"),
    ],
)
def test_instances(expected: tuple[bool, str] | None, stored: str, accept: str) -> None:
    chosen = pick(accept, offers(stored, PARTS, ALONE, ZIPPED))
    assert (None if chosen is None else chosen[1:]) == expected


def test_several_instances_are_multipart_only() -> None:
    assert pick("application/dicom", offers(J2K, PARTS, ZIPPED)) is None
    assert pick("*/*", offers(J2K, PARTS, ZIPPED)) == ("application/dicom", True, J2K)


@pytest.mark.parametrize(
    ("expected", "stored", "accept"),
    [
        ((OCTETS, True, EXPLICIT), EXPLICIT, "*/*"),
        ((OCTETS, True, EXPLICIT), IMPLICIT, multi(OCTETS)),
        ((OCTETS, True, EXPLICIT), BIG, multi(OCTETS)),
        ((OCTETS, False, EXPLICIT), EXPLICIT, OCTETS),
        ((OCTETS, True, EXPLICIT), EXPLICIT, multi(OCTETS, "*")),
        (("image/jpeg", True, "1.2.840.10008.1.2.4.70"), EXPLICIT, multi("image/jpeg")),
        (None, EXPLICIT, multi("video/mp4")),
        # compressed: uncompressed by default, as stored when asked
        ((OCTETS, True, EXPLICIT), JPEG, "*/*"),
        ((OCTETS, True, EXPLICIT), JPEG, multi(OCTETS)),
        ((OCTETS, True, EXPLICIT), JPEG, multi(OCTETS, EXPLICIT)),
        (("image/jpeg", True, JPEG), JPEG, multi("*/*", "*")),
        (("image/jpeg", True, JPEG), JPEG, "*/*; transfer-syntax=*"),
        (("image/jpeg", True, JPEG), JPEG, multi("image/jpeg")),
        (("image/jpeg", True, JPEG), JPEG, multi("image/jpeg", JPEG)),
        (("image/jpeg", True, JPEG), JPEG, multi("image/*")),
        (("image/jpeg", False, JPEG), JPEG, "image/jpeg"),
        ((OCTETS, True, JPEG), JPEG, multi(OCTETS, "*")),
        ((OCTETS, True, JPEG), JPEG, multi(OCTETS, JPEG)),
        (("image/jp2", True, J2K), J2K, f"{multi('image/jpeg')}, {multi('image/jp2')}, {multi(OCTETS)};q=0.1"),
        ((OCTETS, True, EXPLICIT), J2K, f"{multi('image/jpeg')}, {multi('image/jp2')};q=0.1, {multi(OCTETS)}"),
        (("image/dicom-rle", True, "1.2.840.10008.1.2.5"), "1.2.840.10008.1.2.5", multi("image/x-dicom-rle")),
        (("image/jp2", True, J2K), JPEG, multi("image/jp2")),
        (None, JPEG, multi("image/jpeg", J2K)),
        # nothing decodes this: what is stored stands in where the client leaves it open
        (("video/mp4", True, MPEG), MPEG, "*/*"),
        ((OCTETS, True, MPEG), MPEG, multi(OCTETS)),
        (None, MPEG, multi(OCTETS, EXPLICIT)),
    ],
)
def test_frames(expected: tuple[str, bool, str] | None, stored: str, accept: str) -> None:
    assert pick(accept, frame_offers(stored, single=True)) == expected


def test_several_frames_are_multipart_only() -> None:
    assert pick("image/jpeg", frame_offers(JPEG, single=False)) is None
    assert pick("*/*", frame_offers(JPEG, single=False)) == (OCTETS, True, EXPLICIT)


@pytest.mark.parametrize(
    ("expected", "syntax"),
    [
        ("image/jpeg", "1.2.840.10008.1.2.4.70"),
        ("image/jls", "1.2.840.10008.1.2.4.80"),
        ("image/jp2", "1.2.840.10008.1.2.4.91"),
        ("image/jphc", "1.2.840.10008.1.2.4.201"),
        ("image/jxl", "1.2.840.10008.1.2.4.110"),
        ("image/dicom-rle", "1.2.840.10008.1.2.5"),
        ("video/mp4", "1.2.840.10008.1.2.4.102.1"),
        (OCTETS, EXPLICIT),
        (OCTETS, "1.2.3.4"),
    ],
)
def test_media_type_of_stored_frames(expected: str, syntax: str) -> None:
    assert frame_media_type(syntax) == expected


def request(accept: list[str], query: str = "") -> Request:
    headers = [(b"accept", value.encode()) for value in accept]
    return Request({"type": "http", "headers": headers, "query_string": query.encode()})


PICTURES = (Offer("image/jpeg"), Offer("image/png"))


@pytest.mark.parametrize(
    ("expected", "accept", "query"),
    [
        ("image/jpeg", [], ""),
        ("image/png", ["image/png"], ""),
        ("image/png", ["text/html, */*;q=0.8"], "accept=image/png"),
        ("image/png", ["image/*"], "accept=image/jpeg;q%3D0.1,image/png"),
        ("image/png", ["image/png;q=0.1", "image/jpeg;q=0"], ""),
        (None, ["image/jpeg"], "accept=image/png"),
        (None, ["*/*"], "accept=image/gif"),
    ],
)
def test_accept_parameter_and_header_together(expected: str | None, accept: list[str], query: str) -> None:
    chosen = choose(accepted_ranges(request(accept, query)), PICTURES)
    assert (None if chosen is None else chosen.name) == expected


def test_wildcards_are_for_the_header_only() -> None:
    with pytest.raises(BadRequest, match="wildcard"):
        accepted_ranges(request(["*/*"], "accept=image/*"))


@pytest.mark.parametrize("accept", ["image", "image/png image/jpeg", "image/png;;;\x7f", 'a/b;c="', "\u00e9/x"])
def test_what_is_no_list_of_media_types_is_refused(accept: str) -> None:
    with pytest.raises(BadRequest):
        parse_ranges(accept)


def test_a_refusal_names_what_there_is() -> None:
    with pytest.raises(NotAcceptable) as refused:
        require(parse_ranges("image/gif"), frame_offers(JPEG, single=True))
    available = str(refused.value).partition("; available: ")[2]
    assert available.startswith(
        'multipart/related; type="application/octet-stream" or application/octet-stream'
        f" (transfer-syntax {EXPLICIT}, {JPEG}), "
    )
    # Each form as it is to be written, once
    assert available.count('multipart/related; type="image/jpeg" or image/jpeg (transfer-syntax ') == 1
    with pytest.raises(NotAcceptable, match=r"available: application/dicom\+json, application/json$"):
        require(parse_ranges("image/gif"), (Offer(DICOM_JSON), Offer(JSON)))
