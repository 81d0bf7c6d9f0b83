"""Files of any size, sealed in chunks. Spec 08 §6.6."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from offset_crypto.chunks import CHUNK_BYTES, TAG_BYTES, BadChunk, open_chunks, seal_chunks
from offset_proto.types import SymmetricKey

KEY = SymmetricKey(bytes(range(32)))
SIZE = 8
PLAIN = bytes(range(30))  # three full chunks of 8, and one of 6

# The vectors of the age file format, https://github.com/C2SP/CCTV, folder age/testdata, commit 1e3d286: those about the
# payload, without the head of the files and with the key that follows from it. Where `sealed` has a number, there are
# so many bytes of zero; the vectors are made that way so that they are short.
VECTORS = json.loads((Path(__file__).parent / "age_stream.json").read_text())


def _sealed(plain: bytes = PLAIN, key: SymmetricKey = KEY) -> list[bytes]:
    return list(seal_chunks([plain], key, b"head", SIZE))


def _opened(pieces: list[bytes], head: bytes = b"head") -> bytes:
    return b"".join(open_chunks(pieces, KEY, head, SIZE))


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_vectors_of_age(vector):
    """The same construction to the byte, in both directions; what age refuses is refused."""
    key = SymmetricKey(bytes.fromhex(vector["key"]))
    sealed = [bytes(part) if isinstance(part, int) else bytes.fromhex(part) for part in vector["sealed"]]
    if not vector["is_whole"]:
        with pytest.raises(BadChunk):
            list(open_chunks(sealed, key))
        return
    plain = list(open_chunks(sealed, key))
    assert hashlib.sha256(b"".join(plain)).hexdigest() == vector["plain_sha256"]
    assert b"".join(seal_chunks(plain, key)) == b"".join(sealed)


def test_the_sizes_are_those_of_the_vectors():
    """A chunk of 64 KiB, and a tag of 16 bytes."""
    assert (CHUNK_BYTES, TAG_BYTES) == (65536, 16)


@pytest.mark.parametrize(
    ("length", "lengths"),
    [(0, [16]), (1, [17]), (7, [23]), (8, [24]), (9, [24, 17]), (16, [24, 24]), (17, [24, 24, 17])],
)
def test_the_last_chunk(length, lengths):
    """It is full where the plain text ends there, and empty only where there is none."""
    sealed = _sealed(PLAIN[:length])
    assert [len(chunk) for chunk in sealed] == lengths
    assert _opened(sealed) == PLAIN[:length]


@pytest.mark.parametrize("size", [1, 5, 8, 24, 25, 1000])
def test_pieces_of_any_size(size):
    """What comes in is cut anew, wherever it was cut."""
    pieces = [PLAIN[start : start + size] for start in range(0, len(PLAIN), size)]
    assert list(seal_chunks([b"", *pieces, b""], KEY, b"head", SIZE)) == _sealed()
    whole = b"".join(_sealed())
    assert _opened([b"", *(whole[start : start + size] for start in range(0, len(whole), size)), b""]) == PLAIN


ONE, TWO, THREE, FOUR = _sealed()
OTHER = _sealed(key=SymmetricKey(bytes(32)))


@pytest.mark.parametrize(
    ("chunks", "reason"),
    [
        ([], "chunk 1, at the end, was altered, cut off or added to"),
        ([ONE], "it was cut off after chunk 1"),
        ([ONE, TWO, THREE], "it was cut off after chunk 3"),
        ([ONE, TWO, THREE[:-1]], "chunk 3, at the end, was altered, cut off or added to"),
        ([ONE, TWO, THREE, FOUR[:-1]], "chunk 4, at the end, was altered, cut off or added to"),
        ([ONE, TWO, THREE, FOUR, b"x"], "chunk 4, at the end, was altered, cut off or added to"),
        ([ONE, TWO, THREE, FOUR, ONE], "chunk 4 was altered, or is one of another file"),
        ([*_sealed(PLAIN[:16]), b"x"], "something follows chunk 2, which is the last one"),
        ([*_sealed(PLAIN[:16]), *_sealed(PLAIN[:16])], "something follows chunk 2, which is the last one"),
        ([TWO, ONE, THREE, FOUR], "chunk 1 is missing: chunk 2 is in its place"),
        ([ONE, THREE, TWO, FOUR], "chunk 2 is missing: chunk 3 is in its place"),
        ([ONE, ONE, TWO, THREE, FOUR], "chunk 2 is missing: chunk 1 is in its place"),
        ([ONE, THREE, FOUR], "chunk 2 is missing: chunk 3 is in its place"),
        ([ONE, TWO, FOUR], "chunk 3 is missing: chunk 4 is in its place"),
        ([ONE, OTHER[1], THREE, FOUR], "chunk 2 was altered, or is one of another file"),
        ([ONE, TWO, THREE, OTHER[3]], "chunk 4, at the end, was altered, cut off or added to"),
    ],
)
def test_what_is_done_to_a_file_is_named(chunks, reason):
    """Cut off, added to, chunks doubled, left out, moved, or of another file."""
    with pytest.raises(BadChunk) as raised:
        _opened(chunks)
    assert str(raised.value) == reason


def _released_before_an_error(sealed: bytes) -> Iterator[bytes]:
    chunks = open_chunks([sealed], KEY, b"head", SIZE)
    with suppress(BadChunk):
        yield from chunks
        pytest.fail("it was opened to its end")


def test_every_altered_bit_is_found():
    """Wherever it is; and what was given out before is the beginning of the plain text."""
    whole = b"".join(_sealed())
    for bit in range(8 * len(whole)):
        altered = bytearray(whole)
        altered[bit // 8] ^= 1 << bit % 8
        released = list(_released_before_an_error(bytes(altered)))
        assert b"".join(released) == PLAIN[: bit // 8 // 24 * SIZE]


def test_every_cut_is_found():
    """A beginning of a file is no file."""
    whole = b"".join(_sealed())
    for length in range(len(whole)):
        with pytest.raises(BadChunk):
            _opened([whole[:length]])


def test_an_empty_last_chunk_behind_others():
    """There is one form of each plain text."""
    empty = next(vector for vector in VECTORS if vector["name"] == "stream_last_chunk_empty")
    sealed = [bytes(part) if isinstance(part, int) else bytes.fromhex(part) for part in empty["sealed"]]
    with pytest.raises(BadChunk, match="chunk 2 is the last one and empty"):
        list(open_chunks(sealed, SymmetricKey(bytes.fromhex(empty["key"]))))


def test_another_head_opens_nothing():
    """It is sealed in with each chunk, so the first one shows it."""
    with pytest.raises(BadChunk, match="chunk 1 was altered"):
        _opened(_sealed(), b"Head")


def test_one_chunk_is_in_memory():
    """Of a source without an end, chunks come out as they are read, and none is larger than a chunk."""
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield bytes(CHUNK_BYTES)

    chunks = open_chunks(seal_chunks(endless(), KEY), KEY)
    for number in range(1, 40):
        assert len(next(chunks)) == CHUNK_BYTES
        assert (
            taken <= number + 2
        )  # one is held back by each side, since only the next one shows that it is not the last
