"""What can be held without an engine: Dockerfiles, compose file, locks, Makefile, small scripts."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..local_server import Handler, LocalServer

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
LOCKS = DEPLOY / "requirements"
SERVICES = ("llm", "backend", "frontend")
PORTS = {"llm": 4321, "backend": 8009, "frontend": 8010}


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())
    return document


def pins(text: str) -> dict[str, str]:
    found = re.findall(r"^([A-Za-z0-9_.-]+)==([^\s\\#]+)", text, re.MULTILINE)
    return {name.lower().replace("_", "-"): version for name, version in found}


@pytest.mark.parametrize("service", SERVICES)
def test_lock_has_every_requirement_at_its_version(service: str) -> None:
    wanted = pins((ROOT / f"req_{service}.txt").read_text())
    wanted.pop("torch", None)  # its own layer, another wheel on every index
    assert wanted
    assert wanted.items() <= pins((LOCKS / f"{service}.lock").read_text()).items()


@pytest.mark.parametrize("lock", sorted(LOCKS.glob("*.lock")), ids=lambda path: path.stem)
def test_every_locked_package_has_hashes(lock: Path) -> None:
    blocks = re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"^#.*\n", "", lock.read_text(), flags=re.M))
    assert len(blocks) > 5
    for block in blocks:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block.splitlines()[0]


def test_torch_layer_and_model_service_agree_on_versions() -> None:
    torch, llm = (pins((LOCKS / f"{name}.lock").read_text()) for name in ("torch", "llm"))
    assert torch.items() <= llm.items()


@pytest.mark.parametrize(
    ("service", "package"), [*((name, name) for name in SERVICES), ("backend", "telegram")]
)
def test_image_holds_every_module_it_imports(service: str, package: str, tmp_path: Path) -> None:
    """Copies what the Dockerfile copies and follows the imports of our own package."""
    for source, target in re.findall(
        r"^COPY (src\S+) /app/(\S+)$", (DEPLOY / f"Dockerfile_{service}").read_text(), re.M
    ):
        for path in ROOT.glob(source):
            place = tmp_path / target / path.name if "*" in source else tmp_path / target
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(path, place) if path.is_dir() else shutil.copyfile(path, place)
    modules = sorted((tmp_path / "src" / "stenograf" / package).rglob("*.py"))
    assert modules
    seen: set[Path] = set()
    while modules:
        module = modules.pop()
        if module in seen:
            continue
        seen.add(module)
        for name, required in _imported(module):
            base = tmp_path / "src" / Path(*name.split("."))
            found = [p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()]
            assert found or not required, (
                f"{module.relative_to(tmp_path)} imports {name}, which the image has not"
            )
            modules += found


def _imported(module: Path) -> Iterator[tuple[str, bool]]:
    """Names of our own modules, and whether each must be one; it may be a name within one."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from ((a.name, True) for a in node.names if a.name.startswith("stenograf."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stenograf"):
            assert node.module is not None
            yield node.module, True
            yield from ((f"{node.module}.{alias.name}", False) for alias in node.names)


@pytest.mark.parametrize("service", SERVICES)
def test_compose_service_is_confined(service: str) -> None:
    described = compose()["services"][service]
    assert described["read_only"] is True
    assert described["cap_drop"] == ["ALL"]
    assert described["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "build"} & described.keys()
    assert described["logging"]["options"]["max-size"]
    assert described["restart"] == "unless-stopped"
    assert "env_file" not in described  # .env is a file inside: no secret in `docker inspect`
    assert described["healthcheck"]["test"][2].startswith(f"http://127.0.0.1:{PORTS[service]}/")
    (port,) = described["ports"]
    assert port.startswith("${PUBLISH_ADDRESS:-127.0.0.1}:")
    assert port.endswith(f":-{PORTS[service]}}}:{PORTS[service]}")


def test_the_bot_starts_only_when_it_is_asked_for() -> None:
    described = compose()["services"]["telegram"]
    assert described["profiles"] == ["telegram"]
    assert described["image"] == compose()["services"]["backend"]["image"]
    assert described["read_only"] is True
    assert described["cap_drop"] == ["ALL"]
    assert described["depends_on"] == {"backend": {"condition": "service_healthy"}}


def test_the_bot_adds_to_the_backends_packages_and_changes_none() -> None:
    backend, bot = (pins((LOCKS / f"{name}.lock").read_text()) for name in ("backend", "telegram"))
    assert bot["aiogram"] == pins((LOCKS / "telegram.in").read_text())["aiogram"]
    assert {name: bot[name] for name in bot.keys() & backend.keys()}.items() <= backend.items()


def test_services_wait_for_what_they_need() -> None:
    services = compose()["services"]
    assert services["backend"]["depends_on"] == {"llm": {"condition": "service_healthy"}}
    assert services["frontend"]["depends_on"] == {"backend": {"condition": "service_healthy"}}


def test_every_variable_of_the_compose_file_is_in_env_example() -> None:
    text = (ROOT / "docker-compose.yaml").read_text()
    text = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
    used = set(re.findall(r"\$\{([A-Z_]+)", text)) - {"IMAGE_PREFIX"}  # set by make alone
    described = dict(
        re.findall(r"^(?:# )?([A-Z_]+)=(.*)$", (ROOT / "env.example").read_text(), re.M)
    )
    assert used
    assert used <= described.keys()
    for name, default in re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", text):
        if name != "IMAGE_PREFIX":
            assert described[name].removesuffix(".0") == default, name


@pytest.mark.parametrize("path", sorted(DEPLOY.glob("Dockerfile_*")), ids=lambda path: path.name)
def test_nothing_private_is_copied(path: Path) -> None:
    allowed = ("deploy/", "runners/", "src/", "data/models/whisper-demo-ru ")
    copies = re.findall(r"^(?:COPY|ADD) ((?:--\S+ )*)(.*)$", path.read_text(), re.MULTILINE)
    for flags, copied in copies:
        if "--from=" not in flags:  # another stage is made of what is allowed too
            assert copied.startswith(allowed), copied


def test_context_is_an_allow_list() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule for rule in rules if rule.startswith("!")} == {
        "!src",
        "!runners",
        "!deploy",
        "!data/models/whisper-demo-ru",
    }


