"""
How the programs write their logs: one line for each record on stderr, as text or as JSON. Spec 09 §1.2, §3.4.

====  ==============================================================================================================
text  ``[2026-11-22T17:20:21Z INFO stnode] friend_offline: bob, after 60.0 s with it: the peer closed the connection``
JSON  ``{"time": …, "level": "info", "logger": "offset.node", "event": "friend_offline", "text": …, "fields": {…}}``
====  ==============================================================================================================

The event of a record that is none of the table in `offset_proto.log_events` is ``message``. A sum of records
(`offset_proto.log_sums`) has ``times``, ``seconds`` and ``since`` besides. Records below ``info`` are never counted:
who asks for them wants each of them.
"""

import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterable
from typing import Final, TextIO

from offset_proto.log_events import Field, Told
from offset_proto.log_sums import Sum, Sums
from offset_proto.text import printable

__all__ = [
    "FORMATS",
    "LEVELS",
    "SummingHandler",
    "change_logging",
    "end_sums",
    "parse_level",
    "set_up_logging",
    "set_up_server_logging",
    "write_sums",
]

LEVELS: Final = {
    "off": logging.CRITICAL + 10,
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": logging.DEBUG,
}
"""The levels, by the names that RUST_LOG has for them."""

FORMATS: Final = ("text", "json")

_NAMES: Final = {"WARNING": "WARN", "CRITICAL": "ERROR"}


def parse_level(words: str) -> str | None:
    """
    The level in a value of RUST_LOG, such as ``debug`` or ``offset_relay=info,warn``.

    Returns:
        The name of the most talkative one; None where no level is named.
    """
    named = [word for word in re.split(r"[,=\s]+", words.lower()) if word in LEVELS]
    return min(named, key=LEVELS.__getitem__, default=None)


def _begun(record: logging.LogRecord, total: Sum[logging.LogRecord]) -> str:
    """When the first of those came that were counted, at the earliest."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created - total.seconds))


class _LineFormatter(logging.Formatter):
    """One line per record: ``[2026-11-22T17:20:21Z ERROR stctrl] text``."""

    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        level = _NAMES.get(record.levelname, record.levelname)
        text = printable(record.getMessage().replace("\n", " "))
        total = getattr(record, "total", None)
        if isinstance(total, Sum):
            text += f" (the last of {total.times} in {total.seconds:.0f} s, since {_begun(record, total)})"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return f"[{moment} {level} {self._program}] {text}"


class _JsonFormatter(logging.Formatter):
    """One object per record."""

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        told = record.msg if isinstance(record.msg, Told) else None
        line: dict[str, object] = {
            "time": f"{seconds}.{int(record.msecs):03}Z",
            "level": _NAMES.get(record.levelname, record.levelname).lower(),
            "logger": record.name,
            "event": "message" if told is None else told.event.name,
            "text": record.getMessage(),
            "fields": {} if told is None else told.fields,
        }
        total = getattr(record, "total", None)
        if isinstance(total, Sum):
            line |= {"times": total.times, "seconds": round(total.seconds), "since": _begun(record, total)}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class SummingHandler(logging.StreamHandler[TextIO]):
    """
    Writes to stderr; what comes too often from one cause becomes sums.

    Args:
        clock: In seconds; never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._sums: Sums[logging.LogRecord] = Sums()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or count it; the logging module holds the lock of the handler."""
        now = self._clock()
        self._write(self._sums.due(now))
        if record.levelno < logging.INFO or self._sums.admit(*_origin(record), record, now):
            super().emit(record)

    def write_sums(self) -> None:
        """Write the sums that are due; to be called now and then, since nothing may be told for hours."""
        self.acquire()
        try:
            self._write(self._sums.due(self._clock()))
        finally:
            self.release()

    def end_sums(self) -> None:
        """Write all that was counted: the program is about to end."""
        self.acquire()
        try:
            self._write(self._sums.end(self._clock()))
        finally:
            self.release()

    def close(self) -> None:
        """Write what was counted, if anything; nothing is written after that."""
        self.end_sums()
        super().close()

    def _write(self, sums: Iterable[Sum[logging.LogRecord]]) -> None:
        for total in sums:
            record = total.last
            record.total = total
            record.created = time.time()  # lines stay in the order of their times
            record.msecs = record.created % 1 * 1000
            super().emit(record)


def _origin(record: logging.LogRecord) -> tuple[str, tuple[Field, ...]]:
    """
    Group and cause.

    A record that is no event has its text before values are put in, which others do not choose; and what the caller
    gives as ``extra={"cause": ...}``, such as a friend.
    """
    if isinstance(record.msg, Told):
        return record.msg.group, record.msg.cause
    return "message", (record.name, str(record.msg), getattr(record, "cause", None))


def set_up_logging(program: str) -> None:
    """Log to stderr, from the level that RUST_LOG names; ``error`` by default. Spec 09 §1.2."""
    _write_to(logging.StreamHandler(), program, parse_level(os.environ.get("RUST_LOG", "")) or "error", "text")


def set_up_server_logging(program: str, level: str | None, form: str | None) -> None:
    """
    Log as a server does: from ``info`` on, and in sums what comes too often. Spec 09 §3.4.

    Args:
        program: Its name.
        level: One of `LEVELS`; None: ``info``.
        form: One of `FORMATS`; None: ``text``.
    """
    _write_to(SummingHandler(), program, level or "info", form or "text")


def _write_to(handler: logging.Handler, program: str, level: str, form: str) -> None:
    handler.setFormatter(_formatter(program, form))
    logging.basicConfig(level=LEVELS[level], handlers=[handler], force=True)
    logging.getLogger("asyncio").setLevel(logging.ERROR)


def _formatter(program: str, form: str) -> logging.Formatter:
    return _JsonFormatter() if form == "json" else _LineFormatter(program)


def change_logging(program: str, level: str | None, form: str | None) -> None:
    """Another level and form, for a server that runs; what was counted goes on to be counted."""
    root = logging.getLogger()
    for handler in root.handlers:
        handler.setFormatter(_formatter(program, form or "text"))
    root.setLevel(LEVELS[level or "info"])


def end_sums() -> None:
    """Write all that was counted, before the last word of a program."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, SummingHandler):
            handler.end_sums()


def write_sums() -> None:
    """Write the sums that are due, where the log of this process has any."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, SummingHandler):
            handler.write_sums()
