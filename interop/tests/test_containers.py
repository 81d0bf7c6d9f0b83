"""
The container files, without containers: what they say is checked, and every command in them is run here.

An image is a directory, a volume is one, too, and a name of a service is a port of loopback. So there is a build as in
the Dockerfile, a network as compose.yaml starts it, and the commands of README.md, in one shell.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from interop.ports import find_free_port
from interop.programs import wait_until

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[2]
CONTAINERS = ROOT / "containers"
NOBODY = "10001"
SERVERS = ("relay", "index", "node")
SECONDS = 500


@dataclass
class Stage:
    """One stage of the Dockerfile: the one that it goes on from, and its instructions, in their order."""

    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)


def _stages() -> dict[str, Stage]:
    text = re.sub(r"^#.*\n", "", (CONTAINERS / "Dockerfile").read_text(), flags=re.MULTILINE)
    stages: dict[str, Stage] = {}
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            latest = stages[name] = Stage(base)
        else:
            latest.steps.append((word, " ".join(rest.split())))
    return stages


STAGES = _stages()


def _steps(name: str) -> list[tuple[str, str]]:
    """The instructions of a stage and of those that it goes on from, the first ones first."""
    stage = STAGES[name]
    return [*(_steps(stage.base) if stage.base in STAGES else []), *stage.steps]


def _last(name: str, word: str) -> str:
    return [rest for step, rest in _steps(name) if step == word][-1]


def _health(name: str) -> list[str]:
    words: list[str] = json.loads(_last(name, "HEALTHCHECK").partition("CMD ")[2])
    return words


COMPOSE: dict[str, Any] = yaml.safe_load((CONTAINERS / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


# What they say.


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not on this machine")
def test_hadolint_finds_nothing() -> None:
    """Every rule counts."""
    hadolint = shutil.which("hadolint")
    assert hadolint is not None
    linted = subprocess.run([hadolint, CONTAINERS / "Dockerfile"], capture_output=True, text=True, timeout=60)
    assert (linted.returncode, linted.stdout + linted.stderr) == (0, "")


@pytest.mark.parametrize("name", SERVERS)
def test_an_image_runs_as_nobody(name: str) -> None:
    """It has a health check and a volume; what it goes on from has a version."""
    assert _last(name, "USER") == f"{NOBODY}:{NOBODY}"
    assert _last(name, "VOLUME") == "/data"
    assert _health(name)
    bases = {stage.base for stage in STAGES.values()} - STAGES.keys()
    assert all(re.fullmatch(r"python:3\.\d+-slim-[a-z]+", base) for base in bases)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_may_do_little(name: str) -> None:
    """Its file system can not be written, it has no capabilities, and what it keeps is in volumes that are declared."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.keys() & {"privileged", "cap_add", "pid", "ipc", "devices", "ports"}
    assert {volume.partition(":")[0] for volume in service["volumes"]} <= COMPOSE["volumes"].keys()
    assert service["build"] == {
        "context": "..",
        "dockerfile": "containers/Dockerfile",
        "target": service["image"].removeprefix("offset-"),
    }
    assert service.get("depends_on", {}).keys() <= SERVICES.keys()
    if name.endswith("-setup"):
        assert service["network_mode"] == "none"
    else:
        assert service["restart"] == "unless-stopped"


def test_what_is_copied_into_a_build() -> None:
    """The packages and nothing else of the tree: no keys that somebody has made in it."""
    assert (CONTAINERS / "Dockerfile.dockerignore").read_text().splitlines()[:2] == ["*", "!packages"]


# What they do.


@dataclass
class Machine:
    """Images and volumes as directories, and a port of loopback for each that a service has."""

    root: Path
    ports: dict[str, int] = field(default_factory=dict)

    def here(self, text: str, image: str, volumes: Mapping[str, Path]) -> str:
        """A command of a container, as it is here: *volumes* says what is mounted where."""
        for place in ("/data", "/tickets", "/opt/offset", "/wheels", "/src"):
            path = volumes.get(place, self.root / image / place[1:])
            text = re.sub(rf"(?<![\w/]){place}\b", str(path), text)
        return re.sub(r"\b(relay|index|127\.0\.0\.1)(:|', )(700\d)\b", self._loopback, text)

    def _loopback(self, found: "re.Match[str]") -> str:
        port = self.ports.setdefault(found[3], 0) or find_free_port()
        self.ports[found[3]] = port
        return f"127.0.0.1{found[2]}{port}"

    def environment(self, image: str) -> dict[str, str]:
        """That of the image: its programs come first."""
        return {**os.environ, "PATH": f"{self.root / image / 'opt/offset/bin'}:{os.environ['PATH']}"}

    def build(self, name: str) -> None:
        """Carry out the instructions of a stage, as whoever runs the test."""
        for word, rest in _steps(name):
            if word == "COPY" and rest.startswith("--from="):
                source, _, path = rest.removeprefix("--from=").split(" ")
                (self.root / name / path[1:]).parent.mkdir(parents=True, exist_ok=True)
                (self.root / name / path[1:]).symlink_to(self.root / source / path[1:])
            elif word == "COPY":
                assert rest == "packages /src/packages"
                ignored = shutil.ignore_patterns("__pycache__", ".*_cache")
                shutil.copytree(ROOT / "packages", self.root / name / "src" / "packages", ignore=ignored)
            elif word == "RUN":
                self.run(name, rest)

    def run(self, image: str, command: str) -> None:
        """A RUN of the stage *image*. Nobody is whoever runs the test, and pip is that of its Python."""
        command = command.replace(f"--owner {NOBODY} --group {NOBODY}", f"--owner {os.getuid()} --group {os.getgid()}")
        command = self.here(re.sub(r"^(pip|python) ", rf"{sys.executable} -m \1 ", command), image, {})
        command = command.replace(f"{sys.executable} -m python", sys.executable)
        environment = {
            **os.environ,
            "PIP_NO_COMPILE": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }  # it takes long enough
        subprocess.run(["/bin/sh", "-euc", command], env=environment, check=True, timeout=SECONDS)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """With all images."""
    made = Machine(tmp_path_factory.mktemp("machine"))
    (made.root / "volumes").mkdir()
    made.build("build")
    for name in SERVERS:
        for place in ("wheels", "src"):  # the stage goes on from the other one
            (made.root / f"{name}-programs").mkdir(exist_ok=True)
            (made.root / f"{name}-programs" / place).symlink_to(made.root / "build" / place)
        for word, rest in STAGES[f"{name}-programs"].steps:
            assert word == "RUN"
            made.run(f"{name}-programs", rest)
        made.build(name)
    return made


