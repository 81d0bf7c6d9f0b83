"""What a drill says: each command with the time that it took, and tables."""

import shlex
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO

from offset_ctrl.programs.table import format_table

__all__ = ["Log"]


class Log:
    """
    Where a drill is told, with the seconds since its start.

    Args:
        directory: Of the drill; paths are told as they are seen from there.
        outputs: Files that are open for writing.
    """

    def __init__(self, directory: Path, *outputs: TextIO) -> None:
        self._prefix = f"{directory}/"
        self._outputs = outputs
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._started

    def head(self, text: str) -> None:
        """Begin a chapter."""
        self._write(f"\n== {text}\n")

    def note(self, text: str) -> None:
        """What happened now."""
        self._write(f"{self.seconds:7.1f}  {text}")

    def command(self, words: Iterable[object], seconds: float) -> None:
        """A command that a person has given, and how long it took."""
        told = shlex.join(str(word).replace(self._prefix, "") for word in words)
        self.note(f"$ {told}    ({seconds:.1f} s)")

    def said(self, text: str) -> None:
        """What a command has printed."""
        for line in text.replace(self._prefix, "").splitlines():
            self._write(f"         {line}")

    def table(self, titles: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A table."""
        self.said(format_table(list(titles), [[str(cell) for cell in row] for row in rows]))

    def _write(self, text: str) -> None:
        for output in self._outputs:
            print(text, file=output, flush=True)
