"""
Messages to packed Cap'n Proto bytes and back: the only module that knows capnp.

A `Codec` is compiled from a `offset_proto.layout` tree at its first use. Serialised bytes are never
hashed or signed, so the layout of what we send is free; what we read may have any legal layout,
with several segments, null pointers (read as defaults) and trailing bytes. Spec 01 §9.

Limits that hold while decoding: words of the unpacked message, nesting, lengths of texts, and at most
one list item for each byte received, because every item that a writer of this protocol sends takes at
least that: a list can not be announced longer than the frame that it came in.
"""

import enum
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from operator import attrgetter
from typing import Any, Generic, TypeVar

import capnp

from offset_proto.errors import InvalidInput, LimitExceeded, MalformedMessage
from offset_proto.layout import (
    BoolLayout,
    BytesLayout,
    DataLayout,
    EnumLayout,
    IntegerLayout,
    Layout,
    ListLayout,
    OptionalLayout,
    StructLayout,
    TextLayout,
    UnionLayout,
    UnionMember,
    named_layout,
)
from offset_proto.limits import (
    CURRENCY_BYTES_MAX,
    MESSAGE_NESTING_MAX,
    MESSAGE_WORDS_MAX,
    NAME_BYTES_MAX,
    NET_ADDRESS_BYTES_MAX,
)
from offset_proto.messages import app, channel, extensions, friend, index, keepalive, relay, report
from offset_proto.packing import has_several_segments, unpack
from offset_proto.straight_code import FieldCode, ReadStruct, WriteStruct, bytes_code, record_code
from offset_proto.types import Currency, Integer

__all__ = [
    "APP_GREETING",
    "APP_PERMISSIONS",
    "APP_SERVER_TO_APP",
    "APP_TO_APP_SERVER",
    "CHANNEL_MESSAGE",
    "EXCHANGE_DH",
    "EXCHANGE_RAND_NONCE",
    "FRIEND_MESSAGE",
    "INCOMING_CONNECTION",
    "INDEX_CLIENT_TO_SERVER",
    "INDEX_SERVER_TO_CLIENT",
    "INDEX_SERVER_TO_SERVER",
    "INIT_CONNECTION",
    "KA_MESSAGE",
    "NODE_REPORT",
    "REJECT_CONNECTION",
    "Codec",
    "codec",
]

M = TypeVar("M")


class _Budget:
    """How many more list items a message may hold; and whether texts that are too long are clipped."""

    __slots__ = ("clip", "items")

    def __init__(self, items: int, *, clip: bool = False) -> None:
        self.items = items
        self.clip = clip

    def spend(self, items: int) -> None:
        self.items -= items
        if self.items < 0:
            raise MalformedMessage("a list is longer than the message that holds it")


# Writes a value into member *name* of a builder; reads it from a reader.
_Write = Callable[[Any, str, Any], None]
_Read = Callable[[Any, str, _Budget], Any]


class Codec(Generic[M]):
    """
    Encoder and decoder of one root struct.

    Args:
        schema: Name of the schema file, without its ending.
        name: Name of the root struct.
    """

    __slots__ = ("_name", "_read", "_schema", "_type", "_write")

    def __init__(self, schema: str, name: str) -> None:
        self._schema = schema
        self._name = name
        self._type: Any = None

    @property
    def layout(self) -> Layout:
        """Which message classes it takes and gives, and how they map onto the schema."""
        return named_layout(self._schema, self._name)

    def _compile(self) -> None:
        self._write, self._read = _struct_codec(self.layout)
        self._type = getattr(_load(self._schema), self._name)

    def encode(self, message: M) -> bytes:
        """The packed bytes of *message*, in one segment, which is read at twice the speed of several (`packing`)."""
        if self._type is None:
            self._compile()
        builder = self._type.new_message()
        self._write(builder, message)
        packed: bytes = builder.to_bytes_packed()
        if has_several_segments(packed):
            builder.clear_write_flag()  # it is written once more on purpose
            packed = builder.copy(builder.total_size.word_count + 1).to_bytes_packed()  # and a word for the root
        return packed

    def decode(self, data: bytes, *, words_max: int | None = None, clip: bool = False) -> M:
        """
        The message in *data*; bytes after it are ignored.

        Args:
            data: Packed bytes.
            words_max: 8-byte words that the unpacked message may have; by default `MESSAGE_WORDS_MAX`, or
                one for each byte of *data* where a longer frame was allowed.
            clip: Clip currencies and addresses that are too long; the message is not to be acted on.

        Raises:
            MalformedMessage: The peer sent no such message.
            LimitExceeded: A text in it is too long.

        Spec: 01 §9 [WIRE].
        """
        if self._type is None:
            self._compile()
        if words_max is None:
            words_max = max(MESSAGE_WORDS_MAX, len(data))
        limits = {"traversal_limit_in_words": words_max, "nesting_limit": MESSAGE_NESTING_MAX}
        budget = _Budget(len(data), clip=clip)
        message: M
        try:
            if has_several_segments(data):
                with self._type.from_bytes(unpack(data, words_max), **limits) as reader:
                    message = self._read(reader, budget)
            else:
                message = self._read(self._type.from_bytes_packed(data, **limits), budget)
        except (capnp.KjException, UnicodeDecodeError, ValueError) as error:
            if isinstance(error, InvalidInput):
                raise LimitExceeded(f"{self._name}: {error}") from None
            raise MalformedMessage(f"not a {self._name}: {_reason(error)}") from None
        return message