@pytest.mark.parametrize("service", SERVICES)
def test_runner_is_one_exec_line(service: str) -> None:
    _shebang, line = (ROOT / "runners" / f"{service}.sh").read_text().strip().splitlines()
    assert line.startswith("exec ")
    assert os.access(ROOT / "runners" / f"{service}.sh", os.X_OK)


SEED_TARGETS = [
    "update_env_file",
    "build_base_image",
    "build_torch_image",
    "build_frontend_image",
    "build_backend_image",
    "build_llm_image",
    "drop_images",
    "clean",
    "build_images",
    "up",
    "down",
    "full_stop",
    "full_start",
    "full_restart",
]


def dry_run(*targets: str) -> str:
    done = subprocess.run(
        ["make", "--dry-run", "TORCH_INDEX=", *targets],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("target", SEED_TARGETS)
def test_target_of_the_seed_is_there(target: str) -> None:
    assert dry_run(target)


def test_nothing_of_other_projects_is_pruned() -> None:
    said = dry_run("full_stop")
    assert not re.search(
        r"(system|volume|network|container|builder) prune|down .*(-v|--volumes)", said
    )
    for prune in re.findall(r".* prune.*", said):
        assert "--filter label=io.stenograf.image" in prune
    for image in re.findall(r" rmi (\S+)", said):
        assert image.startswith("stenograf-")


def test_an_existing_env_file_is_left_alone(tmp_path: Path) -> None:
    for name in ("Makefile", "env.example"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    command = ["make", "-s", "update_env_file"]
    subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    assert (tmp_path / ".env").read_text() == (ROOT / "env.example").read_text()
    (tmp_path / ".env").write_text("MINE=1\n")
    subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    assert (tmp_path / ".env").read_text() == "MINE=1\n"


@pytest.mark.parametrize(("engine", "expected"), [("true", "https://x.test/cpu\n"), ("false", "")])
def test_torch_index_is_taken_only_where_it_answers(engine: str, expected: str) -> None:
    done = subprocess.run(
        [DEPLOY / "torch_index.sh", "https://x.test/cpu", "base"],
        env=os.environ | {"DOCKER": engine},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == expected
    assert bool(done.stderr) is (expected == "")


class Readiness(LocalServer):
    """A service whose `/ready` gives the next of some answers; the last one stays."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, object]]] = []
        outer = self

        class ReadyHandler(Handler):
            def do_GET(self) -> None:
                status, body = outer.answers[0]
                if len(outer.answers) > 1:
                    outer.answers.pop(0)
                self.send(status, json.dumps(body).encode())

        super().__init__(ReadyHandler)


@pytest.fixture
def readiness() -> Iterator[Readiness]:
    with Readiness() as service:
        yield service


def probe(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DEPLOY / "probes" / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_wait_ready_prints_each_step_once(readiness: Readiness) -> None:
    half = (503, {"status": "loading", "progress": 0.5, "detail": "Downloading."})
    readiness.answers = [half, half, (200, {"status": "ready"})]
    done = probe("wait_ready", f"{readiness.url}/ready", "90")
    assert (done.returncode, done.stdout) == (0, "   50% Downloading.\n")


def test_wait_ready_gives_up_when_the_service_failed(readiness: Readiness) -> None:
    readiness.answers = [(503, {"status": "failed", "progress": 0.1, "detail": "No such model."})]
    done = probe("wait_ready", f"{readiness.url}/ready", "90")
    assert done.returncode == 1
    assert "No such model." in done.stdout


def test_wait_ready_ends_in_time() -> None:
    done = probe("wait_ready", "http://127.0.0.1:9/ready", "0.6")
    assert done.returncode == 1
    assert "not ready after" in done.stdout


def test_healthcheck_is_green_on_200_only(readiness: Readiness) -> None:
    readiness.answers = [(200, {}), (503, {"detail": "loading"})]
    assert probe("healthcheck", f"{readiness.url}/ready").returncode == 0
    sick = probe("healthcheck", f"{readiness.url}/ready")
    assert sick.returncode == 1
    assert "503" in sick.stdout
    assert probe("healthcheck", "http://127.0.0.1:9/ready").returncode == 1


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_knows_the_address_its_port_is_published_on(service: str) -> None:
    described = compose()["services"][service]
    address = described["environment"]["PUBLISHED_ON"]
    assert [port.startswith(f"{address}:") for port in described["ports"]] == [True]
    assert "127.0.0.1" in address
