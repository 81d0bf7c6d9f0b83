"""Tables as an ASCII grid, as the original prints them, and JSON. Spec 09 §6."""

import json
from typing import Any

from wcwidth import wcswidth

from offset_proto.text import printable

__all__ = ["format_table", "printable", "shown_json"]


def format_table(titles: list[str], rows: list[list[str]]) -> str:
    """
    A grid with a title row; cells may have several lines.

    A column is as wide as its widest line on a terminal; cells are left aligned with a blank on each side.
    """
    cells = [[_lines(cell) for cell in row] for row in [titles, *rows]]
    widths = [max(_width(line) for row in cells for line in row[column]) for column in range(len(titles))]
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    text = [rule]
    for index, row in enumerate(cells):
        height = max(len(cell) for cell in row)
        for line in range(height):
            parts = [cell[line] if line < len(cell) else "" for cell in row]
            padded = [part + " " * (width - _width(part)) for part, width in zip(parts, widths, strict=True)]
            text.append("| " + " | ".join(padded) + " |")
        text.append(rule.replace("-", "=") if index == 0 else rule)
    return "\n".join(text)


def shown_json(value: Any, indent: int | None = 2) -> str:
    """*value* as JSON for a terminal or a script: letters of all languages, and no control characters as they are."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def _lines(cell: str) -> list[str]:
    """The lines of a cell; a newline at its end adds none, and control characters do not reach the terminal."""
    lines = cell.removesuffix("\n").split("\n")
    return [printable(line) for line in lines]


def _width(line: str) -> int:
    width = wcswidth(line)
    return width if width >= 0 else len(line)
