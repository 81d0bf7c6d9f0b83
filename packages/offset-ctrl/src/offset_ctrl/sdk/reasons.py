"""
Why a payment can not be made, as far as that can be found out with a handful of questions.

No route. The index server is asked for smaller amounts. A route for one credit comes with its capacity, and the next
question is for one credit more than the best one carries, until there is no better one. So each question finds the next
larger route, and `ROUTE_QUESTIONS_MAX` of them usually find the largest. What each friend carries at the first hop is
asked for as the route that has nobody in between. A payment may be split over all friends. So their sum tells whether
our own credit is too small, or something further on; and where it suffices, no more friends are asked for.

Transactions that failed. The protocol says that one has failed and never where. Two cases can be told all the same.
Where the seller has accepted another part of the payment and there is one mediator on the route, it was the mediator,
since the seller does not refuse a part of a payment that it takes part in. And with nobody between buyer and seller,
nobody else can have refused but our own node, the node of the seller, and the seller. In this order:

1. The report says that nothing can pass on the link: our node has sent nothing.
2. The friend has declared less credit for us than the part needs. Our node does not know that limit, and the friend's
   node holds to it. An index server knows what was declared, and is asked for it, for a few seconds.
3. What was declared suffices: it was the seller. Nobody could say what was declared: it may be any of them.
"""

import asyncio
from typing import Final

from offset_ctrl.connection.client import RoutesUnavailable
from offset_ctrl.connection.session import NodeSession
from offset_ctrl.rules.capacity import direct_capacity
from offset_ctrl.rules.entry_words import friend_name
from offset_ctrl.rules.suspicion import Sent
from offset_ctrl.sdk.capacity import routes_request
from offset_ctrl.sdk.failures import (
    AmountTooLarge,
    FriendNotReady,
    MediatorRefused,
    NoFriendOnline,
    NoRoute,
    NotEnoughCredit,
    PartsRefused,
    PaymentFailed,
    SellerRefused,
    SellerUnknown,
)
from offset_proto.files import Invoice
from offset_proto.messages.index import MultiRoute
from offset_proto.messages.report import (
    ChannelConsistentReport,
    FriendLivenessReport,
    FriendReport,
    FriendStatusReport,
)
from offset_proto.rate import max_payable
from offset_proto.report_view import ReportView
from offset_proto.types import Currency, PublicKey

__all__ = ["largest_payable", "why_no_route", "why_refused"]

ROUTE_QUESTIONS_MAX: Final = 4
"""Questions for smaller amounts."""

FRIENDS_ASKED_MAX: Final = 16
"""Friends whose credit is asked for; with more of them it stays unknown."""

LIMIT_SECONDS: Final = 3.0
"""To hear what a friend has declared, once a transaction to it has failed."""


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
    if (here := _why_not_here(session.report, invoice)) is not None:
        return here
    friends = [key for key, friend in session.report.friends.items() if friend.liveness is FriendLivenessReport.ONLINE]
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


def _why_not_here(report: ReportView, invoice: Invoice) -> NoRoute | None:
    """What the report alone shows; None: that a payment could begin."""
    if invoice.dest_public_key == report.local_public_key:
        return NoRoute("this invoice is your own")
    online = [friend for friend in report.friends.values() if friend.liveness is FriendLivenessReport.ONLINE]
    if not online:
        return NoFriendOnline()
    if not any(_has(friend, invoice.currency) for friend in report.friends.values()):
        return NoRoute(f"no friend of yours has {invoice.currency}")
    if not any(_has(friend, invoice.currency) for friend in online):
        return NoRoute(f"no friend of yours that is online has {invoice.currency}")
    return None


def _has(friend: FriendReport, currency: Currency) -> bool:
    """Whether something could pass in *currency*; where both disagree about the balances, that is not known."""
    channel = friend.channel_status
    return not isinstance(channel, ChannelConsistentReport) or any(
        each.currency == currency for each in channel.currency_reports
    )


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


async def why_refused(
    session: NodeSession, invoice: Invoice, failed: list[Sent], *, has_answers: bool
) -> PaymentFailed:
    """
    Who has refused the parts *failed*, the last one of which ended the search.

    Args:
        session: To the node.
        invoice: What was to be paid.
        failed: Not empty.
        has_answers: The seller has accepted another part of the payment.

    Raises:
        NodeConnectionError, ConnectionClosed: As `NodeSession.insist`.
    """
    number, mediators = len(failed), len(failed[-1].public_keys) - 2
    if mediators == 0 and not has_answers:
        return await _why_friend_refused(session, invoice, failed)
    if mediators == 0:
        return SellerRefused(number)
    if mediators == 1 and has_answers:
        return MediatorRefused(number, position=1)
    return PartsRefused(number)


async def _why_friend_refused(session: NodeSession, invoice: Invoice, failed: list[Sent]) -> PaymentFailed:
    """Why the last part has failed, which went to the seller with nobody in between."""
    number, seller = len(failed), invoice.dest_public_key
    why = _why_not_ready(session.report, seller, invoice.currency)
    if why is not None:
        return FriendNotReady(why) if number == 1 else PartsRefused(number, why)
    name = friend_name(session.report, seller)
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            credit = direct_capacity(await _ask(session, invoice, seller, 1))
    except (RoutesUnavailable, TimeoutError):
        words = (
            f"there is not enough credit with {name}, or its invoice is paid by another payment or not open any more"
        )
        return PartsRefused(number, f"your node or the seller refused: {words}")
    if credit < failed[-1].dest_payment:
        return NotEnoughCredit(credit, invoice.currency, name)
    return SellerRefused(number)


def _why_not_ready(report: ReportView, key: PublicKey, currency: Currency) -> str | None:
    """Why nothing can be sent to a friend now; None: as far as the report says, it can."""
    friend, name = report.friends.get(key), friend_name(report, key)
    if friend is None:
        return f"{name} is no friend"
    if friend.status is not FriendStatusReport.ENABLED:
        return f"{name} is disabled"
    if friend.liveness is not FriendLivenessReport.ONLINE:
        return f"{name} is offline"
    if not isinstance(friend.channel_status, ChannelConsistentReport):
        return f"you and {name} disagree about the balance"
    if not _has(friend, currency):
        return f"{currency} is not open on both sides with {name}"
    return None
