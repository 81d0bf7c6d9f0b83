"""The programs on a server of PostgreSQL: nodes that pay, one that takes over, and what is said where nothing works."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from interop.cluster.server import PostgresServer
from interop.network import Network, NodeSpec
from interop.ports import find_free_port
from interop.programs import OURS, Server, wait_until
from interop.tests.test_metrics import read_page


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory, server: PostgresServer) -> Iterator[Network]:
    """Friends A, on a server, and B, on a file, who trade."""
    with Network(tmp_path_factory.mktemp("cluster")) as network:
        network.add_relay("relay0")
        network.add_index_servers(["index0"])
        network.add_node(NodeSpec("A", "relay0", "index0", database=server.new_database()))
        network.add_node(NodeSpec("B", "relay0", "index0"))
        network.befriend("A", "B", "FST")
        for node, friend in (("A", "B"), ("B", "A")):
            network.set_limit(node, friend, "FST", 100_000)
        yield network


def _place(network: Network) -> str:
    """Where the database of A is; tests move it, and come in any order."""
    command = network.servers["A"].command
    return command[command.index("-d") + 1]


def _owed(network: Network) -> int:
    """What A owes B, and both agree on."""
    at_a, at_b = network.balance("A", "B", "FST"), network.balance("B", "A", "FST")
    assert at_a == {"balance": -at_b["balance"], "local_pending_debt": 0, "remote_pending_debt": 0}
    return at_b["balance"]


def test_a_node_on_a_server_pays(network: Network) -> None:
    """And after kill -9 another process goes on from what is stored, as soon as the lease has ended."""
    before = _owed(network)
    network.pay("A", "B", "FST", 30, "one")
    server = network.servers["A"]
    server.kill()
    server.start()
    assert "it is taken over when" in server.log.read_text()
    network.wait_for("B to reach A", "A", "B", lambda friend: bool(friend["online"]))
    assert _owed(network) == before + 30
    network.pay("B", "A", "FST", 10, "two")
    assert _owed(network) == before + 20


def test_a_second_node_is_refused_while_the_first_lives(network: Network) -> None:
    """So are the commands of stmgr that need the database for themselves."""
    server = network.servers["A"]
    assert server.process is not None
    refused = OURS.run("stnode", *server.command[1:], check=False)
    assert refused.returncode == 1
    assert "DatabaseInUse(postgresql://tester@/" in refused.stderr
    assert f"is used by process {server.process.pid} on " in refused.stderr
    refused = OURS.run("stmgr", "check-db", "-d", _place(network), check=False)
    assert "CheckDbError(DatabaseInUse(" in refused.stderr
    network.pay("A", "B", "FST", 1, "three")


def _elsewhere(network: Network, *options: str) -> Server:
    """A once more, as on another machine: at another address for apps."""
    port = find_free_port()
    command = [*network.servers["A"].command, *options]
    command[command.index("-l") + 1] = f"127.0.0.1:{port}"
    return Server("A", command, port, network.path(f"A-{port}.log"))


def _call_apps_to(network: Network, node: Server) -> None:
    """Let the ticket of A name the address of this process from now on."""
    ticket, address = network.path("A.ticket"), f"127.0.0.1:{node.port}"
    ticket.unlink()
    network.run("stmgr", "node-ticket", "-i", network.path("A.ident"), "-a", address, "-o", ticket)


def _start_elsewhere(network: Network) -> Server:
    elsewhere = _elsewhere(network)
    _call_apps_to(network, elsewhere)
    elsewhere.start()
    return elsewhere


@contextmanager
def _standing_by(node: Server, told: Path) -> Iterator[socket.socket]:
    """Start a node that does not listen for now, and read what it tells its supervisor."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reading, node.log.open("ab") as log:
        told.unlink(missing_ok=True)
        reading.bind(str(told))
        reading.settimeout(60)
        environment = {**os.environ, "NOTIFY_SOCKET": str(told)}
        node.process = subprocess.Popen(node.command, stderr=log, env=environment, start_new_session=True)
        yield reading


