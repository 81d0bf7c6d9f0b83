"""Each event of the logs, provoked by real processes: a story that is played once, and what the logs say of it."""

import asyncio
import contextlib
import json
import shutil
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from interop.network import Network, NodeSpec
from interop.programs import wait_until
from interop.web import Web
from offset_crypto.aio import Connection, Ticker, connect, open_tunnel
from offset_crypto.hashing import is_lower
from offset_crypto.identity import Identity
from offset_crypto.passphrase import open_identity
from offset_proto import wire
from offset_proto.files import TICKET
from offset_proto.limits import APP_HANDSHAKES_MAX, RELAY_HANDSHAKES_MAX
from offset_proto.log_events import (
    DATABASE_LOCKED,
    DATABASE_LOST,
    DATABASE_REACHED,
    DATABASE_SET_BACK,
    EVENTS,
    STANDING_BY,
    TAKEN_OVER,
    LogEvent,
)
from offset_proto.messages.app import AddFriend, AddRelay, AppRequest, AppToAppServer, CreateTransaction, EnableFriend
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.payment import NamedRelayAddress, RelayAddress
from offset_proto.messages.relay import Connect
from offset_proto.types import NetAddress, PaymentId, PrivateKey, PublicKey, Uid

NOBODY = PublicKey(b"\x55" * 32)
ELSEWHERE = (STANDING_BY, TAKEN_OVER, DATABASE_LOCKED, DATABASE_LOST, DATABASE_REACHED, DATABASE_SET_BACK)
"""Told by a standby, which needs a server of PostgreSQL: interop/cluster, test_standby."""


class JsonNetwork(Network):
    """A network whose servers log as JSON, but for B, which logs as it does by default."""

    def _start(self, name: str, port: int, program: str, *arguments: object) -> None:
        form = [] if name == "B" else ["--log-format", "json"]
        super()._start(name, port, program, *arguments, *form)

    def log(self, name: str) -> list[dict[str, Any]]:
        """All that a server has logged."""
        lines = self.servers[name].log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def told(self, name: str, event: str, **fields: object) -> list[dict[str, Any]]:
        """The fields of the events of that name that a server told, and that have *fields*."""
        found = [line["fields"] for line in self.log(name) if line["event"] == event]
        return [found_fields for found_fields in found if found_fields.items() >= fields.items()]

    def wait_for_event(self, name: str, event: str, *, count: int = 1, **fields: object) -> None:
        """Wait until a server has told it."""
        wait_until(f"{name} to tell {event}", lambda: len(self.told(name, event, **fields)) >= count, 60)


class Greeted:
    """Takes what a node says to an app; greeting and report come first."""

    def __init__(self) -> None:
        self.is_complete = asyncio.Event()
        self._received = 0

    def message_received(self, message: bytes) -> None:
        self._received += 1
        if self._received == 2:
            self.is_complete.set()

    def connection_closed(self) -> None:
        pass


@contextlib.asynccontextmanager
async def _connected(ticket: RelayAddress, identity: Identity) -> AsyncIterator[Connection]:
    connection = await connect(ticket.address, identity, ticket.public_key, Ticker())
    try:
        yield connection
    finally:
        connection.close()


def _ask(network: Network, app: str, *requests: AppRequest) -> None:
    """Ask node A as an app that checks nothing before it asks."""

    async def ask() -> None:
        ticket = TICKET.load(network.path("A.ticket"))
        async with _connected(ticket, open_identity(network.identity(app))) as connection:
            connection.attach(greeted := Greeted())
            await greeted.is_complete.wait()
            for number, request in enumerate(requests):
                message = AppToAppServer(Uid(bytes([number]) * 16), request)
                connection.send(wire.APP_TO_APP_SERVER.encode(message))
            await asyncio.sleep(0.5)

    asyncio.run(asyncio.wait_for(ask(), 60))


def _friend_of(node: PublicKey, *, dials: bool) -> Identity:
    """Somebody who dials the node, or whom the node dials."""
    made = (Identity(PrivateKey(bytes([number]) * 32)) for number in range(1, 256))
    return next(identity for identity in made if is_lower(node, identity.public_key) == dials)


def _dial_and_say(network: Network, identity: Identity, node: PublicKey, message: bytes) -> None:
    """As a friend of *node*: come, say something, and go."""

    async def dial() -> None:
        async with _connected(TICKET.load(network.path("relay0.ticket")), identity) as carrier:
            carrier.send(wire.INIT_CONNECTION.encode(Connect(node)))
            tunnel = await open_tunnel(carrier, identity, node, Ticker())
            tunnel.send(message)
            await asyncio.sleep(0.5)

    asyncio.run(asyncio.wait_for(dial(), 60))


