"""What commands that talk to the network share: settings from the command line, logging, the event loop."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from isocenter.errors import UsageError
from isocenter.known_peers import KnownPeer, load_peers
from isocenter.net.address import host_and_port, parse_address
from isocenter.settings import Settings, load

T = TypeVar("T")

Config = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE.toml", help="Settings file; see `isocenter settings`.")
]
Calling = Annotated[str | None, typer.Option("--calling", metavar="AET", help="Our AE title (default: dimse.aet).")]
Tls = Annotated[
    bool, typer.Option("--tls", help="Connect with TLS (PS3.15 B.12); by itself for a peer whose settings say so.")
]
Certificate = Annotated[str | None, typer.Option("--cert", metavar="FILE", help="Our certificate (PEM).")]
Key = Annotated[str | None, typer.Option("--key", metavar="FILE", help="Its private key (PEM).")]
Authorities = Annotated[
    str | None, typer.Option("--ca", metavar="FILE", help="Certificates of the authorities we trust (PEM).")
]
NoVerifyHost = Annotated[
    bool, typer.Option("--no-verify-host", help="Take a certificate that names another host than the peer's.")
]
User = Annotated[
    str | None,
    typer.Option(
        "--user", metavar="NAME", help="Who asks (User Identity); passcode from ISOCENTER_PASSCODE, or asked for."
    ),
]
TlsPort = Annotated[
    int | None,
    typer.Option("--tls-port", metavar="PORT", min=0, max=65535, help="Where to listen with TLS; needs --cert."),
]
PeerAddress = Annotated[
    str,
    typer.Argument(metavar="AET@HOST:PORT", help="The peer, as PACS@10.0.0.5:11112, or its name in the settings file."),
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


def tls_caller(cert: str | None, key: str | None, ca: str | None, no_verify_host: bool) -> dict[str, Any]:
    """Rows of the settings for the TLS options of a command that calls a peer."""
    return {
        "tls_certificate": cert,
        "tls_key": key,
        "tls_ca": ca,
        "tls_verify_host": False if no_verify_host else None,
    }


def passcode_of(user: str | None) -> str | None:
    """The passcode of --user: never on a command line, where everybody could read it. None: the name is all."""
    if user is None:
        return None
    known = os.environ.get("ISOCENTER_PASSCODE")
    if known is None and sys.stdin.isatty():
        known = typer.prompt(f"Passcode of {user}", hide_input=True, default="", show_default=False, err=True)
    return known or None


def peer_from(text: str, config: Path | None) -> KnownPeer:
    """The peer that `text` names in the settings file, or else spells out. Raises UsageError or SettingsError."""
    known = load_peers(config)
    if text in known:
        return known[text]
    if known and "@" not in text:
        raise UsageError(f"{text!r} is neither AET@HOST:PORT nor one of {', '.join(known)} in {config}")
    address = parse_address(text)
    return KnownPeer(text, address.aet, address.host, address.port)


def connecting(
    known: KnownPeer, settings: Settings, *, calling: str | None, tls: bool, user: str | None
) -> dict[str, Any]:
    """The keyword arguments of isocenter.connect for a peer, from the options that all commands which call one have."""
    return {
        "calling": calling or settings.dimse_aet,
        "settings": settings,
        "tls": tls or known.tls,
        "user": user,
        "passcode": passcode_of(user),
    }


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
