"""Which request needs which permission of the app's ticket: the plugin that every node has. Spec 07 §2.1."""

from offset_node.plugins.hooks import HOOKS_VERSION, hookimpl
from offset_node.plugins.values import App, Grant
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
from offset_proto.messages.extensions import (
    AddExpiringInvoice,
    FollowInvoices,
    FollowPayments,
    FollowUnheard,
    GiveUpPayment,
)
from offset_proto.messages.history import FollowHistory, NoteInvoice, NotePayment, ReadHistory
from offset_proto.messages.index import RequestRoutes
from offset_proto.permissions import ExtendedPermissions

__all__ = ["ALL_PERMISSIONS", "NO_PERMISSIONS", "TicketPlugin", "add_permissions", "includes", "is_permitted"]

ALL_PERMISSIONS = AppPermissions(routes=True, buyer=True, seller=True, config=True)
NO_PERMISSIONS = AppPermissions(routes=False, buyer=False, seller=False, config=False)

_BUYER = (
    CreatePayment,
    CreateTransaction,
    RequestClosePayment,
    AckClosePayment,
    FollowPayments,
    GiveUpPayment,
    NotePayment,
)
_FLAGS = ("routes", "buyer", "seller", "config", "history")
_SELLER = (AddInvoice, CancelInvoice, CommitInvoice, FollowInvoices, AddExpiringInvoice, NoteInvoice)


def is_permitted(permissions: AppPermissions, request: AppRequest) -> bool:
    """Whether the ticket allows the request; everything not named otherwise needs ``config``."""
    if isinstance(request, RequestRoutes):
        return permissions.routes
    if isinstance(request, _BUYER):
        return permissions.buyer
    if isinstance(request, _SELLER):
        return permissions.seller
    if isinstance(request, ReadHistory | FollowHistory):
        return permissions.allows("history")
    return permissions.config or isinstance(request, FollowUnheard)  # no more than a part of the report


def add_permissions(one: AppPermissions, other: AppPermissions) -> ExtendedPermissions:
    """The permissions of an app that two sources give it: each flag is set where either sets it."""
    return ExtendedPermissions(**{flag: one.allows(flag) or other.allows(flag) for flag in _FLAGS})


def includes(more: AppPermissions, less: AppPermissions) -> bool:
    """Whether an app with the permissions *more* may do all that it may do with *less*."""
    return all(more.allows(flag) or not less.allows(flag) for flag in _FLAGS)


class TicketPlugin:
    """Grants what the flags of the app's ticket allow, and leaves the rest to other plugins."""

    hooks_version = HOOKS_VERSION

    @hookimpl
    def offset_judge_request(self, app: App, request: AppRequest) -> Grant | None:
        """Grant the request where the ticket's flags allow it; otherwise None, so that another plugin may grant it."""
        return Grant() if is_permitted(app.permissions, request) else None
