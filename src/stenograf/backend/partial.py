"""What can be shown of a job that is still running, under the same guards as the end result."""

from collections.abc import Sequence

from stenograf.backend.records import Heard, Plan
from stenograf.backend.snapshot import Snapshot, StoredWindow
from stenograf.contract.jobs import WindowEvent
from stenograf.contract.options import TranscribeOptions
from stenograf.contract.pcm import SAMPLE_RATE
from stenograf.contract.transcript import Transcript
from stenograf.transcripts.assemble import WindowResult, assemble


def window_result(plan: Plan, index: int, heard: Heard) -> WindowResult:
    """A stored window as the assembler takes it."""
    window = plan.windows[index]
    return WindowResult(
        start=window.start,
        end=window.end,
        segments=heard.segments,
        seam_start=index > 0 and plan.windows[index - 1].seam,
        seam_end=window.seam,
        language=heard.language or None,
        language_probability=heard.language_probability,
    )


def speech_of(plan: Plan, options: TranscribeOptions) -> Sequence[tuple[int, int]] | None:
    """Detected speech in samples of the file; None where detection was switched off."""
    return [(span.start, span.end) for span in plan.spans] if options.cut.vad else None


def known_duration(snapshot: Snapshot) -> int:
    """Samples of the recording; while it is still decoded, those that windows are known of."""
    if snapshot.view.duration_s is not None:
        return round(snapshot.view.duration_s * SAMPLE_RATE)
    windows = snapshot.plan.windows
    return windows[-1].end if windows else 0


def partial_transcript(snapshot: Snapshot) -> Transcript:
    """Every window of the snapshot as one transcript."""
    view = snapshot.view
    plan = snapshot.plan
    transcript = assemble(
        [window_result(plan, window.index, window.heard) for window in snapshot.windows],
        duration=known_duration(snapshot),
        options=view.options,
        speech=speech_of(plan, view.options),
    )
    if transcript.segments:
        return transcript
    # Nothing yet is not the same as nothing at all.
    return transcript.model_copy(update={"warnings": ()})


def window_event(snapshot: Snapshot, window: StoredWindow) -> WindowEvent:
    """One window in file time. Borders inside speech are repaired only in the whole transcript."""
    planned = window.planned
    alone = WindowResult(start=planned.start, end=planned.end, segments=window.heard.segments)
    transcript = assemble(
        [alone],
        duration=planned.end,
        options=snapshot.view.options,
        speech=speech_of(snapshot.plan, snapshot.view.options),
    )
    return WindowEvent(
        index=window.index,
        start=planned.start,
        end=planned.end,
        segments=transcript.segments,
    )
