"""What is counted, for Prometheus. Labels are names of our own resources, never paths, which hold UIDs."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from isocenter.web.context import context_of

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """One registry per application, so that two in one process do not add up."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "isocenter_http_requests", "Answered requests.", ["resource", "method", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "isocenter_http_request_seconds",
            "Time from request to the end of its answer.",
            ["resource"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.open = Gauge("isocenter_http_requests_open", "Requests being answered.", registry=self.registry)
        self.stored = Counter(
            "isocenter_stow_instances", "Instances of Store requests.", ["outcome"], registry=self.registry
        )
        self.archived = Gauge("isocenter_archive", "What the archive holds.", ["what"], registry=self.registry)


async def metrics(request: Request) -> Response:
    """`/metrics`."""
    statistics = await context_of(request).archive.statistics()
    table: Metrics = request.app.state.metrics
    for what in ("patients", "studies", "series", "instances", "non_patient", "bytes"):
        table.archived.labels(what).set(getattr(statistics, what))
    return Response(generate_latest(table.registry), headers={"content-type": CONTENT_TYPE_LATEST})
