"""
Requests of apps, one handler each. Spec 05 §5.

A handler checks before it mutates; what it refuses is a `ControlError` with the specification's name for
the reason, and the app sees an acknowledgement without effect.

`AddFriend`, `AddRelay`, `RemoveFriend` and `RemoveRelay` are here the requests of an app; the mutations that carry them
out have the same names, and are written ``mutations.AddFriend`` and so on.
"""

from offset_funder import buyer, mutations, routing, seller
from offset_funder.channel_reset import ResetRefused, accept_terms, check_terms
from offset_funder.effects import ForgetFriend, SetRelays
from offset_funder.events import FunderRequest
from offset_funder.mutations import (
    RemoveCurrencyConfig,
    SetConsistent,
    SetName,
    SetRemoteRelays,
    SetSentLocalRelays,
    SetStatus,
    UpdateCurrencyConfig,
)
from offset_funder.relay_lists import after_reset
from offset_funder.session import ControlError, Session
from offset_funder.state import Consistent, CurrencyConfig, Friend, Inconsistent, Outgoing
from offset_proto.limits import NODE_RELAYS_MAX
from offset_proto.message import replace
from offset_proto.messages.app import (
    AckClosePayment,
    AddFriend,
    AddInvoice,
    AddRelay,
    CancelInvoice,
    CloseFriendCurrency,
    CommitInvoice,
    CreatePayment,
    CreateTransaction,
    DisableFriend,
    EnableFriend,
    OpenFriendCurrency,
    RemoveFriend,
    RemoveFriendCurrency,
    RemoveRelay,
    RequestClosePayment,
    ResetFriendChannel,
    SetFriendCurrencyMaxDebt,
    SetFriendCurrencyRate,
    SetFriendName,
    SetFriendRelays,
)
from offset_proto.messages.extensions import AddExpiringInvoice, GiveUpPayment
from offset_proto.messages.friend import MoveTokenRequest
from offset_proto.messages.payment import NamedRelayAddress
from offset_proto.types import U64, Currency, PublicKey, RandValue

__all__ = ["handle_request", "set_relays"]


def handle_request(session: Session, request: FunderRequest, now: U64) -> None:
    """
    Carry out a request of an app that was made *now*, in seconds since 1970.

    Raises:
        ControlError: It is refused; nothing has changed.
    """
    match request:
        case AddRelay(relay):
            _add_relay(session, relay)
        case RemoveRelay(public_key):
            session.mutate(mutations.RemoveRelay(public_key))
            _relays_changed(session)
        case AddFriend():
            _add_friend(session, request)
        case RemoveFriend(public_key):
            _remove_friend(session, public_key)
        case EnableFriend(public_key):
            session.friend(public_key)
            session.mutate_friend(public_key, SetStatus(True))
            session.update_channeler(public_key)
        case DisableFriend(public_key):
            session.friend(public_key)
            session.mutate_friend(public_key, SetStatus(False))
            _disconnect(session, public_key)
        case SetFriendName(public_key, name):
            if session.friend(public_key).name != name:
                session.mutate_friend(public_key, SetName(name))
        case SetFriendRelays(public_key, relays):
            if session.friend(public_key).remote_relays != relays:
                session.mutate_friend(public_key, SetRemoteRelays(relays))
                session.update_channeler(public_key)
        case ResetFriendChannel():
            _reset_channel(session, request)
        case (
            OpenFriendCurrency()
            | CloseFriendCurrency()
            | SetFriendCurrencyMaxDebt()
            | SetFriendCurrencyRate()
            | RemoveFriendCurrency()
        ):
            _configure_currency(session, request)
        case _:
            _handle_payment(session, request, now)


_PaymentRequest = (
    CreatePayment
    | CreateTransaction
    | RequestClosePayment
    | AckClosePayment
    | AddInvoice
    | CancelInvoice
    | CommitInvoice
    | AddExpiringInvoice
    | GiveUpPayment
)


def _handle_payment(session: Session, request: _PaymentRequest, now: U64) -> None:
    match request:
        case CreatePayment():
            buyer.create_payment(session, request)
        case CreateTransaction():
            buyer.create_transaction(session, request)
        case RequestClosePayment(payment_id):
            buyer.request_close_payment(session, payment_id)
        case AckClosePayment():
            buyer.ack_close_payment(session, request)
        case GiveUpPayment(payment_id):
            buyer.give_up_payment(session, payment_id)
        case AddInvoice():
            seller.add_invoice(session, request)
        case AddExpiringInvoice(invoice_id, currency, amount, seconds):
            seller.add_invoice(session, AddInvoice(invoice_id, currency, amount), now + seconds)
        case CancelInvoice(invoice_id):
            seller.cancel_invoice(session, invoice_id)
        case CommitInvoice(commit):
            seller.commit_invoice(session, commit)


