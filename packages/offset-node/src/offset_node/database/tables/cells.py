"""
How values stand in the cells of a table, and how they are read back. Pure.

Amounts have 128 bits, more than an INTEGER holds: they are decimal text. Keys, ids and locks are blobs. Values with a
structure of their own are JSON in the form that the original's database has for them (`offset_node.database.forms`).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from offset_proto.errors import InvalidInput
from offset_proto.json_forms import Form
from offset_proto.text import parse_integer
from offset_proto.types import I128, U128, Integer

__all__ = ["Rows", "Statement", "format_form", "format_json", "group", "parse_amount", "parse_balance", "parse_form"]

T = TypeVar("T")

Statement = tuple[str, tuple[Any, ...]]
"""SQL, and its parameters in order."""

Rows = Mapping[str, Sequence[tuple[Any, ...]]]
"""What each SELECT found, by its text."""

_write_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode  # json.dumps makes one each time

_AMOUNT = Integer(128)
_BALANCE = Integer(128, signed=True)


def format_json(value: Any) -> str:
    """A value as JSON text without spaces, in which every character stands as itself."""
    return _write_json(value)


def format_form(form: Form[T], value: T) -> str:
    """A value with a structure of its own, as JSON."""
    return format_json(form.write(value))


def parse_form(form: Form[T], text: str) -> T:
    """
    The value in a cell of JSON.

    Raises:
        InvalidInput: The cell is damaged.
    """
    try:
        return form.read(json.loads(text))
    except json.JSONDecodeError as error:
        raise InvalidInput(f"damaged JSON: {error}") from None


def parse_amount(text: str) -> U128:
    """Credits, 0 to 2**128 - 1. Raises InvalidInput."""
    return parse_integer(_AMOUNT, text)


def parse_balance(text: str) -> I128:
    """Credits with a sign, -2**127 to 2**127 - 1. Raises InvalidInput."""
    return parse_integer(_BALANCE, text)


def group(rows: Sequence[tuple[Any, ...]]) -> dict[Any, list[tuple[Any, ...]]]:
    """Rows by their first column, without it; the order of rows is kept."""
    grouped: dict[Any, list[tuple[Any, ...]]] = {}
    for key, *row in rows:
        grouped.setdefault(key, []).append(tuple(row))
    return grouped
