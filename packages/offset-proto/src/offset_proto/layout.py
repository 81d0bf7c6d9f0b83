"""
How message classes map onto the schemas, read from their annotations. No Cap'n Proto in here.

A message is a frozen dataclass. `struct` declares one that is a struct of a schema; `member`
declares one that exists only as a member of a union, with one field (the payload) or none (Void).
`declare_union` then names the members of a union of such classes. `layout_of` turns an annotation into a
tree of `Layout` nodes, which `offset_proto.wire` compiles into encoders and decoders and which the
vector runner uses to read the JSON form of a message.

Naming: a Python field ``dest_payment`` is the schema's ``destPayment``. A field that may be absent
is ``X | None`` with the member's name: ``Annotated[X | None, Optional("relays")]``.
"""

import enum
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Annotated, Any, TypeVar, dataclass_transform

from offset_proto.message import frozen
from offset_proto.types import (
    I128,
    U128,
    Currency,
    DhPublicKey,
    FixedBytes,
    HashedLock,
    HashResult,
    Integer,
    InvoiceId,
    NetAddress,
    PaymentId,
    PlainLock,
    PublicKey,
    RandValue,
    Salt,
    Signature,
    Uid,
)

__all__ = [
    "BoolLayout",
    "BytesLayout",
    "DataLayout",
    "EnumLayout",
    "IntegerLayout",
    "Layout",
    "ListLayout",
    "Optional",
    "OptionalLayout",
    "StructLayout",
    "TextLayout",
    "UnionLayout",
    "UnionMember",
    "camel_case",
    "declare_enum",
    "declare_union",
    "layout_of",
    "member",
    "named_layout",
    "struct",
]


@frozen
class Optional:
    """Marks an optional field: *member* is the union member that holds the value; the other is ``empty``."""

    member: str


@frozen
class BytesLayout:
    """A fixed byte string, split into big-endian 64-bit words."""

    cls: type[FixedBytes]


@frozen
class IntegerLayout:
    """An integer: native up to 64 bits, a struct of two words at 128."""

    integer: Integer


@frozen
class BoolLayout:
    """A Bool of the schema, which is ``bool`` in Python."""


@frozen
class DataLayout:
    """A byte string of any length."""


@frozen
class TextLayout:
    """A text: plain (a name), or a `Currency` or `NetAddress` in a struct of its own."""

    cls: type[str]


@frozen
class ListLayout:
    """A list, in Python a tuple."""

    item: "Layout"


@frozen
class OptionalLayout:
    """A union of ``empty`` and one value, in Python ``X | None``."""

    item: "Layout"
    member: str


@frozen
class EnumLayout:
    """A union of Void members only, in Python an ``enum.Enum`` whose values are the members' names."""

    cls: type[enum.Enum]


@frozen
class StructLayout:
    """A struct: (Python name, schema name, layout) of each field, in order."""

    cls: type
    fields: tuple[tuple[str, str, "Layout"], ...]


@frozen
class UnionMember:
    """A member of a union. *payload* is None for Void; *field* is None where the class itself is the payload."""

    name: str
    cls: type
    field: str | None
    payload: "Layout | None"


@frozen
class UnionLayout:
    """A struct that is nothing but a union."""

    members: tuple[UnionMember, ...]


Layout = (
    BytesLayout
    | IntegerLayout
    | BoolLayout
    | DataLayout
    | TextLayout
    | ListLayout
    | OptionalLayout
    | EnumLayout
    | StructLayout
    | UnionLayout
)

T = TypeVar("T", bound=type)

_structs: dict[type, tuple[str, str]] = {}
_unions: dict[frozenset[type], Mapping[str, type]] = {}
_VALUES = (
    PublicKey,
    DhPublicKey,
    HashResult,
    InvoiceId,
    Salt,
    PlainLock,
    HashedLock,
    Signature,
    RandValue,
    Uid,
    PaymentId,
    Currency,
    NetAddress,
)
_names: dict[tuple[str, str], Any] = {
    **{("common", value.__name__): value for value in _VALUES},
    ("common", "CustomUInt128"): U128,
    ("common", "CustomInt128"): I128,
}


@dataclass_transform(frozen_default=True, field_specifiers=())
def struct(schema: str, name: str | None = None) -> Callable[[T], T]:
    """Declare a frozen message class that is the struct *name* (default: the class's name) of *schema*."""

    def declare(cls: T) -> T:
        made = frozen(cls)
        _structs[made] = (schema, name or cls.__name__)
        _names[_structs[made]] = made
        return made

    return declare


@dataclass_transform(frozen_default=True, field_specifiers=())
def member(cls: T) -> T:
    """Declare a frozen message class that is a member of a union: one field, the payload, or none."""
    return frozen(cls)


def declare_union(schema: str, name: str, members: Mapping[str, type]) -> None:
    """Declare that the union of the classes in *members* is the struct *name* of *schema*."""
    _unions[frozenset(members.values())] = members
    _names[schema, name] = frozenset(members.values())


def declare_enum(schema: str, cls: type[enum.Enum]) -> None:
    """Declare that an enumeration is the struct of its name in *schema*."""
    _names[schema, cls.__name__] = cls


def camel_case(name: str) -> str:
    """Turn a Python name into that of the schema: ``dest_payment`` into ``destPayment``."""
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def named_layout(schema: str, name: str) -> Layout:
    """
    Layout of the struct *name* of *schema*.

    Raises:
        KeyError: No message class was declared for it.
    """
    found = _names[schema, name]
    return _union_layout(found) if isinstance(found, frozenset) else layout_of(found)


@cache
def _union_layout(classes: frozenset[type]) -> UnionLayout:
    return UnionLayout(tuple(_member_layout(name, cls) for name, cls in _unions[classes].items()))


def _member_layout(name: str, cls: type) -> UnionMember:
    if cls in _structs:
        return UnionMember(name, cls, None, layout_of(cls))
    if not fields(cls):
        return UnionMember(name, cls, None, None)
    (field,) = fields(cls)
    return UnionMember(name, cls, field.name, layout_of(_hints(cls)[field.name]))


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=True)


@cache
def layout_of(annotation: Any) -> Layout:
    """
    Layout of a field annotation or of a message class.

    Raises:
        TypeError: No rule for the annotation: a message class was declared wrongly.
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _annotated_layout(*arguments)
    if origin is tuple:
        return ListLayout(layout_of(arguments[0]))
    if origin is types.UnionType or origin is typing.Union:
        return _union_layout(frozenset(arguments))
    if isinstance(annotation, type):
        return _class_layout(annotation)
    raise TypeError(f"no message layout for {annotation!r}")


def _annotated_layout(annotation: Any, mark: Integer | Optional) -> Layout:
    if isinstance(mark, Integer):
        return IntegerLayout(mark)
    present = [argument for argument in typing.get_args(annotation) if argument is not type(None)]
    if len(present) > 1:
        return OptionalLayout(_union_layout(frozenset(present)), mark.member)
    return OptionalLayout(layout_of(present[0]), mark.member)


def _class_layout(cls: type) -> Layout:
    if issubclass(cls, FixedBytes):
        return BytesLayout(cls)
    if issubclass(cls, enum.Enum):
        return EnumLayout(cls)
    if cls is bool:
        return BoolLayout()
    if cls is bytes:
        return DataLayout()
    if cls is str or issubclass(cls, Currency | NetAddress):
        return TextLayout(cls)
    if is_dataclass(cls):
        hints = _hints(cls)
        return StructLayout(cls, tuple((f.name, camel_case(f.name), layout_of(hints[f.name])) for f in fields(cls)))
    raise TypeError(f"no message layout for {cls!r}")