def test_a_standby_takes_over(network: Network, tmp_path: Path) -> None:
    """Until then it says that it stands by: to its supervisor, which may take it for started, and on its pages."""
    metrics = find_free_port()
    running, before = network.servers["A"], _owed(network)
    standby = _elsewhere(network, "--standby", "--metrics", f"127.0.0.1:{metrics}")
    assert running.process is not None
    behind = f"stands by, behind process {running.process.pid} on {socket.gethostname()} (term "
    for turn in ("to be ended", "to take over"):
        with _standing_by(standby, tmp_path / "told") as reading:
            assert standby.process is not None
            assert reading.recv(1000).decode().startswith(f"STATUS={behind}")
            assert reading.recv(1000) == b"READY=1"
            assert read_page(metrics, "healthz")[0] == 200
            status, text = read_page(metrics, "readyz")
            assert (status, text.startswith(behind)) == (503, True)
            assert not standby.listens()
            if turn == "to be ended":
                standby.process.terminate()
                assert reading.recv(1000) == b"STOPPING=1"
                assert standby.process.wait(60) == 0
                continue
            running.kill()
            wait_until("the standby to listen", standby.listens)
            assert reading.recv(1000).decode().startswith("STATUS=runs as node")
            network.servers["A"] = standby
            _call_apps_to(network, standby)
    log = standby.log.read_text()
    assert log.count(" standing_by: ") == 2
    assert log.count(" taken_over: ") == 1
    network.wait_for("B to reach A", "A", "B", lambda friend: bool(friend["online"]))
    assert _owed(network) == before
    network.pay("A", "B", "FST", 1, "taken-over")
    wait_until("it to be ready", lambda: read_page(metrics, "readyz")[0] == 200)
    standby.command = standby.command[: len(running.command)]  # a node like others, for the tests that come


def test_a_standby_says_at_once_what_it_could_not_run_on(network: Network, tmp_path: Path) -> None:
    """And not when it has taken the right to write, on the day on which it is needed."""
    standby = _elsewhere(network, "--standby")
    standby.command[standby.command.index("-t") + 1] = str(tmp_path / "missing")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", standby.port))
        taken.listen()
        refused = OURS.run("stnode", *standby.command[1:], check=False)
    assert refused.returncode == 1
    trusted, end = refused.stderr.splitlines()
    assert f"trusted apps: {tmp_path / 'missing'} is not a directory" in trusted
    assert f"ListenError(127.0.0.1:{standby.port}: Address already in use)" in end


def test_a_node_that_was_frozen_says_nothing_more(network: Network) -> None:
    """While it sleeps, another one goes on; when it wakes, it ends and says who has taken over."""
    frozen, before = network.servers["A"], _owed(network)
    assert frozen.process is not None
    frozen.process.send_signal(signal.SIGSTOP)
    try:
        network.servers["A"] = _start_elsewhere(network)
        # What B sees may still be the frozen one; a link of the new one is what it sees itself.
        network.wait_for("B to reach the other A", "A", "B", lambda friend: bool(friend["online"]))
        network.pay("B", "A", "FST", 5, "four")
    finally:
        frozen.process.send_signal(signal.SIGCONT)
        status = frozen.process.wait(60)
    assert status == 1
    (end,) = [line for line in frozen.log.read_text().splitlines() if "has taken over" in line]
    running = network.servers["A"].process
    assert running is not None
    assert f"process {running.pid} on " in end
    assert end.endswith("this process says nothing more)")
    network.pay("A", "B", "FST", 2, "five")
    assert _owed(network) == before - 3


