"""
A person writes down the words of an identity, and gives three of them back.

Most backups of this kind fail because they were never made: the words were looked at, and not written. So three of them
are asked for, when they do not stand on the screen any more, and there is no identity without the right answers.
"""

import random
import sys

import click

from offset_ctrl.programs.stmgr.words import WORDS
from offset_proto.errors import OffsetError

__all__ = ["NotWrittenDown", "check_written_down", "show_words"]

_ASKED = 3
_COLUMNS = 4


class NotWrittenDown(OffsetError):
    """The words were not given back, or there is no terminal to ask on."""


def show_words(words: list[str]) -> None:
    """Print words with their numbers, for a person to copy."""
    rows = -(-len(words) // _COLUMNS)
    for row in range(rows):
        numbers = range(row, len(words), rows)
        click.echo("   ".join(f"{number + 1:2} {words[number]:8}" for number in numbers).rstrip())


def check_written_down(words: list[str]) -> None:
    """
    Show the words, take them off the screen, and ask for three of them.

    Raises:
        NotWrittenDown: An answer is wrong, or standard input and output are no terminal.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise NotWrittenDown("--words asks a person on a terminal; a script says --no-check")
    click.echo(f"Write these {WORDS} words on paper, with their numbers. Whoever has them has the identity.\n")
    show_words(words)
    click.prompt("\nPress Enter when they are written down", default="", show_default=False, prompt_suffix=" ")
    click.clear()
    for position in sorted(random.SystemRandom().sample(range(WORDS), _ASKED)):
        answer = str(click.prompt(f"Word {position + 1}", default="", show_default=False))
        if answer.strip().lower() != words[position]:
            raise NotWrittenDown(f"word {position + 1} is another one; nothing is made")
