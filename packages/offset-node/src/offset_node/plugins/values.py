"""
What hooks are asked about, and what they answer. Pure values; see `offset_node.plugins.hooks`.

How answers come to a verdict: one refusal refuses, whatever others grant; without a refusal, one grant is enough;
where nobody says anything, nothing is allowed.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from offset_proto.messages.app import AppPermissions
from offset_proto.messages.friend import FriendMessage, MoveTokenRequest, RequestSendFundsOp
from offset_proto.types import U128, Currency, PublicKey, Uid

__all__ = ["App", "Forwarding", "Grant", "NotGranted", "Refusal", "Verdict", "decide", "forwardings_of"]


@dataclass(frozen=True, slots=True)
class App:
    """
    An app that is connected.

    Attributes:
        public_key: The key that it proved.
        permissions: What its ticket allows at the moment.
    """

    public_key: PublicKey
    permissions: AppPermissions


@dataclass(frozen=True, slots=True)
class Grant:
    """The request may be carried out, as far as this plugin is concerned."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The request must not be carried out; *reason* goes to the log."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotGranted(Refusal):
    """Nobody granted the request: the app asked for what it has no permission for."""

    reason: str = "the app has no permission for it"


Verdict = Grant | Refusal
"""What all answers to one question come to (`decide`): the node carries the request out, or refuses it."""


@dataclass(frozen=True, slots=True)
class Forwarding:
    """
    A request of a friend that we are asked to forward as mediator.

    Attributes:
        friend: Who sent it.
        route: Who is to have it after us, the next friend first; the last one is the seller.
        currency: Of all amounts.
        request_id: Of the transaction.
        dest_payment: Credits for the seller.
        left_fees: Credits for us and the mediators after us, together.
    """

    friend: PublicKey
    route: tuple[PublicKey, ...]
    currency: Currency
    request_id: Uid
    dest_payment: U128
    left_fees: U128


def decide(answers: Iterable[Grant | Refusal | None]) -> Verdict:
    """The verdict that *answers* come to."""
    granted = False
    for answer in answers:
        if isinstance(answer, Refusal):
            return answer
        granted |= answer is not None
    return Grant() if granted else NotGranted()


def forwardings_of(friend: PublicKey, message: FriendMessage) -> Iterator[Forwarding]:
    """What *message* asks us to forward; requests that end here are none of it."""
    if not isinstance(message, MoveTokenRequest):
        return
    for block in message.move_token.currencies_operations:
        for op in block.operations:
            if isinstance(op, RequestSendFundsOp) and op.route.public_keys:
                yield Forwarding(
                    friend, op.route.public_keys, block.currency, op.request_id, op.dest_payment, op.left_fees
                )
