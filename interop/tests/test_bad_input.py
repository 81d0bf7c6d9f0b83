"""Nonsense for every option of every program: one line that names the cause, and nothing changed on disk."""

import socket
from importlib.metadata import version
from pathlib import Path

import pytest

from interop.network import Network
from offset_crypto.passphrase import open_identity
from offset_proto.files import TICKET
from offset_proto.frames import encode_frame
from offset_proto.messages.payment import RelayAddress
from offset_proto.types import NetAddress

GARBAGE = {
    "missing": None,
    "empty": b"",
    "garbage": bytes(range(256)) * 4,
    "truncated": b'{\n  "privateKey": "AQEBAQ',
    "wrong kind": b'{"payment_id": "ZmZmZmZmZmZmZmZmZmZmZg"}',
    "byte order mark": b'\xef\xbb\xbf{"privateKey": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"}',
    "deep": b"[" * 100_000,
    "directory": "directory",
}


@pytest.fixture
def network(tmp_path: Path) -> Network:
    """A directory with an identity, a node database and tickets; no servers."""
    network = Network(tmp_path)
    identity = network.path("good.ident")
    network.run("stmgr", "gen-ident", "-o", identity)
    network.run("stmgr", "init-node-db", "-i", identity, "-o", network.path("good.db"))
    network.run("stmgr", "node-ticket", "-i", identity, "-a", "127.0.0.1:1", "-o", network.path("good.ticket"))
    network.path("trusted").mkdir()
    return network


def _make(path: Path, content: bytes | str | None) -> None:
    if content == "directory":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)


def _snapshot(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.suffix not in (".lock", ".log")
    }


def _fails(network: Network, status: int, *command: object) -> str:
    """Run a program that must refuse; returns its one line on stderr."""
    before = _snapshot(network.directory)
    result = network.run(str(command[0]), *command[1:], check=False)
    assert status == result.returncode, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    is_help = len(command) == 1
    assert is_help or len(result.stderr.splitlines()) == 1, result.stderr
    assert before == _snapshot(network.directory)
    return result.stderr


PROGRAMS = {
    "strelay -i": ["strelay", "-i", "BAD", "-l", "127.0.0.1:0"],
    "stindex -i": ["stindex", "-i", "BAD", "-c", "127.0.0.1:0", "-s", "127.0.0.1:0", "-t", "trusted"],
    "stnode -i": ["stnode", "-i", "BAD", "-l", "127.0.0.1:0", "-d", "good.db", "-t", "trusted"],
    "stnode -d": ["stnode", "-i", "good.ident", "-l", "127.0.0.1:0", "-d", "BAD", "-t", "trusted"],
    "stmgr init-node-db": ["stmgr", "init-node-db", "-i", "BAD", "-o", "new.db"],
    "stmgr app-ticket": ["stmgr", "app-ticket", "-i", "BAD", "-o", "new.ticket"],
    "stmgr node-ticket": ["stmgr", "node-ticket", "-i", "BAD", "-a", "a:1", "-o", "new.ticket"],
    "stmgr node-entry": ["stmgr", "node-entry", "-n", "good.ident", "-p", "BAD", "-a", "a:1", "-o", "new.entry"],
    "stmgr ident-words": ["stmgr", "ident-words", "-i", "BAD"],
    "stmgr ident-lock": ["stmgr", "ident-lock", "-i", "BAD", "-o", "new.ident"],
    "stmgr ident-unlock": ["stmgr", "ident-unlock", "-i", "BAD", "-o", "new.ident"],
    "stmgr backup": ["stmgr", "backup", "-d", "BAD", "-o", "new.backup"],
    "stmgr restore": ["stmgr", "restore", "-i", "BAD", "-o", "new.db"],
    "stctrl -I": ["stctrl", "-I", "BAD", "-T", "good.ticket", "info", "friends"],
    "stctrl -T": ["stctrl", "-I", "good.ident", "-T", "BAD", "info", "friends"],
    "stverify -t": ["stverify", "verify-token", "-t", "BAD"],
    "stverify -i": ["stverify", "verify-receipt", "-i", "BAD", "-r", "BAD"],
}


