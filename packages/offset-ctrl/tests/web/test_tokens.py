"""Tokens, links and sessions."""

import sqlite3

import pytest

from offset_ctrl.web.database import _VERSIONS, FILE_NAME, DatabaseDamaged, StateInUse, lock_state, open_database
from offset_ctrl.web.grants import READ_ONLY, Scope, parse_grants
from offset_ctrl.web.tokens import TokenExists, Tokens, UnknownToken
from offset_proto.errors import InvalidInput
from offset_proto.files import IoError

NOW = 86_400 * 20_000 + 43_200  # where `clock` begins
ALL = parse_grants(["read", "ask", "pay:5:FST/day"])


@pytest.fixture
def tokens(database):
    """Its tokens."""
    return Tokens(database)


def test_a_token(tokens, clock):
    """It is good until its end, or until it is revoked; each use is seen, to a minute."""
    secret = tokens.create("shop", ALL, NOW + 100)
    assert secret.startswith("stweb_")
    visitor = tokens.visitor(secret)
    assert (visitor.owner, visitor.grants, visitor.is_browser) == ("shop", ALL, False)
    clock.now += 59
    assert tokens.visitor(secret)
    assert tokens.list()[0].used == NOW
    clock.now += 1
    assert tokens.visitor(secret)
    assert tokens.list()[0].used == NOW + 60
    clock.now = NOW + 99
    assert tokens.visitor(secret)
    clock.now = NOW + 100
    assert tokens.visitor(secret) is None
    assert tokens.visitor("stweb_") is None
    assert tokens.visitor("\udc80") is None


def test_a_token_that_was_revoked(tokens):
    """It ends at once; its name is free again, and the new one has another secret."""
    secret = tokens.create("shop", ALL, NOW + 100)
    with pytest.raises(TokenExists, match="revoke it first"):
        tokens.create("shop", ALL, NOW + 100)
    tokens.revoke("shop")
    assert tokens.visitor(secret) is None
    with pytest.raises(UnknownToken):
        tokens.revoke("shop")
    other = tokens.create("shop", ALL, NOW + 100)
    assert other != secret
    assert tokens.visitor(other).owner == "shop"
    assert [(token.name, token.revoked) for token in tokens.list()] == [("shop", NOW), ("shop", None)]


def test_the_name_of_a_token_that_is_over_is_free(tokens, clock):
    """Nobody has to revoke what has ended by itself."""
    tokens.create("shop", ALL, NOW + 100)
    clock.now += 100
    tokens.create("shop", ALL, NOW + 200)
    assert [token.revoked for token in tokens.list()] == [NOW + 100, None]


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 65])
def test_names_that_nobody_can_type(tokens, name):
    """The same rule as for friends, and a limit."""
    with pytest.raises(InvalidInput):
        tokens.create(name, ALL, NOW + 100)


def test_a_token_that_would_end_before_it_begins(tokens):
    """A date of last year is a mistake."""
    with pytest.raises(InvalidInput, match="before it begins"):
        tokens.create("shop", ALL, NOW)


def test_a_link_is_good_once_and_for_an_hour(tokens, clock):
    """And only the last one that was made."""
    first, second = tokens.create_link(), tokens.create_link()
    assert tokens.use_link(first) is None
    assert tokens.has_link()
    assert not tokens.had_browser()
    session = tokens.use_link(second)
    assert tokens.browser(session).grants == READ_ONLY
    assert tokens.browser(session).is_browser
    assert not tokens.browser(session).grants.has(Scope.PAY)
    assert tokens.use_link(second) is None
    assert not tokens.has_link()
    assert tokens.browser(second) is None
    third = tokens.create_link()
    clock.now += 3600
    assert tokens.use_link(third) is None
    assert not tokens.has_link()
    clock.now = NOW + 30 * 86400
    assert tokens.browser(session) is None


def test_no_secret_is_stored(tokens, database):
    """Who reads the file can not come in; who is not the owner can not read it."""
    secrets = [tokens.create("shop", ALL, NOW + 100), tokens.create_link()]
    secrets.append(tokens.use_link(secrets[1]))
    database.ask("PRAGMA wal_checkpoint(TRUNCATE)")
    data = database.path.read_bytes()
    assert b"shop" in data
    for secret in secrets:
        assert secret.encode() not in data
    assert database.path.stat().st_mode & 0o777 == 0o600
    assert database.path.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_that_is_no_database(tmp_path):
    """An error names it."""
    (tmp_path / "stweb.db").write_bytes(b"something else, of some length" * 100)
    with pytest.raises(DatabaseDamaged, match=r"stweb\.db"), open_database(tmp_path):
        pass
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(IoError, match="file"), open_database(tmp_path / "file"):
        pass


def test_a_database_from_before_the_wallet(tmp_path):
    """It gets what came later, and keeps what it has."""
    with open_database(tmp_path) as database:
        secret = Tokens(database).create("shop", ALL, database.now() + 100)
        database.ask("DROP TABLE requests")
        database.ask("DROP INDEX payments_by_age")
        database.ask("DROP INDEX invoices_by_age")
        database.ask("DROP INDEX checkouts")
        database.ask("DROP INDEX invoices_in_doubt")
        database.ask("DROP INDEX ends_to_come")
        for column in (
            "checkout",
            "return_to",
            "handed_after",
            "made_after",
            "is_proved",
            "handed_timeline",
            "made_timeline",
        ):
            database.ask(f"ALTER TABLE invoices DROP COLUMN {column}")
        database.ask("PRAGMA user_version = 4")
    for _ in range(2):
        with open_database(tmp_path) as database:
            assert database.ask("SELECT * FROM requests") == []
            assert Tokens(database).visitor(secret).owner == "shop"


def test_a_database_that_an_older_server_uses(tmp_path):
    """It stays as it is until the server ends; one of the present version may be written by others meanwhile."""
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.executescript(_VERSIONS[0])
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    with lock_state(tmp_path):
        with pytest.raises(StateInUse, match="another stweb uses"), open_database(tmp_path):
            pass
        with sqlite3.connect(tmp_path / FILE_NAME) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        connection.close()
        with pytest.raises(StateInUse), lock_state(tmp_path):
            pass
        with open_database(tmp_path, is_locked=True), open_database(tmp_path) as database:
            Tokens(database).create("shop", ALL, database.now() + 100)


def test_a_database_of_a_later_version(tmp_path):
    """It stays as it is."""
    with open_database(tmp_path) as database:
        database.ask("PRAGMA user_version = 9")
    with pytest.raises(DatabaseDamaged, match="version 9"), open_database(tmp_path):
        pass
    assert sqlite3.connect(tmp_path / "stweb.db").execute("PRAGMA user_version").fetchone() == (9,)
