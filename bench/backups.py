"""Locks of identities, and backups of a node with many friends, open and locked, while payments pass over it."""

import asyncio
import os
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench.measured import Figures
from bench.payments import run_payments
from interop.network import Network
from offset_crypto.locking import lock_identity, unlock_identity
from offset_proto.types import PrivateKey, Salt

__all__ = ["measure_backups", "measure_locks"]

IN_FLIGHT: Final = 10
ROUNDS: Final = 3


def _median_seconds(step: Callable[[], object], times: int) -> float:
    took = []
    for _ in range(times):
        started = time.perf_counter()
        step()
        took.append(time.perf_counter() - started)
    return statistics.median(took)


def measure_locks() -> Figures:
    """Milliseconds to lock an identity and to unlock it; most of either is meant to be slow."""
    key, salt = PrivateKey(bytes(32)), Salt(bytes(32))
    locked = lock_identity(key, "passphrase", salt)
    return {
        "lock ms": 1000 * _median_seconds(lambda: lock_identity(key, "passphrase", salt), 5),
        "unlock ms": 1000 * _median_seconds(lambda: unlock_identity(locked, "passphrase"), 5),
    }


async def measure_backups(network: Network, names: list[str], payments: int) -> Figures:
    """
    Payments between two nodes, in turn without backups and while one backup follows the other, open or locked.

    Args:
        network: A chain of two nodes that runs.
        names: Of the nodes; the first one pays, and is backed up.
        payments: Of each of the rounds.

    Returns:
        Seconds of a backup without payments and under them, payments per second, and the share of those that is kept
        while backups are made; all of that for locked backups, too; and the memory and the seconds that a locked backup
        and its restoring take.
    """
    passphrase = network.path("bench.passphrase")
    passphrase.write_text("passphrase")
    backups = {"": _Backups(network, names[0]), "locked ": _Backups(network, names[0], passphrase)}
    quiet = {kind: _median_seconds(backup.make, ROUNDS) for kind, backup in backups.items()}
    took: dict[str, list[float]] = {kind: [] for kind in backups}
    rates: dict[str | None, list[float]] = {kind: [] for kind in (None, *backups)}
    for kind in (None, *backups) * ROUNDS:
        paying = asyncio.create_task(run_payments(network, names, count=payments, in_flight=IN_FLIGHT))
        while kind is not None and not paying.done():
            started = time.perf_counter()
            await asyncio.to_thread(backups[kind].make)
            took[kind].append(time.perf_counter() - started)
        rates[kind].append((await paying).per_second)
    alone = statistics.median(rates[None])
    figures = {"database MiB": network.path(f"{names[0]}.db").stat().st_size / 2**20, "payments/s": alone}
    for kind in backups:
        figures |= {
            f"{kind}backup s": quiet[kind],
            f"{kind}backup under payments s": statistics.median(took[kind]),
            f"slowest {kind}backup under payments s": max(took[kind]),
            f"payments kept meanwhile{', locked' if kind else ''}": statistics.median(rates[kind]) / alone,
        }
    return figures | backups["locked "].measure_once()


class _Backups:
    """Backups of one node, each to the same file, by the programs; locked where there is a passphrase."""

    def __init__(self, network: Network, name: str, passphrase: Path | None = None) -> None:
        self._network = network
        self._target = network.path("bench.backup")
        self._lock = [] if passphrase is None else ["--passphrase-file", str(passphrase)]
        encrypt = [] if passphrase is None else ["--encrypt"]
        self._words = ["-d", str(network.path(f"{name}.db")), "-o", str(self._target), *encrypt, *self._lock]

    def make(self) -> None:
        """A backup, which is gone again."""
        self._network.run("stmgr", "backup", *self._words)
        self._target.unlink()

    def measure_once(self) -> Figures:
        """Peak memory of a backup and of restoring it, and the seconds of the latter."""
        restored = self._network.path("bench.db")
        backup_mib = self._peak_mib("backup", *self._words)
        started = time.perf_counter()
        restore_mib = self._peak_mib("restore", "-i", str(self._target), "-o", str(restored), *self._lock)
        seconds = time.perf_counter() - started
        for path in (self._target, restored):
            path.unlink()
        return {"locked backup MiB": backup_mib, "restore MiB": restore_mib, "restore s": seconds}

    def _peak_mib(self, *words: str) -> float:
        """Of a command of stmgr: the most memory that was resident at any time."""
        program = self._network.cast.of("stmgr").program("stmgr")
        process = subprocess.Popen([program, *words], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise subprocess.CalledProcessError(process.returncode, words[0])
        return usage.ru_maxrss / 1024
