"""
Straight code for structs and objects: what writes and reads one, without a loop over its fields. Knows no Cap'n Proto.

A payment encodes and decodes hundreds of structs of a few fields each, and going through a list of fields takes as long
as what is done with them. So `record_code` writes a function down for each message class, as one would by hand, and
compiles it; so does `object_code` for JSON. For `Rate` (two plain numbers) and a struct with one in it, that is::

    def write(builder, value):
        builder.mul = value.mul
        builder.add = value.add

    def write(builder, value):
        builder.isOpen = value.is_open
        write_1(builder.init('rate'), value.rate)

    def read(reader, budget):
        get = reader._get
        return cls(get('isOpen'), read_1(get('rate'), budget))

Nothing that a peer sends gets into the source: names are those of our own classes, and everything else is handed in.
"""

from collections.abc import Callable, Iterable
from struct import Struct
from typing import Any, Final, NamedTuple

from offset_proto.types import FixedBytes

__all__ = ["FieldCode", "ReadStruct", "WriteStruct", "bytes_code", "object_code", "record_code"]

WriteStruct = Callable[[Any, Any], None]
"""Writes a value into a builder of its own."""

ReadStruct = Callable[[Any, Any], Any]
"""Reads a value from a reader of its own, within a budget."""


class FieldCode(NamedTuple):
    """
    A field of a struct.

    Attributes:
        attribute: Its name in the message class.
        name: Its name in the schema.
        write, read: What does it, where it is more than a plain value: of a builder and reader of its own, or else of
            those of the struct, with the name.
        is_struct: Whether it has a builder and a reader of its own.
    """

    attribute: str
    name: str
    write: Callable[..., None] | None = None
    read: Callable[..., Any] | None = None
    is_struct: bool = False


_WORDS: Final = {16: Struct(">2Q"), 32: Struct(">4Q"), 64: Struct(">8Q")}


def record_code(cls: type, fields: Iterable[FieldCode]) -> tuple[WriteStruct, ReadStruct]:
    """What writes and reads a struct that is the message class *cls*."""
    scope: dict[str, Any] = {"cls": cls}
    writes, reads = [], []
    for number, (attribute, name, write, read, is_struct) in enumerate(fields):
        scope[f"write_{number}"], scope[f"read_{number}"] = write, read
        if write is None:
            writes.append(f"builder.{name} = value.{attribute}")
            reads.append(f"get({name!r})")
        elif is_struct:
            writes.append(f"write_{number}(builder.init({name!r}), value.{attribute})")
            reads.append(f"read_{number}(get({name!r}), budget)")
        else:
            writes.append(f"write_{number}(builder, {name!r}, value.{attribute})")
            reads.append(f"read_{number}(reader, {name!r}, budget)")
    return _compile(writes, ["get = reader._get", f"return cls({', '.join(reads)})"], scope)


def bytes_code(cls: type[FixedBytes]) -> tuple[WriteStruct, ReadStruct]:
    """What writes and reads a byte string that is a struct of big-endian words, inside a struct of its own."""
    words = _WORDS[cls.SIZE]
    names = [f"x{number}" for number in range(cls.SIZE // 8)]
    # As many bytes as words have: `FixedBytes` has nothing to check.
    scope = {"cls": cls, "make": bytes.__new__, "pack": words.pack, "unpack": words.unpack}
    targets = ", ".join(f"inner.{name}" for name in names)
    got = ", ".join(f"get({name!r})" for name in names)
    return _compile(
        ["inner = builder.init('inner')", f"{targets} = unpack(value)"],
        ["get = reader._get('inner')._get", f"return make(cls, pack({got}))"],
        scope,
    )


def object_code(members: Iterable[tuple[str, str, Callable[[Any], Any]]]) -> Callable[[Any], dict[str, Any]]:
    """What writes a value as an object of JSON; of each member its attribute, its key, and what writes it."""
    scope: dict[str, Any] = {}
    parts = []
    for number, (attribute, key, write) in enumerate(members):
        scope[f"write_{number}"] = write
        parts.append(f"{key!r}: write_{number}(value.{attribute})")
    exec(f"def write(value):\n    return {{{', '.join(parts)}}}", scope)
    written: Callable[[Any], dict[str, Any]] = scope["write"]
    return written


def _compile(writes: list[str], reads: list[str], scope: dict[str, Any]) -> tuple[WriteStruct, ReadStruct]:
    lines = ["def write(builder, value):", *(f"    {line}" for line in writes or ["pass"])]
    lines += ["def read(reader, budget):", *(f"    {line}" for line in reads)]
    exec("\n".join(lines), scope)
    return scope["write"], scope["read"]
