"""What the comparison with the first version counts must be counted right."""

import shutil
import socket
import threading
import wave
from pathlib import Path

import numpy as np
import pytest
from bench.seed.__main__ import words_cut, words_lost
from bench.seed.gauges import relay
from bench.seed.recording import RATE_HZ, SpokenWord, synthesize

WORDS = [SpokenWord("раз", 0.5, 1.0), SpokenWord("два", 1.5, 2.5), SpokenWord("три", 3.0, 3.5)]


def test_a_word_is_cut_only_by_a_border_inside_it() -> None:
    assert words_cut(WORDS, [(0.0, 2.0), (2.0, 4.0)]) == 1
    assert words_cut(WORDS, [(0.5, 1.0), (1.5, 2.5), (3.0, 3.5)]) == 0
    assert words_cut(WORDS, [(0.7, 2.0), (3.2, 4.0)]) == 3


def test_a_word_is_lost_where_no_window_touches_it() -> None:
    assert words_lost(WORDS, [(0.0, 4.0)]) == 0
    assert words_lost(WORDS, [(0.0, 1.5), (2.9, 4.0)]) == 1
    assert words_lost(WORDS, []) == 3


def test_the_relay_counts_both_directions() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        answering = threading.Thread(target=_answer, args=(server,))
        answering.start()
        with relay(server.getsockname()[1]) as hop:
            with socket.create_connection(("127.0.0.1", hop.port)) as client:
                client.sendall(b"x" * 100_000)
                client.shutdown(socket.SHUT_WR)
                answer = b"".join(iter(lambda: client.recv(65_536), b""))
            answering.join()
            assert len(answer) == 7_000
            assert hop.counted_bytes == 107_000


def _answer(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        while connection.recv(65_536):
            pass
        connection.sendall(b"y" * 7_000)


@pytest.mark.skipif(not shutil.which("espeak-ng"), reason="needs espeak-ng to speak the words")
def test_words_sound_where_the_recording_says(tmp_path: Path) -> None:
    path = tmp_path / "words.wav"
    words = synthesize(path, 20.0, channels=1)
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32_768
    assert len(samples) == 20 * RATE_HZ
    assert len(words) > 15
    spoken = np.zeros(len(samples), bool)
    for word in words:
        first, last = round(word.start_s * RATE_HZ), round(word.end_s * RATE_HZ)
        assert np.abs(samples[first:last]).max() > 0.05
        spoken[first:last] = True
    until = round(words[-1].end_s * RATE_HZ)
    assert np.abs(samples[:until][~spoken[:until]]).max() < 0.01
