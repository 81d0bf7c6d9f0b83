"""
A network within one process, whose programs run one after the other, so that what they do can be counted.

Relay, nodes and apps are those of the programs: the same shells, links, codecs and databases. Only the event loops are
of this module. Each program has one of its own, and a round lets each program in turn take what the others have sent to
it, until it has nothing more to do. Connections are lists in memory, and a loop's time stands still unless it is moved.
So nothing depends on how fast a machine is or on what else it does, and two runs do the same.

What is left out: sockets, and the event loop itself, which is uvloop in a program that runs by itself.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from bench.payments import CURRENCY, LIMIT, RETRY_SECONDS, pay
from offset_crypto.aio import Ticker
from offset_crypto.identity import Identity
from offset_ctrl.connection.client import NodeConnection, open_node
from offset_funder.state import FunderState
from offset_node.database.sqlite import Database, create_database
from offset_node.database.tables.cells import Statement
from offset_node.node import Node
from offset_node.plugins.host import PluginHost
from offset_node.plugins.loading import find_plugins
from offset_node.plugins.ticket import ALL_PERMISSIONS
from offset_node.state import NodeState
from offset_proto.files import APP_TICKET, AppTicket
from offset_proto.messages.app import (
    AddFriend,
    AddRelay,
    EnableFriend,
    OpenFriendCurrency,
    SetFriendCurrencyMaxDebt,
)
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.payment import NamedRelayAddress, RelayAddress
from offset_proto.messages.report import ChannelConsistentReport, ChannelStatusReport, FriendLivenessReport
from offset_proto.types import NetAddress, PrivateKey
from offset_relay.service import RelayService

__all__ = ["LockstepNetwork", "Watch"]

T = TypeVar("T")

_HOST: Final = "127.0.0.1"
_RELAY_PORT: Final = 7000
_TICKS_MAX: Final = 200
"""Until all friends are there."""

Watch = Callable[[str], AbstractContextManager[object]]
"""What is entered while the program of a name runs."""


class _Transport(asyncio.Transport):
    """One end of a connection; what arrives waits in *arrived* until the program's turn."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.protocol = protocol
        self.arrived: list[bytes] = []
        self.peer = self
        self.is_paused = False
        self._is_closing = False

    def write(self, data: Any) -> None:
        self.peer.arrived.append(bytes(data))

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._is_closing = True

    abort = close

    def get_write_buffer_size(self) -> int:
        return 0


class _Listening:
    """What stands for a server's socket."""

    def __init__(self, port: int) -> None:
        self.sockets = [self]
        self._port = port

    def getsockname(self) -> tuple[str, int]:
        return _HOST, self._port

    def close(self) -> None:
        pass


class _Loop(asyncio.SelectorEventLoop):
    """The event loop of one program."""

    def __init__(self, network: "LockstepNetwork") -> None:
        super().__init__()
        self.waits_for_thread = False
        self.transports: list[_Transport] = []
        self._network = network

    def time(self) -> float:
        return self._network.now

    @property
    def is_ready(self) -> bool:
        """Whether something is to be done at once."""
        return bool(self._ready)  # type: ignore[attr-defined]  # asyncio has no other way to ask

    def turn(self) -> None:
        """Do what is to be done at once, without waiting."""
        self.call_soon(self.stop)
        self.run_forever()

    def wait_for_thread(self) -> None:
        """Wait until another thread has something to be done, and do it."""
        self.waits_for_thread = True
        if not self.is_ready:  # it may have been quicker
            self.run_forever()
        self.waits_for_thread = False

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        handle = super().call_soon_threadsafe(callback, *args, context=context)
        if self.waits_for_thread:
            super().call_soon_threadsafe(self.stop)
        return handle

    async def create_connection(self, make: Any, host: Any = None, port: Any = None, **options: Any) -> Any:  # type: ignore[override]
        listening, make_other = self._network.listening[port]
        ours, theirs = self.add_transport(make()), listening.add_transport(make_other())
        ours.peer, theirs.peer = theirs, ours
        listening.call_soon(theirs.protocol.connection_made, theirs)
        ours.protocol.connection_made(ours)
        return ours, ours.protocol

    async def create_server(self, make: Any, host: Any = None, port: Any = None, **options: Any) -> Any:  # type: ignore[override]
        self._network.listening[port] = self, make
        return _Listening(port)

    def add_transport(self, protocol: asyncio.Protocol) -> _Transport:
        """A new end of a connection in this program."""
        transport = _Transport(protocol)
        self.transports.append(transport)
        return transport

    def take_arrived(self) -> bool:
        """Have the program told what has arrived; whether there was something."""
        is_any = False
        for transport in self.transports:
            if transport.arrived and not transport.is_paused:
                data, transport.arrived = b"".join(transport.arrived), []
                self.call_soon(transport.protocol.data_received, data)
                is_any = True
        return is_any


