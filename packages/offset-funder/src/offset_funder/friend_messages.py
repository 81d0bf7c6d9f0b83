"""Messages of friends: move tokens, inconsistency, reset. Spec 05 §7."""

from offset_funder import routing
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

__all__ = ["InconsistencyWhenTokenOwned", "handle_friend_message"]

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
        session.note(f"inconsistent: {error}")
        _become_inconsistent(session, sender, channel, None)
        return
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
    # `receive` has carried these out already, on a copy: a token counts as a whole, so each operation had to be checked
    # against the ledger that the one before it leaves. Here they change the state in the one way that it changes, which
    # also keeps the index of open requests, and yields what is stored.
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
    for balance in terms.balance_for_reset:
        if balance.currency not in session.friend(sender).currency_configs:
            session.mutate_friend(sender, UpdateCurrencyConfig(balance.currency, CurrencyConfig()))
    if _set_remote_relays(session, sender, token.opt_local_relays):
        session.update_channeler(sender)
    flags.resend_relays = True
    flags.remote_wants_token = token_wanted


def _handle_terms(session: Session, sender: PublicKey, channel: Consistent | Inconsistent, terms: ResetTerms) -> None:
    """Act on what the friend asks for to start the channel anew: it says that the channel is broken. Spec 05 §7.5."""
    match channel:
        case Inconsistent(last, local_terms, _):
            session.mutate_friend(sender, SetInconsistent(Inconsistent(last, local_terms, terms)))
        case Consistent(token_channel) if isinstance(token_channel.direction, Incoming):
            raise InconsistencyWhenTokenOwned
        case Consistent(token_channel) if is_reset_of(token_channel, terms):  # D38
            session.try_send(sender).resend_outgoing = True
        case Consistent():
            _become_inconsistent(session, sender, channel, terms)
