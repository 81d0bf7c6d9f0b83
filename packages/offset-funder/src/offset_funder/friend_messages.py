"""
Messages of friends: move tokens, and the reset of a channel that broke. Spec 05 §7; the states: 05 §7.6, 04 §6.4, §7.

A channel works and we hold its token (Incoming) or the friend does (Outgoing), or it is broken (Inconsistent):

============  ===================================  ====================  ======================================
state         message of the friend                next state            what is sent
============  ===================================  ====================  ======================================
Outgoing      a valid token, built on our last     Incoming              a token, if something waits or the
                                                                         friend wants it
Outgoing      the token that ours was built on     the same              our last token once more
Incoming      its last token once more             the same              a token, if the friend wants it
either        any other token                      Inconsistent          our reset terms
Outgoing      reset terms                          Inconsistent, with    our reset terms
                                                   the friend's terms
Outgoing      the terms that our token accepts     the same              our last token once more (D38)
Incoming      reset terms                          the same              nothing: `InconsistencyWhenTokenOwned`
Inconsistent  a token that accepts our terms       Incoming              a token, with our relays
Inconsistent  any other token                      the same              our reset terms once more
Inconsistent  reset terms                          the same, with the    nothing
                                                   friend's new terms
============  ===================================  ====================  ======================================

From Inconsistent to Outgoing a person leads: `control` accepts the friend's terms. `unheard` says what a friend that is
not heard changes in this: what it says counts as above, except that its terms count while we hold the token, too.

Rules.
1. A token counts as a whole. All its changes of ledgers are made before the first of its operations is acted on.
2. When a channel breaks, every request that we sent through it, or queued for it, is cancelled towards where it came
   from. Replies that waited for the friend are lost with the channel, and its own requests are forgotten.
3. Messages of a friend that is disabled or not online count like others, but nothing is sent to one that is not online.

Calling contract. The engine calls `handle_friend_message` for each message, in the order of arrival, with a
`Session.token` of its own. Where it raises, the engine throws the session away, so that nothing has changed. What is
sent is the sender's work, at the end of the event.
"""

from offset_funder import routing, unheard
from offset_funder.channel_reset import accept_reset, build_terms, is_reset_of
from offset_funder.ledger import CancelReceived, CollectReceived, ResponseReceived
from offset_funder.mutations import (
    SetConsistent,
    SetInconsistent,
    SetRemoteRelays,
    SetSentLocalRelays,
    UpdateCurrencyConfig,
)
from offset_funder.relay_lists import after_reply
from offset_funder.session import Session
from offset_funder.state import Consistent, CurrencyConfig, Incoming, Inconsistent, Transition
from offset_funder.token_channel import Duplicate, InvalidMoveToken, Received, RetransmitOutgoing, receive
from offset_proto.errors import PeerError
from offset_proto.messages.friend import FriendMessage, MoveToken, MoveTokenRequest, ResetTerms
from offset_proto.messages.payment import RelayAddress
from offset_proto.types import PublicKey, Signature

__all__ = ["InconsistencyWhenTokenOwned", "handle_friend_message", "handle_silence"]

CURRENCIES_MAX = 1024
RELAYS_MAX = 256
"""Entries that a friend may announce; the original sends 16 relays at most. More: message ignored."""


class InconsistencyWhenTokenOwned(PeerError):
    """The friend complains about a channel whose token we hold; it will again after our next token."""


class AnnouncementTooLong(PeerError):
    """The friend announces more currencies or relays than anybody needs."""


def handle_friend_message(session: Session, sender: PublicKey, message: FriendMessage) -> None:
    """
    Act on a message of a friend, known but not necessarily enabled or online.

    Raises:
        FriendDoesNotExist, PeerError: The message is dropped; nothing has changed.
    """
    friend = session.friend(sender)
    match message:
        case MoveTokenRequest(token, token_wanted):
            _check_size(token)
            if isinstance(friend.channel, Inconsistent):
                _try_reset(session, sender, friend.channel, token, token_wanted=token_wanted)
            else:
                _handle_token(session, sender, friend.channel, token, token_wanted=token_wanted)
        case ResetTerms():
            if len(message.balance_for_reset) > CURRENCIES_MAX:
                raise AnnouncementTooLong("too many currencies in reset terms")
            _handle_terms(session, sender, friend.channel, message)


def handle_silence(session: Session, sender: PublicKey) -> None:
    """Break the channel with a friend that is not heard, and does not speak though it could."""
    friend = session.friend(sender)
    if not friend.is_heard and isinstance(friend.channel, Consistent):
        session.note(f"friend {friend.name!r} says nothing: the channel is broken, and our terms are sent")
        _become_inconsistent(session, sender, friend.channel, None)


def _check_size(token: MoveToken) -> None:
    if len(token.opt_active_currencies or ()) > CURRENCIES_MAX or len(token.opt_local_relays or ()) > RELAYS_MAX:
        raise AnnouncementTooLong("too many currencies or relays in a move token")


