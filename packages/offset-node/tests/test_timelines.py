"""Which history of its node a database has: whatever has forgotten entries, and gives their numbers again, says so."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from offset_funder.testing import SimulatedNetwork
from offset_node.database.backup import back_up, restore
from offset_node.database.move_over import export_database, import_database
from offset_node.database.sqlite import Database, create_database, load_database
from offset_node.database.tables import timelines
from offset_node.state import NodeState
from offset_proto.messages.history import EVERY_ENTRY, FollowHistory, HistoryEnd, ReadHistory
from offset_proto.types import Uid


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database of a node that has paid a friend."""
    network = SimulatedNetwork(["A", "B"], Random(0))
    network.befriend("A", "B")
    network.pay(["A", "B"], 10)
    create_database(tmp_path / "node.db", NodeState(network.nodes["A"].stored))
    return tmp_path / "node.db"


def _timeline(path: Path) -> int:
    """As the pages of a node that runs on it say."""

    async def run() -> int:
        node = await Database.open(path)
        try:
            await node.load()
            page = await node.read_history(ReadHistory(Uid(bytes(16)), 0, 0, False, 1, EVERY_ENTRY))
            assert page.timeline == node.timeline
            return page.timeline
        finally:
            await node.close()

    return asyncio.run(run())


def test_a_node_that_has_forgotten_nothing(database, tmp_path):
    """It is in the first timeline, whichever version of the program has made its database."""
    back_up(database, tmp_path / "a.backup")
    assert _timeline(database) == 0
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.executescript("DROP TABLE history_timeline; PRAGMA user_version = 6;")
    assert _timeline(database) == 0


def test_a_node_that_had_forgotten_before_timelines_had_numbers(database, tmp_path):
    """It is in another one than the first, as soon as a program that knows of them opens its database."""
    back_up(database, tmp_path / "a.backup")
    restore(tmp_path / "a.backup", tmp_path / "old.db", lambda: "")
    with closing(sqlite3.connect(tmp_path / "old.db", isolation_level=None)) as connection:
        connection.executescript("DROP TABLE history_timeline; PRAGMA user_version = 6;")
    assert _timeline(tmp_path / "old.db") == 1


def test_each_restored_database_has_its_own(database, tmp_path):
    """Also two of one backup, and one of a backup of a restored one."""
    back_up(database, tmp_path / "a.backup")
    for name in "one", "two":
        restore(tmp_path / "a.backup", tmp_path / name, lambda: "")
    back_up(tmp_path / "two", tmp_path / "two.backup")
    restore(tmp_path / "two.backup", tmp_path / "three", lambda: "")
    found = {_timeline(path) for path in (database, *(tmp_path / name for name in ("one", "two", "three")))}
    assert len(found) == 4
    assert all(0 <= each < 2**63 for each in found)


def test_a_node_that_was_elsewhere(database, tmp_path):
    """What it numbered there is not known here."""
    export_database(database, tmp_path / "original.json")
    import_database(tmp_path / "original.json", tmp_path / "back.db")
    assert _timeline(tmp_path / "back.db") > 0
    assert load_database(tmp_path / "back.db").funder.local_public_key


def test_a_node_tells_its_apps(new_node):
    """Whoever follows the history is told of which one a number is, from the beginning."""
    node = new_node(1, history=HistoryEnd(7, 99))
    node.ask(FollowHistory())
    (told,) = [effect for effect in node.work() if isinstance(effect.message, HistoryEnd)]
    assert told.message == HistoryEnd(7, 99)


@pytest.mark.parametrize("drawn", [bytes(8), b"\xff" * 8])
def test_what_is_drawn_is_never_that_of_the_first_one(drawn):
    """And has room in a column of 63 bits."""
    assert 0 < timelines.draw(lambda size: drawn[:size]).timeline < 2**63
