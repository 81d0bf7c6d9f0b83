"""
Why a payment can not be made, as far as that can be found out with a handful of questions.

No route. The index server is asked for smaller amounts. A route for one credit comes with its capacity, and the next
question is for one credit more than the best one carries, until there is no better one. So each question finds the next
larger route, and `ROUTE_QUESTIONS_MAX` of them usually find the largest. What each friend carries at the first hop is
asked for as the route that has nobody in between. A payment may be split over all friends. So their sum tells whether
our own credit is too small, or something further on; and where it suffices, no more friends are asked for.

Transactions that failed. The protocol says that one has failed and never where. Two cases can be told all the same.
With nobody between buyer and seller, it was the seller. And where the seller has accepted another part of the payment
and there is one mediator on the route, it was the mediator, since the seller does not refuse a part of a payment that
it takes part in.
"""

from typing import Final

from offset_ctrl.connection.client import RoutesUnavailable
from offset_ctrl.connection.session import NodeSession
from offset_ctrl.rules.capacity import direct_capacity
from offset_ctrl.sdk.capacity import routes_request
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
from offset_proto.messages.index import MultiRoute
from offset_proto.messages.report import FriendLivenessReport
from offset_proto.rate import max_payable
from offset_proto.types import PublicKey

__all__ = ["largest_payable", "why_no_route", "why_refused"]

ROUTE_QUESTIONS_MAX: Final = 4
"""Questions for smaller amounts."""

FRIENDS_ASKED_MAX: Final = 16
"""Friends whose credit is asked for; with more of them it stays unknown."""


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
        largest = await _largest_to_seller(session, invoice)
        credit = await _credit(session, invoice, sorted(friends)[:FRIENDS_ASKED_MAX])
    except RoutesUnavailable:
        return NoRoute()
    if len(friends) <= FRIENDS_ASKED_MAX and credit < max(invoice.dest_payment, 1):
        return NotEnoughCredit(credit, invoice.currency)
    if largest == 0:
        return SellerUnknown(invoice.currency)
    return AmountTooLarge(largest, invoice.currency)


async def _credit(session: NodeSession, invoice: Invoice, friends: list[PublicKey]) -> int:
    """What *friends* carry from us together; once that suffices for the invoice, the others are not asked for."""
    credit = 0
    for friend in friends:
        if credit >= max(invoice.dest_payment, 1):
            break
        credit += direct_capacity(await _ask(session, invoice, friend, 1))
    return credit


async def _largest_to_seller(session: NodeSession, invoice: Invoice) -> int:
    largest = 0
    for _ in range(ROUTE_QUESTIONS_MAX):
        found = largest_payable(await _ask(session, invoice, invoice.dest_public_key, largest + 1))
        if found <= largest:
            break
        largest = found
    return largest


async def _ask(session: NodeSession, invoice: Invoice, to: PublicKey, amount: int) -> tuple[MultiRoute, ...]:
    local = session.report.local_public_key
    return await session.request_routes(routes_request(invoice.currency, amount, local, to))


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
