"""What Alembic runs: the connection comes from `isocenter.index.migrate`, never from a file."""

from __future__ import annotations

from alembic import context

from isocenter.index.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
