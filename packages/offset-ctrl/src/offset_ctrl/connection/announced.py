"""The requests that need an extension, and what is said where a node has not announced it. Pure. Spec 12 §1."""

from typing import Final, get_args

from offset_proto.errors import RefusedError
from offset_proto.messages.app import AppRequest
from offset_proto.messages.extensions import (
    AddExpiringInvoice,
    Extension,
    FollowInvoices,
    FollowPayments,
    FollowUnheard,
    GiveUpPayment,
)
from offset_proto.messages.history import FollowHistory, NoteRequest, ReadHistory

__all__ = ["NotAnnounced", "check_announced"]

_NEEDS: Final[dict[type, Extension]] = {
    FollowPayments: Extension.OPEN_PAYMENTS,
    FollowInvoices: Extension.OPEN_PAYMENTS,
    AddExpiringInvoice: Extension.EXPIRING_INVOICES,
    GiveUpPayment: Extension.GIVE_UP,
    ReadHistory: Extension.HISTORY,
    FollowHistory: Extension.HISTORY,
    **dict.fromkeys(get_args(NoteRequest), Extension.HISTORY),
    FollowUnheard: Extension.UNHEARD,
}
"""The requests that only a node with an extension knows."""

_WORDS: Final = {
    Extension.OPEN_PAYMENTS: "tell what is open",
    Extension.EXPIRING_INVOICES: "end an invoice by itself",
    Extension.GIVE_UP: "give a payment up",
    Extension.HISTORY: "tell what changed its balances: it keeps no history for apps",
    Extension.COLLECTED: "tell which invoices were collected",
    Extension.UNHEARD: "tell which friends have to speak first",
}


class NotAnnounced(RefusedError):
    """The node does not have an extension that is needed; nothing was sent."""

    def __init__(self, extension: Extension) -> None:
        super().__init__(
            f"this node can not {_WORDS.get(extension, str(extension))}: "
            "it is a node of the original, or an older one than this program"
        )


def check_announced(request: AppRequest, extensions: Extension) -> None:
    """
    Check that a node with these *extensions* knows such a request.

    Raises:
        NotAnnounced: It does not.
    """
    needed = _NEEDS.get(type(request))
    if needed is not None and needed not in extensions:
        raise NotAnnounced(needed)
