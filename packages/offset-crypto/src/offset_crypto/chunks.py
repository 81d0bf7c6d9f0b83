"""
A file of any size under one key, sealed in chunks: STREAM with ChaCha20-Poly1305. Spec 08 §6.6.

The construction is STREAM of Hoang, Reyhanitabar, Rogaway and Vizár, "Online Authenticated-Encryption and its
Nonce-Reuse Misuse-Resistance" (CRYPTO 2015), in the form of the files of age (https://age-encryption.org/v1):

    chunk n (from 0)    at most `CHUNK_BYTES` of the plain text, and a tag of 16 bytes
    its nonce           n, 11 bytes, big-endian; then 1 for the last chunk, 0 for every other one
    its length          full, except that of the last one, which is empty only where the whole is

Why nothing can be done to a file unnoticed
    A chunk opens only with the nonce that it was sealed with, so only in its own place: one that is left out, doubled
    or moved does not open where it stands. A file that was cut between two chunks ends with a chunk that is not marked
    as the last one; a file with something behind its end has its last chunk elsewhere than at the end. Chunks of other
    files have other keys, because a key seals one file only. What stands before the chunks is sealed in with each.

What the reader must know
    The chunks that were given out are genuine, and they are the beginning of the file. They are the whole file only
    when the iterator has come to its end without an error, so nothing of them may be used before that.

Only one chunk, and one piece of what comes in, is in memory at any time. Nothing here is random, and nothing is read or
written.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from offset_proto.errors import InvalidInput
from offset_proto.types import SymmetricKey

__all__ = ["CHUNK_BYTES", "TAG_BYTES", "BadChunk", "open_chunks", "seal_chunks"]

CHUNK_BYTES: Final = 64 * 1024
TAG_BYTES: Final = 16

PLACES_TRIED: Final = 256
"""Before and after the place of a chunk that does not open: where it may belong. Only the error depends on it."""


class BadChunk(InvalidInput):
    """Something was done to a sealed file; the message names the first chunk that shows it, counted from 1."""


def seal_chunks(
    plain: Iterable[bytes], key: SymmetricKey, head: bytes = b"", chunk_bytes: int = CHUNK_BYTES
) -> Iterator[bytes]:
    """
    The chunks of *plain*, sealed.

    Args:
        plain: In pieces of any size.
        key: Random, and for this file alone.
        head: What stands before the chunks, and has to be the same when they are opened.
        chunk_bytes: Of plain text in each chunk but the last one.
    """
    cipher = ChaCha20Poly1305(key)
    for number, (chunk, is_last) in enumerate(_cut(plain, chunk_bytes)):
        yield cipher.encrypt(_nonce(number, is_last), chunk, head)


def open_chunks(
    sealed: Iterable[bytes], key: SymmetricKey, head: bytes = b"", chunk_bytes: int = CHUNK_BYTES
) -> Iterator[bytes]:
    """
    The plain text of chunks that `seal_chunks` made with the same key, head and size. It is whole when this has ended.

    Args:
        sealed: The chunks, in pieces of any size.
        key, head, chunk_bytes: As when they were sealed.

    Raises:
        BadChunk: They are not these chunks, all of them, in their order, and nothing else.
    """
    cipher = ChaCha20Poly1305(key)
    for number, (chunk, is_last) in enumerate(_cut(sealed, chunk_bytes + TAG_BYTES)):
        plain = _opened(cipher, number, is_last, chunk, head)
        if plain is None:
            raise BadChunk(_what_is_wrong(cipher, number, is_last, chunk, head))
        if is_last and number > 0 and not plain:
            raise BadChunk(f"chunk {number + 1} is the last one and empty, which no program of ours writes")
        yield plain


def _cut(pieces: Iterable[bytes], size: int) -> Iterator[tuple[bytes, bool]]:
    """All bytes of *pieces* in pieces of *size*, and whether each is the last one, which may be shorter."""
    held = bytearray()
    for piece in pieces:
        held += piece
        while len(held) > size:  # as long as a byte follows, a piece is not the last one
            yield bytes(held[:size]), False
            del held[:size]
    yield bytes(held), True


def _nonce(number: int, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])


def _opened(cipher: ChaCha20Poly1305, number: int, is_last: bool, chunk: bytes, head: bytes) -> bytes | None:
    try:
        return cipher.decrypt(_nonce(number, is_last), chunk, head)
    except InvalidTag:
        return None


def _what_is_wrong(cipher: ChaCha20Poly1305, number: int, is_at_end: bool, chunk: bytes, head: bytes) -> str:
    """Why *chunk* does not open in its place: where near it does, or else that it does not at all."""
    name = f"chunk {number + 1}"
    for place in range(max(0, number - PLACES_TRIED), number + PLACES_TRIED + 1):
        for is_last in (False, True):
            if _opened(cipher, place, is_last, chunk, head) is None:
                continue
            if place != number:
                return f"{name} is missing: chunk {place + 1} is in its place"
            return f"something follows {name}, which is the last one" if is_last else f"it was cut off after {name}"
    if is_at_end:
        return f"{name}, at the end, was altered, cut off or added to"
    return f"{name} was altered, or is one of another file"
