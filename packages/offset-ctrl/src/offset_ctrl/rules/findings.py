"""
What a look at a node comes to: findings, each with what is to be done about it. Pure.

A finding is written for a person who did not write this program, and may be sent to somebody who helps. So it names
friends and servers as the owner does, and of a key only the first letters.
"""

import enum
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from offset_proto.text import format_b64
from offset_proto.types import PublicKey

__all__ = ["Finding", "Severity", "command", "is_nearly", "short_key", "worst"]

SHOWN_LETTERS: Final = 8
"""Of a key: enough to tell the servers and friends of one node apart."""


class Severity(enum.Enum):
    """
    How bad it is.

    Attributes:
        FINE: As it should be, or as the owner wants it; or something that can not be known from here.
        ATTENTION: It works, and the owner should look after it.
        BROKEN: Something does not work, and will not by itself.
    """

    FINE = "fine"
    ATTENTION = "attention"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One thing that was found.

    Attributes:
        about: What it belongs to, such as ``friends``.
        severity: How bad it is.
        words: What was found; one sentence.
        remedy: What to do about it; empty where there is nothing to do.
    """

    about: str
    severity: Severity
    words: str
    remedy: str = ""


def worst(findings: Iterable[Finding]) -> Severity:
    """The severity of the worst finding; FINE where there is none."""
    order = list(Severity)
    return max((finding.severity for finding in findings), key=order.index, default=Severity.FINE)


def short_key(key: PublicKey) -> str:
    """The first letters of a key."""
    return f"{format_b64(key)[:SHOWN_LETTERS]}…"


def command(*words: str) -> str:
    """A command to be copied into a shell; the names in it are quoted where they need it."""
    return shlex.join(words)


def is_nearly(amount: int, limit: int) -> bool:
    """Whether a limit is nearly reached: from nine tenths of it on."""
    return 10 * amount >= 9 * limit
