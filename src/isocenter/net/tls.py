"""TLS for DIMSE: contexts by the profiles of PS3.15 B.12 and B.13, the transport, and its errors in words.

The transport is our own thin one over ssl.SSLObject, and not asyncio's, for three reasons. asyncio and uvloop close a
failed handshake without the alert that tells the peer why; they never tell the protocol that a handshake failed, so a
server could not count connections that have not got that far; and records are decrypted here straight into the
connection's buffer. The Link hears of the connection at once, so one timer (ARTIM) bounds handshake and association
request together; what it writes before the handshake is done waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Any, cast

from isocenter.errors import (
    CertificateExpired,
    CertificateRequired,
    NotTls,
    SettingsError,
    TlsError,
    TlsNegotiationFailed,
    UntrustedCertificate,
    WrongHostName,
)
from isocenter.net.link import Link
from isocenter.settings import Settings

Buffer = bytes | bytearray | memoryview

# RFC 9325 section 4.2: forward secrecy and authenticated encryption. Those of TLS 1.3 all have both, and are OpenSSL's.
_RFC_9325 = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
)
# B.13 asks for the strongest first and has ChaCha20; its DHE suites are for those who can set the length of the key
_MODIFIED = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
)
CIPHER_SUITES = {"bcp195": _RFC_9325, "modified": _MODIFIED}
"""Cipher suites for TLS 1.2 by `tls.profile`, as OpenSSL names them, in our order."""

_VERIFY = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "off": ssl.CERT_NONE}
_LINGER = 1.0  # seconds a refused client gets to read the alert before the connection is reset
_HANDSHAKE_ROOM, _ROOM = 8 * 1024, 128 * 1024
_JOINED = 16 * 1024  # the largest TLS record


# --- contexts ------------------------------------------------------------------------------------------------------


def server_context(settings: Settings) -> ssl.SSLContext | None:
    """The acceptor's context by the `tls` rows; None without a certificate. Raises SettingsError naming the row."""
    if not settings.tls_certificate:
        if settings.tls_only:
            raise SettingsError("tls.only = true: without tls.certificate nothing would listen")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _restrict(context, settings)
    # The server's order decides; a session is not resumed, so a certificate is looked at for each association
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_TICKET
    context.num_tickets = 0
    _load_identity(context, settings)
    context.verify_mode = _VERIFY[settings.tls_verify_peer]
    if context.verify_mode != ssl.CERT_NONE:
        if not settings.tls_ca:
            raise SettingsError(
                f"tls.verify_peer = {settings.tls_verify_peer}: tls.ca has to name the certificates that sign those of "
                "peers; with tls.verify_peer = off everyone may connect"
            )
        load_authorities(context, settings.tls_ca)
    return context


