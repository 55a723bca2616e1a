"""Jobs of the fake backend: a script of phrases instead of a recognizer, the same life of a job."""

import io
import itertools
import json
import threading
import time
import uuid
import wave
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from stenograf.contract.errors import (
    Conflict,
    NotFinished,
    NotFound,
    StenografError,
    UndecodableAudio,
)
from stenograf.contract.jobs import (
    JobPage,
    JobStatus,
    JobView,
    Overview,
    Progress,
    Stage,
    WindowEvent,
)
from stenograf.contract.options import TranscribeOptions
from stenograf.contract.pcm import SAMPLE_RATE
from stenograf.contract.transcript import Level, Levels, Segment, Transcript, Warning, Word

PHRASES = (
    "Добрый день, коллеги, начнём совещание.",
    "Сегодня двадцать первое ноября, суббота.",
    "На повестке три вопроса: сроки, бюджет и приёмка.",
    "Поставка задержится на пять рабочих дней.",
    "Ольга Кравец пришлёт исправленный договор до вторника.",
    "Остаток по счёту — сорок семь тысяч рублей.",
    "Следующая встреча в четверг, в половине одиннадцатого.",
    "Спасибо, на этом всё.",
)
PHRASE_S = 4.0


def phrase_segment(index: int) -> Segment:
    """Phrase `index` of the script with evenly spread words, in file time."""
    text = PHRASES[index % len(PHRASES)]
    start = round((index * PHRASE_S + 0.3) * SAMPLE_RATE)
    step = round((PHRASE_S - 0.6) * SAMPLE_RATE / len(text.split()))
    words = tuple(
        Word(
            text=f" {word}",
            start=start + place * step,
            end=start + (place + 1) * step,
            probability=0.31 if word == "Кравец" else 0.96,
        )
        for place, word in enumerate(text.split())
    )
    return Segment(text=f" {text}", start=start, end=words[-1].end, words=words, avg_logprob=-0.2)


def read_wav(content: bytes) -> np.ndarray[Any, np.dtype[np.float32]] | None:
    """Samples in [-1, 1] of a 16-bit WAV, shape (n_samples,); None for anything else."""
    try:
        with wave.open(io.BytesIO(content)) as reader:
            frames = reader.readframes(reader.getnframes())
            channels = reader.getnchannels()
    except (wave.Error, EOFError):
        return None
    return np.frombuffer(frames, "<i2").reshape(-1, channels)[:, 0].astype(np.float32) / 32768


@dataclass
class FakeJob:
    view: JobView
    content: bytes
    windows: list[WindowEvent] = field(default_factory=list)
    silent: bool = False
    attempt: int = 0
    cut: int = 0  # grows where the windows told before are void
    removed: tuple[Warning, ...] = ()
    error: StenografError | None = None  # what the next attempt ends with
    changed: threading.Condition = field(default_factory=threading.Condition)

    def put(self, **update: Any) -> None:
        with self.changed:
            self.view = self.view.model_copy(update=update)
            self.changed.notify_all()


