"""
The keepalive layer: signs of life on an idle link. Spec 02 §7.

The state is two numbers of ticks: how long the link may go without a message of the peer (to close), and how long we
may go without a message of our own (to send).

==========================================  ==================  ==================================================
what happens                                to close            to send
==========================================  ==================  ==================================================
the handshake is done                       32                  16
a message goes out                                              16
a message or a KeepAlive comes in           32
a tick                                      1 less              1 less
a tick, and to close is 0                   `RemoteTimeout`     nothing is sent, even where to send is 0, too
a tick, and to send is 0                                        a KeepAlive goes out; 16
==========================================  ==================  ==================================================

Rules.
1. A KeepAlive is never answered, and the layer above does not see it. An empty message is a message.
2. A rekey of the secure channel below is no sign of life: it does not come up to this layer.
3. While we ourselves do not read, to close stands still, since the peer may have spoken.
4. Where another link runs inside, its signs of life are messages of this one. After `Keepalive.carry_link` to send
   starts at 20 instead of 16, so ours are not sent at all while those come.

Calling contract. The owner gives each message that it sends to `Keepalive.wrap` and each that arrives to
`Keepalive.receive`, and calls `Keepalive.tick` once a tick, from the end of the handshake on. After a `PeerError` the
link is over, and the layer must not be used again.
"""

from typing import Final

from offset_proto import wire
from offset_proto.errors import PeerError
from offset_proto.limits import KEEPALIVE_TICKS
from offset_proto.messages.keepalive import KeepAlive, Message

__all__ = ["Keepalive", "RemoteTimeout"]

_GRACE_TICKS: Final = 4
"""How late the signs of life of a link inside may be, before one of ours is sent."""

_KEEPALIVE_BYTES = wire.KA_MESSAGE.encode(KeepAlive())


class RemoteTimeout(PeerError):
    """The peer gave no sign of life for `KEEPALIVE_TICKS` ticks."""


class Keepalive:
    """One end of the layer: a byte engine over whole messages, counting ticks from the handshake on."""

    __slots__ = ("_send_ticks", "_ticks", "_to_close_ticks", "_to_send_ticks")

    def __init__(self, ticks: int = KEEPALIVE_TICKS) -> None:
        self._ticks = ticks
        self._send_ticks = ticks // 2
        self._to_close_ticks = ticks
        self._to_send_ticks = self._send_ticks

    def carry_link(self) -> None:
        """From now on the messages are those of a link inside; a sign of life is only sent 4 ticks after its own."""
        self._send_ticks = self._to_send_ticks = self._ticks // 2 + _GRACE_TICKS

    def wrap(self, data: bytes) -> bytes:
        """One message of the layer above, for the layer below."""
        self._to_send_ticks = self._send_ticks
        return wire.KA_MESSAGE.encode(Message(data))

    def receive(self, message: bytes) -> bytes | None:
        """
        The message of the layer above in *message*, or None for a sign of life.

        Raises:
            MalformedMessage: Close the link.
        """
        received = wire.KA_MESSAGE.decode(message)
        self._to_close_ticks = self._ticks
        return received.data if isinstance(received, Message) else None

    def tick(self, *, listening: bool = True) -> bytes | None:
        """
        A tick passed.

        Args:
            listening: False while we ourselves have stopped to read: then silence proves nothing.

        Returns:
            A KeepAlive to send, or None.

        Raises:
            RemoteTimeout: Close the link.
        """
        if listening:
            self._to_close_ticks -= 1
        self._to_send_ticks = max(0, self._to_send_ticks - 1)
        if self._to_close_ticks <= 0:
            raise RemoteTimeout
        if self._to_send_ticks > 0:
            return None
        self._to_send_ticks = self._send_ticks
        return _KEEPALIVE_BYTES
