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

from offset_funder import mutations as m
from offset_funder.state import FunderState
from offset_node.database.errors import DatabaseWriteError, LoadDbError
from offset_node.database.sqlite import Database, create_database, load_database
from offset_node.state import AddIndexServer, NodeState, RemoveIndexServer
from offset_proto.errors import InvariantBroken
from offset_proto.messages.payment import NamedIndexServerAddress
from offset_proto.types import Currency, InvoiceId, NetAddress, PlainLock, PublicKey

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


def _check_that_no_thread_is_left() -> None:
    """aiosqlite tells that a connection is closed a moment before its thread ends: that moment is waited for."""
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.main_thread():
            thread.join(10)
            assert not thread.is_alive()


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


def test_close_is_cancelled_when_all_is_closed(path: Path) -> None:
    """A second signal to end the process, while a commit is under way: the commit ends, and lock and thread with it."""

    async def run() -> None:
        database = await Database.open(path)
        await database.load()
        with _held(path):
            await _cancelled_apply(database, _add(1))
            closing = asyncio.create_task(database.close())
            for _ in range(3):
                await asyncio.sleep(0)
                closing.cancel()
            assert not closing.done()
        with pytest.raises(asyncio.CancelledError):
            await closing

    asyncio.run(run())
    _check_that_no_thread_is_left()
    assert _stored(path) == 1


def test_a_cancelled_close_still_tells_a_failure(path: Path) -> None:
    """That a batch is not stored is worth more than that somebody was cancelled."""

    async def run() -> None:
        database = await Database.open(path)
        await database.load()
        with _held(path):
            await _cancelled_apply(database, _add(1, None))
            closing = asyncio.create_task(database.close())
            await asyncio.sleep(0)
            closing.cancel()
        with pytest.raises(DatabaseWriteError, match="NOT NULL"):
            await closing

    asyncio.run(run())


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
    _check_that_no_thread_is_left()


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


def test_a_loop_that_ends_with_an_open_database_leaves_a_whole_batch(path: Path) -> None:
    """
    Nobody closes the database, and a commit is under way when the loop is closed.

    aiosqlite can not tell the result to a closed loop: its thread ends by an error, and the process does not wait for
    ever. The batch is stored, and the lock is free.
    """
    program = """
import asyncio, sqlite3, sys, threading
from pathlib import Path
from offset_node.database.sqlite import Database
from offset_node.state import AddIndexServer
from offset_proto.messages.payment import NamedIndexServerAddress
from offset_proto.types import NetAddress, PublicKey

path = Path(sys.argv[1])
left_open = []
servers = [NamedIndexServerAddress(PublicKey(bytes([n]) * 32), NetAddress("a:1"), "x") for n in range(1, 200)]
other = sqlite3.connect(path, isolation_level=None)

async def main():
    database = await Database.open(path)
    left_open.append(database)
    await database.load()
    other.execute("BEGIN IMMEDIATE")
    asyncio.create_task(database.apply([AddIndexServer(server) for server in servers]))
    for _ in range(3):
        await asyncio.sleep(0)

asyncio.run(main())
print("the loop is closed")
other.execute("ROLLBACK")
"""
    ended = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0
    assert "the loop is closed" in ended.stdout
    assert "Event loop is closed" in ended.stderr
    assert _stored(path) == 199
