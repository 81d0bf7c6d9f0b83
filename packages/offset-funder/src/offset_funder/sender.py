"""
What goes to each friend at the end of an event. Spec 05 §10.

Handlers queue operations and flag friends (`Session.try_send`); what is sent follows from the state of the channel:

============  ====================================  ========================================================
channel       what is sent                          when
============  ====================================  ========================================================
Inconsistent  our reset terms                       each time the friend is flagged
Outgoing      our last token once more, unchanged   something waits for the friend: this asks for the token;
                                                    or a repetition is wanted, as after a link came up
Incoming      a new token with what waits; the      something waits; or an empty token is wanted, because
              channel is Outgoing then              the friend needs it or a link came up
============  ====================================  ========================================================

A friend that is not heard is told nothing before it has spoken, except for reset terms (`unheard`).

In all other cases nothing is sent; an Incoming channel keeps the token until there is something to say.

Rules.
1. A token takes replies first, then forwarded requests, then those of our own user, each queue in its order, and
   `OPERATIONS_PER_TOKEN_MAX` operations in all. With *token_wanted* it asks for the token to come back: where
   something had to stay behind, or where it carries our relays.
2. An operation that our own ledger does not allow is dropped, since the friend would take the whole token for
   invalid. A request that is dropped is cancelled towards where it came from, which may flag that friend in turn.
3. Each message says all of our side of the channel, so one that was not sent yet may be replaced by a later one
   (§10.4).

Calling contract. The engine calls `send_all` once for an event, or once for a batch of events, when all handlers are
through and all responses are signed. It uses up the flags of every friend. Those of a friend that is not online do
nothing: its queues stay, and the friend is flagged again when it comes online.
"""

from collections.abc import Callable

from offset_funder import routing
from offset_funder.ledger import InvalidOperation
from offset_funder.mutations import (
    FriendPart,
    PopFrontPendingBackwardsOp,
    PopFrontPendingRequest,
    PopFrontPendingUserRequest,
    SetSentLocalRelays,
)
from offset_funder.relay_lists import after_reset, after_send, is_stale
from offset_funder.session import SendFlags, Session
from offset_funder.state import Consistent, Friend, Incoming, Inconsistent, Outgoing
from offset_funder.token_channel import TokenBuilder
from offset_proto.limits import OPERATIONS_PER_TOKEN_MAX
from offset_proto.messages.friend import FriendTcOp, MoveTokenRequest, RequestSendFundsOp
from offset_proto.messages.payment import RelayAddress
from offset_proto.types import Currency, PublicKey, RandValue

__all__ = ["send_all"]


def send_all(session: Session) -> None:
    """Look after every friend that was flagged; a cancel on the way may flag further ones."""
    while session.flags:
        public_key = next(iter(session.flags))
        flags = session.flags.pop(public_key)
        # Flags of a friend that is gone (D47) or offline are of no use.
        if public_key in session.state.friends and public_key in session.online:
            _send(session, public_key, flags)


def _send(session: Session, public_key: PublicKey, flags: SendFlags) -> None:
    friend = session.state.friends[public_key]
    match friend.channel:
        case Inconsistent():
            session.send(public_key, friend.channel.local_reset_terms)
        case Consistent() if not friend.is_heard:
            pass
        case Consistent(token_channel):
            match token_channel.direction:
                case Outgoing(token, _, _):
                    pending = _is_pending(session, friend, friend.channel)
                    if pending or flags.resend_outgoing:
                        wanted = pending or token.opt_local_relays is not None
                        session.send(public_key, MoveTokenRequest(token, wanted))
                case Incoming():
                    _send_token(session, public_key, friend, friend.channel, flags)


def _is_pending(session: Session, friend: Friend, channel: Consistent) -> bool:
    return (
        is_stale(friend.sent_local_relays, session.state.relays)
        or _wanted_currencies(friend, channel) != channel.token_channel.active_local
        or bool(channel.pending_requests or channel.pending_backwards_ops or channel.pending_user_requests)
    )


def _wanted_currencies(friend: Friend, channel: Consistent) -> frozenset[Currency]:
    """All that is configured, and what is active even if its configuration is gone (D43)."""
    return frozenset(friend.currency_configs) | frozenset(channel.token_channel.ledgers)


def _send_token(session: Session, public_key: PublicKey, friend: Friend, channel: Consistent, flags: SendFlags) -> None:
    """Build and send a new token, or keep it where there is nothing to say. Spec 05 §10.2."""
    relays = _announce_relays(session, public_key, friend, flags)
    wanted = _wanted_currencies(friend, channel)
    currencies = tuple(sorted(wanted)) if wanted != channel.token_channel.active_local else None
    builder = TokenBuilder(channel.token_channel, currencies)
    full = _fill(session, public_key, builder)
    may_be_empty = flags.resend_outgoing or flags.remote_wants_token
    if not (builder.operations or relays is not None or currencies is not None or may_be_empty):
        return
    rand_nonce = RandValue(session.surroundings.random_bytes(RandValue.SIZE))
    token, mutations = builder.finish(relays, rand_nonce, session.surroundings.identity.sign)
    # The builder has applied these to its draft, and the session applies them again: `token_channel._Draft` says why.
    for mutation in mutations:
        session.mutate_friend(public_key, mutation)
    session.send(public_key, MoveTokenRequest(token, token_wanted=full or relays is not None))


def _announce_relays(
    session: Session, public_key: PublicKey, friend: Friend, flags: SendFlags
) -> tuple[RelayAddress, ...] | None:
    """All our relays where the friend has to be told, else None. Spec 05 §11."""
    current, sent = session.state.relays, friend.sent_local_relays
    if flags.resend_relays:
        sent = after_reset(sent, current)
    elif is_stale(sent, current):
        sent = after_send(sent, current)
    else:
        return None
    session.mutate_friend(public_key, SetSentLocalRelays(sent))
    session.update_channeler(public_key)
    return tuple(relay.without_name() for relay in current)


_Take = Callable[[Consistent], tuple[tuple[Currency, FriendTcOp], ...]]
_QUEUES: tuple[tuple[_Take, FriendPart], ...] = (
    (lambda channel: channel.pending_backwards_ops, PopFrontPendingBackwardsOp()),
    (lambda channel: channel.pending_requests, PopFrontPendingRequest()),
    (lambda channel: channel.pending_user_requests, PopFrontPendingUserRequest()),
)


def _fill(session: Session, public_key: PublicKey, builder: TokenBuilder) -> bool:
    """
    Move what waits into the token, in the order of the queues; what the ledger refuses is dropped.

    Returns:
        True where something had to stay behind.
    """
    for queue_of, pop in _QUEUES:
        while True:
            channel = session.state.friends[public_key].channel
            assert isinstance(channel, Consistent)
            queue = queue_of(channel)
            if not queue:
                break
            if builder.operations >= OPERATIONS_PER_TOKEN_MAX:
                return True
            currency, op = queue[0]
            session.mutate_friend(public_key, pop)
            try:
                builder.add(currency, op)
            except InvalidOperation as error:
                session.note(f"dropped an operation: {type(error).__name__}")
                if isinstance(op, RequestSendFundsOp):
                    _drop_request(session, public_key, currency, op)
    return False


def _drop_request(session: Session, public_key: PublicKey, currency: Currency, op: RequestSendFundsOp) -> None:
    origin = session.forget_request_to(public_key, currency, op.request_id)
    routing.cancel_request(session, origin, currency, op.request_id)