class FakeJobs:
    """Stores jobs and works on each in a thread of its own, `pace_s` seconds a window."""

    def __init__(self, pace_s: float = 0.05) -> None:
        self.pace_s = pace_s
        self.hold_at: int | None = None  # windows of a job, at which it waits
        self.jobs: dict[str, FakeJob] = {}
        self.checks = {"database": "ok", "disk": "ok", "llm": "ok"}
        self._numbers = itertools.count(1)

    def add(
        self,
        filename: str,
        content: bytes,
        options: TranscribeOptions | None = None,
        *,
        title: str = "",
        run: bool = True,
    ) -> JobView:
        samples = read_wav(content)
        duration_s = None if samples is None else len(samples) / SAMPLE_RATE
        view = JobView(
            id=uuid.uuid4().hex[:16],
            status=JobStatus.QUEUED,
            title=title or filename,
            filename=filename,
            size_bytes=len(content),
            duration_s=duration_s,
            options=options or TranscribeOptions(),
            created_at=datetime.now(UTC),
        )
        job = self.jobs[view.id] = FakeJob(view, content)
        job.silent = samples is not None and not samples.any()
        if run:
            self.start(job)
        return view

    def start(self, job: FakeJob) -> None:
        job.attempt += 1
        threading.Thread(target=self._work, args=(job, job.attempt), daemon=True).start()

    def get(self, job_id: str) -> FakeJob:
        try:
            return self.jobs[job_id]
        except KeyError:
            raise NotFound(f"There is no job {job_id}") from None

    def page(self, query: str, limit: int, skip: int) -> JobPage:
        newest = sorted(self.jobs.values(), key=lambda job: job.view.created_at, reverse=True)
        found = [job.view for job in newest if query.casefold() in self._searched(job)]
        end = skip + limit
        return JobPage(data=found[skip:end], next_cursor=str(end) if len(found) > end else None)

    def cancel(self, job: FakeJob) -> JobView:
        if job.view.status.final:
            raise Conflict("The job has ended already")
        job.put(status=JobStatus.CANCELLED, finished_at=datetime.now(UTC))
        return job.view

    def retry(self, job: FakeJob) -> JobView:
        if job.view.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
            raise Conflict("Only a failed or cancelled job can be tried again")
        job.put(status=JobStatus.QUEUED, error=None, finished_at=None, progress=Progress())
        self.start(job)
        return job.view

    def transcript(self, job: FakeJob, *, partial: bool) -> Transcript:
        if job.view.status is not JobStatus.COMPLETED and not partial:
            raise NotFinished("The job has no complete transcript yet")
        decoded = read_wav(job.content) is not None
        levels = Levels.model_validate(self.overview(job).levels) if decoded else None
        silence = Warning(code="no_speech", message="No speech was found.")
        return Transcript(
            duration=round((job.view.duration_s or 0) * SAMPLE_RATE),
            segments=tuple(s for window in job.windows for s in window.segments),
            warnings=(silence,) if job.silent else job.removed,
            levels=levels,
            model="fake",
        )

    def overview(self, job: FakeJob) -> Overview:
        samples = read_wav(job.content)
        if samples is None or not len(samples):
            raise NotFinished("The file is not decoded")
        buckets = np.array_split(samples, min(2000, len(samples)))
        peak = float(np.abs(samples).max())
        gain = 0.9 / peak if peak else 1.0
        gain_db = float(20 * np.log10(gain))
        before = Level() if not peak else Level(peak_db=-gain_db - 0.9, rms_db=-34.2, lufs=-31.4)
        after = Level() if not peak else Level(peak_db=-0.9, rms_db=-20.1, lufs=-17.3)
        levels = Levels(before=before, after=after, gain_db=gain_db, method="auto")
        return Overview(
            bucket_s=len(samples) / SAMPLE_RATE / len(buckets),
            minimum=[float(bucket.min()) for bucket in buckets],
            maximum=[float(bucket.max()) for bucket in buckets],
            gain=gain,
            levels=levels.model_dump(),
        )

    def _searched(self, job: FakeJob) -> str:
        said = " ".join(s.text for window in job.windows for s in window.segments)
        return f"{job.view.title} {job.view.filename} {said}".casefold()

    def _work(self, job: FakeJob, attempt: int) -> None:
        began = time.monotonic()
        job.put(status=JobStatus.RUNNING, started_at=datetime.now(UTC))
        for stage in (Stage.DECODING, Stage.LISTENING):
            job.put(progress=Progress(stage=stage, elapsed_s=time.monotonic() - began))
            time.sleep(self.pace_s)
        if job.error is None and read_wav(job.content) is None:
            job.error = UndecodableAudio("The file holds no sound that can be read")
        if job.error is not None:
            job.put(status=JobStatus.FAILED, error=job.error.body())
            job.error = None
            return
        total = 0 if job.silent else max(1, int((job.view.duration_s or 0) / PHRASE_S))
        for index in range(len(job.windows), total):
            time.sleep(self.pace_s)
            while index == self.hold_at and job.view.status is JobStatus.RUNNING:
                time.sleep(0.02)
            if job.view.status is not JobStatus.RUNNING or job.attempt != attempt:
                return
            segment = phrase_segment(index)
            job.windows.append(
                WindowEvent(index=index, start=segment.start, end=segment.end, segments=(segment,))
            )
            job.put(
                progress=Progress(
                    stage=Stage.RECOGNIZING,
                    done_s=(index + 1) * PHRASE_S,
                    total_s=total * PHRASE_S,
                    windows_done=index + 1,
                    windows_total=total,
                    elapsed_s=time.monotonic() - began,
                    eta_s=(total - index - 1) * self.pace_s,
                ),
                text_preview=PHRASES[0] + " " + PHRASES[1],
            )
        job.put(status=JobStatus.COMPLETED, finished_at=datetime.now(UTC))


def render(transcript: Transcript, kind: str) -> str:
    """Enough of each format for the page's menu."""
    if kind in ("json", "verbose_json"):
        body = {**transcript.model_dump(mode="json"), "text": transcript.text}
        return json.dumps(body, ensure_ascii=False)
    if kind == "txt":
        return "\n".join(s.text.strip() for s in transcript.segments) + "\n"
    return "".join(f"{s.start_s:.3f}\t{s.end_s:.3f}\t{s.text}\n" for s in transcript.segments)
