"""The nodes of a wallet: opened, lost, found again; whoever asked is answered. Spec 10 §6."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from offset_crypto.identity import Identity
from offset_ctrl.connection.client import NodeConnectionError
from offset_ctrl.programs.stcompact import messages as m
from offset_ctrl.programs.stcompact.server import RECONNECT_TICKS, CompactServer
from offset_ctrl.programs.stcompact.store import Store, StoreError
from offset_ctrl.testing import build_report
from offset_proto.messages import app
from offset_proto.messages.app import AppPermissions, AppToAppServer, ReportMutations
from offset_proto.report_view import ReportView
from offset_proto.types import Currency, InvoiceId, NetAddress, PrivateKey, PublicKey, Uid

KEY = Identity(PrivateKey(b"\x01" * 32)).public_key
ALL = AppPermissions(routes=True, buyer=True, seller=True, config=True)
SELLER_ONLY = AppPermissions(routes=False, buyer=False, seller=True, config=False)


def _uid(number: int) -> Uid:
    return Uid(number.to_bytes(16, "big"))


class FakeNode:
    """A node that answers nothing by itself."""

    def __init__(self, listener: Any, permissions: AppPermissions) -> None:
        self.listener = listener
        self.permissions = permissions
        self.report = ReportView(build_report(KEY))
        self.asked: list[AppToAppServer] = []
        self.is_closed = False

    def send(self, message: AppToAppServer) -> None:
        self.asked.append(message)

    async def close(self) -> None:
        self.is_closed = True

    def acknowledge(self) -> None:
        """Say that everything was processed that was asked so far."""
        for message in self.asked:
            self.listener.received(ReportMutations(message.app_request_id, ()))
        self.asked.clear()


class FakeSource:
    """Opens fake nodes; remote ones as often as they are *there*."""

    def __init__(self) -> None:
        self.nodes: list[FakeNode] = []
        self.is_there = True
        self.permissions = ALL
        self.attempts = 0

    async def open_local(self, entry: Any, listener: Any) -> FakeNode:
        if entry.directory.name == "broken":
            raise StoreError("LoadDbError(broken)")
        return self._open(listener)

    async def open_remote(self, entry: Any, listener: Any) -> FakeNode:
        self.attempts += 1
        if not self.is_there:
            raise NodeConnectionError("nobody there")
        return self._open(listener)

    def _open(self, listener: Any) -> FakeNode:
        self.nodes.append(FakeNode(listener, self.permissions))
        return self.nodes[-1]

    def format_database(self, public_key: PublicKey) -> str:
        return "{}"


class World:
    """A server, its source, and what the user was told."""

    def __init__(self, store: Store) -> None:
        self.source = FakeSource()
        self.told: list[Any] = []
        self.server = CompactServer(store, self.source, self.told.append)
        self._count = 0

    async def say(self, *requests: Any) -> list[str]:
        """Requests of the user, and what it is told upon them."""
        self.told.clear()
        for request in requests:
            self._count += 1
            self.server.user_said(m.UserMessage(_uid(self._count), request))
        await self.settle()
        return self.kinds()

    async def tick(self, count: int = 1) -> list[str]:
        """Let *count* seconds pass; returns what the user was told meanwhile."""
        self.told.clear()
        for _ in range(count):
            self.server.tick()
            await self.settle()
        return self.kinds()

    async def settle(self) -> None:
        """Wait until everything has happened that can without another event."""
        for _ in range(50):
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)

    def kinds(self) -> list[str]:
        """The kinds of the messages that the user was told, in order."""
        return [type(getattr(said, "message", said)).__name__ for said in self.told]

    def modes(self) -> dict[str, int | None]:
        """The ids of the nodes in the last status, by name; None for a node that is not open."""
        status = [said for said in self.told if isinstance(said, m.NodesStatus)][-1]
        return {name: node.node_id for name, node in status.nodes.items()}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store without a node."""
    opened = Store(tmp_path)
    yield opened
    opened.close()


