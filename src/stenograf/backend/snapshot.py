"""A job as those who watch it read it: its state and the windows that are new to them."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from stenograf.backend.db import RecognitionRow, WindowRow
from stenograf.backend.records import Heard, Plan, PlannedWindow
from stenograf.contract.jobs import JobView

NO_PLAN = Plan(spans=(), windows=())


@dataclass(frozen=True)
class StoredWindow:
    """A finished window with its place in the file, and its number among what is told."""

    index: int
    seq: int
    planned: PlannedWindow
    heard: Heard


@dataclass(frozen=True)
class Snapshot:
    """A job and its windows that finished after a given one, read in one transaction.

    The plan is that of the windows; without any it is empty. Numbers grow for as long as the job
    lives: who goes on after `last_seq` misses nothing.
    """

    view: JobView
    recognition_id: str
    plan: Plan
    windows: tuple[StoredWindow, ...]
    last_seq: int
    reset_seq: int | None = None
    """Number of the event that all windows before are void; None where those seen still count."""


def windows_after(
    session: Session, recognition: RecognitionRow, plan: Plan, after_seq: int
) -> list[StoredWindow]:
    """Windows of a recognition that finished after `after_seq`, in the order they did."""
    before = recognition.reset_seq
    statement = (
        select(WindowRow)
        .where(WindowRow.recognition_id == recognition.id, WindowRow.done_seq > after_seq - before)
        .order_by(WindowRow.done_seq)
    )
    return [
        StoredWindow(
            index=row.index,
            seq=before + row.done_seq,
            planned=plan.windows[row.index],
            heard=Heard.model_validate_json(row.result),
        )
        for row in session.scalars(statement)
    ]