def web_context(settings: Settings) -> ssl.SSLContext | None:
    """The web server's context by the same profile and certificate; None unless web.tls. Browsers are asked for no
    certificate: who they are, they say in HTTP. Raises SettingsError naming the row."""
    if not settings.web_tls:
        return None
    if not settings.tls_certificate:
        raise SettingsError("web.tls = true: tls.certificate has to name our certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _restrict(context, settings)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    _load_identity(context, settings)
    return context


def client_context(settings: Settings) -> ssl.SSLContext:
    """The requestor's context by the `tls` rows. The peer's certificate is always verified, its host name unless
    tls.verify_host is false; without tls.ca the system's authorities count. Raises SettingsError naming the row."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _restrict(context, settings)
    context.check_hostname = settings.tls_verify_host
    if settings.tls_ca:
        load_authorities(context, settings.tls_ca)
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if settings.tls_certificate:
        _load_identity(context, settings)
    elif settings.tls_key:
        raise SettingsError("tls.key: without tls.certificate the key has no use")
    return context


def _restrict(context: ssl.SSLContext, settings: Settings) -> None:
    """What both profiles forbid: versions before 1.2 (RFC 8996), weak suites and keys, compression, renegotiation."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Level 2: no key under 112 bits of security (RSA 2048, ECDHE 224), no SHA-1 in signatures
    context.set_ciphers(":".join((*CIPHER_SUITES[settings.tls_profile], "@SECLEVEL=2")))
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION


def _load_identity(context: ssl.SSLContext, settings: Settings) -> None:
    certificate, key = settings.tls_certificate, settings.tls_key or settings.tls_certificate
    asked = False

    def passphrase() -> str:
        nonlocal asked
        asked = True
        return ""

    for row, file in (("certificate", certificate), ("key", key)):
        try:
            Path(file).open("rb").close()
        except OSError as error:
            raise SettingsError(f"tls.{row} = {file}: {error.strerror}") from None
    try:
        context.load_cert_chain(certificate, key, passphrase)
    except ssl.SSLError as error:
        if asked:
            why = "the key is encrypted; a server cannot ask for its passphrase: store it without, readable for it only"
        elif error.reason == "KEY_VALUES_MISMATCH":
            why = f"the key does not belong to the certificate {certificate}; both have to come from one request"
        elif error.reason in ("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"):
            why = "the certificate is too weak: RSA of 2048 bits or an elliptic curve of 256, and SHA-256, are needed"
        else:
            why = f"certificate and key are needed in PEM form ({error.reason or 'nothing of the kind found'})"
        raise SettingsError(f"tls.key = {key}: {why}") from None


def load_authorities(context: ssl.SSLContext, place: str) -> None:
    """Trust the certificates of `tls.ca`, a file or hashed folder. Raises SettingsError."""
    try:
        if Path(place).is_dir():
            context.load_verify_locations(capath=place)
        else:
            context.load_verify_locations(cafile=place)
    except ssl.SSLError:
        raise SettingsError(f"tls.ca = {place}: no certificate in PEM form in it") from None
    except OSError as error:
        raise SettingsError(f"tls.ca = {place}: {error.strerror}") from None


# --- errors in words -----------------------------------------------------------------------------------------------

_EXPIRED, _NOT_YET_VALID = 10, 9  # X509_V_ERR_...
_SELF_SIGNED = (18, 19)
_WRONG_NAME = (62, 64)
_TOO_WEAK = (66, 67, 68)

# What follows ALERT_ in OpenSSL's reason; what comes before depends on its version
_ALERTS: dict[str, tuple[type[TlsError], str]] = {
    "PROTOCOL_VERSION": (TlsNegotiationFailed, "the peer speaks no version of TLS that we do (1.2 and 1.3)"),
    "INSUFFICIENT_SECURITY": (TlsNegotiationFailed, "the peer wants stronger cipher suites than we offer"),
    "INAPPROPRIATE_FALLBACK": (TlsNegotiationFailed, "the peer refused a downgrade"),
    "CERTIFICATE_REQUIRED": (CertificateRequired, "the peer wants a certificate of ours, and got none"),
    "UNKNOWN_CA": (UntrustedCertificate, "the peer does not know the authority that signed our certificate"),
    "CERTIFICATE_EXPIRED": (CertificateExpired, "our certificate has expired, says the peer"),
    "CERTIFICATE_REVOKED": (UntrustedCertificate, "our certificate has been revoked, says the peer"),
    "BAD_CERTIFICATE": (UntrustedCertificate, "the peer does not accept our certificate"),
    "UNSUPPORTED_CERTIFICATE": (UntrustedCertificate, "the peer does not accept our kind of certificate"),
    "CERTIFICATE_UNKNOWN": (UntrustedCertificate, "the peer does not accept our certificate"),
    "ACCESS_DENIED": (UntrustedCertificate, "the peer does not admit our certificate"),
}
_REASONS: dict[str, tuple[type[TlsError], str]] = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": (CertificateRequired, "the client showed no certificate"),
    "UNSUPPORTED_PROTOCOL": (TlsNegotiationFailed, "the peer speaks no version of TLS that we do (1.2 and 1.3)"),
    "NO_SHARED_CIPHER": (TlsNegotiationFailed, "the peer offers no cipher suite of RFC 9325 that fits the certificate"),
    "INAPPROPRIATE_FALLBACK": (TlsNegotiationFailed, "the peer tried a downgrade"),
    "UNEXPECTED_EOF_WHILE_READING": (TlsNegotiationFailed, "the peer closed the connection in the TLS handshake"),
}


