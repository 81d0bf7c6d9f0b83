"""
The directory of a move. It also is where two persons put what they hand to each other.

====================  ==============================================================================================
``account.move``      how far the move is; mode 0600, written anew before each step that a later run must know of
``FST.invoice``       the invoice of a currency: ours, for the new friend, or the one that it has handed over
``FST.commit``        the same for the commit
``FST.receipt``       where we pay: the receipt
``old.token``         the last token of the old friend, and ``new.token``, that of the new friend: proofs of balances
``payments``          the journal of our payments, as `offset_ctrl.sdk.journal` keeps it
====================  ==============================================================================================

A currency whose name is no plain word is written in hexadecimal digits, after ``x.``. Two runs at the same time are
kept apart by a lock on the directory.
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeVar

from offset_ctrl.rules.moving import Move, MoveRefused
from offset_ctrl.sdk.journal import Journal
from offset_proto.files import FileKind, IoError, OutputAlreadyExists, replace_text
from offset_proto.message_json import SNAKE_CASE, JsonForm
from offset_proto.types import Currency

__all__ = ["MoveFiles"]

T = TypeVar("T")

MOVE: Final = FileKind(JsonForm(Move, camel_case=SNAKE_CASE), secret=True)


class MoveFiles:
    """
    The directory of one move.

    Args:
        directory: Made where it is missing, readable for its owner only.

    Raises:
        IoError: It can not be made.
    """

    def __init__(self, directory: Path) -> None:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise IoError(directory, error.strerror or str(error)) from None
        self.directory = directory
        self.state_path = directory / "account.move"
        self.journal = Journal(directory / "payments")

    def load(self) -> Move | None:
        """The move as it was written down last; None where there is none. Raises IoError, StringSerdeError."""
        return MOVE.load(self.state_path) if self.state_path.exists() else None

    def save(self, move: Move) -> None:
        """Write the move down, durably. Raises IoError."""
        self.replace(MOVE, self.state_path, move)

    def replace(self, kind: FileKind[T], path: Path, value: T) -> None:
        """Write a file anew, whether it is there or not. Raises IoError."""
        try:
            replace_text(path, kind.format(value))
        except OSError as error:
            raise IoError(path, error.strerror or str(error)) from None

    def forget(self) -> None:
        """The move has not begun. Raises IoError."""
        try:
            self.state_path.unlink(missing_ok=True)
        except OSError as error:
            raise IoError(self.state_path, error.strerror or str(error)) from None

    def path(self, currency: Currency, suffix: str) -> Path:
        """Where a paper of *currency* is, or is to go."""
        plain = re.fullmatch(r"[A-Za-z0-9_-]+", currency) is not None
        return self.directory / f"{currency if plain else 'x.' + currency.encode().hex()}.{suffix}"

    def found(self, kind: FileKind[T], currency: Currency, suffix: str) -> T | None:
        """A paper of *currency*, where it is there. Raises IoError, StringSerdeError."""
        path = self.path(currency, suffix)
        return kind.load(path) if path.exists() else None

    def keep(self, kind: FileKind[T], path: Path, value: T) -> None:
        """
        Write a paper, unless it is there.

        Raises:
            MoveRefused: Another one is there.
            IoError: It can not be written.
        """
        try:
            kind.save(path, value)
        except OutputAlreadyExists:
            if kind.load(path) != value:
                raise MoveRefused(f"{path} is another file than the move has made; put it elsewhere") from None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """
        No other run works on the move for the length of a ``with`` block.

        Raises:
            MoveRefused: One does.
        """
        descriptor = os.open(self.directory, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise MoveRefused(f"another command is working on the move in {self.directory}") from None
        finally:
            os.close(descriptor)
