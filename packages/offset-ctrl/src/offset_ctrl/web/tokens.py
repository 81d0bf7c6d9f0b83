"""
Who may come in: tokens of programs, and sessions of browsers.

A secret is shown once, when it is made, and only its hash is stored. Payments, invoices, idempotency keys and what was
paid on a day belong to the *name* of a token. A token that is made under the name of one that was revoked goes on with
them; so a secret can be replaced, and its daily limit does not begin anew by that.

A browser comes in by a link that is good for one log-in and for an hour, and gets a session for it. To the API a
session may read. In the wallet it may do everything, since whoever has it is the owner of the node; but only by a form
that a page of the wallet has made (`form_token`).
"""

import hmac
import secrets
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from offset_ctrl.web.database import Database, DatabaseUnavailable, hash_secret
from offset_ctrl.web.grants import READ_ONLY, Grants, parse_grants
from offset_proto.entered import parse_name
from offset_proto.errors import InvalidInput, RefusedError

__all__ = ["Token", "TokenExists", "Tokens", "UnknownToken", "Visitor", "form_token", "is_form_token"]

SECRETS_BEGIN: Final = "stweb_"
"""So that programs that look for leaked secrets know what they have found."""

LINK_SECONDS: Final = 3600
SESSION_SECONDS: Final = 30 * 86400
SESSIONS_MAX: Final = 100
"""With more, the oldest end."""

USED_SECONDS: Final = 60
"""The last use of a token is written down once in so many seconds, so that requests that only read seldom write."""

NAME_CHARACTERS_MAX: Final = 64
_LIVE: Final = "secret = ? AND revoked IS NULL AND until > ?"


class TokenExists(RefusedError):
    """There is a token of this name that is neither revoked nor over."""


