"""
Invoices: accept the requests that come for them, sign responses, collect or cancel. Spec 05 §8.2, §8.3, §13.

An invoice is open from `AddInvoice` to `RemoveInvoice`. Its state follows from what came for it:

    add_invoice        first request              the total is reached           commit_invoice
    ------------> bare ------------> partly paid -----------------> fully paid -----------------> collected
                   |                     |                              |
                   +---------------------+------------------------------+------ cancel_invoice -> cancelled

Rules.
1. A request is accepted where its currency (D32), its total and its source lock are those of the invoice, and where it
   does not bring the sum above the total. The first one that is accepted fixes the source lock.
2. The sum counts the transactions that a ledger still holds. Those that went with a broken channel, or with a friend
   that was removed, are taken out of the invoice (D33), so an invoice that was fully paid may be partly paid again. A
   second friend may have sent a request of the same id, which is refused (D28): while its cancel waits for a token, it
   stands in that friend's ledger, and takes the place of none that is gone.
3. The response to the request that reaches the total says so (*is_complete*). Only from it can the buyer make a commit
   that `commit_invoice` takes: the commit carries our signature of it, and opens the source lock.
4. That signature says what was there when it was made. What is collected has to be there now: a commit is refused while
   less than the total is, and the invoice stays open, so that nobody hands out goods for credits that went with a
   channel. The buyer may send what is missing (the commit holds then), and the seller may cancel. It is also refused
   while one of the friends is unheard: a node that goes on from a backup may have collected, or cancelled, in the time
   that it has forgotten. A collect or cancel goes to the friend that each transaction came from.
5. After both ends the invoice is forgotten, and each further request for it is refused.
6. An invoice may have an end, at which whoever runs the engine has it cancelled. That is an event like others: what was
   collected before it is no invoice any more, and what it cancels can not be collected after it.

Calling contract. `routing` calls `accept_request` for a request whose route ends here, once the ledgers are as the
whole token leaves them, and cancels the request where the answer is False. The engine calls `sign_response` for each
accepted request at the end of the same event, before the sender runs. `control` calls the other functions for
requests of apps; where they raise a `ControlError`, nothing has changed.
"""

from offset_crypto.hashing import hash_lock
from offset_crypto.identity import InvalidSignature
from offset_crypto.signed import response_buffer
from offset_crypto.verify import verify_commit
from offset_funder.effects import InvoicePaid
from offset_funder.mutations import (
    AddIncomingTransaction,
    AddInvoice,
    PushBackPendingBackwardsOp,
    RemoveIncomingTransaction,
    RemoveInvoice,
    SetInvoiceSrcHashedLock,
)
from offset_funder.open_requests import OpenRequests
from offset_funder.session import ControlError, ResponseDraft, Session
from offset_funder.state import Consistent, FunderState, OpenInvoice, PendingTransaction
from offset_proto.messages import app
from offset_proto.messages.friend import (
    CancelSendFundsOp,
    CollectSendFundsOp,
    RequestSendFundsOp,
    ResponseSendFundsOp,
)
from offset_proto.messages.payment import Commit
from offset_proto.types import U64, Currency, InvoiceId, PlainLock, PublicKey, RandValue, Uid

__all__ = [
    "accept_request",
    "add_invoice",
    "cancel_invoice",
    "commit_invoice",
    "expire_invoice",
    "incoming_transaction",
    "sign_response",
]


def add_invoice(session: Session, request: app.AddInvoice, opt_end: U64 | None = None) -> None:
    """
    Expect a payment, until *opt_end* in seconds since 1970. Spec 05 §13, 12 §4.

    Raises:
        ControlError: InvoiceAlreadyExists.
    """
    if request.invoice_id in session.state.open_invoices:
        raise ControlError("InvoiceAlreadyExists")
    lock = PlainLock(session.surroundings.random_bytes(PlainLock.SIZE))
    session.mutate(AddInvoice(request.invoice_id, request.currency, request.total_dest_payment, lock, opt_end))


def accept_request(session: Session, sender: PublicKey, currency: Currency, request: RequestSendFundsOp) -> bool:
    """
    Judge a request that ends here; whether the currency is open is not asked. Spec 05 §8.2.

    Returns:
        False where it must be cancelled.
    """
    invoice = session.state.open_invoices.get(request.invoice_id)
    if invoice is None or invoice.currency != currency:  # D32
        return False
    if invoice.opt_src_hashed_lock not in (None, request.src_hashed_lock):
        return False
    if request.total_dest_payment != invoice.total_dest_payment:
        return False
    paid = _forget_vanished(session, request.invoice_id, invoice, but=request.request_id)
    paid += request.dest_payment
    if paid > invoice.total_dest_payment:
        return False
    if invoice.opt_src_hashed_lock is None:
        session.mutate(SetInvoiceSrcHashedLock(request.invoice_id, request.src_hashed_lock))
    session.mutate(AddIncomingTransaction(request.invoice_id, request.request_id))
    is_complete = paid == invoice.total_dest_payment
    session.responses.append(ResponseDraft(sender, currency, request, request.invoice_id, is_complete))
    session.try_send(sender)
    return True


def _forget_vanished(session: Session, invoice_id: InvoiceId, invoice: OpenInvoice, *, but: Uid) -> int:
    """
    Remove the transactions of an invoice that went with their channel (D33).

    Returns:
        Credits of those that are still there. An entry of the id *but* is a leftover, too.
    """
    total = 0
    for request_id in invoice.incoming_transactions:
        transaction = None if request_id == but else _incoming(session, invoice.currency, request_id)
        if transaction is None:
            session.mutate(RemoveIncomingTransaction(invoice_id, request_id))
        else:
            total += transaction.dest_payment
    return total


