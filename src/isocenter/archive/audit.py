"""What the archive did, for the log: who sent what and what became of it. UIDs, sizes and AE titles; nothing of
patients."""

from __future__ import annotations

import logging

from isocenter.errors import IsocenterError
from isocenter.index.base import Applied
from isocenter.model import Origin, Scope

log = logging.getLogger("isocenter.archive")
_audit = logging.getLogger("isocenter.audit")


def ingested(applied: Applied, origin: Origin) -> None:
    """One object was made durable, or was there already."""
    if applied.kind in ("stored", "already-there") and not applied.warnings:
        level = logging.DEBUG if origin.kind == "demo" else logging.INFO
    else:
        level = logging.WARNING
    if _audit.isEnabledFor(level):
        ref = applied.ref
        _audit.log(
            level,
            "%s instance=%s series=%s study=%s bytes=%d from=%s:%s calling=%s%s",
            applied.kind,
            ref.instance,
            ref.series,
            ref.study,
            ref.size,
            origin.kind,
            origin.peer,
            origin.calling,
            " warnings=" + ",".join(applied.warnings) if applied.warnings else "",
        )


def refused(error: IsocenterError, origin: Origin) -> None:
    """One object was not taken."""
    _audit.warning(
        "refused code=%s from=%s:%s calling=%s: %s", error.code, origin.kind, origin.peer, origin.calling, error
    )


def deleted(scope: Scope, count: int, reason: str) -> None:
    """Instances were deleted. The reason is the operator's words and stays in the change feed only."""
    _audit.warning(
        "deleted study=%s series=%s instance=%s objects=%d reason=%s",
        scope.study,
        scope.series or "*",
        scope.instance or "*",
        count,
        "given" if reason else "none",
    )
