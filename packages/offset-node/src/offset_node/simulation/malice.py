"""A malicious node, which repeats, reorders, withholds or alters what it says to friends."""

from offset_crypto.signed import move_token_buffer
from offset_node.simulation.nodes import SimulatedNode
from offset_node.simulation.world import LinkEnd
from offset_proto.message import replace
from offset_proto.messages.friend import (
    CancelSendFundsOp,
    FriendMessage,
    FriendTcOp,
    MoveToken,
    MoveTokenRequest,
    RequestSendFundsOp,
    ResetTerms,
)
from offset_proto.types import HashResult, Signature, Uid

__all__ = ["MaliciousNode"]

ABUSE_SHARE = 0.2
"""The share of its messages that a malicious node tampers with."""


class MaliciousNode(SimulatedNode):
    """
    A node that turns malicious once the network stands.

    Attributes:
        is_malicious: Whether it is at the moment.
    """

    is_malicious = False

    def start(self) -> None:
        """Run, from what is stored; messages that were withheld are forgotten."""
        self._withheld: list[tuple[LinkEnd, FriendMessage]] = []
        super().start()

    def say(self, end: LinkEnd, message: FriendMessage) -> None:
        """Send a message to a friend, or tamper with it."""
        if not self.is_malicious or self._world.chance.random() > ABUSE_SHARE:
            end.send(message)
            return
        match self._world.chance.randrange(5):
            case 0:
                for _ in range(self._world.chance.randrange(2, 20)):
                    end.send(message)
            case 1:
                self._withheld.append((end, message))
            case 2:
                end.send(message)
                for late_end, late in self._withheld:
                    late_end.send(late)
                self._withheld.clear()
            case 3:
                end.send(self._alter(message, sign=False))
            case _:
                end.send(self._alter(message, sign=True))

    def _alter(self, message: FriendMessage, *, sign: bool) -> FriendMessage:
        match message:
            case MoveTokenRequest(token, token_wanted):
                altered = self._alter_token(token)
                if sign:  # a valid signature under a lie
                    altered = replace(altered, new_token=self._identity.sign(move_token_buffer(altered)))
                return MoveTokenRequest(altered, token_wanted)
            case ResetTerms():
                return replace(message, reset_token=Signature(self._world.chance.randbytes(64)))

    def _alter_token(self, token: MoveToken) -> MoveToken:
        match self._world.chance.randrange(4):
            case 0:
                return replace(token, new_token=Signature(self._world.chance.randbytes(64)))
            case 1:
                return replace(token, old_token=Signature(self._world.chance.randbytes(64)))
            case 2:
                return replace(token, info_hash=HashResult(self._world.chance.randbytes(32)))
            case _:
                blocks = tuple(
                    replace(block, operations=tuple(map(self._alter_operation, block.operations)))
                    for block in token.currencies_operations
                )
                return replace(token, currencies_operations=blocks)

    def _alter_operation(self, op: FriendTcOp) -> FriendTcOp:
        match op:
            case RequestSendFundsOp():
                return replace(op, left_fees=op.left_fees + 1)
            case _:
                return CancelSendFundsOp(Uid(self._world.chance.randbytes(16)))