def explain(error: ssl.SSLError, first: int | None = None, *, chosen: bool = False) -> TlsError:
    """A typed error in words. `first` is the first byte the peer sent; `chosen` that version and suite were agreed."""
    if first is not None and not 0x14 <= first <= 0x17:  # record types of RFC 8446 section 5.1
        known = {0x01: " (an association request)", 0x03: " (a rejection)", 0x07: " (an abort)"}.get(first, "")
        return NotTls(f"the peer speaks without TLS{known}")
    if isinstance(error, ssl.SSLCertVerificationError):
        return _explain_certificate(error)
    reason = error.reason or ""
    _, _, alert = reason.partition("ALERT_")
    if alert in _ALERTS:
        kind, text = _ALERTS[alert]
        return kind(text)
    if alert == "HANDSHAKE_FAILURE":
        # TLS 1.2 has one alert for both; which one it is, is told by how far the handshake came
        if chosen:
            return CertificateRequired("the peer ended the handshake after ours began: it wants a certificate of ours")
        return TlsNegotiationFailed("the peer and we have no version of TLS or no cipher suite in common")
    if reason in _REASONS:
        kind, text = _REASONS[reason]
        return kind(text)
    return TlsError(f"TLS failed: {reason.replace('_', ' ').lower() or error}")


def _explain_certificate(error: ssl.SSLCertVerificationError) -> TlsError:
    code, said = error.verify_code, error.verify_message
    if code == _EXPIRED:
        return CertificateExpired("the peer's certificate, or one of its authorities', has expired")
    if code == _NOT_YET_VALID:
        return CertificateExpired("the peer's certificate is not valid yet (or a clock is wrong)")
    if code in _WRONG_NAME:
        return WrongHostName(said.rstrip("."))
    if code in _SELF_SIGNED:
        return UntrustedCertificate(
            "the peer's certificate is self-signed, or signed by an authority nobody vouches for"
        )
    if code in _TOO_WEAK:
        return UntrustedCertificate(f"the peer's certificate is too weak: {said}")
    return UntrustedCertificate(f"the peer's certificate is not trusted: {said}")


# --- transport -----------------------------------------------------------------------------------------------------


class _Phase(Enum):
    HANDSHAKE = 1
    OPEN = 2
    ENDING = 3  # nothing is read or written any more


