"""espeak-ng through its C library: waveform and word times of one sentence.

The library is a process-wide singleton, so only one `Espeak` may live in a process.
"""

from __future__ import annotations

import ctypes
import ctypes.util

import numpy as np
import numpy.typing as npt

_AUDIO_RETRIEVAL = 1
_EVENT_END, _EVENT_WORD = 0, 1
_CHARS_UTF8, _POS_CHARACTER = 1, 1
_RATE, _PITCH, _RANGE, _WORD_GAP = 1, 3, 4, 7


class _EventId(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    ]


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class Espeak:
    """Synthesizer; `sample_rate` is the library's own (22 050 Hz)."""

    def __init__(self) -> None:
        name = ctypes.util.find_library("espeak-ng")
        if name is None:
            raise RuntimeError("libespeak-ng is not installed")
        self._library = ctypes.CDLL(name)
        self.sample_rate = int(self._library.espeak_Initialize(_AUDIO_RETRIEVAL, 0, None, 0))
        self._pieces: list[npt.NDArray[np.int16]] = []
        self._words: list[tuple[int, int]] = []
        self._callback = _Callback(self._on_audio)
        self._library.espeak_SetSynthCallback(self._callback)

    def _on_audio(self, samples: object, count: int, events: object) -> int:
        if samples and count > 0:
            self._pieces.append(np.ctypeslib.as_array(samples, shape=(count,)).copy())  # type: ignore[call-overload]
        index = 0
        while events[index].type != _EVENT_END:  # type: ignore[index]
            event = events[index]  # type: ignore[index]
            if event.type == _EVENT_WORD:
                self._words.append((event.text_position - 1, event.audio_position))
            index += 1
        return 0

    def say(
        self, text: str, voice: str, words_per_minute: int, pitch: int, pitch_range: int, gap: int
    ) -> tuple[npt.NDArray[np.int16], list[tuple[int, float]]]:
        """Return the waveform, shape (n_samples,), and (character index, start in s) per word."""
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice}")
        for parameter, value in (
            (_RATE, words_per_minute),
            (_PITCH, pitch),
            (_RANGE, pitch_range),
            (_WORD_GAP, gap),
        ):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._pieces, self._words = [], []
        data = text.encode()
        self._library.espeak_Synth(
            data, len(data) + 1, 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None
        )
        self._library.espeak_Synchronize()
        wave = np.concatenate(self._pieces) if self._pieces else np.zeros(0, np.int16)
        return wave, [(position, at / 1000) for position, at in self._words]
