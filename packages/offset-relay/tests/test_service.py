"""The relay on sockets: real links on loopback."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from random import Random

import pytest

from offset_crypto.aio import ConnectFailed, Connection, Ticker, connect, open_tunnel
from offset_crypto.identity import Identity
from offset_crypto.keepalive import Keepalive
from offset_proto import wire
from offset_proto.messages.relay import Accept, Connect, InitConnection, Listen
from offset_proto.types import PrivateKey
from offset_relay.metrics import show_relay
from offset_relay.service import RelayService

RELAY, LISTENER, CONNECTOR = (Identity(PrivateKey(bytes([value]) * 32)) for value in (1, 2, 3))


class _Inbox:
    """Receives the messages of one link; None is its end."""

    def __init__(self, connection: Connection) -> None:
        self.messages: asyncio.Queue[bytes | None] = asyncio.Queue()
        connection.attach(self)

    def message_received(self, message: bytes) -> None:
        """A message."""
        self.messages.put_nowait(message)

    def connection_closed(self) -> None:
        """The end."""
        self.messages.put_nowait(None)


@contextlib.asynccontextmanager
async def _running_relay() -> AsyncIterator[tuple[str, Ticker]]:
    async with _observed_relay() as (address, ticker, _, _):
        yield address, ticker


@contextlib.asynccontextmanager
async def _observed_relay() -> AsyncIterator[tuple[str, Ticker, RelayService, "asyncio.Future[None]"]]:
    """The same, with the relay and its end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ticker = Ticker(0.02)
    relay = RelayService(RELAY, ticker)
    running = asyncio.ensure_future(relay.run(("127.0.0.1", port)))
    await asyncio.sleep(0.05)
    try:
        yield f"127.0.0.1:{port}", ticker, relay, running
    finally:
        running.cancel()
        await asyncio.wait([running])
        await asyncio.sleep(0.05)  # both ends of each link close


async def _say(address: str, ticker: Ticker, identity: Identity, message: InitConnection) -> Connection:
    connection = await connect(address, identity, RELAY.public_key, ticker)
    connection.send(wire.INIT_CONNECTION.encode(message))
    return connection


async def _open_tunnel(address: str, ticker: Ticker) -> tuple[Connection, Connection]:
    """The connector's and the listener's end of a tunnel, with the listening link beside it."""
    notices = _Inbox(await _say(address, ticker, LISTENER, Listen()))
    await asyncio.sleep(0.05)
    carrier = await _say(address, ticker, CONNECTOR, Connect(LISTENER.public_key))
    dialing = asyncio.ensure_future(open_tunnel(carrier, CONNECTOR, LISTENER.public_key, ticker))
    notice = await notices.messages.get()
    assert notice is not None
    assert wire.INCOMING_CONNECTION.decode(notice).public_key == CONNECTOR.public_key
    accepted = await _say(address, ticker, LISTENER, Accept(CONNECTOR.public_key))
    answering = open_tunnel(accepted, LISTENER, CONNECTOR.public_key, ticker)
    connector, listener = await asyncio.gather(dialing, answering)
    return connector, listener


def test_a_tunnel_carries_messages_both_ways_and_ends_for_both() -> None:
    """The two authenticate each other inside; the relay sees sealed messages only."""

    async def scenario() -> None:
        async with _running_relay() as (address, ticker), asyncio.timeout(10):
            connector, listener = await _open_tunnel(address, ticker)
            at_connector, at_listener = _Inbox(connector), _Inbox(listener)
            connector.send(b"there" * 50_000)
            listener.send(b"back")
            assert await at_listener.messages.get() == b"there" * 50_000
            assert await at_connector.messages.get() == b"back"
            connector.close()
            assert await at_listener.messages.get() is None

    asyncio.run(scenario())