@pytest.mark.parametrize("content", list(GARBAGE))
@pytest.mark.parametrize("program", list(PROGRAMS))
def test_bad_files(network: Network, program: str, content: str) -> None:
    """Each program says in one line which file is wrong, and exits with 1."""
    bad = network.path("BAD")
    _make(bad, GARBAGE[content])
    command = [
        network.path(word) if (network.directory / word).exists() or word.startswith(("BAD", "new.")) else word
        for word in PROGRAMS[program][1:]
    ]
    assert "BAD" in _fails(network, 1, PROGRAMS[program][0], *command)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["stctrl", "-I", "a", "-T", "b", "seller", "create-invoice", "-c", "X", "-i", "f", "-a", "-5"], "'-5'"),
        (
            ["stctrl", "-I", "a", "-T", "b", "seller", "create-invoice", "-c", "X", "-i", "f", "-a", "5x"],
            "invalid digit",
        ),
        (["stctrl", "-I", "a", "-T", "b", "seller", "create-invoice", "-c", "X", "-i", "f", "-a", ""], "empty string"),
        (
            ["stctrl", "-I", "a", "-T", "b", "seller", "create-invoice", "-c", "X", "-i", "f", "-a", str(2**128)],
            "number too large",
        ),
        (
            ["stctrl", "-I", "a", "-T", "b", "config", "set-currency-rate", "-n", "x", "-c", "y", "-m", 2**32, "-a", 1],
            "number too large",
        ),
        (["stctrl", "info", "friends", "-I", "a", "-T", "b"], "No such option"),
        (["stctrl", "info", "friends"], "--idfile"),
        (["stctrl", "-I", "a", "-I", "b", "-T", "c", "info", "friends"], "more than once"),
        (["stctrl", "-I", "a", "-T", "b", "info", "balance"], "No such command"),
        (["strelay", "-i", "a", "-l", "localhost:1"], "invalid socket address syntax"),
        (["strelay", "-i", "a", "-l", "127.0.0.1"], "invalid socket address syntax"),
        (["strelay", "-i", "a", "-l", "256.0.0.1:3"], "invalid socket address syntax"),
        (["strelay", "-i", "a"], "--laddr"),
        (["stmgr"], "Usage"),
        (["stverify", "verify-token", "-t", "a", "extra"], "extra argument"),
    ],
)
def test_usage_errors(network: Network, command: list[object], reason: str) -> None:
    """Usage errors are told apart from failures: exit status 2, and the wrong word is named."""
    assert reason in _fails(network, 2, *command)


def test_option_forms_of_the_original(network: Network) -> None:
    """-x=VAL, -xVAL, --long=VAL and a leading + are accepted; help and version answer on every level."""
    identity = network.path("good.ident")
    network.run("stmgr", "relay-ticket", f"-i={identity}", "-a=127.0.0.1:1", f"-o={network.path('1.ticket')}")
    network.run("stmgr", "relay-ticket", f"-i{identity}", "-a[::1]:1", f"-o{network.path('2.ticket')}")
    network.run("stmgr", "relay-ticket", f"--idfile={identity}", "-a", "a:1", f"--output={network.path('3.ticket')}")
    for command in (["stctrl", "-h"], ["stctrl", "config", "add-relay", "--help"], ["stmgr", "help", "gen-ident"]):
        assert "Usage" in network.run(*command).stdout
    told = network.run("stctrl", "config", "add-relay", "-V").stdout
    assert told == f"stctrl-config-add-relay {version('offset-ctrl')}\n"


def test_nothing_is_overwritten(network: Network) -> None:
    """Every command that writes a file refuses one that exists, and leaves it untouched."""
    taken = network.path("taken")
    taken.write_text("mine")
    identity = network.path("good.ident")
    commands: list[list[object]] = [
        ["gen-ident"],
        ["init-node-db", "-i", identity],
        ["app-ticket", "-i", identity],
        ["relay-ticket", "-i", identity, "-a", "a:1"],
        ["index-ticket", "-i", identity, "-a", "a:1"],
        ["node-ticket", "-i", identity, "-a", "a:1"],
        ["node-entry", "-n", identity, "-p", identity, "-a", "a:1"],
    ]
    for command in commands:
        assert "OutputAlreadyExists" in _fails(network, 1, "stmgr", *command, "-o", taken)
    assert "AddressTooLong" in _fails(
        network, 1, "stmgr", "relay-ticket", "-i", identity, "-a", "x" * 257, "-o", network.path("new.ticket")
    )
    for address in ("", "localhost:99999", "local host:1"):
        new = network.path("new.ticket")
        refused = _fails(network, 1, "stmgr", "relay-ticket", "-i", identity, "-a", address, "-o", new)
        assert f"RelayTicketError(NetAddressError(invalid address {address!r}: " in refused
        assert not new.exists()
    assert "IoError" in _fails(network, 1, "stmgr", "gen-ident", "-o", network.path("no/such/directory/x.ident"))


def test_private_files_are_private(network: Network) -> None:
    """Identities and databases are readable for their owner only; tickets are for everybody."""
    assert network.path("good.ident").stat().st_mode & 0o777 == 0o600
    assert network.path("good.db").stat().st_mode & 0o777 == 0o600
    assert network.path("good.ticket").stat().st_mode & 0o077 != 0


