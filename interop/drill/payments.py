"""
Payments that go on all the time, by apps that use the SDK, whatever is lost meanwhile.

Each way has one payment after another. Where an end of it is away, it is tried again until the end is back, with the
files that are there then: a node that was set up anew has another app and another port.
"""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from interop.load import App, pay_once
from offset_ctrl import PayOptions, connect
from offset_proto.errors import OffsetError

__all__ = ["Payments"]

PAYMENT_SECONDS: Final = 25.0
"""After so long an end is taken to be away, and both are connected to anew."""

AGAIN_SECONDS: Final = 0.5
PAUSE_SECONDS: Final = 0.1
AMOUNT_MAX: Final = 9
OPTIONS: Final = PayOptions(timeout=15.0, route_seconds=5.0)


class Payments:
    """
    Payments on a thread of its own, between `start` and `stop`.

    Args:
        ways: Buyer and seller of each.
        app_of: An app of a node, as it is now.
        currency: What is paid.

    Attributes:
        ended: How many were "paid" and "cancelled", and how many times a payment was "interrupted" by what was lost.
    """

    def __init__(self, ways: tuple[tuple[str, str], ...], app_of: Callable[[str], App], currency: str) -> None:
        self._ways = ways
        self._app_of = app_of
        self._currency = currency
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_held = False
        self.ended: Counter[str] = Counter()

    def start(self) -> None:
        """Begin to pay."""
        self._stop.clear()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="payments")
        self._thread.start()

    def stop(self) -> None:
        """Let what is under way end, and begin nothing more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """For the length of the block, no payment begins but those of the last way."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for buyer, seller in self._ways:
                tasks.create_task(self._pay_on(buyer, seller))

    async def _pay_on(self, buyer: str, seller: str) -> None:
        while not self._stop.is_set():
            if not self._may_pay(buyer, seller):
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            try:
                await self._pay_while_both_are_there(buyer, seller)
            except (OffsetError, OSError, TimeoutError):
                self.ended["interrupted"] += 1
                await asyncio.sleep(AGAIN_SECONDS)

    def _may_pay(self, buyer: str, seller: str) -> bool:
        return not self._stop.is_set() and (not self._is_held or (buyer, seller) == self._ways[-1])

    async def _pay_while_both_are_there(self, buyer: str, seller: str) -> None:
        paying, paid = self._app_of(buyer), self._app_of(seller)
        async with asyncio.timeout(PAYMENT_SECONDS) as patience:
            async with (
                connect(paying.ticket_path, paying.identity_path) as from_node,
                connect(paid.ticket_path, paid.identity_path) as to_node,
            ):
                while self._may_pay(buyer, seller):
                    patience.reschedule(asyncio.get_running_loop().time() + PAYMENT_SECONDS)
                    amount = random.randint(1, AMOUNT_MAX)
                    ended = await pay_once(from_node, to_node, self._currency, amount, OPTIONS)
                    self.ended["cancelled" if ended.receipt is None else "paid"] += 1
                    await asyncio.sleep(PAUSE_SECONDS)