def test_only_the_ends_of_an_idle_tunnel_keep_it_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their signs of life pass over the links that carry the tunnel, which need none of their own."""
    senders: set[int] = set()
    tick = Keepalive.tick

    def counted(keepalive: Keepalive, *, listening: bool = True) -> bytes | None:
        sign_of_life = tick(keepalive, listening=listening)
        if sign_of_life is not None:
            senders.add(id(keepalive))
        return sign_of_life

    async def scenario() -> None:
        async with _running_relay() as (address, ticker), asyncio.timeout(10):
            inboxes = [_Inbox(end) for end in await _open_tunnel(address, ticker)]
            senders.clear()
            await asyncio.sleep(50 * ticker.seconds)
            assert all(inbox.messages.empty() for inbox in inboxes)
            assert len(senders) == 4  # the two ends of the tunnel, and those of the listening link

    monkeypatch.setattr(Keepalive, "tick", counted)
    asyncio.run(scenario())


def test_a_wrong_message_closes_that_link_only() -> None:
    """Garbage first, garbage on a listen link; the others go on."""

    async def scenario() -> None:
        async with _running_relay() as (address, ticker), asyncio.timeout(10):
            kept = _Inbox(await _say(address, ticker, LISTENER, Listen()))
            await asyncio.sleep(0.05)
            broken = await connect(address, CONNECTOR, RELAY.public_key, ticker)
            inbox = _Inbox(broken)
            broken.send(b"garbage")
            assert await inbox.messages.get() is None
            listening = await _say(address, ticker, CONNECTOR, Listen())
            inbox = _Inbox(listening)
            listening.send(b"\xff" * 64)
            assert await inbox.messages.get() is None
            connector = await _say(address, ticker, CONNECTOR, Connect(LISTENER.public_key))
            assert await kept.messages.get() is not None
            connector.close()

    asyncio.run(scenario())


def test_a_link_that_says_nothing_is_closed() -> None:
    """D15, on sockets."""

    async def scenario() -> None:
        async with _running_relay() as (address, ticker), asyncio.timeout(10):
            silent = _Inbox(await connect(address, CONNECTOR, RELAY.public_key, ticker))
            assert await silent.messages.get() is None

    asyncio.run(scenario())


def test_what_the_pages_show() -> None:
    """Listeners, tunnels and what passes through them, and why links were refused."""

    async def scenario() -> None:
        async with _observed_relay() as (address, ticker, relay, _), asyncio.timeout(10):
            connector, listener = await _open_tunnel(address, ticker)
            at_listener = _Inbox(listener)
            refused = _Inbox(await _say(address, ticker, CONNECTOR, Connect(CONNECTOR.public_key)))
            assert await refused.messages.get() is None
            status = show_relay(relay)
            figures = {measure.name: value for measure, value in status.read()}
            assert status.missing() == []
            assert figures["offset_relay_listeners"] == figures["offset_relay_tunnels"] == 1
            assert figures["offset_relay_half_tunnels"] == 0
            reasons = figures["offset_relay_links_refused_total"]
            assert isinstance(reasons, dict)
            assert {why: count for why, count in reasons.items() if count} == {"no_listener": 1}
            before = figures["offset_relay_forwarded_bytes_total"]
            message = Random(5).randbytes(10_000)  # zeros would be packed to nothing
            connector.send(message)
            assert await at_listener.messages.get() == message
            figures = {measure.name: value for measure, value in status.read()}
            after = figures["offset_relay_forwarded_bytes_total"]
            assert isinstance(before, int)
            assert isinstance(after, int)
            assert 10_000 <= after - before <= 12_000  # sealed and padded
            connector.close()
            assert await at_listener.messages.get() is None
            while relay.tunnels:  # noqa: ASYNC110  the relay tells nobody
                await asyncio.sleep(0.01)

    asyncio.run(scenario())


def test_a_relay_ends_in_order() -> None:
    """No new connections; tunnels go on until the limit; listeners are closed last; then the relay has ended."""

    async def scenario() -> None:
        async with _observed_relay() as (address, ticker, relay, running), asyncio.timeout(20):
            connector, listener = await _open_tunnel(address, ticker)
            ends: list[str] = []
            kept = _Inbox(await _say(address, ticker, CONNECTOR, Listen()))
            waiting = _Inbox(await _say(address, ticker, RELAY, Connect(CONNECTOR.public_key)))
            assert await kept.messages.get() is not None
            at_listener = _Inbox(listener)
            relay.end(1.0)
            assert await waiting.messages.get() is None
            assert relay.missing() == ["the relay is about to end"]
            with pytest.raises(ConnectFailed):
                await connect(address, RELAY, RELAY.public_key, ticker)
            connector.send(b"still here")
            assert await at_listener.messages.get() == b"still here"
            assert not running.done()

            async def note(inbox: _Inbox, name: str) -> None:
                assert await inbox.messages.get() is None
                ends.append(name)

            await asyncio.gather(note(at_listener, "tunnel"), note(kept, "listener"))
            assert ends == ["tunnel", "listener"]
            await running
            connector.close()

    asyncio.run(scenario())


def test_a_relay_without_tunnels_ends_at_once() -> None:
    """Nobody has to wait for the limit; so it is when the last tunnel closes before it."""

    async def scenario() -> None:
        async with _observed_relay() as (address, ticker, relay, running), asyncio.timeout(20):
            connector, listener = await _open_tunnel(address, ticker)
            relay.end(3600)
            _Inbox(listener)
            connector.close()
            await running
        async with _observed_relay() as (address, ticker, relay, running), asyncio.timeout(20):
            _Inbox(await _say(address, ticker, LISTENER, Listen()))
            relay.end(3600)
            await running

    asyncio.run(scenario())
