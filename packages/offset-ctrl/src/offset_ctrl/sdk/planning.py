"""
What a payment would do now, without doing it: an index server is asked for routes, and nothing else happens.

A plan holds as long as nobody else uses the same credit. Nothing is reserved, and `Node.pay` asks anew.
"""

from dataclasses import dataclass, replace

from offset_ctrl.connection.client import RoutesUnavailable
from offset_ctrl.connection.session import NodeSession
from offset_ctrl.rules.capacity import Largest, friend_credits, payable
from offset_ctrl.rules.routes import Part
from offset_ctrl.sdk.capacity import Capacity, ask_friends, ask_largest
from offset_ctrl.sdk.failures import AmountTooLarge, NotEnoughCredit, PaymentFailed
from offset_ctrl.sdk.search import PayOptions, RouteSearch
from offset_proto.files import Invoice

__all__ = ["PaymentPlan", "plan_payment"]


@dataclass(frozen=True, slots=True)
class PaymentPlan:
    """
    How an invoice would be paid now.

    Attributes:
        invoice: What is to be paid.
        parts: The transactions that would be sent; empty where it can not be paid.
        largest: The most that could be paid to this seller, without regard to limits of fees; None: nobody could be
            asked.
        failure: Why it can not be paid; None where it can.
    """

    invoice: Invoice
    parts: tuple[Part, ...]
    largest: Largest | None
    failure: PaymentFailed | None

    @property
    def fees(self) -> int:
        """Credits for mediators, over all parts."""
        return sum(part.fees for part in self.parts)

    @property
    def total(self) -> int:
        """Credits that leave the buyer."""
        return sum(part.dest_payment for part in self.parts) + self.fees


async def plan_payment(session: NodeSession, invoice: Invoice, options: PayOptions) -> PaymentPlan:
    """
    How *invoice* would be paid now. Routes are asked for once, also where index servers know none yet.

    Args:
        session: To the node.
        invoice: What is to be paid.
        options: As for the payment; the limits of time have no meaning here.

    Raises:
        NodeConnectionError, ConnectionClosed: The connection to the node was lost.
    """
    failure: PaymentFailed | None = None
    parts: tuple[Part, ...] = ()
    try:
        choice = await RouteSearch(session, invoice, replace(options, route_seconds=0.0)).choose(
            invoice.dest_payment, 0
        )
        parts = choice.parts
    except PaymentFailed as error:
        failure = error
    if options.routes is not None:
        return PaymentPlan(invoice, parts, Largest(max(map(payable, options.routes), default=0), True), failure)
    try:
        largest = await _largest(session, invoice)
    except RoutesUnavailable:
        largest = None
    if isinstance(failure, NotEnoughCredit | AmountTooLarge) and largest is not None and largest.amount:
        failure = AmountTooLarge(largest.amount, invoice.currency)  # over all routes together, which says more
    return PaymentPlan(invoice, parts, largest, failure)


async def _largest(session: NodeSession, invoice: Invoice) -> Largest:
    report, currency = session.report, invoice.currency
    friends = friend_credits(report.friends, currency)
    local = report.local_public_key
    pay = await ask_friends(session.request_routes, local, friends, currency)
    most = Capacity(friends, pay, None).total_pay
    return await ask_largest(session.request_routes, local, invoice.dest_public_key, currency, most)
