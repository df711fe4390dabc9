"""The first schema: studies, series, instances, what was superseded, changes, metadata."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "change",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("series_uid", sa.Text(), nullable=True),
        sa.Column("instance_uid", sa.Text(), nullable=True),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sqlite_autoincrement=True,
    )
    op.create_table("doomed", sa.Column("blob", sa.Text(), nullable=False), sa.PrimaryKeyConstraint("blob"))
    op.create_table(
        "fact",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "study",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("patient_key", sa.Text(), nullable=False),
        sa.Column("patient_name", sa.Text(), nullable=True),
        sa.Column("patient_name_ideographic", sa.Text(), nullable=True),
        sa.Column("patient_name_phonetic", sa.Text(), nullable=True),
        sa.Column("patient_id", sa.Text(), nullable=True),
        sa.Column("patient_issuer", sa.Text(), nullable=True),
        sa.Column("patient_birth_date", sa.Text(), nullable=True),
        sa.Column("patient_sex", sa.Text(), nullable=True),
        sa.Column("study_date", sa.Text(), nullable=True),
        sa.Column("study_time", sa.Text(), nullable=True),
        sa.Column("accession_number", sa.Text(), nullable=True),
        sa.Column("referring_physician", sa.Text(), nullable=True),
        sa.Column("referring_physician_ideographic", sa.Text(), nullable=True),
        sa.Column("referring_physician_phonetic", sa.Text(), nullable=True),
        sa.Column("study_description", sa.Text(), nullable=True),
        sa.Column("study_id", sa.Text(), nullable=True),
        sa.Column("patient_name_words", sa.Text(), nullable=True),
        sa.Column("modalities", sa.Text(), nullable=False),
        sa.Column("sop_classes", sa.Text(), nullable=False),
        sa.Column("series_count", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("instance_count", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("attributes", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("study_by_accession_number", "study", ["accession_number"], unique=False)
    op.create_index("study_by_patient", "study", ["patient_key"], unique=False)
    op.create_index("study_by_patient_birth_date", "study", ["patient_birth_date"], unique=False)
    op.create_index("study_by_patient_id", "study", ["patient_id"], unique=False)
    op.create_index("study_by_patient_name", "study", ["patient_name"], unique=False)
    op.create_index("study_by_patient_name_ideographic", "study", ["patient_name_ideographic"], unique=False)
    op.create_index("study_by_patient_name_phonetic", "study", ["patient_name_phonetic"], unique=False)
    op.create_index("study_by_referring_physician", "study", ["referring_physician"], unique=False)
    op.create_index(
        "study_by_referring_physician_ideographic", "study", ["referring_physician_ideographic"], unique=False
    )
    op.create_index("study_by_referring_physician_phonetic", "study", ["referring_physician_phonetic"], unique=False)
    op.create_index("study_by_study_date", "study", ["study_date"], unique=False)
    op.create_index("study_by_study_id", "study", ["study_id"], unique=False)
    op.create_index("study_by_uid", "study", ["uid"], unique=True)
    op.create_table(
        "superseded",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("series_uid", sa.Text(), nullable=False),
        sa.Column("transfer_syntax", sa.Text(), nullable=False),
        sa.Column("blob", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("data_set_offset", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("header_digest", sa.LargeBinary(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("stored_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("superseded_by_uid", "superseded", ["uid"], unique=False)
    op.create_table(
        "series",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("modality", sa.Text(), nullable=True),
        sa.Column("series_date", sa.Text(), nullable=True),
        sa.Column("series_time", sa.Text(), nullable=True),
        sa.Column("series_description", sa.Text(), nullable=True),
        sa.Column("protocol_name", sa.Text(), nullable=True),
        sa.Column("body_part", sa.Text(), nullable=True),
        sa.Column("series_number", sa.Text(), nullable=True),
        sa.Column("performed_date", sa.Text(), nullable=True),
        sa.Column("performed_time", sa.Text(), nullable=True),
        sa.Column("instance_count", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("attributes", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"],
            ["study.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("series_by_performed_date", "series", ["performed_date"], unique=False)
    op.create_index("series_by_study", "series", ["study_id"], unique=False)
    op.create_index("series_by_uid", "series", ["uid", "study_id"], unique=True)
    op.create_table(
        "instance",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("series_id", sa.Integer(), nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("sop_class", sa.Text(), nullable=True),
        sa.Column("instance_number", sa.Text(), nullable=True),
        sa.Column("content_date", sa.Text(), nullable=True),
        sa.Column("transfer_syntax", sa.Text(), nullable=False),
        sa.Column("number_of_frames", sa.Integer(), nullable=True),
        sa.Column("blob", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("data_set_offset", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("header_digest", sa.LargeBinary(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("stored_at", sa.Text(), nullable=False),
        sa.Column("attributes", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["series_id"],
            ["series.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("instance_by_series", "instance", ["series_id"], unique=False)
    op.create_index("instance_by_uid", "instance", ["uid"], unique=True)
    op.create_table(
        "series_metadata",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("series_id", sa.Integer(), nullable=False),
        sa.Column("last_instance", sa.Integer(), nullable=False),
        sa.Column("instance_count", sa.Integer(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["series_id"],
            ["series.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("series_metadata_by_series", "series_metadata", ["series_id"], unique=False)


def downgrade() -> None:
    op.drop_index("series_metadata_by_series", table_name="series_metadata")
    op.drop_table("series_metadata")
    op.drop_index("instance_by_uid", table_name="instance")
    op.drop_index("instance_by_series", table_name="instance")
    op.drop_table("instance")
    op.drop_index("series_by_uid", table_name="series")
    op.drop_index("series_by_study", table_name="series")
    op.drop_index("series_by_performed_date", table_name="series")
    op.drop_table("series")
    op.drop_index("superseded_by_uid", table_name="superseded")
    op.drop_table("superseded")
    op.drop_index("study_by_uid", table_name="study")
    op.drop_index("study_by_study_id", table_name="study")
    op.drop_index("study_by_study_date", table_name="study")
    op.drop_index("study_by_referring_physician_phonetic", table_name="study")
    op.drop_index("study_by_referring_physician_ideographic", table_name="study")
    op.drop_index("study_by_referring_physician", table_name="study")
    op.drop_index("study_by_patient_name_phonetic", table_name="study")
    op.drop_index("study_by_patient_name_ideographic", table_name="study")
    op.drop_index("study_by_patient_name", table_name="study")
    op.drop_index("study_by_patient_id", table_name="study")
    op.drop_index("study_by_patient_birth_date", table_name="study")
    op.drop_index("study_by_patient", table_name="study")
    op.drop_index("study_by_accession_number", table_name="study")
    op.drop_table("study")
    op.drop_table("fact")
    op.drop_table("doomed")
    op.drop_table("change")
