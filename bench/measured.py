"""
What ``python -m bench`` has measured: the figures of the rounds that came to their end, and the rounds that stalled.

A round stalls when a program does not answer any more, or does not do what it was asked to. That is an outcome like
another, not an error of the benchmark: the original stops for good under load, and a table that leaves such rounds out
would flatter it.
"""

import json
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from interop.programs import CommandFailed, ServerEnded
from offset_proto.errors import OffsetError

__all__ = ["Figures", "Measured", "PaymentStalled", "stall_reason"]

Figures = dict[str, float]
"""Of one round, by the name of the figure."""

REASON_CHARACTERS_MAX: Final = 300

_DIRECTORIES: Final = re.compile(r"(?:/[\w.+-]+)+/")
"""Of the paths in a message, which mean nothing to those who read a table."""


class PaymentStalled(Exception):
    """A payment did not end, or ended without a receipt."""


_STALLS: Final = (PaymentStalled, OffsetError, OSError, CommandFailed, ServerEnded, subprocess.SubprocessError)
"""
Errors of a program that does not answer; OSError holds TimeoutError, refused connections and ended processes. A server
may end at its start since somebody else has taken its port; one such round is not to end a run of hours.
"""


def stall_reason(error: Exception) -> str | None:
    """Why a round has stalled, in one line; None where *error* is an error of the benchmark itself."""
    if isinstance(error, ExceptionGroup):
        reasons = [stall_reason(one) for one in error.exceptions]
        return None if None in reasons else reasons[0]
    if not isinstance(error, _STALLS):
        return None
    text = _DIRECTORIES.sub("", " ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= REASON_CHARACTERS_MAX else f"{text[:REASON_CHARACTERS_MAX]}…"


@dataclass
class Measured:
    """
    All rounds of all rows.

    Attributes:
        machine: What they were measured on.
        results: By row and implementation, the figures of each round that came to its end.
        stalls: By row and implementation, why each of the other rounds stalled; rows without one are not named.
    """

    machine: dict[str, Any] = field(default_factory=dict)
    results: dict[str, dict[str, list[Figures]]] = field(default_factory=dict)
    stalls: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def rows(self) -> list[str]:
        """Every row of which a round was begun, in the order in which they were."""
        return list(dict.fromkeys([*self.results, *self.stalls]))

    def players(self, row: str) -> list[str]:
        """The implementations with which a round of *row* was begun."""
        return list(dict.fromkeys([*self.results.get(row, {}), *self.stalls.get(row, {})]))

    def figures_of(self, row: str, player: str) -> list[Figures]:
        """The figures of each round that came to its end."""
        return self.results.get(row, {}).get(player, [])

    def stalls_of(self, row: str, player: str) -> list[str]:
        """Why each of the rounds that stalled did so."""
        return self.stalls.get(row, {}).get(player, [])

    def add_figures(self, row: str, player: str, figures: Figures) -> None:
        """Take in a round that came to its end."""
        self.results.setdefault(row, {}).setdefault(player, []).append(figures)

    def add_stall(self, row: str, player: str, reason: str) -> None:
        """Take in a round that stalled."""
        self.stalls.setdefault(row, {}).setdefault(player, []).append(reason)

    def describe_stalls(self, row: str, player: str) -> str:
        """How many rounds stalled, for a table; empty where none did."""
        stalled = len(self.stalls_of(row, player))
        ended = len(self.figures_of(row, player))
        return f"{stalled} of {stalled + ended} rounds stalled" if stalled else ""

    def store(self, path: Path) -> None:
        """Write everything to a JSON file."""
        content = {"machine": self.machine, "results": self.results, "stalls": self.stalls}
        path.write_text(json.dumps(content, indent=1))

    @classmethod
    def load(cls, path: Path) -> "Measured":
        """Read what `store` has written; a file of an earlier version knows no stalls."""
        content: dict[str, Any] = json.loads(path.read_text())
        return cls(content["machine"], content["results"], content.get("stalls", {}))
