"""AET@HOST:PORT: how a DIMSE peer is named on the command line and in `isocenter.connect`."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from isocenter.errors import UsageError
from isocenter.names import AETitle, ae_title

FORM = "AET@HOST:PORT, as PACS@10.0.0.5:11112 or PACS@[::1]:104"

# RFC 1123 labels; an underscore is common inside hospitals
_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")


class Address(NamedTuple):
    """A peer: its AE title, and a host name or IP address (IPv6 without brackets) and port to connect to."""

    aet: AETitle
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.aet}@{host}:{self.port}"


def parse_address(text: str) -> Address:
    """The peer named by `text`, AET@HOST:PORT, an IPv6 address in brackets. Raises UsageError saying what is wrong.

    The last @ divides: an AE title may contain one, a host may not.
    """
    if text.startswith(("http://", "https://")):
        raise UsageError(
            f"{text!r} is a DICOMweb service, which can be searched, retrieved from and stored into (`isocenter find`, "
            f"`get` and `store`; isocenter.web_client). Everything else is DIMSE's: {FORM} is needed"
        )
    title, at, place = text.rpartition("@")
    if not at:
        raise UsageError(f"{text!r}: no AE title; {FORM} is needed")
    try:
        aet = ae_title(title)
    except ValueError as error:
        raise UsageError(f"{text!r}: {error}") from None
    host, port = host_and_port(place, text)
    return Address(aet, host, port)


def host_and_port(place: str, whole: str | None = None, lowest: int = 1) -> tuple[str, int]:
    """HOST:PORT divided, IPv6 in brackets. Raises UsageError, quoting `whole` (or `place`).

    `lowest` 0 also takes port 0, any free one, which only a server can ask for.
    """
    quoted = repr(place if whole is None else whole)
    host, colon, port = place.rpartition(":")
    if not colon or (place.startswith("[") and place.endswith("]")):
        raise UsageError(f"{quoted}: no port; write HOST:PORT (104 is the standard's, 11112 the registered one)")
    if host.startswith("[") or host.endswith("]"):
        try:
            host = str(ipaddress.IPv6Address(host[1:-1] if host[0] == "[" and host[-1] == "]" else host))
        except ValueError:
            raise UsageError(f"{quoted}: {host} is not an IPv6 address in brackets") from None
    elif ":" in host:
        raise UsageError(f"{quoted}: an IPv6 address stands in brackets, as [{host}]:{port}")
    elif not host:
        raise UsageError(f"{quoted}: no host before the port")
    elif len(host) > 253 or not _HOST.fullmatch(host):
        raise UsageError(f"{quoted}: {host!r} is not a host name or IP address")
    if not re.fullmatch(r"\d{1,5}", port, re.ASCII) or not lowest <= int(port) <= 65535:
        raise UsageError(f"{quoted}: {port!r} is not a port ({lowest} to 65535)")
    return host, int(port)
