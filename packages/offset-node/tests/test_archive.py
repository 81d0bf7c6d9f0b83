"""Archives of the history: what is moved, what stays, and what a process that is killed leaves behind. Spec 12 §6."""

import asyncio
import itertools
import os
import signal
import sqlite3
import stat
import sys
import time
import warnings
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import pytest

from offset_funder.bookkeeping import Entry
from offset_funder.testing import FST, SimulatedNetwork
from offset_node.database import archive as archiving
from offset_node.database.archive import archive_history, read_archive
from offset_node.database.archive_series import ArchiveSeries, open_archives
from offset_node.database.checking import check_database
from offset_node.database.errors import ArchiveError, DatabaseInUse, LoadDbError
from offset_node.database.reading import SqliteHistory
from offset_node.database.sqlite import Database, create_database
from offset_node.database.tables import archives
from offset_node.state import AddEntry, NodeState, SetAsker, SetNote
from offset_proto.files import IoError, OutputAlreadyExists
from offset_proto.messages.history import EVERY_ENTRY, EntryKind, HistoryEntry, HistoryPage, ReadHistory
from offset_proto.types import PublicKey, Uid

UID = Uid(bytes(16))
APP = PublicKey(b"\x31" * 32)
DAY = 86_400


def _run(path: Path, work: Any) -> Any:
    async def run() -> Any:
        database = await Database.open(path)
        try:
            await database.load()
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(run())


def _read(path: Path, after: int = 0) -> HistoryPage:
    """The first page of a database or an archive."""

    async def read() -> HistoryPage:
        reader = SqliteHistory(path)
        try:
            return await reader.read(ReadHistory(UID, after, 0, False, 1000, EVERY_ENTRY))
        finally:
            await reader.close()

    return asyncio.run(read())


@pytest.fixture
def lived_in(tmp_path):
    """The database of A, which owes B 10 and C nothing, after ten entries of the days 1 to 10; all of them."""
    network = SimulatedNetwork("ABC", Random(4))
    network.befriend("A", "B")
    network.befriend("A", "C")
    for amount in (4, 5, 1):
        network.pay(["A", "B"], amount)
    network.pay(["A", "C"], 3)
    network.pay(["C", "A"], 3)
    node = network.nodes["A"]
    path = tmp_path / "node.db"
    create_database(path, NodeState(node.stored))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript("DELETE FROM history; DELETE FROM payments;")  # as if all were acknowledged
    entries = [
        AddEntry(n, n * DAY, entry, APP if entry.kind is EntryKind.LIMIT else None)
        for n, entry in enumerate(node.entries, 1)
    ]
    notes = [SetNote(entry.payment_id, f"payment {n}") for n, entry in enumerate(node.entries, 1) if entry.payment_id]
    askers = [SetAsker(entry.payment_id, APP) for entry in node.entries if entry.payment_id]
    _run(path, lambda database: database.apply([*entries, *askers, *notes, SetNote(2, "as agreed")]))
    return path


def _show(paths: list[Path], show: Callable[[ArchiveSeries], Awaitable[None]]) -> None:
    async def opened() -> None:
        async with open_archives(paths) as series:
            await show(series)

    asyncio.run(opened())


