"""Every program that opens an identity, with a locked one, in each way of giving the passphrase. Spec 09 §1.4."""

import fcntl
import json
import os
import pty
import select
import signal
import socket
import subprocess
import termios
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from interop.ports import find_free_port
from interop.programs import OURS, wait_until
from offset_crypto.identity import Identity
from offset_proto.files import IDENTITY, TICKET
from offset_proto.text import format_b64

PASSPHRASE = "Correct horse, b\u00e4ttery"
WAYS = ("file", "credential", "environment", "terminal")
SHOWN_SECONDS = 60


def _environment() -> dict[str, str]:
    """Of this process, without any passphrase; programs log all that they would ever log."""
    left_out = ("OFFSET_PASSPHRASE", "CREDENTIALS_DIRECTORY")
    return {name: value for name, value in os.environ.items() if name not in left_out} | {"RUST_LOG": "trace"}


@dataclass(frozen=True)
class Place:
    """A directory with locked identities, what is made of them, and the secrets that nothing may show."""

    directory: Path
    secrets: tuple[bytes, ...]

    def path(self, name: str) -> Path:
        return self.directory / name

    def command(self, program: str, *words: object) -> list[str]:
        return [OURS.program(program), *map(str, words)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Two locked identities; there was never a file with either key but the one that is gone."""
    directory = tmp_path_factory.mktemp("locked")
    secrets = [PASSPHRASE.encode()]
    (directory / "pass").write_text(PASSPHRASE + "\n")
    (directory / "offset-passphrase").write_text(PASSPHRASE)
    passphrase = ["--passphrase-file", directory / "pass"]
    for name in ("server", "app"):
        plain, locked = directory / f"{name}.plain", directory / f"{name}.ident"
        OURS.run("stmgr", "gen-ident", "-o", plain)
        OURS.run("stmgr", "ident-lock", "-i", plain, "-o", locked, *passphrase)
        key = IDENTITY.load(plain).private_key
        secrets += [bytes(key), format_b64(key).encode(), key.hex().encode()]
        plain.unlink()
    for name in ("node.db", "spare.db"):
        OURS.run("stmgr", "init-node-db", "-i", directory / "server.ident", "-o", directory / name, *passphrase)
    (directory / "apps").mkdir()
    (directory / "trusted").mkdir()
    app = ["-i", directory / "app.ident", "-o", directory / "apps" / "app.ticket"]
    OURS.run("stmgr", "app-ticket", *app, "--pconfig", "--pbuyer", "--pseller", "--proutes", *passphrase)
    return Place(directory, tuple(secrets))


class _Screen:
    """What a program shows on its terminal; what comes after what was waited for is there the next time."""

    def __init__(self, controller: int) -> None:
        self._controller = controller
        self._text = b""

    def read_until(self, end: bytes) -> bytes:
        """All up to *end*. Raises TimeoutError where it does not come."""
        while end not in self._text:
            ready, _, _ = select.select([self._controller], [], [], SHOWN_SECONDS)
            if not ready:
                raise TimeoutError(f"{end!r} is not shown; there is {self._text[-200:]!r}")
            self._text += os.read(self._controller, 1000)
        shown, _, self._text = self._text.partition(end)
        return shown + end


@dataclass
class Given:
    """How one process is given the passphrase: further words, its environment, and what is typed on its terminal."""

    words: list[str]
    environment: dict[str, str]
    typed: str | None = None


def _give(place: Place, way: str, passphrase: str | None = None) -> Given:
    given = Given([], _environment())
    match way:
        case "file":
            given.words = ["--passphrase-file", str(place.path("pass"))]
        case "credential":
            given.environment["CREDENTIALS_DIRECTORY"] = str(place.directory)
        case "environment":
            given.environment["OFFSET_PASSPHRASE"] = PASSPHRASE if passphrase is None else passphrase
        case "terminal":
            given.typed = f"{PASSPHRASE}\n"
    return given


def _start(command: list[str], given: Given, log: Path) -> "subprocess.Popen[bytes]":
    """Start a program whose output goes into *log*; with a terminal of its own, where something is typed."""
    with log.open("ab") as output:
        if given.typed is None:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=given.environment
            )
        process, controller = _start_on_terminal(command, given.environment, output)
    _Screen(controller).read_until(b": ")
    os.write(controller, given.typed.encode())
    process.controller = controller  # type: ignore[attr-defined]  # open as long as the process
    return process


def _start_on_terminal(
    command: list[str], environment: dict[str, str], output: IO[bytes] | None
) -> "tuple[subprocess.Popen[bytes], int]":
    """Start a program on a terminal of its own, its output in a file or there as well; its other side."""
    controller, terminal = pty.openpty()

    def take_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        command,
        stdin=terminal,
        stdout=terminal if output is None else output,
        stderr=terminal if output is None else output,
        env=environment,
        start_new_session=True,
        preexec_fn=take_terminal,
    )
    os.close(terminal)
    return process, controller


def _run(command: list[str], given: Given, log: Path) -> int:
    return _start(command, given, log).wait(60)


def _shown(place: Place, texts: list[bytes]) -> list[bytes]:
    return [secret for secret in place.secrets if any(secret in text for text in texts)]


Words = Callable[[Place, int], list[object]]

SERVERS: dict[str, Words] = {
    "strelay": lambda place, port: ["-l", f"127.0.0.1:{port}"],
    "stindex": lambda place, port: [
        *("-c", f"127.0.0.1:{port}", "-s", f"127.0.0.1:{find_free_port()}"),
        *("-t", place.path("trusted")),
    ],
    "stnode": lambda place, port: [
        *("-l", f"127.0.0.1:{port}", "-d", place.path("spare.db")),
        *("-t", place.path("apps")),
    ],
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("program", list(SERVERS))
def test_servers(place: Place, tmp_path: Path, program: str, way: str) -> None:
    """It runs, shows no secret, would write no core, and ends well."""
    port, log = find_free_port(), tmp_path / "log"
    given = _give(place, way)
    words = ["-i", place.path("server.ident"), *SERVERS[program](place, port), *given.words]
    process = _start(place.command(program, *words), given, log)
    try:
        wait_until("it to listen", lambda: process.poll() is not None or _listens(port), 60)
        assert process.poll() is None, log.read_text()
        about = Path(f"/proc/{process.pid}")
        if about.exists():
            assert _shown(place, [(about / "cmdline").read_bytes()]) == []
            limits = (about / "limits").read_text().splitlines()
            assert next(line for line in limits if "core file" in line).split()[4:6] == ["0", "0"]
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert _shown(place, [log.read_bytes()]) == []


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def node(place: Place) -> Iterator[Path]:
    """The ticket of a node that runs, made from its locked identity."""
    port, given = find_free_port(), _give(place, "file")
    files = ["-i", place.path("server.ident"), "-d", place.path("node.db"), "-t", place.path("apps")]
    words = [*files, "-l", f"127.0.0.1:{port}", *given.words]
    process = _start(place.command("stnode", *words), given, place.path("node.log"))
    ticket = place.path("node.ticket")
    try:
        address = ["-a", f"127.0.0.1:{port}", "-o", ticket]
        OURS.run("stmgr", "node-ticket", "-i", place.path("server.ident"), *address, *given.words)
        wait_until("it to listen", lambda: _listens(port), 60)
        yield ticket
    finally:
        process.terminate()
        process.wait(20)


def _plan(ticket: Path) -> dict[str, Any]:
    """Of a community in which the node has nothing to pay."""
    member = {"public_key": format_b64(TICKET.load(ticket).public_key), "circles": []}
    return {"currency": "FST", "members": [member]}


@pytest.mark.parametrize("way", WAYS)
def test_commands(place: Place, node: Path, tmp_path: Path, way: str) -> None:
    """stctrl and stclear reach the node as the app, and stmgr makes what it makes of any identity."""
    given, log = _give(place, way), tmp_path / "log"
    app = ["-I", place.path("app.ident"), "-T", node, *given.words]
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps(_plan(node)))
    locked = place.path("app.ident")
    for program, words in (
        ("stctrl", [*app, "info", "friends"]),
        ("stclear", ["pay", *app, "-p", plan, "-d", tmp_path / "paid", "--dry-run"]),
        ("stmgr", ["init-node-db", "-i", locked, "-o", tmp_path / "new.db", *given.words]),
        ("stmgr", ["app-ticket", "-i", locked, "-o", tmp_path / "app.ticket", *given.words]),
        ("stmgr", ["relay-ticket", "-i", locked, "-a", "h:1", "-o", tmp_path / "relay.ticket", *given.words]),
    ):
        assert _run(place.command(program, *words), given, log) == 0, log.read_text()
    assert _shown(place, [path.read_bytes() for path in tmp_path.iterdir() if path.is_file()]) == []
    unlock = ["ident-unlock", "-i", locked, "-o", tmp_path / "plain.ident", *given.words]
    assert _run(place.command("stmgr", *unlock), given, log) == 0
    again = Identity(IDENTITY.load(tmp_path / "plain.ident").private_key).public_key
    assert TICKET.load(tmp_path / "relay.ticket").public_key == again


def _spoilt(place: Place, how: str, path: Path) -> None:
    data = place.path("server.ident").read_bytes()
    middle = data.index(b"sealedPrivateKey") + 40
    path.write_bytes(
        {
            "intact": data,
            "empty": b"",
            "cut": data[: len(data) // 2],
            "flipped": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
            "huge": data.replace(b"65536", b"4294967295"),
        }[how]
    )


@pytest.mark.parametrize(
    ("how", "passphrase"),
    [("intact", "wrong"), ("intact", ""), ("empty", None), ("cut", None), ("flipped", None), ("huge", None)],
)
@pytest.mark.parametrize("program", [*SERVERS, "stctrl", "stclear", "stmgr"])
def test_what_opens_nothing(place: Place, node: Path, tmp_path: Path, program: str, how: str, passphrase: str) -> None:
    """One line that names the file and no secret, and status 1."""
    bad, log, given = tmp_path / "bad.ident", tmp_path / "log", _give(place, "environment", passphrase)
    _spoilt(place, how, bad)
    words: list[object]
    if program in SERVERS:
        words = ["-i", bad, *SERVERS[program](place, find_free_port())]
    elif program == "stctrl":
        words = ["-I", bad, "-T", node, "info", "friends"]
    elif program == "stclear":
        words = ["pay", "-I", bad, "-T", node, "-p", bad, "-d", tmp_path / "paid"]
    else:
        words = ["ident-unlock", "-i", bad, "-o", tmp_path / "new.ident"]
    assert _run(place.command(program, *words), given, log) == 1
    said = log.read_text()
    assert len(said.splitlines()) == 1, said
    assert str(bad) in said
    assert _shown(place, [log.read_bytes()]) == []


def test_without_a_passphrase_a_service_ends(place: Place, tmp_path: Path) -> None:
    """It does not wait for a terminal that is not there."""
    command = place.command("strelay", "-i", place.path("server.ident"), "-l", "127.0.0.1:0")
    assert _run(command, Given([], _environment()), tmp_path / "log") == 1
    assert "NoPassphrase" in (tmp_path / "log").read_text()


def test_a_person_makes_an_identity_with_words(tmp_path: Path) -> None:
    """On a terminal: the words are shown, taken off the screen, and three of them asked for; then there is a file."""
    path = tmp_path / "a.ident"
    command = [OURS.program("stmgr"), "gen-ident", "--words", "-o", str(path)]
    process, controller = _start_on_terminal(command, _environment() | {"TERM": "xterm"}, None)
    screen = _Screen(controller)
    cells = screen.read_until(b"written down").decode().partition("has the identity.")[2].partition("Press")[0].split()
    paper = dict(zip(cells[::2], cells[1::2], strict=True))
    assert len(paper) == 24
    os.write(controller, b"\n")
    for _ in range(3):
        asked = screen.read_until(b": ").decode().rpartition("Word ")[2].rstrip(": ")
        assert not path.exists()
        os.write(controller, f"{paper[asked]}\n".encode())
        screen.read_until(b"\n")
    assert process.wait(60) == 0
    os.close(controller)
    words = " ".join(paper[str(number)] for number in range(1, 25))
    assert OURS.run("stmgr", "ident-words", "-i", path).stdout == f"{words}\n"
