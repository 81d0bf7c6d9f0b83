"""
The life of one payment as a table: states x events -> state and effects. Pure.

The states are described at `PaymentState`.

Rules.
1. After the commit was handed out, only the node's word that the payment was cancelled makes the payment FAILED.
   Anything else that goes wrong makes it UNKNOWN, since a person who reads "failed" pays again.
2. A receipt that was checked proves the payment in every state that is not final. PAID never changes again; and once a
   payment is FAILED, its node has no receipt to give.
3. A commit that arrives after the payment was given up is dropped: nobody has been told about it.

Calling contract. Call `advance` with the present state and the event. Perform the effects in their order, and take
over the new state only when the effects that write have succeeded: a commit is on disk before anybody sees it.
"""

import enum
from typing import Final

__all__ = ["TRANSITIONS", "PaymentEffect", "PaymentEvent", "PaymentState", "advance"]


class PaymentState(enum.Enum):
    """
    Where a payment stands.

    Attributes:
        SENDING: Routes are asked for, and transactions are sent. There is no commit yet.
        COMMITTED: There is a commit. No credit has moved yet, but whoever has the commit can let the seller collect.
        CLOSING: The payment was given up before there was a commit, and the node has not said yet that it is over.
        PAID: The seller has collected, and a receipt proves it. This never changes again.
        FAILED: Nothing was paid, and nothing will be.
        UNKNOWN: The seller may have the commit, and nobody can tell how the payment ended. The buyer must not pay again
            without asking the seller. A receipt that turns up makes the payment PAID, and the node's word that it was
            cancelled makes it FAILED.
    """

    SENDING = "sending"
    COMMITTED = "committed"
    CLOSING = "closing"
    PAID = "paid"
    FAILED = "failed"
    UNKNOWN = "unknown"


class PaymentEvent(enum.Enum):
    """What can happen to a payment."""

    COMMIT = "all transactions are complete, and the node has built the commit"
    GIVE_UP = "the app, a limit or an error ends the search for a commit"
    BREAK_OFF = "nobody looks after the payment any more"
    RECEIPT = "the node has a receipt, and it was checked against the invoice"
    CANCELLED = "the node says that the payment was cancelled"
    FORGOTTEN = "the node does not know the payment, and no receipt was kept"


class PaymentEffect(enum.Enum):
    """What the shell does because of an event."""

    WRITE_COMMIT = "write the commit down"
    HAND_OUT_COMMIT = "give the commit to those who wait for it"
    TELL_FAILED = "tell those who wait that nothing was paid"
    TELL_UNKNOWN = "tell those who wait that the end is not known"
    TELL_RECEIPT = "give the receipt to those who wait for it"


_S, _V, _E = PaymentState, PaymentEvent, PaymentEffect
_HAND_OUT = (_E.WRITE_COMMIT, _E.HAND_OUT_COMMIT)
_FAILED, _UNKNOWN, _RECEIPT = (_E.TELL_FAILED,), (_E.TELL_UNKNOWN,), (_E.TELL_RECEIPT,)

TRANSITIONS: Final[dict[tuple[PaymentState, PaymentEvent], tuple[PaymentState, tuple[PaymentEffect, ...]]]] = {
    (_S.SENDING, _V.COMMIT): (_S.COMMITTED, _HAND_OUT),
    (_S.SENDING, _V.GIVE_UP): (_S.CLOSING, _FAILED),
    (_S.SENDING, _V.BREAK_OFF): (_S.CLOSING, _FAILED),
    (_S.SENDING, _V.RECEIPT): (_S.PAID, _RECEIPT),
    (_S.SENDING, _V.CANCELLED): (_S.FAILED, _FAILED),
    (_S.SENDING, _V.FORGOTTEN): (_S.FAILED, _FAILED),
    (_S.COMMITTED, _V.BREAK_OFF): (_S.UNKNOWN, _UNKNOWN),
    (_S.COMMITTED, _V.RECEIPT): (_S.PAID, _RECEIPT),
    (_S.COMMITTED, _V.CANCELLED): (_S.FAILED, _FAILED),
    (_S.COMMITTED, _V.FORGOTTEN): (_S.UNKNOWN, _UNKNOWN),
    (_S.CLOSING, _V.RECEIPT): (_S.PAID, _RECEIPT),
    (_S.CLOSING, _V.CANCELLED): (_S.FAILED, ()),
    (_S.CLOSING, _V.FORGOTTEN): (_S.FAILED, ()),
    (_S.UNKNOWN, _V.RECEIPT): (_S.PAID, _RECEIPT),
    (_S.UNKNOWN, _V.CANCELLED): (_S.FAILED, ()),
}
"""Each pair that changes something; in all others the state stays, and nothing is to be done."""


def advance(state: PaymentState, event: PaymentEvent) -> tuple[PaymentState, tuple[PaymentEffect, ...]]:
    """The state after *event*, and what to do because of it."""
    return TRANSITIONS.get((state, event), (state, ()))
