"""
What an event of a log is, and how it is told. Pure. All that there are, and the rules for whoever adds one, are in
`offset_proto.log_events`.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from offset_proto.text import printable

__all__ = ["Field", "LogEvent", "Told", "tell"]

Field = str | int | float | None | Sequence[str] | Mapping[str, int]
"""What a field may be: what JSON has a form for."""


TEXT_CHARACTERS_MAX: Final = 512
"""Characters of a field. Peers choose some texts, such as addresses."""


@dataclass(frozen=True, slots=True)
class LogEvent:
    """
    A kind of event.

    Attributes:
        name: Stable, in small letters.
        level: Of `logging`.
        text: For people; fields in braces.
        meaning: When it is told.
        fields: Each field with what it says, and its unit.
        group: What it is counted with, where there are too many; by default itself.
        cause: Fields that say what caused it.
    """

    name: str
    level: int
    text: str
    meaning: str
    fields: Mapping[str, str]
    group: str = ""
    cause: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """An event that has happened; as a text it is the line for people."""

    event: LogEvent
    fields: Mapping[str, Field]

    def __str__(self) -> str:
        words = {name: _words(value) for name, value in self.fields.items()}
        return f"{self.event.name}: {self.event.text.format_map(words)}"

    @property
    def group(self) -> str:
        """What it is counted with."""
        return self.event.group or self.event.name

    @property
    def cause(self) -> tuple[Field, ...]:
        """What caused it: a friend, a relay."""
        return tuple(self.fields[name] for name in self.event.cause)


def tell(log: logging.Logger, event: LogEvent, **fields: Field) -> None:
    """
    Write an event to a log.

    Args:
        log: Of the module that tells it.
        event: Of the table.
        fields: All that the event has; of texts, the first `TEXT_CHARACTERS_MAX` characters are written.
    """
    if log.isEnabledFor(event.level):
        log.log(event.level, Told(event, {name: _clipped(value) for name, value in fields.items()}))


def _clipped(value: Field) -> Field:
    if isinstance(value, float):
        return round(value, 3)
    return value[:TEXT_CHARACTERS_MAX] if isinstance(value, str) else value


def _words(value: Field) -> str:
    match value:
        case None:
            return "-"
        case str():
            return printable(value)
        case float():
            return f"{value:.1f}"
        case int():
            return str(value)
        case Mapping():
            return ", ".join(f"{_words(key)} {number}" for key, number in value.items()) or "-"
    return ", ".join(map(_words, value)) or "-"
