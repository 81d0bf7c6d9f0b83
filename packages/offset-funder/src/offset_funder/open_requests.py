"""
Where each open request came from, and where it went. Spec 05 §8.

Request ids are chosen by buyers, so two friends may use one id. The index answers two questions in constant time, for
an id within a currency: which friend (or the local user) is the *origin* of a request that went out to a friend; and
whether an id is in use at all. Of an id it knows the friends that sent the request (*sources*), and the friends that
it went to, each with the origin (*outgoing*):

=====================================  ====================================  ===================================
what happens to a request              mutation                              sources, outgoing
=====================================  ====================================  ===================================
friend F sends it to us                ChangeLedger of F, remote             F added to the sources
it is queued for friend G              PushBackPendingRequest                (G, first source) added to outgoing
our own user's is queued for G         PushBackPendingUserRequest            (G, LOCAL_USER) added to outgoing
it leaves the queue in a token to G    PopFront..., ChangeLedger of G        as before
G cancels or collects it               ChangeLedger of G, local, removed     G taken out of outgoing
our cancel or collect is in a token    ChangeLedger of F, remote, removed    F taken out of the sources
what is queued for G is cancelled      RemovePending...                      G taken out of outgoing
the channel of F breaks, or F goes     SetInconsistent, RemoveFriend         F taken out of both; where F was the
                                                                             origin, the origin is nobody
=====================================  ====================================  ===================================

Rules.
1. The first source is the friend that sent the id first. A second friend that sends it is refused, and stays a source
   until its cancel is in a token.
2. A reply whose origin is nobody is dropped; the ledger that it came through has changed all the same (D31).
3. The index follows from the state and is not stored: `rebuild` makes it at load.

Calling contract. `Session.mutate` calls `after` for each mutation, with the state before it. One change is made by no
mutation: `Session.forget_request_to` takes out a request that has left its queue and that the ledger refuses. The
origins of the requests that a token answers are looked up before the mutations of the token, which take them out.
"""

import enum
from typing import Final

from immutables import Map

from offset_funder.ledger import Side
from offset_funder.mutations import (
    ChangeLedger,
    FriendMutation,
    Mutation,
    PushBackPendingRequest,
    PushBackPendingUserRequest,
    RemoveFriend,
    RemovePendingRequests,
    RemovePendingRequestsCurrency,
    RemovePendingUserRequest,
    SetConsistent,
    SetInconsistent,
)
from offset_funder.state import Channel, Consistent, FunderState
from offset_proto.message import frozen, replace
from offset_proto.messages.friend import CancelSendFundsOp, RequestSendFundsOp
from offset_proto.types import Currency, PublicKey, Uid

__all__ = ["LOCAL_USER", "OpenRequests", "Origin", "rebuild"]


class _LocalUser(enum.Enum):
    LOCAL_USER = "the local user"


LOCAL_USER: Final = _LocalUser.LOCAL_USER

Origin = PublicKey | _LocalUser | None
"""A friend, the local user, or nobody: the friend was removed, or its channel reset."""


@frozen
class _Use:
    """Friends that sent the request, first come first; and those it went to, each with its origin."""

    sources: tuple[PublicKey, ...] = ()
    outgoing: tuple[tuple[PublicKey, Origin], ...] = ()


