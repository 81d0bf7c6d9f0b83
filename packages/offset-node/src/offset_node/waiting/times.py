"""
Since when each request has been pending with a friend. Pure. Spec 12 §3.

The funder has no clock, and a row for the moment of each request would cost every payment a write. So the state is
looked at every `LOOK_TICKS` ticks. What is pending then and was not before has been so since now, or since somebody has
asked for its time. Nearly all requests are over before they are a minute old; what is still there then is written down,
with its time.

==================  =============  ==========================================
a request is        in `since`     in the database
==================  =============  ==========================================
not looked at yet   once asked     no
young               yes            no
old                 yes            yes, until it is pending no more
==================  =============  ==========================================

It is also told here what has been frozen for longer than `LONG_SECONDS`. The owner can do nothing about it but talk to
people: what was forwarded can not be taken back (spec 12 §5). So the node says in its log how much is frozen behind
which friend, again at each doubling of the time, and when it is over.

A clock that is set back makes requests younger than they are, and one that is set forward older. Nothing but reports
and messages depends on these times.

Contract: call `look` with each tick, and have the mutations stored that it answers with. Each friend whose channel has
not changed since the look before costs one comparison.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from offset_funder.ledger import Side
from offset_funder.state import Channel, Consistent, FunderState
from offset_node.state import PendingKey, PendingTimeMutation, RemovePendingSince, SetPendingSince
from offset_proto.types import U64, Currency, PublicKey

__all__ = ["LONG_SECONDS", "LOOK_TICKS", "OLD_SECONDS", "Looked", "PendingTimes"]

LOOK_TICKS: Final = 4
"""Ticks between two looks."""

OLD_SECONDS: Final = 60
"""Age from which the time of a request is stored."""

LONG_SECONDS: Final = 3600
"""Age from which the owner is told of frozen credits."""

LONG_LOOK_TICKS: Final = 64
"""Ticks between two looks for what has been frozen for long."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look has found: mutations to be stored, and warnings for the log."""

    mutations: tuple[PendingTimeMutation, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Seen:
    """A friend's channel at the last look, and what was pending on it."""

    channel: Channel | None
    keys: frozenset[PendingKey]


class PendingTimes:
    """
    The times of one node.

    Args:
        stored: As the database has them; some may be pending no more.
    """

    def __init__(self, stored: Mapping[PendingKey, U64]) -> None:
        self.long_pending = 0
        """Requests of ours and forwarded ones that have been frozen for longer than `LONG_SECONDS`."""
        self._since: dict[PendingKey, U64] = dict(stored)
        self._stored = set(stored)
        self._asked: dict[PendingKey, U64] = {}
        self._young: deque[PendingKey] = deque()
        self._friends: dict[PublicKey, _Seen] = {}
        for key in stored:
            before = self._friends.get(key[0], _Seen(None, frozenset()))
            self._friends[key[0]] = _Seen(None, before.keys | {key})
        self._told: dict[PublicKey, int] = {}
        self._ticks = 0

    def since(self, key: PendingKey, now: U64) -> U64:
        """Since when a request that is pending has been so: *now* where nobody has looked or asked before."""
        return self._since[key] if key in self._since else self._asked.setdefault(key, now)

    def look(self, state: FunderState, now: U64) -> Looked:
        """A tick has passed, and it is *now*: what is to be stored and said."""
        self._ticks += 1
        if self._ticks % LOOK_TICKS:
            return Looked()
        mutations = [*self._compare(state, now), *self._store_old(now)]
        warnings = [] if self._ticks % LONG_LOOK_TICKS else self._look_for_long(state, now)
        return Looked(tuple(mutations), tuple(warnings))

    def _compare(self, state: FunderState, now: U64) -> Iterable[PendingTimeMutation]:
        mutations: list[PendingTimeMutation] = []
        for public_key in [key for key in self._friends if key not in state.friends]:
            mutations += self._forget(self._friends.pop(public_key).keys)
        for public_key, friend in state.friends.items():
            seen = self._friends.get(public_key)
            if seen is not None and seen.channel is friend.channel:
                continue
            keys = frozenset(_pending(public_key, friend.channel))
            before = frozenset[PendingKey]() if seen is None else seen.keys
            self._friends[public_key] = _Seen(friend.channel, keys)
            mutations += self._forget(before - keys)
            for key in keys - before:
                self._since[key] = self._asked.get(key, now)
                self._young.append(key)
        self._asked.clear()
        return mutations

    def _forget(self, keys: Iterable[PendingKey]) -> Iterable[PendingTimeMutation]:
        for key in keys:
            del self._since[key]
            if key in self._stored:
                self._stored.remove(key)
                yield RemovePendingSince(key)

    def _store_old(self, now: U64) -> Iterable[PendingTimeMutation]:
        while self._young and self._since.get(self._young[0], 0) + OLD_SECONDS <= now:
            key = self._young.popleft()
            if key in self._since:
                self._stored.add(key)
                yield SetPendingSince(key, self._since[key])

    def _look_for_long(self, state: FunderState, now: U64) -> list[str]:
        found: dict[PublicKey, list[PendingKey]] = {}
        for key in self._stored:
            if key[2] is Side.LOCAL and self._since[key] + LONG_SECONDS <= now:
                found.setdefault(key[0], []).append(key)
        self.long_pending = sum(map(len, found.values()))
        warnings = []
        for public_key, keys in found.items():
            age = now - min(self._since[key] for key in keys)
            if age >= 2 * self._told.get(public_key, 0):
                self._told[public_key] = age
                warnings.append(_long_frozen(state, public_key, keys, age))
        for public_key in [key for key in self._told if key not in found]:
            del self._told[public_key]
            if public_key in state.friends:
                name = state.friends[public_key].name
                warnings.append(f"no credits are frozen behind friend {name!r} for more than an hour any more")
        return warnings


def _pending(public_key: PublicKey, channel: Channel) -> Iterable[PendingKey]:
    """What is pending on a channel: all that we sent, and of what the friend sent the requests that end here."""
    if not isinstance(channel, Consistent):
        return
    for currency, ledger in channel.token_channel.ledgers.items():
        for request_id in ledger.pending_local:
            yield public_key, currency, Side.LOCAL, request_id
        for request_id, transaction in ledger.pending_remote.items():
            if not transaction.route:
                yield public_key, currency, Side.REMOTE, request_id


def _long_frozen(state: FunderState, public_key: PublicKey, keys: list[PendingKey], age: int) -> str:
    friend = state.friends[public_key]
    amounts: dict[Currency, int] = {}
    assert isinstance(friend.channel, Consistent)
    for _, currency, _, request_id in keys:
        transaction = friend.channel.token_channel.ledgers[currency].pending_local[request_id]
        amounts[currency] = amounts.get(currency, 0) + transaction.frozen_credits
    credits_frozen = ", ".join(f"{amount} {currency}" for currency, amount in sorted(amounts.items()))
    return (
        f"{credits_frozen} in {len(keys)} requests are frozen behind friend {friend.name!r}, the oldest for "
        f"{age // 3600} hours: they come back or are paid when the sellers at the other end answer, or cancel"
    )
