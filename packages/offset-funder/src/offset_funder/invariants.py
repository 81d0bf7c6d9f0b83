"""
Rules that hold of every state, checked when one was loaded and after each step of a test. Spec 04 §11.

What can be checked on one side of a friendship is in `check_state`; what needs both sides, while no token is
under way, in `check_pair`. `SeenTokens` watches what friends see, over all lives of a node.
"""

from offset_funder.state import Consistent, FunderState, Incoming, Ledger, Outgoing, TokenChannel
from offset_proto.errors import invariant
from offset_proto.messages.friend import FriendMessage, MoveTokenRequest
from offset_proto.types import I128_MAX, PublicKey, Signature

__all__ = ["SeenTokens", "check_channel", "check_ledger", "check_pair", "check_state"]


def check_state(state: FunderState) -> None:
    """
    Check every friend of a state.

    Raises:
        InvariantBroken: Names the rule.
    """
    for key, friend in state.friends.items():
        invariant(friend.local_public_key == state.local_public_key, "a friend has our own key as local key")
        invariant(friend.remote_public_key == key, "a friend is stored under its key")
        if isinstance(friend.channel, Consistent):
            channel = friend.channel.token_channel
            check_channel(channel)
            for ledger in channel.ledgers.values():
                check_ledger(ledger)


def check_channel(channel: TokenChannel) -> None:
    """
    Check which ledgers a channel has.

    Raises:
        InvariantBroken: Names the rule.
    """
    both = channel.active_local & channel.active_remote
    invariant(set(channel.ledgers) == both, "there is a ledger for every currency that both sides want")
    for currency, ledger in channel.ledgers.items():
        invariant(ledger.currency == currency, "a ledger is stored under its currency")


def check_ledger(ledger: Ledger) -> None:
    """
    Check the sums of one ledger.

    Raises:
        InvariantBroken: Names the rule.
    """
    local = sum(transaction.frozen_credits for transaction in ledger.pending_local.values())
    remote = sum(transaction.frozen_credits for transaction in ledger.pending_remote.values())
    invariant(ledger.local_pending_debt == local, "local pending debt is what our requests freeze")
    invariant(ledger.remote_pending_debt == remote, "remote pending debt is what the friend's requests freeze")
    invariant(ledger.balance + ledger.remote_pending_debt <= I128_MAX, "the balance can not overflow")
    invariant(ledger.balance - ledger.local_pending_debt >= -I128_MAX, "the balance can not underflow")


def check_pair(first: TokenChannel, second: TokenChannel) -> None:
    """
    Check the two sides of a channel while no token is under way.

    Raises:
        InvariantBroken: Names the rule.
    """
    holders = [isinstance(side.direction, Incoming) for side in (first, second)]
    invariant(sorted(holders) == [False, True], "exactly one side holds the token")
    holder, sender = (first, second) if holders[0] else (second, first)
    assert isinstance(holder.direction, Incoming)
    assert isinstance(sender.direction, Outgoing)
    held = holder.direction.move_token_in.new_token
    invariant(held == sender.direction.move_token_out.new_token, "the token held is the token sent")
    invariant(set(first.ledgers) == set(second.ledgers), "both sides have the same ledgers")
    for currency, ledger in first.ledgers.items():
        mirror = second.ledgers[currency]
        invariant(ledger.balance == -mirror.balance, "balances mirror each other")
        invariant(ledger.pending_local == mirror.pending_remote, "our requests are the friend's pending ones")
        invariant(ledger.pending_remote == mirror.pending_local, "the friend's requests are our pending ones")


class SeenTokens:
    """
    All tokens that friends have seen, and what each was built on; whoever watches a network keeps one.

    It grows with each token: what a node may have forgotten, whoever watches it must not forget.
    """

    def __init__(self) -> None:
        self._successors: dict[tuple[PublicKey, PublicKey, Signature], Signature] = {}

    @property
    def tokens(self) -> int:
        """The number of tokens seen."""
        return len(self._successors)

    def see(self, sender: PublicKey, receiver: PublicKey, message: FriendMessage) -> None:
        """
        A message of *sender* has reached *receiver*.

        Raises:
            InvariantBroken: It is a second successor of a token.
        """
        if isinstance(message, MoveTokenRequest):
            token = message.move_token
            known = self._successors.setdefault((sender, receiver, token.old_token), token.new_token)
            invariant(known == token.new_token, "no friend sees two successors of a token")

    def forget(self, one: PublicKey, other: PublicKey) -> None:
        """One of two friends has removed the other, so that a channel of theirs begins where channels begin."""
        self._successors = {key: token for key, token in self._successors.items() if {*key[:2]} != {one, other}}
