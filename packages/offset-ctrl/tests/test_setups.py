"""Directories that stmgr makes, and how stctrl finds them. Spec 09 §4.2, §5."""

import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from offset_crypto.identity import Identity
from offset_ctrl.programs.stctrl.profile import VARIABLE, ProfileError, default_directory
from offset_ctrl.programs.stmgr.cli import _stmgr
from offset_proto.errors import OffsetError
from offset_proto.files import IDENTITY, TICKET


def _run(*words: object) -> str:
    return CliRunner().invoke(_stmgr, [str(word) for word in words], catch_exceptions=False).output


def _settings(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text())


@pytest.mark.parametrize(
    ("address", "laddr"),
    [
        ("127.0.0.1:4000", "127.0.0.1:4000"),
        ("[::1]:4000", "[::1]:4000"),
        ("192.0.2.7:4000", "0.0.0.0:4000"),
        ("[2001:db8::7]:4000", "[::]:4000"),
        ("relay.example.org:4000", "0.0.0.0:4000"),
        ("2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion:4000", "127.0.0.1:4000"),
    ],
)
def test_a_relay(tmp_path: Path, address: str, laddr: str) -> None:
    """Its ticket says where it is reached, its settings where it listens; only its owner sees the key."""
    made = tmp_path / "servers" / "relay"
    assert f"strelay --config {made}/relay.toml" in _run("setup-relay", made, "-a", address)
    ticket = TICKET.load(made / "relay.ticket")
    assert ticket.address == address
    assert ticket.public_key == Identity(IDENTITY.load(made / "relay.ident").private_key).public_key
    assert _settings(made / "relay.toml") == {"idfile": "relay.ident", "laddr": laddr}
    assert made.stat().st_mode & 0o777 == 0o700
    assert (made / "relay.ident").stat().st_mode & 0o777 == 0o600


def test_an_index_server(tmp_path: Path) -> None:
    """It has two addresses and a ticket for each; the second one is the next port if nobody says another."""
    _run("setup-index", tmp_path / "one", "-a", "127.0.0.1:4000")
    _run("setup-index", tmp_path / "two", "-a", "127.0.0.1:4000", "--server-address", "peers.example.org:1")
    assert TICKET.load(tmp_path / "one" / "index.ticket").address == "127.0.0.1:4000"
    assert TICKET.load(tmp_path / "one" / "index-server.ticket").address == "127.0.0.1:4001"
    assert TICKET.load(tmp_path / "two" / "index-server.ticket").address == "peers.example.org:1"
    assert list((tmp_path / "two" / "trusted-servers").iterdir()) == []
    assert _settings(tmp_path / "two" / "index.toml") == {
        "idfile": "index.ident",
        "trusted": "trusted-servers",
        "lclient": "127.0.0.1:4000",
        "lserver": "0.0.0.0:1",
    }


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("setup-relay", "taken", "-a", "127.0.0.1:1"), "SetupRelayError(OutputAlreadyExists("),
        (("setup-relay", "new", "-a", "local host:1"), "invalid address 'local host:1'"),
        (("setup-index", "new", "-a", "127.0.0.1:65535"), "invalid address '127.0.0.1:65536'"),
        (("setup-node", "new", "--relay", "nothing"), "SetupNodeError(IoError(nothing"),
    ],
)
def test_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], reason: str) -> None:
    """What can not be made whole leaves nothing behind, and what is there stays."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    with pytest.raises(OffsetError) as caught:
        _run(*words)
    assert reason in str(caught.value)
    assert [path.name for path in tmp_path.rglob("*")] == ["taken"]


def test_one_ticket_as_that_of_two_kinds(tmp_path: Path) -> None:
    """A relay and an index server of one key have two addresses; the node would wait for one of them for ever."""
    _run("setup-index", tmp_path / "index", "-a", "127.0.0.1:4000")
    ticket = tmp_path / "index" / "index.ticket"
    with pytest.raises(OffsetError, match="the relay index and the index server index are one and the same"):
        _run("setup-node", tmp_path / "node", "--relay", ticket, "--index", ticket)
    assert not (tmp_path / "node").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--recover",), "had no node before"),
        (("--backup", "b"), "had no node before"),
        (("--idfile", "i", "--recover", "--backup", "b"), "one of --recover and --backup"),
        (("--idfile", "i", "--backup", "b", "--relay", "r"), "leave --relay and --index out"),
    ],
)
def test_usage_of_setup_node(tmp_path: Path, words: tuple[str, ...], reason: str) -> None:
    """What does not fit together is said before anything is made."""
    with pytest.raises(click.UsageError, match=reason):
        CliRunner().invoke(
            _stmgr, ["setup-node", str(tmp_path / "new"), *words], standalone_mode=False, catch_exceptions=False
        )
    assert list(tmp_path.iterdir()) == []


def test_where_the_directory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the environment, or else by the profile, whose path starts where it is; or by nobody."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    assert default_directory() is None
    (tmp_path / "offset").mkdir()
    (tmp_path / "offset" / "stctrl.toml").write_text('directory = "alice"\n')
    assert default_directory() == tmp_path / "offset" / "alice"
    monkeypatch.setenv(VARIABLE, "/node")
    assert default_directory() == Path("/node")


@pytest.mark.parametrize("text", ["", "directory", "directory = 1", 'directory = "a"\nticket = "b"'])
def test_a_profile_that_names_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """The error names the file."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    (tmp_path / "offset").mkdir()
    profile = tmp_path / "offset" / "stctrl.toml"
    profile.write_text(text)
    with pytest.raises(ProfileError) as caught:
        default_directory()
    assert str(caught.value).startswith(f"ProfileError({profile}: ")


def test_a_unit_needs_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not installed, that is said, and nothing is made."""
    monkeypatch.setattr("shutil.which", lambda name, path=None: None)
    with pytest.raises(OffsetError, match="strelay is not installed: pip install offset-relay"):
        _run("setup-relay", tmp_path / "relay", "-a", "127.0.0.1:4000", "--systemd")
    assert list(tmp_path.iterdir()) == []


def test_a_unit_says_what_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory whose name would begin a line of its own is refused; another one is named as systemd reads it."""
    monkeypatch.setattr("shutil.which", lambda name, path=None: f"/programs/{name}")
    with pytest.raises(OffsetError, match="a unit can not name the directory"):
        _run("setup-relay", tmp_path / "a\nExecStartPre=false", "-a", "127.0.0.1:4000", "--systemd")
    assert list(tmp_path.iterdir()) == []
    said = _run("setup-relay", tmp_path / "50% $off", "-a", "127.0.0.1:4000", "--systemd")
    assert f"sudo cp '{tmp_path}/50% $off/offset-50---off.service' /etc/systemd/system/" in said
    lines = (tmp_path / "50% $off" / "offset-50---off.service").read_text().splitlines()
    assert f'ExecStart=/programs/strelay --config "{tmp_path}/50%% $$off/relay.toml"' in lines
    assert f'ReadOnlyPaths="{tmp_path}/50%% $off"' in lines
    assert "Type=notify" in lines
