"""
What an app of limited scope is told of the payments of the node. Pure. Spec 12 §3.

A payment is of a currency, and each part of it goes to a friend first. Neither is always there to be seen: a payment
that is new has no parts, and of one that is closed and has none left not even the currency is known.

=======================================  ===================================================================
the payment                              the app
=======================================  ===================================================================
is one that the app has made             is told of it, as it chose currency and routes itself
is of a currency out of scope, or has    is not told of it any more, but for the end of what it was told of
a part that goes to a friend out of it
is open, and has no part yet             is not told of it yet where it sees some friends only
is closed, and nothing of it is open     is told its id and stage, unless it was out of scope before: the app
                                         may have made it before the node was started, and has to learn its end
is open otherwise                        is told of it
=======================================  ===================================================================

What was out of scope once stays so for as long as the app is connected, also when nothing shows it any more.
"""

from offset_node.plugins.scope import ReportScope
from offset_proto.messages.extensions import OpenPaymentReport, OpenPayments
from offset_proto.types import PaymentId

__all__ = ["PaymentsSeen"]


class PaymentsSeen:
    """
    What one connection of an app is told.

    Args:
        scope: Of the app.
        own: The payments that the app has made, as far as this run of the node knows. Those that end are taken out.
    """

    def __init__(self, scope: ReportScope, own: set[PaymentId]) -> None:
        self._scope = scope
        self._own = own
        self._sees_all = scope.friends is None and scope.currencies is None
        self._told = set[PaymentId]()
        self._hidden = set[PaymentId]()

    def make(self, payment_id: PaymentId) -> None:
        """The app makes a payment, which it sees then."""
        if not self._sees_all:
            self._own.add(payment_id)

    def acknowledge(self, payment_id: PaymentId) -> None:
        """The app knows how a payment has ended."""
        self._own.discard(payment_id)

    def filter(self, message: OpenPayments) -> OpenPayments | None:
        """What of *message*, which says all, the app is told; None: nothing. A snapshot is always told."""
        if self._sees_all:
            return message
        if message.is_snapshot:
            self._told.clear()
            self._hidden.intersection_update(each.payment_id for each in message.payments)
        payments = tuple(filter(self._is_told, message.payments))
        self._told.update(each.payment_id for each in payments)
        ended = tuple(filter(self._told.__contains__, message.ended))
        for known in (self._told, self._hidden, self._own):
            known.difference_update(message.ended)
        if not (message.is_snapshot or payments or ended):
            return None
        return OpenPayments(message.is_snapshot, payments, ended)

    def _is_told(self, payment: OpenPaymentReport) -> bool:
        payment_id = payment.payment_id
        if payment_id in self._own:
            return True
        if payment_id in self._hidden or not self._scope.allows_payment(payment):
            self._hidden.add(payment_id)
            return False
        is_new = payment.opt_target is not None and not payment.parts and self._scope.friends is not None
        return payment_id in self._told or not is_new
