"""`isocenter token`: the file of static bearer tokens for DICOMweb."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isocenter.cli import output

if TYPE_CHECKING:
    from isocenter.web.site_tokens import SiteToken


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File of tokens (web.tokens); made if absent.")],
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Who or what gets the token; stands in the audit log.")
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(metavar="SCOPE", help="What it lets do: read, write, delete, admin; repeatable (default: read)."),
    ] = None,
    patient: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Only studies of this Patient ID are there; repeatable.")
    ] = None,
    sender: Annotated[
        list[str] | None, typer.Option(metavar="AET", help="Only studies that this AE title sent; repeatable.")
    ] = None,
    days: Annotated[float | None, typer.Option(metavar="DAYS", help="How long it is good (default: for ever).")] = None,
    revoke: Annotated[str | None, typer.Option(metavar="ID", help="Take this token out of the file.")] = None,
    as_json: output.Json = False,
) -> None:
    """Make a bearer token, list those there are (without NAME), or revoke one.

    The token is shown once, on stdout; only its hash is kept.
    """
    from isocenter.errors import UsageError
    from isocenter.web import site_tokens

    if revoke is not None and name is not None:
        raise UsageError("a token is made or revoked, not both")
    if revoke is not None:
        gone = site_tokens.revoke(file, revoke)
        if as_json:
            output.write_json({"revoked": gone.id, "name": gone.name})
        output.note(f"the token {gone.id} of {gone.name} is no more; a running server reads the file again on SIGHUP")
        return
    if name is None:
        _list(site_tokens.read(file), as_json)
        return
    made, text = site_tokens.issue(file, name, scope or ["read"], patients=patient, aets=sender, days=days)
    if as_json:
        output.write_json({"id": made.id, "name": made.name, "scopes": list(made.scopes), "token": text})
    else:
        output.write(text)
    output.note(f"made for {name} in {file}; it is not shown again; a running server reads the file again on SIGHUP")


def _list(tokens: list[SiteToken], as_json: bool) -> None:
    if as_json:
        for token in tokens:
            fields = {"id": token.id, "name": token.name, "scopes": token.scopes, "expires": _when(token.expires)}
            output.write_json(fields | {"patients": token.patients, "aets": token.aets})
        return
    rows = [
        (
            token.id,
            token.name,
            ",".join(token.scopes),
            "all" if token.patients is None else ", ".join(token.patients),
            "all" if token.aets is None else ", ".join(token.aets),
            _when(token.expires) or "never",
        )
        for token in tokens
    ]
    output.table("", ("ID", "Name", "Scopes", "Patients", "From", "Expires"), rows)


def _when(expires: int | None) -> str | None:
    return None if expires is None else datetime.fromtimestamp(expires, UTC).isoformat(timespec="minutes")
