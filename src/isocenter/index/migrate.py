"""Bring an index to the newest schema, or say readably why that is not possible."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from isocenter.errors import DataFolderError
from isocenter.index.schema import HEAD


def revision(connection: sa.Connection) -> str | None:
    """The schema revision of a database; None for an empty one."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return version


def upgrade(connection: sa.Connection) -> None:
    """Make or migrate the tables inside the connection's transaction. DataFolderError when they are too new."""
    current = revision(connection)
    if current == HEAD:
        return
    # Alembic takes a while to import; an index that is up to date does not need it.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise DataFolderError(f"the index has schema {current}, which is newer than this version of Isocenter knows")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
