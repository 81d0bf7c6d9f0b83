"""
The node's database: SQLite, one transaction per batch of mutations. Spec 07 §7.

Write-ahead log with ``synchronous=FULL``: when `Database.apply` returns, the batch survives a power
failure. All statements of a batch run on one worker thread, so the event loop waits once per batch and not
once per statement. A lock file keeps a second node away from the same database (D80); the operating
system releases it however the process ends.
"""

import asyncio
import fcntl
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from immutables import Map

from offset_funder.invariants import check_state
from offset_funder.mutations import AddFriend
from offset_funder.state import (
    Channel,
    Consistent,
    CurrencyConfig,
    Friend,
    FunderState,
    Ledger,
    OpenInvoice,
    OpenTransaction,
    TokenChannel,
)
from offset_node.database import original as forms
from offset_node.database.errors import DatabaseInUse, DatabaseWriteError, LoadDbError
from offset_node.database.plugin_rows import PLUGIN_SCHEMA, plugin_statements
from offset_node.database.rows import (
    APPLICATION_ID,
    EXPORTED_APPLICATION_ID,
    SCHEMA,
    SCHEMA_VERSION,
    Statement,
    insert_friend,
    insert_state,
    statements_of,
)
from offset_node.state import AddPluginEvent, Mutation, NodeState, PluginMutation, PluginRecords
from offset_proto.errors import InvalidInput, InvariantBroken
from offset_proto.files import IoError, OutputAlreadyExists
from offset_proto.json_forms import Form
from offset_proto.messages.payment import NamedIndexServerAddress, NamedRelayAddress, Rate
from offset_proto.text import parse_integer
from offset_proto.types import (
    Currency,
    HashedLock,
    Integer,
    InvoiceId,
    NetAddress,
    PaymentId,
    PlainLock,
    PublicKey,
    Uid,
)

__all__ = [
    "Database",
    "create_database",
    "load_database",
]

T = TypeVar("T")


MIGRATIONS = {1: PLUGIN_SCHEMA}
"""What turns a database of a version into one of the next."""


def create_database(path: Path, state: NodeState) -> None:
    """
    Write a new database that holds *state*; complete or not at all, mode 0600.

    Raises:
        OutputAlreadyExists: There is a file of that name; it stays as it is.
        IoError: It can not be written.
    """
    if path.exists() or path.is_symlink():
        raise OutputAlreadyExists(path)
    temporary = path.with_name(f".new.{os.getpid()}.{path.name}")
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            _fill(temporary, state)
            os.link(temporary, path)
        finally:
            temporary.unlink()
    except FileExistsError:
        raise OutputAlreadyExists(path) from None
    except OSError as error:
        raise IoError(path, error.strerror or str(error)) from None
    except sqlite3.Error as error:
        raise IoError(path, str(error)) from None


def _fill(path: Path, state: NodeState) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.executescript(
            f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
            "PRAGMA synchronous = FULL; BEGIN;" + SCHEMA + PLUGIN_SCHEMA
        )
        for sql, parameters in insert_state(state):
            connection.execute(sql, parameters)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")  # stays with the file
    finally:
        connection.close()


def load_database(path: Path) -> NodeState:
    """
    The state in a database that no node runs on.

    Raises:
        LoadDbError: It can not be loaded.
        DatabaseInUse: A node runs on it.
    """
    database = Database(path)
    try:
        return database.load()
    finally:
        database.close()


