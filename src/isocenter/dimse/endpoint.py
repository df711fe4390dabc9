"""A DIMSE server made from services and the settings table."""

from __future__ import annotations

import logging
import socket
import ssl
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from isocenter.dimse.callers import allowed
from isocenter.errors import CannotListen, SettingsError
from isocenter.known_peers import KnownPeer
from isocenter.names import ae_title
from isocenter.net.admission import Books, Places
from isocenter.net.identity import authenticator_of
from isocenter.net.requestor import connection_config
from isocenter.net.server import DimseServer, ServerConfig
from isocenter.net.tls import server_context
from isocenter.services.base import Service, Services
from isocenter.settings import Settings
from isocenter.std.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from isocenter.std.transfer_syntaxes import TRANSFER_SYNTAXES
from isocenter.ul.negotiation import Policy

log = logging.getLogger("isocenter.server")


def dimse_server(
    services: tuple[Service, ...], settings: Settings, peers: Iterable[KnownPeer] = (), books: Books | None = None
) -> DimseServer:
    """A DIMSE server for `services`, configured by the `dimse` rows of the settings table; not listening yet.

    `peers` may ask for the services that their tables name; whoever is not among them, for everything. `books` are for
    several processes that count associations together.
    """
    offered = Services(services)
    return DimseServer(offered, _config(offered, settings, peers), books)


def reload(server: DimseServer, settings: Settings, peers: Iterable[KnownPeer]) -> None:
    """Take over what can change while associations are open: titles, peers, users, limits, timeouts and certificates.

    Addresses stay. Raises SettingsError, and then nothing has changed.
    """
    tls = server_context(settings)
    server.reconfigure(_config(server.services, settings, peers), tls)


def _config(offered: Services, settings: Settings, peers: Iterable[KnownPeer]) -> ServerConfig:
    peers = tuple(peers)
    titles = [_title("aet", settings.dimse_aet)]
    titles += [_title("other_aets", one) for one in settings.dimse_other_aets.split(",") if one.strip()]
    policy = Policy(
        offered.supports,
        IMPLEMENTATION_CLASS_UID,
        IMPLEMENTATION_VERSION_NAME,
        titles=frozenset(titles),
        check_called=settings.dimse_check_called_aet,
        max_pdu=settings.dimse_max_pdu,
        operations=settings.dimse_operations,
        window=settings.dimse_window,
        preference=_preferred(settings.dimse_transfer_syntaxes),
        callers={peer.aet: allowed(offered.supports, peer.services) for peer in peers},
        check_calling=settings.dimse_check_calling_aet,
    )
    places = Places(
        settings.dimse_max_associations,
        settings.dimse_max_associations_per_aet,
        settings.dimse_max_associations_per_address,
        settings.dimse_max_waiting,
        settings.dimse_max_waiting_per_address,
        settings.dimse_max_verifying_per_address,
        {peer.aet: peer.max_associations for peer in peers if peer.max_associations is not None},
    )
    return ServerConfig(
        policy,
        connection_config(settings),
        places,
        settings.dimse_drain_timeout,
        settings.dimse_response_timeout,
        authenticator_of(settings),
        settings.dimse_require_user,
    )


def _preferred(text: str) -> tuple[str, ...]:
    by_keyword = {row.keyword: uid for uid, row in TRANSFER_SYNTAXES.items()}
    names = [name.strip() for name in text.split(",") if name.strip()]
    uids = [by_keyword.get(name, name) for name in names]
    for name, uid in zip(names, uids, strict=True):
        if uid not in TRANSFER_SYNTAXES:
            raise SettingsError(f"dimse.transfer_syntaxes: {name} is no transfer syntax of PS3.6")
    return tuple(uids)


def _title(row: str, text: str) -> str:
    try:
        return ae_title(text.strip())
    except ValueError as error:
        raise SettingsError(f"dimse.{row}: {error}") from None


@dataclass(frozen=True)
class Listener:
    """A bound socket, and with what TLS it is served."""

    socket: socket.socket
    tls: ssl.SSLContext | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self.socket.getsockname()[:2]
        return host, port


def dimse_listeners(settings: Settings) -> list[Listener]:
    """Sockets at the settings' addresses: without TLS unless that is switched off, and with TLS, on a port of its own,
    where there is a certificate. Raises CannotListen and, for what is wrong with certificates, SettingsError."""
    tls = server_context(settings)
    _allow_descriptors(4 * settings.dimse_max_associations + settings.dimse_max_waiting)
    listeners = []
    if not settings.tls_only:
        listeners.append(Listener(listening_socket(settings.dimse_host, settings.dimse_port, "DIMSE")))
    if tls is not None:
        try:
            secured = listening_socket(settings.dimse_host, settings.dimse_tls_port, "DIMSE", secured=True)
        except CannotListen:
            for listener in listeners:
                listener.socket.close()
            raise
        listeners.append(Listener(secured, tls))
    return listeners


def _allow_descriptors(count: int) -> None:
    """Have the system allow us so many sockets and files, if it may be asked: many a one begins with 1024, which the
    connections that our own limits allow would use up, and then nobody could be accepted."""
    if sys.platform == "win32":
        return  # it has no such limit
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 1024 if hard == resource.RLIM_INFINITY else min(count + 1024, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def listening_socket(host: str, port: int, what: str, *, secured: bool = False) -> socket.socket:
    """A socket bound to the address, for `what` ("DIMSE"). Raises CannotListen.

    Whoever listens beyond this machine without TLS (`secured`) is told so in the log.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise CannotListen(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    # Accepted sockets inherit it. asyncio sets it only on sockets whose protocol number is given, which these lack, and
    # Nagle's algorithm with the peer's delayed acknowledgement costs 40 ms an answer.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not secured and host not in ("127.0.0.1", "::1", "localhost"):
        log.warning("%s listens on %s without TLS or authentication: who reaches it can read and store", what, host)
    return listener