def _reason(error: Exception) -> str:
    line = str(error).partition("\n")[0][:200]
    if line.endswith("non-union type"):  # what pycapnp says of a member that the schema does not have
        return "it holds a member that this program does not know; the sender may be of a later version"
    return line


@cache
def codec(schema: str, name: str) -> Codec[Any]:
    """
    Codec of any struct that a message class was declared for.

    Raises:
        KeyError: There is none.
    """
    named_layout(schema, name)
    return Codec(schema, name)


@cache
def _load(schema: str) -> Any:
    capnp.remove_import_hook()
    return capnp.load(str(files("offset_proto") / "schema" / f"{schema}.capnp"))


# ``_get`` and ``_which_str`` are what ``getattr`` and ``which`` of pycapnp call, after Python has looked for an
# attribute in vain, or an object was made of the name. That takes as long as all the rest of decoding.

# Structs: a value that is a struct of its own.


@cache
def _struct_codec(layout: Layout) -> tuple[WriteStruct, ReadStruct]:
    match layout:
        case StructLayout():
            return _record(layout)
        case UnionLayout():
            return _union(layout)
        case OptionalLayout():
            return _optional(layout)
        case EnumLayout():
            return _enum(layout.cls)
        case BytesLayout():
            return bytes_code(layout.cls)
        case IntegerLayout():
            return _big_integer(layout.integer)
        case TextLayout():
            return _bounded_text(layout.cls)
    raise TypeError(f"not a struct: {layout}")


def _record(layout: StructLayout) -> tuple[WriteStruct, ReadStruct]:
    return record_code(layout.cls, [_field_code(*field) for field in layout.fields])


def _field_code(attribute: str, name: str, layout: Layout) -> FieldCode:
    if _is_plain(layout):
        return FieldCode(attribute, name)
    if _is_struct(layout):
        return FieldCode(attribute, name, *_struct_codec(layout), is_struct=True)
    return FieldCode(attribute, name, *_field(layout))


def _union(layout: UnionLayout) -> tuple[WriteStruct, ReadStruct]:
    by_class = {member.cls: (member.name, _member(member)[0]) for member in layout.members}
    by_name = {member.name: _member(member)[1] for member in layout.members}

    def write(builder: Any, value: Any) -> None:
        name, write_member = by_class[type(value)]
        write_member(builder, name, value)

    def read(reader: Any, budget: _Budget) -> Any:
        name = reader._which_str()
        return by_name[name](reader, name, budget)

    return write, read


def _member(member: UnionMember) -> tuple[_Write, _Read]:
    cls, field = member.cls, member.field
    if member.payload is None:
        return _write_void, lambda reader, name, budget: cls()
    if field is None:
        return _field(member.payload)
    get = attrgetter(field)
    if _is_plain(member.payload):
        return (
            lambda builder, name, value: setattr(builder, name, get(value)),
            lambda reader, name, budget: cls(reader._get(name)),
        )
    if _is_struct(member.payload):
        write_struct, read_struct = _struct_codec(member.payload)
        return (
            lambda builder, name, value: write_struct(builder.init(name), get(value)),
            lambda reader, name, budget: cls(read_struct(reader._get(name), budget)),
        )
    write_payload, read_payload = _field(member.payload)
    return (
        lambda builder, name, value: write_payload(builder, name, get(value)),
        lambda reader, name, budget: cls(read_payload(reader, name, budget)),
    )


def _write_void(builder: Any, name: str, value: Any) -> None:
    setattr(builder, name, None)


def _optional(layout: OptionalLayout) -> tuple[WriteStruct, ReadStruct]:
    write_item, read_item = _field(layout.item)
    member = layout.member

    def write(builder: Any, value: Any) -> None:
        if value is None:
            builder.empty = None
        else:
            write_item(builder, member, value)

    def read(reader: Any, budget: _Budget) -> Any:
        return None if reader._which_str() == "empty" else read_item(reader, member, budget)

    return write, read


def _enum(cls: type[enum.Enum]) -> tuple[WriteStruct, ReadStruct]:
    return (
        lambda builder, value: setattr(builder, value.value, None),
        lambda reader, budget: cls(reader._which_str()),
    )


