"""Archives of a history, as their owner makes and reads them: programs, and the database of a node."""

import asyncio
import json
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from interop.network import Network
from interop.programs import OURS
from offset_funder.testing import SimulatedNetwork
from offset_node.database.sqlite import Database, create_database
from offset_node.state import AddEntry, NodeState
from offset_proto.messages.payment import Rate
from offset_proto.types import PublicKey
from offset_proto.wire import NODE_REPORT

OCTOBER, NOVEMBER = 1_727_740_800, 1_730_419_200
"""The seconds at which these months of 2024 began, in UTC."""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The database of A: in October B became a friend and paid 5; in November B paid 2 more, and C became a friend."""
    network = SimulatedNetwork("ABC", Random(1))
    network.befriend("A", "B")
    network.pay(["B", "A"], 5)
    october = len(network.nodes["A"].entries)
    network.pay(["B", "A"], 2)
    network.befriend("A", "C")
    return _stored(tmp_path / "node.db", network, october)


@pytest.fixture
def mediating(tmp_path: Path) -> Path:
    """The database of A, who charges B for what goes to C: 3 in October and 2 in November, when A paid 1 to D, too."""
    network = SimulatedNetwork("ABCD", Random(1))
    for first, second in ("AB", "AC", "CD"):
        network.befriend(first, second)
    network.set_rate("A", "B", Rate(0, 3))
    network.pay(["B", "A", "C"], 5, fees=3)
    october = len(network.nodes["A"].entries)
    network.set_rate("A", "B", Rate(0, 2))
    network.pay(["B", "A", "C"], 5, fees=2)
    network.set_rate("C", "A", Rate(0, 1))
    network.pay(["A", "C", "D"], 5, fees=1)
    return _stored(tmp_path / "node.db", network, october)


def _stored(path: Path, network: SimulatedNetwork, october: int) -> Path:
    """The database of A; so many of its entries are of October, and the others of November."""
    node = network.nodes["A"]
    create_database(path, NodeState(node.stored))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM history")
    asyncio.run(
        _fill(
            path,
            [
                AddEntry(number, OCTOBER if number <= october else NOVEMBER, entry)
                for number, entry in enumerate(node.entries, 1)
            ],
        )
    )
    return path


async def _fill(path: Path, entries: list[AddEntry]) -> None:
    database = await Database.open(path)
    try:
        await database.load()
        await database.apply(entries)
    finally:
        await database.close()


def _archive(database: Path, until: str) -> Path:
    target = database.with_name(f"{until}.archive")
    OURS.run("stmgr", "archive-history", "-d", database, "--until", until, "-o", target)
    return target


def _refusal(*command: object) -> str:
    refused = OURS.run("stmgr", *command, check=False)
    assert refused.returncode == 1
    return refused.stderr


def test_old_entries_are_moved(database: Path) -> None:
    """The command says how far; given once more it says the same; and the database is checked as before."""
    target = database.with_name("october.archive")
    command = ["archive-history", "-d", database, "--until", "2024-11-01", "-o"]
    for _ in range(2):
        assert OURS.run("stmgr", *command, target).stdout == f"Archived. The entries up to number 3 are in {target}.\n"
    assert "entries of the history: 4" in OURS.run("stmgr", "check-db", "-d", database).stdout
    other = database.with_name("other.archive")
    assert "ArchiveHistoryError(ArchiveError(there is no entry before that time" in _refusal(*command, other)
    assert "InvalidDate(soon)" in _refusal("archive-history", "-d", database, "--until", "soon", "-o", other)


def test_what_is_in_an_archive_is_shown(database: Path) -> None:
    """With the options of stctrl history, and names; of a later archive, where the earlier entries are."""
    october, november = _archive(database, "2024-11-01"), _archive(database, "2024-12-01")
    shown = json.loads(OURS.run("stmgr", "archived-history", "-a", october, "--json").stdout)
    assert [(entry["number"], entry["friend"], entry["kind"], entry["balance"]) for entry in shown] == [
        (1, "B", "limit", "0"),
        (2, "B", "opened", "0"),
        (3, "B", "received", "5"),
    ]
    assert "received 5" in OURS.run("stmgr", "archived-history", "-a", october, "-f", "B", "-k", "received").stdout
    later = OURS.run("stmgr", "archived-history", "-a", november, "--json")
    assert [entry["number"] for entry in json.loads(later.stdout)] == [3, 4, 5, 6]
    assert "The entries up to number 3 are in an archive" in later.stderr
    assert "FriendNameNotFound(D)" in _refusal("archived-history", "-a", october, "-f", "D")
    assert "not an archive" in _refusal("archived-history", "-a", database)


def test_a_statement_is_made_of_an_archive(database: Path) -> None:
    """Of a month that is in it as a whole; one closes with what the next one opens with."""
    october, november = _archive(database, "2024-11-01"), _archive(database, "2024-12-01")
    shown = []
    for archive, month in ((october, "2024-10"), (november, "2024-11")):
        output = database.with_name(f"{month}.json")
        OURS.run("stmgr", "archived-statement", "-a", archive, "--month", month, "-f", "B", "-o", output)
        (account,) = json.loads(output.read_text())["accounts"]
        shown.append((account["friend"], account["opening"], account["closing"], len(account["entries"])))
    assert shown == [("B", "0", "5", 3), ("B", "5", "7", 1)]
    since = OURS.run("stmgr", "archived-statement", "-a", october, "--since", "2024-10-01").stdout
    assert since.startswith("B, FST, 2024-10-01 to 2024-10-31 (UTC)")
    statement = ["archived-statement", "-a"]
    for period in (
        ["--month", "2024-11"],
        ["--since", "2024-10-01", "--until", "2024-11-02"],
        ["--since", "2025-01-01"],
    ):
        assert "ArchiveEnds(2024-11-01)" in _refusal(*statement, october, *period)
    assert "EntriesArchived(3)" in _refusal(*statement, november, "--month", "2024-10")


def test_several_archives_are_read_as_one(database: Path) -> None:
    """Of a period that is in two of them, whichever is named first; not where one is missing, or of somebody else."""
    october, november = _archive(database, "2024-11-01"), _archive(database, "2024-12-01")
    both = ["-a", november, "-a", october]
    shown = OURS.run("stmgr", "archived-history", *both, "--json")
    numbers = [(entry["number"], entry["kind"]) for entry in json.loads(shown.stdout)]
    assert [number for number, _ in numbers] == [1, 2, 3, 4, 5, 6]
    assert "opening" not in {kind for _, kind in numbers}
    assert shown.stderr == ""
    last = OURS.run("stmgr", "archived-history", *both, "--json", "--limit", 4)
    assert [entry["number"] for entry in json.loads(last.stdout)] == [3, 4, 5, 6]
    output = database.with_name("both.json")
    period = ["--since", "2024-10-01", "--until", "2024-12-01", "-f", "B"]
    OURS.run("stmgr", "archived-statement", *both, *period, "-o", output)
    (account,) = json.loads(output.read_text())["accounts"]
    assert (account["opening"], account["closing"], len(account["entries"])) == ("0", "7", 4)
    assert "are of different nodes" in _refusal("archived-history", "-a", october, "-a", _of_another_node(october))
    assert "are the same archive; give it once" in _refusal("archived-history", "-a", november, "-a", november)


def _of_another_node(archive: Path) -> Path:
    """A copy whose report has another key."""
    path = archive.with_name("other-node.archive")
    path.write_bytes(archive.read_bytes())
    with closing(sqlite3.connect(path)) as connection, connection:
        ((encoded,),) = connection.execute("SELECT report FROM archive")
        report = NODE_REPORT.decode(encoded)
        other = replace(report.funder_report, local_public_key=PublicKey(bytes(32)))
        connection.execute("UPDATE archive SET report = ?", (NODE_REPORT.encode(replace(report, funder_report=other)),))
    return path


def test_fees_of_archives(mediating: Path) -> None:
    """Of all that is in them; not of a time after them; and what is in earlier ones is said."""
    october, november = _archive(mediating, "2024-11-01"), _archive(mediating, "2024-12-01")
    income = ["archived-income", "--json"]
    both = OURS.run("stmgr", *income, "-a", october, "-a", november)
    assert [tuple(row.values()) for row in json.loads(both.stdout)] == [
        ("2024-10", "FST", "3", "0"),
        ("2024-11", "FST", "2", "1"),
    ]
    by_friend = OURS.run("stmgr", *income, "-a", october, "-a", november, "--by", "friend")
    assert [tuple(row.values()) for row in json.loads(by_friend.stdout)] == [
        ("B", "FST", "5", "0"),
        ("C", "FST", "0", "1"),
    ]
    assert both.stderr == ""
    later = OURS.run("stmgr", *income, "-a", november)
    assert json.loads(later.stdout)[0]["earned"] == "2"
    assert "are in an archive" in later.stderr
    assert "ArchiveEnds(2024-11-01)" in _refusal(*income, "-a", october, "--until", "2024-11-02")
    assert "ArchiveEnds(2024-11-01)" in _refusal(*income, "-a", october, "--since", "2024-11-01")


# Together with the node.


def test_a_month_that_lies_half_in_an_archive(chain: Network, tmp_path: Path) -> None:
    """It comes out whole, of the archives and the node that goes on; other archives are refused, with the reason."""
    options = ["--since", "2024-11-01"]
    first, second = tmp_path / "first.archive", tmp_path / "second.archive"
    assert chain.pay("C", "A", "FST", 5, "old") == "Receipt is valid!"
    _archive_while_stopped(chain, "A", first)
    for label in ("new", "newer"):
        assert chain.pay("C", "A", "FST", 2, label) == "Receipt is valid!"
    before = json.loads(chain.stctrl("A", "history", "--json", "--archive", first).stdout)
    _archive_while_stopped(chain, "A", second)
    chain.wait_until_back("A")
    assert chain.pay("C", "A", "FST", 3, "newest") == "Receipt is valid!"
    both = ["--archive", second, "--archive", first]

    refused = chain.stctrl("A", "statement", *options, check=False)
    assert "EntriesArchived" in refused.stderr
    output = tmp_path / "statement.json"
    chain.stctrl("A", "statement", *options, *both, "-o", output)
    (account,) = json.loads(output.read_text())["accounts"]
    assert (account["opening"], account["closing"]) == ("0", "12")
    assert [entry["change"] for entry in account["entries"] if entry["change"] != "0"] == ["5", "2", "2", "3"]

    shown = chain.stctrl("A", "history", "--json", *both)
    entries = json.loads(shown.stdout)
    assert [entry["number"] for entry in entries] == list(range(1, len(entries) + 1))
    assert entries[: len(before)] == before
    assert shown.stderr == ""
    assert json.loads(chain.stctrl("A", "income", "--json", *both).stdout) == []

    for node, archives, words in (
        ("A", [first], "give the archives between them, too"),
        ("A", [second, second], "are the same archive; give it once"),
        ("B", [first, second], "ArchivesDoNotFit): they are of the node"),
        ("A", [chain.path("A.db")], "not an archive"),
    ):
        given = [word for archive in archives for word in ("--archive", archive)]
        refused = chain.stctrl(node, "statement", *options, *given, check=False)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert words in refused.stderr


def _archive_while_stopped(network: Network, name: str, target: Path) -> None:
    """Move all entries that a node of the network has; it runs again after that."""
    server = network.servers[name]
    server.stop()
    now = datetime.now(UTC)
    time.sleep(1.5 - now.microsecond / 1e6)  # entries of this second are before the next one, which has to be past
    until = (now + timedelta(seconds=1)).replace(microsecond=0)
    OURS.run("stmgr", "archive-history", "-d", network.path(f"{name}.db"), "--until", until.isoformat(), "-o", target)
    server.start()
