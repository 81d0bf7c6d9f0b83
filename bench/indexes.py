"""An index server: declarations taken, and routes found, over a graph of many nodes."""

import asyncio
import os
import random
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from bench.processes import resident_bytes
from interop.network import Network
from offset_crypto.aio import Connection, Ticker, connect
from offset_crypto.identity import Identity
from offset_crypto.signed import mutations_update_buffer
from offset_index.currency_graph import Declaration
from offset_index.graph import CapacityGraph
from offset_index.ratchet import Ratchets
from offset_index.search import find_routes
from offset_proto import wire
from offset_proto.files import TICKET
from offset_proto.messages.index import (
    MutationsUpdate,
    RequestRoutes,
    ResponseRoutes,
    TimeHash,
    UpdateFriendCurrency,
)
from offset_proto.messages.payment import Rate
from offset_proto.types import Currency, HashResult, PrivateKey, PublicKey, RandValue, Signature, Uid

__all__ = ["GraphRun", "IndexRun", "run_graph", "run_index"]

CURRENCY = Currency("FST")


@dataclass(frozen=True)
class IndexRun:
    """What an index server did."""

    nodes: int
    friendships: int
    updates_per_second: float
    routes_per_second: float
    p50_ms: float
    p95_ms: float
    found_share: float


@dataclass(frozen=True)
class GraphRun:
    """What an index server keeps of its nodes, with no server around it."""

    resident_bytes: int
    p50_ms: float
    p95_ms: float
    found_share: float


class _Client:
    """A connection that keeps the time hash and hands on routes."""

    def __init__(self) -> None:
        self.time_hash: asyncio.Future[HashResult] = asyncio.get_running_loop().create_future()
        self.latest: HashResult | None = None
        self.answers: dict[Uid, asyncio.Future[ResponseRoutes]] = {}

    def message_received(self, message: bytes) -> None:
        match wire.INDEX_SERVER_TO_CLIENT.decode(message):
            case TimeHash(time_hash):
                self.latest = time_hash
                if not self.time_hash.done():
                    self.time_hash.set_result(time_hash)
            case ResponseRoutes(request_id, _) as answer:
                self.answers.pop(request_id).set_result(answer)

    def connection_closed(self) -> None:
        """Whoever waits for the server learns that it is gone."""
        waiting: list[asyncio.Future[Any]] = [self.time_hash, *self.answers.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(ConnectionResetError("the index server closed the connection"))
                future.exception()  # seen, also where nobody waits


async def _open(network: Network, server: str, ticker: Ticker) -> tuple[Connection, _Client]:
    ticket = TICKET.load(network.path(f"{server}.ticket"))
    connection = await connect(ticket.address, Identity(PrivateKey(os.urandom(32))), ticket.public_key, ticker)
    client = _Client()
    connection.attach(client)
    await client.time_hash
    return connection, client


def _update(identity: Identity, friends: list[PublicKey], time_hash: HashResult) -> bytes:
    mutations = tuple(UpdateFriendCurrency(friend, CURRENCY, 10**6, Rate(0, 1)) for friend in friends)
    ids = (time_hash, Uid(os.urandom(16)), 0, RandValue(bytes(16)))
    buffer = mutations_update_buffer(MutationsUpdate(identity.public_key, mutations, *ids, Signature(bytes(64))))
    return wire.INDEX_CLIENT_TO_SERVER.encode(
        MutationsUpdate(identity.public_key, mutations, *ids, identity.sign(buffer))
    )


async def _ask(connection: Connection, client: _Client, one: PublicKey, other: PublicKey) -> tuple[float, bool]:
    if connection.is_closed:
        raise ConnectionResetError("the index server closed the connection")
    request_id = Uid(os.urandom(16))
    answer = client.answers[request_id] = asyncio.get_running_loop().create_future()
    started = time.perf_counter()
    connection.send(wire.INDEX_CLIENT_TO_SERVER.encode(RequestRoutes(request_id, CURRENCY, 10, one, other, None)))
    found = (await answer).multi_routes
    return time.perf_counter() - started, bool(found)


async def run_index(network: Network, nodes: int, friendships: int, requests: int, server: str = "index") -> IndexRun:
    """
    Declare a random graph over several connections, as many nodes would; then ask for routes over one.

    The declarations are signed beforehand. A server forgets silent nodes after 60 ticks, and slows down clients that
    declare much, so each connection declares for some nodes only.
    """
    chance, ticker = random.Random(7), Ticker()
    identities = [Identity(PrivateKey(chance.randbytes(32))) for _ in range(nodes)]
    friends: list[list[PublicKey]] = [[] for _ in range(nodes)]
    for _ in range(friendships):
        one, other = chance.sample(range(nodes), 2)
        friends[one].append(identities[other].public_key)
        friends[other].append(identities[one].public_key)
    connections = [await _open(network, server, ticker) for _ in range(max(1, nodes // 1000))]
    time_hash = connections[0][1].latest
    assert time_hash is not None
    updates = [_update(identity, known, time_hash) for identity, known in zip(identities, friends, strict=True)]
    started = time.perf_counter()
    for number, update in enumerate(updates):
        connections[number % len(connections)][0].send(update)
    for connection, client in connections:  # an answer says that what came before it was taken
        await _ask(connection, client, identities[0].public_key, identities[0].public_key)
    took = time.perf_counter() - started
    connection, client = connections[0]
    latencies: list[float] = []
    found = 0
    left = iter(range(requests))

    async def ask() -> None:
        nonlocal found
        for _ in left:
            one, other = chance.sample(identities, 2)
            seconds, is_found = await _ask(connection, client, one.public_key, other.public_key)
            latencies.append(seconds)
            found += is_found

    started = time.perf_counter()
    await ask()
    seconds = time.perf_counter() - started
    for opened, _ in connections:
        opened.close("done")
    latencies.sort()
    p50, p95 = latencies[len(latencies) // 2], latencies[int(len(latencies) * 0.95)]
    return IndexRun(nodes, friendships, nodes / took, requests / seconds, p50 * 1000, p95 * 1000, found / requests)


def run_graph(nodes: int, edges: int, requests: int) -> GraphRun:
    """Let our engine's graph, and its ratchets, take in a random graph of so many directed edges, and search it."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
        return processes.submit(_search_graph, nodes, edges, requests).result()


def _search_graph(nodes: int, edges: int, requests: int) -> GraphRun:
    chance = random.Random(7)
    empty, graph, ratchets = resident_bytes(os.getpid()), CapacityGraph(), Ratchets()
    keys = [PublicKey(chance.randbytes(32)) for _ in range(nodes)]
    for key in keys:
        ratchets.accept(key, Uid(chance.randbytes(16)), 0)
    for _ in range(edges // 2):
        one, other = chance.sample(keys, 2)
        for declarer, friend in ((one, other), (other, one)):
            declaration = Declaration(chance.randrange(100, 10**6), Rate(chance.randrange(2**26), chance.randrange(3)))
            graph.update(CURRENCY, declarer, PublicKey(bytes(friend)), declaration)
    resident, known = resident_bytes(os.getpid()) - empty, graph.currency(CURRENCY)
    assert known is not None
    latencies, found = [], 0
    for _ in range(requests):
        source, destination = chance.sample(keys, 2)
        started = time.perf_counter()
        found += bool(find_routes(known, source, destination, 10))
        latencies.append((time.perf_counter() - started) * 1000)
    latencies.sort()
    p50, p95 = latencies[requests // 2], latencies[int(requests * 0.95)]
    return GraphRun(resident, p50, p95, found / requests)
