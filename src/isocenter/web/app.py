"""The web skin: DICOMweb under /dicomweb, the viewer at /, /healthz and /metrics.

It translates between HTTP and the archive and decides nothing about what is kept or found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Route

from isocenter.errors import IsocenterError
from isocenter.settings import Settings
from isocenter.web import (
    bulkdata,
    capabilities,
    changes,
    commitment,
    delete,
    frames,
    modality,
    npi,
    ohif,
    operation,
    pages,
    qido,
    rendered,
    signing_in,
    stow,
    subscriptions,
    uri,
    wado,
    worklist,
)
from isocenter.web.context import Context
from isocenter.web.cors import cors
from isocenter.web.envelope import Envelope
from isocenter.web.errors import on_http_exception, on_isocenter_error
from isocenter.web.forwarded import forwarded
from isocenter.web.gate import Gate
from isocenter.web.health import healthz
from isocenter.web.metrics import Metrics, metrics
from isocenter.web.operation import Peers
from isocenter.web.reception import Hosts, Origins, Reception
from isocenter.wire.limits import Limits

if TYPE_CHECKING:
    from isocenter.archive.archive import Archive

DECODERS = 4  # threads that decode at a time


def create_app(archive: Archive, settings: Settings, peers: Peers = tuple) -> Starlette:
    """The ASGI application over an open archive, which it does not close; `peers` gives those that objects may be sent
    to, as they are at that moment. Raises SettingsError."""
    table = Metrics()
    origins, gate = Origins(settings), Gate(settings)
    app = Starlette(
        routes=[
            *stow.routes(),
            *qido.routes(),
            *wado.routes(),
            *frames.routes(),
            *bulkdata.routes(),
            *rendered.routes(),
            *npi.routes(),
            *worklist.routes(),
            *subscriptions.routes(),
            *commitment.routes(),
            *modality.routes(),
            *uri.routes(),
            *changes.routes(),
            *capabilities.routes(),
            *delete.routes(),
            *signing_in.routes(),
            *operation.routes(),
            *ohif.routes(settings),
            Route("/healthz", healthz, methods=["GET"]),
            Route("/metrics", metrics, methods=["GET"]),
            *pages.routes(),
        ],
        middleware=[
            Middleware(Envelope, metrics=table),
            *forwarded(settings),
            Middleware(Reception, settings=settings, hosts=Hosts(settings), origins=origins),
            *cors(origins),
            Middleware(gate.layer),
        ],
        exception_handlers={IsocenterError: on_isocenter_error, HTTPException: on_http_exception},
    )
    app.state.context = Context(archive, settings, Limits.of(settings), anyio.CapacityLimiter(DECODERS))
    app.state.metrics = table
    app.state.peers = peers
    app.state.gate = gate
    return app