def _big_integer(integer: Integer) -> tuple[WriteStruct, ReadStruct]:
    mask = (1 << 64) - 1

    def write(builder: Any, value: int) -> None:
        inner = builder.init("inner")
        high = value >> 64 & mask
        if high:  # most amounts have none, and 0 is there already
            inner.x0 = high
        inner.x1 = value & mask

    def read(reader: Any, budget: _Budget) -> int:
        get = reader._get("inner")._get
        value: int = get("x0") << 64 | get("x1")
        return value - (1 << 128) if integer.signed and value >> 127 else value

    return write, read


def _bounded_text(cls: type[str]) -> tuple[WriteStruct, ReadStruct]:
    name = "currency" if cls is Currency else "address"
    bytes_max = CURRENCY_BYTES_MAX if cls is Currency else NET_ADDRESS_BYTES_MAX

    def read(reader: Any, budget: _Budget) -> str:
        text: str = reader._get(name)
        if budget.clip:
            text = text.encode()[:bytes_max].decode(errors="ignore")
        return cls(text)

    return lambda builder, value: setattr(builder, name, str.__str__(value)), read


# Fields: a member of a struct, of whatever kind.


def _is_plain(layout: Layout) -> bool:
    """Whether a value stands in the struct as it is."""
    return isinstance(layout, BoolLayout | DataLayout) or (
        isinstance(layout, IntegerLayout) and layout.integer.bits < 128
    )


def _is_struct(layout: Layout) -> bool:
    """Whether a value is a struct of its own."""
    return not (_is_plain(layout) or isinstance(layout, ListLayout) or layout == TextLayout(str))


@cache
def _field(layout: Layout) -> tuple[_Write, _Read]:
    if isinstance(layout, ListLayout):
        return _list(layout)
    if not _is_struct(layout):
        return setattr, _read_name if isinstance(layout, TextLayout) else _read_plain
    write_struct, read_struct = _struct_codec(layout)
    return (
        lambda builder, name, value: write_struct(builder.init(name), value),
        lambda reader, name, budget: read_struct(reader._get(name), budget),
    )


def _read_plain(reader: Any, name: str, budget: _Budget) -> Any:
    return reader._get(name)


def _read_name(reader: Any, name: str, budget: _Budget) -> str:
    text: str = reader._get(name)
    if len(text.encode()) > NAME_BYTES_MAX:
        raise LimitExceeded(f"{name} has more than {NAME_BYTES_MAX} bytes")
    return text


def _list(layout: ListLayout) -> tuple[_Write, _Read]:
    # All lists of the protocol are lists of structs.
    write_item, read_item = _struct_codec(layout.item)

    def write(builder: Any, name: str, values: tuple[Any, ...]) -> None:
        items = builder.init(name, len(values))
        for position, value in enumerate(values):
            write_item(items[position], value)

    def read(reader: Any, name: str, budget: _Budget) -> tuple[Any, ...]:
        items = reader._get(name)
        budget.spend(len(items))
        return tuple([read_item(item, budget) for item in items])

    return write, read


EXCHANGE_RAND_NONCE = Codec[channel.ExchangeRandNonce]("dh", "ExchangeRandNonce")
EXCHANGE_DH = Codec[channel.ExchangeDh]("dh", "ExchangeDh")
CHANNEL_MESSAGE = Codec[channel.ChannelMessage]("dh", "ChannelMessage")
KA_MESSAGE = Codec[keepalive.KaMessage]("keepalive", "KaMessage")
INIT_CONNECTION = Codec[relay.InitConnection]("relay", "InitConnection")
REJECT_CONNECTION = Codec[relay.RejectConnection]("relay", "RejectConnection")
INCOMING_CONNECTION = Codec[relay.IncomingConnection]("relay", "IncomingConnection")
FRIEND_MESSAGE = Codec[friend.FriendMessage]("funder", "FriendMessage")
INDEX_CLIENT_TO_SERVER = Codec[index.IndexClientToServer]("index", "IndexClientToServer")
INDEX_SERVER_TO_CLIENT = Codec[index.IndexServerToClient]("index", "IndexServerToClient")
INDEX_SERVER_TO_SERVER = Codec[index.IndexServerToServer]("index", "IndexServerToServer")
APP_GREETING = Codec[extensions.AppGreeting]("app_server", "AppGreeting")
APP_PERMISSIONS = Codec[app.AppPermissions]("app_server", "AppPermissions")
NODE_REPORT = Codec[report.NodeReport]("report", "NodeReport")
APP_TO_APP_SERVER = Codec[app.AppToAppServer]("app_server", "AppToAppServer")
APP_SERVER_TO_APP = Codec[app.AppServerToApp]("app_server", "AppServerToApp")