def _run(store: Store, body: Callable[[World], Awaitable[None]]) -> World:
    async def main() -> World:
        world = World(store)
        async with asyncio.timeout(30):
            running = asyncio.create_task(world.server.run())
            await world.settle()
            await body(world)
            world.server.end_of_input()
            await running
        return world

    return asyncio.run(main())


def _remote(name: str) -> m.CreateNodeRemote:
    return m.CreateNodeRemote(name, PrivateKey(b"\x02" * 32), KEY, NetAddress("far:1"))


REMOVE_RELAY = app.RemoveRelay(KEY)


def test_a_local_node(store):
    """Spec 10 §6.2: the order of what is told; closed in the status, open by nodeOpened; closed at the end."""

    async def body(world: World) -> None:
        assert world.kinds() == ["NodesStatus"]
        assert await world.say(m.CreateNodeLocal("a")) == ["NodesStatus", "Ack"]
        assert await world.say(m.CreateNodeLocal("a")) == ["Ack"]
        assert await world.say(m.EnableNode("a")) == ["NodesStatus", "Ack", "NodeOpened"]
        assert world.modes() == {"a": None}
        assert await world.say(m.EnableNode("a"), m.EnableNode("b"), m.RemoveNode("a")) == ["Ack"] * 3
        assert await world.say(m.CreateNodeLocal("b")) == ["NodesStatus", "Ack"]
        assert world.modes() == {"a": 0, "b": None}
        assert await world.say(m.DisableNode("a")) == ["NodesStatus", "Ack"]
        assert world.source.nodes[0].is_closed
        assert await world.say(m.EnableNode("a")) == ["NodesStatus", "Ack", "NodeOpened"]
        assert world.told[-1].node_id == 1

    assert _run(store, body).source.nodes[1].is_closed


def test_enabled_nodes_are_opened_at_start(store):
    """One that does not open holds up nobody (D95), and can be enabled again later."""
    for name in ("broken", "good"):
        store.create_local(name, lambda key: "{}")
        store.set_enabled(name, is_enabled=True)

    async def body(world: World) -> None:
        assert world.kinds() == ["NodesStatus", "NodeOpened"]
        assert world.told[1].node_name == "good"
        assert await world.say(m.DisableNode("broken")) == ["NodesStatus", "Ack"]

    _run(store, body)


def test_requests_of_nodes_are_acknowledged_when_the_node_has_them(store):
    """Not before; to an id that is not open at once; also where the id of the request is used twice (D94)."""

    async def body(world: World) -> None:
        await world.say(m.CreateNodeLocal("a"), m.EnableNode("a"))
        assert await world.say(m.ToNode(7, REMOVE_RELAY)) == ["Ack"]
        assert await world.say(m.ToNode(0, REMOVE_RELAY)) == []
        world.server.user_said(m.UserMessage(_uid(world._count), m.ToNode(0, REMOVE_RELAY)))
        await world.settle()
        world.source.nodes[0].acknowledge()
        await world.settle()
        assert world.kinds() == ["Ack", "Ack"]

    _run(store, body)


@pytest.mark.parametrize("how", ["disabled", "lost"])
def test_requests_under_way_are_acknowledged_when_the_node_goes(store, how):
    """Nobody waits for an answer that can not come (D97); the status is told first."""

    async def body(world: World) -> None:
        await world.say(_remote("far"), m.EnableNode("far"))
        await world.tick()
        await world.say(m.ToNode(0, REMOVE_RELAY), m.ToNode(0, REMOVE_RELAY))
        if how == "disabled":
            assert await world.say(m.DisableNode("far")) == ["NodesStatus", "Ack", "Ack", "Ack"]
        else:
            world.source.nodes[0].listener.closed("gone")
            await world.settle()
            assert world.kinds() == ["NodesStatus", "Ack", "Ack"]
        world.source.nodes[0].acknowledge()
        await world.settle()
        assert world.kinds().count("Ack") == (3 if how == "disabled" else 2)

    _run(store, body)


