"""Storage Commitment as SCU: which job asked under which Transaction UID."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "job_asked",
        sa.Column("transaction_uid", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"]),
        sa.PrimaryKeyConstraint("transaction_uid"),
    )
    op.create_index("job_asked_by_job", "job_asked", ["job_id"], unique=False)


def downgrade() -> None:
    op.drop_index("job_asked_by_job", table_name="job_asked")
    op.drop_table("job_asked")
