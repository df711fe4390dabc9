"""Steps of work, who is subscribed to them, and what there is to tell."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "step",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("transaction_uid", sa.Text(), nullable=False, server_default=""),
        sa.Column("patient_id", sa.Text(), nullable=False),
        sa.Column("starts", sa.Text(), nullable=False),
        sa.Column("attributes", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("step_by_uid", "step", ["kind", "uid"], unique=True)
    op.create_index("step_by_state", "step", ["kind", "state", "updated_at"], unique=False)
    op.create_index("step_by_patient", "step", ["kind", "patient_id"], unique=False)
    op.create_index("step_by_start", "step", ["kind", "starts"], unique=False)
    op.create_table(
        "step_subscription",
        sa.Column("step_id", sa.Integer(), nullable=False),
        sa.Column("aet", sa.Text(), nullable=False),
        sa.Column("lock", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["step_id"], ["step.id"]),
        sa.PrimaryKeyConstraint("step_id", "aet"),
    )
    op.create_index("step_subscription_by_aet", "step_subscription", ["aet"], unique=False)
    op.create_table(
        "step_watcher",
        sa.Column("aet", sa.Text(), nullable=False),
        sa.Column("filtered", sa.Boolean(), nullable=False),
        sa.Column("lock", sa.Boolean(), nullable=False),
        sa.Column("matches", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("aet", "filtered"),
    )
    op.create_table(
        "step_report",
        sa.Column("seq", sa.Integer(), nullable=False, autoincrement=True),
        sa.Column("aet", sa.Text(), nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("event_type", sa.Integer(), nullable=False),
        sa.Column("information", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sqlite_autoincrement=True,
    )
    op.create_index("step_report_by_aet", "step_report", ["aet", "seq"], unique=False)


def downgrade() -> None:
    for table in ("step_report", "step_watcher", "step_subscription", "step"):
        op.drop_table(table)
