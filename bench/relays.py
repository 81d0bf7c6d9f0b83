"""A relay: messages through one tunnel, and listeners that do nothing."""

import asyncio
import os
import statistics
import time
from dataclasses import dataclass, field

from bench.processes import cpu_seconds, resident_bytes
from interop.network import Network
from offset_crypto.aio import Connection, Ticker, connect
from offset_crypto.identity import Identity
from offset_proto import wire
from offset_proto.files import TICKET
from offset_proto.messages.relay import Accept, Connect, IncomingConnection, Listen
from offset_proto.types import PrivateKey

__all__ = ["ListenerRun", "TunnelRun", "hold_listeners", "run_tunnel"]

MESSAGE_BYTES = 1000
WINDOW = 64
"""Messages under way in the throughput run."""


@dataclass(frozen=True)
class TunnelRun:
    """Messages through one tunnel."""

    messages_per_second: float
    relay_cpu_us: float
    round_trip_ms: float


@dataclass(frozen=True)
class ListenerRun:
    """Listeners that were set up and stay."""

    listeners: int
    per_second: float
    bytes_each: float
    bytes_each_later: float


@dataclass(eq=False)
class _End:
    connection: Connection
    messages: "asyncio.Queue[bytes]" = field(default_factory=asyncio.Queue)

    def message_received(self, message: bytes) -> None:
        self.messages.put_nowait(message)

    def connection_closed(self) -> None:
        """The run notices by waiting too long."""


def _stranger() -> Identity:
    return Identity(PrivateKey(os.urandom(32)))


async def _end(network: Network, identity: Identity, ticker: Ticker, first: bytes) -> _End:
    ticket = TICKET.load(network.path("relay.ticket"))
    connection = await connect(ticket.address, identity, ticket.public_key, ticker)
    connection.send(first)
    end = _End(connection)
    connection.attach(end)
    return end


def _pid(network: Network) -> int:
    process = network.servers["relay"].process
    assert process is not None
    return process.pid


async def run_tunnel(network: Network, messages: int) -> TunnelRun:
    """Echo *messages* messages of 1,000 bytes through a tunnel, first one at a time, then with a window."""
    ticker, listener, connector = Ticker(), _stranger(), _stranger()
    listening = await _end(network, listener, ticker, wire.INIT_CONNECTION.encode(Listen()))
    one = await _end(network, connector, ticker, wire.INIT_CONNECTION.encode(Connect(listener.public_key)))
    notice: IncomingConnection = wire.INCOMING_CONNECTION.decode(await listening.messages.get())
    other = await _end(network, listener, ticker, wire.INIT_CONNECTION.encode(Accept(notice.public_key)))
    data = bytes(MESSAGE_BYTES)
    trips = []
    for _ in range(messages // 10):
        started = time.perf_counter()
        one.connection.send(data)
        other.connection.send(await other.messages.get())
        await one.messages.get()
        trips.append(time.perf_counter() - started)
    places = asyncio.Semaphore(WINDOW)

    async def receive() -> None:
        for _ in range(messages):
            await other.messages.get()
            places.release()

    before, started = cpu_seconds(_pid(network)), time.perf_counter()
    receiving = asyncio.ensure_future(receive())
    for _ in range(messages):
        await places.acquire()
        one.connection.send(data)
    await receiving
    seconds, cpu = time.perf_counter() - started, cpu_seconds(_pid(network)) - before
    for end in (listening, one, other):
        end.connection.close("done")
    return TunnelRun(messages / seconds, cpu / messages * 1e6, statistics.median(trips) * 1000)


async def hold_listeners(network: Network, count: int, seconds: float) -> ListenerRun:
    """Set *count* listeners up, 64 at a time, and hold them for so long."""
    ticker, places, ends = Ticker(), asyncio.Semaphore(64), []
    hello = wire.INIT_CONNECTION.encode(Listen())

    async def set_up() -> None:
        async with places:
            ends.append(await _end(network, _stranger(), ticker, hello))

    empty, started = resident_bytes(_pid(network)), time.perf_counter()
    await asyncio.gather(*(set_up() for _ in range(count)))
    took = time.perf_counter() - started
    fresh = resident_bytes(_pid(network))
    await asyncio.sleep(seconds)
    later = resident_bytes(_pid(network))
    alive = sum(not end.connection.is_closed for end in ends)
    for end in ends:
        end.connection.close("done")
    return ListenerRun(alive, count / took, (fresh - empty) / count, (later - empty) / count)
