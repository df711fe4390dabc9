"""What a list of studies is searched by, and the indexes that filter and sort it."""

from __future__ import annotations

import orjson
import sqlalchemy as sa
from alembic import op

from isocenter.index.listing import listed

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_SOME = sa.text("SELECT id, attributes FROM study WHERE id > :last ORDER BY id LIMIT 1000")
_FILL = sa.text("UPDATE study SET listed = :listed WHERE id = :id")
_LIST = ("listed", "modalities", "study_date", "study_time", "patient_name", "patient_id", "accession_number")
_INDEXES = {
    "study_by_moment": ["study_date", "study_time"],
    "study_by_description": ["study_description"],
    "study_by_modalities": ["modalities"],
    "study_in_list": [*_LIST, "study_description"],
}


def upgrade() -> None:
    op.add_column("study", sa.Column("listed", sa.Text(), nullable=True))
    connection, last = op.get_bind(), 0
    while rows := connection.execute(_SOME, {"last": last}).all():
        connection.execute(_FILL, [{"id": row.id, "listed": listed(orjson.loads(row.attributes))} for row in rows])
        last = rows[-1].id
    for name, columns in _INDEXES.items():
        op.create_index(name, "study", columns, unique=False)


def downgrade() -> None:
    for name in _INDEXES:
        op.drop_index(name, table_name="study")
    op.execute("ALTER TABLE study DROP COLUMN listed")  # no copy of the table, whose numbers must go on growing
