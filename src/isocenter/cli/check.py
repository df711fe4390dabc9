"""`isocenter check`: verify every stored byte and the index, or make the index anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isocenter.cli import exit_codes, output, running

if TYPE_CHECKING:
    from isocenter.archive.check import Finding, Report

_WORDS = {
    "missing": "the file is gone",
    "size": "the file has another length than was stored",
    "digest": "the bytes of the data set are not those that were stored",
    "header": "the bytes before the data set are not those that were stored",
    "unreadable": "the file cannot be read, or is no whole object",
    "extra": "a file that the index does not know",
    "duplicate": "a second file with the same bytes",
    "jobs": "what was to be forwarded or reported cannot be read, and will not be",
}
_MOST = 1000  # findings that are written out one by one


def command(
    data: Annotated[Path | None, typer.Option("--data", "-d", metavar="FOLDER", help="Folder of the archive.")] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Make the index anew from the files alone.")] = False,
    config: running.Config = None,
    as_json: output.Json = False,
) -> None:
    """Verify every stored byte against its digest, and the index against the files; or rebuild the index.

    No server may run on the folder. Exit code 0 only if everything is whole. With --rebuild the index is made from the
    files alone; the old one is kept beside it, and what is no whole object is set aside.
    """
    from isocenter.archive import check

    settings = running.settings_from(config, archive_data=data)
    output.hush()
    work = check.rebuild if rebuild else check.check_folder
    with output.bar("rebuilding" if rebuild else "checking", None) as bar:
        report = work(settings.archive_data, settings, _progress(bar))
    if as_json:
        output.write_json(_as_json(report))
    else:
        _tell(report, rebuild)
    if not report.sound:
        raise typer.Exit(exit_codes.SOME_FAILED)


def _progress(bar: output.Bar) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        bar.total = total
        bar.advance(done - bar.done)

    return progress


def _as_json(report: Report) -> dict[str, Any]:
    return {
        "sound": report.sound,
        "files": report.files,
        "bytes": report.bytes,
        "findings": [
            {
                "kind": finding.kind,
                "file": finding.blob,
                "study": (finding.scope.study or None) if finding.scope else None,
                "series": (finding.scope.series or None) if finding.scope else None,
                "instance": finding.scope.instance if finding.scope else None,
                "detail": finding.detail,
            }
            for finding in report.findings
        ],
    }


def _tell(report: Report, rebuilt: bool) -> None:
    done = "indexed anew" if rebuilt else "checked"
    wrong = f"{len(report.findings)} not as they should be" if report.findings else "all whole"
    output.write(f"{report.files} files {done}, {output.amount(report.bytes)}: {wrong}")
    for finding in report.findings[:_MOST]:
        output.note(_line(finding))
    if len(report.findings) > _MOST:
        output.note(f"and {len(report.findings) - _MOST} more; --json names all")
    if report.findings and rebuilt:
        output.note("what is not whole was set aside, nothing was deleted")


def _line(finding: Finding) -> str:
    instance = f", instance {finding.scope.instance}" if finding.scope and finding.scope.instance else ""
    detail = f" ({finding.detail})" if finding.detail else ""
    return f"{finding.kind}: {finding.blob}{instance}: {_WORDS[finding.kind]}{detail}"
