"""What a database error means to us."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from isocenter.errors import ArchiveBusy, DataFolderError, IsocenterError, OutOfResources

_DAMAGED = "the index is damaged; `isocenter check --rebuild` makes it anew from the files"


def meaning(error: BaseException) -> IsocenterError:
    """The typed form of a database error. The text is SQLite's own name of it: no statement, no values."""
    if isinstance(error, sa.exc.DBAPIError) and error.orig is not None:
        error = error.orig
    name = getattr(error, "sqlite_errorname", "") or type(error).__name__
    primary = (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return ArchiveBusy(f"the index is locked by another process ({name})")
    if primary in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOMEM):
        return OutOfResources(f"no space for the index ({name})")
    if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return DataFolderError(f"the index cannot be written ({name})")
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return DataFolderError(f"{_DAMAGED} ({name})")
    return IsocenterError(f"the index failed ({name})")


@contextmanager
def translated() -> Iterator[None]:
    """Database errors leave as IsocenterError."""
    try:
        yield
    except (sqlite3.Error, sa.exc.SQLAlchemyError) as error:
        raise meaning(error) from error
