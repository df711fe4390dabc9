"""`isocenter settings`: every setting, its value here and now, and where the value comes from."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

from isocenter.cli import output
from isocenter.cli.running import Config
from isocenter.settings import Row, Settings, load, rows


def command(config: Config = None, as_json: output.Json = False) -> None:
    """Show every setting, its value and where it comes from.

    Settings come from the command line, then the environment (ISOCENTER_ARCHIVE_DATA), then the file given with
    --config ([archive] data = "..."), then the default.
    """
    values = asdict(load(config))
    from_file = asdict(load(config, environ={}))
    shown = [(row, values[row.field], source_of(row, from_file)) for row in rows()]
    if as_json:
        output.write_json([_as_json(row, value, source) for row, value, source in shown])
        return
    output.table(
        "",
        ("Setting", "Value", "From", "Meaning"),
        [(f"{row.group}.{row.name}", value_text(row, value), source, meaning(row)) for row, value, source in shown],
    )


def source_of(row: Row, from_file: dict[str, Any]) -> str:
    """environment, file or default; a file that repeats the default changes nothing and is not told."""
    if row.env in os.environ:
        return "environment"
    return "default" if from_file[row.field] == getattr(Settings(), row.field) else "file"


def value_text(row: Row, value: Any) -> str:
    """The value as it is written in a TOML file, without quotes; large byte counts also in binary units."""
    if isinstance(value, bool):
        return str(value).lower()
    if row.unit == "bytes":
        for size, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
            if value >= size and value % size == 0:
                return f"{value} ({value // size} {unit})"
    return f"{value:g}" if isinstance(value, float) else str(value)


def meaning(row: Row) -> str:
    """The row's text with its choices."""
    return row.text + (f" One of {', '.join(row.choices)}." if row.choices else "")


def _as_json(row: Row, value: Any, source: str) -> dict[str, Any]:
    return {
        "name": f"{row.group}.{row.name}",
        "value": value if isinstance(value, bool | int | float) else str(value),
        "default": row.default if isinstance(row.default, bool | int | float) else str(row.default),
        "source": source,
        "environment": row.env,
        "unit": row.unit,
        "choices": list(row.choices),
        "meaning": row.text,
    }
