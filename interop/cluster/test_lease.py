"""Of any two processes one at most writes to a database on a server, and the other says nothing. Spec 08 §6."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from interop.cluster.server import PostgresServer
from offset_funder.state import FunderState
from offset_node.database import lease, postgres
from offset_node.database.errors import DatabaseInUse, DatabaseWriteError
from offset_node.database.names import PostgresAddress
from offset_node.database.opening import create_database
from offset_node.database.postgres import PostgresDatabase
from offset_node.database.postgres_connection import connect
from offset_node.state import AddIndexServer, NodeState
from offset_proto.messages.payment import NamedIndexServerAddress
from offset_proto.types import NetAddress, PublicKey

EMPTY = NodeState(FunderState(PublicKey(b"\x21" * 32)))


def _server(number: int) -> AddIndexServer:
    return AddIndexServer(NamedIndexServerAddress(PublicKey(bytes([number]) * 32), NetAddress("a:1"), ""))


class _Clock:
    """The clock of one process, which may be wrong."""

    late = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.late


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    """Of all processes in a test."""
    made = _Clock()
    monkeypatch.setattr(postgres, "_now", made)
    return made


@pytest.fixture
def made(address: str) -> PostgresAddress:
    """A database without friends."""
    create_database(PostgresAddress(address), EMPTY)
    return PostgresAddress(address)


@asynccontextmanager
async def _opened(address: PostgresAddress) -> AsyncIterator[PostgresDatabase]:
    database = await PostgresDatabase.open(address)
    try:
        await database.load()
        yield database
    finally:
        await database.close()


def _end_lease(server: PostgresServer, address: PostgresAddress) -> None:
    """As if nobody had prolonged it for as long as it lasts."""
    server.execute("UPDATE offset_node.writer SET until = clock_timestamp()", address.text)


def test_a_second_one_is_refused_while_the_first_lives(made: PostgresAddress) -> None:
    """It is told who has it; when the first one has let go, it need not wait."""

    async def run() -> None:
        async with _opened(made) as first:
            with pytest.raises(DatabaseInUse, match=r"is used by process [0-9]+ on "):
                await PostgresDatabase.open(made)
            assert first.is_ours()
            await first.apply([_server(1)])
        async with _opened(made) as second:
            assert second.term == first.term + 1

    asyncio.run(run())


def test_one_that_was_killed_is_waited_for(server: PostgresServer, made: PostgresAddress) -> None:
    """Its lease has to end first; nobody prolongs it."""
    server.execute(
        "UPDATE offset_node.writer SET term = 7, writing = 7, holder = 'x', until = clock_timestamp() + '2 s'",
        made.text,
    )

    async def run() -> None:
        async with _opened(made) as second:
            assert second.term == 8
            assert server.execute("SELECT term, writing FROM offset_node.writer", made.text) == [(8, 8)]

    asyncio.run(run())


def test_who_was_overtaken_stores_nothing(server: PostgresServer, made: PostgresAddress) -> None:
    """Though its clock says that it still may: the transaction is refused, and says who has taken over."""

    async def run() -> None:
        async with _opened(made) as first:
            await first.apply([_server(1)])
            _end_lease(server, made)
            async with _opened(made) as second:
                assert first.is_ours(), "as far as it knows"
                with pytest.raises(DatabaseWriteError, match=r"has taken over \(term 2, after 1 of this process\)"):
                    await first.apply([_server(2)])
                assert not first.is_ours()
                with pytest.raises(DatabaseWriteError, match="says nothing more"):
                    await first.apply([_server(3)])
                await second.apply([_server(4)])
                assert [server.public_key[0] for server in (await second.load()).index_servers] == [1, 4]
                with pytest.raises(DatabaseWriteError, match="has taken over"):
                    await first.keep()

    asyncio.run(run())


def test_who_slept_says_nothing_more(made: PostgresAddress, clock: _Clock) -> None:
    """Even where nobody has taken over: what it has kept silent about, only a new start makes good."""

    async def run() -> None:
        async with _opened(made) as database:
            assert database.is_ours()
            clock.late = lease.LEASE_SECONDS
            assert not database.is_ours()
            clock.late = 0
            assert not database.is_ours()
            with pytest.raises(DatabaseWriteError, match="the right to write has ended"):
                await database.apply([_server(1)])
            with pytest.raises(DatabaseWriteError, match="the right to write has ended"):
                await database.keep()
        async with _opened(made) as database:
            assert (await database.load()) == EMPTY

    asyncio.run(run())


def test_it_acts_for_less_than_the_lease_lasts(made: PostgresAddress, clock: _Clock) -> None:
    """By a second, counted from before it asked: the server counts longer than its holder."""

    async def run() -> None:
        before = clock()
        async with _opened(made) as database:
            assert database._ours_until < clock() + lease.LEASE_SECONDS - lease.MARGIN_SECONDS
            assert database._ours_until >= before + lease.LEASE_SECONDS - lease.MARGIN_SECONDS

    asyncio.run(run())


@pytest.mark.parametrize("what", ["a batch", "a database that is kept"])
def test_it_is_prolonged(server: PostgresServer, made: PostgresAddress, what: str) -> None:
    """By each batch, and where there is nothing to store."""

    async def run() -> None:
        async with _opened(made) as database:
            until, until_there = database._ours_until, _until(server, made)
            if what == "a batch":
                await database.apply([_server(1)])
            else:
                await asyncio.sleep(lease.RENEW_SECONDS + 1)
            assert database._ours_until > until
            assert _until(server, made) > until_there
            assert database.is_ours()

    asyncio.run(asyncio.wait_for(run(), 60))


def _until(server: PostgresServer, address: PostgresAddress) -> float:
    ((seconds,),) = server.execute("SELECT extract(epoch FROM until)::float8 FROM offset_node.writer", address.text)
    assert isinstance(seconds, float)
    return seconds


@pytest.mark.parametrize("lose", [PostgresServer.disconnect, _end_lease], ids=["connection", "lease"])
def test_who_keeps_it_is_told_that_it_is_lost(
    server: PostgresServer, made: PostgresAddress, lose: Callable[[PostgresServer, object], object]
) -> None:
    """A node that has nothing to store hears it as well, while another one has taken over."""

    async def run() -> None:
        async with _opened(made) as first:
            if lose is _end_lease:
                _end_lease(server, made)
                async with _opened(made):
                    with pytest.raises(DatabaseWriteError, match="has taken over"):
                        await first.keep()
            else:
                server.disconnect(made.text)
                with pytest.raises(DatabaseWriteError, match="connection"):
                    await first.keep()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_server_that_does_not_answer(made: PostgresAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch is not waited for longer than the lease lasts. It may be stored all the same, and then as a whole."""
    monkeypatch.setattr(lease, "LEASE_SECONDS", 2)

    async def run() -> None:
        async with _opened(made) as database:
            blocker = await connect(made)
            try:
                async with blocker.transaction():
                    await blocker.execute("LOCK TABLE index_servers")
                    with pytest.raises(DatabaseWriteError, match="the right to write has ended"):
                        await database.apply([_server(1), _server(2)])
                    assert not database.is_ours()
            finally:
                await blocker.close()
        async with _opened(made) as database:
            assert len((await database.load()).index_servers) in {0, 2}

    asyncio.run(asyncio.wait_for(run(), 60))
