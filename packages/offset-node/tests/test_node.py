"""The shell of the node's engine: it stores before it performs, and pauses who sends too much."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from offset_crypto.aio import Ticker
from offset_crypto.identity import Identity
from offset_funder.state import FunderState
from offset_node.database.errors import DatabaseWriteError
from offset_node.embedded import InnerConnection
from offset_node.node import INBOX_EVENTS_MAX, Node
from offset_node.plugins.host import PluginHost
from offset_node.plugins.loading import find_plugins
from offset_node.plugins.ticket import ALL_PERMISSIONS
from offset_node.state import NodeState, PluginRecords
from offset_proto import wire
from offset_proto.messages.app import AddInvoice, AddRelay, AppToAppServer, ReportMutations
from offset_proto.messages.extensions import ALL_EXTENSIONS
from offset_proto.messages.payment import NamedIndexServerAddress, NamedRelayAddress
from offset_proto.types import Currency, InvoiceId, NetAddress, PrivateKey, PublicKey, Uid

RELAY = NamedRelayAddress(PublicKey(b"\x21" * 32), NetAddress("127.0.0.1:1"), "relay")


class Disk:
    """Stores nothing, and says so when the test lets it."""

    extensions = ALL_EXTENSIONS
    history_end = timeline = 0

    def __init__(self) -> None:
        self.batches: list[tuple] = []
        self.began = asyncio.Event()
        self.may_end = asyncio.Event()
        self.holder = asyncio.get_running_loop().create_future()

    def is_ours(self) -> bool:
        return not self.holder.done()

    async def keep(self) -> None:
        raise DatabaseWriteError("disk", f"{await self.holder} has taken over")

    async def apply(self, mutations) -> None:
        self.batches.append(tuple(mutations))
        self.began.set()
        await self.may_end.wait()

    async def load_plugins(self) -> PluginRecords:
        return PluginRecords({}, [])


class App:
    """What the app was told after its greeting."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.heard = asyncio.Queue[None]()

    def message_received(self, message: bytes) -> None:
        self.messages.append(message)
        self.heard.put_nowait(None)

    def connection_closed(self) -> None:
        self.messages.append(b"closed")

    async def hear(self, count: int) -> None:
        """Wait for the greeting, which is two messages, and for *count* messages after it."""
        for _ in range(2 + count):
            await self.heard.get()

    @property
    def told(self) -> list[ReportMutations]:
        return [wire.APP_SERVER_TO_APP.decode(message) for message in self.messages[2:]]


@asynccontextmanager
async def running_node():
    """A node without sockets, its app, and its disk."""
    identity = Identity(PrivateKey(b"\x01" * 32))
    state = NodeState(FunderState(identity.public_key))
    disk, app = Disk(), App()
    plugins = PluginHost(find_plugins(only_ticket=True), {}, disk, state.funder)
    node = Node(disk, state, identity, None, Ticker(), plugins)
    connection = InnerConnection(identity.public_key, app)
    running = asyncio.create_task(node.run(None))
    await asyncio.sleep(0.01)
    node.apps.open(connection, ALL_PERMISSIONS)
    try:
        yield disk, connection, app
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def _ask(connection: InnerConnection, number: int, request) -> None:
    connection.ask(wire.APP_TO_APP_SERVER.encode(AppToAppServer(Uid(number.to_bytes(16, "big")), request)))


def test_the_app_is_told_once_it_is_stored():
    """While the disk works, the app hears nothing of the batch; other batches wait."""

    async def body() -> None:
        async with running_node() as (disk, connection, app):
            _ask(connection, 1, AddRelay(RELAY))
            await disk.began.wait()
            _ask(connection, 2, AddInvoice(InvoiceId(bytes(32)), Currency("FST"), 1))
            await asyncio.sleep(0.05)
            assert [len(batch) for batch in disk.batches] == [1]
            assert app.told == []
            disk.may_end.set()
            await app.hear(2)
            assert [len(batch) for batch in disk.batches] == [1, 2]  # the invoice, and which app made it
            assert [int.from_bytes(report.opt_app_request_id, "big") for report in app.told] == [1, 2]

    asyncio.run(asyncio.wait_for(body(), 60))


def test_a_node_that_was_overtaken_says_nothing_more():
    """Neither what follows from a batch that was just stored, nor a greeting; it ends, and says why."""

    async def body() -> None:
        identity = Identity(PrivateKey(b"\x01" * 32))
        state = NodeState(FunderState(identity.public_key))
        disk, app, late = Disk(), App(), App()
        node = Node(
            disk, state, identity, None, Ticker(), PluginHost(find_plugins(only_ticket=True), {}, disk, state.funder)
        )
        running = asyncio.create_task(node.run(None))
        await asyncio.sleep(0.01)
        connection = InnerConnection(identity.public_key, app)
        node.apps.open(connection, ALL_PERMISSIONS)
        _ask(connection, 1, AddRelay(RELAY))
        await disk.began.wait()
        disk.may_end.set()
        disk.holder.set_result("another node")
        node.apps.open(InnerConnection(identity.public_key, late), ALL_PERMISSIONS)
        with pytest.raises(ExceptionGroup) as caught:
            await running
        assert caught.group_contains(DatabaseWriteError, match="another node has taken over")
        assert app.told == []
        assert late.messages == [b"closed"]

    asyncio.run(asyncio.wait_for(body(), 60))


def test_an_app_that_sends_too_much_is_not_read_from():
    """Until the inbox is empty again; nothing is lost."""

    async def body() -> None:
        async with running_node() as (disk, connection, app):
            count = 3 * INBOX_EVENTS_MAX
            for number in range(1, count + 1):
                _ask(connection, number, AddInvoice(InvoiceId(number.to_bytes(32, "big")), Currency("FST"), 1))
            await disk.began.wait()
            await asyncio.sleep(0.05)
            assert len(connection._waiting) > 0
            assert connection._reading_paused
            disk.may_end.set()
            await app.hear(count)
            await asyncio.sleep(0.05)
            assert not connection._reading_paused
            assert [int.from_bytes(report.opt_app_request_id, "big") for report in app.told] == [*range(1, count + 1)]

    asyncio.run(asyncio.wait_for(body(), 60))


def test_what_still_comes_while_a_node_ends_starts_nothing(caplog):
    """Ticks and closing links go on for a moment. No relay or index server is dialled any more, and nothing fails."""

    async def body() -> list[dict]:
        faults = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context))
        identity = Identity(PrivateKey(b"\x01" * 32))
        server = NamedIndexServerAddress(RELAY.public_key, RELAY.address, "index")
        state = NodeState(FunderState(identity.public_key, relays=(RELAY,)), (server,))
        disk, ticker = Disk(), Ticker(0.01)
        disk.may_end.set()
        plugins = PluginHost(find_plugins(only_ticket=True), {}, disk, state.funder)
        running = asyncio.create_task(Node(disk, state, identity, None, ticker, plugins).run(None))
        await asyncio.sleep(0.1)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        tasks = asyncio.all_tasks()
        await asyncio.sleep(0.5)  # longer than any pause before the next attempt
        assert asyncio.all_tasks() == tasks
        return faults

    assert asyncio.run(asyncio.wait_for(body(), 60)) == []
    assert not [record for record in caplog.records if record.exc_info]
