"""
What passes on the links of a network, decrypted and written down.

A `Recorder` stands between each server and whoever connects to it. It has the keys of both, since the network
is its own: it proves to be the server to the client and the client to the server, and so reads along whichever
implementation they are, without a hook in any program. Where a relay joins two nodes, it does the same once more
inside the tunnel. One file for each link, one JSON object a line:

    {"link": "friend", "client": {"name": "A", "publicKey": HEX, "player": "ours"}, "server": {...}}     the first line
    {"seconds": 0.123, "sender": "client", "kind": "FriendMessage", "bytes": HEX, "message": {...}}

``player`` says whose program spoke: "ours", "original", or null where it may have been either. ``bytes`` is the
packed message as it was sent, ``message`` its content in the form of the vectors, or null where it can not be decoded.
`interop.replay` checks such files.
"""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO

from interop.runner.json_values import show
from offset_crypto.aio import ConnectFailed, Connection, Ticker, connect, open_tunnel, serve
from offset_crypto.identity import Identity
from offset_proto import wire
from offset_proto.errors import PeerError
from offset_proto.files import IDENTITY
from offset_proto.messages.app import AppPermissions, AppServerToApp, AppToAppServer
from offset_proto.messages.extensions import AppGreeting
from offset_proto.messages.friend import FriendMessage
from offset_proto.messages.index import IndexClientToServer, IndexServerToClient, IndexServerToServer
from offset_proto.messages.relay import Accept, Connect, IncomingConnection, InitConnection, Listen, RejectConnection
from offset_proto.messages.report import NodeReport
from offset_proto.types import PublicKey

__all__ = ["KINDS", "OLDER_KINDS", "Recorder", "expected_kinds"]

HANDSHAKES_MAX: Final = 512

KINDS: Final[dict[str, tuple[wire.Codec[Any], Any]]] = {
    "InitConnection": (wire.INIT_CONNECTION, InitConnection),
    "RejectConnection": (wire.REJECT_CONNECTION, RejectConnection),
    "IncomingConnection": (wire.INCOMING_CONNECTION, IncomingConnection),
    "FriendMessage": (wire.FRIEND_MESSAGE, FriendMessage),
    "IndexClientToServer": (wire.INDEX_CLIENT_TO_SERVER, IndexClientToServer),
    "IndexServerToClient": (wire.INDEX_SERVER_TO_CLIENT, IndexServerToClient),
    "IndexServerToServer": (wire.INDEX_SERVER_TO_SERVER, IndexServerToServer),
    "AppGreeting": (wire.APP_GREETING, AppGreeting),
    "AppPermissions": (wire.APP_PERMISSIONS, AppPermissions),
    "NodeReport": (wire.NODE_REPORT, NodeReport),
    "AppToAppServer": (wire.APP_TO_APP_SERVER, AppToAppServer),
    "AppServerToApp": (wire.APP_SERVER_TO_APP, AppServerToApp),
}
"""Codec and class of each kind of message."""

_FIRST_KINDS: Final = {
    ("relay", "client"): ["InitConnection"],
    ("app", "server"): ["AppGreeting", "NodeReport"],
}
OLDER_KINDS: Final = {"AppGreeting": "AppPermissions"}
"""What was recorded, before there were extensions, where another kind of message is recorded now."""

_LATER_KIND: Final = {
    ("relay", "client"): "RejectConnection",
    ("relay", "server"): "IncomingConnection",
    ("friend", "client"): "FriendMessage",
    ("friend", "server"): "FriendMessage",
    ("app", "client"): "AppToAppServer",
    ("app", "server"): "AppServerToApp",
    ("index-client", "client"): "IndexClientToServer",
    ("index-client", "server"): "IndexServerToClient",
    ("index-server", "client"): "IndexServerToServer",
    ("index-server", "server"): "IndexServerToServer",
}


def expected_kinds(link: str, sender: str, count: int) -> list[str]:
    """Kinds of the first *count* messages that *sender* ("client" or "server") sends on a link."""
    first = _FIRST_KINDS.get((link, sender), [])
    return (first + [_LATER_KIND[link, sender]] * count)[:count]


@dataclass
class _Log:
    """The file of one link."""

    link: str
    file: TextIO
    started: float = field(default_factory=time.monotonic)
    counts: dict[str, int] = field(default_factory=lambda: {"client": 0, "server": 0})

    def write(self, sender: str, data: bytes) -> None:
        """Write one message down, at once: the network may be killed at any time."""
        self.counts[sender] += 1
        kind = expected_kinds(self.link, sender, self.counts[sender])[-1]
        codec, cls = KINDS[kind]
        try:
            message = show(cls, codec.decode(data))
        except PeerError:
            message = None
        seconds = round(time.monotonic() - self.started, 6)
        line = {"seconds": seconds, "sender": sender, "kind": kind, "bytes": data.hex(), "message": message}
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()


@dataclass(eq=False)
class _Pipe:
    """One direction of a link: what *sender* says is written down and passed on."""

    log: _Log
    sender: str
    other: Connection
    on_first: Callable[[bytes], None] | None = None

    def message_received(self, message: bytes) -> None:
        self.log.write(self.sender, message)
        self.other.send(message)
        on_first, self.on_first = self.on_first, None
        if on_first is not None:
            on_first(message)

    def connection_closed(self) -> None:
        self.other.close("the other side closed")


