"""`isocenter jobs`: what waits to be done for peers, what was done, and what could not be.

It reads and changes the rows themselves, whether a server runs on the data folder or not: the index is open to several
processes, SQLite puts their writing in order, and the server looks at its rows every `jobs.interval` seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isocenter.cli import exit_codes, output, running
from isocenter.errors import IsocenterError, UsageError

if TYPE_CHECKING:
    from rich.text import Text

    from isocenter.index.jobs import Job
    from isocenter.index.sql_jobs import SqlJobs

_ACTIONS = ("list", "show", "retry", "cancel")
_COLOURS = {"waiting": "yellow", "running": "cyan", "done": "green", "failed": "bold red", "cancelled": "dim"}
_MOST_CHANGED = 100_000


def command(
    action: Annotated[
        str, typer.Argument(metavar="[ACTION]", help="list, show (one with what failed of it), retry or cancel.")
    ] = "list",
    numbers: Annotated[list[int] | None, typer.Argument(metavar="[ID]", help="Numbers of jobs.")] = None,
    state: Annotated[
        str | None,
        typer.Option("--state", metavar="STATE", help="Those that are waiting, running, done, failed or cancelled."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="List the newest N.")] = 50,
    data: Annotated[Path | None, typer.Option("--data", "-d", metavar="FOLDER", help="Folder of the archive.")] = None,
    config: running.Config = None,
    as_json: output.Json = False,
) -> None:
    """Show what is to be done for peers: forwarding, notifications, reports and requests of storage commitment.

    retry has failed and cancelled jobs tried again, and waiting ones now; cancel stops them. Both take numbers, or
    --state for all that are in it, and work while a server runs.
    """
    from isocenter.archive.lifecycle import INDEX_NAME
    from isocenter.index.jobs import STATES
    from isocenter.index.sql import jobs_beside

    if action not in _ACTIONS:
        raise UsageError(f"{action!r} is none of {', '.join(_ACTIONS)}")
    if state is not None and state not in STATES:
        raise UsageError(f"--state is one of {', '.join(STATES)}")
    if action != "list" and not numbers and (action == "show" or state is None):
        raise UsageError(f"{action} which job?")
    states = () if state is None else (state,)
    settings = running.settings_from(config, archive_data=data)
    with jobs_beside(settings.archive_data / INDEX_NAME) as rows:
        if action == "list":
            _list(rows.listed(states, limit), rows.counts(), as_json)
        elif action == "show":
            _show(rows, numbers or [], as_json)
        else:
            chosen = numbers or [job.id for job in rows.listed(states, _MOST_CHANGED)]
            _change(rows.retry if action == "retry" else rows.cancel, chosen, as_json)


def _list(jobs: list[Job], counts: dict[str, int], as_json: bool) -> None:
    if as_json:
        output.write_json([job.told() for job in jobs])
        return
    _table(jobs)
    output.note(", ".join(f"{count} {state}" for state, count in counts.items()) or "there are no jobs")


def _show(rows: SqlJobs, numbers: list[int], as_json: bool) -> None:
    for number in numbers:
        # What is asked of peers by class and instance is known here by the instance.
        job, failures = rows.get(number), [(item.partition(" ")[0], why) for item, why in rows.failures(number)]
        if as_json:
            output.write_json({**job.told(), "failures": [{"uid": uid, "why": why} for uid, why in failures]})
            continue
        _table([job])
        output.table("", ("Failed", "Why"), failures, below=("Why",))


def _change(change: Callable[[int, float], Job], numbers: list[int], as_json: bool) -> None:
    changed: list[Job] = []
    refused = False
    for number in numbers:
        try:
            changed.append(change(number, time.time()))
        except IsocenterError as error:
            output.fail(error)
            refused = True
    if as_json:
        output.write_json([job.told() for job in changed])
    elif changed:
        _table(changed)
    if refused:
        raise typer.Exit(exit_codes.SOME_FAILED)


def _table(jobs: list[Job]) -> None:
    from rich.text import Text

    now = time.time()

    def row(job: Job) -> list[str | Text]:
        return [
            str(job.id),
            job.kind,
            job.target,
            Text(job.state, _COLOURS[job.state]),
            f"{job.done}/{job.total}" + (f", {job.failed} failed" if job.failed else "") if job.total else "",
            str(job.attempts),
            _span(job.next_at - now) if job.state == "waiting" else "",
            f"{_span(now - job.updated_at)} ago",
            job.last_error,
        ]

    columns = ("ID", "Kind", "To", "State", "Objects", "Tries", "Next in", "Changed", "Last error")
    output.table("", columns, [row(job) for job in jobs], below=columns[-1:])


def _span(seconds: float) -> str:
    """A time in the largest unit that leaves a whole number above one."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
