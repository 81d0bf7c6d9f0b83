"""
Commits that are under way: what a caller that is cancelled, a database that closes and a loop that ends do to them.

A second connection holds SQLite's write lock where a commit has to take its time. Spec 07 §7.
"""

import asyncio
import contextlib
import logging
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offset_funder import mutations as m
from offset_funder.state import CurrencyConfig, FunderState, fresh_friend
from offset_node.database.errors import DatabaseWriteError, LoadDbError
from offset_node.database.sqlite import Database, create_database, load_database
from offset_node.state import AddIndexServer, NodeState, RemoveIndexServer, StateMutation, apply
from offset_proto.errors import InvariantBroken
from offset_proto.messages.payment import NamedIndexServerAddress, NamedRelayAddress, Rate
from offset_proto.types import Currency, InvoiceId, NetAddress, PaymentId, PlainLock, PublicKey, Uid

LOCAL = PublicKey(b"\x01" * 32)


def _add(number: int, name: Any = "index") -> AddIndexServer:
    return AddIndexServer(NamedIndexServerAddress(PublicKey(bytes([number]) * 32), NetAddress("a:1"), name))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A new database."""
    create_database(tmp_path / "node.db", NodeState(FunderState(LOCAL)))
    return tmp_path / "node.db"


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    """SQLite's write lock is taken: commits wait."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def _stored(path: Path) -> int:
    return len(load_database(path).index_servers)


