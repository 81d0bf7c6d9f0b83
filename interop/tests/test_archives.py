"""Archives of a history, as their owner makes and reads them: programs, and the database of a node."""

import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from interop.programs import OURS
from offset_funder.testing import SimulatedNetwork
from offset_node.database.sqlite import create_database
from offset_node.state import NodeState

OCTOBER, NOVEMBER = 1_727_740_800, 1_730_419_200
"""The seconds at which these months of 2024 began, in UTC."""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The database of A, to whom B owes 5 and C owes 3: with an opening entry for each, one of October, one later."""
    network = SimulatedNetwork("ABC", Random(1))
    for friend, amount in (("B", 5), ("C", 3)):
        network.befriend("A", friend)
        network.pay([friend, "A"], amount)
    path = tmp_path / "node.db"
    create_database(path, NodeState(network.nodes["A"].stored))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE history SET time = CASE number WHEN 1 THEN ? ELSE ? END", (OCTOBER, NOVEMBER))
    return path


def test_old_entries_are_moved(database: Path) -> None:
    """The command says how far; given once more it says the same; and the database is checked as before."""
    target = database.with_name("october.archive")
    command = ["archive-history", "-d", database, "--until", "2024-11-01", "-o", target]
    for _ in range(2):
        assert OURS.run("stmgr", *command).stdout == f"Archived. The entries up to number 1 are in {target}.\n"
    assert "entries of the history: 2" in OURS.run("stmgr", "check-db", "-d", database).stdout
    other = [*command[:-1], database.with_name("other.archive")]
    refused = OURS.run("stmgr", *other, check=False)
    assert refused.returncode == 1
    assert "ArchiveHistoryError(ArchiveError(there is no entry before that time" in refused.stderr
    wrong = ["archive-history", "-d", database, "--until", "soon", "-o", database.with_name("other.archive")]
    assert "InvalidDate(soon)" in OURS.run("stmgr", *wrong, check=False).stderr
