"""What `get` and `move` share: which objects, and what to say of progress and outcome."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

import typer

from isocenter.cli import exit_codes, output
from isocenter.errors import UsageError

if TYPE_CHECKING:
    from isocenter.net.retrieve import Progress

Patient = Annotated[str | None, typer.Option("--patient", metavar="ID", help="Patient ID; asks in the Patient Root.")]
Study = Annotated[list[str] | None, typer.Option("--study", metavar="UID", help="Study; several where no series is.")]
Series = Annotated[list[str] | None, typer.Option("--series", metavar="UID", help="Series of one study.")]
Instance = Annotated[
    list[str] | None,
    typer.Option("--instance", metavar="UID", help="Instances of one series; or alone, where the peer can do that."),
]


def asked(
    patient: str | None, study: list[str] | None, series: list[str] | None, instance: list[str] | None
) -> tuple[str, str, dict[str, str | list[str]]]:
    """Level, root and keys. Raises UsageError if nothing is asked for."""
    given = {"PatientID": patient, "StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": instance}
    keys: dict[str, str | list[str]] = {name: value for name, value in given.items() if value}
    if not keys:
        raise UsageError("nothing is asked for: --patient, --study, --series or --instance")
    levels = {"SOPInstanceUID": "IMAGE", "SeriesInstanceUID": "SERIES", "StudyInstanceUID": "STUDY"}
    level = next((level for name, level in levels.items() if name in keys), "PATIENT")
    if patient:
        return level, "PATIENT", keys
    return level, "INSTANCE" if keys.keys() == {"SOPInstanceUID"} else "STUDY", keys


async def follow(steps: AsyncGenerator[Progress, None], bar: output.Bar) -> Progress | None:
    """Show progress to its end; the last Progress, None if there was not one."""
    last = None
    async with aclosing(steps):
        async for last in steps:
            if last.remaining is not None:
                bar.total = last.done + last.remaining
            bar.advance(max(0, last.done - bar.done))
    return last


def tell(last: Progress | None, verb: str, peer: str, as_json: bool) -> None:
    """The summary, as text or as a JSON object; typer.Exit(1) unless everything was retrieved."""
    from isocenter.net.retrieve import Progress

    last = last or Progress(0xC000, None, None, None, None, message="the peer ended the association")
    if as_json:
        output.write_json(
            {
                "status": last.status,
                "completed": last.completed,
                "warning": last.warning,
                "failed": last.failed,
                "remaining": last.remaining,
                "failed_instances": list(last.failed_instances),
                "message": last.message,
            }
        )
    for uid in last.failed_instances[:20]:
        output.note(f"failed: {uid}")
    if len(last.failed_instances) > 20:
        output.note(f"failed: {len(last.failed_instances) - 20} more; --json lists them all")
    text = f"{last.completed or 0} {verb}, {last.warning or 0} with a warning, {last.failed or 0} failed"
    output.note(f"{peer}: {text}" + ("" if last.ok else f": {last.status:04X} {last.message}"))
    if not last.ok:
        raise typer.Exit(exit_codes.SOME_FAILED)
