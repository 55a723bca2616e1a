"""`stenograf`: transcribe files through a running backend, and see what is running.

Exit codes: 0 all is well, 1 some files failed, 2 wrong usage, 3 the backend cannot be reached,
4 the recording cannot be read, 130 interrupted.
"""

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn, get_args

from pydantic import ValidationError

from stenograf import __version__, keys_cli, models
from stenograf.client import Client, JobFailed
from stenograf.contract.errors import (
    DecodeLimitExceeded,
    NetworkTimeout,
    StenografError,
    Unavailable,
    UndecodableAudio,
    UnsupportedFormat,
)
from stenograf.contract.jobs import JobView, Stage
from stenograf.contract.options import (
    DecodeOptions,
    NormalizeMethod,
    NormalizeOptions,
    TranscribeOptions,
    describe,
)
from stenograf.doctor import examine
from stenograf.settings import BackendSettings, ClientSettings, FrontendSettings
from stenograf.startup import CannotStart, configured
from stenograf.terminal import Bar, duration, safe
from stenograf.transcripts.languages import code_of
from stenograf.transcripts.writers import FORMATS

OK, SOME_FAILED, USAGE, UNREACHABLE, UNREADABLE, INTERRUPTED = 0, 1, 2, 3, 4, 130

_UNREADABLE = (UndecodableAudio, UnsupportedFormat, DecodeLimitExceeded, OSError)
_MIB = 1024**2


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit; SIGTERM means the same as Ctrl-C."""
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        parsed = _parser().parse_args(arguments)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else USAGE
    try:
        code: int = parsed.command(parsed)
    except StenografError as error:
        _say(f"{error.message} {error.hint or ''}".rstrip())
        return SOME_FAILED
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # the reader of our output has seen enough; Python must not flush into the pipe again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SOME_FAILED
    return code


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stenograf", description="Self-hosted speech to text.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_transcribe(commands.add_parser("transcribe", help="recordings to text"))
    doctor = commands.add_parser("doctor", help="which services answer, and with what")
    doctor.add_argument("--backend", metavar="URL", help="root of the backend")
    doctor.add_argument("--llm", metavar="URL", help="root of the model service")
    doctor.set_defaults(command=_doctor)
    kept = commands.add_parser("models", help="fetch a model, check it, list what is here")
    models.register(kept.add_subparsers(required=True, metavar="COMMAND"))
    keys = commands.add_parser("keys", help="make, list and revoke API keys of the backend")
    keys_cli.register(keys.add_subparsers(required=True, metavar="COMMAND"))
    return parser


def _add_transcribe(parser: argparse.ArgumentParser) -> None:
    methods = get_args(NormalizeMethod)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--format", default="txt", choices=list(FORMATS), help="default: txt")
    parser.add_argument(
        "--language",
        default=describe(DecodeOptions, "language")["default"],
        help="code or English name, or auto to detect (default: %(default)s)",
    )
    parser.add_argument(
        "--normalize",
        default=describe(NormalizeOptions, "method")["default"],
        choices=methods,
        help=describe(NormalizeOptions, "method")["description"],
    )
    parser.add_argument("--prompt", default="", help="names and terms to expect")
    parser.add_argument("--output", type=Path, metavar="DIR", help="write files there")
    parser.add_argument("--backend", metavar="URL", help="root of the backend")
    parser.add_argument(
        "--api-key",
        metavar="KEY",
        help="default: STENOGRAF_API_KEY, which other users of this machine do not see",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bars")
    parser.set_defaults(command=_transcribe)


@dataclass
class _Batch:
    """The files of one call and what became of them."""

    client: Client
    options: TranscribeOptions
    format: str
    output: Path | None
    quiet: bool
    headed: bool
    written: set[Path]

    def transcribe(self, path: Path) -> None:
        """Send one file, wait, print or write its transcript; an interruption cancels its job."""
        bar = Bar(sys.stderr, path.name, quiet=self.quiet)
        with _cleared(bar):
            job = self.client.submit(
                path,
                self.options,
                on_bytes=lambda sent, total: bar.show(
                    sent / total if total else 1,
                    f"sending, {sent / _MIB:.1f} of {total / _MIB:.1f} MiB",
                ),
                on_full=lambda: bar.show(None, "the queue is full, waiting"),
            )
            try:
                self.client.wait(job.id, lambda view: bar.show(*_described(view)))
            except KeyboardInterrupt:
                with suppress(StenografError):
                    self.client.cancel(job.id)
                raise
            body = self.client.transcript(job.id, self.format)
        self._deliver(path, body)

    def _deliver(self, path: Path, body: bytes) -> None:
        if self.output is None:
            if self.headed:
                print(f"==> {safe(str(path))} <==", flush=True)
            sys.stdout.buffer.write(body if body.endswith(b"\n") else body + b"\n")
            sys.stdout.buffer.flush()
            return
        extension = FORMATS[self.format].extension
        target = self.output / f"{path.stem}.{extension}"
        if target in self.written:
            target = self.output / f"{path.name}.{extension}"
        self.written.add(target)
        partial = target.with_name(f".{target.name}.part")
        partial.write_bytes(body)
        partial.replace(target)
        if not self.quiet:
            _say(f"{path} -> {target}")


@contextmanager
def _cleared(bar: Bar) -> Iterator[None]:
    try:
        yield
    finally:
        bar.clear()


def _described(view: JobView) -> tuple[float | None, str]:
    progress = view.progress
    if progress.stage is Stage.WAITING:
        ahead = progress.queue_position
        return None, "waiting" if not ahead else f"waiting, {ahead} ahead"
    if progress.stage is not Stage.RECOGNIZING or not progress.total_s:
        return None, progress.stage.value
    note = f"{duration(progress.done_s)} of {duration(progress.total_s)} of speech"
    if progress.eta_s is not None:
        note += f", {duration(progress.eta_s)} left"
    return progress.done_s / progress.total_s, note


def _transcribe(parsed: argparse.Namespace) -> int:
    options = _options(parsed)
    endpoint = _endpoint(parsed.backend, "backend")
    if options is None or endpoint is None:
        return USAGE
    api_key = parsed.api_key or configured(ClientSettings).stenograf_api_key
    if not (api_key.isascii() and api_key.isprintable()):
        return _wrong("--api-key: that is no key")
    if len(parsed.files) > 1 and parsed.output is None and parsed.format not in ("txt", "json"):
        return _wrong(f"several files as {parsed.format} need --output DIR")
    if parsed.output is not None:
        try:
            parsed.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            return _wrong(f"--output {parsed.output}: {error.strerror}")
    batch = _Batch(
        client=Client(endpoint, memory=_memory(), api_key=api_key),
        options=options,
        format=parsed.format,
        output=parsed.output,
        quiet=parsed.quiet,
        headed=len(parsed.files) > 1 and parsed.output is None and parsed.format == "txt",
        written=set(),
    )
    return _each(batch, parsed.files)


def _each(batch: _Batch, files: Sequence[Path]) -> int:
    failures: list[Exception] = []
    for path in files:
        try:
            batch.transcribe(path)
        except BrokenPipeError:
            raise
        except (Unavailable, NetworkTimeout) as error:
            _complain(path, error)
            return UNREACHABLE
        except JobFailed as failed:
            _complain(path, failed.error)
            failures.append(failed.error)
        except (StenografError, OSError) as error:
            _complain(path, error)
            failures.append(error)
    if not failures:
        return OK
    all_unreadable = all(isinstance(failure, _UNREADABLE) for failure in failures)
    return UNREADABLE if all_unreadable and len(failures) == len(files) else SOME_FAILED


def _options(parsed: argparse.Namespace) -> TranscribeOptions | None:
    language = "auto" if parsed.language == "auto" else code_of(parsed.language)
    if language is None:
        _wrong(f"--language {parsed.language}: not a language code or name")
        return None
    try:
        return TranscribeOptions(
            normalize=NormalizeOptions(method=parsed.normalize),
            decode=DecodeOptions(language=language, prompt=parsed.prompt),
        )
    except ValidationError as error:
        first = error.errors()[0]
        _wrong(f"--{first['loc'][-1]}: {first['msg']}")
        return None


def _endpoint(given: str | None, service: str) -> str | None:
    """The root of a service: from the command line, else from the environment."""
    name, option = f"{service}_endpoint", f"--{service} "
    kind = FrontendSettings if service == "backend" else BackendSettings
    try:
        settings = configured(kind, **({} if given is None else {name: given}))
    except CannotStart as error:
        _wrong(
            error.message if given is None else error.message.replace(f"{name.upper()}=", option)
        )
        return None
    return str(getattr(settings, name))


def _memory() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "stenograf" / "uploads"


def _doctor(parsed: argparse.Namespace) -> int:
    backend, llm = _endpoint(parsed.backend, "backend"), _endpoint(parsed.llm, "llm")
    if backend is None or llm is None:
        return USAGE
    report = examine(backend, llm, llm_api_key=configured(BackendSettings).llm_api_key)
    print("\n".join(safe(line) for line in report.lines))
    if not report.reached:
        return UNREACHABLE
    return OK if report.ready else SOME_FAILED


def _complain(path: Path, error: Exception) -> None:
    if isinstance(error, StenografError):
        message = error.message if not error.hint else f"{error.message} {error.hint}"
    elif isinstance(error, OSError) and error.strerror:
        message = error.strerror
    else:
        message = str(error)
    _say(f"{path}: {message}")


def _wrong(message: str) -> int:
    _say(message)
    return USAGE


def _say(message: str) -> None:
    print(f"stenograf: {safe(message)}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
