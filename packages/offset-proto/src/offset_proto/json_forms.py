"""
Forms of JSON that follow no message class: small pieces, each of which writes a value and reads it back, strictly.

What a message class looks like as JSON follows from the class, and is in `message_json`. These pieces describe texts
whose shape somebody else has chosen, such as the database of the original.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from offset_proto.errors import InvalidInput
from offset_proto.message_json import CAMEL_CASE, JsonForm, at, json_integer, required
from offset_proto.straight_code import object_code
from offset_proto.text import format_b64, parse_b64, parse_integer
from offset_proto.types import Currency, FixedBytes, Integer

__all__ = [
    "BOOL",
    "CURRENCY",
    "TEXT",
    "Form",
    "b64",
    "camel",
    "decimal",
    "items",
    "mapping",
    "number",
    "optional",
    "pair",
    "record",
    "renamed",
    "row",
    "variants",
    "wrapped",
]

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Form(Generic[T]):
    """How a value is written to JSON and read from it; ``read`` raises InvalidInput."""

    write: Callable[[T], Any]
    read: Callable[[Any], T]


def _expect(kind: type, name: str, value: Any) -> Any:
    if type(value) is not kind:
        raise InvalidInput(f"expected {name}")
    return value


def _read_text(value: Any) -> str:
    text: str = _expect(str, "a string", value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInput("lone surrogate in a string") from None
    return text


TEXT = Form(str.__str__, _read_text)
BOOL = Form(bool, lambda value: bool(_expect(bool, "a boolean", value)))
CURRENCY = Form(str.__str__, lambda value: Currency(_read_text(value)))


def b64(cls: type[FixedBytes]) -> Form[Any]:
    """A byte string as a string of base64url, without padding."""
    return Form(format_b64, lambda value: parse_b64(cls, _expect(str, "a string", value)))


def decimal(integer: Integer) -> Form[int]:
    """A number as a string of decimal digits, which is how files hold 128 bits."""
    return Form(str, lambda value: parse_integer(integer, _expect(str, "a string", value)))


def number(integer: Integer) -> Form[int]:
    """A JSON number, exact at any size."""
    return Form(int, lambda value: json_integer(integer, value))


def items(form: Form[T], into: Callable[[list[T]], Any] = tuple) -> Form[Any]:
    """An array of any length whose items all have one form; *into* makes of the items what is read."""
    return Form(
        lambda values: [form.write(value) for value in values],
        lambda value: into([at(f"[{i}]", form.read, item) for i, item in enumerate(_expect(list, "an array", value))]),
    )


def pair(first: Form[Any], second: Form[Any]) -> Form[tuple[Any, Any]]:
    """An array of exactly two values, which is how the original writes a tuple."""

    def read(value: Any) -> tuple[Any, Any]:
        if len(_expect(list, "an array", value)) != 2:
            raise InvalidInput("expected an array of two")
        return at("[0]", first.read, value[0]), at("[1]", second.read, value[1])

    return Form(lambda both: [first.write(both[0]), second.write(both[1])], read)


def mapping(keys: Form[Any], values: Form[Any], into: Callable[[dict[Any, Any]], Any] = dict) -> Form[Any]:
    """An object as a map, written in the order of its keys."""

    def read(value: Any) -> Any:
        found = {}
        for key, item in _expect(dict, "an object", value).items():
            found[at(repr(key), keys.read, key)] = at(repr(key), values.read, item)
        if len(found) != len(value):
            raise InvalidInput("two keys stand for the same bytes")
        return into(found)

    return Form(lambda found: {keys.write(key): values.write(found[key]) for key in sorted(found)}, read)


def optional(form: Form[T]) -> Form[T | None]:
    """A value in its form, or null where there is none."""
    return Form(
        lambda value: None if value is None else form.write(value),
        lambda value: None if value is None else form.read(value),
    )


def wrapped(cls: Callable[[Any], T], attribute: str, form: Form[Any]) -> Form[T]:
    """A class with one attribute, in the form of that."""
    return Form(lambda value: form.write(getattr(value, attribute)), lambda value: cls(form.read(value)))


def camel(cls: type[T]) -> Form[T]:
    """A message class with camelCase keys."""
    form = JsonForm(cls, camel_case=CAMEL_CASE)
    return Form(form.to_value, form.from_value)


@dataclass(frozen=True)
class _Renamed:
    key: str
    form: Form[Any]
    is_optional: bool


def renamed(key: str, form: Form[Any], *, is_optional: bool = False) -> _Renamed:
    """A member whose JSON key differs from the attribute, or may be missing."""
    return _Renamed(key, form, is_optional)


def record(cls: Callable[..., T], **members: Form[Any] | _Renamed) -> Form[T]:
    """An object: attribute = form, in the order of writing."""
    table = [
        (name, m.key, m.form, m.is_optional) if isinstance(m, _Renamed) else (name, name, m, False)
        for name, m in members.items()
    ]

    def read(value: Any) -> T:
        found = _expect(dict, "an object", value)
        arguments = {}
        for name, key, form, is_optional in table:
            raw = found.get(key) if is_optional else required(found, key)
            arguments[name] = at(key, form.read, raw)
        return cls(**arguments)

    return Form(object_code((name, key, form.write) for name, key, form, _ in table), read)


def row(cls: Callable[..., T], **members: Form[Any]) -> Form[T]:
    """An array: the attributes of a class, in this order."""
    names = list(members)

    def write(value: T) -> list[Any]:
        return [form.write(getattr(value, name)) for name, form in members.items()]

    def read(value: Any) -> T:
        if len(_expect(list, "an array", value)) != len(names):
            raise InvalidInput(f"expected an array of {len(names)}")
        return cls(**{name: at(f"[{i}]", members[name].read, value[i]) for i, name in enumerate(names)})

    return Form(write, read)


def variants(**forms: tuple[type | tuple[type, ...], Form[Any] | None]) -> Form[Any]:
    """
    An enumeration of the original: ``"Name"``, or ``{"Name": payload}``.

    Args:
        forms: Variant name = (class or classes, form of the payload, or None for a bare name).
    """

    def write(value: Any) -> Any:
        for name, (cls, form) in forms.items():
            if isinstance(value, cls):
                return name if form is None else {name: form.write(value)}
        raise InvalidInput(f"no variant for {type(value).__name__}")

    def read(value: Any) -> Any:
        cls, form = forms.get(value, (None, None)) if isinstance(value, str) else (None, None)
        if isinstance(cls, type) and form is None:
            return cls()
        if isinstance(value, dict) and len(value) == 1:
            ((name, payload),) = value.items()
            form = forms[name][1] if name in forms else None
            if form is not None:
                return at(name, form.read, payload)
        raise InvalidInput("unknown variant, expected one of " + ", ".join(forms))

    return Form(write, read)
