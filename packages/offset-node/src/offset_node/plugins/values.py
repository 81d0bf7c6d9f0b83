"""
What hooks are asked about, and what they answer (`offset_node.plugins.hooks`). All of them are pure values.

The answers to one question come to a verdict. One refusal refuses, whatever others grant. Without a refusal, one grant
is enough. If nobody says anything, nothing is allowed.
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
        public_key: The key that the app has proved.
        permissions: What the app's ticket allows at the moment.
    """

    public_key: PublicKey
    permissions: AppPermissions


@dataclass(frozen=True, slots=True)
class Grant:
    """The request may be carried out, as far as this plugin is concerned."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The request must not be carried out. The node writes *reason* to its log."""

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
        friend: The friend who sent the request.
        route: The nodes that get the request after us. The first one is the next friend, and the last one the seller.
        currency: The currency of all amounts.
        request_id: The id of the transaction.
        dest_payment: How many credits the seller is to get.
        left_fees: How many credits we and the mediators after us are to get together.
    """

    friend: PublicKey
    route: tuple[PublicKey, ...]
    currency: Currency
    request_id: Uid
    dest_payment: U128
    left_fees: U128


def decide(answers: Iterable[Grant | Refusal | None]) -> Verdict:
    """The verdict that *answers* come to: the first refusal, or else any grant, or else no grant."""
    granted = False
    for answer in answers:
        if isinstance(answer, Refusal):
            return answer
        granted |= answer is not None
    return Grant() if granted else NotGranted()


def forwardings_of(friend: PublicKey, message: FriendMessage) -> Iterator[Forwarding]:
    """All requests in a friend's message that we are asked to forward. Requests that end at our node are left out."""
    if not isinstance(message, MoveTokenRequest):
        return
    for block in message.move_token.currencies_operations:
        for op in block.operations:
            if isinstance(op, RequestSendFundsOp) and op.route.public_keys:
                yield Forwarding(
                    friend, op.route.public_keys, block.currency, op.request_id, op.dest_payment, op.left_fees
                )