def test_a_remote_node(store):
    """Spec 10 §6.3: connected at the next tick, eight later after a failure; when lost, at the next one."""

    async def body(world: World) -> None:
        world.source.is_there = False
        assert await world.say(_remote("far"), m.EnableNode("far")) == ["NodesStatus", "Ack", "NodesStatus", "Ack"]
        assert world.source.attempts == 0
        assert await world.tick() == []
        assert world.source.attempts == 1
        await world.tick(RECONNECT_TICKS - 1)
        assert world.source.attempts == 1
        world.source.is_there = True
        assert await world.tick() == ["NodeOpened"]
        assert world.told[0].node_id == 0
        world.told.clear()
        world.source.nodes[0].listener.closed("gone")
        await world.settle()
        assert world.modes() == {"far": None}
        assert await world.tick() == ["NodeOpened"]
        assert world.told[0].node_id == 1
        assert await world.say(m.DisableNode("far")) == ["NodesStatus", "Ack"]
        assert await world.tick(20) == []

    _run(store, body)


def test_a_node_that_connects_after_it_was_disabled(store, monkeypatch):
    """Is left at once, and nobody hears of it."""

    async def body(world: World) -> None:
        started, released = asyncio.Event(), asyncio.Event()
        opened = world.source.open_remote

        async def slow(entry: Any, listener: Any) -> FakeNode:
            started.set()
            with contextlib.suppress(asyncio.CancelledError):
                await released.wait()
            return await opened(entry, listener)

        monkeypatch.setattr(world.source, "open_remote", slow)
        await world.say(_remote("far"), m.EnableNode("far"))
        await world.tick()
        await started.wait()
        await world.say(m.DisableNode("far"))
        released.set()
        await world.settle()
        assert "NodeOpened" not in world.kinds()

    assert _run(store, body).source.nodes[0].is_closed


def test_a_request_without_permission_closes_the_node(store):
    """Spec 10 §9-10: status, ack; a remote node is opened again, with another id."""

    async def body(world: World) -> None:
        world.source.permissions = SELLER_ONLY
        await world.say(_remote("far"), m.EnableNode("far"))
        await world.tick()
        assert await world.say(m.ToNode(0, REMOVE_RELAY)) == ["NodesStatus", "Ack"]
        assert world.modes() == {"far": None}
        assert await world.tick() == ["NodeOpened"]

    _run(store, body)


def test_a_disk_that_is_full_closes_the_node(store, monkeypatch):
    """What was to be stored was not told, and the user has its acknowledgement."""

    async def body(world: World) -> None:
        await world.say(m.CreateNodeLocal("a"), m.EnableNode("a"))

        def full(entry: Any, state: Any) -> None:
            raise StoreError("No space left on device")

        monkeypatch.setattr(store, "save_compact", full)
        add = m.AddInvoice(InvoiceId(bytes(32)), Currency("FST"), 5, "")
        assert await world.say(m.ToNode(0, add)) == ["NodesStatus", "Ack"]
        assert world.source.nodes[0].asked == []

    _run(store, body)


def test_node_and_user_never_wait_for_each_other(store):
    """D96: ten thousand requests and as many messages of the node at once; each request is acknowledged."""

    async def body(world: World) -> None:
        await world.say(m.CreateNodeLocal("a"), m.EnableNode("a"))
        world.told.clear()
        node = world.source.nodes[0]
        for number in range(10_000):
            world.server.user_said(m.UserMessage(_uid(number), m.ToNode(0, REMOVE_RELAY)))
            node.listener.received(ReportMutations(None, ()))
        await world.server.keep_up()
        assert len(node.asked) == 10_000
        node.acknowledge()
        await world.server.all_acknowledged()
        await world.settle()
        assert {said.request_id for said in world.told} == {_uid(number) for number in range(10_000)}

    _run(store, body)