@pytest.mark.parametrize("how", ["the connection is cut", "the server is killed"])
def test_a_node_ends_when_its_server_does_not_answer(network: Network, server: PostgresServer, how: str) -> None:
    """It says so, and goes on from what is stored when it is started again; without a server it does not start."""
    node = network.servers["A"]
    assert node.process is not None
    before = _owed(network)
    if how == "the connection is cut":
        assert server.disconnect(_place(network))
        assert node.process.wait(60) == 1
    else:
        server.stop()
        try:
            assert node.process.wait(60) == 1
            refused = OURS.run("stnode", *node.command[1:], check=False)
            assert refused.returncode == 1
            assert "LoadDbError(postgresql://tester@/" in refused.stderr
        finally:
            server.start()
    assert "DatabaseError(postgresql://tester@/" in node.log.read_text()
    node.start()
    network.wait_for("B to reach A", "A", "B", lambda friend: bool(friend["online"]))
    assert _owed(network) == before
    network.pay("A", "B", "FST", 1, how.replace(" ", "-"))


def test_a_node_is_moved_and_checked(network: Network, server: PostgresServer) -> None:
    """From the server to a file and to another server, with stmgr; it starts where it was moved to, and only there."""
    place, file, there = _place(network), network.path("A.db"), server.new_database()
    before = _owed(network)
    network.servers["A"].stop()
    checked = OURS.run("stmgr", "check-db", "-d", place).stdout.removeprefix("Checked. ").strip()
    first = OURS.run("stmgr", "move-db", "-d", place, "-o", file).stdout.splitlines()
    second = OURS.run("stmgr", "move-db", "-d", file, "-o", there).stdout.splitlines()
    assert first[0] == second[0] == f"Moved. {checked}"
    assert first[1] == second[1]
    assert first[1].startswith("Both held the same: ")
    for left in (place, str(file)):
        refused = OURS.run("stnode", *_with_database(network, left)[1:], check=False)
        assert "exported: its node may have gone on elsewhere" in refused.stderr
    network.servers["A"].command = _with_database(network, there)
    network.servers["A"].start()
    network.wait_for("B to reach A", "A", "B", lambda friend: bool(friend["online"]))
    assert _owed(network) == before
    network.pay("B", "A", "FST", 1, "moved")


def _with_database(network: Network, database: str) -> list[str]:
    command = [*network.servers["A"].command]
    command[command.index("-d") + 1] = database
    return command


def test_a_password_is_not_told(network: Network, tmp_path: Path) -> None:
    """Neither in what is shown of the settings, nor in an error; on a command line it is warned of, in a file not."""
    address = "postgresql://tester:secret@127.0.0.1:1/node"
    words = _with_database(network, address)[1:]
    refused = OURS.run("stnode", *words, check=False)
    assert "the list of processes shows the password" in refused.stderr
    assert "LoadDbError(postgresql://tester@127.0.0.1:1/node: " in refused.stderr
    file = tmp_path / "node.toml"
    file.write_text(f'database = "{address}"\n')
    at = words.index("-d")
    words[at : at + 2] = ["--config", str(file)]
    shown = OURS.run("stnode", *words, "--check-config", check=False)
    assert "database: postgresql://tester@127.0.0.1:1/node (file)" in shown.stdout
    again = OURS.run("stnode", *words, check=False)
    assert "list of processes" not in again.stderr
    for said in (refused, shown, again):
        assert "secret" not in said.stdout + said.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["stmgr", "init-node-db", "-i", "IDENT", "-o", "PLACE"], "InitNodeDbError(OutputAlreadyExists(postgresql://"),
        (["stmgr", "check-db", "-d", "EMPTY"], "no node database is there; stmgr init-node-db makes one"),
        (["stmgr", "move-db", "-d", "EMPTY", "-o", "new.db"], "MoveDbError(LoadDbError(postgresql://"),
        (["stmgr", "move-db", "-d", "missing.db", "-o", "EMPTY"], "MoveDbError(LoadDbError(missing.db: no such file"),
        (["stmgr", "check-db", "-d", "postgresql://[::1/x"], "can not be read"),
    ],
)
def test_what_does_not_work_is_said(network: Network, server: PostgresServer, words: list[str], says: str) -> None:
    """In one line, with the name of the command's failures."""
    named = {"IDENT": str(network.path("A.ident")), "PLACE": _place(network), "EMPTY": server.address()}
    refused = OURS.run(words[0], *[named.get(word, word) for word in words[1:]], check=False)
    assert refused.returncode == 1
    assert says in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
