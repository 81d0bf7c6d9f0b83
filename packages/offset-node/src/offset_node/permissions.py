"""Which request needs which permission of the app's ticket. Spec 07 §2.1."""

from offset_proto.messages.app import (
    AckClosePayment,
    AddInvoice,
    AppPermissions,
    AppRequest,
    CancelInvoice,
    CommitInvoice,
    CreatePayment,
    CreateTransaction,
    RequestClosePayment,
)
from offset_proto.messages.index import RequestRoutes

__all__ = ["is_permitted"]

_BUYER = (CreatePayment, CreateTransaction, RequestClosePayment, AckClosePayment)
_SELLER = (AddInvoice, CancelInvoice, CommitInvoice)


def is_permitted(permissions: AppPermissions, request: AppRequest) -> bool:
    """Whether the ticket allows the request; everything not named otherwise needs ``config``."""
    if isinstance(request, RequestRoutes):
        return permissions.routes
    if isinstance(request, _BUYER):
        return permissions.buyer
    if isinstance(request, _SELLER):
        return permissions.seller
    return permissions.config