class Database:
    """
    An open database.

    Args:
        path: Made by `create_database`.
        even_exported: Also one whose node was moved to another program; to be read, not to run on.

    Raises:
        LoadDbError: No such file, not one of ours, or exported.
        DatabaseInUse: Another process holds it.
    """

    def __init__(self, path: Path, *, even_exported: bool = False) -> None:
        self._path = path
        self._even_exported = even_exported
        self.is_exported = False
        self._local_public_key: PublicKey | None = None
        if not path.is_file():
            raise LoadDbError(path, "no such file" if not path.exists() else "not a regular file")
        if _starts_with(path, b"{"):
            raise LoadDbError(path, "JSON, as the original writes it; stmgr import-db makes a database from that")
        self._lock = _take_lock(path)
        self._worker = ThreadPoolExecutor(1, "database")
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._prepare()
        except (sqlite3.Error, UnicodeError) as error:  # SQLite quotes what is damaged, which may be no text
            self.close()
            raise LoadDbError(path, error) from None
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        execute = self._connection.execute
        application_id = execute("PRAGMA application_id").fetchone()[0]
        version = execute("PRAGMA user_version").fetchone()[0]
        self.is_exported = application_id == EXPORTED_APPLICATION_ID
        if application_id != APPLICATION_ID and not self.is_exported:
            raise LoadDbError(self._path, "not a node database")
        if self.is_exported and not self._even_exported:
            raise LoadDbError(self._path, "exported: its node may have gone on elsewhere, import it from there")
        if version != SCHEMA_VERSION and version not in MIGRATIONS:
            raise LoadDbError(self._path, f"schema version {version}, this program knows {SCHEMA_VERSION}")
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        execute("PRAGMA foreign_keys = ON")
        for older in range(version, SCHEMA_VERSION):
            self._connection.executescript(f"BEGIN;{MIGRATIONS[older]}PRAGMA user_version = {older + 1};COMMIT;")
        for suffix in ("-wal", "-shm"):
            extra = self._path.with_name(self._path.name + suffix)
            if extra.exists():
                extra.chmod(0o600)

    def load(self) -> NodeState:
        """
        The whole state.

        Raises:
            LoadDbError: Damaged, or it breaks a rule of the ledger.
        """
        try:
            problem = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if problem != "ok":
                raise LoadDbError(self._path, problem)
            state = _Reader(self._connection).read()
            check_state(state.funder)
        except (sqlite3.Error, InvalidInput, InvariantBroken, UnicodeError) as error:
            raise LoadDbError(self._path, error) from None
        self._local_public_key = state.funder.local_public_key
        return state

    def load_plugins(self) -> PluginRecords:
        """
        What is kept for plugins.

        Raises:
            LoadDbError: Damaged.
        """
        values: dict[str, dict[str, bytes]] = {}
        try:
            for plugin, key, value in self._connection.execute("SELECT plugin, key, value FROM plugin_values"):
                values.setdefault(plugin, {})[key] = value
            rows = self._connection.execute("SELECT * FROM plugin_events ORDER BY position")
            return PluginRecords(values, [AddPluginEvent(*row) for row in rows])
        except (sqlite3.Error, UnicodeError) as error:
            raise LoadDbError(self._path, error) from None

    def mark_exported(self, is_exported: bool) -> None:
        """Keep nodes from running on it, or let them again; durable when this returns."""
        application_id = EXPORTED_APPLICATION_ID if is_exported else APPLICATION_ID
        try:
            self._connection.execute(f"PRAGMA application_id = {application_id}")
        except sqlite3.Error as error:
            raise DatabaseWriteError(self._path, error) from None
        self.is_exported = is_exported

    async def apply(self, mutations: Iterable[Mutation]) -> None:
        """
        Store a batch, all or nothing; durable when this returns.

        Raises:
            DatabaseWriteError: It is not stored.
        """
        statements = list(self._statements(mutations))
        loop = asyncio.get_running_loop()
        try:
            await asyncio.shield(loop.run_in_executor(self._worker, self._commit, statements))
        except (sqlite3.Error, OSError) as error:
            raise DatabaseWriteError(self._path, error) from None

    def close(self) -> None:
        """Wait for the batch under way, and let the database go."""
        self._worker.shutdown(wait=True)
        connection = getattr(self, "_connection", None)
        if connection is not None:
            connection.close()
        os.close(self._lock)

    def _statements(self, mutations: Iterable[Mutation]) -> Iterator[Statement]:
        for mutation in mutations:
            if isinstance(mutation, PluginMutation):
                yield from plugin_statements(mutation)
            elif isinstance(mutation, AddFriend):
                if self._local_public_key is None:
                    raise InvariantBroken("a database is loaded before it is written")
                yield from insert_friend(self._local_public_key, mutation)
            else:
                yield from statements_of(mutation)

    def _commit(self, statements: list[Statement]) -> None:
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            for sql, parameters in statements:
                execute(sql, parameters)
            execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                execute("ROLLBACK")
            raise


def _starts_with(path: Path, start: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(start)) == start
    except OSError as error:
        raise LoadDbError(path, error.strerror or error) from None


