"""Apps of a node. Spec 07 §2.1, §3."""

import shutil
from dataclasses import replace
from random import Random

import pytest

from offset_crypto.identity import Identity
from offset_funder.effects import SendToApps
from offset_funder.reports import initial_report
from offset_funder.state import FunderState
from offset_funder.testing import FST, SimulatedNetwork
from offset_node.apps.outputs import (
    AskIndexClient,
    ChangeIndexServers,
    CloseApp,
    DeclareCapacities,
    SendToApp,
    TellFunder,
)
from offset_node.apps.server import AppServer
from offset_node.apps.tickets import TrustedApps
from offset_node.plugins.ticket import NO_PERMISSIONS, TicketPlugin
from offset_node.plugins.values import App, Refusal, decide
from offset_proto.files import APP_TICKET, AppTicket
from offset_proto.messages.app import (
    AckClosePayment,
    AddIndexServer,
    AddInvoice,
    AppPermissions,
    AppRequest,
    AppToAppServer,
    CancelInvoice,
    ClientResponseRoutes,
    CommitInvoice,
    CreatePayment,
    CreateTransaction,
    DisableFriend,
    EnableFriend,
    Failure,
    PaymentNotFound,
    RemoveIndexServer,
    RemoveRelay,
    ReportMutations,
    RequestClosePayment,
    ResetFriendChannel,
    ResponseClosePayment,
    RoutesFailure,
    TransactionResult,
)
from offset_proto.messages.extensions import ALL_EXTENSIONS
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import RemoveFriendCurrency, RequestRoutes, UpdateFriendCurrency
from offset_proto.messages.payment import Commit, NamedIndexServerAddress
from offset_proto.messages.report import (
    AddFriendReport,
    ChannelConsistentReport,
    CurrencyConfigReport,
    CurrencyReport,
    FriendLivenessReport,
    FriendStatusReport,
    FunderMutationReport,
    McBalanceReport,
    PkFriendReportMutation,
    SetChannelStatus,
    SetLiveness,
    SetStatus,
    UpdateCurrencyConfig,
)
from offset_proto.permissions import ExtendedPermissions
from offset_proto.rate import FREE
from offset_proto.types import (
    Currency,
    HashedLock,
    HashResult,
    InvoiceId,
    PaymentId,
    PlainLock,
    PrivateKey,
    PublicKey,
    Signature,
    Uid,
)

KEY = PublicKey(bytes(32))
ALL = AppPermissions(routes=True, buyer=True, seller=True, config=True)
PAYMENT, REQUEST, INVOICE = PaymentId(b"\x01" * 16), Uid(b"\x02" * 16), InvoiceId(b"\x03" * 32)
ASK = Uid(b"\x09" * 16)
COMMIT = Commit(
    HashResult(bytes(32)),
    PlainLock(bytes(32)),
    HashedLock(bytes(32)),
    1,
    1,
    INVOICE,
    Currency("FST"),
    Signature(bytes(64)),
)
TRANSACTION = CreateTransaction(PAYMENT, REQUEST, FriendsRoute((KEY,)), 1, 0)
ROUTES = RequestRoutes(REQUEST, FST, 1, KEY, KEY, None)
NEEDED: list[tuple[str, AppRequest]] = [
    ("routes", ROUTES),
    ("buyer", CreatePayment(PAYMENT, INVOICE, FST, 1, KEY)),
    ("buyer", TRANSACTION),
    ("buyer", RequestClosePayment(PAYMENT)),
    ("buyer", AckClosePayment(PAYMENT, ASK)),
    ("seller", AddInvoice(INVOICE, FST, 1)),
    ("seller", CancelInvoice(INVOICE)),
    ("seller", CommitInvoice(COMMIT)),
    ("config", RemoveRelay(KEY)),
    ("config", EnableFriend(KEY)),
    ("config", ResetFriendChannel(KEY, HashResult(bytes(32)))),
    ("config", AddIndexServer(NamedIndexServerAddress(KEY, "a:1", "i"))),
    ("config", RemoveIndexServer(KEY)),
]


