"""A restricted app neither changes nor sees what is not its own."""

import pytest

from offset_app_limits import AppLimits
from offset_node.plugins.scope import ReportScope
from offset_node.plugins.testing import build_node_access
from offset_node.plugins.values import App, Grant, Refusal
from offset_proto.errors import InvalidInput
from offset_proto.messages.app import (
    AddFriend,
    AddInvoice,
    AppPermissions,
    CreatePayment,
    CreateTransaction,
    EnableFriend,
    OpenFriendCurrency,
    RemoveFriend,
    RemoveRelay,
    RequestClosePayment,
    SetFriendCurrencyMaxDebt,
)
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import RequestRoutes
from offset_proto.text import format_b64
from offset_proto.types import Currency, InvoiceId, PaymentId, PublicKey, Uid

FST, EUR = Currency("FST"), Currency("EUR")
ALL = AppPermissions(routes=True, buyer=True, seller=True, config=True)
RESTRICTED, OTHER = (App(PublicKey(bytes([n]) * 32), ALL) for n in (1, 2))
NODE, BOB, EVE = (PublicKey(bytes([n]) * 32) for n in (3, 4, 5))
SETTINGS = {"apps": {format_b64(RESTRICTED.public_key): {"friends": [format_b64(BOB)], "currencies": ["FST"]}}}
PAYMENT, UID, INVOICE = PaymentId(bytes(16)), Uid(bytes(16)), InvoiceId(bytes(32))

ALLOWED = [
    EnableFriend(BOB),
    OpenFriendCurrency(BOB, FST),
    AddInvoice(INVOICE, FST, 5),
    CreatePayment(PAYMENT, INVOICE, FST, 5, EVE),  # whom one pays is not one's friend
    CreateTransaction(PAYMENT, UID, FriendsRoute((NODE, BOB, EVE)), 5, 0),
    RequestRoutes(UID, FST, 5, NODE, EVE, None),
    RequestClosePayment(PAYMENT),
]
REFUSED = [
    RemoveFriend(EVE),
    AddFriend(EVE, (), "eve"),
    OpenFriendCurrency(EVE, FST),
    SetFriendCurrencyMaxDebt(BOB, EUR, 5),
    AddInvoice(INVOICE, EUR, 5),
    CreatePayment(PAYMENT, INVOICE, EUR, 5, BOB),
    CreateTransaction(PAYMENT, UID, FriendsRoute((NODE, EVE, BOB)), 5, 0),
    RequestRoutes(UID, EUR, 5, NODE, BOB, None),
    RemoveRelay(BOB),
]


@pytest.fixture
def plugin() -> AppLimits:
    """One restricted app."""
    plugin = AppLimits()
    plugin.offset_startup(build_node_access(SETTINGS))
    return plugin


@pytest.mark.parametrize("request_", ALLOWED, ids=lambda request: type(request).__name__)
def test_its_own(plugin, request_):
    """Left to the ticket."""
    assert plugin.offset_judge_request(RESTRICTED, request_) is None


@pytest.mark.parametrize("request_", REFUSED, ids=lambda request: type(request).__name__)
def test_not_its_own(plugin, request_):
    """Refused; other apps are not concerned."""
    assert plugin.offset_judge_request(RESTRICTED, request_) is not None
    assert plugin.offset_judge_request(OTHER, request_) is None


def test_what_it_sees(plugin):
    """The same friends and currencies."""
    scope = ReportScope(frozenset({BOB}), frozenset({FST}))
    assert plugin.offset_report_scope(RESTRICTED) == scope
    assert plugin.offset_report_scope(OTHER) is None


def test_what_is_granted_beyond_the_ticket():
    """Within the limits only; and the app learns of it."""
    plugin = AppLimits()
    table = {"currencies": ["FST"], "grant": ["seller"]}
    plugin.offset_startup(build_node_access({"apps": {format_b64(RESTRICTED.public_key): table}}))
    assert plugin.offset_judge_request(RESTRICTED, AddInvoice(INVOICE, FST, 5)) == Grant()
    assert isinstance(plugin.offset_judge_request(RESTRICTED, AddInvoice(INVOICE, EUR, 5)), Refusal)
    assert plugin.offset_judge_request(RESTRICTED, RequestClosePayment(PAYMENT)) is None
    seller = AppPermissions(routes=False, buyer=False, seller=True, config=False)
    assert plugin.offset_announce_permissions(RESTRICTED) == seller
    assert plugin.offset_announce_permissions(OTHER) is None


@pytest.mark.parametrize(
    "table", [5, {"friend": []}, {"friends": "x"}, {"friends": ["x"]}, {"currencies": [5]}, {"grant": ["all"]}]
)
def test_wrong_settings_keep_the_node_from_starting(table):
    """A restriction that is not understood is none."""
    with pytest.raises(InvalidInput):
        AppLimits().offset_startup(build_node_access({"apps": {format_b64(OTHER.public_key): table}}))
