"""What every command that calls a peer can be told: our title, TLS, and who asks. Declared once.

Typer makes options of a function's parameters, and wants each there. So the commands have one parameter of type Call,
and options() shows Typer its fields in its place.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from isocenter.cli import running
from isocenter.errors import UsageError
from isocenter.known_peers import KnownPeer, load_peers
from isocenter.net.address import parse_address

if TYPE_CHECKING:
    from isocenter.net.web_client import Service
    from isocenter.settings import Settings
    from isocenter.wire.pdu import UserIdentity

PeerAddress = Annotated[
    str,
    typer.Argument(metavar="AET@HOST:PORT", help="The peer, as PACS@10.0.0.5:11112, or its name in the settings file."),
]

AnyAddress = Annotated[
    str,
    typer.Argument(
        metavar="ADDRESS",
        help="The peer, as PACS@10.0.0.5:11112 or by its name in the settings file; or a DICOMweb service, as "
        "https://host/dicomweb.",
    ),
]

# Kinds of User Identity (PS3.7 Table D.3-14) by what a person calls them
_KINDS = {"kerberos": 3, "saml": 4, "jwt": 5}
_TOKEN, _PASSCODE = "ISOCENTER_TOKEN", "ISOCENTER_PASSCODE"
_READ = 0x10000  # bytes of a token file; one more than can be sent is enough to say so


def is_web(address: str) -> bool:
    """Whether an address is that of a DICOMweb service."""
    return address.startswith(("http://", "https://"))


@dataclass(frozen=True)
class Call:
    """The options, as they were given."""

    calling: Annotated[
        str | None, typer.Option("--calling", metavar="AET", help="Our AE title (default: dimse.aet).")
    ] = None
    tls: Annotated[
        bool, typer.Option("--tls", help="Connect with TLS (PS3.15 B.12); by itself for a peer whose settings say so.")
    ] = False
    ca: running.Authorities = None
    cert: running.Certificate = None
    key: running.Key = None
    no_verify_host: Annotated[
        bool, typer.Option("--no-verify-host", help="Take a certificate that names another host than the peer's.")
    ] = False
    user: Annotated[
        str | None,
        typer.Option(
            "--user", metavar="NAME", help=f"Who asks (User Identity); passcode from {_PASSCODE}, or asked for."
        ),
    ] = None
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file", metavar="FILE", help=f"A token that says who asks; - is stdin. [default: from {_TOKEN}]"
        ),
    ] = None
    token_kind: Annotated[
        str, typer.Option("--token-kind", metavar="KIND", help=f"What it is: {', '.join(reversed(_KINDS))}.")
    ] = "jwt"
    config: running.Config = None

    def settings(self, **rows: Any) -> Settings:
        """Settings of file, environment and these options, and of `rows` (None: not given)."""
        return running.settings_from(
            self.config,
            tls_certificate=self.cert,
            tls_key=self.key,
            tls_ca=self.ca,
            tls_verify_host=False if self.no_verify_host else None,
            **rows,
        )

    def peer(self, text: str) -> KnownPeer:
        """The peer that `text` names in the settings file, or else spells out. Raises UsageError or SettingsError."""
        known = load_peers(self.config)
        if text in known:
            return known[text]
        if known and "@" not in text:
            raise UsageError(f"{text!r} is neither AET@HOST:PORT nor one of {', '.join(known)} in {self.config}")
        if self.config is None and not set("@:") & set(text):
            raise UsageError(
                f"{text!r} is not AET@HOST:PORT, and peers have names in a file of settings alone (--config)"
            )
        address = parse_address(text)
        return KnownPeer(text, address.aet, address.host, address.port)

    def web(self, url: str, settings: Settings) -> Service:
        """The DICOMweb service at a URL, asked by whom these options say. Raises UsageError, TlsError."""
        from isocenter.net.web_client import Service

        if self.user is not None and self.token_file is not None:
            raise UsageError("--user and --token-file: one of them says who asks")
        token = _token_in(self.token_file) if self.user is None else None
        return Service(
            url,
            token=None if token is None else token.decode("ascii", "replace").strip(),
            user=self.user,
            passcode=None if self.user is None else _passcode_of(self.user),
            settings=settings,
        )

    def connecting(self, known: KnownPeer, settings: Settings) -> dict[str, Any]:
        """The keyword arguments of isocenter.connect for a peer. Asks for a passcode where there is none. Raises
        UsageError."""
        if not (self.tls or known.tls):
            given = {"--ca": self.ca, "--cert": self.cert, "--key": self.key, "--no-verify-host": self.no_verify_host}
            idle = [name for name, value in given.items() if value]
            if idle:
                raise UsageError(f"{', '.join(idle)}: without --tls, {known.address} would be called in the clear")
        return {
            "calling": self.calling or settings.dimse_aet,
            "settings": settings,
            "tls": self.tls or known.tls,
            "identity": self._identity(),
        }

    def _identity(self) -> UserIdentity | None:
        if self.token_kind not in _KINDS:
            raise UsageError(f"--token-kind is one of {', '.join(reversed(_KINDS))}")
        if self.user is not None and self.token_file is not None:
            raise UsageError("--user and --token-file: one of them says who asks")
        if self.user is not None:
            from isocenter.net.identity import user_identity

            return user_identity(self.user, _passcode_of(self.user))
        token = _token_in(self.token_file)
        if token is None:
            return None
        from isocenter.net.identity import credential_identity

        # A ticket is binary; the others are text, which an editor ends with a line feed.
        return credential_identity(_KINDS[self.token_kind], token if self.token_kind == "kerberos" else token.strip())


def _token_in(file: Path | None) -> bytes | None:
    if file is None:
        text = os.environ.get(_TOKEN)
        return text.encode() if text else None
    if file == Path("-"):
        return sys.stdin.buffer.read(_READ)
    try:
        with file.open("rb") as stream:
            return stream.read(_READ)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None


def _passcode_of(user: str) -> str | None:
    """Never from a command line, where everybody could read it. None: the name is all."""
    known = os.environ.get(_PASSCODE)
    if known is None and sys.stdin.isatty():
        known = typer.prompt(f"Passcode of {user}", hide_input=True, default="", show_default=False, err=True)
    return known or None


def options(command: Callable[..., None]) -> Callable[..., None]:
    """`command`, whose parameter of type Call appears as the options that are its fields."""
    hints = get_type_hints(command, include_extras=True)
    (place,) = (name for name, hint in hints.items() if hint is Call)
    of_call = get_type_hints(Call, include_extras=True)
    spread = [
        inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=of_call[one.name])
        for one in fields(Call)
    ]
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        parameters += spread if parameter.name == place else [parameter.replace(annotation=hints[parameter.name])]

    @functools.wraps(command)
    def called(**given: Any) -> None:
        call = Call(**{one.name: given.pop(one.name) for one in fields(Call)})
        command(**given, **{place: call})

    # Typer looks at both.
    vars(called)["__signature__"] = inspect.Signature(parameters)
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return called
