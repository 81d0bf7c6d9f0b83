"""
The nodes of a wallet: which are enabled, which are open, who is told what. Spec 10 §6.

One event is handled completely before the next: a line of the user, a message of a node, a tick, an attempt to open a
node that ended. Between a node and this server nothing waits for the other (D96).
"""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from offset_ctrl.programs.stcompact.compact_node import CompactNode
from offset_ctrl.programs.stcompact.effects import AckUser, AskNode, Effect, End, Save, TellUser
from offset_ctrl.programs.stcompact.messages import (
    Ack,
    CreateNodeLocal,
    CreateNodeRemote,
    DisableNode,
    EnableNode,
    FromNode,
    LocalInfo,
    NodeOpened,
    NodesStatus,
    NodeStatus,
    RemoteInfo,
    RemoveNode,
    ServerMessage,
    ToNode,
    UserMessage,
)
from offset_ctrl.programs.stcompact.node_source import (
    NodeHandle,
    NodeListener,
    NodeSource,
    Received,
    SourceClosed,
)
from offset_ctrl.programs.stcompact.store import Entry, LocalEntry, RemoteEntry, Store, StoreError
from offset_proto.errors import OffsetError
from offset_proto.messages.payment import RelayAddress
from offset_proto.types import Uid

__all__ = ["CompactServer", "NodeHandle", "NodeSource", "Received", "SourceClosed"]

log = logging.getLogger("offset.compact")

RECONNECT_TICKS: Final = 8
"""Between an attempt to reach a remote node that failed and the next one."""


@dataclass(frozen=True, slots=True)
class _Connected:
    """An attempt to reach a remote node ended; no handle where it failed."""

    name: str
    attempt: object
    handle: NodeHandle | None
    listener: NodeListener
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Tick:
    """A second has passed, and nodes that are not open are nearer to the next attempt."""


@dataclass(frozen=True, slots=True)
class _EndOfInput:
    """The user has nothing more to say."""


Event = UserMessage | Received | SourceClosed | _Connected | _Tick | _EndOfInput


@dataclass
class _OpenNode:
    name: str
    entry: Entry
    handle: NodeHandle
    compact: CompactNode
    pending: Counter[Uid] = field(default_factory=Counter)


@dataclass
class _Waiting:
    """A remote node that is not open: ticks to wait, or the attempt under way."""

    delay_ticks: int = 0
    attempt: "asyncio.Task[None] | None" = None


