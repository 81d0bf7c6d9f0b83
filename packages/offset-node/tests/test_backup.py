"""Backups of a database, and databases from backups. Spec 08 §6.6."""

import asyncio
import json
import math
import sqlite3
import stat
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from immutables import Map

from offset_crypto import locking
from offset_crypto.locking import seal
from offset_funder.mutations import FriendMutation, SetInconsistent, apply
from offset_funder.reports import initial_report
from offset_funder.state import Inconsistent
from offset_funder.testing import SimulatedNetwork
from offset_node.database import backup_series, backup_stamp
from offset_node.database.backup import back_up, read_report, restore
from offset_node.database.backup_series import BackupSeries
from offset_node.database.backup_stamp import backup_age, reminder, write_stamp
from offset_node.database.errors import LoadDbError
from offset_node.database.move_over import export_database
from offset_node.database.sqlite import Database, create_database, load_database
from offset_node.database.tables import SCHEMA_VERSION
from offset_node.metrics import Watched
from offset_node.state import AddIndexServer, NodeState, RemoveIndexServer
from offset_proto.files import OutputAlreadyExists, PassphraseLock
from offset_proto.messages.friend import ResetTerms
from offset_proto.messages.payment import NamedIndexServerAddress
from offset_proto.text import format_b64
from offset_proto.types import NetAddress, PublicKey, Salt, Signature

DAY = 24 * 3600
SERVER = NamedIndexServerAddress(PublicKey(b"\x05" * 32), NetAddress("h:1"), "late")


def _no_passphrase() -> str:
    raise AssertionError("a backup that is not locked asks for no passphrase")


@pytest.fixture(autouse=True)
def _cheap_locks(monkeypatch):
    """What a real lock costs is tested with the locks."""
    monkeypatch.setattr(locking, "_MEMORY_KIB", 32)


@pytest.fixture
def state() -> NodeState:
    """A node with a friend, and a balance between them."""
    network = SimulatedNetwork(["A", "B"], Random(0))
    network.befriend("A", "B")
    return NodeState(network.nodes["A"].stored)


@pytest.fixture
def database(tmp_path, state) -> Path:
    """A database that no node runs on."""
    path = tmp_path / "node.db"
    create_database(path, state)
    return path


def _remembers(restored: NodeState, state: NodeState) -> bool:
    """Whether all is as it was, except that each friend has to speak first."""
    friends = {key: replace(friend, is_heard=False) for key, friend in state.funder.friends.items()}
    funder = replace(state.funder, friends=Map(friends), has_forgotten=True)
    return restored == replace(state, funder=funder)


