"""What the protocol has to say of each kind of request: its extension, and whether it can be refused. Pure. Spec 12."""

from offset_proto.messages.app import (
    AckClosePayment,
    AddInvoice,
    AppRequest,
    CancelInvoice,
    CommitInvoice,
    RequestClosePayment,
)
from offset_proto.messages.extensions import (
    AddExpiringInvoice,
    Extension,
    FollowInvoices,
    FollowPayments,
    FollowUnheard,
    GiveUpPayment,
)
from offset_proto.messages.history import FollowHistory, NoteEntry, NoteInvoice, NotePayment, ReadHistory

__all__ = ["UNANSWERABLE", "extension_of"]

UNANSWERABLE = (
    AddInvoice,
    CancelInvoice,
    CommitInvoice,
    RequestClosePayment,
    AckClosePayment,
    FollowPayments,
    FollowInvoices,
    AddExpiringInvoice,
    GiveUpPayment,
    ReadHistory,
    FollowHistory,
    NoteInvoice,
    NotePayment,
    NoteEntry,
    FollowUnheard,
)
"""Requests whose answer says to an app that they were carried out: the protocol has no word for a refusal."""


def extension_of(request: AppRequest) -> Extension:
    """What a node must have announced for an app to send *request*; nothing for one of the original's requests."""
    match request:
        case FollowPayments() | FollowInvoices():
            return Extension.OPEN_PAYMENTS
        case AddExpiringInvoice():
            return Extension.EXPIRING_INVOICES
        case GiveUpPayment():
            return Extension.GIVE_UP
        case ReadHistory() | FollowHistory() | NoteInvoice() | NotePayment() | NoteEntry():
            return Extension.HISTORY
        case FollowUnheard():
            return Extension.UNHEARD
        case _:
            return Extension(0)