def _crowd(port: int, count: int) -> None:
    """Connections that say nothing."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        time.sleep(0.3)


def _hang_up(network: JsonNetwork, name: str) -> None:
    process = network.servers[name].process
    assert process is not None
    process.send_signal(signal.SIGHUP)


def _play(network: JsonNetwork) -> None:
    network.add_relay("relay0")
    network.add_index_servers(["index0", "index1"])
    network.path("A.toml").write_text('log-level = "info"\n')
    network.add_node(NodeSpec("A", "relay0", "index0", ("--config", str(network.path("A.toml")))))
    network.add_node(NodeSpec("B", "relay0", "index1"))
    network.befriend("A", "B", "FST")
    for one, other in (("A", "B"), ("B", "A")):
        network.set_limit(one, other, "FST", 100)
    _play_apps(network)
    _play_limits(network)
    _play_friends(network)
    _play_old_database(network)
    _play_servers(network)
    _play_web(network)
    _play_configuration(network)


def _play_apps(network: JsonNetwork) -> None:
    """Apps that are let in, and not, and that ask for what they may not have; and a disk that is slow."""
    login = ["-I", network.identity("thief"), "-T", network.path("A.ticket")]
    network.run("stctrl", *login, "info", "friends", check=False)
    network.add_app("A", "seller", "--pseller")
    _ask(network, "seller", EnableFriend(NOBODY))
    _ask(network, "A-app", EnableFriend(NOBODY))
    node = TICKET.load(network.path("A.ticket")).public_key
    _ask(network, "A-app", CreateTransaction(PaymentId(bytes(16)), Uid(bytes(16)), FriendsRoute((node, NOBODY)), 1, 0))
    database = sqlite3.connect(network.path("A.db"), isolation_level=None, check_same_thread=False)
    database.execute("BEGIN IMMEDIATE")
    late = threading.Timer(2, database.rollback)
    late.start()
    nowhere = NamedRelayAddress(NOBODY, NetAddress("127.0.0.1:1"), "nowhere")
    _ask(network, "A-app", AddRelay(nowhere))
    late.join()
    database.close()
    network.wait_for_event("A", "slow_commit")
    network.wait_for_event("A", "relay_not_reached", relay="127.0.0.1:1")


def _play_limits(network: JsonNetwork) -> None:
    """More strangers than may shake hands at once."""
    for name, port, count in (
        ("A", "A", APP_HANDSHAKES_MAX),
        ("relay0", "relay0", RELAY_HANDSHAKES_MAX),
        ("index0", "index0-client", RELAY_HANDSHAKES_MAX),
    ):
        _crowd(network.ports[port], count + 4)
        network.wait_for_event(name, "limit_reached", limit="handshakes at once")


def _play_friends(network: JsonNetwork) -> None:
    """One comes, says what is no message, and goes; another one is where nobody is."""
    node = TICKET.load(network.path("A.ticket")).public_key
    relay = TICKET.load(network.path("relay0.ticket"))
    comes, is_away = _friend_of(node, dials=True), _friend_of(node, dials=False)
    _ask(
        network,
        "A-app",
        AddFriend(comes.public_key, (relay,), "comes"),
        AddFriend(is_away.public_key, (relay,), "away"),
        EnableFriend(comes.public_key),
        EnableFriend(is_away.public_key),
    )
    _dial_and_say(network, comes, node, b"no message")
    network.wait_for_event("A", "friend_offline", friend="comes")
    network.wait_for_event("A", "friend_not_reached", friend="away")
    network.wait_for_event("relay0", "link_refused", reason="whom it wants does not listen")


def _play_old_database(network: JsonNetwork) -> None:
    """Node A goes on from an old copy of its database, in which there also is an address that can not be one."""
    network.servers["A"].stop()
    shutil.copy(network.path("A.db"), network.path("old.db"))
    network.servers["A"].start()
    network.wait_for("A to be back", "B", "A", lambda friend: bool(friend["online"]))
    network.pay("B", "A", "FST", 30, "tea")
    network.servers["A"].stop()
    for suffix in ("", "-wal", "-shm"):
        network.path(f"A.db{suffix}").unlink(missing_ok=True)
    shutil.copy(network.path("old.db"), network.path("A.db"))
    with contextlib.closing(sqlite3.connect(network.path("A.db"))) as database, database:
        database.execute("UPDATE relays SET address = 'local host:99999' WHERE name = 'nowhere'")
    network.servers["A"].start()
    network.wait_for_event("A", "channel_inconsistent", friend="B", ours={"FST": 0}, theirs={"FST": 30})
    network.wait_for_event("A", "address_unusable", address="local host:99999")
    network.stctrl("A", "config", "reset-friend", "-n", "B")
    network.wait_for_event("A", "channel_consistent", friend="B")


def _play_servers(network: JsonNetwork) -> None:
    """Servers end, and come back."""
    network.servers["relay0"].kill()
    network.wait_for_event("A", "relay_lost")
    network.servers["relay0"].start()
    network.wait_for_event("A", "relay_connected", count=3)
    for name, other in (("index0", "index1"), ("index1", "index0")):
        before = len(network.told(other, "server_connected"))
        network.servers[name].kill()
        network.wait_for_event(other, "server_lost")
        if name == "index0":  # the one of A, which tries it again within 8 seconds
            network.wait_for_event("A", "index_not_reached")
        network.servers[name].start()
        network.wait_for_event(other, "server_connected", count=before + 1)

    async def intrude() -> None:
        ticket = TICKET.load(network.path("index1-trusted/index0.ticket"))
        async with _connected(ticket, Identity(PrivateKey(b"\x09" * 32))):
            await asyncio.sleep(0.3)

    asyncio.run(intrude())
    network.wait_for_event("index0", "link_refused")


def _play_web(network: JsonNetwork) -> None:
    """stweb, whose node is away for a moment."""
    web = Web(network, network.directory, "B", ("--log-format", "json"))
    network.servers["stweb"] = web.server
    network.wait_for_event("stweb", "node_connected", node="B")
    network.servers["B"].stop()
    network.wait_for_event("stweb", "node_lost", node="B")
    network.servers["B"].start()
    network.wait_for_event("stweb", "node_connected", count=2, node="B")
    web.server.stop()


def _play_configuration(network: JsonNetwork) -> None:
    """Files are changed under running servers, well and badly."""
    network.path("A.toml").write_text('log-level = "debug"\nwithout = ["none"]\n')
    _hang_up(network, "A")
    network.wait_for_event("A", "configuration_read", changed=["log-level"], waiting=["without"])
    network.path("A.toml").write_text('log-level = "loud"\n')
    _hang_up(network, "A")
    network.wait_for_event("A", "configuration_refused")
    index, connected = network.servers["index0"], len(network.told("index0", "server_connected"))
    network.path("index0.toml").write_text("")
    index.stop()
    index.command += ["--config", str(network.path("index0.toml"))]
    index.start()
    network.wait_for_event("index0", "server_connected", count=connected + 1)
    ticket, aside = network.path("index0-trusted/index1.ticket"), network.path("aside.ticket")
    ticket.rename(aside)
    _hang_up(network, "index0")
    network.wait_for_event("index0", "server_lost", reason="the list of trusted servers has changed")
    ticket.write_text("no ticket")
    _hang_up(network, "index0")
    network.wait_for_event("index0", "configuration_refused")
    aside.rename(ticket)
    _hang_up(network, "index0")
    network.wait_for_event("index0", "server_connected", count=connected + 2)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> JsonNetwork:
    """The network after the story, with all of its logs; all servers have ended."""
    network = JsonNetwork(tmp_path_factory.mktemp("logs"))
    try:
        _play(network)
    finally:
        network.stop()
    return network


def _lines(network: JsonNetwork) -> list[dict[str, Any]]:
    return [line for name in network.servers if name != "B" for line in network.log(name)]


@pytest.mark.parametrize("event", [each for each in EVENTS if each not in ELSEWHERE], ids=lambda event: event.name)
def test_the_event_is_told_as_the_table_says(story: JsonNetwork, event: LogEvent) -> None:
    """With all of its fields and no others."""
    told = [line["fields"] for line in _lines(story) if line["event"] == event.name]
    assert told
    assert all(fields.keys() == event.fields.keys() for fields in told)


def test_relays_and_index_servers_tell_when_they_begin_end_and_refuse(story: JsonNetwork) -> None:
    """As nodes do."""
    for name in ("relay0", "index0", "A"):
        names = {line["event"] for line in story.log(name)}
        assert {"started", "listening", "stopping", "limit_reached"} <= names, name


def test_every_event_of_the_logs_is_one_of_the_table_and_no_line_is_a_fault(story: JsonNetwork) -> None:
    """What is none of them is a message, and has no traceback."""
    known = {event.name for event in EVENTS} | {"message"}
    assert {line["event"] for line in _lines(story)} <= known
    assert not [line for line in _lines(story) if "traceback" in line]


def test_a_change_is_told_once_and_not_with_each_attempt(story: JsonNetwork) -> None:
    """The relay at a port where nobody listens was tried every few seconds, in all runs of the node."""
    runs = len(story.told("A", "started"))
    assert len(story.told("A", "relay_not_reached", relay="127.0.0.1:1")) <= runs
    assert len(story.told("A", "friend_not_reached", friend="away")) <= runs
    assert len(story.told("A", "address_unusable")) == 1


def test_the_default_log_has_lines_for_people(story: JsonNetwork) -> None:
    """B had no option for its log."""
    text = story.servers["B"].log.read_text()
    assert " INFO stnode] friend_online: A, after " in text
    assert " WARN stnode] channel_inconsistent: A: our terms: FST -30; its terms: FST 0" in text


def test_no_secret_is_in_any_log(story: JsonNetwork) -> None:
    """The private keys of all servers and apps."""
    logs = "".join(server.log.read_text() for server in story.servers.values())
    identities = list(story.directory.glob("*.ident"))
    assert len(identities) >= 7
    for path in identities:
        assert json.loads(path.read_text())["privateKey"] not in logs
