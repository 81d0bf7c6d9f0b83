"""The index server on sockets: whom it connects to, and how often."""

import asyncio
import contextlib
import socket
from dataclasses import replace

from offset_crypto.aio import Ticker, connect, serve
from offset_crypto.identity import Identity
from offset_index.metrics import show_index
from offset_index.server import initiates
from offset_index.service import IndexService
from offset_proto import wire
from offset_proto.messages.index import MutationsUpdate, RequestRoutes, UpdateFriendCurrency
from offset_proto.messages.payment import Rate, RelayAddress
from offset_proto.types import Currency, HashResult, NetAddress, PrivateKey, PublicKey, RandValue, Signature, Uid

KEYS = [Identity(PrivateKey(bytes([value]) * 32)) for value in range(1, 9)]
OTHER = KEYS[0]
OWN = next(identity for identity in KEYS[1:] if initiates(identity.public_key, OTHER.public_key))


SIGNATURE = Signature(bytes(64))
READ_BYTES = 256 * 1024  # that asyncio reads from a socket at once
MUTATIONS = tuple(
    UpdateFriendCurrency(PublicKey(number.to_bytes(32, "big")), Currency("FST"), 1, Rate(0, 0))
    for number in range(1000)
)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _attempts_at(remote: Identity, ticks: int) -> int:
    """How often a server connects, in so many ticks, to one that ends each link as soon as it is open."""
    accepted = 0

    def refuse(connection) -> None:
        nonlocal accepted
        accepted += 1
        connection.close()

    async def main() -> None:
        ticker = Ticker(0.05)  # eight ticks are the time limit of a handshake, also on a machine that is busy
        async with serve("127.0.0.1", 0, remote, ticker, refuse, handshakes_max=8) as port:
            trusted = {remote.public_key: RelayAddress(remote.public_key, NetAddress(f"127.0.0.1:{port}"))}
            service = IndexService(OWN, trusted, ticker)
            listening = ("127.0.0.1", _free_port()), ("127.0.0.1", _free_port())
            running = asyncio.ensure_future(service.run(*listening))
            passed = asyncio.Event()
            left = ticks

            def count() -> None:
                nonlocal left
                left -= 1
                if left == 0:
                    passed.set()

            ticker.subscribe(count)
            await passed.wait()
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running

    asyncio.run(main())
    return accepted


def test_the_own_ticket_is_ignored():
    """D68: a server whose own ticket lies among the trusted ones does not talk to itself."""
    assert _attempts_at(OWN, 20) == 0


def test_a_server_that_refuses_is_not_stormed():
    """D68: 8 ticks of pause after a link that lived shorter."""
    assert 1 <= _attempts_at(OTHER, 40) <= 6


def test_a_flood_of_declarations_is_slowed_down():
    """A node may declare all its friends at once, and then a number in each tick; what comes beyond is not read yet."""

    async def main() -> None:
        ticker, node = Ticker(3600), Identity(PrivateKey(b"\x66" * 32))
        service = IndexService(OWN, {}, ticker)
        client, server = ("127.0.0.1", _free_port()), ("127.0.0.1", _free_port())
        running = asyncio.ensure_future(service.run(client, server))
        await asyncio.sleep(0.1)
        connection = await connect(f"127.0.0.1:{client[1]}", node, OWN.public_key, ticker)
        try:
            nonce = RandValue(bytes(16))
            update = MutationsUpdate(
                node.public_key, MUTATIONS, HashResult(bytes(32)), Uid(bytes(16)), 0, nonce, SIGNATURE
            )
            message = wire.INDEX_CLIENT_TO_SERVER.encode(update)
            for _ in range(30):
                connection.send(message)
            one_read = READ_BYTES // len(message) + 2  # with the pieces of messages at both ends of it
            taken: asyncio.Queue[MutationsUpdate] = asyncio.Queue()
            receive = service.engine.receive_update
            service.engine.receive_update = lambda update: taken.put_nowait(update) or receive(update)

            async def take(count: int) -> None:
                async with asyncio.timeout(10):
                    for _ in range(count):
                        await taken.get()

            await take(17)  # of 1,000 mutations each, where 16,384 are allowed
            await asyncio.sleep(0.2)
            ahead = taken.qsize()  # what came in one read with the last of them
            assert ahead <= one_read < 10
            await take(ahead)
            for _ in range(ahead + 3):
                service._tick()
            await take(1)
            await asyncio.sleep(0.2)
            assert taken.qsize() <= one_read
        finally:
            running.cancel()
            await asyncio.wait([running])
            await asyncio.sleep(0.1)
            connection._transport.abort()  # much of it was never read
            await asyncio.sleep(0.1)

    asyncio.run(main())


def test_requests_that_wait_are_shown():
    """Of all nodes together, before any of them has had its turn."""
    service = IndexService(OWN, {}, Ticker())
    status = show_index(service)
    for client in (object(), object()):
        service.queue_search(client)
    assert {measure.name: value for measure, value in status.read()}["offset_index_requests_waiting"] == 2


def test_what_the_pages_show():
    """Neighbours that are missing, what became of updates, and searches; a missing neighbour is named."""

    async def main() -> None:
        ticker, node = Ticker(), Identity(PrivateKey(b"\x66" * 32))
        trusted = {OTHER.public_key: RelayAddress(OTHER.public_key, NetAddress("127.0.0.1:1"))}
        service = IndexService(OWN, trusted, ticker)
        status = show_index(service)
        assert status.missing() == ["the index server does not listen yet"]
        client, server = ("127.0.0.1", _free_port()), ("127.0.0.1", _free_port())
        running = asyncio.ensure_future(service.run(client, server))
        await asyncio.sleep(0.1)
        assert status.missing() == ["index server 127.0.0.1:1: not connected"]
        connection = await connect(f"127.0.0.1:{client[1]}", node, OWN.public_key, ticker)
        try:
            nonce, stranger = RandValue(bytes(16)), PublicKey(bytes(32))
            update = MutationsUpdate(
                node.public_key, MUTATIONS, HashResult(bytes(32)), Uid(bytes(16)), 0, nonce, SIGNATURE
            )
            connection.send(wire.INDEX_CLIENT_TO_SERVER.encode(update))
            request = RequestRoutes(Uid(bytes(16)), Currency("FST"), 1, node.public_key, stranger, None)
            oversized = replace(request, currency=str.__new__(Currency, "F" * 40))
            connection.send(wire.INDEX_CLIENT_TO_SERVER.encode(oversized))
            connection.send(wire.INDEX_CLIENT_TO_SERVER.encode(request))
            async with asyncio.timeout(30):
                while service.counts.searches.count == 0:  # noqa: ASYNC110  the service tells nobody
                    await asyncio.sleep(0.01)
            figures = {measure.name: value for measure, value in status.read()}
            assert figures["offset_index_clients"] == 1
            assert figures["offset_index_neighbours"] == {"connected": 0, "missing": 1}
            ends = figures["offset_index_updates_total"]
            assert {end: count for end, count in ends.items() if count} == {"not_recent": 1}
            assert figures["offset_index_oversized_messages_total"] == 1
            assert figures["offset_index_fruitless_searches_total"] == 1
        finally:
            connection.close()
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running

    asyncio.run(main())
