"""Virtual time, links and hosts of a simulated network."""

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from offset_proto.types import NetAddress, PublicKey

__all__ = ["Attempt", "Chance", "Host", "LinkEnd", "LinkReceiver", "World"]

DELAY_TICKS = (0.001, 0.05)
"""How long a message takes, at least and at most, in ticks; a slow host takes a multiple of it."""

SILENCE_TICKS = 32
"""Ticks after which keepalive notices a link that lost everything."""


T = TypeVar("T")


class Chance(Protocol):
    """Where all chance of a network comes from; `random.Random` is one, and its seed repeats a run."""

    def random(self) -> float:
        """From 0 to 1, 1 excluded."""

    def uniform(self, a: float, b: float, /) -> float:
        """Draw a number between *a* and *b*, all equally likely."""

    def randrange(self, start: int, stop: int = ..., /) -> int:
        """A whole number below *start*, or from *start* and below *stop*."""

    def choice(self, seq: Sequence[T], /) -> T:
        """One of several, none of which is preferred."""

    def randbytes(self, n: int, /) -> bytes:
        """Draw *n* bytes, for keys, ids and nonces."""


class Host(Protocol):
    """Somebody who can be connected to."""

    public_key: PublicKey
    is_up: bool
    slowness: float

    def accept(self, end: "LinkEnd") -> None:
        """Somebody connected, and proved the end's ``remote`` key."""


class LinkReceiver(Protocol):
    """Who takes what arrives at one end of a link."""

    def message_received(self, message: Any) -> None:
        """Take one message that arrived, in the order of sending."""

    def link_closed(self) -> None:
        """The link is over; called once."""


class LinkEnd:
    """One end of an authenticated link; messages arrive in order, late, or not at all."""

    def __init__(self, world: "World", remote: PublicKey, slowness: float) -> None:
        self.remote = remote
        self.is_closed = False
        self.is_silent = False
        self.peer: LinkEnd = self
        self._world = world
        self._slowness = slowness
        self._receiver: LinkReceiver | None = None
        self._early: deque[Any] = deque()
        self._last_arrival = 0.0

    def attach(self, receiver: LinkReceiver) -> None:
        """Hand everything to *receiver*, what came already first."""
        self._receiver = receiver
        while self._early and self._receiver is receiver:
            receiver.message_received(self._early.popleft())
        if self.is_closed:
            self._world.after(0, receiver.link_closed)

    def send(self, message: Any) -> None:
        """Send; nothing happens on a closed link, and nothing arrives on a silent one."""
        if self.is_closed or self.is_silent:
            return
        arrival = max(self._last_arrival, self._world.now + self._world.delay() * self._slowness)
        self._last_arrival = arrival
        self._world.after(arrival - self._world.now, lambda: self.peer._arrive(message))

    def close(self) -> None:
        """End the link; the other side learns it after what was sent, if it learns anything."""
        if self.is_closed:
            return
        self._end()
        if not self.is_silent:
            arrival = max(self._last_arrival, self._world.now + self._world.delay())
            self._world.after(arrival - self._world.now, self.peer._end)

    def cut(self) -> None:
        """The network between the ends breaks: what is under way is lost, both notice."""
        for end in (self, self.peer):
            end.is_silent = True
            self._world.after(self._world.delay(), end._end)

    def drop(self) -> None:
        """The process at this end is gone: it hears nothing more, and the other side notices."""
        self._receiver = None
        self.is_closed = True
        self._world.links.pop(self, None)
        self.cut()

    def fall_silent(self) -> None:
        """The network between the ends swallows everything; keepalive notices it much later."""
        for end in (self, self.peer):
            end.is_silent = True
            self._world.after(SILENCE_TICKS, end._end)

    def _arrive(self, message: Any) -> None:
        if self.is_closed or self.is_silent:
            return
        if self._receiver is None:
            self._early.append(message)
        else:
            self._receiver.message_received(message)

    def _end(self) -> None:
        self._world.links.pop(self, None)
        if self.is_closed:
            return
        self.is_closed = True
        if self._receiver is not None:
            self._receiver.link_closed()


@dataclass(eq=False)
class Attempt:
    """An attempt to open a link."""

    is_cancelled: bool = False

    def cancel(self) -> None:
        """Give the attempt up: neither its success nor its failure is told."""
        self.is_cancelled = True


@dataclass
class World:
    """
    Time, chance, and everybody's address.

    Attributes:
        chance: Source of all that is not determined.
        now: Ticks since the beginning.
        hosts: Who listens at which address.
        links: The connecting ends of all live links, oldest first.
        steps: Number of things that happened.
    """

    chance: Chance
    now: float = 0.0
    hosts: dict[NetAddress, Host] = field(default_factory=dict)
    links: dict[LinkEnd, None] = field(default_factory=dict)
    steps: int = 0
    _queue: list[tuple[float, int, Callable[[], object]]] = field(default_factory=list)
    _number: int = 0

    def after(self, ticks: float, action: Callable[[], object]) -> None:
        """Let something happen later; what is due at one moment happens in the order of asking."""
        self._number += 1
        heapq.heappush(self._queue, (self.now + ticks, self._number, action))

    def delay(self) -> float:
        """How long one message takes, in ticks."""
        return self.chance.uniform(*DELAY_TICKS)

    def run(self, until: float) -> None:
        """Let everything happen that is due until a moment, in ticks since the beginning."""
        while self._queue and self._queue[0][0] <= until:
            self.now, _, action = heapq.heappop(self._queue)
            self.steps += 1
            action()
        self.now = until

    def connect(
        self,
        address: NetAddress,
        remote: PublicKey,
        local: Host,
        opened: Callable[[LinkEnd], object],
        failed: Callable[[], object],
    ) -> Attempt:
        """
        Open a link to whoever listens at an address.

        Args:
            address: Of a host.
            remote: The key that it must prove.
            local: Who connects.
            opened: Told the own end; the other is the host's by then.
            failed: Told that nobody of that key answers.
        """
        attempt = Attempt()

        def finish() -> None:
            if attempt.is_cancelled or not local.is_up:
                return
            host = self.hosts.get(address)
            if host is None or not host.is_up or host.public_key != remote:
                failed()
                return
            ours = LinkEnd(self, remote, local.slowness)
            theirs = LinkEnd(self, local.public_key, host.slowness)
            ours.peer, theirs.peer = theirs, ours
            self.links[ours] = None
            host.accept(theirs)
            opened(ours)

        self.after(3 * self.delay() * local.slowness, finish)
        return attempt
