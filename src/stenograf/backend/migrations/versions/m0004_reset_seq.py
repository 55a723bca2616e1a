"""Numbers of windows that never begin anew, so that who watches misses none."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the number behind which windows count; 0, as nearly always, costs SQLite no reading."""
    # A plain ALTER: Alembic's copy of the table would drop the old one, and its windows with it.
    op.execute("ALTER TABLE recognitions ADD COLUMN reset_seq INTEGER DEFAULT 0 NOT NULL")


def downgrade() -> None:
    """Drop the column."""
    op.execute("ALTER TABLE recognitions DROP COLUMN reset_seq")
