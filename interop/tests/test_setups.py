"""From nothing to a paid invoice by the commands that set everything up, with no wait but those of the commands."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.ports import find_free_port
from interop.programs import OURS

BIN = Path(sys.executable).parent
COMMANDS_EACH = 6


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Programs that are ended by SIGTERM after the test, and have to end well."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for server in started:
        server.send_signal(signal.SIGTERM)
    assert [server.wait(60) for server in started] == [0] * len(started)


def test_from_nothing_to_a_friend(tmp_path: Path, servers: list["subprocess.Popen[bytes]"]) -> None:
    """Each person gives at most six commands; the first ones meet a node that is just starting."""
    given = {"alice": 0, "bob": 0}

    def start(program: str, config: Path) -> None:
        with (tmp_path / f"{config.stem}-{config.parent.name}.log").open("wb") as log:
            servers.append(subprocess.Popen([BIN / program, "--config", config], stdout=log, stderr=log))

    def stctrl(name: str, *words: object) -> str:
        given[name] += 1
        return OURS.run("stctrl", "-C", tmp_path / name, *words).stdout

    place = f"127.0.0.1:{find_free_port()}"
    OURS.run("stmgr", "setup-relay", tmp_path / "relay", "-a", place)
    places = f"127.0.0.1:{find_free_port()}", f"127.0.0.1:{find_free_port()}"
    OURS.run("stmgr", "setup-index", tmp_path / "index", "-a", places[0], "--server-address", places[1])
    start("strelay", tmp_path / "relay" / "relay.toml")
    start("stindex", tmp_path / "index" / "index.toml")

    tickets = ("--relay", tmp_path / "relay" / "relay.ticket", "--index", tmp_path / "index" / "index.ticket")
    for name in given:
        OURS.run("stmgr", "setup-node", tmp_path / name, *tickets)
        start("stnode", tmp_path / name / "node.toml")
        given[name] += 2
        stctrl(name, "friend", "invite", "-o", tmp_path / f"{name}.friend")
    limited = ("--open", "FST", "--limit", 100)
    stctrl("alice", "friend", "add", tmp_path / "bob.friend", "--name", "bob", *limited)
    stctrl("bob", "friend", "add", tmp_path / "alice.friend", "--name", "alice", *limited, "--wait")
    assert max(given.values()) <= COMMANDS_EACH

    files = {kind: tmp_path / f"tea.{kind}" for kind in ("invoice", "payment", "commit", "receipt")}
    stctrl("alice", "seller", "create-invoice", "-c", "FST", "-a", 30, "-i", files["invoice"])
    stctrl("bob", "buyer", "pay-invoice", "-i", files["invoice"], "-p", files["payment"], "-c", files["commit"])
    stctrl("alice", "seller", "commit-invoice", "-i", files["invoice"], "-c", files["commit"])
    stctrl("bob", "buyer", "payment-status", "-p", files["payment"], "-r", files["receipt"], "--timeout", 60)
    (bob,) = json.loads(stctrl("alice", "info", "friends", "--json"))
    assert (bob["name"], bob["online"], bob["balances"][0]["balance"]) == ("bob", True, "30")

    again = OURS.run(
        "stctrl", "-C", tmp_path / "alice", "friend", "add", tmp_path / "bob.friend", "-n", "robert", check=False
    )
    assert "FriendError(FriendNameMismatch(robert): this friend is there already, as bob)" in again.stderr
