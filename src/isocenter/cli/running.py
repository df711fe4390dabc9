"""What commands that talk to the network share: settings from the command line, logging, the event loop."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from isocenter.net.address import host_and_port
from isocenter.settings import Settings, load

T = TypeVar("T")

_LAST_WORD = 2.0  # seconds for what a peer still says when it was told to stop

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


class _Interrupted(Exception):
    """Ctrl-C, where it was waited for the peer's last word."""


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine, on uvloop where it is installed."""
    try:
        try:
            import uvloop
        except ImportError:
            return asyncio.run(work)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work)
    except _Interrupted:
        raise KeyboardInterrupt from None


@contextmanager
def cancelled_by_ctrl_c(cancel: Callable[[], bool]) -> Iterator[None]:
    """For a coroutine's block that asks a peer: the first Ctrl-C does `cancel`, which says whether there was anything
    to, and the peer has a moment to end it; the second waits for nothing, and neither does one before anything is
    asked."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    waiting: asyncio.TimerHandle | None = None

    def interrupted() -> None:
        nonlocal waiting
        if waiting is None and cancel():
            waiting = loop.call_later(_LAST_WORD, task.cancel)
            # In front of what the terminal shows of the key
            sys.stderr.write(f"\ncancelled; waiting {_LAST_WORD:g} s for the peer's last word (Ctrl-C again: not)\n")
        else:
            waiting = waiting or loop.call_later(0, task.cancel)
            task.cancel()

    if threading.current_thread() is not threading.main_thread():  # where no signal comes
        yield
        return
    loop.add_signal_handler(signal.SIGINT, interrupted)
    try:
        yield
    except asyncio.CancelledError:
        if waiting is None:
            raise
        raise _Interrupted from None
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        if waiting is not None:
            waiting.cancel()
    if waiting is not None:
        raise _Interrupted