def _add_relay(session: Session, relay: NamedRelayAddress) -> None:
    if len(session.state.relays) >= NODE_RELAYS_MAX:  # also where it would only replace one [QUIRK]
        raise ControlError("MaxNodeRelaysReached")
    session.mutate(mutations.AddRelay(relay))
    _relays_changed(session)


def set_relays(session: Session) -> None:
    """Tell the channeler all relays that we are to listen at."""
    session.configure(SetRelays(tuple(relay.without_name() for relay in session.state.relays)))


def _relays_changed(session: Session) -> None:
    set_relays(session)
    for public_key in session.state.friends:
        session.try_send(public_key)


def _add_friend(session: Session, request: AddFriend) -> None:
    if request.friend_public_key == session.state.local_public_key:  # D44
        raise ControlError("CanNotAddSelf")
    if request.friend_public_key in session.state.friends:
        session.note("addFriend: already a friend")
        return
    is_heard = not session.state.has_forgotten  # it may have been a friend in the time that is forgotten
    session.mutate(mutations.AddFriend(request.friend_public_key, request.relays, request.name, is_heard))


def _disconnect(session: Session, public_key: PublicKey) -> None:
    routing.cancel_queued(session, public_key)
    session.configure(ForgetFriend(public_key))


def _remove_friend(session: Session, public_key: PublicKey) -> None:
    friend = session.friend(public_key)
    _disconnect(session, public_key)
    if isinstance(friend.channel, Consistent):
        routing.cancel_pending(session, public_key, friend.channel)
    session.mutate(mutations.RemoveFriend(public_key))


_CurrencyRequest = (
    OpenFriendCurrency | CloseFriendCurrency | SetFriendCurrencyMaxDebt | SetFriendCurrencyRate | RemoveFriendCurrency
)


def _configure_currency(session: Session, request: _CurrencyRequest) -> None:
    public_key, currency = request.friend_public_key, request.currency
    friend = session.friend(public_key)
    config = friend.currency_configs.get(currency)
    base = config or CurrencyConfig()  # any of the settings proposes the currency
    match request:
        case RemoveFriendCurrency():
            _remove_currency(session, friend, currency)
            return
        case SetFriendCurrencyMaxDebt():
            changed = replace(base, remote_max_debt=request.remote_max_debt)
        case SetFriendCurrencyRate():
            changed = replace(base, rate=request.rate)
        case OpenFriendCurrency():
            changed = replace(base, is_open=True)
        case CloseFriendCurrency():
            changed = replace(base, is_open=False)
    if changed == config:
        return
    if isinstance(request, CloseFriendCurrency):
        routing.cancel_queued_currency(session, public_key, currency)
    session.mutate_friend(public_key, UpdateCurrencyConfig(currency, changed))
    if config is None or not isinstance(request, SetFriendCurrencyRate):
        session.try_send(public_key)


def _remove_currency(session: Session, friend: Friend, currency: Currency) -> None:
    if currency not in friend.currency_configs:
        raise ControlError("CurrencyNotConfigured")
    if not isinstance(friend.channel, Consistent):
        raise ControlError("ChannelInconsistent")  # D35
    if currency in friend.channel.token_channel.ledgers:
        raise ControlError("CanNotRemoveActiveCurrency")
    session.mutate_friend(friend.remote_public_key, RemoveCurrencyConfig(currency))
    session.try_send(friend.remote_public_key)


def _reset_channel(session: Session, request: ResetFriendChannel) -> None:
    """Accept the friend's terms, whether the friend is online or not (D39). Spec 05 §10.3 [WIRE]."""
    public_key = request.friend_public_key
    friend = session.friend(public_key)
    channel = friend.channel
    if not isinstance(channel, Inconsistent) or channel.opt_remote_reset_terms is None:
        raise ControlError("NotInvitedToReset")
    terms = channel.opt_remote_reset_terms
    if terms.reset_token != request.reset_token:
        raise ControlError("ResetTokenMismatch")
    try:
        check_terms(terms)
    except ResetRefused as error:
        raise ControlError(str(error)) from None
    current = session.state.relays
    session.mutate_friend(public_key, SetSentLocalRelays(after_reset(friend.sent_local_relays, current)))
    token_channel = accept_terms(
        session.state.local_public_key,
        public_key,
        terms,
        relays=tuple(relay.without_name() for relay in current),
        previous=channel.opt_last_incoming_move_token,
        rand_nonce=RandValue(session.surroundings.random_bytes(RandValue.SIZE)),
        sign=session.surroundings.identity.sign,
    )
    session.mutate_friend(public_key, SetConsistent(token_channel))
    for balance in terms.balance_for_reset:
        if balance.currency not in friend.currency_configs:
            session.mutate_friend(public_key, UpdateCurrencyConfig(balance.currency, CurrencyConfig()))
    if public_key in session.online:
        direction = token_channel.direction
        assert isinstance(direction, Outgoing)
        session.send(public_key, MoveTokenRequest(direction.move_token_out, token_wanted=True))
