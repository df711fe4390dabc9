"""`isocenter user`: the file of users whose associations are let in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from isocenter.cli import output


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File of users (dimse.users); made if absent.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="The user.")],
    no_passcode: Annotated[
        bool, typer.Option("--no-passcode", help="Believe the name alone (User Identity of kind 1).")
    ] = False,
    as_json: output.Json = False,
) -> None:
    """Add a user who may open associations, or change the passcode.

    The passcode is asked for, or read as one line from stdin; only its salted hash is kept.
    """
    from isocenter.errors import UsageError
    from isocenter.net.identity import set_user

    passcode: str | None = None
    if not no_passcode:
        if sys.stdin.isatty():
            passcode = typer.prompt("Passcode", hide_input=True, confirmation_prompt=True, err=True)
        else:
            passcode = sys.stdin.readline().rstrip("\r\n")
        if not passcode:
            raise UsageError("an empty passcode is none")
    new = set_user(file, name, passcode)
    if as_json:
        output.write_json({"user": name, "new": new, "passcode": passcode is not None})
    output.note(f"{name} {'added to' if new else 'changed in'} {file}; a running server reads it again on SIGHUP")
