"""
What a node counts while it runs. Pure.

The engine counts what it handles, and tells how much of it was stored. How long things take is measured by the shells,
which have a clock; `PaymentClock` is handed one.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from offset_crypto.measures import Distribution
from offset_funder.effects import Occurrence, PaymentFinished
from offset_funder.friend_mutations import PushBackPendingBackwardsOp
from offset_funder.mutations import FriendMutation
from offset_node.state import Mutation
from offset_proto.messages.friend import CancelSendFundsOp
from offset_proto.types import PaymentId

__all__ = ["PAYMENTS_TIMED_MAX", "NodeCounts", "PaymentClock"]

PAYMENTS_TIMED_MAX: Final = 1024
"""Payments whose beginning is remembered. With more, those that began first are not timed."""


@dataclass
class NodeCounts:
    """What a node counts while it runs, for metrics; written by the thread of the node alone."""

    events: int = 0
    batches: int = 0
    mutations: int = 0
    refused_events: int = 0
    requests_cancelled: int = 0
    payments_paid: int = 0
    apps: int = 0
    friends_online: int = 0
    friends_overdue: int = 0
    friends_unheard: int = 0
    long_pending: int = 0
    inbox: int = 0
    inbox_pauses: int = 0
    occurrences: dict[str, int] = field(
        default_factory=lambda: {"InvoicePaid": 0, "PaymentFinished": 0, "RequestForwarded": 0}
    )
    commits: Distribution = field(default_factory=Distribution)

    def take(self, mutations: Iterable[Mutation], occurrences: Iterable[Occurrence]) -> None:
        """A batch is stored."""
        cancelled, is_empty = 0, True
        for mutation in mutations:
            is_empty = False
            match mutation:
                case FriendMutation(_, PushBackPendingBackwardsOp(_, CancelSendFundsOp())):
                    cancelled += 1
        self.requests_cancelled += cancelled
        self.batches += not is_empty
        for occurrence in occurrences:
            self.occurrences[type(occurrence).__name__] += 1
            if isinstance(occurrence, PaymentFinished) and occurrence.receipt is not None:
                self.payments_paid += 1


class PaymentClock:
    """
    How long payments take, from the request of an app to the receipt.

    An app can ask for payments that never end. They take room until `PAYMENTS_TIMED_MAX` others have begun, and keep
    none that begins later from being timed.

    Args:
        now: Seconds, from any beginning.

    Attributes:
        paid: Seconds that payments took; those that were cancelled are left out.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.paid = Distribution()
        self._now = now
        self._began: dict[PaymentId, float] = {}

    def begin(self, payment_id: PaymentId) -> None:
        """An app has asked for a payment."""
        self._began.setdefault(payment_id, self._now())
        if len(self._began) > PAYMENTS_TIMED_MAX:
            del self._began[next(iter(self._began))]

    def end(self, finished: PaymentFinished) -> None:
        """A payment has its end."""
        began = self._began.pop(finished.payment_id, None)
        if began is not None and finished.receipt is not None:
            self.paid.observe(self._now() - began)