def _moved_by_hand(path: Path, through: int) -> list[bytes]:
    """The ids that have a note in a database after its entries up to a number were taken out."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("ATTACH DATABASE ? AS node", (str(path),))
        for statement, values in archives.remove(through, 0):
            connection.execute(statement, values)
        return [row[0] for row in connection.execute("SELECT id FROM notes ORDER BY id")]


def _entries(path: Path) -> list[HistoryEntry]:
    return list(_read(path).entries)


def _count(path: Path, *tables: str) -> list[int]:
    with closing(sqlite3.connect(path)) as connection:
        return [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]


# What is moved, and what stays.


def test_an_archive_has_what_was_there_and_the_database_goes_on(lived_in):
    """Entries with their notes and apps, as they were read before; an opening entry for B, and one for C."""
    before, (state, _) = _entries(lived_in), check_database(lived_in)
    target = lived_in.with_name("old.archive")
    assert archive_history(lived_in, 7 * DAY, target).through == 6
    assert _entries(target) == before[:6]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    openings, rest = _entries(lived_in)[:2], _entries(lived_in)[2:]
    assert rest == before[6:]
    assert [(entry.number, entry.friend, entry.balance) for entry in openings] == [
        (5, before[5].friend, -9),
        (6, before[2].friend, 0),
    ]
    assert {(entry.kind, entry.before, entry.time) for entry in openings} == {(EntryKind.OPENING, 0, 6 * DAY)}
    assert check_database(lived_in) == (state, 5)
    assert (_read(lived_in).archived, _read(lived_in).end, _read(target).archived) == (6, 9, 0)
    assert _count(lived_in, "notes", "askers", "entry_notes", "entry_askers") == [2, 2, 0, 0]
    assert _count(target, "notes", "askers", "entry_notes", "entry_askers") == [2, 2, 1, 2]


def test_an_archive_says_who_the_friends_were(lived_in):
    """The report of the node at that time, so that keys have names."""
    made = archive_history(lived_in, 7 * DAY, lived_in.with_name("old.archive"))
    assert read_archive(lived_in.with_name("old.archive")) == made
    assert (made.through, made.until) == (6, 7 * DAY)
    report = made.report.funder_report
    assert report.local_public_key == check_database(lived_in)[0].funder.local_public_key
    assert {friend.friend_public_key for friend in report.friends.list} == {
        entry.friend for entry in _entries(lived_in)
    }


def test_archives_follow_each_other(lived_in):
    """Each begins with the balances that the one before ended with, and numbers have no gaps."""
    before, (state, _) = _entries(lived_in), check_database(lived_in)
    seen, through = [], 0
    for day in (3, 6, 9, 10):
        target = lived_in.with_name(f"{day}.archive")
        archive = archive_history(lived_in, day * DAY, target)
        seen += [entry for entry in _entries(target) if entry.number > through]
        assert _read(target).archived == through
        through = archive.through
        assert check_database(lived_in)[0] == state
    assert seen == before
    left = [(entry.number, entry.kind, entry.balance) for entry in _entries(lived_in)]
    assert left == [(8, EntryKind.OPENING, -10), (9, EntryKind.OPENING, 0)]


def test_archives_are_read_as_the_history_was(lived_in):
    """Page after page, in either direction, between any bounds, whatever the order in which they are named."""
    before = _entries(lived_in)
    paths = [lived_in.with_name(f"{day}.archive") for day in (9, 3, 10, 6)]
    for path in sorted(paths, key=lambda path: int(path.stem)):
        archive_history(lived_in, int(path.stem) * DAY, path)

    async def pages(series: ArchiveSeries, after: int, last: int, limit: int, newest_first: bool) -> list[HistoryEntry]:
        found, low, high = [], after, last + 1
        while low + 1 < high:
            page = await series.read(ReadHistory(UID, low, high, newest_first, limit, EVERY_ENTRY))
            assert (page.end, page.archived) == (9, 0)
            found += page.entries
            low, high = (low, page.through) if newest_first else (page.through, high)
        return found

    async def show(series: ArchiveSeries) -> None:
        for after, last, limit, newest_first in itertools.product(range(9), range(1, 10), (1, 2, 9), (False, True)):
            expected = [entry for entry in before if after < entry.number <= last]
            found = await pages(series, after, last, limit, newest_first)
            assert found == (expected[::-1] if newest_first else expected), (after, last, limit, newest_first)

    _show(paths, show)


def test_archives_that_do_not_follow_each_other(lived_in):
    """One between them is missing; those at the beginning may be missing."""
    paths = [lived_in.with_name(f"{day}.archive") for day in (3, 6, 9)]
    for path in paths:
        archive_history(lived_in, int(path.stem) * DAY, path)

    async def show(series: ArchiveSeries) -> None:
        page = await series.read(ReadHistory(UID, 0, 0, False, 100, EVERY_ENTRY))
        assert (page.archived, page.end) == (2, 8)

    with pytest.raises(ArchiveError, match="begins after 5: one between them is missing"):
        _show([paths[0], paths[2]], show)
    _show(paths[1:], show)


def test_numbers_go_on_where_all_is_moved(tmp_path):
    """The opening entry has the last number; and an entry that is missing after it is missed."""
    network = SimulatedNetwork("AB", Random(4))
    network.befriend("A", "B")
    path, node = tmp_path / "node.db", network.nodes["A"]
    create_database(path, NodeState(node.stored))
    made = [AddEntry(n, n, entry) for n, entry in enumerate(node.entries, 1)]
    _run(path, lambda database: database.apply(made))
    archive_history(path, 100, tmp_path / "old.archive")
    assert [(entry.number, entry.balance) for entry in _entries(path)] == [(len(made), 0)]
    assert (_read(path).end, _read(path).archived) == (len(made), len(made))
    assert check_database(path)[1] == 1

    async def end(database: Database) -> int:
        return database.history_end

    assert _run(path, end) == len(made)
    friend = made[0].entry.friend
    more = [AddEntry(len(made) + n, 200, Entry(friend, FST, EntryKind.CLOSED, 0, 0)) for n in (1, 2)]
    _run(path, lambda database: database.apply(more))
    assert check_database(path)[1] == 3
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM history WHERE number = ?", (len(made) + 1,))
    with pytest.raises(LoadDbError, match=f"entry {len(made) + 2}: comes after entry {len(made)}"):
        check_database(path)


@pytest.mark.parametrize(
    ("number", "words"), [(5, "entry 7: goes on from a balance of -9 FST"), (6, "entry 7: comes after entry 5")]
)
def test_an_opening_entry_that_is_missing_is_missed(lived_in, number, words):
    """By its number, or by the balance that the next one goes on from."""
    archive_history(lived_in, 7 * DAY, lived_in.with_name("old.archive"))
    with closing(sqlite3.connect(lived_in)) as connection, connection:
        connection.execute("DELETE FROM history WHERE number = ?", (number,))
    with pytest.raises(LoadDbError, match=words):
        check_database(lived_in)


def test_what_belongs_to_a_payment_stays_as_long_as_the_payment_does(lived_in):
    """One of which a part is still in the database, and one that is open; the last one has not been moved."""
    payments = [entry.opt_payment_id for entry in _entries(lived_in)]
    with closing(sqlite3.connect(lived_in)) as connection, connection:
        connection.execute("UPDATE history SET payment_id = ? WHERE number = 8", (payments[4],))
        connection.execute("INSERT INTO open_transactions (request_id, payment_id) VALUES (x'00', ?)", (payments[5],))
    assert _moved_by_hand(lived_in, 7) == sorted([payments[4], payments[5], payments[7]])


def test_clocks_that_were_set_back_leave_no_gap(lived_in):
    """Whatever comes after the first entry that is not old enough stays, with a time before the date, too."""
    with closing(sqlite3.connect(lived_in)) as connection, connection:
        connection.execute("UPDATE history SET time = 20 * 86400 WHERE number = 4")
    assert archive_history(lived_in, 7 * DAY, lived_in.with_name("old.archive")).through == 3
    assert [entry.number for entry in _entries(lived_in)] == [2, 3, 4, 5, 6, 7, 8, 9]


# What is refused.


def test_what_can_not_be_archived_stays(lived_in, tmp_path):
    """No entry of that time; a time to come; a file that is there, or an archive of another call; a directory."""
    before, target = _entries(lived_in), tmp_path / "old.archive"
    with pytest.raises(ArchiveError, match="there is no entry before"):
        archive_history(lived_in, DAY, target)
    with pytest.raises(ArchiveError, match="still to come"):
        archive_history(lived_in, int(time.time()) + 60, target)
    with pytest.raises(IoError, match="nowhere"):
        archive_history(lived_in, 7 * DAY, tmp_path / "nowhere" / "old.archive")
    target.write_text("mine")
    with pytest.raises(OutputAlreadyExists):
        archive_history(lived_in, 7 * DAY, target)
    assert (target.read_text(), _entries(lived_in)) == ("mine", before)
    archive_history(lived_in, 7 * DAY, tmp_path / "7.archive")
    with pytest.raises(ArchiveError):
        archive_history(lived_in, 7 * DAY, target.with_name("again.archive"))
    with pytest.raises(OutputAlreadyExists):
        archive_history(lived_in, 8 * DAY, tmp_path / "7.archive")
    assert len(_entries(lived_in)) == 5


def test_a_node_that_runs_keeps_its_history(lived_in):
    """Its lock says so."""

    async def work(database: Database) -> None:
        with pytest.raises(DatabaseInUse):
            await asyncio.to_thread(archive_history, lived_in, 7 * DAY, lived_in.with_name("old.archive"))

    _run(lived_in, work)


def test_a_history_that_does_not_fit_is_not_archived(lived_in):
    """Nothing is left behind."""
    with closing(sqlite3.connect(lived_in)) as connection, connection:
        connection.execute("DELETE FROM history WHERE number = 8")
    with pytest.raises(LoadDbError, match="entry 9: comes after entry 7"):
        archive_history(lived_in, 7 * DAY, lived_in.with_name("old.archive"))
    assert not lived_in.with_name("old.archive").exists()


@pytest.mark.parametrize("name", ["nowhere", "node.db", "text"])
def test_what_is_no_archive_is_not_read_as_one(lived_in, name):
    """Nor is an archive a database."""
    lived_in.with_name("text").write_text("mine" * 1000)
    with pytest.raises(LoadDbError, match=name):
        read_archive(lived_in.with_name(name))
    archive_history(lived_in, 7 * DAY, lived_in.with_name("old.archive"))
    with pytest.raises(LoadDbError, match="an archive of a history"):
        check_database(lived_in.with_name("old.archive"))


def test_files_that_are_no_good_archives(lived_in):
    """Of another kind, cut off, and twice the same: each is said as what it is."""
    old = lived_in.with_name("old.archive")
    archive_history(lived_in, 7 * DAY, old)
    bill = lived_in.with_name("tea.invoice")
    bill.write_text('{"invoice_id": "a", "currency": "F", "dest_public_key": "k", "dest_payment": "5"}')
    with pytest.raises(LoadDbError, match="not an archive of a history, but an invoice"):
        read_archive(bill)
    with pytest.raises(LoadDbError, match="not an archive of a history, but the database of a node"):
        read_archive(lived_in)
    cut = lived_in.with_name("cut.archive")
    cut.write_bytes(old.read_bytes()[:4096])
    with pytest.raises(LoadDbError, match=r"damaged .*; take another copy of this archive"):
        read_archive(cut)

    async def twice() -> None:
        async with open_archives([old, old]):
            raise AssertionError

    with pytest.raises(ArchiveError, match="are the same archive; give it once"):
        asyncio.run(twice())


# Processes that are killed.


def _killed_after(lines: int, work: Callable[[], object]) -> bool:
    """Do *work* in a process that is killed before it begins a line of the module for so many times. Was it?"""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of other tests do not matter to the child
        child = os.fork()
    if child == 0:
        left = lines

        def trace(frame: FrameType, event: str, _: object) -> Any:
            nonlocal left
            if frame.f_code.co_filename != archiving.__file__:
                return None
            if event == "line":
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return os.WIFSIGNALED(status)


def test_a_kill_at_any_line_loses_nothing_and_doubles_nothing(lived_in, tmp_path):
    """What is read is what there was, and the same call goes on to the end that it would have had."""
    before, image = _entries(lived_in), lived_in.read_bytes()
    state, _ = check_database(lived_in)
    ends, lines = Counter(), Random(8).randrange(4)
    while True:
        place = tmp_path / str(lines)
        place.mkdir()
        path, target = place / "node.db", place / "old.archive"
        path.write_bytes(image)
        killed = _killed_after(lines, lambda path=path, target=target: archive_history(path, 7 * DAY, target))
        assert check_database(path)[0] == state
        found = _entries(path)
        is_moved = found[0].kind is EntryKind.OPENING
        ends[target.exists(), is_moved] += 1
        if is_moved:
            assert (_entries(target), found[2:]) == (before[:6], before[6:])
        else:
            assert found == before
        assert archive_history(path, 7 * DAY, target).through == 6
        assert (_entries(target), _entries(path)[2:]) == (before[:6], before[6:])
        assert list(place.glob(".new*")) == []
        if not killed:
            break
        lines += 4
    assert set(ends) == {(False, False), (True, False), (True, True)}  # kills have come in each of the three stages
