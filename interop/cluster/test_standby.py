"""A standby waits as long as another node has the lease, and goes on from what is stored when it has ended."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from interop.cluster.server import PostgresServer
from interop.programs import wait_until
from offset_funder.state import FunderState
from offset_node.database import lease
from offset_node.database.errors import DatabaseInUse, LoadDbError
from offset_node.database.names import PostgresAddress
from offset_node.database.opening import create_database, stand_by
from offset_node.database.postgres import PostgresDatabase
from offset_node.database.postgres_connection import connect
from offset_node.database.stored_node import StoredNode
from offset_node.state import AddIndexServer, NodeState
from offset_proto.log_events import (
    DATABASE_LOST,
    DATABASE_REACHED,
    DATABASE_SET_BACK,
    STANDING_BY,
    TAKEN_OVER,
    LogEvent,
    Told,
)
from offset_proto.messages.payment import NamedIndexServerAddress
from offset_proto.types import NetAddress, PublicKey

KEY = PublicKey(b"\x21" * 32)
ADDED = AddIndexServer(NamedIndexServerAddress(PublicKey(b"\x01" * 32), NetAddress("a:1"), ""))
PATIENCE = 60


@pytest.fixture
def made(address: str) -> PostgresAddress:
    """A database without friends."""
    create_database(PostgresAddress(address), NodeState(FunderState(KEY)))
    return PostgresAddress(address)


class _Standby:
    """One that waits in the background, with what it shows."""

    def __init__(self, address: PostgresAddress) -> None:
        self.shown: list[str] = []
        self._changed = asyncio.Event()
        self.opening = asyncio.create_task(stand_by(address, KEY, self._show))

    def _show(self, text: str) -> None:
        self.shown.append(text)
        self._changed.set()

    async def shows(self, count: int) -> str:
        """What it shows then, for the time of this number."""
        while len(self.shown) < count:
            self._changed.clear()
            changed = asyncio.create_task(self._changed.wait())
            await asyncio.wait({changed, self.opening}, return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
            assert not self.opening.done() or len(self.shown) >= count
        return self.shown[count - 1]

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[StoredNode]:
        """The database, when it has taken over."""
        database = await self.opening
        try:
            yield database
        finally:
            await database.close()


def _told(log: pytest.LogCaptureFixture, event: LogEvent) -> list[Told]:
    """How often it was told, with all its fields and no others."""
    found = [each.msg for each in log.records if isinstance(each.msg, Told) and each.msg.event is event]
    assert all(each.fields.keys() == event.fields.keys() for each in found)
    return found


def test_it_waits_for_as_long_as_another_one_lives(made: PostgresAddress, caplog: pytest.LogCaptureFixture) -> None:
    """Then it goes on from what was stored last, which was not there when it began to wait; it says so once."""
    caplog.set_level(logging.INFO)

    async def run() -> None:
        first = await PostgresDatabase.open(made)
        await first.load()
        standby = _Standby(made)
        assert (await standby.shows(1)).startswith("stands by, behind process ")
        await asyncio.sleep(lease.RENEW_SECONDS + 2 * lease.LOOK_AGAIN_SECONDS)  # it is prolonged meanwhile
        assert not standby.opening.done()
        await first.apply([ADDED])
        await first.close()
        async with standby.opened() as second:
            assert (await second.load()).index_servers == (ADDED.server,)
            assert second.is_ours()
            with pytest.raises(DatabaseInUse):
                await PostgresDatabase.open(made)

    asyncio.run(asyncio.wait_for(run(), PATIENCE))
    (waits,), (took,) = _told(caplog, STANDING_BY), _told(caplog, TAKEN_OVER)
    assert (waits.fields["term"], took.fields["term"]) == (1, 2)
    assert str(took).startswith("taken_over: term 2, after process ")


def test_of_two_standbys_one_takes_over(made: PostgresAddress, caplog: pytest.LogCaptureFixture) -> None:
    """And the other one goes on waiting, behind that one, and is the next."""
    caplog.set_level(logging.INFO)

    async def run() -> None:
        first = await PostgresDatabase.open(made)
        standbys = [_Standby(made), _Standby(made)]
        for standby in standbys:
            await standby.shows(1)
        await first.close()
        await asyncio.wait([each.opening for each in standbys], return_when=asyncio.FIRST_COMPLETED)
        (waiting,) = [each for each in standbys if not each.opening.done()]
        (running,) = [each for each in standbys if each.opening.done()]
        assert "(term 2)" in await waiting.shows(2)
        async with running.opened():
            pass
        async with waiting.opened() as last:
            assert isinstance(last, PostgresDatabase)
            assert last.term == 3

    asyncio.run(asyncio.wait_for(run(), PATIENCE))
    assert len(_told(caplog, STANDING_BY)) == 3
    assert len(_told(caplog, TAKEN_OVER)) == 2


def test_a_server_that_is_away_is_waited_for(
    server: PostgresServer, made: PostgresAddress, caplog: pytest.LogCaptureFixture
) -> None:
    """However often it is tried, that is told once, and once that it is there again."""
    caplog.set_level(logging.INFO)
    server.execute(
        "UPDATE offset_node.writer SET term = 7, writing = 7, holder = 'x', until = until + '1 h'", made.text
    )

    async def run() -> None:
        standby = _Standby(made)
        assert await standby.shows(1) == "stands by, behind x (term 7)"
        await asyncio.to_thread(server.stop)
        try:
            assert (await standby.shows(2)).startswith("stands by; the database is not reached: ")
            await asyncio.sleep(3 * lease.LOOK_AGAIN_SECONDS)
        finally:
            await asyncio.to_thread(server.start)
        assert await standby.shows(3) == "stands by, behind x (term 7)"
        server.disconnect(made.text)
        await standby.shows(5)
        server.execute("UPDATE offset_node.writer SET until = clock_timestamp()", made.text)
        async with standby.opened():
            pass

    asyncio.run(asyncio.wait_for(run(), PATIENCE))
    assert len(_told(caplog, DATABASE_LOST)) == len(_told(caplog, DATABASE_REACHED)) == 2
    assert len(_told(caplog, STANDING_BY)) == 1


def _says(term: int, until: str) -> str:
    return (
        f"UPDATE offset_node.writer SET term = {term}, writing = {term}, holder = 'x',"
        f" until = clock_timestamp() + interval '{until}'"
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (_says(7, "2 h"), _says(6, "3 h")),
        (_says(7, "3 h"), _says(7, "2 h")),
        (_says(7, "3 h"), _says(7, "-2 h")),
    ],
    ids=["another term", "the same term", "the same term, which has ended"],
)
def test_a_server_that_was_set_back_is_not_taken_over(
    server: PostgresServer, made: PostgresAddress, caplog: pytest.LogCaptureFixture, before: str, after: str
) -> None:
    """What was stored after that moment is missing; a standby that has seen more of it takes nothing any more."""
    server.execute(before, made.text)

    async def run() -> None:
        standby = _Standby(made)
        assert await standby.shows(1) == "stands by, behind x (term 7)"
        server.execute(after, made.text)
        server.disconnect(made.text)
        last = await standby.shows(len(standby.shown) + 1)
        while "stmgr move-db --restored" not in last:
            last = await standby.shows(len(standby.shown) + 1)
        server.execute("UPDATE offset_node.writer SET until = clock_timestamp()", made.text)
        await asyncio.sleep(2 * lease.LOOK_AGAIN_SECONDS)
        assert standby.shown[-1] == last
        standby.opening.cancel()
        await asyncio.wait({standby.opening})

    asyncio.run(asyncio.wait_for(run(), PATIENCE))
    (told,) = _told(caplog, DATABASE_SET_BACK)
    assert told.fields["seen"] == 7
    assert not server.execute("SELECT term FROM offset_node.writer WHERE term > 7", made.text)


def test_a_term_that_was_there_already_is_no_term(
    server: PostgresServer, made: PostgresAddress, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The server was set back between the last look and the moment in which the lease is taken."""
    server.execute(_says(7, "-2 h"), made.text)
    opened = PostgresDatabase.open

    async def open_later(address: PostgresAddress, **options: Any) -> PostgresDatabase:
        server.execute(_says(6, "-2 h"), made.text)
        return await opened(address, **options)

    monkeypatch.setattr(PostgresDatabase, "open", open_later)

    async def run() -> None:
        standby = _Standby(made)
        assert "stmgr move-db --restored" in await standby.shows(1)
        standby.opening.cancel()
        await asyncio.wait({standby.opening})

    asyncio.run(asyncio.wait_for(run(), PATIENCE))
    assert len(_told(caplog, DATABASE_SET_BACK)) == 1
    assert server.execute("SELECT until <= clock_timestamp() FROM offset_node.writer", made.text) == [(True,)]


