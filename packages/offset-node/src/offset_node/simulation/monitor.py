"""
The invariants of spec 04 §11, looked at after each batch that any node stored.

Both sides of a friendship are compared as they are stored: with the token at rest they mirror each other, with a
token under way it builds on the other side's last one. No node may ever sign two successors of one token. One that was
restored does not know what it signed, so there the friends count: no friend ever sees two. Two sides of which one has
not heard the other since it was restored need not agree. Of a malicious node nothing is expected, but everything of its
friends.
"""

from collections import OrderedDict
from collections.abc import Iterable

from offset_funder.invariants import SeenTokens, check_channel, check_ledger, check_pair
from offset_funder.mutations import AddFriend, FriendMutation, RemoveFriend
from offset_funder.state import Consistent, Friend, Incoming, Outgoing, TokenChannel
from offset_node.simulation.malice import MaliciousNode
from offset_node.simulation.nodes import SimulatedNode
from offset_node.state import Mutation
from offset_proto.errors import InvariantBroken, invariant
from offset_proto.messages.friend import FriendMessage
from offset_proto.types import PublicKey, Signature

__all__ = ["Monitor"]

TOKENS_REMEMBERED = 16
"""Tokens of each side of a friendship whose successor is remembered; one of an older token would break the channel."""


class Monitor:
    """
    Looks at every node.

    Attributes:
        checked: Number of comparisons made.
    """

    def __init__(self) -> None:
        self.nodes: dict[PublicKey, SimulatedNode] = {}
        self.checked = 0
        self.tokens = 0
        self.seen = SeenTokens()
        self._successors: dict[tuple[PublicKey, PublicKey], OrderedDict[Signature, Signature]] = {}

    def batch_stored(self, node: SimulatedNode, mutations: Iterable[Mutation]) -> None:
        """
        Check what the batch touched.

        Raises:
            InvariantBroken: Names the rule, the node and the friend.
        """
        touched: dict[PublicKey, None] = {}
        for mutation in mutations:
            match mutation:
                case FriendMutation(public_key, _) | AddFriend(public_key) | RemoveFriend(public_key):
                    touched[public_key] = None
                case _:
                    pass
        stored, computed = node.stored.funder, node.engine.funder_state
        invariant(stored.payments == computed.payments, "stored payments are the engine's")
        invariant(stored.open_transactions == computed.open_transactions, "stored transactions are the engine's")
        invariant(stored.open_invoices == computed.open_invoices, "stored invoices are the engine's")
        for key in touched:
            try:
                invariant(stored.friends.get(key) == computed.friends.get(key), "stored friends are the engine's")
                self._check_friend(node, key, stored.friends.get(key))
            except InvariantBroken as error:
                raise InvariantBroken(f"{node.public_key!r} with {key!r}: {error}") from None

    def message_stored(self, node: SimulatedNode, sender: PublicKey, message: FriendMessage) -> None:
        """Remember the token that a friend has seen. Raises InvariantBroken where it is the second on one token."""
        if not isinstance(self.nodes.get(sender), MaliciousNode):
            self.seen.see(sender, node.public_key, message)

    def restored(self, node: SimulatedNode) -> None:
        """What the node signed and nobody saw counts no more."""
        for pair in [pair for pair in self._successors if pair[0] == node.public_key]:
            del self._successors[pair]

    def _check_friend(self, node: SimulatedNode, key: PublicKey, friend: Friend | None) -> None:
        if friend is None or not isinstance(friend.channel, Consistent):
            return
        channel = friend.channel.token_channel
        self.checked += 1
        check_channel(channel)
        for ledger in channel.ledgers.values():
            check_ledger(ledger)
        if isinstance(channel.direction, Outgoing):
            self._check_successor(node.public_key, key, channel.direction)
        other = self.nodes.get(key)
        if other is None or isinstance(node, MaliciousNode) or isinstance(other, MaliciousNode):
            return
        theirs = other.stored.funder.friends.get(node.public_key)
        if theirs is None or not (friend.is_heard and theirs.is_heard):
            return
        if isinstance(theirs.channel, Consistent):
            _check_sides(channel, theirs.channel.token_channel)

    def _check_successor(self, local: PublicKey, remote: PublicKey, direction: Outgoing) -> None:
        token = direction.move_token_out
        successors = self._successors.setdefault((local, remote), OrderedDict())
        known = successors.get(token.old_token)
        if known is None:
            self.tokens += 1
            successors[token.old_token] = token.new_token
            if len(successors) > TOKENS_REMEMBERED:
                successors.popitem(last=False)
        else:
            invariant(known == token.new_token, "no token has two successors")


def _check_sides(ours: TokenChannel, theirs: TokenChannel) -> None:
    match ours.direction, theirs.direction:
        case Outgoing(sent), Outgoing(waiting):
            follows = sent.old_token == waiting.new_token or waiting.old_token == sent.new_token
            invariant(follows, "a token under way builds on the other side's last one")
        case Incoming(), Incoming():
            raise InvariantBroken("never both sides hold the token")
        case _:
            check_pair(ours, theirs)
            invariant(ours.active_local == theirs.active_remote, "each side knows what the other announced")
            invariant(ours.active_remote == theirs.active_local, "each side knows what the other announced")
