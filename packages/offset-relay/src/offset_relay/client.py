"""
The node's side of a relay: who may have a tunnel. Spec 03 §5.2.

`Listener` judges what a relay announces. It is a pure engine: the shell opens links, sends what it asks
for, and tells how attempts ended.
"""

from dataclasses import dataclass

from offset_proto.messages.relay import IncomingConnection, RejectConnection
from offset_proto.types import PublicKey

__all__ = ["AcceptTunnel", "Listener", "SendReject"]


@dataclass(frozen=True, slots=True)
class AcceptTunnel:
    """Open a second link to the relay and accept this connector on it."""

    public_key: PublicKey


@dataclass(frozen=True, slots=True)
class SendReject:
    """Send on the listen link."""

    message: RejectConnection


class Listener:
    """
    One listen link.

    Args:
        allowed: Keys that may have a tunnel; may be replaced at any time.
    """

    def __init__(self, allowed: frozenset[PublicKey]) -> None:
        self.allowed = allowed
        self._accepting: set[PublicKey] = set()

    def receive(self, message: IncomingConnection) -> AcceptTunnel | SendReject | None:
        """
        The relay announces a connector.

        At most one accept runs for a key, whatever the relay says (D20): a repetition is ignored.
        """
        public_key = message.public_key
        if public_key not in self.allowed:
            return SendReject(RejectConnection(public_key))
        if public_key in self._accepting:
            return None
        self._accepting.add(public_key)
        return AcceptTunnel(public_key)

    def accept_ended(self, public_key: PublicKey, *, accepted: bool) -> SendReject | None:
        """An accept came to its end; one that did not reach the relay is rejected."""
        self._accepting.discard(public_key)
        return None if accepted else SendReject(RejectConnection(public_key))
