"""
The database of a web server: tokens and sessions, payments and invoices, and what was paid on which day.

One SQLite file in the state directory, readable for its owner only. `stweb token` writes to it while the server runs,
so nothing is kept in memory: whoever is let in is looked up at each request, and a token that was revoked is refused
from the next one on. Who has the lock of the directory, as a server does, may give an older file what it lacks: so a
newer program changes nothing under an older server that runs. A transaction that has returned is on disk (WAL,
``synchronous=FULL``).

Amounts are texts, since an integer of SQLite has 64 bits. Secrets are not in it, only their SHA-256: they have 256
random bits, so there is nothing to guess that a slower hash would protect. Those of webhooks are, since what is sent is
signed with them; they let nobody in. So are the names of the pages for buyers, each of which shows one request.
"""

import fcntl
import hashlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Final

from offset_proto.errors import OffsetError
from offset_proto.files import IoError

__all__ = [
    "Connection",
    "Database",
    "DatabaseDamaged",
    "DatabaseUnavailable",
    "Row",
    "StateInUse",
    "hash_secret",
    "lock_state",
    "open_database",
]

log = logging.getLogger("offset.web")

Connection = sqlite3.Connection
Row = sqlite3.Row

FILE_NAME: Final = "stweb.db"
BUSY_SECONDS: Final = 10.0
"""For another process that writes; each transaction takes milliseconds."""

_FIRST_TABLES: Final = """
CREATE TABLE tokens (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, secret BLOB NOT NULL UNIQUE, may TEXT NOT NULL, until INTEGER NOT NULL,
    created INTEGER NOT NULL, used INTEGER, revoked INTEGER
);
CREATE UNIQUE INDEX live_names ON tokens (name) WHERE revoked IS NULL;
CREATE TABLE links (secret BLOB PRIMARY KEY, until INTEGER NOT NULL);
CREATE TABLE sessions (secret BLOB PRIMARY KEY, until INTEGER NOT NULL);
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE keys (
    owner TEXT NOT NULL, key TEXT NOT NULL, request BLOB NOT NULL, made TEXT NOT NULL, created INTEGER NOT NULL,
    PRIMARY KEY (owner, key)
);
CREATE TABLE spent (
    owner TEXT NOT NULL, currency TEXT NOT NULL, day INTEGER NOT NULL, amount TEXT NOT NULL,
    PRIMARY KEY (owner, currency, day)
);
CREATE TABLE payments (
    sequence INTEGER NOT NULL UNIQUE, payment_id TEXT PRIMARY KEY, node TEXT NOT NULL, owner TEXT NOT NULL,
    invoice TEXT NOT NULL, fees_max TEXT NOT NULL, fees TEXT, day INTEGER NOT NULL, counted TEXT NOT NULL,
    state TEXT NOT NULL, is_settled INTEGER NOT NULL, failure TEXT, created INTEGER NOT NULL, changed INTEGER NOT NULL
);
CREATE INDEX unsettled ON payments (node, owner) WHERE NOT is_settled;
CREATE TABLE invoices (
    sequence INTEGER NOT NULL UNIQUE, invoice_id TEXT PRIMARY KEY, node TEXT NOT NULL, owner TEXT NOT NULL,
    invoice TEXT NOT NULL, expires INTEGER, state TEXT NOT NULL, collected_with BLOB, created INTEGER NOT NULL,
    changed INTEGER NOT NULL
);
CREATE INDEX open_invoices ON invoices (owner) WHERE state IN ('adding', 'open');
"""

_DELIVERIES: Final = """
CREATE TABLE deliveries (
    payment_id TEXT PRIMARY KEY, address TEXT NOT NULL, state TEXT NOT NULL, detail TEXT NOT NULL
);
"""

_WEBHOOKS: Final = """
CREATE TABLE webhooks (
    webhook_id TEXT PRIMARY KEY, node TEXT NOT NULL, owner TEXT NOT NULL, address TEXT NOT NULL, topics TEXT NOT NULL,
    secret BLOB NOT NULL, created INTEGER NOT NULL, is_over INTEGER NOT NULL, lost INTEGER NOT NULL,
    tries INTEGER NOT NULL, due INTEGER NOT NULL, failure TEXT
);
CREATE TABLE webhook_events (
    number INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL, webhook TEXT NOT NULL, body BLOB NOT NULL,
    created INTEGER NOT NULL
);
CREATE INDEX events_of_webhooks ON webhook_events (webhook, number);
"""

_CIRCLES: Final = """
CREATE TABLE circle_runs (
    run_id TEXT PRIMARY KEY, node TEXT NOT NULL, owner TEXT NOT NULL, kind TEXT NOT NULL, currency TEXT NOT NULL,
    state TEXT NOT NULL, fees_max TEXT NOT NULL, day INTEGER NOT NULL, counted TEXT NOT NULL, circles TEXT NOT NULL,
    failure TEXT, created INTEGER NOT NULL, changed INTEGER NOT NULL
);
CREATE INDEX open_circle_runs ON circle_runs (owner) WHERE state = 'running';
"""

_REQUESTS: Final = """
CREATE INDEX payments_by_age ON payments (node, created);
CREATE INDEX invoices_by_age ON invoices (node, created);
CREATE TABLE requests (
    id INTEGER PRIMARY KEY, invoice_id TEXT NOT NULL UNIQUE, text TEXT NOT NULL, created INTEGER NOT NULL
);
"""

