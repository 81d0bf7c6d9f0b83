"""Messages in the JSON form of the vectors: bytes as hex, 128-bit numbers as text, unions as one-key objects."""

from typing import Any

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
    layout_of,
    named_layout,
)

__all__ = ["from_json", "read", "show", "to_json"]


def read(kind: Any, value: Any) -> Any:
    """The message of class (or union, or (schema, struct)) *kind* that *value* stands for."""
    return from_json(named_layout(*kind) if isinstance(kind, tuple) else layout_of(kind), value)


def show(kind: Any, message: Any) -> Any:
    """The JSON value of a message of class (or union, or (schema, struct)) *kind*."""
    return to_json(named_layout(*kind) if isinstance(kind, tuple) else layout_of(kind), message)


def from_json(layout: Layout, value: Any) -> Any:
    """The message that *value* stands for."""
    match layout:
        case BytesLayout(cls):
            return cls(bytes.fromhex(value))
        case DataLayout():
            return bytes.fromhex(value)
        case IntegerLayout():
            return int(value)
        case BoolLayout():
            return value
        case TextLayout(cls):
            return cls(value)
        case ListLayout(item):
            return tuple(from_json(item, entry) for entry in value)
        case StructLayout(cls, fields):
            return cls(*[from_json(item, value[wire_name]) for _, wire_name, item in fields])
        case EnumLayout(cls):
            (name,) = value
            return cls(name)
        case OptionalLayout(item, member):
            (name,) = value
            return None if name == "empty" else from_json(item, value[member])
        case UnionLayout(members):
            (name,) = value
            found = next(member for member in members if member.name == name)
            if found.payload is None:
                return found.cls()
            payload = from_json(found.payload, value[name])
            return payload if found.field is None else found.cls(payload)


def to_json(layout: Layout, message: Any) -> Any:
    """The JSON value of *message*."""
    match layout:
        case BytesLayout() | DataLayout():
            return message.hex()
        case IntegerLayout(integer):
            return str(message) if integer.bits == 128 else message
        case BoolLayout():
            return message
        case TextLayout():
            return str(message)
        case ListLayout(item):
            return [to_json(item, entry) for entry in message]
        case StructLayout(_, fields):
            return {wire: to_json(item, getattr(message, name)) for name, wire, item in fields}
        case EnumLayout():
            return {message.value: None}
        case OptionalLayout(item, member):
            return {"empty": None} if message is None else {member: to_json(item, message)}
        case UnionLayout(members):
            found = next(member for member in members if type(message) is member.cls)
            if found.payload is None:
                return {found.name: None}
            payload = message if found.field is None else getattr(message, found.field)
            return {found.name: to_json(found.payload, payload)}