def _handle_token(
    session: Session, sender: PublicKey, channel: Consistent, token: MoveToken, *, token_wanted: bool
) -> None:
    configs = session.friend(sender).currency_configs
    max_debts = {
        block.currency: configs[block.currency].remote_max_debt
        for block in token.currencies_operations
        if block.currency in configs
    }
    try:
        result = receive(channel.token_channel, token, max_debts)
    except InvalidMoveToken as error:
        is_ahead = "" if session.friend(sender).is_heard else ", the friend is ahead of what this node remembers"
        session.note(f"inconsistent: {error}{is_ahead}")
        _become_inconsistent(session, sender, channel, None)
        return
    unheard.hear(session, sender, "it is where this node remembers it to be")
    match result:
        case Duplicate():
            if token_wanted:
                session.try_send(sender).remote_wants_token = True
        case RetransmitOutgoing():  # token_wanted is ignored
            session.try_send(sender).resend_outgoing = True
        case Received():
            _handle_received(session, sender, result)
            expected = session.surroundings.returns_tokens and _is_collected_next(result)
            session.try_send(sender).remote_wants_token |= token_wanted or expected


def _handle_received(session: Session, sender: PublicKey, received: Received) -> None:
    """Spec 05 §7.2: strict order of effects."""
    session.try_send(sender)
    relays_changed = _set_remote_relays(session, sender, received.opt_local_relays)
    _remember_origins(session, sender, received)
    # `receive` has applied these to its draft, and the session applies them again: `token_channel._Draft` says why.
    for mutation in received.mutations:
        session.mutate_friend(sender, mutation)
    for currency in received.activated:  # D43
        if currency not in session.friend(sender).currency_configs:
            session.mutate_friend(sender, UpdateCurrencyConfig(currency, CurrencyConfig()))
    sent = session.friend(sender).sent_local_relays
    if isinstance(sent, Transition):
        session.mutate_friend(sender, SetSentLocalRelays(after_reply(sent)))
    if relays_changed or isinstance(sent, Transition):
        session.update_channeler(sender)
    for currency, outputs in received.outputs:
        for output in outputs:
            routing.handle_output(session, sender, currency, output)


def _is_collected_next(received: Received) -> bool:
    """Whether the friend has answered a request, so that it needs the token once more, to collect."""
    return any(isinstance(output, ResponseReceived) for _, outputs in received.outputs for output in outputs)


def _remember_origins(session: Session, sender: PublicKey, received: Received) -> None:
    for currency, outputs in received.outputs:
        for output in outputs:
            if isinstance(output, ResponseReceived | CancelReceived | CollectReceived):
                request_id = output.op.request_id
                origin = session.open_requests.origin(sender, currency, request_id)
                session.token.reply_origins[currency, request_id] = origin


def _set_remote_relays(session: Session, sender: PublicKey, relays: tuple[RelayAddress, ...] | None) -> bool:
    if relays is None or relays == session.friend(sender).remote_relays:
        return False
    session.mutate_friend(sender, SetRemoteRelays(relays))
    return True


def _become_inconsistent(
    session: Session, sender: PublicKey, channel: Consistent, remote_terms: ResetTerms | None
) -> None:
    """Spec 05 §7.3, and §7.5 with the cancellation that the original forgets (D34)."""
    token_channel = channel.token_channel
    terms = build_terms(token_channel, Signature(session.surroundings.random_bytes(Signature.SIZE)))
    routing.cancel_pending(session, sender, channel)
    routing.cancel_queued(session, sender)
    inconsistent = Inconsistent(token_channel.last_incoming, terms, remote_terms)
    session.mutate_friend(sender, SetInconsistent(inconsistent))
    session.try_send(sender)


def _try_reset(
    session: Session, sender: PublicKey, channel: Inconsistent, token: MoveToken, *, token_wanted: bool
) -> None:
    """The friend may be accepting our terms; anything else is answered by repeating them. Spec 05 §7.4."""
    terms = channel.local_reset_terms
    token_channel = accept_reset(session.state.local_public_key, sender, terms, token)
    flags = session.try_send(sender)
    if token_channel is None:
        flags.resend_outgoing = True
        return
    session.mutate_friend(sender, SetConsistent(token_channel))
    unheard.hear(session, sender, "it accepts our terms")
    for balance in terms.balance_for_reset:
        if balance.currency not in session.friend(sender).currency_configs:
            session.mutate_friend(sender, UpdateCurrencyConfig(balance.currency, CurrencyConfig()))
    if _set_remote_relays(session, sender, token.opt_local_relays):
        session.update_channeler(sender)
    flags.resend_relays = True
    flags.remote_wants_token = token_wanted


def _handle_terms(session: Session, sender: PublicKey, channel: Consistent | Inconsistent, terms: ResetTerms) -> None:
    """Act on what the friend asks for to start the channel anew: it says that the channel is broken. Spec 05 §7.5."""
    is_heard = session.friend(sender).is_heard
    match channel:
        case Inconsistent(last, local_terms, _):
            session.mutate_friend(sender, SetInconsistent(Inconsistent(last, local_terms, terms)))
        case Consistent(token_channel) if is_heard and isinstance(token_channel.direction, Incoming):
            raise InconsistencyWhenTokenOwned
        case Consistent(token_channel) if is_reset_of(token_channel, terms):  # D38
            session.try_send(sender).resend_outgoing = True
        case Consistent():
            _become_inconsistent(session, sender, channel, terms)
    if not is_heard:
        unheard.raise_terms(session, sender, terms.inconsistency_counter)
        unheard.hear(session, sender, "these are its terms for a new beginning")
