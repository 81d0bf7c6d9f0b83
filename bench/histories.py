"""
Large histories: their size, and how long a node needs for what people ask of them::

    python -m bench.histories [ENTRIES]

A node that knows nobody gets a history that is written by the code that a node stores with: forwarded payments among
ten friends, evenly over a year. Then it is asked over its socket, as programs ask. Each question is asked five times,
and the median printed.

Ten million entries take ten minutes of a processor, 100 MiB of memory, and 1.3 GB in the folder for temporary files.
"""

import asyncio
import functools
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from interop.network import Network, NodeSpec
from interop.programs import OURS
from offset_crypto.passphrase import open_identity
from offset_ctrl.connection.session import NodeSession, open_session
from offset_ctrl.programs.stctrl.statement import ENTRIES_MAX
from offset_ctrl.rules.statement import build_accounts
from offset_ctrl.sdk.history import collect_range, last_before, last_entries, read_entries
from offset_funder.bookkeeping import Entry
from offset_node.database.sqlite import Database
from offset_node.state import AddEntry
from offset_proto.files import TICKET
from offset_proto.messages.history import EVERY_ENTRY, EntryKind, HistoryFilter
from offset_proto.types import Currency, PublicKey, Uid

FRIENDS = [PublicKey(bytes([number]) * 32) for number in range(1, 11)]
FST = Currency("FST")
YEAR_SECONDS = 365 * 86_400
BATCH = 20_000
ROUNDS = 5


def _entries(count: int, end: int) -> Iterator[AddEntry]:
    """Two for each payment that is forwarded: the friend after us first, then the one before us."""
    chance = Random(count)
    balances = dict.fromkeys(FRIENDS, 0)
    for number in range(1, count + 1, 2):
        before, after = chance.sample(FRIENDS, 2)
        amount, request_id = chance.randrange(1, 10**9), Uid(chance.randbytes(16))
        moment = end - YEAR_SECONDS + YEAR_SECONDS * number // count
        for offset, friend, change, fee, party in ((0, after, -amount, 1, before), (1, before, amount + 1, 0, after)):
            balance = balances[friend]
            balances[friend] += change
            entry = Entry(
                friend, FST, EntryKind.FORWARDED, balance, balance + change, amount, fee, party, request_id=request_id
            )
            yield AddEntry(number + offset, moment, entry)


async def _fill(path: Path, count: int) -> None:
    database = await Database.open(path)
    try:
        await database.load()
        batch: list[AddEntry] = []
        for entry in _entries(count, int(time.time())):
            batch.append(entry)
            if len(batch) == BATCH:
                await database.apply(batch)
                batch.clear()
        await database.apply(batch)
    finally:
        await database.close()


async def _last_fifty(session: NodeSession) -> int:
    return len(await last_entries(session, EVERY_ENTRY, 50))


async def _last_fifty_of_a_friend(session: NodeSession) -> int:
    return len(await last_entries(session, HistoryFilter(FRIENDS[3], None, (), 0, 0), 50))


async def _days_of_a_friend(session: NodeSession, days: int) -> int:
    """As stctrl statement reads and adds them up, half a year ago."""
    since, length = datetime.now(UTC) - timedelta(days=200), timedelta(days=days)
    through, after = await asyncio.gather(last_before(session, since + length), last_before(session, since))
    wanted = HistoryFilter(FRIENDS[3], None, (), 0, 0)
    entries = await collect_range(session, after, through, wanted, ENTRIES_MAX)
    assert entries is not None
    (account,) = build_accounts(entries, {})
    return len(account.entries)


async def _first_that_follows(session: NodeSession, share: float) -> int:
    """From a number on that lies so far within the history, until the first entry is there."""
    since = int(await last_before(session, None) * share) - 1
    async for entry in read_entries(session, since, EVERY_ENTRY, follow=True):
        return entry.number
    return 0


QUESTIONS: dict[str, Callable[[NodeSession], Awaitable[int]]] = {
    "the last 50": _last_fifty,
    "the last 50 of a friend": _last_fifty_of_a_friend,
    "a day of a friend": functools.partial(_days_of_a_friend, days=1),
    "three days of a friend": functools.partial(_days_of_a_friend, days=3),
    "a month of a friend": functools.partial(_days_of_a_friend, days=30),
    "following from near the beginning, the first entry": functools.partial(_first_that_follows, share=0.01),
    "following from the middle, the first entry": functools.partial(_first_that_follows, share=0.5),
    "following from near the end, the first entry": functools.partial(_first_that_follows, share=1),
}


async def _ask(network: Network) -> None:
    ticket = TICKET.load(network.path("A.ticket"))
    app = open_identity(network.path("A-app.ident"), None)
    async with open_session(ticket.address, ticket.public_key, app) as session:
        for name, question in QUESTIONS.items():
            taken, found = [], 0
            for _ in range(ROUNDS):
                started = time.perf_counter()
                found = await question(session)
                taken.append(time.perf_counter() - started)
            print(f"{name}: {1000 * statistics.median(taken):.1f} ms ({found})")


def measure(count: int) -> None:
    """Fill the history of a node with *count* entries, and ask."""
    with tempfile.TemporaryDirectory() as folder, Network(Path(folder)) as network:
        network.add_relay("R")
        network.add_index_servers(["I"])
        network.add_node(NodeSpec("A", "R", "I"))
        server = network.servers["A"]
        server.stop()
        path = Path(server.command[server.command.index("-d") + 1])
        empty = path.stat().st_size
        started = time.perf_counter()
        asyncio.run(_fill(path, count))
        print(f"{count} entries written in {time.perf_counter() - started:.0f} s")
        print(f"memory of who wrote them: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB at most")
        print(f"size: {(path.stat().st_size - empty) / count:.0f} bytes for each entry")
        started = time.perf_counter()
        server.start()
        print(f"start of the node: {time.perf_counter() - started:.1f} s")
        asyncio.run(_ask(network))
        server.stop()
        started = time.perf_counter()
        # All is read before it says that the node does not know those friends.
        subprocess.run([OURS.program("stmgr"), "check-db", "-d", str(path)], check=False, capture_output=True)
        print(f"stmgr check-db: {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    measure(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