def _take_lock(path: Path) -> int:
    lock_path = path.with_name(path.name + ".lock")
    try:
        descriptor = os.open(lock_path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LoadDbError(lock_path, error.strerror or error) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise DatabaseInUse(path) from None
    return descriptor


_AMOUNT = Integer(128)
_BALANCE = Integer(128, signed=True)


class _Reader:
    """Reads the tables into a state; every value is checked again."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute

    def read(self) -> NodeState:
        row = self._execute("SELECT local_public_key FROM node").fetchone()
        if row is None:
            raise InvalidInput("the table node is empty")
        local = PublicKey(row[0])
        funder = FunderState(
            local_public_key=local,
            relays=self._addresses("relays", NamedRelayAddress),
            friends=self._friends(local),
            open_invoices=self._invoices(),
            open_transactions=self._transactions(),
            payments=self._payments(),
        )
        return NodeState(funder, self._addresses("index_servers", NamedIndexServerAddress))

    def _addresses(self, table: str, cls: Callable[[PublicKey, NetAddress, str], T]) -> tuple[T, ...]:
        rows = self._execute(f"SELECT public_key, address, name FROM {table} ORDER BY position")
        return tuple(cls(PublicKey(key), NetAddress(address), name) for key, address, name in rows)

    def _grouped(self, sql: str) -> dict[bytes, list[tuple[Any, ...]]]:
        """Rows by their first column."""
        grouped: dict[bytes, list[tuple[Any, ...]]] = {}
        for key, *row in self._execute(sql):
            grouped.setdefault(key, []).append(tuple(row))
        return grouped

    def _friends(self, local: PublicKey) -> Any:
        configs = self._grouped(
            "SELECT friend, currency, rate_mul, rate_add, remote_max_debt, is_open FROM currency_configs"
        )
        ledgers = self._grouped(
            "SELECT friend, currency, balance, local_pending_debt, remote_pending_debt FROM ledgers"
        )
        pending = self._grouped("SELECT friend, currency, side, request_id, pending FROM pending_transactions")
        queued = self._grouped("SELECT friend, queue, currency, operation FROM queued_operations ORDER BY position")
        friends = {}
        columns = (
            "public_key, name, is_enabled, remote_relays, sent_local_relays, "
            "direction, active_local, active_remote, inconsistent"
        )
        for key, name, enabled, relays, sent, *channel in self._execute(f"SELECT {columns} FROM friends"):
            remote = PublicKey(key)
            friends[remote] = Friend(
                local_public_key=local,
                remote_public_key=remote,
                remote_relays=_parse(forms.RELAYS, relays),
                sent_local_relays=_parse(forms.SENT_RELAYS, sent),
                name=name,
                currency_configs=Map(map(_config, configs.get(key, []))),
                is_enabled=bool(enabled),
                channel=_channel(
                    local, remote, channel, ledgers.get(key, []), pending.get(key, []), queued.get(key, [])
                ),
            )
        return Map(friends)

    def _invoices(self) -> Any:
        transactions = self._grouped("SELECT invoice_id, request_id FROM invoice_transactions ORDER BY position")
        return Map(
            {
                InvoiceId(invoice_id): OpenInvoice(
                    Currency(currency),
                    parse_integer(_AMOUNT, total),
                    PlainLock(lock),
                    None if src_lock is None else HashedLock(src_lock),
                    tuple(Uid(row[0]) for row in transactions.get(invoice_id, [])),
                )
                for invoice_id, currency, total, lock, src_lock in self._execute("SELECT * FROM open_invoices")
            }
        )

    def _transactions(self) -> Any:
        return Map(
            {
                Uid(request_id): OpenTransaction(
                    PaymentId(payment_id), None if response is None else _parse(forms.RESPONSE, response)
                )
                for request_id, payment_id, response in self._execute("SELECT * FROM open_transactions")
            }
        )

    def _payments(self) -> Any:
        return Map(
            {
                PaymentId(payment_id): _parse(forms.PAYMENT, payment)
                for payment_id, payment in self._execute("SELECT * FROM payments")
            }
        )


def _parse(form: Form[T], text: str) -> T:
    try:
        return form.read(json.loads(text))
    except json.JSONDecodeError as error:
        raise InvalidInput(f"damaged JSON: {error}") from None


def _config(row: tuple[Any, ...]) -> tuple[Currency, CurrencyConfig]:
    currency, mul, add, remote_max_debt, is_open = row
    config = CurrencyConfig(Rate(mul, add), parse_integer(_AMOUNT, remote_max_debt), bool(is_open))
    return Currency(currency), config


def _channel(
    local: PublicKey,
    remote: PublicKey,
    columns: list[Any],
    ledger_rows: list[tuple[Any, ...]],
    pending_rows: list[tuple[Any, ...]],
    queue_rows: list[tuple[Any, ...]],
) -> Channel:
    direction, active_local, active_remote, inconsistent = columns
    if inconsistent is not None:
        return _parse(forms.INCONSISTENT, inconsistent)
    if direction is None or active_local is None or active_remote is None:
        raise InvalidInput("a friend without a channel")
    token_channel = TokenChannel(
        local,
        remote,
        _parse(forms.DIRECTION, direction),
        _ledgers(local, remote, ledger_rows, pending_rows),
        frozenset(map(Currency, json.loads(active_local))),
        frozenset(map(Currency, json.loads(active_remote))),
    )
    queues: dict[str, list[Any]] = {"backwards": [], "forwarded": [], "user": []}
    for queue, currency, operation in queue_rows:
        form: Form[Any] = forms.BACKWARDS_OP if queue == "backwards" else forms.REQUEST
        queues[queue].append((Currency(currency), _parse(form, operation)))
    return Consistent(token_channel, tuple(queues["forwarded"]), tuple(queues["backwards"]), tuple(queues["user"]))


def _ledgers(
    local: PublicKey, remote: PublicKey, rows: list[tuple[Any, ...]], pending_rows: list[tuple[Any, ...]]
) -> Any:
    pending: dict[tuple[str, str], dict[Uid, Any]] = {}
    for currency, side, request_id, text in pending_rows:
        pending.setdefault((currency, side), {})[Uid(request_id)] = _parse(forms.PENDING, text)
    return Map(
        {
            Currency(currency): Ledger(
                local,
                remote,
                Currency(currency),
                parse_integer(_BALANCE, balance),
                parse_integer(_AMOUNT, local_debt),
                parse_integer(_AMOUNT, remote_debt),
                Map(pending.get((currency, "local"), {})),
                Map(pending.get((currency, "remote"), {})),
            )
            for currency, balance, local_debt, remote_debt in rows
        }
    )