async def _cancelled_apply(database: Database, mutation: AddIndexServer) -> None:
    """Begin to store a batch, and be cancelled while it is being stored."""
    waiting = asyncio.create_task(database.apply([mutation]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


def test_a_batch_is_one_crossing_to_the_thread(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """However many statements it has; aiosqlite logs each of its calls where it is asked to."""

    async def run() -> None:
        database = await Database.open(path)
        await database.load()
        with caplog.at_level(logging.DEBUG, logger="aiosqlite"):
            await database.apply([_add(number) for number in range(1, 100)])
        await database.close()

    asyncio.run(run())
    assert sum(record.getMessage().startswith("executing") for record in caplog.records) == 1


def test_locks_of_payments_stay_out_of_a_log_of_everything(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """aiosqlite would log the parameters of statements at DEBUG: the level of its logger is above that."""

    async def run() -> None:
        database = await Database.open(path)
        await database.load()
        await database.apply([m.AddInvoice(InvoiceId(bytes(32)), Currency("FST"), 5, PlainLock(b"\x07" * 32))])
        await database.close()

    with caplog.at_level(logging.DEBUG):
        asyncio.run(run())
    assert not [record for record in caplog.records if record.name == "aiosqlite"]


def test_a_commit_goes_on_when_its_caller_is_cancelled(path: Path) -> None:
    """close() waits for it, and it is there."""

    async def run() -> None:
        database = await Database.open(path)
        await database.load()
        with _held(path):
            await _cancelled_apply(database, _add(1))
        await database.close()

    asyncio.run(run())
    assert _stored(path) == 1


def test_batches_keep_their_order_behind_a_cancelled_one(path: Path) -> None:
    """A removal that was asked for after a cancelled addition finds what was added."""

    async def run() -> None:
        database = await Database.open(path)
        await database.load()
        with _held(path):
            await _cancelled_apply(database, _add(1))
        await database.apply([RemoveIndexServer(PublicKey(b"\x01" * 32)), _add(2)])
        await database.close()

    asyncio.run(run())
    assert [server.public_key[0] for server in load_database(path).index_servers] == [2]


@pytest.mark.parametrize("told_by", ["apply", "close"])
def test_a_failure_that_nobody_waited_for_is_told_by_the_next_call(path: Path, told_by: str) -> None:
    """A node must not go on from a batch that is not stored, whoever was cancelled meanwhile."""

    async def run() -> None:
        database = await Database.open(path)
        await database.load()
        with _held(path):
            await _cancelled_apply(database, _add(1, None))
        await asyncio.wait(database._commits)
        if told_by == "apply":
            with pytest.raises(DatabaseWriteError, match="NOT NULL"):
                await database.apply([_add(2)])
            await database.close()
        else:
            with pytest.raises(DatabaseWriteError, match="NOT NULL"):
                await database.close()

    asyncio.run(run())
    assert _stored(path) == 0


def test_a_database_is_written_between_loading_and_closing(path: Path) -> None:
    """Before and after that it is a defect of ours."""

    async def run() -> None:
        database = await Database.open(path)
        with pytest.raises(InvariantBroken):
            await database.apply([_add(1)])
        await database.load()
        await database.close()
        await database.close()
        with pytest.raises(InvariantBroken):
            await database.apply([_add(1)])

    asyncio.run(run())


def test_no_thread_is_left_by_a_database_that_does_not_open(tmp_path: Path) -> None:
    """aiosqlite's thread is no daemon: one that is left would keep the process from ending."""
    (tmp_path / "text.db").write_text("hello, this is no database, and longer than a hundred bytes: " + "x" * 100)
    (tmp_path / "empty.db").touch()
    for name in ("text.db", "empty.db", "missing.db"):
        with pytest.raises(LoadDbError):
            load_database(tmp_path / name)
    assert [thread for thread in threading.enumerate() if not thread.daemon] == [threading.main_thread()]


def test_a_loop_that_ends_in_an_error_leaves_a_whole_batch(path: Path) -> None:
    """The process ends by itself, since the database is closed on the way out, and nothing is half stored."""
    program = """
import asyncio, sys
from pathlib import Path
from offset_node.database.sqlite import Database
from offset_node.state import AddIndexServer
from offset_proto.messages.payment import NamedIndexServerAddress
from offset_proto.types import NetAddress, PublicKey

servers = [NamedIndexServerAddress(PublicKey(bytes([n]) * 32), NetAddress("a:1"), "x") for n in range(1, 200)]

async def main():
    database = await Database.open(Path(sys.argv[1]))
    try:
        await database.load()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(database.apply([AddIndexServer(server) for server in servers]))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            raise ValueError("the node breaks")
    finally:
        await database.close()

asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "the node breaks" in ended.stderr
    assert _stored(path) == 199


# What the rows come to is what `offset_node.state.apply` comes to.

_KEYS = [PublicKey(bytes([number]) * 32) for number in range(2, 5)]
_CURRENCIES = [Currency("FST"), Currency("EUR")]
_IDS = range(3)


def _mutations(draw: st.DrawFn, state: NodeState) -> StateMutation:
    """A mutation that fits *state*."""
    funder = state.funder
    known = sorted(funder.friends)
    new = [key for key in _KEYS if key not in funder.friends]
    key = draw(st.sampled_from(_KEYS))
    relay = NamedRelayAddress(key, NetAddress(f"relay:{draw(st.integers(1, 9))}"), draw(st.text(max_size=5)))
    server = NamedIndexServerAddress(key, NetAddress("index:1"), "index")
    invoice_id = InvoiceId(bytes([draw(st.sampled_from(_IDS))]) * 32)
    request_id, payment_id = Uid(bytes(16)), PaymentId(bytes(16))
    amount = draw(st.integers(0, 2**128 - 1))
    choices: list[StateMutation] = [
        m.AddRelay(relay),
        m.RemoveRelay(key),
        AddIndexServer(server),
        RemoveIndexServer(key),
    ]
    if request_id in funder.open_transactions:
        choices.append(m.RemoveTransaction(request_id))
    else:
        choices.append(m.AddTransaction(request_id, payment_id))
    if invoice_id in funder.open_invoices:
        choices += [m.AddIncomingTransaction(invoice_id, request_id), m.RemoveInvoice(invoice_id)]
    else:
        choices.append(m.AddInvoice(invoice_id, draw(st.sampled_from(_CURRENCIES)), amount, PlainLock(bytes(32))))
    if new:
        choices.append(m.AddFriend(new[0], (), draw(st.text(max_size=5))))
    if known:
        friend = draw(st.sampled_from(known))
        currency = draw(st.sampled_from(_CURRENCIES))
        config = CurrencyConfig(Rate(draw(st.integers(0, 2**32 - 1)), 7), amount, draw(st.booleans()))
        parts: list[m.FriendPart] = [
            m.SetName(draw(st.text(max_size=5))),
            m.SetStatus(draw(st.booleans())),
            m.UpdateCurrencyConfig(currency, config),
            m.SetLocalActiveCurrencies(frozenset({currency})),
            m.SetConsistent(_fresh_channel(friend)),
        ]
        choices += [m.FriendMutation(friend, part) for part in parts]
        choices.append(m.RemoveFriend(friend))
    return draw(st.sampled_from(choices))


def _fresh_channel(friend: PublicKey) -> Any:
    channel: Any = fresh_friend(LOCAL, friend, (), "").channel
    return channel.token_channel


@st.composite
def _histories(draw: st.DrawFn) -> tuple[list[list[StateMutation]], NodeState]:
    """Batches that fit an empty state one after the other, and the state that they come to."""
    state = NodeState(FunderState(LOCAL))
    batches: list[list[StateMutation]] = []
    for _ in range(draw(st.integers(1, 4))):
        batch = []
        for _ in range(draw(st.integers(1, 6))):
            mutation = _mutations(draw, state)
            state = apply(state, mutation)
            batch.append(mutation)
        batches.append(batch)
    return batches, state


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_histories())
def test_rows_are_the_state(tmp_path_factory: pytest.TempPathFactory, history: tuple[Any, NodeState]) -> None:
    """What is stored of any batches is what they make of the state as a value."""
    batches, state = history
    path = tmp_path_factory.mktemp("rows") / "node.db"
    create_database(path, NodeState(FunderState(LOCAL)))

    async def run() -> NodeState:
        database = await Database.open(path)
        try:
            await database.load()
            for batch in batches:
                await database.apply(batch)
            return await database.load()
        finally:
            await database.close()  # or aiosqlite's thread would keep the process, should anything above fail

    assert asyncio.run(run()) == state
