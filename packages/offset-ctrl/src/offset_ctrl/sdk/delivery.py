"""
A commit, delivered to the address that a payment request names. Spec 13 §7.

    request = parse_uri_of(PaymentRequest, text)
    receipt = await node.pay(request.invoice, deliver_to(request.delivery))

Delivering twice does no harm, so whatever goes wrong on the way is tried again, until the seller's program has said yes
or no. Its answer proves nothing and need not: the receipt comes to our own node.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from offset_crypto.aio import Proxy
from offset_ctrl.connection.posting import Answer, PostFailed, post
from offset_proto.errors import OffsetError
from offset_proto.files import COMMIT
from offset_proto.messages.payment import Commit
from offset_proto.web_address import parse_web_address

__all__ = ["DeliveryFailed", "deliver_commit", "deliver_to"]

log = logging.getLogger("offset.sdk")

ATTEMPT_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 0.5
"""Between the first two attempts; then twice as long each time."""

RETRY_SECONDS_MAX: Final = 60.0
REASON_CHARACTERS_MAX: Final = 200
_LATER: Final = frozenset({408, 425, 429})
"""Too slow, too early, too many: the same request may be taken later. RFC 9110, 8470, 6585."""

_HEADERS: Final = {"Content-Type": "application/json", "Accept": "application/json"}


class DeliveryFailed(OffsetError):
    """
    The seller's program has not taken the commit; it can be handed over in another way.

    Attributes:
        is_refused: It has said no. Otherwise nothing is known, and it may have got it.
    """

    def __init__(self, reason: str, *, is_refused: bool) -> None:
        super().__init__(reason)
        self.is_refused = is_refused


def deliver_to(
    address: str, seconds: float = 60.0, *, proxy: Proxy | None = None
) -> Callable[[Commit], Awaitable[None]]:
    """What `Node.pay` takes to hand the commit over: `deliver_commit` to *address*."""
    parse_web_address(address, "the delivery address")
    return lambda commit: deliver_commit(address, commit, seconds, proxy=proxy)


async def deliver_commit(address: str, commit: Commit, seconds: float = 60.0, *, proxy: Proxy | None = None) -> None:
    """
    Deliver *commit* to the seller's program.

    Args:
        address: As the payment request names it.
        commit: Of the payment. Whoever has it can do nothing but let the seller collect.
        seconds: For all attempts together.
        proxy: The way there, such as `Node.proxy`: then the seller does not see from where it comes.

    Raises:
        InvalidInput: There must be no request to this address.
        DeliveryFailed: It was not taken, and why.
    """
    where = parse_web_address(address, "the delivery address")
    body = COMMIT.format(commit).encode()
    reason, wait = "there was no time for an attempt", RETRY_SECONDS
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    answer = await post(where, _HEADERS, body, ATTEMPT_SECONDS, proxy)
                except PostFailed as error:
                    reason = str(error)
                else:
                    if 200 <= answer.status < 300:
                        return
                    reason = f"{address} has answered {answer.status}{_said(answer)}"
                    if answer.status not in _LATER and answer.status < 500:
                        raise DeliveryFailed(reason, is_refused=True)
                log.info("a commit is delivered again: %s", reason)
                await asyncio.sleep(wait)
                wait = min(2 * wait, RETRY_SECONDS_MAX)
    except TimeoutError:
        raise DeliveryFailed(f"not within {seconds:g} seconds: {reason}", is_refused=False) from None


def _said(answer: Answer) -> str:
    """The reason, where there is one that a person can read."""
    try:
        problem: Any = json.loads(answer.body)
        detail = problem["detail"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
    if not isinstance(detail, str) or not detail.isprintable():
        return ""
    return f": {detail[:REASON_CHARACTERS_MAX]}"
