"""Databases with many friends, invoices and payments: whether they slow a node down, and how long it takes to start."""

import random
import subprocess
import time
from pathlib import Path

from immutables import Map

from interop.network import Network
from interop.programs import OURS, Implementation, Server, wait_until
from offset_crypto.identity import Identity
from offset_crypto.program import load_identity
from offset_funder.state import FunderState, OpenInvoice, Payment, SuccessfulPayment, fresh_friend
from offset_node.database.sqlite import create_database, load_database
from offset_node.state import NodeState
from offset_proto.messages.payment import Receipt
from offset_proto.types import (
    Currency,
    HashResult,
    InvoiceId,
    PaymentId,
    PlainLock,
    PrivateKey,
    Signature,
    Uid,
)

__all__ = ["add_stored_state", "measure_start"]

CURRENCY = Currency("FST")


def _with_load(state: FunderState, friends: int, invoices: int, payments: int) -> FunderState:
    chance = random.Random(len(state.friends))  # other keys and ids than those that are there
    receipt = Receipt(
        HashResult(bytes(32)),
        InvoiceId(bytes(32)),
        CURRENCY,
        PlainLock(bytes(32)),
        PlainLock(bytes(32)),
        True,
        1,
        1,
        Signature(bytes(64)),
    )
    others = {}
    for number in range(friends):
        key = Identity(PrivateKey(chance.randbytes(32))).public_key
        others[key] = fresh_friend(state.local_public_key, key, (), f"friend {number}")
    open_invoices = {
        InvoiceId(chance.randbytes(32)): OpenInvoice(CURRENCY, 1, PlainLock(chance.randbytes(32)), None, ())
        for _ in range(invoices)
    }
    finished = {
        PaymentId(chance.randbytes(16)): Payment(
            PlainLock(chance.randbytes(32)), SuccessfulPayment(0, receipt, Uid(chance.randbytes(16)))
        )
        for _ in range(payments)
    }
    return FunderState(
        state.local_public_key,
        state.relays,
        Map({**state.friends, **others}),
        Map({**state.open_invoices, **open_invoices}),
        state.open_transactions,
        Map({**state.payments, **finished}),
    )


def add_stored_state(network: Network, name: str, *, friends: int, invoices: int, payments: int) -> None:
    """Stop a node of ours, put more into its database, and start it again."""
    network.servers[name].stop()
    path = network.path(f"{name}.db")
    state = load_database(path)
    for old in path.parent.glob(f"{path.name}*"):
        old.unlink()
    loaded = _with_load(state.funder, friends, invoices, payments)
    create_database(path, NodeState(loaded, state.index_servers))
    network.servers[name].start()


def _database_of(player: Implementation, path: Path) -> Path:
    """The database *path* of ours in a form that an implementation reads; all of them read the original's."""
    exported = path.with_name("exported.json")
    OURS.run("stmgr", "export-db", "-d", path, "-o", exported)
    if player.name == "original":
        return exported
    imported = path.with_name("imported.db")
    player.run("stmgr", "import-db", "-d", exported, "-o", imported)
    return imported


def measure_start(network: Network, friends: int) -> float:
    """Seconds from the start of a node with so many friends until it listens."""
    identity = network.identity("crowd")
    path: Path = network.path("crowd.db")
    state = FunderState(load_identity(identity).public_key)
    create_database(path, NodeState(_with_load(state, friends, 0, 0)))
    player = network.cast.of("crowd")
    if player.name != "ours":
        path = _database_of(player, path)
    network.path("crowd-trusted").mkdir()
    port = network._free_port("crowd")
    program = player.program("stnode")
    files = ["-i", str(identity), "-d", str(path), "-t", str(network.path("crowd-trusted"))]
    command = [program, *files, "-l", f"127.0.0.1:{port}"]
    server = network.servers["crowd"] = Server("crowd", command, port, network.path("crowd.log"))
    started = time.perf_counter()
    server.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # not `start`, which waits for 30 s at most
    wait_until("the node to listen", server._listens_or_died, 120)
    took = time.perf_counter() - started
    server.stop()
    return took
