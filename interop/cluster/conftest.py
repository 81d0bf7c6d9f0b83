"""A server of PostgreSQL for all tests, and an empty database of it for each."""

from collections.abc import Iterator

import pytest

from interop.cluster.server import PostgresServer, find_postgres


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    """A server of this machine's PostgreSQL."""
    programs = find_postgres()
    if programs is None:
        pytest.skip(
            "there is no PostgreSQL on this machine, and none could be installed; see interop/cluster/server.py"
        )
    with PostgresServer(programs) as started:
        yield started


@pytest.fixture
def address(server: PostgresServer) -> str:
    """Of a database that is empty."""
    return server.new_database()