class TlsTransport(asyncio.Transport, asyncio.BufferedProtocol):
    """TLS between a TCP transport and a Link: the protocol of the one and the transport of the other.

    However it ends, the Link hears of it once, by connection_lost(); a failure of TLS is its argument, as TlsError.
    """

    def __init__(
        self, link: Link, context: ssl.SSLContext, *, server_side: bool, server_hostname: str | None = None
    ) -> None:
        super().__init__()
        self._link = link
        self._server_side = server_side
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        name = server_hostname.rstrip(".") if server_hostname else None
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side, name)
        self._tcp: asyncio.Transport | None = None
        self._phase = _Phase.HANDSHAKE
        self._first: int | None = None
        self._waiting: list[bytes] = []
        self._room: memoryview | None = None
        self._paused = False
        self._error: TlsError | None = None
        self._linger: asyncio.TimerHandle | None = None

    # --- protocol of the TCP transport -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._tcp = cast(asyncio.Transport, transport)
        self._link.connection_made(self)
        if not self._server_side:
            self._shake()

    def get_buffer(self, sizehint: int) -> memoryview:
        size = _ROOM if self._phase is _Phase.OPEN else _HANDSHAKE_ROOM
        if self._room is None or len(self._room) < size:
            self._room = memoryview(bytearray(size))
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        assert self._room is not None
        if self._first is None:
            self._first = self._room[0]
        if self._phase is _Phase.ENDING:
            return
        self._incoming.write(self._room[:nbytes])
        if self._phase is _Phase.HANDSHAKE:
            self._shake()
        self._read()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._tcp = None
        if self._phase is _Phase.HANDSHAKE:
            self._error = TlsNegotiationFailed("the peer closed the connection in the TLS handshake")
        self._phase = _Phase.ENDING
        if self._linger is not None:
            self._linger.cancel()
        self._link.connection_lost(self._error or exc)

    def pause_writing(self) -> None:
        self._link.pause_writing()

    def resume_writing(self) -> None:
        self._link.resume_writing()

    # --- transport of the Link ---------------------------------------------------------------------------------

    def write(self, data: Buffer) -> None:
        self.writelines((data,))

    def writelines(self, list_of_data: Iterable[Buffer]) -> None:
        if self._phase is _Phase.HANDSHAKE:
            self._waiting += map(bytes, list_of_data)
            return
        if self._phase is not _Phase.OPEN:
            return
        parts = list(list_of_data)
        if sum(map(len, parts)) <= _JOINED:
            parts = [b"".join(parts)]  # one record, where each part would be one
        try:
            for part in parts:
                self._encrypt(memoryview(part))
        except ssl.SSLError as error:
            self._fail(explain(error))
        self._flush()

    def close(self) -> None:
        if self._phase is _Phase.ENDING:
            return
        if self._phase is _Phase.OPEN:
            with contextlib.suppress(ssl.SSLError):  # we do not wait for the peer's close_notify
                self._tls.unwrap()
        self._phase = _Phase.ENDING
        self._flush()
        if self._tcp is not None:
            self._tcp.close()

    def abort(self) -> None:
        self._phase = _Phase.ENDING
        if self._tcp is not None:
            self._tcp.abort()

    def get_write_buffer_size(self) -> int:
        return 0 if self._tcp is None else self._tcp.get_write_buffer_size()

    def is_closing(self) -> bool:
        return self._phase is _Phase.ENDING or self._tcp is None or self._tcp.is_closing()

    def pause_reading(self) -> None:
        if not self._paused:
            self._paused = True
            if self._tcp is not None:
                self._tcp.pause_reading()

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            # Not at once: the Link resumes from within its own reading
            self._link.loop.call_soon(self._resume)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "ssl_object":
            return self._tls
        return default if self._tcp is None else self._tcp.get_extra_info(name, default)

    # --- inside ------------------------------------------------------------------------------------------------

    def _shake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except ssl.SSLError as error:
            self._fail(explain(error, self._first, chosen=not self._server_side and self._tls.cipher() is not None))
            return
        self._phase = _Phase.OPEN
        waiting, self._waiting = self._waiting, []
        self.writelines(waiting)

    def _read(self) -> None:
        """Decrypt what has arrived into the Link's buffer, as long as the Link takes it."""
        drained = False
        while self._phase is _Phase.OPEN and not self._paused and not drained:
            buffer = self._link.get_buffer(-1)
            filled, closed = 0, False
            failure: TlsError | None = None
            try:
                while filled < len(buffer):
                    # With a buffer it gives a count, which its type does not tell
                    count = cast(int, self._tls.read(len(buffer) - filled, cast(bytearray, buffer[filled:])))
                    filled += count
                    if not count:
                        closed = True
                        break
            except ssl.SSLWantReadError:
                drained = True
            except ssl.SSLError as error:
                failure = explain(error)
            if filled:
                self._link.buffer_updated(filled)
            if failure is not None:
                self._fail(failure)
            elif closed:
                self.close()
        if drained:
            self._flush()

    def _resume(self) -> None:
        self._read()
        if not self._paused and self._tcp is not None and not self._tcp.is_closing():
            self._tcp.resume_reading()

    def _encrypt(self, view: memoryview) -> None:
        while view:
            view = view[self._tls.write(view) :]

    def _flush(self) -> None:
        if self._outgoing.pending and self._tcp is not None and not self._tcp.is_closing():
            self._tcp.write(self._outgoing.read())

    def _fail(self, error: TlsError) -> None:
        """Send the alert and end. A reset would overtake it at a client that is still sending: let that one finish."""
        if self._phase is _Phase.ENDING:
            return
        self._error = error
        self._phase = _Phase.ENDING
        self._flush()
        if self._tcp is None:
            return
        if self._server_side and self._tcp.can_write_eof():
            self._tcp.write_eof()
            self._linger = self._link.loop.call_later(_LINGER, self._tcp.abort)
        else:
            self._tcp.close()
