"""A job as OpenAI's events: text goes out as soon as no later window can change it."""

from collections.abc import AsyncGenerator, Iterator

from stenograf.backend.partial import known_duration, speech_of, window_result
from stenograf.backend.service import Service, shutting_down
from stenograf.backend.snapshot import Snapshot, StoredWindow
from stenograf.contract.transcript import Segment
from stenograf.openai_audio.request import AudioRequest
from stenograf.openai_audio.stream import Pieces
from stenograf.transcripts.assemble import Settling


async def events(service: Service, job_id: str, asked: AudioRequest) -> AsyncGenerator[bytes]:
    """Every event of a job's transcript. Raises what `Service.result` raises."""
    pieces, settled = Pieces(asked), _Settled()
    async for snapshot in service.snapshots(job_id, after_seq=0):
        transcript = await service.outcome(snapshot.view)
        if transcript is not None:
            for event in pieces.finish(transcript):
                yield event
            return
        for event in pieces.add(settled.by(snapshot)):
            yield event
    raise shutting_down()


class _Settled:
    """Puts windows, which finish in any order, into the order of the file and settles them."""

    def __init__(self) -> None:
        self._early: dict[int, StoredWindow] = {}
        self._next = 0
        self._settling: Settling | None = None

    def by(self, snapshot: Snapshot) -> Iterator[Segment]:
        """The segments that the windows new in this snapshot settle."""
        if snapshot.reset_seq is not None:
            self._early.clear()  # what went out cannot be taken back
        self._early.update((window.index, window) for window in snapshot.windows)
        while (window := self._early.pop(self._next, None)) is not None:
            self._next += 1
            result = window_result(snapshot.plan, window.index, window.heard)
            yield from self._informed(snapshot).add(result)

    def _informed(self, snapshot: Snapshot) -> Settling:
        """What settles, knowing as much of the recording as the snapshot does."""
        options = snapshot.view.options
        duration, speech = known_duration(snapshot), speech_of(snapshot.plan, options)
        if self._settling is None:
            self._settling = Settling(duration=duration, options=options, speech=speech)
        else:
            self._settling.learn(duration=duration, speech=speech)
        return self._settling
