"""
The programs of one implementation or the other, as processes.

Ours are those of this environment. The original's are in the directory that OFFSET_RUST_BIN names; nothing here
builds or fetches them. Every process that is started ends with its `Server`, by process id.
"""

import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = [
    "OURS",
    "PROGRAMS",
    "CommandFailed",
    "Implementation",
    "MissingPrograms",
    "Server",
    "ServerEnded",
    "find_original",
    "find_programs",
    "wait_until",
]

START_SECONDS = 120.0
"""Patience with a machine that does much else; a server listens within a second."""

STOP_SECONDS = 10.0
COMMAND_SECONDS = 90.0
ORIGINAL_VARIABLE: Final = "OFFSET_RUST_BIN"
PROGRAMS: Final = ("stnode", "strelay", "stindex", "stmgr", "stctrl", "stverify", "stcompact")

_FAILURE = re.compile(r"^\[[^]]* ERROR [^]]*\]", re.MULTILINE)


class CommandFailed(Exception):
    """A program did not do what it was asked to."""

    def __init__(self, arguments: Iterable[object], result: "subprocess.CompletedProcess[str]") -> None:
        self.result = result
        words = " ".join(map(str, arguments))
        super().__init__(f"{words}: exit status {result.returncode}: {result.stderr.strip()}")


class MissingPrograms(Exception):
    """The directory of an implementation's programs is not complete."""


@dataclass(frozen=True)
class Implementation:
    """
    Whose programs are run.

    Attributes:
        name: "ours", "original", or "before" for an earlier build of ours.
        directory: Holds the programs.
    """

    name: str
    directory: Path

    def program(self, name: str) -> str:
        """Path of a program."""
        return str(self.directory / name)

    def run(self, program: str, *arguments: object, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """
        Run a program to its end.

        The original ends with status 0 after a failure that it only logs (D78); the result then says 1.

        Raises:
            CommandFailed: *check* is set, and it failed.
        """
        words = [self.program(program), *map(str, arguments)]
        result = subprocess.run(
            words, capture_output=True, text=True, timeout=COMMAND_SECONDS, stdin=subprocess.DEVNULL
        )
        if result.returncode == 0 and _FAILURE.search(result.stderr):
            result.returncode = 1
        if check and result.returncode != 0:
            raise CommandFailed([program, *arguments], result)
        return result

    def fingerprints(self) -> dict[str, str]:
        """What exactly was run: the start of the SHA-256 of each program."""
        return {name: hashlib.sha256((self.directory / name).read_bytes()).hexdigest()[:16] for name in PROGRAMS}


OURS: Final = Implementation("ours", Path(sys.executable).parent)


def find_original() -> Implementation | None:
    """
    The original, where OFFSET_RUST_BIN names its directory; None where that is not set.

    Raises:
        MissingPrograms: It is set, and a program is not there.
    """
    directory = os.environ.get(ORIGINAL_VARIABLE)
    return find_programs("original", Path(directory), f"{ORIGINAL_VARIABLE}=") if directory else None


def find_programs(name: str, directory: Path, named_by: str = "") -> Implementation:
    """
    The implementation whose programs are in *directory*.

    Raises:
        MissingPrograms: One is not there; the text starts with *named_by*.
    """
    missing = [program for program in PROGRAMS if not os.access(directory / program, os.X_OK)]
    if missing:
        raise MissingPrograms(f"{named_by}{directory}: no program {', '.join(missing)}")
    return Implementation(name, directory)


def wait_until(what: str, is_so: Callable[[], bool], seconds: float = 60.0) -> None:
    """Ask again and again until it is so. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:g} s for: {what}")
        time.sleep(0.1)


class ServerEnded(RuntimeError):
    """A server has ended instead of listening; says its last words."""


@dataclass
class Server:
    """A server process and the command that starts it."""

    name: str
    command: list[str]
    port: int
    log: Path
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        wait_until(f"{self.name} to listen", self._listens_or_died, START_SECONDS)
        if self.process.poll() is not None:
            raise ServerEnded(f"{self.name} ended: {self.log.read_text()[-500:]}")

    def _listens_or_died(self) -> bool:
        return self.process is None or self.process.poll() is not None or self.listens()

    def listens(self) -> bool:
        """Whether a connection to its port is taken."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        """kill -9; its port is free afterwards."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            wait_until(f"{self.name} to be gone", lambda: not self.listens(), 10)

    def stop(self) -> int:
        """SIGTERM, and its exit status."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