@pytest.mark.parametrize("passphrase", [None, "pass"])
def test_there_and_back(database, tmp_path, state, passphrase):
    """The same state, in files that only the owner reads."""
    backup, restored = tmp_path / "a.backup", tmp_path / "restored.db"
    assert back_up(database, backup, passphrase) == state
    assert _remembers(restore(backup, restored, lambda: passphrase or _no_passphrase()), state)
    for path in (backup, restored, tmp_path / "node.db.backup-time"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_database(database) == state


def test_what_is_in_a_database_or_a_backup(database, tmp_path, state):
    """Whether the database is run on or not, and the backup locked or not; nothing else is taken for one."""

    expected = initial_report(state.funder, state.index_servers)

    async def run() -> None:
        node = await Database.open(database)
        try:
            assert await asyncio.to_thread(read_report, database, _no_passphrase) == expected
        finally:
            await node.close()

    asyncio.run(run())
    back_up(database, tmp_path / "open.backup")
    back_up(database, tmp_path / "locked.backup", "pass")
    assert read_report(tmp_path / "open.backup", _no_passphrase) == expected
    assert read_report(tmp_path / "locked.backup", lambda: "pass") == expected
    (tmp_path / "text").write_text("no database")
    with pytest.raises(LoadDbError):
        read_report(tmp_path / "text", _no_passphrase)


def test_a_locked_backup_shows_nothing(database, tmp_path, state):
    """Neither what it holds, nor that it is a database of SQLite."""
    back_up(database, tmp_path / "open.backup")
    back_up(database, tmp_path / "locked.backup", "pass")
    friend = next(iter(state.funder.friends))
    assert friend in (tmp_path / "open.backup").read_bytes()
    locked = (tmp_path / "locked.backup").read_bytes()
    assert friend not in locked
    assert b"SQLite" not in locked
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_while_a_node_runs_on_it(database, tmp_path, state):
    """What is stored is in it, although it is in the write-ahead log only; what is stored later is not."""

    async def run() -> None:
        node = await Database.open(database)
        try:
            await node.load()
            await node.apply([AddIndexServer(SERVER)])
            assert (tmp_path / "node.db-wal").stat().st_size > 0
            first = await asyncio.to_thread(back_up, database, tmp_path / "first.backup")
            await node.apply([RemoveIndexServer(SERVER.public_key)])
            second = await asyncio.to_thread(back_up, database, tmp_path / "second.backup")
            assert first.index_servers == (SERVER,)
            assert second.index_servers == state.index_servers == ()
        finally:
            await node.close()

    asyncio.run(run())
    assert restore(tmp_path / "first.backup", tmp_path / "new.db", _no_passphrase).index_servers == (SERVER,)
    assert load_database(database) == state


def test_no_node_runs_on_a_backup(database, tmp_path):
    """The refusal says what to do."""
    back_up(database, tmp_path / "a.backup")
    with pytest.raises(LoadDbError, match="stmgr restore makes a database from it"):
        load_database(tmp_path / "a.backup")


@pytest.mark.parametrize("times", [1, 2])
def test_what_was_restored_can_be_run_on(database, tmp_path, state, times):
    """What is loaded is what was restored, also from the backup of a restored database."""
    path = database
    for number in range(times):
        back_up(path, tmp_path / f"{number}.backup")
        path = tmp_path / f"{number}.db"
        restored = restore(tmp_path / f"{number}.backup", path, _no_passphrase)
        assert load_database(path) == restored
        assert _remembers(restored, state)


def test_a_channel_that_was_broken(tmp_path):
    """Our terms are new ones, and those of the friend are gone: they may have been accepted in the forgotten time."""
    network = SimulatedNetwork(["A", "B"], Random(0))
    network.befriend("A", "B")
    key, token = network.nodes["B"].key, Signature(bytes(64))
    old, theirs = ResetTerms(token, 7, ()), ResetTerms(token, 8, ())
    broken = FriendMutation(key, SetInconsistent(Inconsistent(None, old, theirs)))
    create_database(tmp_path / "node.db", NodeState(apply(network.nodes["A"].stored, broken)))
    back_up(tmp_path / "node.db", tmp_path / "a.backup")
    restore(tmp_path / "a.backup", tmp_path / "new.db", _no_passphrase)
    channel = load_database(tmp_path / "new.db").funder.friends[key].channel
    assert isinstance(channel, Inconsistent)
    assert channel.opt_remote_reset_terms is None
    assert channel.local_reset_terms.reset_token != token
    assert channel.local_reset_terms.inconsistency_counter == 8


def test_it_is_not_moved_over_before_all_friends_are_heard(database, tmp_path):
    """The original would sign on, and has no place for the mark; nothing is changed."""
    back_up(database, tmp_path / "a.backup")
    restored = restore(tmp_path / "a.backup", tmp_path / "new.db", _no_passphrase)
    with pytest.raises(LoadDbError, match="some friends have not spoken since"):
        export_database(tmp_path / "new.db", tmp_path / "moved.json")
    assert load_database(tmp_path / "new.db") == restored
    assert not (tmp_path / "moved.json").exists()


def test_nothing_is_made_of_what_is_no_node_of_ours(database, tmp_path):
    """A moved node, a backup of a backup, another file, none: each would be a wrong last backup."""
    back_up(database, tmp_path / "a.backup")

    async def export() -> None:
        moved = await Database.open(tmp_path / "moved.db")
        await moved.mark_exported(True)
        await moved.close()

    create_database(tmp_path / "moved.db", load_database(database))
    asyncio.run(export())
    (tmp_path / "text").write_text("no database")
    for name in ("a.backup", "moved.db", "text", "nowhere", "."):
        with pytest.raises(LoadDbError):
            back_up(tmp_path / name, tmp_path / "new.backup")
        assert backup_age(tmp_path / name) is None
    assert not (tmp_path / "new.backup").exists()


def test_nothing_is_overwritten(database, tmp_path):
    """Not even by the backup of the same database."""
    back_up(database, tmp_path / "a.backup")
    restore(tmp_path / "a.backup", tmp_path / "restored.db", _no_passphrase)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    for name in ("a.backup", "restored.db", "node.db", "link"):
        with pytest.raises(OutputAlreadyExists):
            back_up(database, tmp_path / name)
        with pytest.raises(OutputAlreadyExists):
            restore(tmp_path / "a.backup", tmp_path / name, _no_passphrase)
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}


