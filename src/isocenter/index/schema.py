"""The tables, in SQLAlchemy Core. `migrations/` makes them; a test holds the two together.

study > series > instance is the hierarchy. A series belongs to one study: when an object names a series that is already
known in another study, that is another row, so that no object is lost to somebody's UID mistake. An instance row is
what makes a stored object visible. Instances of no patient (PS3.4 Annex GG) are in no series, so that nothing that goes
through the hierarchy meets them. Counters of study and series are kept in the transaction that changes them.
Identifiers only grow: their order is the order of the answers.
"""

from __future__ import annotations

import sqlalchemy as sa

from isocenter.index.keys import COLUMNS, FUZZY_NAME, LISTED, OTHER_GROUPS, column_names
from isocenter.model import Level

HEAD = "0007"  # the newest revision in migrations/versions

metadata = sa.MetaData()


def _keys(level: Level) -> list[sa.Column[str | None]]:
    return [sa.Column(name, sa.Text) for name in column_names(level)]


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.Integer, primary_key=True, autoincrement=True)


def _uid() -> sa.Column[str]:
    return sa.Column("uid", sa.Text, nullable=False)


def _counter(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def _attributes() -> sa.Column[str]:
    return sa.Column("attributes", sa.Text, nullable=False)  # DICOM JSON


study = sa.Table(
    "study",
    metadata,
    _id(),
    _uid(),
    sa.Column("patient_key", sa.Text, nullable=False),
    *_keys(Level.STUDY),
    sa.Column("modalities", sa.Text, nullable=False),  # \CT\SR\
    sa.Column("sop_classes", sa.Text, nullable=False),  # \1.2.840...\
    _counter("series_count"),
    _counter("instance_count"),
    _counter("bytes"),
    _attributes(),
    sa.Index("study_by_uid", "uid", unique=True),
    sa.Index("study_by_patient", "patient_key"),
    *(
        sa.Index(f"study_by_{name}", name)
        for column in COLUMNS
        if column.level == Level.STUDY and column.indexed and column.name != "uid"
        for name in (column.name, *((column.name + group for group in OTHER_GROUPS) if column.person else ()))
    ),
    # For the study list: orders that no key has an index for, and all it takes to filter and sort without the rows.
    # Counters have none: they change with each object.
    sa.Index("study_by_moment", "study_date", "study_time"),
    sa.Index("study_by_description", "study_description"),
    sa.Index("study_by_modalities", "modalities"),
    sa.Index(
        "study_in_list",
        *(LISTED, "modalities", "study_date", "study_time", "patient_name", "patient_id", "accession_number"),
        "study_description",
    ),
    sqlite_autoincrement=True,
)

series = sa.Table(
    "series",
    metadata,
    _id(),
    sa.Column("study_id", sa.Integer, sa.ForeignKey("study.id"), nullable=False),
    _uid(),
    *_keys(Level.SERIES),
    _counter("instance_count"),
    _attributes(),
    sa.Index("series_by_uid", "uid", "study_id", unique=True),
    sa.Index("series_by_study", "study_id"),
    sa.Index("series_by_performed_date", "performed_date"),
    sqlite_autoincrement=True,
)

instance = sa.Table(
    "instance",
    metadata,
    _id(),
    sa.Column("series_id", sa.Integer, sa.ForeignKey("series.id")),  # none: of no patient
    _uid(),
    *_keys(Level.IMAGE),
    sa.Column("transfer_syntax", sa.Text, nullable=False),
    sa.Column("number_of_frames", sa.Integer),
    sa.Column("blob", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("data_set_offset", sa.Integer, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("header_digest", sa.LargeBinary, nullable=False),
    sa.Column("origin", sa.Text, nullable=False),  # kind, peer, calling, called; tab-separated
    sa.Column("stored_at", sa.Text, nullable=False),
    _attributes(),
    sa.Index("instance_by_uid", "uid", unique=True),
    sa.Index("instance_by_series", "series_id"),
    sqlite_autoincrement=True,
)

# The other bytes that came under the UID of a stored instance: kept, not visible. "" for UIDs that it does not have.
superseded = sa.Table(
    "superseded",
    metadata,
    _id(),
    _uid(),
    sa.Column("study_uid", sa.Text, nullable=False),
    sa.Column("series_uid", sa.Text, nullable=False),
    sa.Column("transfer_syntax", sa.Text, nullable=False),
    sa.Column("blob", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("data_set_offset", sa.Integer, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("header_digest", sa.LargeBinary, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),  # "kept-first" or "replaced"
    sa.Column("stored_at", sa.Text, nullable=False),
    sa.Index("superseded_by_uid", "uid"),
    sqlite_autoincrement=True,
)

change = sa.Table(
    "change",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("study_uid", sa.Text, nullable=False),  # "": of no patient
    sa.Column("series_uid", sa.Text),
    sa.Column("instance_uid", sa.Text),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("actor", sa.Text, nullable=False, server_default=""),  # who deleted it
    sqlite_autoincrement=True,
)

# DICOM JSON metadata of runs of a series' instances, compressed; `last_instance` is the last one in the run.
series_metadata = sa.Table(
    "series_metadata",
    metadata,
    _id(),
    sa.Column("series_id", sa.Integer, sa.ForeignKey("series.id"), nullable=False),
    sa.Column("last_instance", sa.Integer, nullable=False),
    sa.Column("instance_count", sa.Integer, nullable=False),
    sa.Column("token", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Index("series_metadata_by_series", "series_id"),
    sqlite_autoincrement=True,
)

# Blobs whose rows are gone and whose files are about to go: a crash in between must not bring them back.
doomed = sa.Table("doomed", metadata, sa.Column("blob", sa.Text, primary_key=True))

# Small facts: how far the search for orphans has come, ...
fact = sa.Table(
    "fact", metadata, sa.Column("name", sa.Text, primary_key=True), sa.Column("value", sa.Text, nullable=False)
)

# Work towards peers: see isocenter.index.jobs. Times are seconds since 1970.
job = sa.Table(
    "job",
    metadata,
    _id(),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("payload", sa.Text, nullable=False),  # JSON
    sa.Column("state", sa.Text, nullable=False),
    _counter("attempts"),
    sa.Column("next_at", sa.Float, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("updated_at", sa.Float, nullable=False),
    sa.Column("progressed_at", sa.Float, nullable=False),
    sa.Column("last_error", sa.Text, nullable=False, server_default=""),
    _counter("total"),
    _counter("done"),
    _counter("failed"),
    sa.Index("job_by_state", "state", "next_at"),
    sa.Index("job_by_target", "kind", "target", "key", "state"),
    sqlite_autoincrement=True,
)

# What a job still has to do, a row for each UID, in the order of coming; what is done has none any more.
job_item = sa.Table(
    "job_item",
    metadata,
    _id(),
    sa.Column("job_id", sa.Integer, sa.ForeignKey("job.id"), nullable=False),
    sa.Column("uid", sa.Text, nullable=False),
    sa.Column("failure", sa.Text),  # why it will not be tried again
    sa.Index("job_item_by_uid", "job_id", "uid", unique=True),
    sa.Index("job_item_by_job", "job_id"),
    sqlite_autoincrement=True,
)

# Under which Transaction UIDs a job asked a peer to commit itself (PS3.4 Annex J): its report names nothing else.
job_asked = sa.Table(
    "job_asked",
    metadata,
    sa.Column("transaction_uid", sa.Text, primary_key=True),
    sa.Column("job_id", sa.Integer, sa.ForeignKey("job.id"), nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Index("job_asked_by_job", "job_id"),
)

# Steps of work (isocenter.index.work). `uid` is unique within a kind; `state`, `patient_id` and `starts` are comparing
# forms of what `attributes` say; `transaction_uid` is the lock of who performs a unified step.
step = sa.Table(
    "step",
    metadata,
    _id(),
    sa.Column("kind", sa.Text, nullable=False),
    _uid(),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("transaction_uid", sa.Text, nullable=False, server_default=""),
    sa.Column("patient_id", sa.Text, nullable=False),
    sa.Column("starts", sa.Text, nullable=False),
    _attributes(),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("updated_at", sa.Float, nullable=False),
    sa.Index("step_by_uid", "kind", "uid", unique=True),
    sa.Index("step_by_state", "kind", "state", "updated_at"),
    sa.Index("step_by_patient", "kind", "patient_id"),
    sa.Index("step_by_start", "kind", "starts"),
    sqlite_autoincrement=True,
)

# Who is told of what becomes of a unified step (PS3.4 CC.2.3), and who waits for its end before it may go (`lock`).
step_subscription = sa.Table(
    "step_subscription",
    metadata,
    sa.Column("step_id", sa.Integer, sa.ForeignKey("step.id"), primary_key=True),
    sa.Column("aet", sa.Text, primary_key=True),
    sa.Column("lock", sa.Boolean, nullable=False),
    sa.Index("step_subscription_by_aet", "aet"),
)

# Who is subscribed to steps that come; with `filtered` to those that fulfil `matches` (JSON).
step_watcher = sa.Table(
    "step_watcher",
    metadata,
    sa.Column("aet", sa.Text, primary_key=True),
    sa.Column("filtered", sa.Boolean, primary_key=True),
    sa.Column("lock", sa.Boolean, nullable=False),
    sa.Column("matches", sa.Text, nullable=False),
)

# What there is to tell them, a row for each receiver, written with the change that it tells of.
step_report = sa.Table(
    "step_report",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("aet", sa.Text, nullable=False),
    _uid(),
    sa.Column("event_type", sa.Integer, nullable=False),
    sa.Column("information", sa.Text, nullable=False),  # DICOM JSON
    sa.Index("step_report_by_aet", "aet", "seq"),
    sqlite_autoincrement=True,
)

assert FUZZY_NAME in study.c
