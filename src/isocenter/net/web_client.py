"""A DICOMweb service as a client sees it: search, retrieve, store (PS3.18 section 10).

    with isocenter.web_client("https://pacs.example.org/dicomweb") as pacs:
        for match in pacs.find("STUDY", PatientID="12*", StudyDate="20240101-"): ...
        for path in pacs.get("folder", study=uid): ...
        for outcome in pacs.store(paths): ...

It blocks, on connections of the standard library; answers are read as they come, whatever their size. Files that are
retrieved have names of ours.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import secrets
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self
from urllib.parse import quote, unquote, urlencode, urlsplit

from isocenter.errors import (
    BadRequest,
    ConnectFailed,
    IsocenterError,
    NetworkError,
    NotAcceptable,
    NotFound,
    ProtocolError,
    TlsError,
    UsageError,
)
from isocenter.names import is_uid
from isocenter.net.as_file import file_of, several
from isocenter.settings import Settings
from isocenter.wire.mediatypes import parse_media_type
from isocenter.wire.multipart import MultipartParser, PartData, PartEnded, PartStarted

if TYPE_CHECKING:
    from pydicom import Dataset

_TIMEOUT = 300.0
_STALE = 2.0  # seconds idle after which a server may have hung up; a body cannot be sent twice
_PIECE = 1 << 20
_PAGE = 1000
_MOST_JSON = 256 << 20  # bytes of one answer that are held
_BATCH_OBJECTS, _BATCH_BYTES = 50, 64 << 20
_LEVELS = {"STUDY": "studies", "SERIES": "series", "IMAGE": "instances"}
_REFUSALS: dict[int, type[IsocenterError]] = {400: BadRequest, 404: NotFound, 406: NotAcceptable}
_FAILED, _STORED, _REASON, _WARNED, _INSTANCE = "00081198", "00081199", "00081197", "00081196", "00081155"


class Service:
    """Where a service is, and the connections there. Used by several threads."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        user: str | None = None,
        passcode: str | None = None,
        settings: Settings | None = None,
        named: str = "",
    ) -> None:
        """Who asks is `token` (Bearer), or `user` with `passcode` or those in the URL (Basic). `named` stands before
        the URL in messages. Raises UsageError."""
        self._idle: list[tuple[float, http.client.HTTPConnection]] = []
        parts = urlsplit(url)
        try:
            self.port = parts.port
        except ValueError:
            raise UsageError(f"{named}{url}: the port is not one") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"{named}{url}: as http://127.0.0.1:8042/dicomweb it would be understood")
        self.host = parts.hostname
        self.secure = parts.scheme == "https"
        self.path = parts.path.rstrip("/").removesuffix("/studies")
        self.headers: dict[str, str] = {}
        if user is None and parts.username is not None:
            user, passcode = unquote(parts.username), unquote(parts.password or "")
        if token is not None:
            self.headers["Authorization"] = f"Bearer {token}"
        elif user is not None:
            both = f"{user}:{passcode or ''}".encode()
            self.headers["Authorization"] = f"Basic {base64.b64encode(both).decode()}"
        self._context = _context(settings or Settings()) if self.secure else None

    def connection(self) -> http.client.HTTPConnection:
        """An idle connection, or a new one. Raises ConnectFailed, TlsError."""
        with contextlib.suppress(IndexError):
            while True:
                since, idle = self._idle.pop()
                if time.monotonic() - since < _STALE:
                    return idle
                idle.close()
        if self._context is not None:
            made: http.client.HTTPConnection = http.client.HTTPSConnection(
                self.host, self.port, timeout=_TIMEOUT, context=self._context
            )
        else:
            made = http.client.HTTPConnection(self.host, self.port, timeout=_TIMEOUT)
        try:
            made.connect()
        except ssl.SSLError as error:
            raise _explained(error, f"{self.host}:{made.port}") from None
        except OSError as error:
            raise ConnectFailed(f"{self.host}:{made.port}: {error.strerror or error}") from None
        return made

    def take_back(self, connection: http.client.HTTPConnection) -> None:
        """Keep a connection whose answer was read to its end for the next request of any thread."""
        self._idle.append((time.monotonic(), connection))

    def close(self) -> None:
        while self._idle:
            self._idle.pop()[1].close()

    @contextlib.contextmanager
    def asked(
        self, method: str, path: str, *, body: Iterable[bytes] | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer to one request, to be read within the context. Raises NetworkError and its kin."""
        connection = self.connection()
        try:
            connection.request(method, self.path + path, body, {**self.headers, **(headers or {})})
            answer = connection.getresponse()
            yield answer
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            why = str(error) or type(error).__name__
            raise NetworkError(f"{self.host}:{connection.port}: the connection broke: {why}") from None
        except BaseException:
            connection.close()
            raise
        if answer.will_close or not answer.isclosed():
            connection.close()
        else:
            self.take_back(connection)


def _context(settings: Settings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.tls_ca or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.tls_certificate:
            context.load_cert_chain(settings.tls_certificate, settings.tls_key or None)
    except (OSError, ssl.SSLError) as error:
        raise TlsError(f"tls.ca, tls.certificate or tls.key: {error}") from None
    context.check_hostname = settings.tls_verify_host
    return context


def _explained(error: ssl.SSLError, place: str) -> TlsError:
    from isocenter.net.tls import explain

    if error.reason == "WRONG_VERSION_NUMBER":  # what comes back from a server without TLS is read as a record
        return TlsError(f"{place}: what answers there does not speak TLS; perhaps http:// is meant")
    found = explain(error)
    return type(found)(f"{place}: {found.message}")


@dataclass(frozen=True, slots=True)
class WebOutcome:
    """What became of one object: `reason` is the Failure Reason (PS3.18 Table I.2-2), None if it was stored; `warning`
    the Warning Reason (Table I.2-1) of one that was, but not as it was sent."""

    sop_instance: str
    stored: bool
    reason: int | None = None
    warning: int | None = None


class WebClient:
    """One service; a context manager. For one thread at a time."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.warnings: list[str] = []
        """What the service said of the last search or store beside its answers: keys that it did not heed, or why
        objects were refused."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._service.close()

    # --- search (10.6)

    def find(
        self,
        level: str = "STUDY",
        *,
        limit: int | None = None,
        fuzzy: bool = False,
        empty_values: bool = False,
        multiple_values: bool = False,
        **keys: Any,
    ) -> Iterator[Dataset]:
        """Answers as they come, in as many requests as the server makes of it.

        Keys are keywords or tags with what to match; without a value (None, "") they are asked for only, and a mapping
        is one of keys in a sequence. UIDs of the levels above become the path. Look at `warnings` afterwards: keys that
        a service does not support do not narrow its answer (PS3.18 section 8.3.4.1). Raises UsageError, and what the
        server says as NetworkError, BadRequest or NotFound.
        """
        from pydicom import Dataset

        path, query = _search(level.upper(), keys)
        flags = {"fuzzymatching": fuzzy, "emptyvaluematching": empty_values, "multiplevaluematching": multiple_values}
        query += [(name, "true") for name, wanted in flags.items() if wanted]
        count = 0
        self.warnings = []
        while limit is None or count < limit:
            wanted = _PAGE if limit is None else min(_PAGE, limit - count)
            page = [*query, ("limit", str(wanted)), ("offset", str(count))]
            headers = {"Accept": "application/dicom+json"}
            with self._service.asked("GET", f"{path}?{urlencode(page)}", headers=headers) as answer:
                found = [] if answer.status == 204 else _json_of(answer)
                said = answer.headers.get_all("Warning", [])
            more = any("additional results" in text for text in said)
            self.warnings += [text for text in map(warning_text, said) if "additional results" not in text]
            if not isinstance(found, list) or not all(isinstance(model, dict) for model in found):
                raise ProtocolError("the answer to a search is no list of objects")
            for model in found:
                yield Dataset.from_json(model)
            count += len(found)
            if not found or (len(found) < wanted and not more):
                return

    # --- retrieve (10.4)

    def get(
        self,
        folder: Path | str,
        study: str,
        series: str | None = None,
        instance: str | None = None,
        *,
        transfer_syntax: str = "*",
    ) -> Iterator[Path]:
        """Retrieve instances into a folder, one file each, told as soon as it is whole; names are ours.

        `transfer_syntax` is a UID, or "*" for those they are stored in. What was not whole when something failed is
        removed. Raises NotFound, NotAcceptable, NetworkError and UsageError.
        """
        path = "/studies/" + _uid(study)
        if series is not None:
            path += "/series/" + _uid(series)
        if instance is not None:
            if series is None:
                raise UsageError("an instance needs its series")
            path += "/instances/" + _uid(instance)
        if transfer_syntax != "*":
            _uid(transfer_syntax)
        accept = f'multipart/related; type="application/dicom"; transfer-syntax={transfer_syntax}'
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        with self._service.asked("GET", path, headers={"Accept": accept}) as answer:
            if answer.status != 200:
                raise refusal(answer)
            kind = parse_media_type(answer.headers.get("Content-Type", ""))
            if kind.name != "multipart/related" or "boundary" not in kind.parameters:
                raise ProtocolError("the answer to a retrieval is not multipart/related")
            yield from _files(answer, kind.parameters["boundary"], target)

    # --- store (10.5)

    def store(self, objects: Iterable[Path | str | bytes | Dataset]) -> Iterator[WebOutcome]:
        """Store files, objects as bytes of a file, or data sets, some in each request; what became of each, as the
        server names it. `warnings` have its words for refusals, if it has any. Raises NetworkError, after which what
        was being sent may be stored or not, and DataSetError."""
        self.warnings = []
        for batch in _batches(objects):
            boundary = secrets.token_hex(16)
            opening = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
            ending = f"--{boundary}--\r\n".encode()
            headers = {
                "Accept": "application/dicom+json",
                "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
                "Content-Length": str(sum(len(opening) + _size(one) + 2 for one in batch) + len(ending)),
            }
            body = _body(batch, opening, ending)
            with self._service.asked("POST", "/studies", body=body, headers=headers) as answer:
                told = _json_of(answer, accepted=(200, 202, 400, 409, 413, 415, 500, 507))
                self.warnings += map(warning_text, answer.headers.get_all("Warning", []))
            if not isinstance(told, dict) or not ({_FAILED, _STORED} & told.keys()):
                raise NetworkError(f"the server answers {answer.status} without saying what was stored")
            for item in items_of(told, _STORED):
                yield WebOutcome(str(value_of(item, _INSTANCE)), True, warning=_code(item, _WARNED))
            for item in items_of(told, _FAILED):
                yield WebOutcome(str(value_of(item, _INSTANCE)), False, _code(item, _REASON))


def warning_text(field: str) -> str:
    """The text of a Warning field (RFC 7234 section 5.5), as far as it can be shown; PS3.18 has it without quotes."""
    text = field.partition(": ")[2] or field.split(" ", 2)[-1]
    return "".join(sign for sign in text.strip('" ') if sign.isprintable())


def web_client(
    url: str,
    *,
    token: str | None = None,
    user: str | None = None,
    passcode: str | None = None,
    settings: Settings | None = None,
) -> WebClient:
    """A client of the DICOMweb service at `url`, as https://host/dicomweb. Who asks is `token`, or `user` with
    `passcode`; TLS is as the `tls` settings have it. Nothing is sent yet. Raises UsageError and TlsError."""
    return WebClient(Service(url, token=token, user=user, passcode=passcode, settings=settings))


def refusal(answer: http.client.HTTPResponse) -> IsocenterError:
    """What an answer that is none says, as an error."""
    with contextlib.suppress(ValueError):
        said = json.loads(answer.read(1 << 16))
        error = said.get("error") if isinstance(said, dict) else None
        if isinstance(error, dict) and isinstance(error.get("message"), str):
            hint = error.get("hint")
            words = error["message"]
            if isinstance(hint, str) and hint:
                words = f"{words.rstrip('.')}. {hint}"
            return _refused(answer.status, f"the server answers {answer.status}: {words}")
    return _refused(answer.status, f"the server answers {answer.status} {answer.reason}")


def _refused(status: int, text: str) -> IsocenterError:
    return _REFUSALS.get(status, NetworkError)(text)


def _json_of(answer: http.client.HTTPResponse, accepted: tuple[int, ...] = (200,)) -> Any:
    if answer.status not in accepted:
        raise refusal(answer)
    text = answer.read(_MOST_JSON)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ProtocolError(f"the server answers {answer.status} with what is no JSON") from None


def _uid(text: str) -> str:
    if not is_uid(text):
        raise UsageError(f"{text!r} is not a UID")
    return text


def _search(level: str, keys: Mapping[str, Any]) -> tuple[str, list[tuple[str, str]]]:
    """Path and query of a search."""
    if level not in _LEVELS:
        raise UsageError(f"the level of a search is one of {', '.join(_LEVELS)}")
    left = dict(keys)
    path = ""
    if level != "STUDY" and is_uid(str(left.get("StudyInstanceUID", ""))):
        path += f"/studies/{left.pop('StudyInstanceUID')}"
        if level == "IMAGE" and is_uid(str(left.get("SeriesInstanceUID", ""))):
            path += f"/series/{left.pop('SeriesInstanceUID')}"
    query: list[tuple[str, str]] = []
    _flatten(left, "", query)
    return quote(f"{path}/{_LEVELS[level]}"), query


def _flatten(keys: Mapping[str, Any], before: str, query: list[tuple[str, str]]) -> None:
    for name, value in keys.items():
        if isinstance(value, Mapping):
            _flatten(value, f"{before}{name}.", query)
        elif value is None or value == "":
            query.append(("includefield", f"{before}{name}"))
        else:
            query.append((f"{before}{name}", str(value)))


def _files(answer: http.client.HTTPResponse, boundary: str, folder: Path) -> Iterator[Path]:
    """The parts of an answer as files; a file has its name when it is whole."""
    parser = MultipartParser(boundary)
    run, number = secrets.token_hex(4), 0
    part: IO[bytes] | None = None
    name = hidden = folder
    try:
        while piece := answer.read(_PIECE):
            for event in parser.receive(piece):
                if isinstance(event, PartStarted):
                    number += 1
                    name, hidden = folder / f"{run}-{number:06}.dcm", folder / f".{run}-{number:06}"
                    part = hidden.open("xb")
                elif isinstance(event, PartData) and part is not None:
                    part.write(event.data)
                elif isinstance(event, PartEnded) and part is not None:
                    part.close()
                    part = None
                    hidden.rename(name)
                    yield name
        parser.close()
    finally:
        if part is not None:
            part.close()
            hidden.unlink(missing_ok=True)


def _size(one: Path | bytes) -> int:
    return len(one) if isinstance(one, bytes) else one.stat().st_size


def _batches(objects: Iterable[Path | str | bytes | Dataset]) -> Iterator[list[Path | bytes]]:
    batch: list[Path | bytes] = []
    size = 0
    for one in several(objects):
        item = one if isinstance(one, bytes | Path) else Path(one) if isinstance(one, str) else file_of(one)
        if batch and (len(batch) >= _BATCH_OBJECTS or size + _size(item) > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += _size(item)
    if batch:
        yield batch


def _body(batch: Iterable[Path | bytes], opening: bytes, ending: bytes) -> Iterator[bytes]:
    for one in batch:
        yield opening
        if isinstance(one, bytes):
            yield one
        else:
            with one.open("rb") as file:
                while piece := file.read(_PIECE):
                    yield piece
        yield b"\r\n"
    yield ending


def items_of(model: Any, tag: str) -> list[dict[str, Any]]:
    """The items of a sequence in DICOM JSON of somebody else's; none where it is not what it should be."""
    return [item for item in _values(model, tag) if isinstance(item, dict)]


def value_of(item: Any, tag: str) -> Any:
    """The first value of an attribute, "" without one."""
    values = _values(item, tag)
    return values[0] if values else ""


def _values(model: Any, tag: str) -> list[Any]:
    entry = model.get(tag) if isinstance(model, dict) else None
    values = entry.get("Value") if isinstance(entry, dict) else None
    return values if isinstance(values, list) else []


def _code(item: Any, tag: str) -> int | None:
    value = value_of(item, tag)
    return value if isinstance(value, int) else None
