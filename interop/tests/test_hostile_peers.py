"""Peers that finish the handshake and then misbehave: their link is closed, and the network goes on paying."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from interop.network import Network
from offset_crypto.aio import ConnectFailed, Connection, Ticker, connect
from offset_crypto.identity import Identity
from offset_proto import wire
from offset_proto.files import APP_TICKET, IDENTITY, TICKET, AppTicket
from offset_proto.messages.app import AppPermissions, AppToAppServer, RemoveRelay
from offset_proto.messages.index import RequestRoutes
from offset_proto.messages.relay import Accept, Connect, InitConnection, Listen
from offset_proto.types import Currency, PrivateKey, PublicKey, Uid

STRANGER = Identity(PrivateKey(b"\x07" * 32))
SECONDS = 40
_count = itertools.count()


class _Peer:
    """The hostile end of a link: says what it likes, and waits for the end."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.received: list[bytes] = []
        self._heard = asyncio.Event()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        connection.attach(self)

    def message_received(self, message: bytes) -> None:
        """Whatever it is."""
        self.received.append(message)
        self._heard.set()

    async def hear(self, count: int) -> None:
        """Wait for so many messages in all."""
        while len(self.received) < count:
            self._heard.clear()
            await self._heard.wait()

    def connection_closed(self) -> None:
        """The other side has had enough."""
        self.closed.set_result(None)


def _port(network: Network, server: str) -> int:
    return network.ports.get(server) or network.ports[f"{server}-client"]


@asynccontextmanager
async def _peer(network: Network, server: str, identity: Identity = STRANGER) -> AsyncIterator[_Peer]:
    ticker = Ticker()
    key = Identity(IDENTITY.load(network.path(f"{server}.ident")).private_key).public_key
    peer = _Peer(await connect(f"127.0.0.1:{_port(network, server)}", identity, key, ticker))
    try:
        yield peer
    finally:
        peer.connection.close()
        await asyncio.sleep(0)


async def _is_closed(network: Network, server: str, messages: list[bytes], identity: Identity = STRANGER) -> None:
    async with asyncio.timeout(SECONDS), _peer(network, server, identity) as peer:
        for message in messages:
            peer.connection.send(message)
        await peer.closed


def _app(network: Network, node: str) -> Identity:
    return Identity(IDENTITY.load(network.path(f"{node}-app.ident")).private_key)


def _process_ids(network: Network) -> dict[str, int | None]:
    """Of the servers that run; None for one that ended."""
    running = {name: server.process for name, server in network.servers.items()}
    return {name: process.pid if process and process.poll() is None else None for name, process in running.items()}


@pytest.fixture
def goes_on(chain: Network) -> Iterator[None]:
    """After the test a payment succeeds, in every process that was there before."""
    before = _process_ids(chain)
    yield
    assert chain.pay("C", "A", "FST", 2, f"hostile{next(_count)}") == "Receipt is valid!"
    assert _process_ids(chain) == before


# Announces nine segments, of which not even the first is there: decoding it could end the process.
MISSING_SEGMENTS = bytes.fromhex(
    "0108500101000040011004ff82a2f2c91c18dd810365ae468e4fd7aeab8a9fa5908dff8c9440ae1661b7d11444"
)
GARBAGE = [MISSING_SEGMENTS, b"\xff" * 100, os.urandom(3000), b"\x10\x00\x00\x00" * 1000, bytes(200_000)]


@pytest.mark.usefixtures("goes_on")
@pytest.mark.parametrize("server", ["relay0", "index0", "B"])
def test_garbage_inside_a_link(chain: Network, server: str) -> None:
    """It decodes to nothing, or to nothing that is allowed first."""

    async def scenario() -> None:
        identity = _app(chain, "B") if server == "B" else STRANGER
        for garbage in GARBAGE:
            await _is_closed(chain, server, [garbage], identity)

    asyncio.run(scenario())


@pytest.mark.usefixtures("goes_on")
def test_apps(chain: Network) -> None:
    """One without a ticket; many that leave at once (D52); one that asks for what it may not, twice (D51)."""

    async def scenario() -> None:
        await _is_closed(chain, "B", [])
        app = _app(chain, "B")
        for _ in range(30):
            async with _peer(chain, "B", app):
                pass
        forbidden = Identity(PrivateKey(os.urandom(32)))
        ticket = AppTicket(forbidden.public_key, AppPermissions(routes=True, buyer=True, seller=True, config=False))
        APP_TICKET.save(chain.path("B-trusted") / "forbidden.ticket", ticket)
        request = wire.APP_TO_APP_SERVER.encode(AppToAppServer(Uid(bytes(16)), RemoveRelay(PublicKey(bytes(32)))))
        await _is_closed(chain, "B", [request, request], forbidden)

    asyncio.run(scenario())


@pytest.mark.usefixtures("goes_on")
def test_relay_clients(chain: Network) -> None:
    """Nobody listens, nobody waits, a second listener, and more than may be pending (D16-D19)."""
    node = TICKET.load(chain.path("A.ticket")).public_key

    async def scenario() -> None:
        first: list[InitConnection] = [Connect(PublicKey(b"\x09" * 32)), Accept(node)]
        for message in first:
            await _is_closed(chain, "relay0", [wire.INIT_CONNECTION.encode(message)])
        async with _peer(chain, "relay0") as listening:
            listening.connection.send(wire.INIT_CONNECTION.encode(Listen()))
            await asyncio.sleep(0.2)
            await _is_closed(chain, "relay0", [wire.INIT_CONNECTION.encode(Listen())])
            connect_here = wire.INIT_CONNECTION.encode(Connect(STRANGER.public_key))
            await _is_closed(chain, "relay0", [connect_here, *[os.urandom(200_000)] * 20])
            assert listening.received
        # A stranger at the door of a node, many times.
        knock = wire.INIT_CONNECTION.encode(Connect(node))
        await asyncio.gather(
            *[_is_closed(chain, "relay0", [knock], Identity(PrivateKey(os.urandom(32)))) for _ in range(40)]
        )

    asyncio.run(scenario())


@pytest.mark.usefixtures("goes_on")
def test_index_clients(chain: Network) -> None:
    """Very many route requests are answered or the link is closed; a stranger is no server."""
    nodes = [TICKET.load(chain.path(f"{name}.ticket")).public_key for name in ("C", "A")]
    requests = [
        wire.INDEX_CLIENT_TO_SERVER.encode(
            RequestRoutes(Uid(number.to_bytes(16, "big")), Currency("FST"), number, nodes[0], nodes[1], None)
        )
        for number in range(2000)
    ]

    async def scenario() -> None:
        async with asyncio.timeout(SECONDS), _peer(chain, "index0") as peer:
            for request in requests:
                peer.connection.send(request)
            answered = asyncio.ensure_future(peer.hear(len(requests)))
            await asyncio.wait([peer.closed, answered], return_when=asyncio.FIRST_COMPLETED)
            answered.cancel()
        with pytest.raises(ConnectFailed):
            await connect(f"127.0.0.1:{_port(chain, 'index0')}", STRANGER, nodes[0], Ticker())

    asyncio.run(scenario())