class UnknownToken(RefusedError):
    """No token that could be revoked has this name."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """
    Who has made a request.

    Attributes:
        owner: The name of the token; empty for a session.
        grants: What it may do.
        is_browser: It is a session, whose cookie a browser sends by itself.
    """

    owner: str
    grants: Grants
    is_browser: bool = False


@dataclass(frozen=True, slots=True)
class Token:
    """
    What is known of a token; times are seconds since 1970.

    Attributes:
        name, grants: Of whom, and for what.
        until: Its end.
        created, used, revoked: None: never.
    """

    name: str
    grants: Grants
    until: int
    created: int
    used: int | None
    revoked: int | None


class Tokens:
    """Tokens, links and sessions of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, grants: Grants, until: int) -> str:
        """
        Make a token; the secret, which nobody will be told again.

        Args:
            name: Of the program that gets it.
            grants: What it may do.
            until: Its end, in seconds since 1970.

        Raises:
            TokenExists: There is one of this name.
            InvalidInput: Nobody could see or type the name, or the end has passed.
        """
        parse_name(name)
        if len(name) > NAME_CHARACTERS_MAX:
            raise InvalidInput(f"the name of a token has at most {NAME_CHARACTERS_MAX} characters, not {len(name)}")
        now = self._database.now()
        if until <= now:
            raise InvalidInput("the token would end before it begins")
        secret = SECRETS_BEGIN + secrets.token_urlsafe(32)
        row = (name, hash_secret(secret), "\n".join(grants.texts()), until, now)
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE tokens SET revoked = until WHERE name = ? AND revoked IS NULL AND until <= ?", (name, now)
            )
            try:
                connection.execute("INSERT INTO tokens (name, secret, may, until, created) VALUES (?, ?, ?, ?, ?)", row)
            except sqlite3.IntegrityError:
                raise TokenExists(f"there is a token {name!r}; revoke it first") from None
        return secret

    def revoke(self, name: str) -> None:
        """
        End a token now.

        Raises:
            UnknownToken: There is none of this name, or it was revoked before.
        """
        with self._database.transaction() as connection:
            changed = connection.execute(
                "UPDATE tokens SET revoked = ? WHERE name = ? AND revoked IS NULL", (self._database.now(), name)
            )
            if not changed.rowcount:
                raise UnknownToken(f"there is no token {name!r} to revoke")

    def list(self) -> "list[Token]":
        """All tokens, also those that are over, in the order in which they were made."""
        return [
            Token(row["name"], _grants(row), row["until"], row["created"], row["used"], row["revoked"])
            for row in self._database.ask("SELECT * FROM tokens ORDER BY id")
        ]

    def visitor(self, secret: str) -> Visitor | None:
        """Whose token *secret* is; None: nobody's that is valid now."""
        now = self._database.now()
        row = self._database.ask_one(f"SELECT * FROM tokens WHERE {_LIVE}", hash_secret(secret), now)
        if row is None:
            return None
        if row["used"] is None or now - row["used"] >= USED_SECONDS:
            # A disk that is full keeps nobody from reading.
            with suppress(DatabaseUnavailable), self._database.transaction() as connection:
                connection.execute("UPDATE tokens SET used = ? WHERE id = ?", (now, row["id"]))
        return Visitor(row["name"], _grants(row))

    def grants_of(self, name: str) -> Grants | None:
        """What the token of this name may do; None: there is none that is valid now."""
        query = "SELECT * FROM tokens WHERE name = ? AND revoked IS NULL AND until > ?"
        row = self._database.ask_one(query, name, self._database.now())
        return None if row is None else _grants(row)

    def create_link(self) -> str:
        """The secret of a link with which one browser can log in, within an hour; one that was made before is void."""
        secret, now = secrets.token_urlsafe(32), self._database.now()
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM links")
            connection.execute("INSERT INTO links VALUES (?, ?)", (hash_secret(secret), now + LINK_SECONDS))
        return secret

    def has_link(self) -> bool:
        """Whether there is a link that a browser can still log in with."""
        return self._database.ask_one("SELECT 1 FROM links WHERE until > ?", self._database.now()) is not None

    def use_link(self, secret: str) -> str | None:
        """Log a browser in: the secret of its session; None: the link is not good, or not any more."""
        now, session = self._database.now(), secrets.token_urlsafe(32)
        with self._database.transaction() as connection:
            found = connection.execute("DELETE FROM links WHERE secret = ? AND until > ?", (hash_secret(secret), now))
            if not found.rowcount:
                return None
            connection.execute("INSERT INTO sessions VALUES (?, ?)", (hash_secret(session), now + SESSION_SECONDS))
            connection.execute(
                "DELETE FROM sessions WHERE until <= ? OR secret NOT IN "
                "(SELECT secret FROM sessions ORDER BY until DESC, rowid DESC LIMIT ?)",
                (now, SESSIONS_MAX),
            )
        return session

    def browser(self, secret: str) -> Visitor | None:
        """The visitor whose session *secret* is; None: nobody's that is valid now."""
        query = "SELECT 1 FROM sessions WHERE secret = ? AND until > ?"
        found = self._database.ask_one(query, hash_secret(secret), self._database.now())
        return None if found is None else Visitor("", READ_ONLY, is_browser=True)

    def end_session(self, secret: str) -> None:
        """Log a browser out."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM sessions WHERE secret = ?", (hash_secret(secret),))

    def end_sessions(self) -> None:
        """Log all browsers out."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM sessions")

    def had_browser(self) -> bool:
        """Whether a browser has a session."""
        return self._database.ask_one("SELECT 1 FROM sessions") is not None


def form_token(session: str) -> str:
    """
    What each form of a session carries, so that a page from elsewhere can not make the browser send one.

    It follows from the secret of the session and does not tell it. Browsers send the cookie of the session by
    themselves; what is in a page of ours, only a page of ours can read.
    """
    return hash_secret(f"form of {session}").hex()


def is_form_token(session: str, given: str) -> bool:
    """Whether a form was made by a page of this session."""
    return hmac.compare_digest(form_token(session).encode(), given.encode("utf-8", "surrogatepass"))


def _grants(row: sqlite3.Row) -> Grants:
    return parse_grants(row["may"].split("\n"))