def test_wrong_key_and_unreachable_address(chain: Network, tmp_path: Path) -> None:
    """A node that proves another key, an app that is not trusted, nobody there, no such host: all say so."""
    strange = tmp_path / "strange.ident"
    chain.run("stmgr", "gen-ident", "-o", strange)
    untrusted = ["stctrl", "-I", strange, "-T", chain.path("A.ticket"), "info", "friends"]
    assert "ConnectionError" in _fails(chain, 1, *untrusted)
    for name, address in (
        ("wrong", f"127.0.0.1:{chain.ports['A']}"),
        ("nobody", "127.0.0.1:1"),
        ("unresolved", "no-such-host.invalid:1"),
        ("portless", "127.0.0.1"),
    ):
        ticket = tmp_path / f"{name}.ticket"
        # The original's stmgr writes any address; ours does not.
        TICKET.save(ticket, RelayAddress(open_identity(strange).public_key, NetAddress(address)))
        login = ["-I", chain.path("A-app.ident"), "-T", ticket]
        assert "ConnectionError" in _fails(chain, 1, "stctrl", *login, "info", "friends")


def test_a_file_of_another_kind(chain: Network) -> None:
    """It is called by its name, and by that of what was wanted, by each program."""
    login = ["stctrl", "-I", chain.path("A-app.ident")]
    friend, relay = chain.path("B.friend"), chain.path("relay0.ticket")
    ticket = "a ticket of a relay, an index server or a node"
    for command, given, wanted in (
        ((*login, "-T", friend, "info", "friends"), "a ticket of a friend", ticket),
        ((*login, "-T", chain.path("A.ticket"), "config", "add-relay", "-n", "x", "-r", friend), None, None),
        ((*login, "-T", chain.path("A.ticket"), "friend", "add", "-n", "x", relay), ticket, "a ticket of a friend"),
        (("stctrl", "-I", relay, "-T", relay, "info", "friends"), ticket, "an identity"),
        (("strelay", "-i", friend, "-l", "127.0.0.1:0"), "a ticket of a friend", "an identity"),
        (("stverify", "verify-receipt", "-i", relay, "-r", relay), ticket, "an invoice"),
        (("strelay", "--config", relay), ticket, "a file of settings (TOML)"),
    ):
        told = f"this is {given or 'a ticket of a friend'}, and {wanted or ticket} is wanted"
        assert told in _fails(chain, 1, *command)


def test_taken_address_and_database(chain: Network) -> None:
    """A port in use, a database in use, a database of another identity, a broken trusted directory."""
    taken = f"127.0.0.1:{chain.ports['A']}"
    assert "ListenError" in _fails(chain, 1, "strelay", "-i", chain.path("A.ident"), "-l", taken)
    node = ["stnode", "-i", chain.path("A.ident"), "-l", "127.0.0.1:0", "-t", chain.path("A-trusted")]
    assert "DatabaseInUse" in _fails(chain, 1, *node, "-d", chain.path("A.db"))
    chain.run("stmgr", "init-node-db", "-i", chain.path("B.ident"), "-o", chain.path("B2.db"))
    assert "DatabaseIdentityMismatch" in _fails(chain, 1, *node, "-d", chain.path("B2.db"))
    broken = chain.path("broken-trusted")
    broken.mkdir()
    (broken / "junk").write_text("junk")
    index = ["stindex", "-i", chain.path("A.ident"), "-c", "127.0.0.1:0", "-s", "127.0.0.1:0"]
    assert "StringSerdeError" in _fails(chain, 1, *index, "-t", broken)
    assert "IoError" in _fails(chain, 1, *index, "-t", chain.path("no-such-directory"))


def test_servers_end_with_success_on_sigterm(tmp_path: Path) -> None:
    """SIGTERM closes cleanly with exit status 0 (D79)."""
    with Network(tmp_path) as network:
        network.add_relay("relay0")
        network.add_index_servers(["index0"])
        assert [server.stop() for server in network.servers.values()] == [0, 0]


def test_garbage_on_every_port(chain: Network) -> None:
    """Noise, huge announced frames and silence close that connection; the network goes on."""
    missing_segments = encode_frame(bytes(4)) + encode_frame(bytes.fromhex("01085001010000400110"))
    noises = [
        missing_segments,
        b"",
        b"\x00",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 64,
        b"\x00" * 4096,
        (2**63).to_bytes(8, "big"),
    ]
    for port in chain.ports.values():
        for noise in noises:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as peer:
                peer.sendall(noise)
                peer.shutdown(socket.SHUT_WR)
                peer.settimeout(10)
                received = b""
                while piece := peer.recv(65536):
                    received += piece
                assert len(received) < 1000
    assert chain.pay("C", "A", "FST", 2, "after-noise") == "Receipt is valid!"
