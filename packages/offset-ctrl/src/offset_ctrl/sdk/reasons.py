"""
Why a payment can not be made, as far as that can be found out with a handful of questions.

No route. The index server is asked for smaller amounts. A route for one credit comes with its capacity, and the next
question is for one credit more than the best one carries, until there is no better one. So each question finds the next
larger route, and `ROUTE_QUESTIONS_MAX` of them usually find the largest. What each friend carries at the first hop is
asked for in the same way: whether the credit with our friends is too small, or something further on.

Transactions that failed. The protocol says that one has failed and never where. Two cases can be told all the same.
With nobody between buyer and seller, it was the seller. And where the seller has accepted another part of the payment
and there is one mediator on the route, it was the mediator, since the seller does not refuse a part of a payment that
it takes part in.
"""

import os
from typing import Final

from offset_ctrl.connection.client import RoutesUnavailable
from offset_ctrl.connection.session import NodeSession
from offset_ctrl.sdk.failures import (
    AmountTooLarge,
    MediatorRefused,
    NoFriendOnline,
    NoRoute,
    NotEnoughCredit,
    PartsRefused,
    SellerRefused,
    SellerUnknown,
)
from offset_proto.files import Invoice
from offset_proto.messages.index import MultiRoute, RequestRoutes
from offset_proto.messages.report import FriendLivenessReport
from offset_proto.rate import max_payable
from offset_proto.types import PublicKey, Uid

__all__ = ["largest_payable", "why_no_route", "why_refused"]

ROUTE_QUESTIONS_MAX: Final = 4
"""Questions for smaller amounts."""

FRIENDS_ASKED_MAX: Final = 4
"""Friends whose credit is asked for."""


def largest_payable(multi_routes: tuple[MultiRoute, ...]) -> int:
    """Credits that can arrive over the best of *multi_routes*; 0 where there is none."""
    return max(
        (sum(max_payable(route.rate, route.capacity) for route in multi.routes) for multi in multi_routes), default=0
    )


async def why_no_route(session: NodeSession, invoice: Invoice, known: tuple[MultiRoute, ...] | None) -> NoRoute:
    """
    Why no route carries what *invoice* asks for.

    Args:
        session: To the node.
        invoice: Which can not be paid.
        known: The routes that the app has given, where it has: then nobody is asked.

    Raises:
        NodeConnectionError, ConnectionClosed: As `NodeSession.insist`.
    """
    if known is not None:
        return AmountTooLarge(largest_payable(known), invoice.currency) if known else NoRoute()
    friends = [key for key, friend in session.report.friends.items() if friend.liveness is FriendLivenessReport.ONLINE]
    if not friends:
        return NoFriendOnline()
    try:
        largest = await _largest_to(session, invoice, invoice.dest_public_key, ROUTE_QUESTIONS_MAX)
        asked = sorted(friends)[:FRIENDS_ASKED_MAX]
        credit = max([await _largest_to(session, invoice, friend, 1) for friend in asked])
    except RoutesUnavailable:
        return NoRoute()
    if len(asked) == len(friends) and credit < max(invoice.dest_payment, 1):
        return NotEnoughCredit(credit, invoice.currency)
    if largest == 0:
        return SellerUnknown(invoice.currency)
    return AmountTooLarge(largest, invoice.currency)


async def _largest_to(session: NodeSession, invoice: Invoice, destination: PublicKey, questions: int) -> int:
    largest = 0
    for _ in range(questions):
        found = largest_payable(
            await session.request_routes(
                RequestRoutes(
                    request_id=Uid(os.urandom(Uid.SIZE)),
                    currency=invoice.currency,
                    capacity=largest + 1,
                    source=session.report.local_public_key,
                    destination=destination,
                    opt_exclude=None,
                )
            )
        )
        if found <= largest:
            break
        largest = found
    return largest


def why_refused(failed_routes: list[tuple[PublicKey, ...]], *, has_answers: bool) -> PartsRefused:
    """
    Who has refused the transactions over *failed_routes*, the last one of which ended the search.

    Args:
        failed_routes: Keys of buyer, mediators and seller; not empty.
        has_answers: The seller has accepted another part of the payment.
    """
    number, mediators = len(failed_routes), len(failed_routes[-1]) - 2
    if mediators == 0:
        return SellerRefused(number)
    if mediators == 1 and has_answers:
        return MediatorRefused(number, position=1)
    return PartsRefused(number)
