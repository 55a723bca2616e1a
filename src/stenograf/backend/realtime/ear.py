"""One live stream of sound -> turns: when speech began and ended, and what was said in between.

Positions are samples at 16 kHz since the session began, whatever was cleared or committed on the
way. Nothing here depends on how the client cut its sound into messages.
"""

import uuid
from dataclasses import dataclass

import numpy as np

from stenograf.audio.spans import FRAME_SAMPLES
from stenograf.audio.vad import VoiceDetector
from stenograf.audio.windows import quietest_point
from stenograf.backend.realtime.config import AudioFormat, ServerVad
from stenograf.backend.realtime.faults import BufferFull, BufferTooSmall
from stenograf.backend.realtime.inlet import Inlet
from stenograf.contract.pcm import MAX_WINDOW_SAMPLES, SAMPLE_RATE, Waveform

_MIN_COMMIT_SAMPLES = SAMPLE_RATE // 10
_MIN_SPEECH_FRAMES = 3  # 96 ms: a click is not a turn
_HYSTERESIS = 0.15  # a turn ends this far under the threshold it begins at
_EARLIEST_CUT = MAX_WINDOW_SAMPLES * 2 // 3


@dataclass(frozen=True)
class SpeechStarted:
    """The turn `item_id` begins at sample `at`, padding included."""

    item_id: str
    at: int


@dataclass(frozen=True)
class SpeechStopped:
    """The turn `item_id` ends at sample `at`."""

    item_id: str
    at: int


@dataclass(frozen=True)
class Utterance:
    """Sound to be recognized as one item, shape (n_samples,); `voiced`: known to be speech."""

    item_id: str
    sound: Waveform
    voiced: bool


Happening = SpeechStarted | SpeechStopped | Utterance


