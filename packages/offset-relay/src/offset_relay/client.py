"""
The node's side of a relay: who may have a tunnel. Spec 03 §5.2.

`Listener` judges what a relay announces. It is a pure engine: the shell opens links, sends what it asks
for, and tells how attempts ended.
"""

from collections.abc import Callable
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
        is_allowed: Tells at any moment who may have a tunnel.
    """

    def __init__(self, is_allowed: Callable[[PublicKey], bool]) -> None:
        self._is_allowed = is_allowed
        self._accepting: set[PublicKey] = set()

    def receive(self, message: IncomingConnection) -> AcceptTunnel | SendReject | None:
        """
        The relay announces a connector.

        At most one accept runs for a key, whatever the relay says (D20): a repetition is ignored.
        """
        public_key = message.public_key
        if not self._is_allowed(public_key):
            return SendReject(RejectConnection(public_key))
        if public_key in self._accepting:
            return None
        self._accepting.add(public_key)
        return AcceptTunnel(public_key)

    def accept_ended(self, public_key: PublicKey, *, accepted: bool) -> SendReject | None:
        """An accept came to its end; one that did not reach the relay is rejected."""
        self._accepting.discard(public_key)
        return None if accepted else SendReject(RejectConnection(public_key))
