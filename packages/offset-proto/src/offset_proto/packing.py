"""
Cap'n Proto's packing, read by ourselves where the library must not: messages of several segments.

The library reads every segment but the first only when it needs it, and the rest when it lets the message go. If
they are not all there, it then throws where C++ allows no exception, and the process ends: sixty bytes of a stranger
would be enough. So such a message is unpacked here, and handed over whole. Spec 01 §9.
"""

from struct import Struct
from typing import Final

from offset_proto.errors import LimitExceeded, MalformedMessage

__all__ = ["has_several_segments", "unpack"]

SEGMENTS_MAX: Final = 511
WORD: Final = 8

_U32 = Struct("<I")
# For each tag that is no run: which of the eight bytes follow.
_POSITIONS: Final = tuple(tuple(bit for bit in range(8) if tag >> bit & 1) for tag in range(256))


def has_several_segments(data: bytes) -> bool:
    """
    Whether packed *data* may announce more than one segment.

    The first word holds the number of segments less one in its lower half; that is zero if none of these bytes
    is in the data.
    """
    return bool(data) and data[0] & 0x0F != 0


def unpack(data: bytes, words_max: int) -> bytes:
    """
    The segment table and all segments of a packed message; bytes after it are ignored.

    Args:
        data: Packed bytes.
        words_max: 8-byte words that all segments together may have.

    Raises:
        MalformedMessage: Not all of it is there, or a run reaches from the table into the segments.
        LimitExceeded: More segments or words than allowed.
    """
    try:
        table, position = _unpack_words(data, 0, WORD)
        segments = _U32.unpack_from(table)[0] + 1
        if segments > SEGMENTS_MAX:
            raise LimitExceeded(f"a message of {segments} segments")
        table_bytes = (segments // 2 + 1) * WORD
        table, position = _unpack_words(data, 0, table_bytes)
        if len(table) != table_bytes:
            raise MalformedMessage("a run reaches from the segment table into the segments")
        words = sum(_U32.unpack_from(table, 4 * (number + 1))[0] for number in range(segments))
        if words > words_max:
            raise LimitExceeded(f"a message of {words} words, at most {words_max} are allowed")
        body, _ = _unpack_words(data, position, words * WORD)
    except IndexError:
        raise MalformedMessage("the packed message ends too early") from None
    return bytes(table + body[: words * WORD])


def _unpack_words(data: bytes, position: int, size: int) -> tuple[bytearray, int]:
    """At least *size* bytes, unpacked from *position* on, and the position after them. Raises IndexError at the end."""
    unpacked = bytearray()
    while len(unpacked) < size:
        tag = data[position]
        position += 1
        if tag == 0x00:
            unpacked += bytes(WORD * (data[position] + 1))
            position += 1
        elif tag == 0xFF:
            literal = position + WORD
            end = literal + 1 + WORD * data[literal]
            if end > len(data):
                raise IndexError
            unpacked += data[position:literal]
            unpacked += data[literal + 1 : end]
            position = end
        else:
            word = bytearray(WORD)
            for index in _POSITIONS[tag]:
                word[index] = data[position]
                position += 1
            unpacked += word
    return unpacked, position
