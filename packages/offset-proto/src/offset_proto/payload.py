"""
Messages as the shortest bytes that say all of it, for texts that people hand over. Spec 13 §3.

The fields of a class follow each other in the order of its layout, without names and lengths: a reader knows the kind
and the version of what it reads. Each has one form only, so that one value has one text.

* A byte string: its bytes.
* A number: 7 bits to a byte, the lowest first; each byte but the last has its high bit set (LEB128). No zeros behind.
* A text: the number of its bytes, and its bytes in UTF-8.
* A bool: the number 0 or 1.
* A list: how many, and each of them.

What is added later comes as *records* behind the fields: type, length, value, in the order of their types and each at
most once. It is ok to be odd (BOLT 1): a reader leaves out a record of an odd type that it does not know, and refuses
one of an even type. So whoever adds a record says by its type whether old programs may go on without it.
"""

from collections.abc import Mapping
from typing import Any, Final

from offset_proto.errors import InvalidInput
from offset_proto.layout import BoolLayout, BytesLayout, IntegerLayout, Layout, ListLayout, StructLayout, TextLayout
from offset_proto.types import U64_MAX, U128_MAX

__all__ = ["PayloadReader", "bytes_of", "number_bytes", "record_bytes"]

_LENGTH_MAX: Final = 4096
"""Bytes of a text or record, and items of a list: none is longer than what holds it."""


def number_bytes(value: int) -> bytes:
    """*value*, not below 0, in as few bytes as LEB128 takes."""
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    data.append(value)
    return bytes(data)


def bytes_of(layout: Layout, value: Any) -> bytes:
    """*value* of a class that has *layout*."""
    match layout:
        case StructLayout(fields=fields):
            return b"".join(bytes_of(item, getattr(value, name)) for name, _, item in fields)
        case BytesLayout():
            return bytes(value)
        case IntegerLayout() | BoolLayout():
            return number_bytes(value)
        case TextLayout():
            data = str(value).encode()
            return number_bytes(len(data)) + data
        case ListLayout(item=item):
            return number_bytes(len(value)) + b"".join(bytes_of(item, one) for one in value)
        case _:
            raise TypeError(f"no bytes for {layout!r}")


def record_bytes(records: Mapping[int, bytes]) -> bytes:
    """Records by their types."""
    parts = (number_bytes(kind) + number_bytes(len(records[kind])) + records[kind] for kind in sorted(records))
    return b"".join(parts)


class PayloadReader:
    """
    Reads *data* from its beginning to its end.

    All methods raise InvalidInput, which names *where* it was and the byte, counted from 0.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def take(self, count: int, where: str) -> bytes:
        """The next *count* bytes."""
        data = self._data[self._position : self._position + count]
        if len(data) < count:
            raise self._error(where, f"{count - len(data)} bytes are missing at the end")
        self._position += count
        return data

    def number(self, where: str, greatest: int = U128_MAX) -> int:
        """The next number."""
        value = shift = 0
        while True:
            if shift > greatest.bit_length():
                raise self._error(where, f"a number is beyond {greatest}")
            (byte,) = self.take(1, where)
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        if value > greatest:
            raise self._error(where, f"{value} is beyond {greatest}")
        if byte == 0 and shift > 7:
            raise self._error(where, f"the number {value} has more bytes than it needs")
        return value

    def text(self, where: str) -> str:
        """The next text."""
        data = self.take(self.number(where, _LENGTH_MAX), where)
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise self._error(where, "it is not UTF-8") from None

    def value(self, layout: Layout, where: str) -> Any:
        """The next value of *layout*."""
        match layout:
            case StructLayout(cls=cls, fields=fields):
                return cls(*(self.value(item, f"{where}.{name}") for name, _, item in fields))
            case BytesLayout(cls=cls):
                return cls(self.take(cls.SIZE, where))
            case IntegerLayout(integer=integer):
                return self.number(where, integer.greatest)
            case BoolLayout():
                return bool(self.number(where, 1))
            case TextLayout(cls=cls):
                text = self.text(where)
                try:
                    return cls(text)
                except InvalidInput as error:
                    raise self._error(where, str(error)) from None
            case ListLayout(item=item):
                count = self.number(where, _LENGTH_MAX)
                return tuple(self.value(item, f"{where}[{index}]") for index in range(count))
            case _:
                raise TypeError(f"no bytes for {layout!r}")

    def records(self, known: frozenset[int]) -> dict[int, bytes]:
        """
        All that is left: the records of the types *known*.

        One of another type is left out where its type is odd, and refused where it is even.
        """
        records: dict[int, bytes] = {}
        last = -1
        while self._position < len(self._data):
            kind = self.number("records", U64_MAX)
            where = f"record {kind}"
            if kind <= last:
                raise self._error(where, f"it comes after record {last}")
            last = kind
            data = self.take(self.number(where, _LENGTH_MAX), where)
            if kind in known:
                records[kind] = data
            elif kind % 2 == 0:
                raise self._error(
                    where, "this program does not know it, and must not go on without it; a newer one may"
                )
        return records

    def _error(self, where: str, reason: str) -> InvalidInput:
        return InvalidInput(f"{where}: {reason} (byte {self._position})")
