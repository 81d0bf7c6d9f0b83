"""
JSON as the files of Offset use it, and message classes in that form. Spec 08 §1.

Reading is strict where Python's parser is not: repeated keys, ``NaN``, text after the value and byte
order marks are errors. Byte strings are base64url, 128-bit numbers are decimal strings, smaller ones JSON
numbers; the keys of a file are all camelCase or all snake_case. Unknown keys are ignored.
"""

import json
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from typing import Any, Final, Generic, NoReturn, TypeVar

from offset_proto.errors import InvalidInput
from offset_proto.layout import (
    BoolLayout,
    BytesLayout,
    IntegerLayout,
    Layout,
    ListLayout,
    StructLayout,
    TextLayout,
    layout_of,
)
from offset_proto.text import format_b64, parse_b64, parse_integer
from offset_proto.types import Integer

__all__ = ["CAMEL_CASE", "SNAKE_CASE", "JsonForm", "format_json", "format_json_line", "parse_json"]

T = TypeVar("T")

CAMEL_CASE: Final = True
SNAKE_CASE: Final = False


def parse_json(text: str) -> Any:
    """
    The JSON value in *text*.

    Raises:
        InvalidInput: Not exactly one JSON value, or an object with a key twice.
    """
    if text.startswith("\ufeff"):
        raise InvalidInput("expected value at line 1 column 1 (byte order mark)")
    try:
        return json.loads(text, object_pairs_hook=_unique_object, parse_constant=_no_constant)
    except RecursionError:
        raise InvalidInput("nested too deeply") from None
    except json.JSONDecodeError as error:
        raise InvalidInput(f"{error.msg} at line {error.lineno} column {error.colno}") from None
    except ValueError as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(str(error)) from None


def format_json(value: Any) -> str:
    """*value* with an indent of two, keys in order, no line end after it."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def format_json_line(value: Any) -> str:
    """*value* in one line without whitespace, keys in order, no line end after it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _unique_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise InvalidInput(f"duplicate field `{repeated}`")
    return result


def _no_constant(name: str) -> NoReturn:
    raise InvalidInput(f"expected value, found {name}")


class JsonForm(Generic[T]):
    """
    A message class as a JSON value.

    Args:
        cls: A frozen dataclass whose annotations `offset_proto.layout` knows.
        camel_case: The style of the keys.
        order: Names of the fields in the order of writing, where it is not that of the class.
    """

    def __init__(self, cls: type[T], *, camel_case: bool, order: tuple[str, ...] = ()) -> None:
        self._cls = cls
        self._camel_case = camel_case
        self._order = order

    def _converters(self) -> "_Converters":
        cls: Any = self._cls
        return _converters(layout_of(cls), self._camel_case)

    @property
    def keys(self) -> frozenset[str]:
        """The keys of the object, none of which may be missing."""
        cls: Any = self._cls
        layout = layout_of(cls)
        assert isinstance(layout, StructLayout)
        return frozenset(wire_name if self._camel_case else name for name, wire_name, _ in layout.fields)

    def to_value(self, message: T) -> dict[str, Any]:
        """The JSON object of *message*."""
        value: dict[str, Any] = self._converters()[0](message)
        if not self._order:
            return value
        cls: Any = self._cls
        keys = dict(zip((f.name for f in fields(cls)), value, strict=True))
        return {keys[name]: value[keys[name]] for name in self._order}

    def from_value(self, value: Any) -> T:
        """
        The message that a JSON value stands for.

        Raises:
            InvalidInput: It stands for none; says the path of the key that is wrong.
        """
        message: T = self._converters()[1](value)
        return message


_Converters = tuple[Callable[[Any], Any], Callable[[Any], Any]]


@cache
def _converters(layout: Layout, camel_case: bool) -> _Converters:
    match layout:
        case BytesLayout(cls):
            return format_b64, lambda value: parse_b64(cls, _expect(str, value))
        case IntegerLayout(integer) if integer.bits == 128:
            return str, lambda value: parse_integer(integer, _expect(str, value))
        case IntegerLayout(integer):
            return int, lambda value: json_integer(integer, value)
        case BoolLayout():
            return bool, lambda value: _expect(bool, value)
        case TextLayout(cls):
            return str.__str__, lambda value: cls(_expect_text(value))
        case ListLayout(item):
            write, read = _converters(item, camel_case)
            return (
                lambda items: [write(item) for item in items],
                lambda value: tuple(at(f"[{i}]", read, item) for i, item in enumerate(_expect(list, value))),
            )
        case StructLayout():
            return _object_converters(layout, camel_case)
    raise TypeError(f"no JSON form for {layout}")


def _object_converters(layout: StructLayout, camel_case: bool) -> _Converters:
    members = [
        (name, wire_name if camel_case else name, *_converters(item, camel_case))
        for name, wire_name, item in layout.fields
    ]

    def write(message: Any) -> dict[str, Any]:
        return {key: write_member(getattr(message, name)) for name, key, write_member, _ in members}

    def read(value: Any) -> Any:
        found = _expect(dict, value)
        return layout.cls(*[at(key, read_member, required(found, key)) for _, key, _, read_member in members])

    return write, read


def required(value: dict[str, Any], key: str) -> Any:
    """
    The member *key* of an object.

    Raises:
        InvalidInput: It is missing.
    """
    if key not in value:
        raise InvalidInput(f"missing field `{key}`")
    return value[key]


def at(key: str, read: Callable[[Any], T], value: Any) -> T:
    """Read a member, and put its key before the message of an error in it."""
    try:
        return read(value)
    except InvalidInput as error:
        raise InvalidInput(f"{key}: {error}") from None


_KINDS = {str: "a string", bool: "a boolean", list: "an array", dict: "an object", int: "a number"}


def _expect(kind: type[T], value: Any) -> T:
    if type(value) is not kind:
        raise InvalidInput(f"expected {_KINDS[kind]}")
    found: T = value
    return found


def _expect_text(value: Any) -> str:
    text = _expect(str, value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInput("lone surrogate in a string") from None
    return text


def json_integer(integer: Integer, value: Any) -> int:
    """
    A JSON number in range.

    Raises:
        InvalidInput: Another value, a fraction, or out of range.
    """
    number = _expect(int, value)
    if not integer.least <= number <= integer.greatest:
        raise InvalidInput(f"{number} is out of range")
    return number
