"""
What a server does for a payment, counted while it does it.

    python -m bench.counted stnode COUNTS OPTION...

runs a server of ours with its options. COUNTS is a directory; the file in it that has the number of the process for a
name holds the counts so far, and can be read at any time (`read_counts`). Only what no implementation could leave out
is counted: signatures, checks, hashes, sealed and opened messages, writes to and reads from sockets, commits.
"""

import asyncio
import functools
import mmap
import os
import struct
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from interop.programs import OURS, PROGRAMS, Implementation

__all__ = ["KINDS", "counted_programs", "read_counts"]

KINDS: Final = (
    "signatures",
    "checks",
    "hashes",
    "hashed bytes",
    "sealed",
    "sealed bytes",
    "opened",
    "opened bytes",
    "writes",
    "written bytes",
    "reads",
    "read bytes",
    "commits",
    "statements",
)
"""Each with its place in the file, as a number of 64 bits."""

SERVERS: Final = ("stnode", "strelay", "stindex")

_NUMBER: Final = struct.Struct("<Q")


def read_counts(directory: Path, pid: int) -> dict[str, int]:
    """The counts of a process so far, by `KINDS`."""
    return dict(zip(KINDS, struct.unpack(f"<{len(KINDS)}Q", (directory / str(pid)).read_bytes()), strict=True))


def counted_programs(directory: Path) -> Implementation:
    """Programs of ours whose servers are counted; *directory* is empty, and gets scripts and, later, counts."""
    root = Path(__file__).parent.parent
    for name in PROGRAMS:
        words = f"-m bench.counted {name} '{directory}'" if name in SERVERS else f"'{OURS.program(name)}'"
        script = directory / name
        script.write_text(f"#!/bin/sh\nPYTHONPATH='{root}' exec '{sys.executable}' {words} \"$@\"\n")
        script.chmod(0o755)
    return Implementation("ours", directory)


class _Counts:
    def __init__(self, path: Path) -> None:
        with path.open("w+b") as file:
            file.truncate(len(KINDS) * _NUMBER.size)
            self._numbers = mmap.mmap(file.fileno(), 0)

    def add(self, kind: str, count: int) -> None:
        place = KINDS.index(kind) * _NUMBER.size
        _NUMBER.pack_into(self._numbers, place, _NUMBER.unpack_from(self._numbers, place)[0] + count)

    def watch(self, owner: Any, name: str, measure: Callable[..., dict[str, int]]) -> None:
        """Count each call of a function or method; *measure* gets its arguments."""
        called = getattr(owner, name)

        @functools.wraps(called)
        def counting(*arguments: Any) -> Any:
            for kind, count in measure(*arguments).items():
                self.add(kind, count)
            return called(*arguments)

        setattr(owner, name, counting)


def _watch_all(counts: _Counts) -> None:
    """Before a program is imported, so that it takes the functions that count."""
    from offset_crypto import aead, hashing, identity

    counts.watch(identity.Identity, "sign", lambda signer, message: {"signatures": 1})
    counts.watch(identity, "verify", lambda message, key, signature: {"checks": 1})
    counts.watch(hashing, "sha512_256", lambda data: {"hashes": 1, "hashed bytes": len(data)})
    counts.watch(aead.Sealer, "seal", lambda sealer, plain: {"sealed": 1, "sealed bytes": len(plain)})
    counts.watch(aead.Opener, "open", lambda opener, sealed: {"opened": 1, "opened bytes": len(sealed)})

    from offset_crypto.aio import sockets
    from offset_node.database.sqlite import Database

    connection = sockets._SocketConnection
    written: set[Any] = set()

    def measure_write(link: Any, outgoing: list[bytes]) -> dict[str, int]:
        """The event loop joins what is written to a socket in one turn."""
        is_first = link not in written
        if is_first:
            written.add(link)
            asyncio.get_running_loop().call_soon(written.discard, link)
        return {"writes": int(is_first), "written bytes": sum(map(len, outgoing))}

    counts.watch(connection, "_write", measure_write)
    counts.watch(connection, "data_received", lambda link, data: {"reads": 1, "read bytes": len(data)})
    counts.watch(Database, "_store", lambda database, batch: {"commits": 1, "statements": len(batch)})


def main() -> None:
    """Count a server from its start to its end."""
    _, program, directory, *options = sys.argv
    _watch_all(_Counts(Path(directory, str(os.getpid()))))
    (script,) = entry_points(group="console_scripts", name=program)
    sys.argv = [program, *options]
    script.load()()


if __name__ == "__main__":
    main()
