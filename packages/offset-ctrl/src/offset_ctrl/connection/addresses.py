"""
A node that is at one of several addresses: the first one to greet.

Some addresses refuse at once. Others take a connection and say nothing, such as that of a process that is frozen, or
do not answer at all, where a machine is off. Were they tried one after the other, each of those would hold up the next
ones for 8 ticks and more. So the attempts overlap, as those to the addresses of one name do (Happy Eyeballs, RFC 8305
§5). Rules.

1. The attempts begin in the order of the addresses: each `NEXT_ADDRESS_TICKS` after the one before, or as soon as any
   that was under way has failed.
2. The first one that has been greeted wins. Where several have been in the same moment, it is the one that began first.
3. The others are called off, and what they have opened is closed. No attempt outlives the block.
4. Where all have failed, the error names each with its reason, in the order of the addresses.

Why this is right: only one process of a node is at work at a time, the others being standbys, so that whoever greets is
the node, or was it until a moment ago, and then the connection is lost soon and all begins anew. A node that is well
greets within a fraction of a tick, so that as a rule nobody but the first that is there is asked. One that is slow, or
far away, goes on being waited for while the next ones are tried. With the 8 addresses that a ticket can have, the last
attempt begins after 7 ticks at the latest.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol, TypeVar

from offset_crypto.aio import Ticker
from offset_ctrl.connection.errors import NodeConnectionError

__all__ = ["NEXT_ADDRESS_TICKS", "first_to_greet"]

NEXT_ADDRESS_TICKS: Final = 1
"""How long the addresses that are tried have to themselves before the next one is tried as well."""


class _Closable(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=_Closable)


@asynccontextmanager
async def first_to_greet(
    addresses: Sequence[str], open_at: Callable[[str], Coroutine[Any, Any, C]], ticker: Ticker
) -> AsyncIterator[C]:
    """
    What *open_at* has opened at one of *addresses*, for the length of an ``async with`` block; it is closed at its end.

    Args:
        addresses: ``host:port`` each; one at least.
        open_at: Opens a connection to one address and waits for the greeting; it has a time limit of its own.
        ticker: Ticks of the process.

    Raises:
        NodeConnectionError: Each attempt has raised one.
    """
    attempts: list[asyncio.Task[C]] = []
    try:
        won = await _first(attempts, addresses, open_at, NEXT_ADDRESS_TICKS * ticker.seconds)
        for attempt in attempts:
            if attempt is not won:
                _call_off(attempt)
        yield won.result()  # raises: a fault of ours
    finally:
        for attempt in attempts:
            _call_off(attempt)
        await asyncio.gather(*attempts, return_exceptions=True)


async def _first(
    attempts: list[asyncio.Task[C]],
    addresses: Sequence[str],
    open_at: Callable[[str], Coroutine[Any, Any, C]],
    pause: float,
) -> asyncio.Task[C]:
    """The attempt that is the first to end otherwise than in vain; all that have begun are put into *attempts*."""
    later = deque(addresses)
    while True:
        if later:
            attempts.append(asyncio.create_task(open_at(later.popleft())))
        running = [attempt for attempt in attempts if not attempt.done()]
        if not running:
            raise NodeConnectionError(f"ConnectionError({'; '.join(str(each.exception()) for each in attempts)})")
        await asyncio.wait(running, timeout=pause if later else None, return_when=asyncio.FIRST_COMPLETED)
        for attempt in attempts:
            if attempt.done() and not isinstance(attempt.exception(), NodeConnectionError):
                return attempt


def _call_off(attempt: asyncio.Task[C]) -> None:
    attempt.add_done_callback(_close)  # also where it has been greeted just now
    attempt.cancel()


def _close(attempt: asyncio.Task[C]) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()
