"""Locks of identities, and backups of a node with many friends while payments pass over it."""

import asyncio
import statistics
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
    Payments between two nodes, in turn without backups and while one backup follows the other.

    Args:
        network: A chain of two nodes that runs.
        names: Of the nodes; the first one pays, and is backed up.
        payments: Of each of the rounds.

    Returns:
        Seconds of a backup without payments and under them, payments per second, and the share of those that is kept
        while backups are made.
    """
    database, target = network.path(f"{names[0]}.db"), network.path("bench.backup")
    quiet = _median_seconds(lambda: _back_up(network, database, target), ROUNDS)
    took: list[float] = []
    rates: dict[bool, list[float]] = {False: [], True: []}
    for is_backed_up in (False, True) * ROUNDS:
        paying = asyncio.create_task(run_payments(network, names, count=payments, in_flight=IN_FLIGHT))
        while is_backed_up and not paying.done():
            started = time.perf_counter()
            await asyncio.to_thread(_back_up, network, database, target)
            took.append(time.perf_counter() - started)
        rates[is_backed_up].append((await paying).per_second)
    return {
        "backup s": quiet,
        "backup under payments s": statistics.median(took),
        "slowest backup under payments s": max(took),
        "payments/s": statistics.median(rates[False]),
        "payments kept meanwhile": statistics.median(rates[True]) / statistics.median(rates[False]),
    }


def _back_up(network: Network, database: Path, target: Path) -> None:
    network.run("stmgr", "backup", "-d", database, "-o", target)
    target.unlink()
