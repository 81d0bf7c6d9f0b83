"""
What it costs that a node is watched: its log at the default level, and metrics that are read now and then.

Two pairs of nodes pay in turns, so that both see the same machine. Every server of the one pair writes the log that it
writes by default and serves metrics, which are read as Prometheus reads them; those of the other pair do neither.
"""

import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from interop.ports import find_free_port

__all__ = ["SERVERS", "UNWATCHED", "reading", "watched"]

SERVERS: Final = ("relay", "index", "n0", "n1")

UNWATCHED: Final[Mapping[str, tuple[str, ...]]] = dict.fromkeys(SERVERS, ("--log-level", "off"))
"""Options of servers that nobody watches."""

READING_SECONDS: Final = 5.0
"""Between two readings; Prometheus waits for 15 by default, and a turn is shorter than that."""


def watched() -> dict[str, tuple[str, ...]]:
    """Options of servers that are watched: all with metrics, each at a port of its own."""
    return {name: ("--metrics", f"127.0.0.1:{find_free_port()}") for name in SERVERS}


@contextmanager
def reading(options: Mapping[str, tuple[str, ...]]) -> Iterator[list[int]]:
    """
    Read the metrics of all servers as long as the block runs; the list has the length of each answer, in bytes.

    Raises:
        OSError: At the end of the block: a server has not answered, so that it was not watched any more.
    """
    read: list[int] = []
    failures: list[OSError] = []
    is_over = threading.Event()

    def read_again_and_again() -> None:
        while not is_over.wait(READING_SECONDS):
            for _, address in options.values():
                try:
                    with urllib.request.urlopen(f"http://{address}/metrics", timeout=READING_SECONDS) as answer:
                        read.append(len(answer.read()))
                except OSError as failure:
                    failures.append(failure)
                    return

    reader = threading.Thread(target=read_again_and_again, daemon=True)
    reader.start()
    try:
        yield read
    finally:
        is_over.set()
        reader.join()
    if failures:
        raise failures[0]
