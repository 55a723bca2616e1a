"""The house in containers: built, started and stopped by make, from a copy of the source tree."""

import json
import os
import shlex
import shutil
import subprocess
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import soundfile

from stenograf.client import Client
from stenograf.contract.jobs import JobView
from stenograf.services import free_ports

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "stenograf-test"
SERVICES = ("llm", "backend", "frontend")
PORTS = {"llm": 4321, "backend": 8009, "frontend": 8010}
SECRET = "a-secret-that-must-not-show"
FIGURES = ROOT / "build" / "container_figures.json"


def engine() -> list[str]:
    """The command of the container engine, from DOCKER like in the Makefile."""
    return shlex.split(os.environ.get("DOCKER", "docker"))


def docker(*arguments: str, check: bool = True) -> str:
    """Run the engine and give what it printed."""
    done = subprocess.run(
        [*engine(), *arguments], capture_output=True, text=True, check=False, timeout=600
    )
    if check and done.returncode:
        pytest.fail(f"{' '.join(arguments)}: {done.stdout[-1000:]}{done.stderr[-2000:]}")
    return done.stdout.strip()


@dataclass
class House:
    """A checkout with an `.env` of its own, and its three containers."""

    root: Path
    ports: dict[str, int]
    figures: dict[str, float] = field(default_factory=dict)

    def url(self, service: str) -> str:
        """Where the service answers on this machine."""
        return f"http://127.0.0.1:{self.ports[service]}"

    @property
    def client(self) -> Client:
        """The backend, through its published port."""
        return Client(self.url("backend"))

    def make(self, *targets: str, **variables: str) -> str:
        """Run make targets; gives what they printed, fails with its end."""
        environment = os.environ | {"IMAGE_PREFIX": PREFIX, "COMPOSE_PROJECT_NAME": PREFIX}
        done = subprocess.run(
            ["make", *targets, *(f"{name}={value}" for name, value in variables.items())],
            cwd=self.root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=1800,
        )
        if done.returncode:
            pytest.fail(f"make {' '.join(targets)}:\n{done.stdout[-4000:]}")
        return done.stdout

    def timed(self, figure: str, *targets: str) -> float:
        """Run make targets and keep how long they took, in seconds."""
        began = time.monotonic()
        self.make(*targets)
        self.figures[figure] = round(time.monotonic() - began, 1)
        return self.figures[figure]

    def container(self, service: str) -> str:
        """The id of the service's container, running or not."""
        return docker(
            "ps",
            "--all",
            "--quiet",
            f"--filter=label=com.docker.compose.project={PREFIX}",
            f"--filter=label=com.docker.compose.service={service}",
        )

    def inside(self, service: str, script: str) -> str:
        """What a shell script prints inside the service's container, as the service's user."""
        return docker("exec", self.container(service), "sh", "-c", script)

    def start(self, service: str) -> None:
        """Start the service's container again, as its restart policy or its owner would."""
        container = self.container(service)
        docker("start", container)
        if service != "frontend":
            docker(
                "exec", container, "wait_ready", f"http://127.0.0.1:{PORTS[service]}/ready", "60"
            )

    def until_recognizing(self, job_id: str, timeout_s: float = 120.0) -> JobView:
        """Wait until some windows of the job are done and some are not."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            view = self.client.job(job_id)
            done, total = view.progress.windows_done, view.progress.windows_total
            if total and 0 < done < total:
                return view
            assert not view.status.final, f"the job was over too early: {view}"
            time.sleep(0.1)
        pytest.fail(f"nothing was recognized in {timeout_s} s: {view}")


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Started with `make full_start`; in the end everything of it is removed, data too."""
    root = tmp_path_factory.mktemp("house") / "checkout"
    _copy_tree(root)
    llm, backend, frontend = free_ports(3)
    house = House(root, {"llm": llm, "backend": backend, "frontend": frontend})
    settings = {
        "LOCAL_LLM_MODEL": "data/models/whisper-demo-ru",
        "LLM_PORT": llm,
        "BACKEND_PORT": backend,
        "FRONTEND_PORT": frontend,
        "BACKEND_PUBLIC_URL": house.url("backend"),
        "CORS_ORIGINS": f"http://localhost:{frontend},http://127.0.0.1:{frontend}",
        "LLM_API_KEY": SECRET,
        "LEASE_S": 3,
        "RETRY_SCALE": 0.1,
    }
    (root / ".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    try:
        house.timed("full_start", "full_start")
        yield house
    finally:
        _remove_everything()
    FIGURES.parent.mkdir(exist_ok=True)
    FIGURES.write_text(json.dumps(house.figures, indent=2) + "\n")


def _copy_tree(target: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def _remove_everything() -> None:
    label = f"label=com.docker.compose.project={PREFIX}"
    for service in reversed(SERVICES):  # podman removes none that another one depends on
        of_service = f"--filter=label=com.docker.compose.service={service}"
        for found in docker("ps", "--all", "--quiet", f"--filter={label}", of_service).split():
            docker("rm", "--force", found, check=False)
    for kind in ("volume", "network"):
        for found in docker(kind, "ls", "--quiet", f"--filter={label}").split():
            docker(kind, "rm", found, check=False)
    for name in (*SERVICES, "torch", "base"):
        docker("rmi", f"{PREFIX}-{name}", check=False)


@dataclass(frozen=True)
class Foreign:
    """Things of another project on the same engine."""

    container: str = "foreign-container-of-the-test"
    image: str = "foreign-image-of-the-test"
    volume: str = "foreign-volume-of-the-test"

    def present(self) -> set[str]:
        """Which of them are still there."""
        checks = {
            self.container: ["container", "inspect", self.container],
            self.image: ["image", "inspect", self.image],
            self.volume: ["volume", "inspect", self.volume],
        }
        return {
            name for name, command in checks.items() if docker(*command, check=False)[:2] != "[]"
        }


@pytest.fixture(scope="session")
def foreign(house: House) -> Iterator[Foreign]:
    """A stopped container, an image nobody runs and a volume nobody mounts."""
    things = Foreign()
    docker("tag", f"{PREFIX}-base", things.image)
    docker("volume", "create", things.volume)
    docker("create", "--name", things.container, things.image, "true")
    yield things
    docker("rm", "--force", things.container)
    docker("volume", "rm", "--force", things.volume)
    docker("rmi", things.image, check=False)


@pytest.fixture(scope="session")
def sample() -> Path:
    """A shipped recording; its reference text lies beside it."""
    return ROOT / "data" / "samples" / "monologue_ru.flac"


@pytest.fixture
def long_recording(sample: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The sample again and again for two and a half minutes; other bytes for every test.

    The same bytes would be answered from what was recognized before.
    """
    waveform, rate = soundfile.read(sample, dtype="float32")
    quieter = 0.5 + zlib.crc32(request.node.name.encode()) / 2**33
    path = tmp_path / "long.flac"
    with soundfile.SoundFile(path, "w", rate, 1) as file:
        for _ in range(int(150 * rate / len(waveform)) + 1):
            file.write(waveform * quieter)
    return path


@pytest.fixture(scope="session", autouse=True)
def wanted_engine(request: pytest.FixtureRequest) -> None:
    """Say in one sentence what is missing, before anything is built."""
    if not any(item.get_closest_marker("containers") for item in request.session.items):
        return
    for command in ([*engine(), "version"], [*engine(), "compose", "version"]):
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=60)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.exit(f"`{' '.join(command)}` does not work here: {error}", returncode=1)
