"""
Requests on their way: forward, accept, pass back, cancel. Spec 05 §8, §9.

A request runs from the buyer to the seller, responses, cancels and collects run back. Whoever can not
carry a request on cancels it towards where it came from. Our own part as buyer is in `buyer`, as
seller in `seller`.
"""

from offset_funder import buyer, seller
from offset_funder.effects import RequestForwarded
from offset_funder.ledger import (
    CancelReceived,
    CollectReceived,
    LedgerOutput,
    RequestReceived,
    RequestRefused,
    ResponseReceived,
)
from offset_funder.mutations import (
    PushBackPendingRequest,
    RemovePendingRequests,
    RemovePendingRequestsCurrency,
)
from offset_funder.open_requests import LOCAL_USER, Origin
from offset_funder.session import Session
from offset_funder.state import Consistent
from offset_proto.limits import FORWARDED_REQUESTS_MAX, PENDING_TRANSACTIONS_MAX
from offset_proto.message import replace
from offset_proto.messages.friend import CancelSendFundsOp, FriendsRoute, RequestSendFundsOp
from offset_proto.rate import calc_fee
from offset_proto.types import Currency, PublicKey, Uid

__all__ = [
    "cancel_pending",
    "cancel_queued",
    "cancel_queued_currency",
    "cancel_request",
    "handle_output",
]


def handle_output(session: Session, sender: PublicKey, currency: Currency, output: LedgerOutput) -> None:
    """Act on one operation of a valid token, whose ledger changes are all applied. Spec 05 §7.2-5."""
    match output:
        case RequestRefused(request):
            session.pass_back(sender, currency, CancelSendFundsOp(request.request_id))
        case RequestReceived(request):
            accepted = _accept_request(session, sender, currency, request)
            if not accepted:
                session.pass_back(sender, currency, CancelSendFundsOp(request.request_id))
        case ResponseReceived() | CancelReceived() | CollectReceived():
            _handle_reply(session, currency, output)


def _accept_request(session: Session, sender: PublicKey, currency: Currency, request: RequestSendFundsOp) -> bool:
    is_end = not request.route.public_keys
    if session.open_requests.is_used_elsewhere(sender, currency, request.request_id, ours=is_end):
        session.note(f"request {request.request_id!r} is in use elsewhere")
        return False
    if request.request_id in session.state.open_transactions and not is_end:
        return False
    channel = session.consistent(sender)
    if channel is not None:
        pending = channel.token_channel.ledgers[currency].pending_remote
        if len(pending) > PENDING_TRANSACTIONS_MAX:
            return False
    if is_end:
        return seller.accept_request(session, sender, currency, request)
    return _forward(session, sender, currency, request)


def _forward(session: Session, sender: PublicKey, currency: Currency, request: RequestSendFundsOp) -> bool:
    """Hand a request on to the next friend of its route, less our fee. Spec 05 §8.1."""
    if (currency, request.request_id) in session.token.refused:
        return False
    config = session.friend(sender).currency_configs.get(currency)
    if config is None or not config.is_open:
        return False
    next_key, *rest = request.route.public_keys
    next_friend = session.state.friends.get(next_key)
    next_channel = session.consistent(next_key)
    if next_friend is None or next_channel is None or next_key not in session.online:
        return False
    next_config = next_friend.currency_configs.get(currency)
    if next_config is None or not next_config.is_open or currency not in next_channel.token_channel.ledgers:
        return False
    if len(next_channel.pending_requests) >= FORWARDED_REQUESTS_MAX:
        return False
    fee = calc_fee(config.rate, request.dest_payment)  # fits: the rate's parts have 32 bits
    if request.left_fees < fee:
        return False
    forwarded = replace(request, route=FriendsRoute(tuple(rest)), left_fees=request.left_fees - fee)
    session.mutate_friend(next_key, PushBackPendingRequest(currency, forwarded))
    session.try_send(next_key)
    session.outputs.occurrences.append(
        RequestForwarded(sender, next_key, currency, request.request_id, request.dest_payment, fee)
    )
    return True


def _handle_reply(
    session: Session, currency: Currency, output: ResponseReceived | CancelReceived | CollectReceived
) -> None:
    transaction, op = output.transaction, output.op
    origin = session.token.reply_origins.get((currency, op.request_id))
    if isinstance(origin, PublicKey):
        session.pass_back(origin, currency, op)
    elif origin is LOCAL_USER:
        match output:
            case ResponseReceived():
                buyer.handle_response(session, currency, transaction, output.op)
            case CancelReceived():
                buyer.handle_cancel(session, op.request_id)
            case CollectReceived():
                buyer.handle_collect(session, currency, transaction, output.op)
    else:
        # The origin was removed or became inconsistent; this ledger is up to date already (D31).
        session.note(f"dropped a reply for {op.request_id!r}: its origin is gone")


def cancel_request(session: Session, origin: Origin, currency: Currency, request_id: Uid) -> None:
    """Tell the origin of a request that it goes no further. Spec 05 §9.2."""
    if isinstance(origin, PublicKey):
        session.pass_back(origin, currency, CancelSendFundsOp(request_id))
    elif origin is LOCAL_USER:
        buyer.fail_transaction(session, request_id)
    else:
        session.note(f"dropped the request {request_id!r}: its origin is gone")


def cancel_queued(session: Session, friend: PublicKey) -> None:
    """Cancel all requests that wait to be sent to *friend*. Spec 05 §9.2."""
    channel = session.consistent(friend)
    if channel is None:
        return
    queued = channel.pending_requests + channel.pending_user_requests
    _cancel_each(session, friend, [(currency, op.request_id) for currency, op in queued])
    if queued:
        session.mutate_friend(friend, RemovePendingRequests())


def cancel_queued_currency(session: Session, friend: PublicKey, currency: Currency) -> None:
    """Cancel the forwarded requests of one currency that wait for *friend*; our user's are kept. Spec 05 §9.2."""
    channel = session.consistent(friend)
    if channel is None:
        return
    queued = [op.request_id for name, op in channel.pending_requests if name == currency]
    _cancel_each(session, friend, [(currency, request_id) for request_id in queued])
    if queued:
        session.mutate_friend(friend, RemovePendingRequestsCurrency(currency))


def cancel_pending(session: Session, friend: PublicKey, channel: Consistent) -> None:
    """Cancel what went out through a channel that is about to be dropped. Spec 05 §9.3."""
    pending = [
        (currency, request_id)
        for currency, ledger in channel.token_channel.ledgers.items()
        for request_id in ledger.pending_local
    ]
    _cancel_each(session, friend, pending)


def _cancel_each(session: Session, friend: PublicKey, requests: list[tuple[Currency, Uid]]) -> None:
    for currency, request_id in requests:
        cancel_request(session, session.open_requests.origin(friend, currency, request_id), currency, request_id)
