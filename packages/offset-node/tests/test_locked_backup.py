"""Locked backups, in pieces. Spec 08 §6.6."""

import hashlib
from collections.abc import Iterator

import pytest

from offset_crypto import locking
from offset_crypto.chunks import CHUNK_BYTES, BadChunk
from offset_crypto.locking import WrongPassphrase
from offset_node.database import locked_backup
from offset_node.database.locked_backup import is_locked, lock_backup, unlock_backup
from offset_proto.errors import InvalidInput
from offset_proto.types import Salt, SymmetricKey

SALT, KEY = Salt(b"\x05" * 32), SymmetricKey(b"\x07" * 32)
PASSPHRASE = "correct horse"

# All three were made by argon2-cffi 25.1.0 and PyCryptodome 4.4.0, which share no code with what is tested. The second
# one has plain text of which the cipher makes zeros, so that it is short.
RECORDED = (
    b'{"lockedBackup":2,"chunkBytes":65536,"lock":{"memoryKib":65536,"iterations":3,"lanes":4,'
    b'"salt":"BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU"},'
    b'"sealedKey":"XykbOb7zod2tDN_ZZ-zMSU1yrtjUNLVioUL1e3j-xkO3ME8bLOOYKkW81Jo_mfHx"}' + b"\n"
) + bytes.fromhex("88373177a5061334e945e1016e34c0611850d6144bcee305")
CHEAP = b'"lock":{"memoryKib":8,"iterations":1,"lanes":1,"salt":"BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU"}'
SEALED_KEY = b'"sealedKey":"_5EEl2DIKvvnYgdDh7mzPMlR1D-zigdnh5aHg24E-0G0xcwAMlikG8tq3JskPuiJ"'
HEAD = b'{"lockedBackup":2,"chunkBytes":1024,' + CHEAP + b"," + SEALED_KEY + b"}"
ONE = bytes(1024) + bytes.fromhex("c6596812f1f3d6fa966b693a87ce9adb")
TWO = bytes(8) + bytes.fromhex("c655a127d141f5fa951742535100bfa5")
VERSION_1 = b'{"lockedBackup":1,' + CHEAP + b"}\n" + bytes.fromhex("99b661f104a4588ca818a64b95b0d1534e022e3a1fbef5ec")


def _never() -> str:
    raise AssertionError("nobody is asked for the passphrase of what is no locked backup")


def _opened(locked: bytes, passphrase: str = PASSPHRASE) -> bytes:
    return b"".join(unlock_backup(iter([locked]), lambda: passphrase))


def test_the_form_is_recorded():
    """To the byte: what is locked today is opened by every later version."""
    assert b"".join(lock_backup([b"a ", b"backup"], PASSPHRASE, SALT, KEY)) == RECORDED
    assert _opened(RECORDED) == b"a backup"


@pytest.mark.parametrize("size", [1, 7, 100, 225, 226, 5000])
def test_another_size_of_chunks(size):
    """It stands in the head, and is gone by; in whatever pieces the file is read."""
    locked = HEAD + b"\n" + ONE + TWO
    pieces = (locked[start : start + size] for start in range(0, len(locked), size))
    plain = list(unlock_backup(pieces, lambda: PASSPHRASE))
    assert [len(piece) for piece in plain] == [1024, 8]
    digest = "11806cf0ce988859afada5bfc13c90cdcf86ad8ba19a9e3d3347547ce009e4ce"
    assert hashlib.sha256(b"".join(plain)).hexdigest() == digest


def test_version_1():
    """Sealed in one piece, which is opened as ever."""
    assert _opened(VERSION_1) == b"a backup"
    with pytest.raises(WrongPassphrase):
        _opened(VERSION_1[:-1])


def test_version_1_has_a_limit(monkeypatch):
    """It is read into memory, so it is told before that is done with more than anybody has written."""
    monkeypatch.setattr(locked_backup, "WHOLE_BYTES_MAX", 8)
    assert _opened(VERSION_1) == b"a backup"
    with pytest.raises(InvalidInput, match="more than 8 bytes"):
        b"".join(unlock_backup(iter([VERSION_1, b"x"]), _never))