def test_what_only_looks_as_if_a_server_was_set_back(server: PostgresServer, made: PostgresAddress) -> None:
    """Its clock was corrected; or the lease was let go, and then the server was started again."""

    async def run() -> None:
        server.execute(_says(7, "3 h"), made.text)
        standby = _Standby(made)
        await standby.shows(1)
        server.execute(_says(7, "2 h"), made.text)
        await asyncio.sleep(2 * lease.LOOK_AGAIN_SECONDS)
        server.execute(_says(7, "-1 h"), made.text)
        async with standby.opened() as first:
            standby = _Standby(made)
            await standby.shows(1)
        server.disconnect(made.text)  # most often before the standby has looked
        async with standby.opened() as second:
            assert isinstance(first, PostgresDatabase)
            assert isinstance(second, PostgresDatabase)
            assert (first.term, second.term) == (8, 9)
        assert not any("--restored" in text for text in standby.shown)

    asyncio.run(asyncio.wait_for(run(), PATIENCE))


def test_a_batch_that_is_half_there_keeps_nobody_out(server: PostgresServer, made: PostgresAddress) -> None:
    """Its sender was cut off after the lock was taken, and the server does not know that it will never go on."""

    async def run() -> None:
        frozen = await connect(made)
        await frozen.execute("BEGIN")
        await frozen.execute("UPDATE writer SET writing = 0, until = clock_timestamp() + interval '1 hour'")
        async with _Standby(made).opened() as database:
            assert isinstance(database, PostgresDatabase)
            assert database.term == 1
        with pytest.raises(Exception, match="terminating connection"):
            await frozen.execute("COMMIT")
        await frozen.close()

    asyncio.run(asyncio.wait_for(run(), PATIENCE))
    assert server.execute("SELECT term, writing FROM offset_node.writer", made.text) == [(1, 1)]