def test_a_damaged_database_is_not_backed_up(database, tmp_path):
    """A backup that can not be gone on from would hide that there is none; the old stamp stays."""
    write_stamp(database, 0)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE node SET local_public_key = x'01'")
        connection.commit()
    with pytest.raises(LoadDbError, match="PublicKey has 32 bytes"):
        back_up(database, tmp_path / "a.backup")
    assert not (tmp_path / "a.backup").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert json.loads((tmp_path / "node.db.backup-time").read_text()) == {"time": 0}


@pytest.mark.parametrize("locked", [False, True])
def test_cut_and_altered_backups(database, tmp_path, locked):
    """Told by one kind of error, whatever was done to them; a locked one shows every alteration."""
    backup, bad = tmp_path / "a.backup", tmp_path / "bad.backup"
    back_up(database, backup, "pass" if locked else None)
    data = backup.read_bytes()
    chance = Random(1)
    lengths = [0, 1, 15, 16, 72, 100, 137, 138, 139, 140, 141, 4096, len(data) // 2, len(data) - 1]
    for length in lengths if locked else lengths[:-2]:
        bad.write_bytes(data[:length])
        with pytest.raises(LoadDbError, match=r"bad\.backup"):
            restore(bad, tmp_path / "new.db", lambda: "pass")
    for _ in range(8 if locked else 40):
        position = chance.randrange(len(data))
        bad.write_bytes(data[:position] + bytes([data[position] ^ 1 << chance.randrange(8)]) + data[position + 1 :])
        try:
            restore(bad, tmp_path / "new.db", lambda: "pass")
        except LoadDbError:
            continue
        assert not locked
        (tmp_path / "new.db").unlink()
    assert not (tmp_path / "new.db").exists()


def test_a_wrong_passphrase(database, tmp_path):
    """Nothing is made."""
    back_up(database, tmp_path / "a.backup", "pass")
    with pytest.raises(LoadDbError, match="wrong passphrase"):
        restore(tmp_path / "a.backup", tmp_path / "new.db", lambda: "Pass")
    assert not (tmp_path / "new.db").exists()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{}\n", "missing field `lockedBackup`"),
        (b"{\xff}\n", "not UTF-8"),
        (b'{"lockedBackup":3}\n', "version 3, this program knows 1 and 2"),
        (b"{" * 2000, "a line about its lock"),
    ],
)
def test_heads_that_are_refused(tmp_path, line, reason):
    """The error names the file, and nothing is made. `test_locked_backup.py` has all of them."""
    (tmp_path / "bad").write_bytes(line + b"sealed")
    with pytest.raises(LoadDbError, match=rf"bad: .*{reason}"):
        restore(tmp_path / "bad", tmp_path / "new.db", _no_passphrase)
    assert [path.name for path in tmp_path.iterdir()] == ["bad"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('{"privateKey": "AQEB"}', "an identity"),
        ('{"invoice_id": "a", "currency": "F", "dest_public_key": "k", "dest_payment": "5"}', "an invoice"),
        ('{"funder_state": {', "a database of the original"),
    ],
)
def test_other_files(database, tmp_path, text, name):
    """What a database or a backup was wanted of, and what it is."""
    other = tmp_path / "other"
    other.write_text(text)
    with pytest.raises(LoadDbError, match=f"not a backup of a node database, but {name}"):
        restore(other, tmp_path / "new.db", _no_passphrase)
    with pytest.raises(LoadDbError, match="stmgr import-db" if "original" in name else f"node database, but {name}"):
        load_database(other)


def test_a_damaged_first_line(database, tmp_path):
    """It is said so, and what helps. A locked backup is no database either."""
    back_up(database, tmp_path / "a.backup", "pass")
    with pytest.raises(LoadDbError, match="a locked backup, on which no node runs; stmgr restore makes a database"):
        load_database(tmp_path / "a.backup")
    data = (tmp_path / "a.backup").read_bytes()
    (tmp_path / "bad").write_bytes(data.replace(b'"lock":', b'"lock";', 1))
    with pytest.raises(LoadDbError, match=r"first line of this locked backup is damaged .*; take another copy"):
        restore(tmp_path / "bad", tmp_path / "new.db", _no_passphrase)


def test_a_backup_of_version_1(database, tmp_path, state):
    """Sealed in one piece, as programs before version 2 wrote them."""
    back_up(database, tmp_path / "open.backup")
    lock = PassphraseLock(8, 1, 1, Salt(b"\x06" * 32))
    head = '{"lockedBackup":1,"lock":{"memoryKib":8,"iterations":1,"lanes":1,"salt":"' + format_b64(lock.salt) + '"}}\n'
    sealed = seal((tmp_path / "open.backup").read_bytes(), lock, "pass", b"Offset locked backup, version 1")
    (tmp_path / "old.backup").write_bytes(head.encode() + sealed)
    assert _remembers(restore(tmp_path / "old.backup", tmp_path / "new.db", lambda: "pass"), state)


