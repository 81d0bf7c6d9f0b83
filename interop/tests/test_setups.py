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
from offset_crypto.identity import Identity
from offset_node.database.sqlite import load_database
from offset_proto.files import IDENTITY, TICKET
from offset_proto.types import PublicKey

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


def _stmgr(*words: object) -> str:
    return OURS.run("stmgr", *words).stdout


def _key(identity: Path) -> PublicKey:
    return Identity(IDENTITY.load(identity).private_key).public_key


def test_a_node_of_an_identity(tmp_path: Path) -> None:
    """The key is the one that was given, byte for byte, and the file that was given stays."""
    known = tmp_path / "known.ident"
    _stmgr("gen-ident", "-o", known)
    said = _stmgr("setup-node", tmp_path / "node", "--idfile", known)
    copy = tmp_path / "node" / "node.ident"
    assert copy.read_bytes() == known.read_bytes()
    assert copy.stat().st_mode & 0o777 == 0o600
    assert TICKET.load(tmp_path / "node" / "node.ticket").public_key == _key(known)
    assert not load_database(tmp_path / "node" / "node.db").funder.has_forgotten
    assert "must stay off" not in said


def test_a_node_of_a_locked_identity(tmp_path: Path) -> None:
    """It stays locked."""
    known, locked, passphrase = (tmp_path / name for name in ("known", "locked", "passphrase"))
    passphrase.write_text("a passphrase")
    _stmgr("gen-ident", "-o", known)
    opening = "--passphrase-file", passphrase
    _stmgr("ident-lock", "-i", known, "-o", locked, *opening)
    _stmgr("setup-node", tmp_path / "node", "--idfile", locked, *opening)
    assert (tmp_path / "node" / "node.ident").read_bytes() == locked.read_bytes()
    assert TICKET.load(tmp_path / "node" / "node.ticket").public_key == _key(known)


def test_a_node_whose_database_is_lost(tmp_path: Path) -> None:
    """Friends have to speak first, whether there is a backup or not; the servers of the backup are there."""
    _stmgr("setup-relay", tmp_path / "relay", "-a", "127.0.0.1:4000")
    _stmgr("setup-node", tmp_path / "old", "--relay", tmp_path / "relay" / "relay.ticket")
    identity, backup = tmp_path / "old" / "node.ident", tmp_path / "a.backup"
    _stmgr("backup", "-d", tmp_path / "old" / "node.db", "-o", backup)
    said = _stmgr("setup-node", tmp_path / "recovered", "--idfile", identity, "--recover")
    assert "recover CONTACTS" in said
    _stmgr("setup-node", tmp_path / "restored", "--idfile", identity, "--backup", backup)
    recovered, restored = (load_database(tmp_path / name / "node.db").funder for name in ("recovered", "restored"))
    assert recovered.has_forgotten
    assert recovered.relays == ()
    assert restored.has_forgotten
    assert [relay.name for relay in restored.relays] == ["relay"]


def test_a_backup_of_another_key(tmp_path: Path) -> None:
    """It is refused, and nothing is made."""
    _stmgr("setup-node", tmp_path / "one")
    _stmgr("setup-node", tmp_path / "two")
    backup = tmp_path / "one.backup"
    _stmgr("backup", "-d", tmp_path / "one" / "node.db", "-o", backup)
    identity = tmp_path / "two" / "node.ident"
    refused = OURS.run("stmgr", "setup-node", tmp_path / "new", "--idfile", identity, "--backup", backup, check=False)
    assert "another key" in refused.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "one.backup", "two"]
