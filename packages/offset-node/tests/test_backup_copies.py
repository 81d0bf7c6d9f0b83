"""What is handed around when a database is backed up and restored: pieces, and copies without a name. Spec 08 §6.6."""

import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from offset_crypto import locking
from offset_crypto.chunks import CHUNK_BYTES, TAG_BYTES
from offset_funder.testing import SimulatedNetwork
from offset_node.database import backup, backup_copies
from offset_node.database.backup import back_up, restore
from offset_node.database.backup_copies import Copy, open_copy
from offset_node.database.errors import LoadDbError
from offset_node.database.sqlite import create_database
from offset_node.state import NodeState
from offset_proto.files import IoError


@pytest.fixture(autouse=True)
def _cheap_locks(monkeypatch):
    """What a real lock costs is tested with the locks."""
    monkeypatch.setattr(locking, "_MEMORY_KIB", 32)


@pytest.fixture
def database(tmp_path) -> Path:
    """A database that no node runs on, of several chunks."""
    network = SimulatedNetwork(["A", "B"], Random(0))
    network.befriend("A", "B")
    path = tmp_path / "node.db"
    create_database(path, NodeState(network.nodes["A"].stored))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE filling (value BLOB)")
        connection.executemany("INSERT INTO filling VALUES (?)", [(bytes([number]) * 4000,) for number in range(100)])
        connection.commit()
    return path


def _chunks_of(locked: bytes) -> tuple[bytes, list[bytes]]:
    head, _, sealed = locked.partition(b"\n")
    size = CHUNK_BYTES + TAG_BYTES
    return head + b"\n", [sealed[start : start + size] for start in range(0, len(sealed), size)]


def test_what_was_done_to_the_chunks_is_named(database, tmp_path):
    """Cut off, moved, doubled, appended, or of another backup of the same database; nothing is made of it."""
    for name in ("a", "other"):
        back_up(database, tmp_path / f"{name}.backup", "pass")
    head, chunks = _chunks_of((tmp_path / "a.backup").read_bytes())
    _, others = _chunks_of((tmp_path / "other.backup").read_bytes())
    assert len(chunks) == len(others) > 4
    before = sorted(tmp_path.iterdir())
    longer = f"chunk {len(chunks)}, at the end, was altered, cut off or added to"
    if len(chunks[-1]) == CHUNK_BYTES + TAG_BYTES:  # the database may have just so many pages
        longer = f"something follows chunk {len(chunks)}, which is the last one"
    for done, reason in [
        (chunks[:3], "it was cut off after chunk 3"),
        ([*chunks[:1], chunks[2], chunks[1], *chunks[3:]], "chunk 2 is missing: chunk 3 is in its place"),
        ([*chunks[:2], *chunks[1:]], "chunk 3 is missing: chunk 2 is in its place"),
        ([*chunks, b"more"], longer),
        ([*chunks[:2], others[2], *chunks[3:]], "chunk 3 was altered, or is one of another file"),
    ]:
        (tmp_path / "bad.backup").write_bytes(head + b"".join(done))
        with pytest.raises(LoadDbError, match=rf"bad\.backup: {reason}"):
            restore(tmp_path / "bad.backup", tmp_path / "new.db", lambda: "pass")
        (tmp_path / "bad.backup").unlink()
        assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("passphrase", [None, "pass"])
def test_one_piece_is_in_memory(database, tmp_path, monkeypatch, passphrase):
    """Whatever is handed to a file, when it is backed up and when it is restored, has the size of a chunk at most."""
    lengths = []

    def counted(pieces):
        for piece in pieces:
            lengths.append(len(piece))
            yield piece

    save, fill = backup.save_bytes, Copy.fill
    monkeypatch.setattr(backup, "save_bytes", lambda path, data, **rest: save(path, counted(data), **rest))
    monkeypatch.setattr(Copy, "fill", lambda copy, pieces: fill(copy, counted(pieces)))
    back_up(database, tmp_path / "a.backup", passphrase)
    restore(tmp_path / "a.backup", tmp_path / "new.db", lambda: "pass")
    assert sum(lengths) >= 3 * database.stat().st_size
    assert max(lengths) <= CHUNK_BYTES + TAG_BYTES


def _strangers(directory: Path) -> list[str]:
    """What is in a directory, at any depth, besides the database and its log."""
    return sorted(found.name for found in directory.rglob("*") if not found.name.startswith("node.db"))


def test_a_copy_has_no_name(database, tmp_path, monkeypatch):
    """So nothing is left of it however the process ends, and nothing unlocked is seen beside a locked backup."""
    seen = []
    save = backup.save_bytes

    def look(path, data, **rest):
        seen.append(_strangers(tmp_path))
        save(path, data, **rest)

    monkeypatch.setattr(backup, "save_bytes", look)
    (tmp_path / "backups").mkdir()
    back_up(database, tmp_path / "backups" / "a.backup", "pass")
    assert seen == [["backups"]]


def test_no_room_for_a_copy(database, tmp_path, monkeypatch):
    """It is not told as damage of the database, and there is no backup."""
    monkeypatch.setattr(backup_copies, "_PRAGMAS", backup_copies._PRAGMAS + "PRAGMA max_page_count = 2;")
    with pytest.raises(IoError, match="no room for a copy"):
        back_up(database, tmp_path / "a.backup")
    with pytest.raises(IoError, match="no room for a copy"), open_copy(database):
        pytest.fail("there is no copy")
    with pytest.raises(IoError, match="nowhere: No such file or directory"):
        Copy(tmp_path / "nowhere")
    assert _strangers(tmp_path) == []


def test_what_is_read_back_is_compared(database, tmp_path, monkeypatch):
    """A disk that loses a bit makes no backup, locked or not."""
    save = backup.save_bytes

    def lose(path, data, *, check, **rest):
        def damaged(written):
            image = bytearray(written.read_bytes())
            image[-1] ^= 1
            written.write_bytes(image)
            check(written)

        save(path, data, check=damaged, **rest)

    monkeypatch.setattr(backup, "save_bytes", lose)
    for passphrase in (None, "pass"):
        with pytest.raises(IoError, match="what is read back is not what was written"):
            back_up(database, tmp_path / "a.backup", passphrase)
    assert _strangers(tmp_path) == []