class CompactServer:
    """
    The server of one wallet.

    Args:
        store: Its nodes.
        source: Opens them.
        send: Takes what the user is told, in order; never waits.
    """

    def __init__(self, store: Store, source: NodeSource, send: Callable[[ServerMessage], None]) -> None:
        self._store = store
        self._source = source
        self._send = send
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._open: dict[int, _OpenNode] = {}
        self._waiting: dict[str, _Waiting] = {}
        self._next_node_id = 0
        self._ended = False
        self._handled = asyncio.Event()

    # Inputs, from anywhere in the loop.

    def user_said(self, message: UserMessage) -> None:
        """Take a line of the user; it is carried out after what came before it."""
        self._events.put_nowait(message)

    def end_of_input(self) -> None:
        """The user has nothing more to say: the server ends once what it said is carried out."""
        self._events.put_nowait(_EndOfInput())

    def tick(self) -> None:
        """Count a second that has passed, for the nodes that wait to be opened."""
        if self._waiting:
            self._events.put_nowait(_Tick())

    async def keep_up(self) -> None:
        """Wait until every event that has come so far is handled."""
        while not self._events.empty():
            await self._next()

    async def all_acknowledged(self) -> None:
        """Wait until no request of the user is under way."""
        while not self._events.empty() or any(node.pending for node in self._open.values()):
            await self._next()

    async def _next(self) -> None:
        self._handled.clear()
        await self._handled.wait()

    # The loop.

    async def run(self) -> None:
        """Open what is enabled, then serve until the end of the input."""
        try:
            self._tell_status()
            for name, entry in self._store.entries().items():
                if entry.is_enabled:
                    await self._guard(name, self._open_node(name, entry))
            while not self._ended:
                await self._handle(await self._events.get())
                self._handled.set()
        finally:
            for waiting in self._waiting.values():
                if waiting.attempt is not None:
                    waiting.attempt.cancel()
            for node in self._open.values():
                await node.handle.close()

    async def _guard(self, name: str, step: Awaitable[None]) -> None:
        """One node that does not open is no reason to end the others (D95)."""
        try:
            await step
        except OffsetError as error:
            log.error("node %s: %s", name, error)

    async def _handle(self, event: Event) -> None:
        match event:
            case UserMessage(request_id, request):
                await self._handle_request(request_id, request)
            case Received(node_id, message):
                node = self._open.get(node_id)
                if node is not None:
                    await self._perform(node_id, node, node.compact.handle_node(message))
            case SourceClosed(node_id, reason):
                if node_id in self._open:
                    await self._lose(node_id, reason)
            case _Connected():
                await self._connected(event)
            case _Tick():
                self._count_tick()
            case _EndOfInput():
                self._ended = True

    async def _handle_request(self, request_id: Uid, request: object) -> None:
        try:
            match request:
                case CreateNodeLocal(name):
                    self._store.create_local(name, self._source.format_database)
                    self._tell_status()
                case CreateNodeRemote(name, app, public_key, address):
                    self._store.create_remote(name, app, RelayAddress(public_key, address))
                    self._tell_status()
                case RemoveNode(name):
                    self._remove(name)
                case EnableNode(name):
                    await self._enable(request_id, name)
                    return
                case DisableNode(name):
                    await self._disable(name)
                case ToNode():
                    if await self._ask_node(request_id, request):
                        return
        except OffsetError as error:
            log.error("%s: %s", type(request).__name__, error)
        self._send(Ack(request_id))

    # Nodes.

    def _tell_status(self) -> None:
        ids = {node.name: node_id for node_id, node in self._open.items()}
        entries = self._store.entries()
        self._send(
            NodesStatus(
                {name: NodeStatus(ids.get(name), entry.is_enabled, _info(entry)) for name, entry in entries.items()}
            )
        )

    def _remove(self, name: str) -> None:
        if self._is_loaded(name) or self._store.entry(name).is_enabled:
            raise StoreError(f"NodeIsLoaded({name})")
        self._store.remove(name)
        self._tell_status()

    def _is_loaded(self, name: str) -> bool:
        return name in self._waiting or any(node.name == name for node in self._open.values())

    async def _enable(self, request_id: Uid, name: str) -> None:
        """The node is still closed in the status; that it is open is said by nodeOpened."""
        try:
            if self._store.entry(name).is_enabled:
                raise StoreError(f"NodeIsLoaded({name})")
            self._store.set_enabled(name, is_enabled=True)
            self._tell_status()
        except OffsetError as error:
            log.error("EnableNode: %s", error)
            self._send(Ack(request_id))
            return
        self._send(Ack(request_id))
        await self._guard(name, self._open_node(name, self._store.entry(name)))

    async def _disable(self, name: str) -> None:
        if not self._store.entry(name).is_enabled:
            raise StoreError(f"NodeNotLoaded({name})")
        self._store.set_enabled(name, is_enabled=False)
        waiting = self._waiting.pop(name, None)
        if waiting is not None and waiting.attempt is not None:
            waiting.attempt.cancel()
        lost = [node_id for node_id, node in self._open.items() if node.name == name]
        pending = [uid for node_id in lost for uid in (await self._close(node_id)).pending.elements()]
        self._tell_status()
        for uid in pending:  # D97
            self._send(Ack(uid))

    async def _open_node(self, name: str, entry: Entry) -> None:
        if isinstance(entry, RemoteEntry):
            self._waiting[name] = _Waiting()
            return
        listener = NodeListener(self._events.put_nowait)
        await self._opened(name, entry, await self._source.open_local(entry, listener), listener)

    async def _opened(self, name: str, entry: Entry, handle: NodeHandle, listener: NodeListener) -> None:
        try:
            state = self._store.load_compact(entry)
        except OffsetError:
            await handle.close()
            raise
        node_id, self._next_node_id = self._next_node_id, self._next_node_id + 1
        compact = CompactNode(handle.permissions, handle.report, state, os.urandom)
        node = self._open[node_id] = _OpenNode(name, entry, handle, compact)
        effects = compact.start()
        self._send(NodeOpened(name, node_id, handle.permissions, compact.report))
        listener.open(node_id)
        await self._perform(node_id, node, effects)

    async def _close(self, node_id: int) -> _OpenNode:
        node = self._open.pop(node_id)
        await node.handle.close()
        return node

    async def _lose(self, node_id: int, reason: str) -> None:
        """A node ended by itself. Spec 10 §6.4."""
        node = await self._close(node_id)
        log.error("node %s is closed: %s", node.name, reason)
        if isinstance(node.entry, RemoteEntry):
            self._waiting[node.name] = _Waiting()
        self._tell_status()
        for uid in node.pending.elements():
            self._send(Ack(uid))

    def _count_tick(self) -> None:
        for name, waiting in self._waiting.items():
            if waiting.attempt is not None:
                continue
            waiting.delay_ticks = max(0, waiting.delay_ticks - 1)
            if waiting.delay_ticks == 0:
                waiting.attempt = asyncio.create_task(self._connect(name, waiting))

    async def _connect(self, name: str, waiting: _Waiting) -> None:
        listener = NodeListener(self._events.put_nowait)
        try:
            entry = self._store.entry(name)
            if not isinstance(entry, RemoteEntry):
                raise StoreError(f"{name} is no remote node")
            handle = await self._source.open_remote(entry, listener)
        except OffsetError as error:
            self._events.put_nowait(_Connected(name, waiting, None, listener, str(error)))
        else:
            self._events.put_nowait(_Connected(name, waiting, handle, listener))

    async def _connected(self, event: _Connected) -> None:
        waiting = self._waiting.get(event.name)
        if waiting is not event.attempt:  # disabled meanwhile
            if event.handle is not None:
                await event.handle.close()
            return
        if event.handle is None:
            log.info("node %s: %s", event.name, event.reason)
            self._waiting[event.name] = _Waiting(RECONNECT_TICKS)
            return
        del self._waiting[event.name]
        entry = self._store.entry(event.name)
        await self._guard(event.name, self._opened(event.name, entry, event.handle, event.listener))

    # An open node.

    async def _ask_node(self, request_id: Uid, request: ToNode) -> bool:
        """Hand a request on; False where it is to be acknowledged at once."""
        node = self._open.get(request.node_id)
        if node is None:
            return False
        node.pending[request_id] += 1
        await self._perform(request.node_id, node, node.compact.handle_user(request_id, request.request))
        return True

    async def _perform(self, node_id: int, node: _OpenNode, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case AskNode(message):
                    node.handle.send(message)
                case TellUser(message):
                    self._send(FromNode(node_id, message))
                case AckUser(request_id):
                    if node.pending[request_id] > 0:  # D94
                        node.pending[request_id] -= 1
                        node.pending += Counter()  # forgets what is zero
                    self._send(Ack(request_id))
                case Save(state):
                    try:
                        await asyncio.to_thread(self._store.save_compact, node.entry, state)
                    except OffsetError as error:
                        await self._lose(node_id, str(error))
                        return
                case End(reason):
                    await self._lose(node_id, reason)
                    return


def _info(entry: Entry) -> LocalInfo | RemoteInfo:
    if isinstance(entry, LocalEntry):
        return LocalInfo(entry.identity.public_key)
    return RemoteInfo(entry.app.public_key, entry.ticket.public_key, entry.ticket.address)
