"""What the exit code of every command means: one table for the commands, for --help and for the docs."""

from __future__ import annotations

from isocenter import errors

OK = 0
SOME_FAILED = 1
USAGE = 2
NO_CONNECTION = 3
NO_ARCHIVE = 4
NO_RESOURCES = 5
FAULT = 70
INTERRUPTED = 130

MEANINGS: dict[int, str] = {
    OK: "Everything that was asked for was done.",
    SOME_FAILED: "Something was refused, damaged or not found; the rest was done. What and why is on stderr.",
    USAGE: "The command line, a setting or a path cannot be used as given; nothing was done.",
    NO_CONNECTION: "No connection, or the peer rejected or aborted the association.",
    NO_ARCHIVE: "The data folder cannot be opened (in use, not writable, not an archive), or an address is taken.",
    NO_RESOURCES: "The disk is full, or the archive too busy; the same command may succeed later.",
    FAULT: "A fault in Isocenter itself; the traceback is on stderr, please report it.",
    INTERRUPTED: "Interrupted (Ctrl-C); what was reported as done stays done.",
}

# For --help; one line each
SHORT: dict[int, str] = {
    OK: "all done",
    SOME_FAILED: "some failed or were refused",
    USAGE: "arguments, settings or paths cannot be used",
    NO_CONNECTION: "no connection or association",
    NO_ARCHIVE: "data folder or address cannot be used",
    NO_RESOURCES: "disk full or archive busy",
    FAULT: "a fault in Isocenter",
    INTERRUPTED: "interrupted",
}

_BY_CODE = {"cannot-listen": NO_ARCHIVE}
_BY_CLASS: tuple[tuple[type[errors.IsocenterError], int], ...] = (
    (errors.UsageError, USAGE),
    (errors.SettingsError, USAGE),
    (errors.BadRequest, USAGE),
    (errors.OperationFailed, SOME_FAILED),
    (errors.NetworkError, NO_CONNECTION),
    (errors.DataFolderInUse, NO_ARCHIVE),
    (errors.DataFolderError, NO_ARCHIVE),
    (errors.OutOfResources, NO_RESOURCES),
)


def of(error: errors.IsocenterError) -> int:
    """The exit code of a command that ends with `error`."""
    if error.code in _BY_CODE:
        return _BY_CODE[error.code]
    return next((code for kind, code in _BY_CLASS if isinstance(error, kind)), SOME_FAILED)
