"""What a buyer gets from the answers of the seller: the commit that lets it collect, the receipt that proves it."""

from offset_crypto.hashing import response_hash
from offset_funder.state import PendingTransaction
from offset_proto.messages.friend import CollectSendFundsOp, ResponseSendFundsOp
from offset_proto.messages.payment import Commit, Receipt
from offset_proto.types import Currency, PlainLock

__all__ = ["build_commit", "build_receipt"]


def build_commit(
    currency: Currency,
    transaction: PendingTransaction,
    response: ResponseSendFundsOp,
    src_plain_lock: PlainLock,
) -> Commit:
    """What a complete response entitles the buyer to hand to the seller. Spec 05 §12.4 [WIRE]."""
    return Commit(
        response_hash=response_hash(response.request_id, response.rand_nonce),
        src_plain_lock=src_plain_lock,
        dest_hashed_lock=response.dest_hashed_lock,
        dest_payment=transaction.dest_payment,
        total_dest_payment=transaction.total_dest_payment,
        invoice_id=transaction.invoice_id,
        currency=currency,
        signature=response.signature,
    )


def build_receipt(
    currency: Currency, transaction: PendingTransaction, response: ResponseSendFundsOp, op: CollectSendFundsOp
) -> Receipt:
    """What a collected transaction leaves the buyer with. Spec 05 §12.4 [WIRE]."""
    return Receipt(
        response_hash=response_hash(op.request_id, response.rand_nonce),
        invoice_id=transaction.invoice_id,
        currency=currency,
        src_plain_lock=op.src_plain_lock,
        dest_plain_lock=op.dest_plain_lock,
        is_complete=response.is_complete,
        dest_payment=transaction.dest_payment,
        total_dest_payment=transaction.total_dest_payment,
        signature=response.signature,
    )
