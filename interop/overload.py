"""
Servers under what no honest peer would do: how much memory they take, and how honest users fare meanwhile.

    python -m interop.overload [--only NAME]

Each attack runs against a network of real processes while payments go on. Printed are the resident memory of the
attacked process before, at most and after, and how long payments took, from invoice to acknowledged receipt.
"""

import asyncio
import itertools
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click

from interop.load import App, run_payments
from interop.network import Network, NodeSpec
from offset_crypto.aio import Connection, Ticker, connect
from offset_crypto.identity import Identity
from offset_crypto.signed import mutations_update_buffer
from offset_proto import wire
from offset_proto.files import IDENTITY, TICKET
from offset_proto.messages.index import MutationsUpdate, TimeHash, UpdateFriendCurrency
from offset_proto.messages.payment import Rate
from offset_proto.messages.relay import Listen
from offset_proto.types import Currency, PrivateKey, PublicKey, RandValue, Signature, Uid

__all__ = ["main"]

PAYMENTS = 40


@dataclass
class _Peer:
    """A link that takes what comes and keeps the last of it."""

    connection: Connection
    last: bytes = b""
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    def message_received(self, message: bytes) -> None:
        self.last = message
        self.heard.set()

    def connection_closed(self) -> None:
        self.heard.set()


def _stranger() -> Identity:
    return Identity(PrivateKey(os.urandom(32)))


async def _link(network: Network, ticket: str, identity: Identity) -> Connection:
    server = TICKET.load(network.path(ticket))
    return await connect(server.address, identity, server.public_key, Ticker())


# Attacks: each is under way for the length of its ``with`` block.


@asynccontextmanager
async def _silent_connections(network: Network) -> AsyncIterator[None]:
    """1,000 TCP connections to the relay that never say anything; those that are closed come again."""
    port = network.ports["relay"]

    async def hold() -> None:
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                while await reader.read(1000):
                    pass
                writer.close()
            except OSError:
                await asyncio.sleep(0.5)

    holding = [asyncio.ensure_future(hold()) for _ in range(1000)]
    await asyncio.sleep(1)
    yield
    for task in holding:
        task.cancel()
    await asyncio.gather(*holding, return_exceptions=True)


@asynccontextmanager
async def _idle_listeners(network: Network) -> AsyncIterator[None]:
    """2,000 authenticated listeners at the relay that do nothing more."""
    free = asyncio.Semaphore(50)

    async def listen() -> Connection:
        async with free:
            connection = await _link(network, "relay.ticket", _stranger())
            connection.send(wire.INIT_CONNECTION.encode(Listen()))
            connection.attach(_Peer(connection))
            return connection

    listening = await asyncio.gather(*[listen() for _ in range(2000)])
    yield
    for connection in listening:
        connection.close()


@asynccontextmanager
async def _deaf_app(network: Network) -> AsyncIterator[None]:
    """Three apps of the mediator that never read, while it reports every payment to them."""
    identity = Identity(IDENTITY.load(network.path("B-app.ident")).private_key)
    apps = [await _link(network, "B.ticket", identity) for _ in range(3)]  # no receiver: not read
    yield
    for app in apps:
        app.close()


@asynccontextmanager
async def _index_flood(network: Network) -> AsyncIterator[None]:
    """Ten strangers that declare friendships as fast as they can, a thousand in each update."""

    async def flood() -> None:
        identity = _stranger()
        connection = await _link(network, "index.ticket", identity)
        peer = _Peer(connection)
        connection.attach(peer)
        session, counter = Uid(os.urandom(16)), 0
        while not connection.is_closed:
            await peer.heard.wait()
            message = wire.INDEX_SERVER_TO_CLIENT.decode(peer.last)
            assert isinstance(message, TimeHash)
            update = _update(identity, message, session, counter)
            connection.send(wire.INDEX_CLIENT_TO_SERVER.encode(update))
            counter += 1
            await asyncio.sleep(0.05)

    flooding = [asyncio.ensure_future(flood()) for _ in range(10)]
    yield
    for task in flooding:
        task.cancel()
    await asyncio.gather(*flooding, return_exceptions=True)


