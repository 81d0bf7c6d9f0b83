"""
Idempotency keys: a request that is repeated under its key does nothing again.

A key belongs to the owner of the token that it came with. It is stored in the very transaction that stores what the
request made, together with a hash of the request: so after a crash there are both, or neither, and another request
under the same key is told apart. Keys are kept for `KEPT_SECONDS`, and so is what has ended. Nothing is forgotten whose
end is in doubt, however old, and no key before what was made under it: else a request that is repeated would pay again.
"""

import hashlib
from typing import Final

from offset_ctrl.web.database import Database
from offset_proto.errors import RefusedError

__all__ = ["KEPT_SECONDS", "KeyReused", "TooManyOpen", "find_key", "forget_old", "hash_request", "store_key"]

KEPT_SECONDS: Final = 400 * 86400

_MADE: Final = {"payments": "payment_id", "invoices": "invoice_id", "circle_runs": "run_id", "webhooks": "webhook_id"}
"""Where what is made under a key stands, and the column of its id."""


class KeyReused(RefusedError):
    """The idempotency key was used for another request; nothing was done. Use another key."""


class TooManyOpen(RefusedError):
    """So many payments or invoices of one token are open, or were made today, that no more are taken."""


def hash_request(*parts: bytes) -> bytes:
    """What tells one request from another: its operation, its path and its body."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def find_key(database: Database, owner: str, key: str, request: bytes) -> str | None:
    """
    The id of what a request has made before under its key; None: the key is new.

    Raises:
        KeyReused: The key was used for another request.
    """
    row = database.ask_one("SELECT request, made FROM keys WHERE owner = ? AND key = ?", owner, key)
    if row is None:
        return None
    if row["request"] != request:
        raise KeyReused("this idempotency key was used for another request; use a new one for each")
    made: str = row["made"]
    return made


def store_key(database: Database, owner: str, key: str, request: bytes, made: str) -> None:
    """Remember what a request has made; only inside of the transaction that stores that."""
    database.ask("INSERT INTO keys VALUES (?, ?, ?, ?, ?)", owner, key, request, made, database.now())


def forget_old(database: Database) -> None:
    """
    Remove what has ended so long ago that nobody will ask for it again.

    The age counts up to the last request, so that a start with a clock that is far ahead removes nothing by itself.
    """
    with database.transaction() as connection:
        (last,) = database.ask("SELECT ifnull(max(created), 0) FROM keys")[0]
        before = min(last, database.now()) - KEPT_SECONDS
        connection.execute("DELETE FROM payments WHERE is_settled AND state <> 'unknown' AND changed < ?", (before,))
        connection.execute("DELETE FROM deliveries WHERE payment_id NOT IN (SELECT payment_id FROM payments)")
        connection.execute(
            "DELETE FROM invoices WHERE changed < ? AND (state IN ('collected', 'cancelled')"
            " OR state = 'over' AND collected_with IS NULL)",
            (before,),
        )
        connection.execute("DELETE FROM circle_runs WHERE state <> 'running' AND changed < ?", (before,))
        made = " UNION ALL ".join(f"SELECT 1 FROM {table} WHERE {name} = made" for table, name in _MADE.items())
        connection.execute(f"DELETE FROM keys WHERE created < ? AND NOT EXISTS ({made})", (before,))
        connection.execute("DELETE FROM requests WHERE created < ?", (before,))
        connection.execute("DELETE FROM spent WHERE day < ?", (before // 86400,))
