"""AET@HOST:PORT."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isocenter.errors import UsageError
from isocenter.net.address import host_and_port, parse_address


@pytest.mark.parametrize(
    ("text", "aet", "host", "port"),
    [
        ("PACS@10.0.0.5:11112", "PACS", "10.0.0.5", 11112),
        ("A B@pacs.example.org:104", "A B", "pacs.example.org", 104),
        (" PACS @localhost:1", "PACS", "localhost", 1),
        ("ME@HERE@host_1:65535", "ME@HERE", "host_1", 65535),
        ("PACS@[::1]:104", "PACS", "::1", 104),
        ("PACS@[2001:DB8::1]:104", "PACS", "2001:db8::1", 104),
    ],
)
def test_what_is_an_address(text: str, aet: str, host: str, port: int) -> None:
    address = parse_address(text)
    assert (address.aet, address.host, address.port) == (aet, host, port)
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("10.0.0.5:104", "no AE title"),
        ("@10.0.0.5:104", "not an AE title"),
        ("A_TITLE_OF_17_CHAR@h:104", "not an AE title"),
        ("BACK\\SLASH@h:104", "not an AE title"),
        ("T\u00cfTLE@h:104", "not an AE title"),
        ("\U0001f600@h:104", "not an AE title"),
        ("PACS@10.0.0.5", "no port"),
        ("PACS@[::1]", "no port"),
        ("PACS@::1:104", "stands in brackets"),
        ("PACS@[10.0.0.5]:104", "not an IPv6 address"),
        ("PACS@[::1:104", "not an IPv6 address"),
        ("PACS@:104", "no host"),
        ("PACS@a b:104", "not a host name"),
        ("PACS@-a:104", "not a host name"),
        ("PACS@h:0", "not a port"),
        ("PACS@h:65536", "not a port"),
        ("PACS@h:dicom", "not a port"),
        ("PACS@h:١٠٤", "not a port"),
        ("", "no AE title"),
        ("https://pacs.example.org/dicomweb", "web_client"),
    ],
)
def test_what_is_none_is_explained(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        parse_address(text)


def test_a_place_without_a_title() -> None:
    assert host_and_port("127.0.0.1:8042") == ("127.0.0.1", 8042)
    with pytest.raises(UsageError, match="'8042': no port"):
        host_and_port("8042")


@given(st.text(max_size=40))
def test_no_text_does_worse_than_a_usage_error(text: str) -> None:
    try:
        address = parse_address(text)
    except UsageError:
        return
    assert parse_address(str(address)) == address
