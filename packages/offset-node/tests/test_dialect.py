"""How a database is named, and what PostgreSQL says otherwise than SQLite. Spec 08 §6."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offset_funder.state import FunderState
from offset_node.database import lease, tables
from offset_node.database.dialect import escape, to_postgres, to_postgres_numbered, to_postgres_schema, unescape
from offset_node.database.names import PostgresAddress, database_name
from offset_node.database.opening import create_database
from offset_node.state import NodeState
from offset_proto.errors import InvalidInput, OffsetError
from offset_proto.types import PublicKey


@given(st.text(alphabet=st.sampled_from("\0\x01\x0201aä")))
def test_texts_come_back_and_have_no_nul(text):
    """PostgreSQL refuses a NUL; whatever was written is what is read."""
    assert "\0" not in escape(text)
    assert unescape(escape(text)) == text


@given(st.sets(st.text(alphabet=st.sampled_from("\0\x01\x0201a"), max_size=4), max_size=20))
def test_different_texts_stay_different(texts):
    """A key that is a text is found by what it was, and by nothing else."""
    assert len({escape(text) for text in texts}) == len(texts)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT a FROM t WHERE b = ? AND c LIKE '%'", "SELECT a FROM t WHERE b = %s AND c LIKE '%%'"),
        ("SELECT 1 FROM a CROSS JOIN b ON b.id = a.b", "SELECT 1 FROM a JOIN b ON b.id = a.b"),
        (
            "WHERE hex(key) IN (SELECT value FROM json_each(?))",
            "WHERE upper(encode(key, 'hex')) IN (SELECT value FROM json_array_elements_text(%s::json))",
        ),
        ("DELETE FROM q WHERE json_extract(op, '$.id') = ?", "DELETE FROM q WHERE (op::json ->> 'id') = %s"),
    ],
)
def test_statements(statement, expected):
    """Word by word; see the table in the module."""
    assert to_postgres(statement) == expected


def test_parameters_are_numbered_in_their_order():
    """And a sign of a percentage is one."""
    assert (
        to_postgres_numbered("UPDATE t SET a = ?, b = '%s %' WHERE c = ?")
        == "UPDATE t SET a = $1, b = '%s %' WHERE c = $2"
    )


def test_no_word_of_sqlite_is_left_in_the_schema():
    """Of the tables of a node as PostgreSQL makes them."""
    schema = to_postgres_schema(tables.SCHEMA)
    for word in ("STRICT", "ROWID", "AUTOINCREMENT", "BLOB", " INTEGER"):
        assert word not in schema
    assert schema.count("CREATE TABLE") == tables.SCHEMA.count("CREATE TABLE")


def test_a_lease_outlives_its_holder():
    """It acts for less time than the server grants, and prolongs it twice at least within that."""
    assert 2 * lease.RENEW_SECONDS < lease.LEASE_SECONDS - lease.MARGIN_SECONDS < lease.LEASE_SECONDS


@pytest.mark.parametrize(
    ("text", "shown", "secrets"),
    [
        ("postgresql://u:p%40w@h:5432/d?sslmode=require", "postgresql://u@h:5432/d?sslmode=require", ("p%40w", "p@w")),
        ("postgresql://u@h1:1,h2:2/d?password=x&host=/run", "postgresql://u@h1:1,h2:2/d?host=/run", ("x",)),
        ("postgres:///d?service=node", "postgres:///d?service=node", ()),
        ("postgresql://h/d?sslpassword=y", "postgresql://h/d", ("y",)),
    ],
)
def test_addresses_are_shown_without_passwords(text, shown, secrets):
    """Wherever in an address they stand; and in what a library says about it."""
    name = database_name(text)
    assert isinstance(name, PostgresAddress)
    assert str(name) == shown
    assert name.secrets == secrets
    told = name.without_secrets(f"invalid: {text} {' '.join(secrets)}")
    assert not any(secret in told for secret in secrets)
    assert not any(secret in repr(name) for secret in secrets)


def test_names_of_files_and_of_nothing():
    """Whatever does not begin like an address is a file."""
    assert database_name("postgresql.db") == Path("postgresql.db")
    with pytest.raises(InvalidInput, match="can not be read"):
        database_name("postgresql://[::1/d")


def test_what_is_said_where_the_library_is_missing(monkeypatch):
    """It names the extra; a plain install has no library for PostgreSQL."""
    for module in ("postgres", "postgres_schema", "postgres_connection"):
        monkeypatch.delitem(sys.modules, f"offset_node.database.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    state = NodeState(FunderState(PublicKey(bytes(32))))
    with pytest.raises(OffsetError, match=r"pip install 'offset-node\[postgres\]'"):
        create_database(PostgresAddress("postgresql://h/d"), state)


def test_a_plain_install_needs_no_library_for_postgresql():
    """Neither by its metadata, nor by what the program imports to run on a file."""
    wanted = [text for text in importlib.metadata.requires("offset-node") or () if "psycopg" in text]
    assert wanted
    assert all('extra == "postgres"' in text.replace("'", '"') for text in wanted)
    script = (
        "import sys, offset_node.cli, offset_node.node, offset_node.database.opening; print('psycopg' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
