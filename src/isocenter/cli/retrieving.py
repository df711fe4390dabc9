"""What `get` and `move` share: which objects, and what to say of progress and outcome."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isocenter.cli import exit_codes, output, running
from isocenter.errors import UsageError
from isocenter.std.non_patient import MODEL_NAMED

if TYPE_CHECKING:
    from isocenter.net.retrieve import Progress

Patient = Annotated[str | None, typer.Option("--patient", metavar="ID", help="Patient ID; asks in the Patient Root.")]
Study = Annotated[list[str] | None, typer.Option("--study", metavar="UID", help="Study; several where no series is.")]
Series = Annotated[list[str] | None, typer.Option("--series", metavar="UID", help="Series of one study.")]
Instance = Annotated[
    list[str] | None,
    typer.Option("--instance", metavar="UID", help="Instances of one series; or alone, where the peer can do that."),
]
Frames = Annotated[
    str | None,
    typer.Option(
        "--frames",
        metavar="LIST",
        help="Frames of the one --instance, as a new object: 1,4,7 or ranges as 1-20,30-40:2; seconds as 0.5s-2s.",
    ),
]

Root = Annotated[
    str | None,
    typer.Option(
        "--root",
        metavar="NAME",
        help="Where --instance belongs to no patient: HANGING_PROTOCOL, COLOR_PALETTE, ... (isocenter find --root).",
    ),
]
Relational = Annotated[
    bool, typer.Option("--relational", help="Without the UIDs of the levels above, where the peer can do that.")
]
View = Annotated[
    str, typer.Option("--view", metavar="VIEW", help="CLASSIC or ENHANCED instances, from a peer that converts.")
]

Priority = Annotated[str, typer.Option("--priority", metavar="NAME", help="high, medium or low; few peers heed it.")]

_PRIORITIES = ("high", "medium", "low")

Keys = dict[str, str | list[str] | list[int] | list[float]]


def asked(
    patient: str | None,
    study: list[str] | None,
    series: list[str] | None,
    instance: list[str] | None,
    frames: str | None = None,
    root: str | None = None,
    *,
    relational: bool = False,
) -> tuple[str, str, Keys]:
    """Level, root and keys; `root` is that of non-patient objects. Raises UsageError if nothing is asked for."""
    given = {"PatientID": patient, "StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": instance}
    keys: Keys = {name: value for name, value in given.items() if value}
    if not keys:
        raise UsageError("nothing is asked for: --patient, --study, --series or --instance")
    if root is not None:
        if root.upper() not in MODEL_NAMED:
            raise UsageError(f"--root is one of {', '.join(MODEL_NAMED)}")
        if frames is not None or relational or keys.keys() != {"SOPInstanceUID"}:
            raise UsageError("--root needs --instance alone")
        return "IMAGE", root.upper(), keys
    if frames is not None:
        if relational or keys.keys() != {"SOPInstanceUID"}:
            raise UsageError("--frames needs --instance alone")
        return "FRAME", "INSTANCE", keys | frame_keys(frames)
    levels = {"SOPInstanceUID": "IMAGE", "SeriesInstanceUID": "SERIES", "StudyInstanceUID": "STUDY"}
    level = next((level for name, level in levels.items() if name in keys), "PATIENT")
    if patient:
        return level, "PATIENT", keys
    return level, "INSTANCE" if keys.keys() == {"SOPInstanceUID"} and not relational else "STUDY", keys


_RANGE = re.compile(r"(\d+)(?:-(\d*)(?::(\d+))?)?")
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)s-(\d+(?:\.\d+)?)s")
_TO_THE_END = 0xFFFFFFFF  # PS3.4 section Y.3.2.1.2


def frame_keys(text: str) -> Keys:
    """The keys of PS3.4 Table Y.6-2 for what --frames says. Raises UsageError."""
    seconds = _SECONDS.fullmatch(text.replace(" ", ""))
    if seconds:
        return {"TimeRange": [float(one) for one in seconds.groups()]}
    found = [_RANGE.fullmatch(part) for part in text.replace(" ", "").split(",")]
    numbers: list[int] = []
    simple = True
    for one in found:
        if one is None:
            raise UsageError(f"--frames {text}: numbers, ranges as 1-20 or 1-20:2, or seconds as 0.5s-2s are needed")
        first, last, step = one.groups()
        simple = simple and last is None
        end = int(first) if last is None else int(last) if last else _TO_THE_END
        numbers += [int(first), end, int(step or 1)]
    return {"SimpleFrameList": numbers[::3]} if simple else {"CalculatedFrameList": numbers}


def urgency(priority: str) -> str:
    """A priority as Peer's verbs take it. Raises UsageError."""
    if priority.lower() not in _PRIORITIES:
        raise UsageError(f"--priority is one of {', '.join(_PRIORITIES)}")
    return priority.upper()


def check(level: str, root: str, keys: Keys, view: str, relational: bool) -> None:
    """UsageError for what cannot be asked: before anybody is called, who may not be there."""
    from isocenter.net.retrieve import selection_of

    selection_of(level, root, keys, view, relational=relational)


def run(
    work: Callable[[output.Bar], Coroutine[Any, Any, Progress | None]], title: str, verb: str, peer: str
) -> Progress | None:
    """What `work` comes to, under a progress bar; when it is interrupted, how far it was is told."""
    with output.bar(title, None) as bar:
        try:
            return running.run(work(bar))
        except KeyboardInterrupt:
            output.note(f"{peer}: {bar.done - bar.failed} {verb}{bar.remark} until it was interrupted")
            raise


async def follow(steps: AsyncGenerator[Progress, None], bar: output.Bar) -> Progress | None:
    """Show progress to its end; the last Progress, None if there was not one."""
    last = None
    async with aclosing(steps):
        async for last in steps:
            if last.remaining is not None:
                bar.total = last.done + last.remaining
            if last.failed is not None:  # the last word of who was cancelled may have no counters
                bar.failed = last.failed
                others = ((last.failed, "failed"), (last.warning, "with a warning"))
                bar.remark = "".join(f", {count} {what}" for count, what in others if count)
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
    if last.ok and not (last.completed or last.warning):
        text += "; the peer has nothing that was asked for"
    output.note(f"{peer}: {text}" + ("" if last.ok else f": {last.status:04X} {last.message}"))
    if not last.ok:
        raise typer.Exit(exit_codes.SOME_FAILED)
