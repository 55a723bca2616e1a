"""Jobs, recognitions and windows."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the three tables."""
    _create_recognitions()
    op.create_table(
        "windows",
        sa.Column(
            "recognition_id",
            sa.String(32),
            sa.ForeignKey("recognitions.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("window_index", sa.Integer, primary_key=True),
        sa.Column("done_seq", sa.Integer, nullable=False),
        sa.Column("result", sa.Text, nullable=False),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column(
            "recognition_id", sa.String(32), sa.ForeignKey("recognitions.id"), nullable=False
        ),
        sa.Column("upload_id", sa.String(64), nullable=False),
        sa.Column("title", sa.String(300), nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("media_type", sa.String(200), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("options", sa.Text, nullable=False),
        sa.Column("search_name", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("cancelled_at", sa.Double),
    )
    op.create_index("ix_jobs_newest", "jobs", ["created_at", "id"])
    op.create_index("ix_jobs_recognition_id", "jobs", ["recognition_id"])
    op.create_index("ix_jobs_upload_id", "jobs", ["upload_id"])


def _create_recognitions() -> None:
    op.create_table(
        "recognitions",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("key", sa.String(64), nullable=False, unique=True),
        sa.Column("content_sha256", sa.String(64), nullable=False),
        sa.Column("options", sa.Text, nullable=False),
        sa.Column("model", sa.String(300), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("lease_owner", sa.String(80)),
        sa.Column("lease_until", sa.Double, nullable=False),
        sa.Column("not_before", sa.Double, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("crashes", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("queued_at", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double),
        sa.Column("finished_at", sa.Double),
        sa.Column("recognizing_at", sa.Double),
        sa.Column("recognizing_from", sa.BigInteger, nullable=False),
        sa.Column("duration", sa.BigInteger),
        sa.Column("speech", sa.BigInteger),
        sa.Column("done", sa.BigInteger, nullable=False),
        sa.Column("windows_total", sa.Integer),
        sa.Column("windows_done", sa.Integer, nullable=False),
        sa.Column("preview", sa.String(300), nullable=False),
        sa.Column("search_text", sa.Text, nullable=False),
        # SQLite reads a row from its front: what lists and searches look at stands before these.
        sa.Column("sound", sa.Text),
        sa.Column("plan", sa.Text),
        sa.Column("overview", sa.Text),
        sa.Column("transcript", sa.Text),
    )
    op.create_index("ix_recognitions_due", "recognitions", ["status", "not_before", "queued_at"])


def downgrade() -> None:
    """Drop the three tables."""
    op.drop_table("jobs")
    op.drop_table("windows")
    op.drop_table("recognitions")