@pytest.fixture
def server() -> AppServer:
    """The apps of an empty node."""
    return AppServer(initial_report(FunderState(KEY), ()), ALL_EXTENSIONS)


def _ask(server: AppServer, app_id: int, request: AppRequest):
    permissions = server.permissions_of(app_id)
    answer = None if permissions is None else TicketPlugin().offset_judge_request(App(KEY, permissions), request)
    return server.receive(app_id, AppToAppServer(ASK, request), decide([answer]))


@pytest.mark.parametrize(("needed", "request_"), NEEDED, ids=lambda value: getattr(value, "__name__", None))
def test_permissions(server, needed, request_):
    """Exactly the one that is needed; without it the app is closed, and is heard no more."""
    names = ("routes", "buyer", "seller", "config")
    only, _ = server.open_app(AppPermissions(**{name: name == needed for name in names}))
    others, _ = server.open_app(AppPermissions(**{name: name != needed for name in names}))
    watcher, _ = server.open_app(AppPermissions(**dict.fromkeys(names, False)))
    assert not any(isinstance(effect, CloseApp) for effect in _ask(server, only, request_))
    (closed,) = _ask(server, others, request_)
    assert isinstance(closed, CloseApp)
    assert closed.app_id == others
    assert _ask(server, others, request_) == []
    told = server.report(ReportMutations(ASK, ()))
    assert [effect.app_id for effect in told if isinstance(effect, SendToApp)] == [only, watcher]


ANSWERS = {
    TRANSACTION: [TransactionResult(REQUEST, Failure())],
    ROUTES: [ClientResponseRoutes(REQUEST, RoutesFailure())],
}
ENDS = (RequestClosePayment, AckClosePayment, AddInvoice, CancelInvoice, CommitInvoice)


@pytest.mark.parametrize(("needed", "request_"), NEEDED, ids=lambda value: getattr(value, "__name__", None))
def test_what_a_plugin_refuses(server, needed, request_):
    """The app is told in words that the protocol has for a failure; where it has none, its connection ends."""
    app, _ = server.open_app(ALL)
    effects = server.receive(app, AppToAppServer(ASK, request_), Refusal("too much"))
    if isinstance(request_, ENDS):
        assert effects == [CloseApp(app, f"app {app} may not {type(request_).__name__}: too much")]
    else:
        acknowledged = ReportMutations(ASK, ())
        assert effects == [SendToApp(app, message) for message in (acknowledged, *ANSWERS.get(request_, []))]


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (TRANSACTION, TransactionResult(REQUEST, Failure())),
        (RequestClosePayment(PAYMENT), ResponseClosePayment(PAYMENT, PaymentNotFound())),
        (ROUTES, ClientResponseRoutes(REQUEST, RoutesFailure())),
    ],
)
def test_results_go_to_who_asked(server, request_, answer):
    """Once; and to nobody where the app has left (D55), or where nobody asked."""
    first, _ = server.open_app(ALL)
    second, _ = server.open_app(ALL)
    assert server.answer(answer) == []
    _ask(server, first, request_)
    assert server.answer(answer) == [SendToApp(first, answer)]
    assert server.answer(answer) == []
    _ask(server, first, request_)
    _ask(server, second, request_)
    server.close_app(first)
    assert server.answer(answer) == [SendToApp(second, answer)]
    _ask(server, second, request_)
    server.close_app(second)
    server.close_app(second)
    assert server.answer(answer) == []
    assert server._awaited_by == {}


def test_where_requests_go(server):
    """Routes are acknowledged to all apps and asked of the index client; the rest is the funder's."""
    asking, _ = server.open_app(ALL)
    other, _ = server.open_app(ALL)
    acknowledged = ReportMutations(ASK, ())
    assert _ask(server, asking, ROUTES) == [
        SendToApp(asking, acknowledged),
        SendToApp(other, acknowledged),
        AskIndexClient(ROUTES),
    ]
    assert _ask(server, asking, RemoveIndexServer(KEY)) == [ChangeIndexServers(ASK, RemoveIndexServer(KEY))]
    (told,) = _ask(server, asking, TRANSACTION)
    assert isinstance(told, TellFunder)
    assert (told.event.app_request_id, told.event.request) == (ASK, TRANSACTION)