_CHECKOUTS: Final = """
ALTER TABLE invoices ADD COLUMN checkout TEXT;
ALTER TABLE invoices ADD COLUMN return_to TEXT;
CREATE UNIQUE INDEX checkouts ON invoices (checkout);
"""

_HANDED: Final = """
ALTER TABLE invoices ADD COLUMN handed_after INTEGER;
ALTER TABLE invoices ADD COLUMN made_after INTEGER NOT NULL DEFAULT 0;
ALTER TABLE invoices ADD COLUMN is_proved INTEGER NOT NULL DEFAULT 0;
CREATE INDEX invoices_in_doubt ON invoices (node, sequence)
    WHERE state IN ('open', 'over') AND collected_with IS NOT NULL;
CREATE INDEX ends_to_come ON invoices (node, expires) WHERE state = 'open';
"""

_TIMELINES: Final = """
ALTER TABLE invoices ADD COLUMN handed_timeline INTEGER NOT NULL DEFAULT 0;
ALTER TABLE invoices ADD COLUMN made_timeline INTEGER NOT NULL DEFAULT 0;
"""

_VERSIONS: Final = (_FIRST_TABLES, _DELIVERIES, _WEBHOOKS, _CIRCLES, _REQUESTS, _CHECKOUTS, _HANDED, _TIMELINES)
"""What each version of the file has beyond the one before. A file of an earlier version gets what it lacks."""


class DatabaseDamaged(OffsetError):
    """The file is no database of this program, or of a later version of it."""

    def __init__(self, path: Path, reason: object) -> None:
        super().__init__(f"DatabaseDamaged({path}: {reason})")


class DatabaseUnavailable(OffsetError):
    """
    The file can not be read or written now: the disk is full, or another process holds it. Nothing has changed.

    Attributes:
        is_held: Another process holds it, and was waited for.
    """

    def __init__(self, reason: object, *, is_held: bool = False) -> None:
        super().__init__(str(reason))
        self.is_held = is_held


class StateInUse(OffsetError):
    """Another server uses the state directory."""


class Database:
    """
    An open database; made by `open_database`.

    Attributes:
        path: Of the file.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, clock: Callable[[], float]) -> None:
        self.path = path
        self._connection = connection
        self._clock = clock

    def now(self) -> int:
        """Seconds since 1970."""
        return int(self._clock())

    def ask(self, query: str, *values: object) -> list[sqlite3.Row]:
        """All rows of a query that changes nothing. Raises DatabaseUnavailable."""
        with self._errors():
            return self._connection.execute(query, values).fetchall()

    def ask_one(self, query: str, *values: object) -> sqlite3.Row | None:
        """The first row of a query that changes nothing; None: there is none."""
        rows = self.ask(query, *values)
        return rows[0] if rows else None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """
        All or nothing, durable at the end of the ``with`` block; nobody else writes meanwhile.

        Raises:
            DatabaseUnavailable: It is nothing.
        """
        with self._errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # SQLite itself rolls back where the disk is full
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            log.error("%s can not be used now: %s", self.path, error)
            is_held = getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            text = f"the database of this server can not be used now: {error}"
            raise DatabaseUnavailable(text, is_held=is_held) from None

    def next_sequence(self, table: str) -> int:
        """The number that comes after those of all rows of *table*; only inside of a transaction."""
        name = f"sequence of {table}"
        row = self.ask_one("SELECT value FROM facts WHERE name = ?", name)
        number = 1 + (0 if row is None else int(row[0]))
        self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, str(number)))
        return number

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


@contextmanager
def lock_state(directory: Path) -> Iterator[None]:
    """
    Have a state directory, which is made where it is missing, for the length of a ``with`` block; nobody else has it.

    Raises:
        StateInUse: Somebody else has.
        IoError: It can not be used.
    """
    path = directory / "lock"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise IoError(path, error.strerror or str(error)) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StateInUse(f"another stweb uses {directory}") from None
        yield


@contextmanager
def open_database(
    directory: Path, clock: Callable[[], float] = time.time, *, is_locked: bool = False
) -> Iterator[Database]:
    """
    The database of a state directory, for the length of a ``with`` block; both are made where they are missing.

    Args:
        directory: Where it is; is made readable for its owner only.
        clock: Seconds since 1970.
        is_locked: The caller has the directory by `lock_state`.

    Raises:
        IoError: It can not be opened.
        StateInUse: It is of an earlier version, and somebody else has the directory.
        DatabaseDamaged: It is no database of this program.
    """
    path = directory / FILE_NAME
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise IoError(path, getattr(error, "strerror", None) or str(error)) from None
    try:
        database = Database(path, connection, clock)
        try:
            _set_up(database, connection, is_locked=is_locked)
        except sqlite3.Error as error:
            raise DatabaseDamaged(path, error) from None
        yield database
    finally:
        connection.close()


def _set_up(database: Database, connection: sqlite3.Connection, *, is_locked: bool) -> None:
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    if _version(database) == len(_VERSIONS):
        return
    with nullcontext() if is_locked else lock_state(database.path.parent), database.transaction():
        version = _version(database)
        for tables in _VERSIONS[version:]:
            for statement in tables.split(";"):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(_VERSIONS)}")


def _version(database: Database) -> int:
    (version,) = database.ask("PRAGMA user_version")[0]
    if not 0 <= version <= len(_VERSIONS):
        raise DatabaseDamaged(database.path, f"version {version}, and this program knows {len(_VERSIONS)}")
    return int(version)


def hash_secret(secret: str) -> bytes:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