class _Silent:
    """One direction that is passed on only: the recorder at the other end of the tunnel writes it down."""

    def __init__(self, other: Connection) -> None:
        self._other = other

    def message_received(self, message: bytes) -> None:
        self._other.send(message)

    def connection_closed(self) -> None:
        self._other.close("the other side closed")


@dataclass(frozen=True)
class _Tap:
    """A server that is listened in to."""

    recorder: "Recorder"
    kind: str
    name: str
    identity: Identity
    port: int

    def accepted(self, client: Connection) -> None:
        self.recorder.spawn(self._relay(client))

    async def _relay(self, client: Connection) -> None:
        """Reach the server as this client, and pass everything on."""
        known = self.recorder.find_identity(client.remote_public_key)
        if known is None:
            client.close("a stranger")
            return
        name, identity = known
        try:
            server = await connect(f"127.0.0.1:{self.port}", identity, self.identity.public_key, self.recorder.ticker)
        except ConnectFailed as error:
            client.close(str(error))
            return
        log = self.recorder.open_log(self.kind, (name, identity), (self.name, self.identity))
        forth = _Pipe(log, "client", server)
        if self.kind == "relay":
            forth.on_first = lambda message: self._follow(message, client, server)
        server.attach(_Pipe(log, "server", client))
        client.attach(forth)

    def _follow(self, first: bytes, client: Connection, server: Connection) -> None:
        """After the first message to a relay: a tunnel is a link of its own."""
        match wire.INIT_CONNECTION.decode(first):
            case Connect(friend) | Accept(friend) as asked:
                client.detach()
                server.detach()
                self.recorder.spawn(self._join(client, server, friend, connecting=isinstance(asked, Connect)))
            case Listen():
                pass

    async def _join(self, client: Connection, server: Connection, friend: PublicKey, *, connecting: bool) -> None:
        """Prove to be the friend to the client, and the client to the friend."""
        near, far = self.recorder.find_identity(client.remote_public_key), self.recorder.find_identity(friend)
        if near is None or far is None:
            client.close("a stranger")
            return
        ticker = self.recorder.ticker
        opening = [
            asyncio.ensure_future(open_tunnel(client, far[1], near[1].public_key, ticker)),
            asyncio.ensure_future(open_tunnel(server, near[1], friend, ticker)),
        ]
        try:
            inner_client, inner_server = await asyncio.gather(*opening)
        except ConnectFailed:
            for carrier in (client, server):
                carrier.close("no tunnel")
            return
        if connecting:
            log = self.recorder.open_log("friend", near, far)
            inner_server.attach(_Pipe(log, "server", inner_client))
            inner_client.attach(_Pipe(log, "client", inner_server))
        else:
            inner_server.attach(_Silent(inner_client))
            inner_client.attach(_Silent(inner_server))


class Recorder:
    """
    Listens in to servers, on a thread of its own.

    Args:
        directory: Where the records go; made where it is missing.
        identities: Directory with the identity files of everybody, ``NAME.ident``.
        player_of: Whose program an identity of this name belongs to, where that is known.
    """

    def __init__(
        self, directory: Path, identities: Path, player_of: Callable[[str], str | None] = lambda name: None
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._identities = identities
        self._player_of = player_of
        self._logs: list[_Log] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        started: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(started)), name="recorder")
        self._thread.start()
        started.result(10)

    def tap(self, kind: str, identity: Path, port: int) -> int:
        """
        Stand before a server.

        Args:
            kind: Of its links: "relay", "app", "index-client" or "index-server".
            identity: The server's.
            port: Where it listens, or is going to, on loopback.

        Returns:
            The port that the clients are to be told.
        """
        assert self._loop is not None
        tap = _Tap(self, kind, identity.stem, Identity(IDENTITY.load(identity).private_key), port)
        return asyncio.run_coroutine_threadsafe(self._listen(tap), self._loop).result(10)

    def close(self) -> None:
        """Stop to listen, and close the files."""
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        for log in self._logs:
            log.file.close()

    def spawn(self, work: Any) -> None:
        """Run *work* for as long as the recorder runs."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def find_identity(self, public_key: PublicKey) -> tuple[str, Identity] | None:
        """Name and keys of one of the network; None of a stranger."""
        for path in self._identities.glob("*.ident"):
            identity = Identity(IDENTITY.load(path).private_key)
            if identity.public_key == public_key:
                return path.stem, identity
        return None

    def open_log(self, link: str, client: tuple[str, Identity], server: tuple[str, Identity]) -> _Log:
        """The file of a new link."""
        number = len(self._logs)
        path = self._directory / f"{number:04}-{link}-{client[0]}-{server[0]}.jsonl"
        log = _Log(link, path.open("x"))
        ends = {
            role: {"name": name, "publicKey": identity.public_key.hex(), "player": self._player_of(name)}
            for role, (name, identity) in (("client", client), ("server", server))
        }
        log.file.write(json.dumps({"link": link, **ends}) + "\n")
        self._logs.append(log)
        return log

    async def _run(self, started: "Future[None]") -> None:
        self._loop, self._stop, self.ticker = asyncio.get_running_loop(), asyncio.Event(), Ticker()
        async with contextlib.AsyncExitStack() as self._servers:
            started.set_result(None)
            await self._stop.wait()
            for task in self._tasks:
                task.cancel()

    async def _listen(self, tap: _Tap) -> int:
        listening = serve("127.0.0.1", 0, tap.identity, self.ticker, tap.accepted, handshakes_max=HANDSHAKES_MAX)
        return await self._servers.enter_async_context(listening)