class _ReportingNetwork(SimulatedNetwork):
    """What node A reports reaches its app server."""

    server: AppServer | None = None

    def handle(self, name, event, **options):
        """Handle an event, and remember what index servers are told because of it."""
        outcome = super().handle(name, event, **options)
        if self.server is not None and name == "A":
            for effect in outcome.effects:
                if isinstance(effect, SendToApps) and isinstance(effect.message, ReportMutations):
                    self.told += self.server.report(effect.message)
        return outcome

    def declared(self):
        """What was declared since the last call."""
        told, self.told = self.told, []
        return [effect.mutations for effect in told if isinstance(effect, DeclareCapacities)]


def test_snapshot_and_changes_meet():
    """Spec 06 §7.2, §11-23 and 24: what is declared follows the report; a late app gets the present one."""
    network = _ReportingNetwork(["A", "B"], Random(0))
    network.told = []
    network.server = AppServer(initial_report(network.nodes["A"].funder.state, ()), ALL_EXTENSIONS)
    network.befriend("A", "B", limit=200)
    friend = network.nodes["B"].key
    assert network.declared()[-1] == (UpdateFriendCurrency(friend, FST, 200, FREE),)
    network.pay(["B", "A"], 60)
    assert network.declared()[-1] == (UpdateFriendCurrency(friend, FST, 140, FREE),)
    network.set_limit("A", "B", 300)
    assert network.declared() == [(UpdateFriendCurrency(friend, FST, 240, FREE),)]
    _, snapshot = network.server.open_app(ALL)
    (friend_report,) = snapshot.funder_report.friends.list
    (config,) = friend_report.friend_report.currency_configs
    assert config.remote_max_debt == 300
    network.request("A", DisableFriend(friend))
    assert network.declared() == [(RemoveFriendCurrency(friend, FST),)]
    told = [effect for effect in network.server.report(ReportMutations(ASK, ())) if isinstance(effect, SendToApp)]
    assert len(told) == 1


def test_trusted_apps(tmp_path):
    """A file that is no ticket locks nobody out (D56), a missing directory everybody."""
    app = Identity(PrivateKey(b"\x01" * 32)).public_key
    trusted = TrustedApps(tmp_path)
    assert trusted.read() == {}
    ticket = AppTicket(app, AppPermissions(routes=True, buyer=False, seller=True, config=False))
    APP_TICKET.save(tmp_path / "app.ticket", ticket)
    (tmp_path / "a.garbage").write_bytes(Random(1).randbytes(100))
    (tmp_path / "z.empty").touch()
    (tmp_path / "directory").mkdir()
    (tmp_path / "broken.ticket").symlink_to(tmp_path / "nowhere")
    assert trusted.read() == {app: ticket.permissions}
    (tmp_path / "app.ticket").unlink()
    assert trusted.read() == {}
    assert TrustedApps(tmp_path / "nowhere").read() == {}


def test_a_ticket_for_the_history_alone(tmp_path):
    """It counts at once, like any other permission, and so does its end."""
    reader = ExtendedPermissions(routes=False, buyer=False, seller=False, config=False, history=True)
    APP_TICKET.save(tmp_path / "app.ticket", AppTicket(KEY, reader))
    assert TrustedApps(tmp_path).read() == {KEY: reader}
    server = AppServer(initial_report(FunderState(KEY), ()), ALL_EXTENSIONS)
    app, _ = server.open_app(NO_PERMISSIONS)
    assert server.permissions_changed(app, reader) == []
    assert server.permissions_changed(app, ALL) == []
    (cut,) = server.permissions_changed(app, replace(ALL, config=False))
    assert isinstance(cut, CloseApp)
    app, _ = server.open_app(reader)
    (cut,) = server.permissions_changed(app, replace(ALL, config=False))
    assert isinstance(cut, CloseApp)


