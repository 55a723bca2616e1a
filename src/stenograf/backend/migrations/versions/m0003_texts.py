"""Work of a language model on transcripts."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "texts",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column(
            "job_id", sa.String(32), sa.ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("with_job", sa.Boolean, nullable=False),
        sa.Column("task", sa.String(16), nullable=False),
        sa.Column("instruction", sa.Text, nullable=False),
        sa.Column("strict", sa.Boolean, nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("lease_owner", sa.String(80)),
        sa.Column("lease_until", sa.Double, nullable=False),
        sa.Column("not_before", sa.Double, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("crashes", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("finished_at", sa.Double),
        sa.Column("pieces_done", sa.Integer, nullable=False),
        sa.Column("pieces_total", sa.Integer),
        sa.Column("model", sa.String(300), nullable=False),
        sa.Column("warnings", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("passages", sa.Text, nullable=False),
    )
    op.create_index("ix_texts_job_id", "texts", ["job_id"])
    op.create_index("ix_texts_due", "texts", ["state", "not_before", "created_at"])
    op.create_index("ix_texts_key", "texts", ["key"])


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("texts")