def test_whose_statements_are_carried_out_is_waited_for(server: PostgresServer, made: PostgresAddress) -> None:
    """However long they take, such as those that bring the tables to a new version."""

    async def run() -> None:
        other = await connect(made)
        slow = "BEGIN; UPDATE writer SET writing = term; SELECT pg_sleep(4); CREATE TABLE made_meanwhile (); COMMIT"
        asleep = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        working = asyncio.create_task(other.execute(slow.encode(), prepare=False))
        await asyncio.to_thread(wait_until, "it to be carried out", lambda: bool(server.execute(asleep)))
        async with _Standby(made).opened() as database:
            assert isinstance(database, PostgresDatabase)
            assert database.term == 1
        await working
        await other.close()

    asyncio.run(asyncio.wait_for(run(), PATIENCE))
    assert server.execute("SELECT count(*) FROM offset_node.made_meanwhile", made.text) == [(0,)]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("UPDATE offset_node.node SET local_public_key = 'x'", "it is the database of another node than ISEh"),
        ("UPDATE offset_node.about SET schema_version = 99", "schema version 99, this program knows"),
        ("DROP SCHEMA offset_node CASCADE", "no node database is there"),
    ],
)
def test_what_it_could_not_run_on_is_said_at_once(
    server: PostgresServer, made: PostgresAddress, damage: str, says: str
) -> None:
    """And not on the day on which it is needed."""
    server.execute(damage, made.text)
    with pytest.raises(LoadDbError, match=says):
        asyncio.run(stand_by(made, KEY, lambda text: None))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("DROP SCHEMA offset_node CASCADE", "no node database is there"),
        ("DROP TABLE offset_node.writer, offset_node.about", "its schema offset_node is of something else"),
        ("DROP TABLE offset_node.writer", 'relation "writer" does not exist'),
        ("DELETE FROM offset_node.writer", "the table writer is empty"),
    ],
)
def test_what_is_no_database_of_a_node_any_more_is_not_waited_for(
    server: PostgresServer, made: PostgresAddress, damage: str, says: str
) -> None:
    """The server is reached, and what the standby waits for will never be there again."""
    server.execute("UPDATE offset_node.writer SET until = until + interval '1 h'", made.text)

    async def run() -> None:
        standby = _Standby(made)
        await standby.shows(1)
        server.execute(damage, made.text)
        with pytest.raises(LoadDbError, match=says):
            await standby.opening

    asyncio.run(asyncio.wait_for(run(), PATIENCE))


def test_who_waits_can_be_told_to_end(made: PostgresAddress) -> None:
    """It hangs up, and has taken nothing."""

    async def run() -> None:
        async with _Standby(made).opened() as first:
            standby = _Standby(made)
            await standby.shows(1)
            standby.opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await standby.opening
            assert first.is_ours()

    asyncio.run(asyncio.wait_for(run(), PATIENCE))