def test_a_directory_that_comes_and_goes(tmp_path, caplog):
    """Nothing is trusted while it is away, and that is said once."""
    app = Identity(PrivateKey(b"\x01" * 32)).public_key
    directory = tmp_path / "trusted"
    trusted = TrustedApps(directory)
    for _ in range(5):
        assert trusted.read() == {}
    assert len(caplog.records) == 1
    directory.mkdir()
    APP_TICKET.save(directory / "app.ticket", AppTicket(app, ALL))
    assert trusted.read() == {app: ALL}
    shutil.rmtree(directory)
    assert trusted.read() == {}


def test_another_ticket_for_an_app_that_is_connected():
    """More is allowed at once; less, or nothing, cuts the app off."""
    server = AppServer(initial_report(FunderState(KEY), ()), ALL_EXTENSIONS)
    buyer = AppPermissions(routes=False, buyer=True, seller=False, config=False)
    asking, _ = server.open_app(buyer)
    other, _ = server.open_app(buyer)
    assert server.permissions_changed(asking, buyer) == []
    assert server.permissions_changed(asking, ALL) == []
    (told,) = _ask(server, asking, EnableFriend(KEY))
    assert isinstance(told, TellFunder)
    (cut,) = server.permissions_changed(asking, buyer)
    assert isinstance(cut, CloseApp)
    assert _ask(server, asking, TRANSACTION) == []
    (cut,) = server.permissions_changed(other, None)
    assert isinstance(cut, CloseApp)
    assert server.permissions_changed(other, ALL) == []


def _consistent(balance: int, remote_pending_debt: int = 0) -> SetChannelStatus:
    report = CurrencyReport(FST, McBalanceReport(balance, 0, remote_pending_debt))
    return SetChannelStatus(ChannelConsistentReport((report,)))


def _about_friend(*changes):
    return tuple(FunderMutationReport(PkFriendReportMutation(KEY, change)) for change in changes)


def _server_with_friend(max_debt: int) -> AppServer:
    server = AppServer(initial_report(FunderState(PublicKey(b"\x77" * 32)), ()), ALL_EXTENSIONS)
    fresh = AddFriendReport(KEY, "friend", (), None, ChannelConsistentReport(()))
    server.report(ReportMutations(None, (FunderMutationReport(fresh),)))
    config = UpdateCurrencyConfig(CurrencyConfigReport(FST, FREE, max_debt, True))
    server.report(ReportMutations(None, _about_friend(config)))
    return server


def _declared(effects):
    return [effect.mutations for effect in effects if isinstance(effect, DeclareCapacities)]


def test_a_batch_is_compared_once():
    """D49: before against after; what opens only together is declared, what changes back is not."""
    server = _server_with_friend(100)
    online = (SetStatus(FriendStatusReport.ENABLED), SetLiveness(FriendLivenessReport.ONLINE), _consistent(0))
    opened = _declared(server.report(ReportMutations(None, _about_friend(*online))))
    assert opened == [(UpdateFriendCurrency(KEY, FST, 100, FREE),)]
    there_and_back = _about_friend(_consistent(0, 50), _consistent(0))
    assert _declared(server.report(ReportMutations(None, there_and_back))) == []


def test_capacities_saturate():
    """D48: whatever balances and debts add up to, what is declared is from 0 to 2**128 - 1."""
    server = _server_with_friend(2**128 - 1)
    online = (SetStatus(FriendStatusReport.ENABLED), SetLiveness(FriendLivenessReport.ONLINE))
    server.report(ReportMutations(None, _about_friend(*online)))
    for balance, pending, capacity in (
        (-(2**127) + 1, 0, 2**128 - 1),
        (2**127 - 1, 2**128 - 1, 0),
        (0, 2**128 - 2, 1),
    ):
        declared = _declared(server.report(ReportMutations(None, _about_friend(_consistent(balance, pending)))))
        assert declared == [(UpdateFriendCurrency(KEY, FST, capacity, FREE),)]
