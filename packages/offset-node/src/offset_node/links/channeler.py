"""
Which links to keep up: listen at relays, dial friends, and hold one live link for each friend. Spec 03 §6.

This is a pure engine: it opens nothing, and is told what became of what it asked for. Of two friends the one with the
lower key listens at its relays, and the one with the higher key dials, so that they do not dial each other.

A relay at which we listen is in one of two states:

==============  =====================================  ==============================================================
relay           what happens                           next state
==============  =====================================  ==============================================================
running         it is not wanted any more              forgotten, with `StopListener`
running         `Channeler.listener_ended`             waiting for 1, 2, 4 and then 8 ticks; for 1 again after it ran
                                                       for 8 ticks
waiting         the ticks have passed                  running, with `StartListener` and a new generation
==============  =====================================  ==============================================================

A friend has a link or none, and one that we dial and that has none is being tried, or waits:

==============  =====================================  ==============================================================
friend          what happens                           next state
==============  =====================================  ==============================================================
we listen       `Channeler.accepted`                   linked, with `ReportOnline`; a link that is up stays, and the
                                                       new one is closed
waiting         the ticks have passed                  tried at the first address of its list, with `Dial`
tried           `Channeler.dial_succeeded`             linked, with `ReportOnline`; the address goes to the end
tried           `Channeler.dial_failed`                waiting for 1, 2, 4, 8 ticks; the address goes to the end
tried           the address is not its own any more    tried at the next address, after `CancelDial`
linked          `Channeler.link_closed`                without a link, with `ReportOffline`; dialled again at once, or
                                                       after 8 ticks where the link lived less than that (D25)
any             `Channeler.remove_friend`              forgotten; what runs is cancelled or closed
==============  =====================================  ==============================================================

How it is called:

* Whatever takes time has a number that is never used again: the generation of a listener, or the id of an attempt.
  Whoever opens links says once how each number ended. News of numbers that are not current is ignored (D23, D24), so
  it does no harm where it crosses a `StopListener` or a `CancelDial`.
* Of a friend, `ReportOnline` and `ReportOffline` alternate. Messages of a link count only between the two: whoever
  opens links reads from a link once its `ReportOnline` has come.
* A link is any object. The channeler only keeps it, and gives it back in `CloseFriendLink`.
* `Channeler.tick` is called once per tick of a second.
"""

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field

from offset_crypto.backoff import Backoff
from offset_crypto.hashing import is_lower
from offset_crypto.secure_channel import RandomBytes
from offset_proto.messages.payment import RelayAddress
from offset_proto.types import PublicKey

__all__ = [
    "CancelDial",
    "Channeler",
    "ChannelerOutput",
    "CloseFriendLink",
    "Dial",
    "LinkEffect",
    "ReportOffline",
    "ReportOnline",
    "StartListener",
    "StopListener",
]

FriendLink = Hashable


@dataclass(frozen=True, slots=True)
class StartListener:
    """Listen at a relay; say `Channeler.listener_ended` of this generation when it ends, or fails."""

    relay: RelayAddress
    generation: int


@dataclass(frozen=True, slots=True)
class StopListener:
    """Stop listening at a relay; `Channeler.listener_ended` need not be said of it."""

    generation: int


@dataclass(frozen=True, slots=True)
class Dial:
    """Reach a friend through a relay; say `Channeler.dial_succeeded` or `Channeler.dial_failed`."""

    friend: PublicKey
    relay: RelayAddress
    attempt: int


@dataclass(frozen=True, slots=True)
class CancelDial:
    """Give up an attempt to reach a friend; its end need not be told."""

    attempt: int


@dataclass(frozen=True, slots=True)
class CloseFriendLink:
    """Close a link that is not wanted."""

    link: FriendLink


@dataclass(frozen=True, slots=True)
class ReportOnline:
    """There is a link to the friend."""

    friend: PublicKey


@dataclass(frozen=True, slots=True)
class ReportOffline:
    """The friend has no link any more. This comes after all messages of the link, and once for each `ReportOnline`."""

    friend: PublicKey


LinkEffect = StartListener | StopListener | Dial | CancelDial | CloseFriendLink
"""What is to be done on links."""

ChannelerOutput = LinkEffect | ReportOnline | ReportOffline
"""What the channeler says: things to do on links, and events for the funder."""


@dataclass(eq=False)
class _Relay:
    """A relay that we listen at: running under a generation, or waiting."""

    backoff: Backoff
    generation: int | None = None
    started_at: int = 0
    wait_ticks: int = 0


