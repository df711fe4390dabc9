"""Instances of no patient: they are in no series.

SQLite cannot take NOT NULL from a column, so the table is copied. Its identifiers must go on growing afterwards: those
of the copy would begin behind the highest that is left, and deleted ones would come again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_SEQUENCE = sa.text("SELECT seq FROM sqlite_sequence WHERE name = 'instance'")
_FORGET = sa.text("DELETE FROM sqlite_sequence WHERE name = 'instance'")
_GO_ON = sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES ('instance', :seq)")


def upgrade() -> None:
    _alter(nullable=True)


def downgrade() -> None:
    op.execute("DELETE FROM instance WHERE series_id IS NULL")
    _alter(nullable=False)


def _alter(*, nullable: bool) -> None:
    connection = op.get_bind()
    last = connection.scalar(_SEQUENCE)
    with op.batch_alter_table("instance", recreate="always", table_kwargs={"sqlite_autoincrement": True}) as table:
        table.alter_column("series_id", existing_type=sa.Integer(), nullable=nullable)
    if last is not None:
        connection.execute(_FORGET)
        connection.execute(_GO_ON, {"seq": last})
