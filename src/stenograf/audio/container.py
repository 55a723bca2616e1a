"""Opening an untrusted file with FFmpeg, and the frames of its sound in order.

FFmpeg reads far more than recordings: playlists, session descriptions and image lists make it open
other files and connections. Only demuxers that are listed here may touch the file, only sound
decoders are ever opened, no protocol is allowed, and every attempt to open anything else fails. The
file's name is never looked at: equal bytes give equal results.
"""

import contextlib
import functools
import io
from collections.abc import Iterator
from dataclasses import dataclass

import av
import av.error

from stenograf.audio.ogg_chain import LinkReader, links

DEMUXERS = (
    "3gp", "aac", "ac3", "aiff", "amr", "amrnb", "amrwb", "ape", "asf", "au", "avi", "caf", "dsf",
    "dts", "eac3", "flac", "flv", "gsm", "iff", "latm", "loas", "m4a", "matroska", "mj2", "mlp",
    "mov", "mp3", "mp4", "mpc", "mpc8", "mpeg", "mpegts", "mxf", "nistsphere", "nut", "oga", "ogg",
    "oma", "rm", "sds", "shn", "sox", "tak", "truehd", "tta", "voc", "w64", "wav", "webm", "wv",
    "xwma",
)  # fmt: skip
_READ_BYTES = 256 * 1024
_PROBED_PACKET_BYTES = 4 * 1024  # some dozens are searched for DTS that calls itself PCM
_PCM_PACKET_BYTES = 512 * 1024  # above what is read at a time FFmpeg copies once less
_PCM_PROBE_BYTES = 64 * 1024  # nothing is searched for any more

ANOTHER_COPY = "Play the file to check it, or save it as WAV, MP3 or FLAC and try again."


class NotReadable(Exception):
    """The file cannot be read as sound; `code` and the sentences are those of the user's error."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.code, self.message, self.hint = code, message, hint


@dataclass
class Recording:
    """An opened file and what went wrong while reading it so far."""

    container: av.container.InputContainer
    stream: av.audio.stream.AudioStream
    damaged_packets: int = 0
    broken_off: bool = False

    @property
    def duration_s(self) -> float | None:
        """What the header claims; it may lie."""
        claimed = self.container.duration
        return None if claimed is None or claimed < 0 else claimed / av.time_base

    @property
    def origin_s(self) -> float | None:
        """Where the other sound and pictures start on the file's clock, None without any."""
        starts = [
            float(other.start_time * other.time_base)
            for other in (*self.container.streams.video, *self.container.streams.audio)
            if other.index != self.stream.index
            and other.start_time is not None
            and not other.disposition & av.stream.Disposition.attached_pic
        ]
        return min(starts, default=None)

    def frames(self) -> Iterator[av.AudioFrame]:
        """Decoded frames; packets that cannot be decoded are counted and left out."""
        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, EOFError) as error:
                _raise_if_out_of_memory(error)
                self.broken_off = True
                return
            if packet is None:
                return
            yield from self._decoded(packet)

    def _decoded(self, packet: av.Packet) -> Iterator[av.AudioFrame]:
        try:
            yield from packet.decode()
        except (av.error.FFmpegError, EOFError) as error:
            _raise_if_out_of_memory(error)
            self.damaged_packets += 1


def open_recordings(source: io.RawIOBase) -> Iterator[Recording]:
    """The recordings in a file, one after the other; all but chained Ogg files hold one.

    Raises NotReadable where the first cannot be read; a later one is then left out.
    """
    first, *others = links(source)
    source.seek(0)
    yield open_recording(LinkReader(source, first) if others else source)
    for link in others:
        with contextlib.suppress(NotReadable):
            yield open_recording(LinkReader(source, link))


def open_recording(source: io.RawIOBase) -> Recording:
    """Open a file's first sound track.

    Raises NotReadable where there is no container we read, no sound track or no decoder for it.
    """
    options = {"max_size": str(_PROBED_PACKET_BYTES)}
    recording = _first_sound(_opened(source, options))
    if not _is_wav(recording):
        return recording
    recording.container.close()
    source.seek(0)
    options = {"max_size": str(_PCM_PACKET_BYTES), "probesize": str(_PCM_PROBE_BYTES)}
    return _first_sound(_opened(source, options))


def _is_wav(recording: Recording) -> bool:
    """Whether it is a WAV file of plain samples, whose packets may be as large as we like."""
    codec: str = recording.stream.codec_context.name
    return str(recording.container.format.name) == "wav" and codec.startswith("pcm_")


def _opened(source: io.RawIOBase, options: dict[str, str]) -> av.container.InputContainer:
    try:
        return av.open(
            source,
            mode="r",
            buffer_size=_READ_BYTES,
            io_open=_refuse,
            container_options={
                "format_whitelist": ",".join(DEMUXERS),
                "codec_whitelist": ",".join(_sound_decoders()),
                "protocol_whitelist": "none",
                **options,
            },
        )
    except (av.error.FFmpegError, ValueError, EOFError, OSError) as error:
        _raise_if_out_of_memory(error)
        raise _unopened(source) from error


def _unopened(source: io.RawIOBase) -> NotReadable:
    source.seek(0)
    if source.read(8)[4:] == b"ftyp":
        return NotReadable(
            "undecodable_audio",
            "The file is damaged or cut off: an MP4 recording needs the index at its end.",
            "Upload the complete file; an interrupted recording has to be repaired first.",
        )
    return NotReadable(
        "unsupported_format",
        "This is not a sound or video file that can be read.",
        "Use a usual format such as WAV, MP3, M4A, OGG, FLAC or MP4.",
    )


def _first_sound(container: av.container.InputContainer) -> Recording:
    tracks = container.streams.audio
    if not tracks:
        raise NotReadable(
            "undecodable_audio",
            "The file has no sound track.",
            "Check that you chose the right file.",
        )
    stream = next((track for track in tracks if track.codec_context is not None), None)
    if stream is None:
        raise NotReadable(
            "unsupported_format",
            "The sound in this file is encoded in a way that cannot be read.",
            "Convert it, for example to MP3 or FLAC, and try again.",
        )
    stream.codec_context.thread_count = 1
    for other in container.streams:
        if other.index != stream.index:
            other.discard = av.stream.Discard.all
    return Recording(container, stream)


def _refuse(url: str, flags: int, options: dict[str, str]) -> io.RawIOBase:  # noqa: ARG001
    raise PermissionError("a recording may not open anything else")


@functools.cache
def _sound_decoders() -> list[str]:
    decoders = []
    for name in sorted(av.codecs_available):
        try:
            codec = av.Codec(name, "r")
        except ValueError:  # an encoder only
            continue
        if codec.type == "audio":
            decoders.append(codec.name)
    return decoders


def _raise_if_out_of_memory(error: Exception) -> None:
    if isinstance(error, MemoryError):
        raise error