def test_a_database_of_an_older_version(database, tmp_path, state):
    """It is brought up in the copy that is checked; the database and its backup stay as they are."""
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(
            "DROP TABLE askers; DROP TABLE entry_askers; DROP TABLE apps; DROP TABLE notes; DROP TABLE entry_notes;"
            "DROP TABLE unheard; DROP TABLE forgotten;"
            "DROP TABLE history_archives; DROP TABLE history_timeline;"
            "DROP TABLE history; DROP TABLE history_friends; DROP TABLE history_currencies; PRAGMA user_version = 3;"
        )
    assert back_up(database, tmp_path / "a.backup") == state
    assert _remembers(restore(tmp_path / "a.backup", tmp_path / "new.db", _no_passphrase), state)
    versions = []
    for path in (database, tmp_path / "a.backup", tmp_path / "new.db"):
        with closing(sqlite3.connect(path)) as connection:
            versions += connection.execute("PRAGMA user_version").fetchone()
    assert versions == [3, 3, SCHEMA_VERSION]


def test_a_database_of_a_newer_version(database, tmp_path):
    """What this program can not check is no backup."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(LoadDbError, match=f"version {SCHEMA_VERSION + 1}, this program knows {SCHEMA_VERSION}"):
        back_up(database, tmp_path / "a.backup")
    assert not (tmp_path / "a.backup").exists()


def test_a_series_keeps_the_newest(database, tmp_path):
    """And leaves alone what it did not make."""
    directory = tmp_path / "backups"
    directory.mkdir()
    strangers = ["node.db.backup", "node.db.2026-11-29T18-05-00Z.backup.old", "other.db.2026-11-29T18-05-00Z.backup"]
    for name in strangers:
        (directory / name).touch()
    series = BackupSeries(database, directory, 2, 60, None)
    for moment in (1_795_975_500, 1_795_975_560, 1_795_975_620):
        assert series.step(moment)
    assert [path.name for path in series.backups()] == [
        "node.db.2026-11-29T18-06-00Z.backup",
        "node.db.2026-11-29T18-07-00Z.backup",
    ]
    assert sorted(strangers) == sorted(path.name for path in directory.iterdir() if path not in series.backups())


def test_a_clock_that_was_ahead_once(database, tmp_path, caplog):
    """What it named does not count: the newest of the others stay, the last one among them. All is told in a line."""
    directory = tmp_path / "backups"
    directory.mkdir()
    series = BackupSeries(database, directory, 2, 60, None)
    for moment in (1_800_000_000, 1_800_000_060, 1_795_975_500, 1_795_975_560, 1_795_975_620):
        assert series.step(moment)
    assert [path.name for path in series.backups()] == [
        "node.db.2026-11-29T18-06-00Z.backup",
        "node.db.2026-11-29T18-07-00Z.backup",
        "node.db.2027-01-15T08-00-00Z.backup",
        "node.db.2027-01-15T08-01-00Z.backup",
    ]
    assert len(caplog.messages) == 3
    assert f"2 in {directory} are named after times to come" in caplog.messages[-1]
    assert "node.db.2027-01-15T08-01-00Z.backup" in caplog.messages[-1]
    assert series.step(1_800_000_120)
    assert [path.name[-17:] for path in series.backups()] == ["T08-01-00Z.backup", "T08-02-00Z.backup"]
    assert len(caplog.messages) == 3


def test_a_series_goes_on_after_a_failure(database, tmp_path, caplog):
    """One line, and nothing is deleted for a backup that was not made."""
    directory = tmp_path / "backups"
    directory.mkdir()
    series = BackupSeries(database, directory, 1, 60, None)
    assert series.step(1_795_975_500)
    database.rename(tmp_path / "away.db")
    assert not series.step(1_795_975_560)
    assert caplog.messages == [f"backups: LoadDbError({database}: no such file)"]
    assert len(series.backups()) == 1
    (tmp_path / "away.db").rename(database)
    assert series.step(1_795_975_620)
    assert [path.name for path in series.backups()] == ["node.db.2026-11-29T18-07-00Z.backup"]


class _Clock:
    """A clock, and an event that is waited for by it; the machine sleeps once, from one wait to the next."""

    def __init__(self, sleeps: dict[int, float], waits_max: int) -> None:
        self.now = 1_795_975_500.0
        self._sleeps = sleeps
        self._waits_left = waits_max
        self._waits = 0

    def time(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self._waits += 1
        self.now += seconds + self._sleeps.get(self._waits, 0)
        return self._waits >= self._waits_left

    def is_set(self) -> bool:
        return self._waits >= self._waits_left


def _run(series: BackupSeries, clock: _Clock, monkeypatch) -> list[float]:
    made = []
    monkeypatch.setattr(backup_series.time, "time", clock.time)
    monkeypatch.setattr(BackupSeries, "step", lambda self, moment: made.append(moment) or True)
    series.run(clock)
    return [moment - 1_795_975_500 for moment in made]


def test_a_series_is_made_at_its_times(tmp_path, monkeypatch, caplog):
    """The first one now; the end comes while it waits."""
    series = BackupSeries(tmp_path / "node.db", tmp_path, 1, 60, None)
    assert _run(series, _Clock({}, 5), monkeypatch) == [0, 60, 120]
    assert caplog.messages == []


def test_a_machine_that_sleeps(tmp_path, monkeypatch, caplog):
    """A short sleep is made up for, a long one is said in a line; either way there is a backup at once."""
    series = BackupSeries(tmp_path / "node.db", tmp_path, 1, 60, None)
    assert _run(series, _Clock({1: 50, 3: 1000}, 5), monkeypatch) == [0, 80, 1120]
    assert len(caplog.messages) == 1
    assert "the machine may have slept" in caplog.messages[0]


def test_a_clock_that_is_put_back(tmp_path, monkeypatch, caplog):
    """By seconds: the wait is as much longer. By a year: the next backup is made at once, and not in a year."""
    series = BackupSeries(tmp_path / "node.db", tmp_path, 1, 60, None)
    year = 365 * DAY
    assert _run(series, _Clock({1: -5, 4: -year}, 7), monkeypatch) == [0, 60, 90 - year, 150 - year]
    assert caplog.messages == ["backups: the clock was put back; the next one is made now"]


def test_a_series_that_is_told_to_end(database, tmp_path):
    """The backup under way is complete."""
    end = threading.Event()
    end.set()
    (tmp_path / "backups").mkdir()
    series = BackupSeries(database, tmp_path / "backups", 3, 60, None)
    series.run(end)
    assert len(series.backups()) == 1


@pytest.mark.parametrize("text", ["", "{}", "[]", "1", '{"time": null}', '{"time": "soon"}', "\ufeff", "x" * 2000])
def test_stamps_that_say_nothing(tmp_path, text):
    """As if there had been no backup: whoever looks after the node should make one."""
    (tmp_path / "node.db.backup-time").write_text(text)
    assert backup_age(tmp_path / "node.db") is None


def test_the_age_of_the_last_backup(database, tmp_path, monkeypatch):
    """From the moment whose state is in it; never negative. After a clock that was far ahead there is none."""
    monkeypatch.setattr("time.time", lambda: 1_000_000.5)
    assert backup_age(database) is None
    back_up(database, tmp_path / "a.backup")
    monkeypatch.setattr("time.time", lambda: 1_000_090.0)
    assert backup_age(database) == 90
    monkeypatch.setattr("time.time", lambda: 1_000_000.0 - 3600)
    assert backup_age(database) == 0
    monkeypatch.setattr("time.time", lambda: 1_000_000.0 - 3601)
    assert backup_age(database) is None


def test_what_the_node_says(tmp_path):
    """Nothing for a week; then how old it is, and the command."""
    path = tmp_path / "node.db"
    assert reminder(path, 7 * DAY) is None
    assert reminder(path, 7 * DAY + 1) == f"the last backup of {path} is 7 days old: stmgr backup -d {path} -o FILE"
    assert reminder(path, None) == f"no backup of {path} is known: stmgr backup -d {path} -o FILE"


@pytest.mark.parametrize(("age", "shown"), [(90, 90), (None, math.inf)])
def test_an_alarm_rings_where_there_is_no_backup(age, shown):
    """Where there is one, its age is shown; a database on a server has backups of its own, and nothing rings."""
    nothing: Any = None
    assert Watched(nothing, nothing, lambda: age).age() == shown
    assert math.isnan(Watched(nothing, nothing, None).age())


def test_the_node_says_it_once_a_day(tmp_path, monkeypatch, caplog):
    """And nothing in its first hour."""
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 4:
            raise asyncio.CancelledError
        if len(slept) == 3:
            write_stamp(tmp_path / "node.db", int(time.time()))

    monkeypatch.setattr(backup_stamp.asyncio, "sleep", sleep)

    async def run() -> None:
        with pytest.raises(asyncio.CancelledError):
            await backup_stamp.remind_of_backups(tmp_path / "node.db")

    asyncio.run(run())
    assert slept == [3600, DAY, DAY, DAY]
    assert len(caplog.messages) == 2
