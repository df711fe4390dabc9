"""Options that several commands share, and how they become Settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from isocenter.settings import Settings, load

Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE.toml", help="Settings file; see `isocenter settings`.")
]
Data = Annotated[Path | None, typer.Option("--data", metavar="FOLDER", help="Data folder of the archive.")]


def settings_from(config: Path | None, **overrides: Any) -> Settings:
    """Settings from command line (`overrides`; None is not given), environment, file and defaults, in this order."""
    return load(config, overrides)
