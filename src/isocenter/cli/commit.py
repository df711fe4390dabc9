"""`isocenter commit`: Storage Commitment for objects that a peer should have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isocenter.cli import calling, committing, exit_codes, output
from isocenter.errors import DataSetError, NotDicomError, UsageError
from isocenter.names import is_uid

if TYPE_CHECKING:
    from isocenter.settings import Settings


@calling.options
def command(
    address: calling.PeerAddress,
    paths: Annotated[list[Path] | None, typer.Argument(metavar="PATH...", help="Files, folders and zip files.")] = None,
    instances: Annotated[
        list[str] | None,
        typer.Option(
            "--instance",
            metavar="CLASS:UID",
            help="One without a file, as CTImageStorage:1.2.3; may be repeated.",
        ),
    ] = None,
    listen: committing.Listen = None,
    archive: committing.By = None,
    wait: committing.Wait = committing.LONGEST,
    *,
    call: calling.Call,
    as_json: output.Json = False,
) -> None:
    """Ask a peer to answer for the safekeeping of objects (Storage Commitment), and wait for its report.

    Objects are asked for by their UIDs; the peer answers for what it has under them. Only what is reported as committed
    is safe to delete here. Exit code 1 unless all are, or when no report comes. With --archive the request is a job of
    the archive's (isocenter jobs), which goes on whether this command waits or not.
    """
    named = [_named(text) for text in instances or ()]
    if not paths and not named:
        raise UsageError("nothing to ask for: name files, folders or an --instance")
    settings = call.settings()
    known = call.peer(address)
    asking = committing.Asking.of(call, known, settings, listen=listen, wait=wait, archive=archive)
    with output.bar("reading", None) as progress:
        items = [*named, *_found(paths or (), settings, progress)]
    asked = [item for item in items if not item.why_not]
    if asked:
        try:
            with output.bar("committing", len(asked)) as progress:
                asking.run(asked, progress)
        except KeyboardInterrupt:
            committing.interrupted(items, known.address, as_json)
            raise
    if not committing.tell(items, known.address, as_json):
        raise typer.Exit(exit_codes.SOME_FAILED)


def _named(text: str) -> committing.Item:
    from isocenter.std.sop_classes import SOP_CLASSES

    sop_class, _, uid = text.rpartition(":")
    by_keyword = {row.keyword: row.uid for row in SOP_CLASSES.values()}
    sop_class = by_keyword.get(sop_class, sop_class)
    if not is_uid(sop_class) or not is_uid(uid):
        raise UsageError(f"{text!r}: CLASS:UID is needed, as CTImageStorage:1.2.3 or 1.2.840.10008.5.1.4.1.1.2:1.2.3")
    return committing.Item(uid, sop_class, uid)


def _found(paths: Sequence[Path], settings: Settings, progress: output.Bar) -> Iterator[committing.Item]:
    """The objects in files. What was named and is none is said; what was found beside them is left alone."""
    from isocenter.archive.walk import walk
    from isocenter.net.storing import announced
    from isocenter.wire.limits import Limits

    limits = Limits.of(settings)
    given = frozenset(map(str, paths))
    for candidate in walk(paths, everything=True) if paths else ():
        progress.advance()
        try:
            _, sop_class, sop_instance = announced(next(candidate.chunks(limits), b""), limits)
        except NotDicomError as error:
            if candidate.label in given:
                yield committing.Item(candidate.label, why_not=str(error))
        except DataSetError as error:
            yield committing.Item(candidate.label, why_not=str(error))
        else:
            yield committing.Item(candidate.label, sop_class, sop_instance)