@frozen
class OpenRequests:
    """The index; frozen, so an event that fails leaves it as it was."""

    uses: "Map[tuple[Currency, Uid], _Use]" = Map()

    def origin(self, friend: PublicKey, currency: Currency, request_id: Uid) -> Origin:
        """Who is to be told what *friend* says about a request that we sent there."""
        use = self.uses.get((currency, request_id), _Use())
        return next((origin for key, origin in use.outgoing if key == friend), None)

    def source(self, currency: Currency, request_id: Uid) -> PublicKey | None:
        """The friend that sent a request which ends here."""
        use = self.uses.get((currency, request_id), _Use())
        return use.sources[0] if use.sources else None

    def is_used_elsewhere(self, sender: PublicKey, currency: Currency, request_id: Uid, *, ours: bool) -> bool:
        """
        Tell whether an id is in use apart from the request that *sender* just sent.

        Args:
            ours: Do not count traces of our own transaction: the request is its end, a cycle back to us.
        """
        use = self.uses.get((currency, request_id), _Use())
        if any(source != sender for source in use.sources):
            return True
        return any(not (ours and origin is LOCAL_USER) for _, origin in use.outgoing)

    def is_used(self, currency: Currency, request_id: Uid) -> bool:
        """Tell whether an id is in use at all."""
        return (currency, request_id) in self.uses

    def after(self, before: FunderState, mutation: Mutation) -> "OpenRequests":
        """The index after *mutation* of the state *before*."""
        match mutation:
            case RemoveFriend(public_key):
                return self._without_channel(public_key, before.friends[public_key].channel)
            case FriendMutation(public_key, part):
                pass
            case _:
                return self
        match part:
            case ChangeLedger(currency, change):
                return self._after_change(
                    public_key, currency, change.side, change.request_id, change.transaction is None
                )
            case PushBackPendingRequest(currency, op):
                return self._with_request_to(public_key, currency, op.request_id, self.source(currency, op.request_id))
            case PushBackPendingUserRequest(currency, op):
                return self._with_request_to(public_key, currency, op.request_id, LOCAL_USER)
            case RemovePendingUserRequest(currency, request_id):
                return self.without_request_to(public_key, currency, request_id)
            case RemovePendingRequests() | RemovePendingRequestsCurrency():
                return self._without_queued(public_key, before, part)
            case SetInconsistent() | SetConsistent():
                return self._without_channel(public_key, before.friends[public_key].channel)
            case _:
                return self

    def without_request_to(self, friend: PublicKey, currency: Currency, request_id: Uid) -> "OpenRequests":
        """The index after a request for *friend* was dropped or answered."""
        use = self.uses.get((currency, request_id), _Use())
        kept = tuple(item for item in use.outgoing if item[0] != friend)
        return self._with(currency, request_id, replace(use, outgoing=kept))

    def _after_change(
        self, friend: PublicKey, currency: Currency, side: Side, request_id: Uid, removed: bool
    ) -> "OpenRequests":
        use = self.uses.get((currency, request_id), _Use())
        if side is Side.LOCAL:
            # A request enters the ledger from a queue, where it was entered already.
            return self.without_request_to(friend, currency, request_id) if removed else self
        sources = tuple(source for source in use.sources if source != friend) if removed else use.sources
        if not removed and friend not in sources:
            sources = (*sources, friend)
        return self._with(currency, request_id, replace(use, sources=sources))

    def _with_request_to(
        self, friend: PublicKey, currency: Currency, request_id: Uid, origin: Origin
    ) -> "OpenRequests":
        use = self.uses.get((currency, request_id), _Use())
        return self._with(currency, request_id, replace(use, outgoing=(*use.outgoing, (friend, origin))))

    def _with(self, currency: Currency, request_id: Uid, use: _Use) -> "OpenRequests":
        key = (currency, request_id)
        if use.sources or use.outgoing:
            return OpenRequests(self.uses.set(key, use))
        return OpenRequests(self.uses.delete(key)) if key in self.uses else self

    def _without_queued(
        self,
        friend: PublicKey,
        before: FunderState,
        part: RemovePendingRequests | RemovePendingRequestsCurrency,
    ) -> "OpenRequests":
        channel = before.friends[friend].channel
        if not isinstance(channel, Consistent):
            return self
        dropped: tuple[tuple[Currency, RequestSendFundsOp], ...]
        match part:
            case RemovePendingRequests():
                dropped = channel.pending_requests + channel.pending_user_requests
            case RemovePendingRequestsCurrency(currency):
                dropped = tuple(item for item in channel.pending_requests if item[0] == currency)
        index = self
        for currency, op in dropped:
            index = index.without_request_to(friend, currency, op.request_id)
        return index

    def _without_channel(self, friend: PublicKey, channel: Channel) -> "OpenRequests":
        """The channel is gone: what went out through it ends, what came in through it loses its origin."""
        if not isinstance(channel, Consistent):
            return self
        index = self
        for currency, op in channel.pending_requests + channel.pending_user_requests:
            index = index.without_request_to(friend, currency, op.request_id)
        for currency, ledger in channel.token_channel.ledgers.items():
            for request_id in ledger.pending_local:
                index = index.without_request_to(friend, currency, request_id)
            for request_id in ledger.pending_remote:
                index = index._without_source(friend, currency, request_id)
        return index

    def _without_source(self, friend: PublicKey, currency: Currency, request_id: Uid) -> "OpenRequests":
        use = self.uses.get((currency, request_id), _Use())
        sources = tuple(source for source in use.sources if source != friend)
        outgoing = tuple((key, None if origin == friend else origin) for key, origin in use.outgoing)
        return self._with(currency, request_id, _Use(sources, outgoing))


def rebuild(state: FunderState) -> OpenRequests:
    """The index of a state that was loaded. Spec 05 §8."""
    uses: dict[tuple[Currency, Uid], _Use] = {}
    for key, friend in state.friends.items():
        if isinstance(friend.channel, Consistent):
            _add_sources(uses, key, friend.channel)
    for key, friend in state.friends.items():
        if isinstance(friend.channel, Consistent):
            _add_outgoing(uses, state, key, friend.channel)
    return OpenRequests(Map(uses))


def _add_sources(uses: dict[tuple[Currency, Uid], _Use], friend: PublicKey, channel: Consistent) -> None:
    refused = {
        (currency, op.request_id) for currency, op in channel.pending_backwards_ops if isinstance(op, CancelSendFundsOp)
    }
    for currency, ledger in channel.token_channel.ledgers.items():
        for request_id in ledger.pending_remote:
            use = uses.get((currency, request_id), _Use())
            # Of two friends that sent one id, the newer is the one whose cancel waits.
            last = (currency, request_id) in refused
            sources = (*use.sources, friend) if last else (friend, *use.sources)
            uses[currency, request_id] = replace(use, sources=sources)


def _add_outgoing(
    uses: dict[tuple[Currency, Uid], _Use], state: FunderState, friend: PublicKey, channel: Consistent
) -> None:
    ids = [
        (currency, request_id)
        for currency, ledger in channel.token_channel.ledgers.items()
        for request_id in ledger.pending_local
    ]
    queued = channel.pending_requests + channel.pending_user_requests
    ids += [(currency, op.request_id) for currency, op in queued]
    for currency, request_id in ids:
        use = uses.get((currency, request_id), _Use())
        origin: Origin = use.sources[0] if use.sources else None
        if request_id in state.open_transactions:
            origin = LOCAL_USER
        uses[currency, request_id] = replace(use, outgoing=(*use.outgoing, (friend, origin)))
