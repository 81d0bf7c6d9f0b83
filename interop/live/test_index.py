"""Index servers of both kinds in one federation: three in a row, both directions of connecting, expiry."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import cmp_to_key
from pathlib import Path

import pytest

from interop.live.payments import has_route, wait_for_route
from interop.live.watching import WatchedNetwork
from interop.network import Cast, Network, NodeSpec
from interop.programs import Implementation, wait_until
from interop.ready import OURS_READY
from offset_crypto.aio import Connection, Ticker, connect
from offset_crypto.hashing import is_lower
from offset_crypto.identity import Identity
from offset_crypto.signed import mutations_update_buffer
from offset_proto import wire
from offset_proto.files import IDENTITY, TICKET, IdentityFile
from offset_proto.messages.index import (
    MutationsUpdate,
    RequestRoutes,
    ResponseRoutes,
    TimeHash,
    UpdateFriendCurrency,
)
from offset_proto.messages.payment import Rate
from offset_proto.types import (
    Currency,
    HashResult,
    PrivateKey,
    PublicKey,
    RandValue,
    Signature,
    Uid,
)

NAMES = ["index0", "index1", "index2"]
EXPIRY_SECONDS = 60.0


def _make_identities(network: Network, *, ascending: bool) -> None:
    """The higher key connects to the lower one (spec 06 §5.4), so the order decides who does."""
    made = [IdentityFile(PrivateKey(os.urandom(32))) for _ in NAMES]

    def compare(first: IdentityFile, second: IdentityFile) -> int:
        keys = Identity(first.private_key).public_key, Identity(second.private_key).public_key
        return -1 if is_lower(*keys) else 1

    made.sort(key=cmp_to_key(compare), reverse=not ascending)
    for name, identity in zip(NAMES, made, strict=True):
        IDENTITY.save(network.path(f"{name}.ident"), identity)


@pytest.mark.parametrize("ascending", [True, False], ids=["connecting down", "connecting up"])
@pytest.mark.parametrize(
    "originals",
    [("index1",), ("index0", "index2"), ("index0",), ("index0", "index1", "index2")],
    ids=["the middle", "both ends", "one end", "all"],
)
def test_three_in_a_row(tmp_path: Path, original: Implementation, originals: tuple[str, ...], ascending: bool) -> None:
    """What a node declares at one end is known at the other, two hops away, and so is a withdrawal."""
    with WatchedNetwork(tmp_path, Cast(OURS_READY, dict.fromkeys(originals, original))) as network:
        _make_identities(network, ascending=ascending)
        network.add_relay("relay")
        network.add_index_servers(NAMES, [("index0", "index1"), ("index1", "index2")])
        network.add_node(NodeSpec("A", "relay", "index0"))
        network.add_node(NodeSpec("B", "relay", "index1"))
        network.add_node(NodeSpec("C", "relay", "index2"))
        for pair in (("A", "B"), ("B", "C")):
            network.befriend(*pair, "FST")
            network.set_limit(*pair[::-1], "FST", 100)
        wait_for_route(network, "A", "C", "FST", 50)
        assert network.pay("A", "C", "FST", 50, "across") == "Receipt is valid!"
        network.set_limit("C", "B", "FST", 200)
        network.set_limit("B", "A", "FST", 200)
        wait_for_route(network, "A", "C", "FST", 100)
        network.servers["C"].kill()
        wait_until("the route to be withdrawn", lambda: not has_route(network, "A", "C", "FST", 1))


class _Node:
    """A node at an index server that says what the test wants."""

    def __init__(self, connection: Connection, identity: Identity) -> None:
        self._connection = connection
        self._identity = identity
        self._session, self._counter = Uid(os.urandom(16)), 0
        self._hash: HashResult | None = None
        self._answers: asyncio.Queue[ResponseRoutes] = asyncio.Queue()
        self._closed = asyncio.Event()
        connection.attach(self)

    def message_received(self, message: bytes) -> None:
        match wire.INDEX_SERVER_TO_CLIENT.decode(message):
            case TimeHash(time_hash):
                self._hash = time_hash
            case ResponseRoutes() as answer:
                self._answers.put_nowait(answer)

    def connection_closed(self) -> None:
        self._closed.set()

    async def close(self) -> None:
        """Leave the server, and wait until the connection is gone."""
        self._connection.close()
        await asyncio.wait_for(self._closed.wait(), 20)

    def declare(self, friend: PublicKey, capacity: int) -> None:
        """Say how much can be received from a friend, once the server has said its time."""
        if self._hash is None:
            return
        mutation = UpdateFriendCurrency(friend, Currency("FST"), capacity, Rate(0, 0))
        update = MutationsUpdate(
            self._identity.public_key,
            (mutation,),
            self._hash,
            self._session,
            self._counter,
            RandValue(os.urandom(16)),
            Signature.zero(),
        )
        signature = self._identity.sign(mutations_update_buffer(update))
        self._counter += 1
        self._connection.send(wire.INDEX_CLIENT_TO_SERVER.encode(replace(update, signature=signature)))

    async def has_route(self, source: PublicKey, destination: PublicKey) -> bool:
        """Whether the server finds one."""
        request = RequestRoutes(Uid(os.urandom(16)), Currency("FST"), 1, source, destination, None)
        self._connection.send(wire.INDEX_CLIENT_TO_SERVER.encode(request))
        return bool((await asyncio.wait_for(self._answers.get(), 20)).multi_routes)


@asynccontextmanager
async def _joined(network: Network, server: str, identity: Identity) -> AsyncIterator[_Node]:
    """At an index server, until the end of the body."""
    ticket = TICKET.load(network.path(f"{server}.ticket"))
    node = _Node(await connect(ticket.address, identity, ticket.public_key, Ticker()), identity)
    try:
        yield node
    finally:
        await node.close()


async def _silence(network: Network) -> float:
    """Two nodes at the two ends declare each other, and then say nothing more; how long a third one finds the route."""
    first, second, third = (Identity(PrivateKey(os.urandom(32))) for _ in range(3))
    keys = first.public_key, second.public_key
    async with (
        _joined(network, "index0", first) as one_end,
        _joined(network, "index2", second) as other_end,
        _joined(network, "index1", third) as watching,
    ):
        started = time.monotonic()
        while not await watching.has_route(*keys):
            assert time.monotonic() < started + 30, "what was declared at the ends did not reach the middle"
            one_end.declare(second.public_key, 50)  # again and again: the servers may not know each other yet
            other_end.declare(first.public_key, 50)
            await asyncio.sleep(1)
        started = time.monotonic()
        while await watching.has_route(*keys):
            assert time.monotonic() < started + 2 * EXPIRY_SECONDS, "silent nodes are not forgotten"
            await asyncio.sleep(1)
        return time.monotonic() - started


@contextmanager
def _federation(directory: Path, cast: Cast) -> Iterator[Network]:
    """Three index servers in a row."""
    directory.mkdir()
    with WatchedNetwork(directory, cast) as network:
        network.add_index_servers(NAMES, [("index0", "index1"), ("index1", "index2")])
        yield network


def test_silent_nodes_are_forgotten(tmp_path: Path, original: Implementation) -> None:
    """
    60 ticks after its last word a node is forgotten, by a server of either kind between two of the other.

    Both networks are watched at the same time, since both take a minute.
    """

    async def watch(networks: list[Network]) -> list[float]:
        return await asyncio.gather(*(_silence(network) for network in networks))

    with (
        _federation(tmp_path / "ours", Cast(original, {"index1": OURS_READY})) as ours,
        _federation(tmp_path / "original", Cast(OURS_READY, {"index1": original})) as theirs,
    ):
        seconds = dict(zip(("ours", "original"), asyncio.run(watch([ours, theirs])), strict=True))
    forgotten = {middle: EXPIRY_SECONDS - 5 < taken < EXPIRY_SECONDS + 10 for middle, taken in seconds.items()}
    assert all(forgotten.values()), seconds
