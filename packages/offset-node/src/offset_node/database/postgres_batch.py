"""
Shell: a batch of statements to a server of PostgreSQL, as one transaction and one round trip.

How a batch is sent
    All messages of the batch are put together first and sent then: ``BEGIN``, the statements, ``COMMIT``, and a *sync*.
    The server answers after the sync. If a statement fails, it skips all that follow up to the sync, the commit as
    well. This is libpq's pipeline mode (https://www.postgresql.org/docs/current/libpq-pipeline-mode.html).

Why not by psycopg's cursors
    In its pipeline mode a cursor sends each statement by itself, and finds out anew how to encode each value. A batch
    of a busy node has hundreds of statements of few forms, of integers, bytes and texts, and what a statement costs
    decides how many payments a node carries. So this module speaks to libpq by `psycopg.pq`, and to psycopg for
    waiting.

Prepared statements
    The text of a statement is sent once in the life of a connection, with the types of its values. What is prepared in
    a batch that fails may be prepared or not; then all are prepared again, under new names.
"""

import itertools
from collections.abc import Iterable
from typing import Any, Final

from psycopg import Error, pq
from psycopg.abc import PQGen
from psycopg.errors import error_from_result
from psycopg.generators import fetch_many, send

from offset_node.database.dialect import escape, to_postgres_numbered
from offset_node.database.postgres_connection import Connection
from offset_node.database.tables.cells import Statement

__all__ = ["BatchSender"]

_INT8: Final = 20
_BYTEA: Final = 17
_TEXT: Final = 25
_UNKNOWN: Final = 0

_AS_TEXT: Final = 0
_AS_BYTES: Final = 1

_BEGIN: Final[Statement] = ("BEGIN", ())
_COMMIT: Final[Statement] = ("COMMIT", ())


def _encode(value: Any) -> tuple[bytes | None, int, int]:
    """A value as it is sent, the number of its type, and its form; these are all types that `tables` writes."""
    match value:
        case None:
            return None, _UNKNOWN, _AS_TEXT
        case bytes():
            return bytes(value), _BYTEA, _AS_BYTES
        case str():
            return escape(value).encode(), _TEXT, _AS_TEXT
        case int():
            return b"%d" % value, _INT8, _AS_TEXT
        case _:
            raise TypeError(f"a cell holds no {type(value).__name__}")


class BatchSender:
    """
    Sends batches over a connection that does nothing else meanwhile.

    Args:
        connection: Outside of any transaction.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._prepared: dict[tuple[str, tuple[int, ...]], bytes] = {}
        self._numbers = itertools.count()

    async def store(self, statements: Iterable[Statement]) -> None:
        """
        Carry statements out in order and in one transaction; durable when this returns.

        Raises:
            psycopg.Error: Nothing is stored; or the connection is lost, and it is not known whether all is.
        """
        async with self._connection.lock:
            pgconn = self._connection.pgconn
            pgconn.enter_pipeline_mode()
            for text, values in (_BEGIN, *statements, _COMMIT):
                self._put(text, values)
            pgconn.pipeline_sync()
            failure = await self._connection.wait(_answers(pgconn))
            pgconn.exit_pipeline_mode()
        if failure is not None:
            self._prepared.clear()
            await self._connection.rollback()
            raise failure

    def _put(self, text: str, values: tuple[Any, ...]) -> None:
        """Put a statement behind those that are to be sent."""
        pgconn = self._connection.pgconn
        encoded = [_encode(value) for value in values]
        key = (text, tuple(kind for _, kind, _ in encoded))
        name = self._prepared.get(key)
        if name is None:
            name = self._prepared[key] = b"batch_%d" % next(self._numbers)
            pgconn.send_prepare(name, to_postgres_numbered(text).encode(), key[1])
        cells, forms = [cell for cell, _, _ in encoded], [form for _, _, form in encoded]
        pgconn.send_query_prepared(name, cells, forms)


def _answers(pgconn: "pq.abc.PGconn") -> PQGen[Error | None]:
    """Send what was put together, and take all answers up to that to the sync; the first failure among them."""
    yield from send(pgconn)
    failure: Error | None = None
    while True:
        for result in (yield from fetch_many(pgconn)):
            if result.status == pq.ExecStatus.PIPELINE_SYNC:
                return failure
            if result.status == pq.ExecStatus.FATAL_ERROR and failure is None:
                failure = error_from_result(result)
