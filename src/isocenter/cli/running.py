"""What commands that talk to the network share: settings from the command line, logging, the event loop."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from isocenter.net.address import host_and_port
from isocenter.settings import Settings, load

T = TypeVar("T")

Config = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE.toml", help="Settings file; see `isocenter settings`.")
]
Certificate = Annotated[str | None, typer.Option("--cert", metavar="FILE", help="Our certificate (PEM).")]
Key = Annotated[str | None, typer.Option("--key", metavar="FILE", help="Its private key (PEM).")]
Authorities = Annotated[
    str | None, typer.Option("--ca", metavar="FILE", help="Certificates of the authorities we trust (PEM).")
]
TlsPort = Annotated[
    int | None,
    typer.Option("--tls-port", metavar="PORT", min=0, max=65535, help="Where to listen with TLS; needs --cert."),
]


def settings_from(config: Path | None, *, dimse: str | None = None, http: str | None = None, **rows: Any) -> Settings:
    """Settings of file, environment and the options of this command line (None: not given), as load() orders them."""
    if dimse is not None:
        rows["dimse_host"], rows["dimse_port"] = host_and_port(dimse, lowest=0)
    if http is not None:
        rows["web_host"], rows["web_port"] = host_and_port(http, lowest=0)
    return load(config, rows)


def tls_listener(port: int | None, cert: str | None, key: str | None, ca: str | None) -> dict[str, Any]:
    """Rows of the settings for the TLS options of a server."""
    return {"dimse_tls_port": port, "tls_certificate": cert, "tls_key": key, "tls_ca": ca}


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        import json  # not before: most commands write no such line

        return json.dumps(line, ensure_ascii=False)


def start_logging(settings: Settings) -> None:
    """Log lines on stderr, in the form and from the level of the `log` settings."""
    handler = logging.StreamHandler(sys.stderr)
    if settings.log_format == "json":
        handler.setFormatter(_JsonLines())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("isocenter").setLevel(settings.log_level.upper())


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine, on uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)
