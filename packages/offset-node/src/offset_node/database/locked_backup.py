"""
A backup under a passphrase, in pieces. Spec 08 §6.6. Pure: reading, writing and randomness are in `backup`.

Version 2, which is what is written, is a head of one line, a line end, and the backup in sealed chunks
(`offset_crypto.chunks`), so that it takes no more memory than a chunk:

    {"lockedBackup":2,"chunkBytes":65536,"lock":{...},"sealedKey":"..."}

    1. The passphrase and the lock give a key, slowly (`offset_crypto.locking`).
    2. It opens *sealedKey*, which is the key of this file alone: random, and used for nothing else.
    3. That opens the chunks. Each is sealed together with the bytes of the head, so that no byte of it can be altered.

Version 1 is a head, and the backup sealed in one piece, which has to be in memory as a whole. It is read, and no longer
written.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

from offset_crypto.chunks import CHUNK_BYTES, open_chunks, seal_chunks
from offset_crypto.locking import new_lock, seal, unseal
from offset_proto.errors import InvalidInput
from offset_proto.files import PassphraseLock
from offset_proto.message import frozen
from offset_proto.message_json import CAMEL_CASE, JsonForm, format_json_line, parse_json
from offset_proto.types import U32, Salt, SealedKey, SymmetricKey

__all__ = ["WHOLE_BYTES_MAX", "is_locked", "lock_backup", "unlock_backup"]

T = TypeVar("T")

WHOLE_BYTES_MAX: Final = 1024 * 1024 * 1024
"""Of a backup of version 1, which is read into memory."""

CHUNK_BYTES_MIN: Final = 1024
CHUNK_BYTES_MAX: Final = 1024 * 1024
"""What a head may ask for: less is slow, and more is memory that somebody else decides on."""

_HEAD_BYTES_MAX: Final = 1024
_PURPOSE: Final = {1: b"Offset locked backup, version 1", 2: b"Offset locked backup, version 2"}


@frozen
class _Version:
    """What every head has."""

    locked_backup: U32


@frozen
class _Head1:
    locked_backup: U32
    lock: PassphraseLock


@frozen
class _Head2:
    locked_backup: U32
    chunk_bytes: U32
    lock: PassphraseLock
    sealed_key: SealedKey


_VERSION_FORM: Final = JsonForm(_Version, camel_case=CAMEL_CASE)
_FORM1: Final = JsonForm(_Head1, camel_case=CAMEL_CASE)
_FORM2: Final = JsonForm(_Head2, camel_case=CAMEL_CASE)


def is_locked(start: bytes) -> bool:
    """Whether a backup that begins with these bytes is a locked one; another one is a database."""
    return start.startswith(b"{")


def lock_backup(plain: Iterable[bytes], passphrase: str, salt: Salt, key: SymmetricKey) -> Iterator[bytes]:
    """
    A locked backup, in pieces of about a chunk.

    Args:
        plain: The backup, in pieces of any size.
        passphrase: Of 1 to 1024 bytes.
        salt, key: Random, and for this backup alone.

    Raises:
        InvalidInput: The passphrase can be none.
        LockingUnavailable: No Argon2id here.
    """
    lock = new_lock(salt)
    sealed_key = SealedKey(seal(key, lock, passphrase, _PURPOSE[2]))
    head = format_json_line(_FORM2.to_value(_Head2(2, CHUNK_BYTES, lock, sealed_key))).encode()
    yield head + b"\n"
    yield from seal_chunks(plain, key, head)


def unlock_backup(locked: Iterator[bytes], ask_passphrase: Callable[[], str]) -> Iterator[bytes]:
    """
    The backup in a locked one of either version, in pieces. It is whole when this has ended, and not before.

    Args:
        locked: In pieces of any size.
        ask_passphrase: Called once the head is found to be one.

    Raises:
        InvalidInput: No locked backup, one of another version, of another passphrase, or damaged; says which.
        LockingUnavailable: No Argon2id here.
    """
    head, sealed = _split(locked)
    version, value = _parsed(head)
    if version == 1:
        first = _read_head(_FORM1, value)
        yield unseal(_whole(sealed), first.lock, ask_passphrase(), _PURPOSE[1])
        return
    second = _read_head(_FORM2, value)
    if not CHUNK_BYTES_MIN <= second.chunk_bytes <= CHUNK_BYTES_MAX:
        reason = f"is not between {CHUNK_BYTES_MIN} and {CHUNK_BYTES_MAX}"
        raise _damaged(f"chunkBytes: {second.chunk_bytes} {reason}")
    key = SymmetricKey(unseal(second.sealed_key, second.lock, ask_passphrase(), _PURPOSE[2]))
    yield from open_chunks(sealed, key, head, second.chunk_bytes)


def _split(locked: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The head, without its line end, and what follows it."""
    start = b""
    for piece in locked:
        start += piece
        if b"\n" in start or len(start) >= _HEAD_BYTES_MAX:
            break
    head, line_end, rest = start.partition(b"\n")
    if not line_end or len(head) >= _HEAD_BYTES_MAX:
        raise _damaged("a line about its lock begins it, and is not there")
    return head, _followed_by(rest, locked)


def _followed_by(first: bytes, others: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from others


def _parsed(head: bytes) -> tuple[int, object]:
    try:
        value = parse_json(head.decode())
    except UnicodeDecodeError:
        raise _damaged("it is not UTF-8") from None
    except InvalidInput as error:
        raise _damaged(error) from None
    version = _read_head(_VERSION_FORM, value).locked_backup
    if version not in _PURPOSE:
        raise InvalidInput(f"lockedBackup: version {version}, this program knows 1 and 2")
    return version, value


def _read_head(form: JsonForm[T], value: object) -> T:
    try:
        return form.from_value(value)
    except InvalidInput as error:
        raise _damaged(error) from None


def _damaged(reason: object) -> InvalidInput:
    return InvalidInput(f"the first line of this locked backup is damaged ({reason}); take another copy")


def _whole(pieces: Iterator[bytes]) -> bytes:
    """All of a sealed backup of version 1, with its tag."""
    held = bytearray()
    for piece in pieces:
        held += piece
        if len(held) > WHOLE_BYTES_MAX + 16:
            raise InvalidInput(f"more than {WHOLE_BYTES_MAX} bytes, which a backup of version 1 can not have")
    return bytes(held)