@dataclass(eq=False)
class _DialedFriend:
    """A friend that we dial: the addresses in turn, and the attempt that runs."""

    backoff: Backoff
    addresses: deque[RelayAddress] = field(default_factory=deque)
    trying: RelayAddress | None = None
    attempt: int | None = None
    wait_ticks: int = 0


@dataclass(frozen=True, slots=True)
class _Link:
    link: FriendLink
    opened_at: int


class Channeler:
    """
    The channeler of one node.

    Args:
        local_public_key: Own key; decides who dials.
        random_bytes: Source of jitter.
    """

    def __init__(self, local_public_key: PublicKey, random_bytes: RandomBytes) -> None:
        self._local_public_key = local_public_key
        self._random_bytes = random_bytes
        self._now = 0
        self._last_number = 0
        self._local_relays: tuple[RelayAddress, ...] = ()
        self._listening: dict[PublicKey, frozenset[RelayAddress]] = {}
        self._users: dict[RelayAddress, int] = {}  # friends that may look for us at a relay
        self._relays: dict[RelayAddress, _Relay] = {}
        self._dialed: dict[PublicKey, _DialedFriend] = {}
        self._links: dict[PublicKey, _Link] = {}

    # Configuration, from the funder.

    def set_relays(self, relays: tuple[RelayAddress, ...]) -> list[ChannelerOutput]:
        """Our own relays: every friend that we listen for is allowed at each of them (D21)."""
        self._local_relays = relays
        return self._adjust_listeners()

    def update_friend(
        self,
        friend: PublicKey,
        friend_relays: tuple[RelayAddress, ...],
        local_relays: tuple[RelayAddress, ...],
    ) -> list[ChannelerOutput]:
        """
        Keep a link to a friend.

        Args:
            friend: The key of the friend.
            friend_relays: Where the friend can be found.
            local_relays: Where the friend may still look for us.
        """
        if is_lower(self._local_public_key, friend):
            self._forget_listening(friend)
            self._listening[friend] = frozenset(local_relays)
            for relay in self._listening[friend]:
                self._users[relay] = self._users.get(relay, 0) + 1
            return self._adjust_listeners()
        return self._set_addresses(friend, tuple(dict.fromkeys(friend_relays)))

    def remove_friend(self, friend: PublicKey) -> list[ChannelerOutput]:
        """Keep no link to this friend any more."""
        effects: list[ChannelerOutput] = []
        dialed = self._dialed.pop(friend, None)
        if dialed is not None and dialed.attempt is not None:
            effects.append(CancelDial(dialed.attempt))
        if self._forget_listening(friend):
            effects += self._adjust_listeners()
        link = self._links.pop(friend, None)
        if link is not None:
            effects += [CloseFriendLink(link.link), ReportOffline(friend)]
        return effects

    def is_allowed(self, relay: RelayAddress, friend: PublicKey) -> bool:
        """Whether a friend may have a tunnel through a relay that we listen at."""
        wanted = self._listening.get(friend)
        return wanted is not None and (relay in self._local_relays or relay in wanted)

    def next_attempt(self, relay: RelayAddress) -> int | None:
        """Ticks until the node listens at a relay again; None where it does, or does not want to."""
        known = self._relays.get(relay)
        return None if known is None or known.generation is not None else known.wait_ticks

    @property
    def relays(self) -> list[RelayAddress]:
        """Where we want to listen."""
        return list(self._relays)

    # What becomes of listeners, attempts and links.

    def listener_ended(self, relay: RelayAddress, generation: int) -> list[ChannelerOutput]:
        """A listener ended, or could not start: it starts again after a pause."""
        known = self._relays.get(relay)
        if known is None or known.generation != generation:
            return []
        lived = self._now - known.started_at
        known.generation = None
        known.wait_ticks = max(1, known.backoff.after_link(lived) if lived >= 8 else known.backoff.after_failure())
        return []

    def accepted(self, friend: PublicKey, link: FriendLink) -> list[ChannelerOutput]:
        """A friend came through a listener and proved its key."""
        return self._adopt(friend, link) if friend in self._listening else [CloseFriendLink(link)]

    def dial_succeeded(self, friend: PublicKey, attempt: int, link: FriendLink) -> list[ChannelerOutput]:
        """An attempt to reach a friend led to a link; where the attempt is not current any more, the link is closed."""
        dialed = self._dialed.get(friend)
        if dialed is None or dialed.attempt != attempt:
            return [CloseFriendLink(link)]
        self._end_attempt(dialed)
        return self._adopt(friend, link)

    def dial_failed(self, friend: PublicKey, attempt: int) -> list[ChannelerOutput]:
        """An attempt to reach a friend led to nothing: the next address is tried after a pause."""
        dialed = self._dialed.get(friend)
        if dialed is None or dialed.attempt != attempt:
            return []
        self._end_attempt(dialed)
        dialed.wait_ticks = dialed.backoff.after_failure()
        return []

    def link_closed(self, friend: PublicKey, link: FriendLink) -> list[ChannelerOutput]:
        """A link to a friend ended; nothing happens where the friend has another link by now."""
        known = self._links.get(friend)
        if known is None or known.link is not link:
            return []
        del self._links[friend]
        effects: list[ChannelerOutput] = [ReportOffline(friend)]
        dialed = self._dialed.get(friend)
        if dialed is not None:
            dialed.wait_ticks = dialed.backoff.after_link(self._now - known.opened_at)
            if dialed.wait_ticks == 0:
                effects += self._dial_next(friend, dialed)
        return effects

    def tick(self) -> list[ChannelerOutput]:
        """A tick has passed: start the listeners and attempts that have waited long enough."""
        self._now += 1
        effects: list[ChannelerOutput] = []
        for relay, known in self._relays.items():
            if known.generation is None:
                known.wait_ticks -= 1
                if known.wait_ticks <= 0:
                    effects.append(self._start(relay, known))
        for friend, dialed in self._dialed.items():
            if dialed.attempt is None and friend not in self._links:
                dialed.wait_ticks = max(0, dialed.wait_ticks - 1)
                if dialed.wait_ticks == 0:
                    effects += self._dial_next(friend, dialed)
        return effects

    # Inside.

    def _number(self) -> int:
        self._last_number += 1
        return self._last_number

    def _forget_listening(self, friend: PublicKey) -> bool:
        wanted = self._listening.pop(friend, None)
        for relay in wanted or ():
            self._users[relay] -= 1
            if not self._users[relay]:
                del self._users[relay]
        return wanted is not None

    def _adjust_listeners(self) -> list[ChannelerOutput]:
        wanted = dict.fromkeys([*self._local_relays, *self._users])
        effects: list[ChannelerOutput] = []
        for relay in [relay for relay in self._relays if relay not in wanted]:
            generation = self._relays.pop(relay).generation
            if generation is not None:
                effects.append(StopListener(generation))
        for relay in wanted:
            if relay not in self._relays:
                known = self._relays[relay] = _Relay(Backoff(self._random_bytes))
                effects.append(self._start(relay, known))
        return effects

    def _start(self, relay: RelayAddress, known: _Relay) -> StartListener:
        known.generation = self._number()
        known.started_at = self._now
        return StartListener(relay, known.generation)

    def _set_addresses(self, friend: PublicKey, addresses: tuple[RelayAddress, ...]) -> list[ChannelerOutput]:
        """
        Take a new list of addresses.

        Addresses that stay keep their turn, and new ones come after them. An attempt at an address that is gone is
        cancelled.
        """
        dialed = self._dialed.get(friend)
        is_new = dialed is None
        if dialed is None:
            dialed = self._dialed[friend] = _DialedFriend(Backoff(self._random_bytes))
        had_none = not dialed.addresses and dialed.trying is None
        kept = [address for address in dialed.addresses if address in addresses]
        added = [a for a in addresses if a not in kept and a != dialed.trying]
        dialed.addresses = deque(kept + added)
        effects: list[ChannelerOutput] = []
        if dialed.attempt is not None and dialed.trying not in addresses:
            effects.append(CancelDial(dialed.attempt))
            dialed.attempt = dialed.trying = None
            effects += self._dial_next(friend, dialed)
        elif friend not in self._links and dialed.attempt is None and (is_new or had_none):
            effects += self._dial_next(friend, dialed)
        return effects

    def _dial_next(self, friend: PublicKey, dialed: _DialedFriend) -> list[ChannelerOutput]:
        if not dialed.addresses:
            return []
        dialed.trying = dialed.addresses.popleft()
        dialed.attempt = self._number()
        return [Dial(friend, dialed.trying, dialed.attempt)]

    def _end_attempt(self, dialed: _DialedFriend) -> None:
        if dialed.trying is not None:
            dialed.addresses.append(dialed.trying)
        dialed.attempt = dialed.trying = None

    def _adopt(self, friend: PublicKey, link: FriendLink) -> list[ChannelerOutput]:
        if friend in self._links:
            return [CloseFriendLink(link)]
        self._links[friend] = _Link(link, self._now)
        return [ReportOnline(friend)]