def _update(identity: Identity, now: TimeHash, session: Uid, counter: int) -> MutationsUpdate:
    friends = [PublicKey(os.urandom(32)) for _ in range(1000)]
    mutations = tuple(UpdateFriendCurrency(friend, Currency("FST"), 1000, Rate(0, 0)) for friend in friends)
    unsigned = MutationsUpdate(
        identity.public_key, mutations, now.hash, session, counter, RandValue(os.urandom(16)), Signature.zero()
    )
    signature = identity.sign(mutations_update_buffer(unsigned))
    return MutationsUpdate(identity.public_key, mutations, now.hash, session, counter, unsigned.rand_nonce, signature)


@asynccontextmanager
async def _huge_frames(network: Network) -> AsyncIterator[None]:
    """A hundred connections at a time that announce a frame of 2^63 bytes and send what they can."""
    port = network.ports["relay"]

    async def announce() -> None:
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write((2**63).to_bytes(8, "big") + bytes(100_000))
                while await reader.read(1000):
                    pass
                writer.close()
            except OSError:
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.05)

    announcing = [asyncio.ensure_future(announce()) for _ in range(100)]
    yield
    for task in announcing:
        task.cancel()
    await asyncio.gather(*announcing, return_exceptions=True)


@asynccontextmanager
async def _nothing(network: Network) -> AsyncIterator[None]:
    """No attack, for comparison."""
    yield


ATTACKS = {
    "none": (_nothing, "relay"),
    "1,000 silent connections": (_silent_connections, "relay"),
    "2,000 idle listeners": (_idle_listeners, "relay"),
    "frames of 2^63 bytes": (_huge_frames, "relay"),
    "apps that never read": (_deaf_app, "B"),
    "an index flooded with updates": (_index_flood, "index"),
}
"""Name: what happens, and which process is watched."""


# Measuring.


def _resident_mib(network: Network, server: str) -> float:
    process = network.servers[server].process
    assert process is not None
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"{server} has ended")


async def _watch(network: Network, server: str, most: list[float]) -> None:
    while True:
        most[0] = max(most[0], _resident_mib(network, server))
        await asyncio.sleep(0.2)


async def _pay_one_by_one(network: Network) -> list[float]:
    """Milliseconds of each payment."""
    buyer, seller = (App(network.path(f"{name}-app.ident"), network.path(f"{name}.ticket")) for name in ("A", "C"))
    ends = [time.monotonic()]
    await run_payments(
        buyer, seller, "FST", 1, count=PAYMENTS, at_once=1, on_paid=lambda done: ends.append(time.monotonic())
    )
    return [1000 * (after - before) for before, after in itertools.pairwise(ends)]


async def _measure(network: Network, name: str) -> str:
    attack, server = ATTACKS[name]
    before = most = _resident_mib(network, server)
    peak = [most]
    async with attack(network):
        watching = asyncio.ensure_future(_watch(network, server, peak))
        took = await _pay_one_by_one(network)
        watching.cancel()
    await asyncio.sleep(2)
    after = _resident_mib(network, server)
    middle, worst = statistics.median(took), max(took)
    memory = f"{before:.0f} / {peak[0]:.0f} / {after:.0f} MiB"
    return f"| {name} | {server} | {memory} | {middle:.0f} ms | {worst:.0f} ms |"


def _build(network: Network) -> None:
    network.add_relay("relay")
    network.add_index_servers(["index"])
    for name in "ABC":
        network.add_node(NodeSpec(name, "relay", "index"))
    for pair in (("A", "B"), ("B", "C")):
        network.befriend(*pair, "FST")
        network.set_limit(*pair[::-1], "FST", 1_000_000)


@click.command()
@click.option("--only", default="", help="Attacks whose name contains this.")
def main(only: str) -> None:
    """Attack a network of real processes while payments go on."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # the processes end as well
    chosen = [name for name in ATTACKS if only in name]
    with tempfile.TemporaryDirectory(prefix="offset-overload-") as directory, Network(Path(directory)) as network:
        _build(network)
        click.echo("| attack | process | memory before / at most / after | payment, median | payment, worst |")
        click.echo("|---|---|---|---|---|")
        for name in chosen:
            click.echo(asyncio.run(_measure(network, name)))


if __name__ == "__main__":
    main()
