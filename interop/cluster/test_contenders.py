"""Who waits for the lease of a database, ends only what keeps everybody out, and nobody who may still write."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import psycopg
import pytest

from interop.cluster.server import PostgresServer
from offset_funder.state import FunderState
from offset_node.database import lease
from offset_node.database.names import PostgresAddress
from offset_node.database.opening import create_database, stand_by
from offset_node.database.postgres import PostgresDatabase
from offset_node.database.postgres_connection import Connection, connect
from offset_node.database.postgres_lease import take
from offset_node.state import NodeState
from offset_proto.log_events import DATABASE_LOCKED, Told
from offset_proto.types import PublicKey

KEY = PublicKey(b"\x21" * 32)
PATIENCE = 60
LONGER_THAN_A_LEASE = lease.LEASE_SECONDS + 0.5

TAKEN = "UPDATE writer SET term = term + 1, writing = term + 1, until = clock_timestamp() + interval '1 hour'"
BATCH = "UPDATE writer SET writing = term, until = clock_timestamp() + interval '1 hour'"


@pytest.fixture
def made(address: str) -> PostgresAddress:
    """A database whose lease nobody has."""
    create_database(PostgresAddress(address), NodeState(FunderState(KEY)))
    return PostgresAddress(address)


async def _connected(stack: AsyncExitStack, address: PostgresAddress) -> Connection:
    connection = await connect(address)
    stack.push_async_callback(connection.close)
    return connection


def test_a_server_of_slow_commits_does_not_let_two_end_each_other(
    server: PostgresServer, made: PostgresAddress
) -> None:
    """Each locks the row for longer than the other one waits for it; one of them takes over all the same."""
    server.execute(
        "CREATE FUNCTION offset_node.slow() RETURNS trigger LANGUAGE plpgsql"
        " AS $$BEGIN PERFORM pg_sleep(2.5); RETURN NULL; END$$",
        made.text,
    )
    server.execute(
        "CREATE CONSTRAINT TRIGGER slow AFTER UPDATE ON offset_node.writer DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION offset_node.slow()",
        made.text,
    )

    async def run() -> None:
        shown: list[str] = []
        standbys = [asyncio.create_task(stand_by(made, KEY, shown.append)) for _ in range(2)]
        done, waiting = await asyncio.wait(standbys, return_when=asyncio.FIRST_COMPLETED)
        for standby in waiting:
            standby.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        (first, *_) = [each.result() for each in done]
        assert isinstance(first, PostgresDatabase)
        assert first.term == 1
        assert not any("not reached" in text for text in shown)
        for each in done:
            await each.result().close()

    asyncio.run(asyncio.wait_for(run(), PATIENCE))


def test_who_is_about_to_take_the_lease_is_not_ended(made: PostgresAddress) -> None:
    """Though it holds the row for longer than the other one waits for it: over a slow network that is no wonder."""

    async def run() -> None:
        async with AsyncExitStack() as stack:
            first, second = [await _connected(stack, made) for _ in range(2)]
            await first.execute("BEGIN")
            await first.execute(TAKEN)
            assert await take(second) is None
            await first.execute("COMMIT")
            assert await take(second) is None

    asyncio.run(asyncio.wait_for(run(), PATIENCE))


def test_a_batch_of_a_term_that_has_just_begun_is_not_ended(
    made: PostgresAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though its transaction is old: whoever waited for the row in vain looks again whether the lease has ended."""

    async def run() -> None:
        async with AsyncExitStack() as stack:
            holder, batch, contender = [await _connected(stack, made) for _ in range(3)]
            await batch.execute("BEGIN")
            await asyncio.sleep(LONGER_THAN_A_LEASE)
            await holder.execute("BEGIN")
            await holder.execute(TAKEN)
            execute = contender.execute

            async def execute_after_the_other(query: Any, *args: Any, **options: Any) -> Any:
                if b"pg_terminate_backend" in query:  # the contender has waited for the row, and ends who holds it
                    await holder.execute("COMMIT")
                    await batch.execute(BATCH)
                return await execute(query, *args, **options)

            monkeypatch.setattr(contender, "execute", execute_after_the_other)
            assert await take(contender) is None
            await batch.execute("COMMIT")

    asyncio.run(asyncio.wait_for(run(), PATIENCE))


@pytest.fixture
def other_role(server: PostgresServer, made: PostgresAddress) -> Iterator[PostgresAddress]:
    """The same database for another role."""
    server.execute("CREATE ROLE other LOGIN")
    server.execute("GRANT ALL ON SCHEMA offset_node TO other", made.text)
    server.execute("GRANT ALL ON ALL TABLES IN SCHEMA offset_node TO other", made.text)
    yield PostgresAddress(made.text.replace("tester@", "other@"))
    server.execute("DROP OWNED BY other", made.text)
    server.execute("DROP ROLE other")


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("other", BATCH),
        ("tester", "SELECT * FROM writer FOR UPDATE"),
        ("tester", "LOCK TABLE writer IN SHARE MODE"),
    ],
)
def test_who_locks_the_row_and_is_not_ended_is_named(
    made: PostgresAddress, other_role: PostgresAddress, caplog: pytest.LogCaptureFixture, role: str, statement: str
) -> None:
    """Once, so that somebody ends it; until then it is waited for, and no longer."""

    async def run() -> None:
        shown: list[str] = []
        shows = asyncio.Event()

        def show(text: str) -> None:
            shown.append(text)
            shows.set()

        async with AsyncExitStack() as stack:
            forgotten = await _connected(stack, other_role if role == "other" else made)
            await forgotten.execute("BEGIN")
            await forgotten.execute(statement.encode())
            who = f"process {forgotten.info.backend_pid} of the server (role {role}, application offset-node)"
            standby = asyncio.create_task(stand_by(made, KEY, show))
            await shows.wait()
            await asyncio.sleep(2.5)
            assert shown == [f"stands by; the right to write has ended, and its row is locked by {who}"]
            await forgotten.execute("ROLLBACK")
        await (await standby).close()
        (told,) = [each.msg for each in caplog.records if getattr(each.msg, "event", None) is DATABASE_LOCKED]
        assert isinstance(told, Told)
        assert (told.fields["holder"], told.fields.keys()) == (who, DATABASE_LOCKED.fields.keys())

    asyncio.run(asyncio.wait_for(run(), PATIENCE))


def test_nobody_in_another_database_is_ended(server: PostgresServer, made: PostgresAddress) -> None:
    """The tables of a database and of its copy have the same numbers."""
    name = made.text.partition("@/")[2].partition("?")[0]
    copy = PostgresAddress(server.new_database(f"TEMPLATE {name}"))

    async def run() -> None:
        async with AsyncExitStack() as stack:
            elsewhere, frozen, contender = [await _connected(stack, each) for each in (made, copy, copy)]
            for each in (elsewhere, frozen):
                await each.execute("BEGIN")
                await each.execute(BATCH)
            while await take(contender) is None:
                pass
            await elsewhere.execute("COMMIT")
            with pytest.raises(psycopg.errors.AdminShutdown):
                await frozen.execute("COMMIT")

    asyncio.run(asyncio.wait_for(run(), PATIENCE))
