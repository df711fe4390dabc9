"""Peers by name: the `[[peer]]` tables of the settings file.

    [[peer]]
    name = "workstation"
    aet = "VIEWER"
    host = "10.0.0.7"
    port = 104

A C-MOVE goes only to a title named here, and so do forwarded objects; the command line takes a peer's name in place of
AET@HOST:PORT.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isocenter.errors import SettingsError
from isocenter.names import AETitle, ae_title
from isocenter.settings import tables

TABLE = "peer"
ALL_SERVICES = frozenset({"echo", "store", "find", "get", "move", "commit"})

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_HOST = re.compile(r"[A-Za-z0-9_.:-]{1,253}")


@dataclass(frozen=True)
class KnownPeer:
    """A remote application entity: its AE title, and the host name or IP address (IPv6 without brackets) and port where
    it listens. `services` are what it may ask of us, of ALL_SERVICES, on `max_associations` at a time (None: as many as
    any title, `dimse.max_associations_per_aet`); with `notify` it is told which instances have
    come (Instance Availability Notification)."""

    name: str
    aet: AETitle
    host: str
    port: int
    tls: bool = False
    services: frozenset[str] = ALL_SERVICES
    notify: bool = False
    max_associations: int | None = None

    @property
    def address(self) -> str:
        """AET@HOST:PORT."""
        return f"{self.aet}@{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def load_peers(file: Path | None) -> dict[str, KnownPeer]:
    """The peers of a settings file by name, in its order; none without a file.

    Raises SettingsError naming file and peer. Names and AE titles occur once, as a C-MOVE names its destination by
    the title alone.
    """
    if file is None:
        return {}
    peers: dict[str, KnownPeer] = {}
    titles: set[str] = set()
    for number, table in enumerate(tables(file, TABLE, "peers"), 1):
        try:
            peer = _peer(table)
            if peer.name in peers:
                raise ValueError("there is another peer of this name")
            if peer.aet in titles:
                raise ValueError(f"aet: another peer has the title {peer.aet}")
        except ValueError as error:
            raise SettingsError(f"{file}: peer {number} ({table.get('name', 'no name')}): {error}") from None
        peers[peer.name] = peer
        titles.add(peer.aet)
    return peers


def _peer(table: Mapping[str, Any]) -> KnownPeer:
    unknown = table.keys() - KnownPeer.__dataclass_fields__.keys()
    if unknown:
        raise ValueError(f"there is no setting {sorted(unknown)[0]}")
    name, host, port = _text(table, "name"), _text(table, "host"), table.get("port")
    if not _NAME.fullmatch(name):
        raise ValueError("name: letters, digits, dot, dash and underscore are allowed, 64 at most")
    if not _HOST.fullmatch(host):
        raise ValueError("host: neither a host name nor an IP address (IPv6 without brackets)")
    if type(port) is not int or not 1 <= port <= 65535:
        raise ValueError("port: a number from 1 to 65535 is needed")
    tls, notify = table.get("tls", False), table.get("notify", False)
    for key, value in (("tls", tls), ("notify", notify)):
        if type(value) is not bool:
            raise ValueError(f"{key}: true or false is needed")
    services = table.get("services")
    if services is None:
        services = ALL_SERVICES
    elif not isinstance(services, list) or not all(service in ALL_SERVICES for service in services):
        raise ValueError(f"services: a list of {', '.join(sorted(ALL_SERVICES))} is needed")
    most = table.get("max_associations")
    if most is not None and (type(most) is not int or most < 1):
        raise ValueError("max_associations: a number from 1 is needed")
    return KnownPeer(name, ae_title(_text(table, "aet")), host, port, tls, frozenset(services), notify, most)


def _text(table: Mapping[str, Any], key: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key}: a text is needed")
    return value