class Ear:
    """Listens to one client; for one thread at a time.

    With turn detection, silence is forgotten and turns come out by themselves, one that exceeds a
    window of the recognizer in pieces cut at its pauses. Without it everything is kept until
    `commit`, at most `max_samples`.
    """

    def __init__(self, detector: VoiceDetector, max_samples: int) -> None:
        self._detector = detector
        self._max_samples = max_samples
        self._format = AudioFormat()
        self._turns: ServerVad | None = ServerVad()
        self._inlet = Inlet(self._format)
        self._end = 0
        self._forget()

    def configure(self, format: AudioFormat, turns: ServerVad | None) -> list[Happening]:
        """Change how sound is read and when turns end; what is held stays."""
        happened: list[Happening] = []
        if format != self._format:
            happened += self._hear(self._inlet.flush())
            self._format, self._inlet = format, Inlet(format)
        if turns is not None and self._turns is None:
            held = self._held()
            self._end -= len(held)
            self._forget()
            self._turns = turns
            return happened + self._hear(held)
        if turns is None:
            self._keep_frame()
        self._turns = turns
        return happened

    def feed(self, data: bytes) -> list[Happening]:
        """Listen to the next bytes. Raises BufferFull, and takes none of them."""
        arriving = len(data) * SAMPLE_RATE // self._format.rate
        arriving //= 2 if self._format.type == "audio/pcm" else 1
        held = self._n_held if self._turns is None else 0  # detection keeps a window at most
        if held + arriving > self._max_samples:
            raise BufferFull(
                f"That would be more than {self._max_samples / SAMPLE_RATE:g} s of sound.",
                hint="Append shorter parts; commit or clear what waits, or turn on server_vad.",
                param="audio",
            )
        return self._hear(self._inlet.feed(data))

    def commit(self) -> list[Happening]:
        """End the turn here. Raises BufferTooSmall."""
        happened = self._hear(self._inlet.flush())
        self._keep_frame()
        if self._n_held < _MIN_COMMIT_SAMPLES and self._item_id is None:
            if happened:  # the last of the sound ended a turn, and that is what was committed
                return happened
            held_ms = self._n_held * 1000 / SAMPLE_RATE
            raise BufferTooSmall(
                "Error committing input audio buffer: buffer too small. Expected at least 100ms "
                f"of audio, but buffer only has {held_ms:.2f}ms of audio."
            )
        happened += self._turn_over()
        self._forget()
        return happened

    def clear(self) -> None:
        """Forget what is held; positions go on."""
        self._end += len(self._inlet.flush())
        self._end += len(self._frame)
        self._forget()

    def _forget(self) -> None:
        self._voice = self._detector.stream()
        self._frame: Waveform = np.zeros(0, np.float32)
        self._sound: list[Waveform] = []
        self._n_held = 0
        self._item_id: str | None = None
        self._speech_frames = self._silence_frames = 0

    def _hear(self, sound: Waveform) -> list[Happening]:
        if self._turns is None:
            self._keep(sound)
            return []
        happened: list[Happening] = []
        waiting = np.concatenate((self._frame, sound))
        whole = len(waiting) - len(waiting) % FRAME_SAMPLES
        self._frame = waiting[whole:]
        for frame in waiting[:whole].reshape(-1, FRAME_SAMPLES):
            happened += self._hear_frame(frame, self._turns)
        return happened

    def _hear_frame(self, frame: Waveform, turns: ServerVad) -> list[Happening]:
        speech = self._voice.probability(frame)
        self._keep(frame)
        if self._item_id is None:
            return self._wait_for_speech(speech, turns)
        stays = speech >= max(turns.threshold - _HYSTERESIS, min(turns.threshold, 0.01))
        self._silence_frames = 0 if stays else self._silence_frames + 1
        silence_ms = self._silence_frames * FRAME_SAMPLES * 1000 // SAMPLE_RATE
        if self._silence_frames and silence_ms >= turns.silence_duration_ms:
            return self._turn_over()
        return self._cut() if self._n_held >= MAX_WINDOW_SAMPLES else []

    def _wait_for_speech(self, speech: float, turns: ServerVad) -> list[Happening]:
        self._speech_frames = self._speech_frames + 1 if speech >= turns.threshold else 0
        padding = turns.prefix_padding_ms * SAMPLE_RATE // 1000
        self._drop_all_but(padding + self._speech_frames * FRAME_SAMPLES)
        if self._speech_frames < _MIN_SPEECH_FRAMES:
            return []
        return [self._start_turn()]

    def _start_turn(self) -> SpeechStarted:
        self._item_id = _new_id()
        self._speech_frames = self._silence_frames = 0
        return SpeechStarted(self._item_id, self._end - self._n_held)

    def _turn_over(self) -> list[Happening]:
        """Give out all that is held."""
        item_id, sound = self._item_id, self._held()
        self._sound, self._n_held, self._item_id = [], 0, None
        self._speech_frames = self._silence_frames = 0
        if item_id is None:
            return [Utterance(_new_id(), sound, voiced=False)]
        return [SpeechStopped(item_id, self._end), Utterance(item_id, sound, voiced=True)]

    def _cut(self) -> list[Happening]:
        """Speech goes on for longer than a window: end the turn at a pause and begin the next."""
        sound = self._held()
        at = _EARLIEST_CUT + quietest_point(sound[_EARLIEST_CUT:])
        place = self._end - len(sound) + at
        assert self._item_id is not None
        happened: list[Happening] = [
            SpeechStopped(self._item_id, place),
            Utterance(self._item_id, sound[:at], voiced=True),
        ]
        self._sound, self._n_held = [sound[at:].copy()], len(sound) - at
        silence_frames = self._silence_frames
        happened.append(self._start_turn())
        self._silence_frames = silence_frames
        return happened

    def _keep(self, sound: Waveform) -> None:
        self._sound.append(sound)
        self._n_held += len(sound)
        self._end += len(sound)

    def _keep_frame(self) -> None:
        self._keep(self._frame)
        self._frame = self._frame[:0]

    def _held(self) -> Waveform:
        return np.concatenate([np.zeros(0, np.float32), *self._sound], dtype=np.float32)

    def _drop_all_but(self, n_samples: int) -> None:
        """Whole pieces only, then the excess of the first."""
        while self._sound and self._n_held - len(self._sound[0]) >= n_samples:
            self._n_held -= len(self._sound.pop(0))
        excess = self._n_held - n_samples
        if excess > 0:
            self._sound[0] = self._sound[0][excess:]
            self._n_held = n_samples


def _new_id() -> str:
    return f"item_{uuid.uuid4().hex[:24]}"
