"""The composition root: settings in, a running archive with its DIMSE and web skins out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

from isocenter.archive.archive import Archive
from isocenter.archive.commitments import COMMITMENT_WEB
from isocenter.archive.routing import FORWARD, NOTIFY, Rule
from isocenter.dimse.availability import Notifier, log_notification
from isocenter.dimse.commitment import COMMITMENT, ArchiveCommitment
from isocenter.dimse.commitment_request import COMMITMENT_REQUEST, CommitmentRequests
from isocenter.dimse.endpoint import dimse_listeners, dimse_server, listening_socket
from isocenter.dimse.endpoint import reload as reload_dimse
from isocenter.dimse.forward import Forwarder
from isocenter.dimse.query import ArchiveFinder
from isocenter.dimse.retrieve import ArchiveRetriever
from isocenter.dimse.storage import ArchiveStorage
from isocenter.dimse.views import Views
from isocenter.errors import SettingsError
from isocenter.known_peers import KnownPeer
from isocenter.pixels import isolation
from isocenter.pixels.isolation import Bounds, isolated
from isocenter.services.availability import AvailabilityService
from isocenter.services.query import QueryService
from isocenter.services.retrieve import RetrieveService
from isocenter.services.storage import StorageService
from isocenter.services.storage_commitment import StorageCommitmentService
from isocenter.services.verification import VerificationService
from isocenter.settings import Settings
from isocenter.web.app import create_app
from isocenter.web.serving import WebServer
from isocenter.wire.limits import Limits

log = logging.getLogger("isocenter.server")


@dataclass(frozen=True)
class Node:
    """A running archive and where it listens."""

    archive: Archive
    dimse: tuple[str, int]
    web: tuple[str, int]
    settings: Settings
    dimse_tls: tuple[str, int] | None
    reload: Callable[[Settings, Iterable[KnownPeer], Iterable[Rule]], None]
    """Take over what dimse.endpoint.reload() can, and other peers and rules; raises SettingsError and then changes
    nothing."""

    @property
    def address(self) -> str:
        """AET@HOST:PORT of the DIMSE side; where it listens without TLS, if it does."""
        return self._title_at(*self.dimse)

    @property
    def tls_address(self) -> str | None:
        """AET@HOST:PORT where it listens with TLS."""
        return None if self.dimse_tls is None else self._title_at(*self.dimse_tls)

    def _title_at(self, host: str, port: int) -> str:
        return f"{self.settings.dimse_aet}@{f'[{host}]' if ':' in host else host}:{port}"

    @property
    def url(self) -> str:
        host, port = self.web
        scheme = "https" if self.settings.web_tls else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"


@contextlib.asynccontextmanager
async def running(
    settings: Settings,
    peers: Iterable[KnownPeer] = (),
    rules: Iterable[Rule] = (),
    *,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[Node]:
    """The archive of `settings`, serving both skins while the context lasts; objects are moved to `peers` only, and
    forwarded to them by `rules`. `clock` is that of Archive.open().

    Raises DataFolderInUse, DataFolderError, CannotListen or SettingsError before anything is served.
    """
    async with await Archive.open(settings.archive_data, settings, clock=clock) as archive:
        storage = StorageService(ArchiveStorage(archive), private=settings.archive_private_sop_classes, sends=True)
        views = Views(archive, Limits.of(settings))
        query = QueryService(ArchiveFinder(archive, views), settings.dimse_aet, Limits.of(settings))
        destinations: dict[str, KnownPeer] = {peer.aet: peer for peer in peers}  # one table, changed by reload()
        retriever = ArchiveRetriever(archive, settings, destinations.get, views)
        retrieve = RetrieveService(retriever, clock=time.monotonic, limits=Limits.of(settings))
        commitment = ArchiveCommitment(archive, settings, destinations.get)
        available = AvailabilityService(log_notification, Limits.of(settings))

        def named(name: str) -> KnownPeer | None:
            return next((peer for peer in destinations.values() if peer.name == name), None)

        requests = CommitmentRequests(archive, settings, named)
        committing = StorageCommitmentService(commitment, requests.hear)
        services = (VerificationService(), storage, query, retrieve, committing, available)
        dimse = dimse_server(services, settings, destinations.values())
        archive.router.replace(settings, rules, destinations.values())

        def reload(changed: Settings, others: Iterable[KnownPeer], new_rules: Iterable[Rule]) -> None:
            known: dict[str, KnownPeer] = {peer.aet: peer for peer in others}
            others_ready = (app.state.gate.reloading(changed), web.reloading(changed))
            reload_dimse(dimse, changed, known.values())
            for take_over in others_ready:
                take_over()
            destinations.clear()
            destinations.update(known)
            archive.router.replace(changed, new_rules, known.values())
            archive.jobs.wake()

        app = create_app(archive, settings, destinations.values)
        web = WebServer(app, settings)
        web_socket = listening_socket(settings.web_host, settings.web_port, "The web server", secured=True)
        bounds = Bounds(settings.limits_codec_seconds, settings.limits_codec_memory)
        with contextlib.closing(web_socket), isolated(settings.limits_codec_processes, bounds):
            for listener in dimse_listeners(settings):
                await dimse.listen(listener.socket, listener.tls)
            archive.jobs.start(
                {
                    FORWARD: Forwarder(archive, settings, named),
                    NOTIFY: Notifier(archive, settings, named),
                    COMMITMENT: commitment,
                    COMMITMENT_WEB: archive.commitments,
                    COMMITMENT_REQUEST: requests,
                }
            )
            serving = asyncio.create_task(web.serve(sockets=[web_socket]))
            try:
                listening = asyncio.create_task(web.listening.wait())
                await asyncio.wait((listening, serving), return_when=asyncio.FIRST_COMPLETED)
                if serving.done():
                    serving.result()
                host, port = web_socket.getsockname()[:2]
                yield Node(archive, dimse.address, (host, port), settings, dimse.tls_address, reload)
            finally:
                archive.feed.end()  # or those who follow it would keep their connections open
                archive.work.feed.end()
                web.should_exit = True
                await dimse.close()
                await serving
                app.state.gate.seen.flush()


Loaded = tuple[Settings, Iterable[KnownPeer], Iterable[Rule]]


async def serve(load: Callable[[], Loaded], ready: Callable[[Node], object]) -> None:
    """Run until SIGINT or SIGTERM; `ready` is called (and awaited, if it gives an awaitable) once both skins listen.

    `load` reads settings, peers and rules; SIGHUP has it called again. What cannot be used is logged and changes
    nothing.
    """
    settings, peers, rules = load()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with running(settings, peers, rules) as node:
        result = ready(node)
        loop.add_signal_handler(signal.SIGHUP, _reload, node, load)
        work = asyncio.ensure_future(result) if asyncio.iscoroutine(result) else None
        warming = asyncio.ensure_future(asyncio.to_thread(isolation.warm))
        await stop.wait()
        log.info("stopping: open associations have %g s to finish", settings.dimse_drain_timeout)
        if work is not None:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
        await warming


def _reload(node: Node, load: Callable[[], Loaded]) -> None:
    try:
        node.reload(*load())
    except SettingsError as error:
        log.error("nothing was reloaded: %s", error)
    else:
        log.info("reloaded: titles, peers, rules, users, limits and certificates; addresses need a new start")
