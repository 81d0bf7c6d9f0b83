"""
The relay: listeners, connectors that wait, tunnels. Spec 03 §4.

A pure engine; links are named by the shell, by any hashable handle. Every refusal is a closed link.

=================================  ====================================================================
link of key P says                 what comes of it
=================================  ====================================================================
listen                             P is told of connectors; a second listen of P is closed, the first wins
connect L                          L is told; the link waits as a half tunnel, at most 32 ticks
accept C, P listens                the half tunnel of C and this link become a tunnel
reject C, on the listen link       the half tunnel of C is closed; tunnels are never
=================================  ====================================================================

A connector may connect again while a tunnel of it lives: a restarted node could otherwise not come back
until its dead tunnel is noticed (spec 03 §4.2 [QUIRK]).

A link is in one of four states. It is *new* until its first message, for at most `RELAY_FIRST_MESSAGE_TICKS` ticks.
That message makes it a *listener*, a *half tunnel* or one end of a *tunnel*. The engine forgets both ends of a
tunnel at the moment it returns `JoinLinks`: from then on the shell copies between them and closes them.

The shell calls `open_link` once for each link, `receive_first` for its first message, and after that only the method
that fits its state: `receive_reject` for a listener, `receive_pending` for a half tunnel. It calls `close_link` when
a link ends by itself. The engine has already forgotten every link that it asks to close by `CloseLink`.

A listener has at most `LISTENER_NOTICES_MAX` half tunnels, one for each connector. A half tunnel keeps what its
connector sends, up to `HALF_TUNNEL_MESSAGES_MAX` messages and `HALF_TUNNEL_BYTES_MAX` bytes, and is closed when it
exceeds either; a single message is kept whatever its size. When a listener's link ends, all its half tunnels are
closed, and its tunnels go on.

When the relay is about to end, the shell takes no more links, and `end` closes all that is no listener: a half tunnel
could only become a tunnel by one more link. The shell closes the tunnels later, and the listeners last of all.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from offset_proto.limits import (
    HALF_TUNNEL_BYTES_MAX,
    HALF_TUNNEL_MESSAGES_MAX,
    HALF_TUNNEL_TICKS,
    LISTENER_NOTICES_MAX,
    RELAY_FIRST_MESSAGE_TICKS,
)
from offset_proto.messages.relay import (
    Accept,
    Connect,
    IncomingConnection,
    InitConnection,
    Listen,
    RejectConnection,
)
from offset_proto.types import PublicKey

__all__ = ["CloseLink", "Effect", "JoinLinks", "NotifyListener", "Refusal", "RelayServer"]

Link = Hashable


class Refusal(StrEnum):
    """Why the relay closed a link."""

    SILENT = "silent"
    """No first message in time."""
    LISTENS_ALREADY = "listens_already"
    """The same key has another listen link."""
    NO_LISTENER = "no_listener"
    """Whom a connector wants does not listen here."""
    WAITS_ALREADY = "waits_already"
    """The same connector waits for the same listener."""
    LISTENER_FULL = "listener_full"
    """Too many connectors wait for one listener."""
    NOBODY_WAITS = "nobody_waits"
    """Whom a listener accepts does not wait any more."""
    REJECTED = "rejected"
    """The listener wants no tunnel with the connector."""
    PENDING_FULL = "pending_full"
    """A connector sent too much before it was accepted."""
    NOT_ACCEPTED = "not_accepted"
    """The listener did not answer in time."""
    LISTENER_GONE = "listener_gone"
    """The link of the listener ended before it answered."""
    RELAY_ENDS = "relay_ends"
    """The relay is about to end."""

    @property
    def words(self) -> str:
        """What the log says of the one whose link it was."""
        return _WORDS[self]


_WORDS: Final = {
    Refusal.SILENT: "it says nothing",
    Refusal.LISTENS_ALREADY: "it listens already",
    Refusal.NO_LISTENER: "whom it wants does not listen",
    Refusal.WAITS_ALREADY: "it waits for that listener already",
    Refusal.LISTENER_FULL: "too many wait for that listener",
    Refusal.NOBODY_WAITS: "whom it accepts does not wait",
    Refusal.REJECTED: "the listener rejects it",
    Refusal.PENDING_FULL: "it sends too much before it is accepted",
    Refusal.NOT_ACCEPTED: "the listener does not answer",
    Refusal.LISTENER_GONE: "its listener has left",
    Refusal.RELAY_ENDS: "the relay is about to end",
}


@dataclass(frozen=True, slots=True)
class CloseLink:
    """
    Close a link that was refused, that waited too long, or whose listener is gone.

    Attributes:
        link: The link.
        why: For the log and the figures; peers see a closed link.
        limit: The limit that was hit, where that is the reason.
    """

    link: Link
    why: Refusal
    limit: str | None = None


@dataclass(frozen=True, slots=True)
class NotifyListener:
    """Tell a listener on its link that a connector waits for it."""

    link: Link
    message: IncomingConnection


@dataclass(frozen=True, slots=True)
class JoinLinks:
    """From now on copy between the two; *pending* came from the connector before, in order."""

    connector: Link
    acceptor: Link
    pending: tuple[bytes, ...]


Effect = CloseLink | NotifyListener | JoinLinks


@dataclass
class _HalfTunnel:
    """A connector that waits for its listener."""

    link: Link
    listener: PublicKey
    ticks_left: int = HALF_TUNNEL_TICKS
    pending: list[bytes] = field(default_factory=list)
    pending_bytes: int = 0


@dataclass
class _Listener:
    link: Link
    half_tunnels: dict[PublicKey, _HalfTunnel] = field(default_factory=dict)


@dataclass
class _NewLink:
    """A link whose first message has not come yet."""

    ticks_left: int = RELAY_FIRST_MESSAGE_TICKS


class RelayServer:
    """
    One relay. Tunnels themselves are the shell's; the engine knows links until they are joined.

    Attributes:
        refused: How many links were closed, by the reason.
    """

    def __init__(self) -> None:
        self.refused = dict.fromkeys(Refusal, 0)
        self._new: dict[Link, _NewLink] = {}
        self._listeners: dict[PublicKey, _Listener] = {}
        self._listen_links: dict[Link, PublicKey] = {}
        self._waiting: dict[Link, tuple[PublicKey, _HalfTunnel]] = {}

    @property
    def listeners(self) -> int:
        """How many nodes listen."""
        return len(self._listeners)

    @property
    def half_tunnels(self) -> int:
        """How many connectors wait for a listener."""
        return len(self._waiting)

    def open_link(self, link: Link) -> None:
        """A link opened; its first message has `RELAY_FIRST_MESSAGE_TICKS` ticks (D15)."""
        self._new[link] = _NewLink()

    def receive_first(self, link: Link, public_key: PublicKey, message: InitConnection) -> list[Effect]:
        """The first message of a link whose owner proved *public_key*."""
        del self._new[link]
        match message:
            case Listen():
                return self._listen(link, public_key)
            case Connect(listener):
                return self._connect(link, public_key, listener)
            case Accept(connector):
                return self._accept(link, public_key, connector)

    def receive_reject(self, link: Link, message: RejectConnection) -> list[Effect]:
        """A listener wants no tunnel with a connector; unknown ones are ignored."""
        half_tunnel = self._listeners[self._listen_links[link]].half_tunnels.get(message.public_key)
        return [] if half_tunnel is None else self._drop(message.public_key, half_tunnel, Refusal.REJECTED)

    def receive_pending(self, link: Link, message: bytes) -> list[Effect]:
        """A connector sent something before it was accepted; kept up to a cap (D18). Spec 03 §4.4."""
        public_key, half_tunnel = self._waiting[link]
        half_tunnel.pending.append(message)
        half_tunnel.pending_bytes += len(message)
        # The first message is kept whatever its size: every connector sends it without waiting.
        too_many = len(half_tunnel.pending) > HALF_TUNNEL_MESSAGES_MAX
        too_large = half_tunnel.pending_bytes > HALF_TUNNEL_BYTES_MAX and len(half_tunnel.pending) > 1
        if not (too_many or too_large):
            return []
        limit = "HALF_TUNNEL_MESSAGES_MAX" if too_many else "HALF_TUNNEL_BYTES_MAX"
        return self._drop(public_key, half_tunnel, Refusal.PENDING_FULL, limit)

    def is_listener(self, link: Link) -> bool:
        """Whether the link is a listener's."""
        return link in self._listen_links

    def is_waiting(self, link: Link) -> bool:
        """Whether the link is a half tunnel."""
        return link in self._waiting

    def close_link(self, link: Link) -> list[Effect]:
        """A link ended that is not part of a tunnel (D17)."""
        self._new.pop(link, None)
        if link in self._waiting:
            public_key, half_tunnel = self._waiting.pop(link)
            self._listeners[half_tunnel.listener].half_tunnels.pop(public_key, None)
        listener_key = self._listen_links.pop(link, None)
        if listener_key is None:
            return []
        listener = self._listeners[listener_key]
        effects: list[Effect] = []
        for public_key, half_tunnel in list(listener.half_tunnels.items()):
            effects += self._drop(public_key, half_tunnel, Refusal.LISTENER_GONE)
        del self._listeners[listener_key]
        return effects

    def tick(self) -> list[Effect]:
        """A tick passed: close what waited too long."""
        effects: list[Effect] = []
        for link, new in list(self._new.items()):
            new.ticks_left -= 1
            if new.ticks_left <= 0:
                del self._new[link]
                effects += self._refuse(link, Refusal.SILENT)
        for public_key, half_tunnel in list(self._waiting.values()):
            half_tunnel.ticks_left -= 1
            if half_tunnel.ticks_left <= 0:
                effects += self._drop(public_key, half_tunnel, Refusal.NOT_ACCEPTED)
        return effects

    def end(self) -> list[Effect]:
        """The relay is about to end: close new links and half tunnels, which no tunnel can come of any more."""
        effects: list[Effect] = []
        for link in self._new:
            effects += self._refuse(link, Refusal.RELAY_ENDS)
        self._new.clear()
        for public_key, half_tunnel in list(self._waiting.values()):
            effects += self._drop(public_key, half_tunnel, Refusal.RELAY_ENDS)
        return effects

    def _listen(self, link: Link, public_key: PublicKey) -> list[Effect]:
        if public_key in self._listeners:
            return self._refuse(link, Refusal.LISTENS_ALREADY)
        self._listeners[public_key] = _Listener(link)
        self._listen_links[link] = public_key
        return []

    def _connect(self, link: Link, public_key: PublicKey, listener_key: PublicKey) -> list[Effect]:
        listener = self._listeners.get(listener_key)
        if listener is None:
            return self._refuse(link, Refusal.NO_LISTENER)
        if public_key in listener.half_tunnels:
            return self._refuse(link, Refusal.WAITS_ALREADY)
        if len(listener.half_tunnels) >= LISTENER_NOTICES_MAX:  # D16
            return self._refuse(link, Refusal.LISTENER_FULL, "LISTENER_NOTICES_MAX")
        half_tunnel = _HalfTunnel(link, listener_key)
        listener.half_tunnels[public_key] = half_tunnel
        self._waiting[link] = (public_key, half_tunnel)
        return [NotifyListener(listener.link, IncomingConnection(public_key))]

    def _accept(self, link: Link, public_key: PublicKey, connector: PublicKey) -> list[Effect]:
        listener = self._listeners.get(public_key)
        half_tunnel = None if listener is None else listener.half_tunnels.pop(connector, None)
        if half_tunnel is None:
            return self._refuse(link, Refusal.NOBODY_WAITS)
        del self._waiting[half_tunnel.link]
        return [JoinLinks(half_tunnel.link, link, tuple(half_tunnel.pending))]

    def _drop(
        self, public_key: PublicKey, half_tunnel: _HalfTunnel, why: Refusal, limit: str | None = None
    ) -> list[Effect]:
        self._listeners[half_tunnel.listener].half_tunnels.pop(public_key, None)
        self._waiting.pop(half_tunnel.link, None)
        return self._refuse(half_tunnel.link, why, limit)

    def _refuse(self, link: Link, why: Refusal, limit: str | None = None) -> list[Effect]:
        self.refused[why] += 1
        return [CloseLink(link, why, limit)]