class _Database(Database):
    """A node's database that counts what it stores."""

    batches = 0
    statements = 0

    @property
    def is_busy(self) -> bool:
        """Whether a batch is being stored."""
        return bool(self._commits)

    async def _store(self, statements: list[Statement]) -> None:
        self.batches += 1
        self.statements += len(statements)
        await super()._store(statements)


@dataclass(eq=False)
class _Program:
    name: str
    loop: _Loop
    database: _Database | None = None
    tasks: list["asyncio.Task[Any]"] = field(default_factory=list)

    def run_until_idle(self) -> None:
        while True:
            self.loop.turn()
            if self.loop.is_ready:
                continue
            if self.database is None or not self.database.is_busy:
                return
            self.loop.wait_for_thread()


class LockstepNetwork:
    """
    A chain of nodes at one relay, friends in a row with credit in both directions; an app of the first and of the last.

    Args:
        directory: Empty; for databases and tickets.
        names: Of the nodes, at least two.

    Attributes:
        now: Seconds.
        databases: Of the nodes, by name; they count what they store.
    """

    def __init__(self, directory: Path, names: Iterable[str]) -> None:
        self.now = 1.0
        self.listening: dict[int, tuple[_Loop, Callable[[], asyncio.Protocol]]] = {}
        self.databases: dict[str, _Database] = {}
        self.watch: Watch = lambda name: nullcontext()
        self._programs: list[_Program] = []
        self._directory = directory
        self._names = list(names)
        self._keys = {name: Identity(PrivateKey(os.urandom(32))) for name in (*self._names, "relay", "app")}
        self._start_relay()
        for number, name in enumerate(self._names, 1):
            self._start_node(name, _RELAY_PORT + number)
        self._apps = self._add_program("apps")
        self._connections: dict[str, NodeConnection] = {}
        self._logins = AsyncExitStack()
        self._run(self._log_in())
        self._run(self._befriend())
        self._wait_for_friends()
        self._run(self._log_out())

    def _add_program(self, name: str) -> _Program:
        program = _Program(name, _Loop(self))
        self._programs.append(program)
        return program

    def _start(self, program: _Program, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = program.loop.create_task(work)
        program.tasks.append(task)
        return task

    def _start_relay(self) -> None:
        program = self._add_program("relay")

        async def serve() -> None:
            await RelayService(self._keys["relay"], Ticker()).run((_HOST, _RELAY_PORT))

        self._start(program, serve())

    def _start_node(self, name: str, port: int) -> None:
        program, identity = self._add_program(name), self._keys[name]
        path, trusted = self._directory / f"{name}.db", self._directory / f"{name}.trusted"
        create_database(path, NodeState(FunderState(identity.public_key)))
        trusted.mkdir()
        APP_TICKET.save(trusted / "app.ticket", AppTicket(self._keys["app"].public_key, ALL_PERMISSIONS))
        database = program.loop.run_until_complete(_Database.open(path))
        assert isinstance(database, _Database)
        program.database = self.databases[name] = database
        state = program.loop.run_until_complete(database.load())

        async def serve() -> None:
            plugins = PluginHost(find_plugins(only_ticket=True), {}, database, state.funder)
            await Node(database, state, identity, trusted, Ticker(), plugins).run((_HOST, port))

        self._start(program, serve())

    async def _log_in(self) -> None:
        for number, name in enumerate(self._names, 1):
            key = self._keys[name].public_key
            opening = open_node(f"{_HOST}:{_RELAY_PORT + number}", key, self._keys["app"], Ticker())
            self._connections[name] = await self._logins.enter_async_context(opening)

    async def _log_out(self) -> None:
        """Mediators have nobody to tell anything; apps of the first and the last node stay."""
        for name in self._names[1:-1]:
            self._connections.pop(name).close()

    async def _befriend(self) -> None:
        relay = RelayAddress(self._keys["relay"].public_key, NetAddress(f"{_HOST}:{_RELAY_PORT}"))
        for name in self._names:
            await self._connections[name].request(AddRelay(NamedRelayAddress(relay.public_key, relay.address, "relay")))
        for one, other in zip(self._names, self._names[1:], strict=False):
            for name, friend_name in ((one, other), (other, one)):
                node, friend = self._connections[name], self._keys[friend_name].public_key
                await node.request(AddFriend(friend, (relay,), friend_name))
                await node.request(EnableFriend(friend))
                await node.request(SetFriendCurrencyMaxDebt(friend, CURRENCY, LIMIT))
                await node.request(OpenFriendCurrency(friend, CURRENCY))

    def _wait_for_friends(self) -> None:
        for _ in range(_TICKS_MAX):
            if all(self._is_ready(connection) for connection in self._connections.values()):
                return
            self.now += 1.0
            self._settle()
        raise RuntimeError("the nodes do not become friends")

    @staticmethod
    def _is_ready(node: NodeConnection) -> bool:
        def is_active(status: ChannelStatusReport) -> bool:
            return isinstance(status, ChannelConsistentReport) and bool(status.currency_reports)

        friends = node.report.friends.values()
        return all(
            friend.liveness is FriendLivenessReport.ONLINE and is_active(friend.channel_status) for friend in friends
        )

    # Rounds.

    def _round(self) -> bool:
        """Let each program take its turn; whether one of them was told something."""
        is_any = False
        for program in self._programs:
            with self.watch(program.name):
                is_any |= program.loop.take_arrived()
                program.run_until_idle()
        return is_any

    def _settle(self) -> None:
        while self._round():
            pass

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """Rounds until an app has done its *work*, or nobody has anything to do."""
        task = self._start(self._apps, work)
        while not task.done():
            if not self._round() and not task.done():
                self.now += 1.0
        self._settle()
        result: T = task.result()
        return result

    def pay(self, count: int, in_flight: int) -> None:
        """Make *count* payments from the first to the last node; they begin one in each round, *in_flight* at most."""
        buyer, seller = self._connections[self._names[0]], self._connections[self._names[-1]]
        route = FriendsRoute(tuple(self._keys[name].public_key for name in self._names))
        under_way: set[asyncio.Task[None]] = set()
        left = count
        while left or under_way:
            if left and len(under_way) < in_flight:
                under_way.add(self._start(self._apps, pay(buyer, seller, route)))
                left -= 1
            if not self._round():
                self.now += RETRY_SECONDS
            for task in [task for task in under_way if task.done()]:
                task.result()
                under_way.remove(task)
        self._settle()

    def close(self) -> None:
        """End all programs."""
        self._run(self._logins.aclose())
        for program in reversed(self._programs):
            for task in program.tasks:
                task.cancel()
            program.loop.run_until_complete(asyncio.gather(*program.tasks, return_exceptions=True))
            if program.database is not None:
                program.loop.run_until_complete(program.database.close())
            program.loop.close()
