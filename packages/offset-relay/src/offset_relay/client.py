"""
The node's side of a relay: who may have a tunnel. Spec 03 §5.2.

`Listener` judges what a relay announces on a listen link. It is a pure engine: the shell opens links, sends what it
asks for, and tells how attempts ended. A connector, named by its key, is in one of two states:

=========  =====================================  =========  ====================================================
connector  what happens                           next       what the shell is asked for
=========  =====================================  =========  ====================================================
idle       announced, and allowed                 accepting  `AcceptTunnel`: a second link to the relay
idle       announced, and not allowed             idle       `SendReject`
accepting  announced again, and allowed           accepting  nothing: one accept at a time for each key (D20)
accepting  announced again, not allowed any more  accepting  `SendReject`
accepting  the accept reached the relay           idle       nothing: the relay has joined the links, or closed ours
accepting  the accept did not reach the relay     idle       `SendReject`, so that the connector need not wait
=========  =====================================  =========  ====================================================

Rules.
1. Who is allowed is asked at each announcement; what was allowed before does not count.
2. Tunnels are not remembered: a friend that started anew may come again while its old tunnel lives.
3. A reject ends a half tunnel at the relay, and never a tunnel.

Calling contract. There is one `Listener` for each listen link, and it is dropped with the link. The shell gives it each
`IncomingConnection`, and calls `Listener.accept_ended` exactly once for each `AcceptTunnel`, when the tunnel is open or
the attempt is given up; *accepted* says whether the Accept was sent. It sends rejects on the listen link.
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
    """Send this message on the listen link; the relay drops the half tunnel then."""

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