@pytest.mark.parametrize("locked", [HEAD + b"\n" + ONE + TWO, VERSION_1])
def test_a_wrong_passphrase(locked):
    """Nothing comes out."""
    with pytest.raises(WrongPassphrase):
        next(unlock_backup(iter([locked]), lambda: "Correct horse"))


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"", "a line about its lock"),
        (b"{}\n", "missing field `lockedBackup`"),
        (b"[2]\n", "expected an object"),
        (b"{\xff}\n", "not UTF-8"),
        (b'{"lockedBackup":0}\n', "version 0, this program knows 1 and 2"),
        (b'{"lockedBackup":3,"lock":"of another kind"}\n', "version 3, this program knows 1 and 2"),
        (b'{"lockedBackup":2,' + CHEAP + b"}\n", "missing field `chunkBytes`"),
        (HEAD.replace(b"1024", b"1023") + b"\n", "chunkBytes: 1023 is not between 1024 and 1048576"),
        (HEAD.replace(b"1024", b"1048577") + b"\n", "chunkBytes: 1048577 is not"),
        (HEAD.replace(b"1024", b"4294967295") + b"\n", "chunkBytes: 4294967295 is not"),
        (HEAD.replace(b'uiJ"', b'uI"') + b"\n", "sealedKey"),
        (HEAD, "a line about its lock"),
        (HEAD + b" " * 1024 + b"\n", "a line about its lock"),
        (b"{" * 5000, "a line about its lock"),
    ],
)
def test_heads_that_are_refused(head, reason):
    """Before anybody is asked for a passphrase."""
    with pytest.raises(InvalidInput, match=reason):
        next(unlock_backup(iter([head]), _never))


@pytest.mark.parametrize("cost", [b'"memoryKib":4194304', b'"memoryKib":7', b'"lanes":0'])
def test_costs_that_are_refused(cost):
    """A file makes nobody work for ever, in either version."""
    name = cost.partition(b":")[0]
    for locked in (HEAD + b"\n" + ONE + TWO, VERSION_1):
        start, _, rest = locked.partition(name)
        with pytest.raises(InvalidInput, match=name.decode().strip('"')) as raised:
            _opened(start + cost + b"," + rest.partition(b",")[2])
        assert not isinstance(raised.value, WrongPassphrase)


def test_no_byte_of_the_head_can_be_altered():
    """Not even one that changes nothing of what the head says."""
    same = HEAD.replace(b'{"memoryKib"', b'{ "memoryKib"')
    with pytest.raises(BadChunk, match="chunk 1 was altered"):
        _opened(same + b"\n" + ONE + TWO)
    for position in range(len(HEAD)):
        altered = bytearray(HEAD)
        altered[position] ^= 1
        with pytest.raises(InvalidInput):
            _opened(bytes(altered) + b"\n" + ONE + TWO)


@pytest.mark.parametrize(
    ("chunks", "reason"),
    [
        (ONE, "cut off after chunk 1"),
        (TWO, "chunk 1 is missing: chunk 2 is in its place"),
        (ONE + ONE + TWO, "chunk 2 is missing: chunk 1 is in its place"),
        (ONE + TWO + ONE, "chunk 2 was altered"),
    ],
)
def test_what_was_done_to_it_is_named(chunks, reason):
    """As `offset_crypto.chunks` tells it."""
    with pytest.raises(BadChunk, match=reason):
        _opened(HEAD + b"\n" + chunks)


def test_each_has_a_key_of_its_own():
    """The passphrase and the salt seal nothing but that key."""
    with pytest.raises(BadChunk):
        _opened(RECORDED.partition(b"\n")[0] + b"\n" + TWO)


def test_no_passphrase_that_can_be_none():
    """It is told before anything is written."""
    with pytest.raises(InvalidInput, match="has 0"):
        next(lock_backup([b"x"], "", SALT, KEY))


def test_one_chunk_is_in_memory(monkeypatch):
    """The first chunks are there, and can be opened, while the rest is still to come."""
    monkeypatch.setattr(locking, "_MEMORY_KIB", 32)

    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(1000)

    plain = unlock_backup(lock_backup(endless(), PASSPHRASE, SALT, KEY), lambda: PASSPHRASE)
    assert [len(next(plain)) for _ in range(20)] == [CHUNK_BYTES] * 20


def test_how_it_is_told_from_a_database():
    """By its first byte."""
    assert is_locked(RECORDED)
    assert is_locked(VERSION_1)
    assert not is_locked(b"SQLite format 3\0")
    assert not is_locked(b"")
