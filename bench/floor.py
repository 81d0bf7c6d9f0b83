"""
The floor: the processor time of what a payment can not be made without, and of nothing else.

`floor_cpu_seconds` starts one process that does, in a bare loop, what a server was seen to do for each payment
(`bench.counted`): it signs and checks, hashes, seals and opens, writes to and reads from sockets of the loopback, and
commits to SQLite with ``synchronous=FULL``, as often and in pieces as large as the server did on average. It knows no
message, no state, no event loop; keys and statements are prepared. No program in Python can need less, and how near a
server comes to it says what the rest of its work costs.
"""

import hashlib
import json
import resource
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

__all__ = ["do_all", "floor_cpu_seconds"]

SIGNED_BYTES: Final = 200
"""About what a token or a response is hashed to and signed with, prefix included."""

ROW_BYTES: Final = 100

MEASURE_SECONDS: Final = 600

_NONCE: Final = bytes(12)


def floor_cpu_seconds(each: Mapping[str, float], payments: int) -> float:
    """
    Processor time of the floor, user and system.

    Args:
        each: What is done for one payment, by `bench.counted.KINDS`.
        payments: How many.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-m", "bench.floor", str(listener.getsockname()[1]), str(payments)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            sink, source = (listener.accept()[0] for _ in range(2))
            peers = [threading.Thread(target=_drain, args=[sink]), threading.Thread(target=_supply, args=[source])]
            for peer in peers:
                peer.start()
            printed, _ = process.communicate(json.dumps(dict(each)), MEASURE_SECONDS)
            for peer in peers:
                peer.join()
    if process.returncode != 0:
        raise RuntimeError("the floor could not be measured")
    return float(printed)


def _drain(peer: socket.socket) -> None:
    with peer:
        while peer.recv(1 << 16):
            pass


def _supply(peer: socket.socket) -> None:
    with peer:
        try:
            while True:
                peer.sendall(bytes(1 << 16))
        except ConnectionError:
            pass


def _works(
    each: Mapping[str, float], writer: socket.socket, reader: socket.socket, path: Path
) -> dict[str, Callable[[], object]]:
    """What is done once for each of the counts."""

    def size_of(kind: str, total: str) -> int:
        return max(1, round(each[total] / each[kind])) if each[kind] else 0

    signer = Ed25519PrivateKey.generate()
    signed = bytes(SIGNED_BYTES)
    signature, verifier = signer.sign(signed), signer.public_key()
    cipher = ChaCha20Poly1305(bytes(32))
    plain = bytes(size_of("sealed", "sealed bytes"))
    sealed = cipher.encrypt(_NONCE, bytes(size_of("opened", "opened bytes")), None)
    hashed, written = bytes(size_of("hashes", "hashed bytes")), bytes(size_of("writes", "written bytes"))
    read_bytes = size_of("reads", "read bytes")
    rows = [(number, bytes(ROW_BYTES)) for number in range(size_of("commits", "statements"))]
    database = sqlite3.connect(path, isolation_level=None)
    database.executescript(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE kept (id PRIMARY KEY, v)"
    )
    empty = hashlib.new("sha512_256")

    def digest() -> bytes:
        state = empty.copy()
        state.update(hashed)
        return state.digest()

    def commit() -> None:
        database.execute("BEGIN IMMEDIATE")
        database.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?)", rows)
        database.execute("COMMIT")

    return {
        "signatures": lambda: signer.sign(signed),
        "checks": lambda: verifier.verify(signature, signed),
        "hashes": digest,
        "sealed": lambda: cipher.encrypt(_NONCE, plain, None),
        "opened": lambda: cipher.decrypt(_NONCE, sealed, None),
        "writes": lambda: writer.sendall(written),
        "reads": lambda: reader.recv(read_bytes, socket.MSG_WAITALL),
        "commits": commit,
    }


def do_all(works: Sequence[tuple[float, Callable[[], object]]], payments: int) -> None:
    """Do each work as often as it is done for so many payments, spread evenly over them."""
    for number in range(payments):
        for rate, work in works:
            for _ in range(int(rate * (number + 1)) - int(rate * number)):
                work()


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Do it, and print the seconds; the counts come as JSON on standard input."""
    port, payments = int(sys.argv[1]), int(sys.argv[2])
    writer, reader = (socket.create_connection(("127.0.0.1", port)) for _ in range(2))
    each: dict[str, float] = json.load(sys.stdin)
    with tempfile.TemporaryDirectory(prefix="offset-floor-") as directory:
        works = [(each[kind], work) for kind, work in _works(each, writer, reader, Path(directory, "floor.db")).items()]
        started = _cpu_seconds()
        do_all(works, payments)
        print(_cpu_seconds() - started)
    writer.close()
    reader.close()


if __name__ == "__main__":
    main()