def _incoming(session: Session, currency: Currency, request_id: Uid) -> PendingTransaction | None:
    return incoming_transaction(session.state, session.open_requests, currency, request_id)


def incoming_transaction(
    state: FunderState, open_requests: OpenRequests, currency: Currency, request_id: Uid
) -> PendingTransaction | None:
    """A transaction that came for an invoice, as its ledger holds it; None where it went with its channel (D33)."""
    source = open_requests.source(currency, request_id)
    friend = None if source is None else state.friends.get(source)
    if friend is None or not isinstance(friend.channel, Consistent):
        return None
    ledger = friend.channel.token_channel.ledgers.get(currency)
    transaction = None if ledger is None else ledger.pending_remote.get(request_id)
    if transaction is None or transaction.responded is not None:
        return transaction
    is_refused = (currency, CancelSendFundsOp(request_id)) in friend.channel.pending_backwards_ops
    return None if is_refused else transaction


def sign_response(session: Session, draft: ResponseDraft) -> None:
    """Sign the response to an accepted request and queue it for the friend. Spec 05 §8.3 [WIRE]."""
    invoice = session.state.open_invoices[draft.invoice_id]
    request = draft.request
    rand_nonce = RandValue(session.surroundings.random_bytes(RandValue.SIZE))
    dest_hashed_lock = hash_lock(invoice.dest_plain_lock)
    buffer = response_buffer(
        request_id=request.request_id,
        rand_nonce=rand_nonce,
        src_hashed_lock=request.src_hashed_lock,
        dest_hashed_lock=dest_hashed_lock,
        is_complete=draft.is_complete,
        dest_payment=request.dest_payment,
        total_dest_payment=request.total_dest_payment,
        invoice_id=request.invoice_id,
        currency=draft.currency,
    )
    signature = session.surroundings.identity.sign(buffer)
    op = ResponseSendFundsOp(request.request_id, dest_hashed_lock, draft.is_complete, rand_nonce, signature)
    session.mutate_friend(draft.friend, PushBackPendingBackwardsOp(draft.currency, op))


def cancel_invoice(session: Session, invoice_id: InvoiceId) -> None:
    """
    Give back what came for an invoice, and forget it. Spec 05 §13.

    Raises:
        ControlError: InvoiceDoesNotExist.
    """
    invoice = session.state.open_invoices.get(invoice_id)
    if invoice is None:
        raise ControlError("InvoiceDoesNotExist")
    for request_id in invoice.incoming_transactions:
        source = session.open_requests.source(invoice.currency, request_id)
        if source is not None and _incoming(session, invoice.currency, request_id) is not None:
            session.pass_back(source, invoice.currency, CancelSendFundsOp(request_id))
    session.mutate(RemoveInvoice(invoice_id))


def expire_invoice(session: Session, invoice_id: InvoiceId, now: U64) -> None:
    """Cancel an invoice if it is still there and has an end that has come by *now*. Spec 12 §4."""
    invoice = session.state.open_invoices.get(invoice_id)
    if invoice is not None and invoice.opt_end is not None and invoice.opt_end <= now:
        cancel_invoice(session, invoice_id)
        session.note(f"cancelled an invoice whose end has come: {invoice_id!r}")


def commit_invoice(session: Session, commit: Commit) -> None:
    """
    Collect all that came for an invoice. Spec 05 §13.

    Raises:
        ControlError: InvoiceDoesNotExist, InvalidCommit; InvoiceNotComplete: parts of it went with a channel (D33);
            FriendNotHeard: one that a part came from has not spoken since the node went on from a backup.
    """
    invoice = session.state.open_invoices.get(commit.invoice_id)
    if invoice is None:
        raise ControlError("InvoiceDoesNotExist")
    try:
        verify_commit(commit, session.state.local_public_key)
    except InvalidSignature:
        raise ControlError("InvalidCommit") from None
    if hash_lock(commit.src_plain_lock) != invoice.opt_src_hashed_lock:
        raise ControlError("InvalidCommit")
    sources = _complete(session, invoice)
    for request_id, source in sources.items():
        op = CollectSendFundsOp(request_id, commit.src_plain_lock, invoice.dest_plain_lock)
        session.pass_back(source, invoice.currency, op)
    session.mutate(RemoveInvoice(commit.invoice_id))
    session.outputs.occurrences.append(InvoicePaid(commit.invoice_id, invoice.currency, invoice.total_dest_payment))


def _complete(session: Session, invoice: OpenInvoice) -> dict[Uid, PublicKey]:
    """
    The transactions of a fully paid invoice that a ledger holds, each with the friend that it came from.

    Raises:
        ControlError: InvoiceNotComplete, FriendNotHeard.
    """
    sources: dict[Uid, PublicKey] = {}
    paid = 0
    for request_id in invoice.incoming_transactions:
        source = session.open_requests.source(invoice.currency, request_id)
        transaction = _incoming(session, invoice.currency, request_id)
        if source is not None and transaction is not None:
            sources[request_id] = source
            paid += transaction.dest_payment
    if paid != invoice.total_dest_payment:
        raise ControlError("InvoiceNotComplete")
    if not all(session.friend(source).is_heard for source in sources.values()):
        raise ControlError("FriendNotHeard")
    return sources
