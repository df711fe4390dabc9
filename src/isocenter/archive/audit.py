"""What the archive did, for the log: who sent what and what became of it, and who asked for what. UIDs, sizes, AE
titles and names of users; nothing of patients. Events have the names of PS3.15 section A.5.3 where it has any for them.
"""

from __future__ import annotations

import asyncio
import logging

from isocenter.errors import IsocenterError
from isocenter.index.base import Applied
from isocenter.model import Origin, Scope

log = logging.getLogger("isocenter.archive")
_audit = logging.getLogger("isocenter.audit")
_GATHER = 1.0  # seconds
_OBJECT = "%s instance=%s series=%s study=%s bytes=%d %s%s"


class IngestLog:
    """Says what was stored, for one event loop: a line a second for each study and sender, as a line for each object
    would cost a tenth of storing it. Which objects they were is in the change feed; at level DEBUG it is logged too."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str, Origin], list[int]] = {}  # objects, bytes
        self._timer: asyncio.TimerHandle | None = None

    def add(self, applied: Applied, origin: Origin) -> None:
        """One object was made durable, or was there already, or was not taken by policy."""
        ref = applied.ref
        if applied.kind not in ("stored", "already-there") or applied.warnings:
            _audit.warning(_OBJECT, *_described(applied, origin))
            return
        if _audit.isEnabledFor(logging.DEBUG):
            _audit.debug(_OBJECT, *_described(applied, origin))
        known = self._sums.get((applied.kind, ref.study, origin))
        if known is not None:
            known[0] += 1
            known[1] += ref.size
            return
        self._sums[applied.kind, ref.study, origin] = [1, ref.size]
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_GATHER, self.flush)

    def flush(self) -> None:
        """Say what has gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        sums, self._sums = self._sums, {}
        for (kind, study, origin), (objects, size) in sums.items():
            level = logging.DEBUG if origin.kind == "demo" else logging.INFO
            _audit.log(level, "%s objects=%d bytes=%d study=%s %s", kind, objects, size, study, _from(origin))


def _described(applied: Applied, origin: Origin) -> tuple[str | int, ...]:
    ref = applied.ref
    warnings = " warnings=" + ",".join(applied.warnings) if applied.warnings else ""
    return applied.kind, ref.instance, ref.series, ref.study, ref.size, _from(origin), warnings


def _from(origin: Origin) -> str:
    return f"from={origin.kind}:{origin.peer} calling={origin.calling}"


def refused(error: IsocenterError, origin: Origin) -> None:
    """One object was not taken."""
    _audit.warning("refused code=%s %s: %s", error.code, _from(origin), error)


def not_committed(finding: str, scope: Scope | None, blob: str) -> None:
    """What was to be committed to is not as it was stored."""
    _audit.error(
        "damaged instance=%s blob=%s: %s; `isocenter check` looks at the rest",
        scope.instance if scope else "?",
        blob,
        finding,
    )


def deleted(scope: Scope, count: int, reason: str, by: str) -> None:
    """Instances were deleted: DICOM Study Deleted (A.5.3.5, 110105), or less than one. The reason is the operator's
    words and stays in the change feed only."""
    _audit.warning(
        "deleted by=%s study=%s series=%s instance=%s objects=%d reason=%s",
        by or "?",
        scope.study,
        scope.series or "*",
        scope.instance or "*",
        count,
        "given" if reason else "none",
    )


def to_be_sent(scope: Scope, count: int, peer: str, by: str) -> None:
    """Somebody had instances sent: Begin Transferring DICOM Instances (A.5.3.3, 110102)."""
    _audit.info(
        "Begin Transferring DICOM Instances: study=%s series=%s instance=%s objects=%d to=%s by=%s",
        scope.study,
        scope.series or "*",
        scope.instance or "*",
        count,
        peer,
        by or "?",
    )


def worked(what: str, kind: str, uid: str, by: str) -> None:
    """Something became of a step of work: Procedure Record (A.5.3.13, 110111). What the step is about is not said."""
    _audit.info("Procedure Record: %s %s step=%s by=%s", what, kind, uid, by or "?")


# --- who did what by HTTP


def authenticated(user: str, address: str, way: str) -> None:
    """Somebody signed in: User Authentication (A.5.3.12, 110114), Login."""
    _audit.info("User Authentication: Login user=%s from=%s with=%s", user, address, way)


def not_authenticated(user: str, address: str, why: str) -> None:
    """Somebody showed credentials that are not believed: User Authentication, Login, with an outcome of failure."""
    _audit.warning("User Authentication: Login failed user=%s from=%s: %s", user or "?", address, why)


def signed_out(user: str, address: str) -> None:
    """User Authentication, Logout."""
    _audit.info("User Authentication: Logout user=%s from=%s", user, address)


def denied(user: str, address: str, scope: str, method: str) -> None:
    """Somebody asked for what he may not do: Security Alert (A.5.3.11, 110113)."""
    _audit.warning("Security Alert: denied user=%s from=%s method=%s scope=%s", user or "?", address, method, scope)


class AccessLog:
    """Who looked at which studies: DICOM Instances Accessed (A.5.3.3, 110103) and Query (A.5.3.10, 110112).

    A line for each user, address and study, with how often, a while after the first: a viewer fetches a study in
    hundreds of requests. What was searched for is not said, since it is names and numbers of patients.
    """

    def __init__(self, gather: float = 5.0, most: int = 1000) -> None:
        self._gather, self._most = gather, most
        self._counts: dict[tuple[str, str, str], int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, user: str, address: str, study: str) -> None:
        """One request was answered with something of a study, or of a search where `study` is ""."""
        key = (user, address, study)
        self._counts[key] = self._counts.get(key, 0) + 1
        if len(self._counts) >= self._most:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._gather, self.flush)

    def flush(self) -> None:
        """Say what has gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        counts, self._counts = self._counts, {}
        for (user, address, study), count in counts.items():
            if study:
                _audit.info(
                    "DICOM Instances Accessed user=%s from=%s study=%s requests=%d", user or "?", address, study, count
                )
            else:
                _audit.info("Query user=%s from=%s requests=%d", user or "?", address, count)