def _volumes(machine: Machine, service: dict[str, Any]) -> dict[str, Path]:
    """What is mounted where."""
    found = (each.partition(":") for each in service["volumes"])
    return {place: machine.root / "volumes" / volume for volume, _, place in found}


def _in_order() -> list[str]:
    """The services, each after those that it depends on."""
    ordered: list[str] = []
    while len(ordered) < len(SERVICES):
        ready = [
            name
            for name, service in SERVICES.items()
            if name not in ordered and service.get("depends_on", {}).keys() <= set(ordered)
        ]
        assert ready, "services that wait for each other"
        ordered += ready
    return ordered


@contextmanager
def _running(machine: Machine, name: str) -> Iterator[None]:
    """A service from its start, until it is healthy, to a good end."""
    service = SERVICES[name]
    image = service["image"].removeprefix("offset-")
    environment, volumes = machine.environment(image), _volumes(machine, service)

    def here(words: list[str]) -> list[str]:
        return [machine.here(word, image, volumes) for word in words]

    def is_healthy() -> bool:
        checked = subprocess.run(here(_health(image)), env=environment, capture_output=True, timeout=60)
        return checked.returncode == 0

    for volume in volumes.values():
        volume.mkdir(mode=0o700, exist_ok=True)
    if "command" in service:
        subprocess.run(here(service["command"]), env=environment, check=True, timeout=60)
        yield
        return
    with subprocess.Popen(here(json.loads(_last(image, "CMD"))), env=environment) as process:
        try:
            wait_until(f"{name} to be healthy", is_healthy, 120)
            yield
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()


def _by_hand(machine: Machine) -> str:
    """The commands of README.md for the two nodes."""
    text = (CONTAINERS / "README.md").read_text()
    (commands,) = [block for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "friend invite" in block]
    lines = []
    for line in commands.splitlines():
        defined = re.fullmatch(
            r'(\w+)\(\) \{ docker compose --file containers/compose.yaml exec \1 (.*) "\$@"; \}', line
        )
        name = defined[1] if defined else line.split()[0]
        mounts = _volumes(machine, SERVICES[name])
        lines.append(machine.here(f'{name}() {{ {defined[2]} "$@"; }}' if defined else line, "node", mounts))
    return "\n".join(["set -eu", *lines])


def test_the_network_by_hand(machine: Machine) -> None:
    """Built, set up twice, run, healthy; two friends by the commands of the page; and ended well by SIGTERM."""
    with ExitStack() as running:
        for name in _in_order():
            running.enter_context(_running(machine, name))
        for name in [name for name in SERVICES if name.endswith("-setup")]:
            running.enter_context(_running(machine, name))  # as after the next `up`: what is there stays
        said = subprocess.run(
            ["/bin/sh", "-c", _by_hand(machine)],
            env=machine.environment("node"),
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert said.returncode == 0, said.stderr
        assert re.search(r"E\+ +\| bob ", said.stdout)


def test_one_server_by_hand(machine: Machine) -> None:
    """The commands of the page that run a relay for everybody make what its image starts from."""
    text = (CONTAINERS / "README.md").read_text()
    (made,) = re.findall(r"^docker run --rm --volume (\w+):/data offset-relay (.*)$", text, re.MULTILINE)
    mounts = {"/data": machine.root / "volumes" / f"own-{made[0]}"}
    mounts["/data"].mkdir()
    words = shlex.split(machine.here(made[1], "relay", mounts))
    subprocess.run(words, env=machine.environment("relay"), check=True, timeout=60)
    starts = [machine.here(word, "relay", mounts) for word in json.loads(_last("relay", "CMD"))]
    checked = subprocess.run(
        [*starts, "--check-config"],
        env=machine.environment("relay"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert checked.returncode == 0, checked.stdout
    assert "laddr: 0.0.0.0:7001" in checked.stdout
