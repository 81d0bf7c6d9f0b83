"""stcompact without processes: its JSON, its database, one node's payments and invoices. Spec 10."""

import re
from random import Random
from typing import Any

import pytest

from offset_crypto.hashing import hash_lock
from offset_crypto.identity import Identity
from offset_crypto.signed import commit_buffer
from offset_ctrl.programs.stcompact import messages as m
from offset_ctrl.programs.stcompact.compact_node import AckUser, AskNode, CompactNode, End, Save, TellUser
from offset_ctrl.programs.stcompact.database import format_compact, parse_compact
from offset_ctrl.programs.stcompact.messages import (
    format_server_message,
    format_user_message,
    parse_server_message,
    parse_user_message,
)
from offset_ctrl.programs.stcompact.report_form import (
    CompactReport,
    FoundRouteReport,
    InvoiceReport,
    PaymentReport,
    SendingReport,
)
from offset_ctrl.programs.stcompact.state import (
    Committed,
    CompactState,
    Failed,
    FoundRoute,
    OpenInvoice,
    OpenPayment,
    SearchingRoute,
    Sending,
    Succeeded,
)
from offset_ctrl.testing import build_report
from offset_proto.errors import InvalidInput
from offset_proto.messages import app
from offset_proto.messages.app import (
    AckClosePayment,
    AppPermissions,
    AppToAppServer,
    Canceled,
    ClientResponseRoutes,
    Complete,
    CreatePayment,
    CreateTransaction,
    Failure,
    PaymentNotFound,
    PaymentStatusSuccess,
    ReportMutations,
    RequestClosePayment,
    ResponseClosePayment,
    RoutesFailure,
    RoutesFound,
    Success,
    TransactionResult,
)
from offset_proto.messages.friend import CurrencyBalance, FriendsRoute
from offset_proto.messages.index import MultiRoute, RequestRoutes, RouteCapacityRate
from offset_proto.messages.payment import (
    Commit,
    NamedIndexServerAddress,
    NamedRelayAddress,
    Rate,
    Receipt,
    RelayAddress,
)
from offset_proto.messages.report import (
    AddRelayReport,
    BalanceInfo,
    ChannelConsistentReport,
    ChannelInconsistentReport,
    CountersInfo,
    CurrencyBalanceInfo,
    CurrencyConfigReport,
    CurrencyReport,
    FriendLivenessReport,
    FriendReport,
    FriendStatusReport,
    FunderMutationReport,
    McBalanceReport,
    McInfo,
    MoveTokenHashedReport,
    RemoveFriendReport,
    ResetTermsReport,
    TokenInfo,
)
from offset_proto.report_view import ReportView
from offset_proto.types import (
    I128_MIN,
    U64_MAX,
    U128_MAX,
    Currency,
    HashResult,
    InvoiceId,
    NetAddress,
    PaymentId,
    PlainLock,
    PrivateKey,
    PublicKey,
    RandValue,
    Signature,
    Uid,
)

NODE = Identity(PrivateKey(b"\x01" * 32))
SELLER, MEDIATOR = PublicKey(b"\x02" * 32), PublicKey(b"\x03" * 32)
FST = Currency("FST")
INVOICE, PAYMENT = InvoiceId(b"\x04" * 32), PaymentId(b"\x05" * 16)
U = [Uid(bytes([n]) * 16) for n in range(100, 120)]
ALL = AppPermissions(routes=True, buyer=True, seller=True, config=True)
ROUTE = RouteCapacityRate(FriendsRoute((NODE.public_key, MEDIATOR, SELLER)), 100, Rate(0, 2))
TEXT = 'tea "for two"\n☕'
LOCK = PlainLock(b"\x06" * 32)
RECEIPT = Receipt(
    HashResult(bytes(32)), INVOICE, FST, LOCK, PlainLock(b"\x07" * 32), True, 20, 20, Signature(b"\x09" * 64)
)


def _commit(amount: int = 20, currency: Currency = FST, signer: Identity = NODE) -> Commit:
    values = (HashResult(bytes(32)), LOCK, hash_lock(PlainLock(b"\x07" * 32)), amount, amount, INVOICE, currency)
    return Commit(*values, signer.sign(commit_buffer(Commit(*values, Signature(bytes(64))))))


COMMIT = _commit()

# JSON: the lines of the specification, and every variant.

USER_LINES = [
    (
        '{"requestId":"AgICAAECAAIBAQIAAgIBAA","inner":{"node":["0",'
        '{"ackPaymentDone":["AAICAQICAgEBAQACAgICAA","AQEAAAEAAgAAAgABAAEBAQ"]}]}}'
    ),
    '{"requestId":"AQIBAAIAAQIBAQEAAAIBAQ","inner":{"enableNode":"alice"}}',
]
SERVER_LINES = [
    (
        '{"serverToUser":{"nodesStatus":{"alice":{"mode":{"open":"0"},"isEnabled":true,'
        '"info":{"local":{"nodePublicKey":"H231roc3omhQafGmdkLmvW9WY0oFnQzoAgJ_X6c7xEw"}}}}}}'
    ),
    '{"ack":"WJeY9jRt5pwPQ943e5YziQ"}',
    '{"serverToUser":{"node":["0",{"paymentFees":{"paymentId":"BgYGBgYGBgYGBgYGBgYGBg","response":"unreachable"}}]}}',
    (
        '{"serverToUser":{"nodeOpened":{"nodeName":"alice","nodeId":"0","appPermissions":{"routes":true,"buyer":true,'
        '"seller":true,"config":true},"compactReport":{"localPublicKey":"H231roc3omhQafGmdkLmvW9WY0oFnQzoAgJ_X6c7xEw",'
        '"indexServers":[],"optConnectedIndexServer":null,"relays":[],"friends":{},"openInvoices":{},"openPayments":{}}}}}'
    ),
]


def test_lines_of_the_specification():
    """Spec 10 §4, as the original writes and takes them."""
    for line in USER_LINES:
        assert format_user_message(parse_user_message(line)) == line
    for line in SERVER_LINES:
        assert format_server_message(parse_server_message(line)) == line


NAMED_RELAY = NamedRelayAddress(SELLER, NetAddress("a:1"), TEXT)
USER_REQUESTS: list[Any] = [
    m.CreateNodeLocal(TEXT),
    m.CreateNodeRemote("r", PrivateKey(b"\x0a" * 32), SELLER, NetAddress("b:2")),
    m.RemoveNode("x"),
    m.EnableNode("x"),
    m.DisableNode("x"),
    *(
        m.ToNode(U64_MAX, request)
        for request in (
            app.AddRelay(NAMED_RELAY),
            app.RemoveRelay(SELLER),
            app.AddIndexServer(NamedIndexServerAddress(SELLER, NetAddress("c:3"), "i")),
            app.RemoveIndexServer(SELLER),
            app.AddFriend(SELLER, (RelayAddress(MEDIATOR, NetAddress("d:4")),), "f"),
            app.SetFriendRelays(SELLER, ()),
            app.SetFriendName(SELLER, TEXT),
            app.RemoveFriend(SELLER),
            app.EnableFriend(SELLER),
            app.DisableFriend(SELLER),
            app.OpenFriendCurrency(SELLER, FST),
            app.CloseFriendCurrency(SELLER, FST),
            app.RemoveFriendCurrency(SELLER, FST),
            app.SetFriendCurrencyMaxDebt(SELLER, FST, U128_MAX),
            app.SetFriendCurrencyRate(SELLER, FST, Rate(2**32 - 1, 0)),
            app.ResetFriendChannel(SELLER, Signature(b"\x0b" * 64)),
            m.InitPayment(PAYMENT, INVOICE, FST, SELLER, U128_MAX, TEXT),
            m.ConfirmPaymentFees(PAYMENT, U[0]),
            m.CancelPayment(PAYMENT),
            m.AckPaymentDone(PAYMENT, U[0]),
            m.AddInvoice(INVOICE, FST, U128_MAX, TEXT),
            m.CancelInvoice(INVOICE),
            m.RequestVerifyCommit(U[0], COMMIT),
            m.CommitInvoice(INVOICE),
        )
    ),
]

STATUSES = [
    SearchingRoute(U[0]),
    FoundRouteReport(U[0], U128_MAX),
    SendingReport(3),
    Committed(COMMIT, 3),
    Succeeded(RECEIPT, 3, U[0]),
    Failed(U[0]),
]
TOKEN = MoveTokenHashedReport(
    HashResult(bytes(32)),
    TokenInfo(
        McInfo(SELLER, MEDIATOR, (CurrencyBalanceInfo(FST, BalanceInfo(I128_MIN, U128_MAX, 0)),)),
        CountersInfo(U64_MAX, U128_MAX),
    ),
    RandValue(bytes(16)),
    Signature(bytes(64)),
)
CONFIGS = (CurrencyConfigReport(FST, Rate(1, 2), U128_MAX, True),)
TERMS = (CurrencyBalance(FST, I128_MIN),)
FRIENDS = {
    SELLER: FriendReport(
        TEXT,
        (),
        CONFIGS,
        TOKEN,
        FriendLivenessReport.ONLINE,
        ChannelConsistentReport((CurrencyReport(FST, McBalanceReport(-5, 1, 2)),)),
        FriendStatusReport.ENABLED,
    ),
    MEDIATOR: FriendReport(
        "",
        (),
        (),
        None,
        FriendLivenessReport.OFFLINE,
        ChannelInconsistentReport(TERMS, ResetTermsReport(Signature(bytes(64)), TERMS)),
        FriendStatusReport.DISABLED,
    ),
}


def _report(**changes: Any) -> CompactReport:
    values: dict[str, Any] = {
        "local_public_key": NODE.public_key,
        "index_servers": (NamedIndexServerAddress(SELLER, NetAddress("c:3"), "i"),),
        "opt_connected_index_server": SELLER,
        "relays": (NAMED_RELAY,),
        "friends": FRIENDS,
        "open_invoices": {INVOICE: InvoiceReport(FST, U128_MAX, TEXT, True, U64_MAX)},
        "open_payments": {},
    }
    return CompactReport(**values | changes)


def _payment_reports() -> dict[PaymentId, Any]:
    return {
        PaymentId(bytes([n]) * 16): PaymentReport(INVOICE, FST, SELLER, 20, TEXT, n, status)
        for n, status in enumerate(STATUSES)
    }


SERVER_MESSAGES: list[Any] = [
    m.Ack(U[0]),
    m.NodeOpened(TEXT, 0, ALL, _report()),
    m.NodesStatus(
        {
            "a": m.NodeStatus(None, False, m.LocalInfo(SELLER)),
            TEXT: m.NodeStatus(0x100, True, m.RemoteInfo(SELLER, MEDIATOR, NetAddress("b:2"))),
        }
    ),
    *(
        m.FromNode(0x100, said)
        for said in (
            m.PaymentFees(PAYMENT, m.Unreachable()),
            m.PaymentFees(PAYMENT, m.Fees(U128_MAX, U[0])),
            m.PaymentCommit(PAYMENT, COMMIT),
            m.PaymentDone(PAYMENT, Failed(U[0])),
            m.PaymentDone(PAYMENT, Succeeded(RECEIPT, 3, U[0])),
            m.ResponseVerifyCommit(U[0], True),
            m.ResponseVerifyCommit(U[0], False),
            _report(),
        )
    ),
]


@pytest.mark.parametrize("request_", USER_REQUESTS, ids=lambda value: type(getattr(value, "request", value)).__name__)
def test_every_request_survives_its_line(request_):
    """What is written is read as the same request, and members that are not known are ignored."""
    message = m.UserMessage(U[0], request_)
    line = format_user_message(message)
    assert "\n" not in line
    assert parse_user_message(line) == message
    assert parse_user_message(line[:-1] + ',"more":{"a":[1]}}') == message


@pytest.mark.parametrize("said", SERVER_MESSAGES, ids=lambda value: type(getattr(value, "message", value)).__name__)
def test_every_answer_survives_its_line(said):
    """Amounts of 128 bits, texts with anything in them."""
    line = format_server_message(said)
    assert "\n" not in line
    assert parse_server_message(line) == said


def test_a_report_with_payments_in_every_status():
    """Each status has a JSON form of its own that is read as the same report (spec 10 §4, PS)."""
    said = m.FromNode(1, _report(open_payments=_payment_reports()))
    assert parse_server_message(format_server_message(said)) == said


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        "{}",
        '{"requestId":"AQIBAAIAAQIBAQEAAAIBAQ"}',
        '{"requestId":"AQ","inner":{"enableNode":"alice"}}',
        '{"requestId":"AQIBAAIAAQIBAQEAAAIBAQ","inner":"enableNode"}',
        '{"requestId":"AQIBAAIAAQIBAQEAAAIBAQ","inner":{"enableNode":5}}',
        '{"requestId":"AQIBAAIAAQIBAQEAAAIBAQ","inner":{"enableNode":"a","disableNode":"a"}}',
        '{"requestId":"AQIBAAIAAQIBAQEAAAIBAQ","inner":{"node":[0,{"cancelPayment":"AQIBAAIAAQIBAQEAAAIBAQ"}]}}',
        '{"requestId":"AQIBAAIAAQIBAQEAAAIBAQ","inner":{"node":["0",{"cancelPayment":"AQIBAAIAAQIBAQEAAAIBAQ"},1]}}',
        '{"requestId":"AQIBAAIAAQIBAQEAAAIBAQ","inner":{"node":["-1",{"cancelPayment":"AQIBAAIAAQIBAQEAAAIBAQ"}]}}',
        '{"requestId":"AQIBAAIAAQIBAQEAAAIBAQ","inner":{"enableNode":"a"}} x',
    ],
)
def test_what_is_no_line_of_a_user(line):
    """One kind of error, which names the member."""
    with pytest.raises(InvalidInput):
        parse_user_message(line)


# compact.db

FOUND = FoundRoute(U[0], MultiRoute((ROUTE, ROUTE)), ((1, 2**64 + 7), (0, U128_MAX)), U128_MAX)
STATE = CompactState(
    {
        INVOICE: OpenInvoice(FST, 20, TEXT, None, 3),
        InvoiceId(b"\x44" * 32): OpenInvoice(FST, U128_MAX, "", COMMIT, U64_MAX),
    },
    {
        PaymentId(bytes([n]) * 16): OpenPayment(INVOICE, FST, SELLER, 20, TEXT, n, status)
        for n, status in enumerate(
            [SearchingRoute(U[0]), FOUND, Sending(3, frozenset(U[1:3])), *STATUSES[3:]],
        )
    },
    U64_MAX,
)


def test_compact_database():
    """Every variant; snake_case, bare amounts of up to 39 digits (D104), ids as numbers, a camelCase receipt."""
    text = format_compact(STATE)
    assert parse_compact(text) == STATE
    assert re.search(rf"\n +{U128_MAX}\n", text)
    assert "18446744073709551623" in text
    assert '"srcPlainLock"' in text.partition('"Success"')[2]
    assert '"src_plain_lock"' in text.partition('"Commit"')[2]
    assert format_compact(CompactState()) == '{\n  "open_invoices": {},\n  "open_payments": {},\n  "generation": "0"\n}'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (str(2**64 + 7), f'"{2**64 + 7}"'),
        (str(2**64 + 7), "1.0"),
        (str(U128_MAX), str(U128_MAX + 1)),
        ("FST", "F" * 17),
    ],
)
def test_a_damaged_compact_database(old, new):
    """Is refused with the path of what is wrong; a number is never rounded."""
    with pytest.raises(InvalidInput, match="open_"):
        parse_compact(format_compact(STATE).replace(old, new))


# One node.


class Wallet:
    """A compact node, what it has stored, and what it asked, told and acknowledged."""

    def __init__(self, state: CompactState | None = None, permissions: AppPermissions = ALL) -> None:
        report = build_report(NODE.public_key)
        self.stored = state or CompactState()
        self.node = CompactNode(permissions, ReportView(report), self.stored, Random(1).randbytes)
        self.asked: list[Any] = []
        self.ids: list[Uid] = []
        self.told: list[Any] = []
        self.log: list[str] = []
        self.ended: str | None = None
        self.perform(self.node.start())

    def perform(self, effects: list[Any]) -> None:
        """Carry out what the node wants."""
        for effect in effects:
            self.log.append(type(getattr(effect, "message", effect)).__name__)
            match effect:
                case AskNode(AppToAppServer(request_id, request)):
                    self.ids.append(request_id)
                    self.asked.append(request)
                case TellUser(message):
                    self.told.append(message)
                case AckUser(request_id):
                    self.told.append(request_id)
                case Save(state):
                    self.stored = state
                case End(reason):
                    self.ended = reason

    def user(self, request: Any, request_id: Uid = U[9]) -> list[Any]:
        """What the user is told upon a request, without reports."""
        return self._after(lambda: self.node.handle_user(request_id, request))

    def hears(self, message: Any) -> list[Any]:
        """What the user is told upon a message of the node, without reports."""
        return self._after(lambda: self.node.handle_node(message))

    def acknowledged(self, request_id: Uid = U[9]) -> list[Any]:
        """The node has processed a request."""
        return self.hears(ReportMutations(request_id, ()))

    def _after(self, step: Any) -> list[Any]:
        before = len(self.told)
        self.perform(step())
        return [said for said in self.told[before:] if not isinstance(said, CompactReport)]

    @property
    def status(self) -> Any:
        """The status of the payment, as it was stored last."""
        return self.stored.open_payments[PAYMENT].status

    def find_routes(self, *multi_routes: MultiRoute) -> list[Any]:
        """Begin a payment, and answer its search."""
        self.user(m.InitPayment(PAYMENT, INVOICE, FST, SELLER, 20, TEXT))
        self.acknowledged()
        asked = self.asked[-1]
        assert isinstance(asked, RequestRoutes)
        return self.hears(ClientResponseRoutes(asked.request_id, RoutesFound(multi_routes)))

    def send(self, *multi_routes: MultiRoute) -> list[Uid]:
        """Confirm the fees; ids of the transactions."""
        self.find_routes(*(multi_routes or (MultiRoute((ROUTE,)),)))
        before = len(self.asked)
        self.user(m.ConfirmPaymentFees(PAYMENT, self.status.confirm_id))
        self.acknowledged()
        return [asked.request_id for asked in self.asked[before:] if isinstance(asked, CreateTransaction)]

    def commit(self) -> None:
        """Bring the payment to its commit."""
        (transaction,) = self.send()
        self.hears(TransactionResult(transaction, Complete(COMMIT)))


SUCCESS = PaymentStatusSuccess(RECEIPT, U[3])


def test_a_payment():
    """Spec 10 §7.3, buyer: each step is stored before it is told, and the ack follows the report."""
    wallet = Wallet()
    assert wallet.user(m.InitPayment(PAYMENT, INVOICE, FST, SELLER, 20, TEXT)) == []
    (asked,) = wallet.asked
    assert asked == RequestRoutes(asked.request_id, FST, 20, NODE.public_key, SELLER, None)
    assert wallet.status == SearchingRoute(asked.request_id)
    assert wallet.acknowledged() == [U[9]]
    (fees,) = wallet.hears(ClientResponseRoutes(asked.request_id, RoutesFound((MultiRoute((ROUTE,)),))))
    assert fees == m.PaymentFees(PAYMENT, m.Fees(2, wallet.status.confirm_id))
    assert wallet.log[-3:] == ["Save", "CompactReport", "PaymentFees"]
    assert wallet.user(m.ConfirmPaymentFees(PAYMENT, wallet.status.confirm_id)) == []
    created, transaction, close = wallet.asked[1:]
    assert created == CreatePayment(PAYMENT, INVOICE, FST, 20, SELLER)
    assert transaction == CreateTransaction(PAYMENT, transaction.request_id, ROUTE.route, 20, 2)
    assert (close, wallet.ids[-1]) == (RequestClosePayment(PAYMENT), U[9])
    assert wallet.status == Sending(2, frozenset({transaction.request_id}))
    assert wallet.acknowledged() == [U[9]]
    told = wallet.hears(TransactionResult(transaction.request_id, Complete(COMMIT)))
    assert told == [m.PaymentCommit(PAYMENT, COMMIT)]
    (done,) = wallet.hears(ResponseClosePayment(PAYMENT, SUCCESS))
    assert done == m.PaymentDone(PAYMENT, wallet.status)
    assert wallet.status == Succeeded(RECEIPT, 2, done.status.ack_uid)
    assert wallet.asked[-1] == AckClosePayment(PAYMENT, U[3])
    assert done.status.ack_uid != U[3]
    assert wallet.user(m.AckPaymentDone(PAYMENT, U[3])) == [U[9]]
    assert PAYMENT in wallet.stored.open_payments
    assert wallet.user(m.AckPaymentDone(PAYMENT, done.status.ack_uid)) == [U[9]]
    assert wallet.stored == CompactState(generation=1)


def test_no_route():
    """Unreachable, without paymentDone; the ack uid is in the report."""
    for result in (RoutesFailure(), RoutesFound(()), RoutesFound((MultiRoute((ROUTE,)),))):
        wallet = Wallet()
        wallet.user(m.InitPayment(PAYMENT, INVOICE, FST, SELLER, 200, TEXT))
        told = wallet.hears(ClientResponseRoutes(wallet.asked[-1].request_id, result))
        assert told == [m.PaymentFees(PAYMENT, m.Unreachable())]
        assert isinstance(wallet.status, Failed)
        assert wallet.node.report.open_payments[PAYMENT].status == wallet.status
        assert wallet.user(m.AckPaymentDone(PAYMENT, wallet.status.ack_uid)) == [U[9]]
        assert wallet.stored.open_payments == {}
    assert Wallet().hears(ClientResponseRoutes(U[0], RoutesFailure())) == []


def test_init_payment_again():
    """In every status: an ack (D97), and once more the fees where they wait for the user."""
    again = m.InitPayment(PAYMENT, INVOICE, FST, SELLER, 20, TEXT)
    wallet = Wallet()
    wallet.user(again)
    assert wallet.user(again) == [U[9]]
    wallet = Wallet()
    (fees,) = wallet.find_routes(MultiRoute((ROUTE,)))
    assert wallet.user(again) == [U[9], fees]
    wallet = Wallet()
    wallet.commit()
    assert wallet.user(again) == [U[9]]
    wallet.hears(ResponseClosePayment(PAYMENT, SUCCESS))
    assert wallet.user(again) == [U[9]]


def test_confirming_what_is_not_there():
    """A wrong id, and a second confirmation: an ack, and nothing is paid twice."""
    wallet = Wallet()
    assert wallet.user(m.ConfirmPaymentFees(PAYMENT, U[0])) == [U[9]]
    wallet.find_routes(MultiRoute((ROUTE,)))
    confirm_id = wallet.status.confirm_id
    assert wallet.user(m.ConfirmPaymentFees(PAYMENT, U[0])) == [U[9]]
    wallet.user(m.ConfirmPaymentFees(PAYMENT, confirm_id))
    before = len(wallet.asked)
    assert wallet.user(m.ConfirmPaymentFees(PAYMENT, confirm_id)) == [U[9]]
    assert len(wallet.asked) == before


def test_two_routes():
    """A success is waited on, the complete one gives the commit; a success that is the last one is a failure (D103)."""
    routes = [FriendsRoute((NODE.public_key, PublicKey(bytes([n]) * 32), SELLER)) for n in (8, 9)]
    halves = MultiRoute(tuple(RouteCapacityRate(route, 10, Rate(0, 0)) for route in routes))
    for first, second, expected in (
        (Success(), Complete(COMMIT), Committed),
        (Success(), Success(), Failed),
        (Success(), Failure(), Failed),
        (Failure(), Complete(COMMIT), Failed),
    ):
        wallet = Wallet()
        one, other = wallet.send(halves)
        wallet.hears(TransactionResult(one, first))
        wallet.hears(TransactionResult(other, second))
        assert isinstance(wallet.status, expected)
        assert wallet.hears(TransactionResult(other, second)) == []  # nobody waits for it any more


@pytest.mark.parametrize("stage", ["searching", "found", "sending", "committed", "failed", "succeeded"])
def test_cancelling_a_payment(stage):
    """Up to the commit it fails, and the ack stands between the report and the word; later only an ack."""
    wallet = Wallet()
    if stage == "searching":
        wallet.user(m.InitPayment(PAYMENT, INVOICE, FST, SELLER, 20, TEXT))
    elif stage == "found":
        wallet.find_routes(MultiRoute((ROUTE,)))
    elif stage in ("sending", "failed"):
        (transaction,) = wallet.send()
        if stage == "failed":
            wallet.hears(TransactionResult(transaction, Failure()))
    else:
        wallet.commit()
        if stage == "succeeded":
            wallet.hears(ResponseClosePayment(PAYMENT, SUCCESS))
    before = wallet.status
    told = wallet.user(m.CancelPayment(PAYMENT))
    if stage in ("searching", "found", "sending"):
        assert told == [U[9], m.PaymentDone(PAYMENT, wallet.status)]
        assert isinstance(wallet.status, Failed)
        assert wallet.log[-4:] == ["Save", "CompactReport", "AckUser", "PaymentDone"]
    else:
        assert told == [U[9]]
        assert wallet.status == before
    assert Wallet().user(m.CancelPayment(PAYMENT)) == [U[9]]


@pytest.mark.parametrize("status", [SUCCESS, Canceled(U[3]), PaymentNotFound()])
def test_the_end_of_a_payment_in_every_status(status):
    """Spec 10 §7.2: only a payment with its commit can succeed; the node is acknowledged whatever we make of it."""
    end = ResponseClosePayment(PAYMENT, status)
    asked = [] if isinstance(status, PaymentNotFound) else [AckClosePayment(PAYMENT, U[3])]

    def ends(wallet: Wallet) -> list[Any]:
        before = len(wallet.asked)
        told = wallet.hears(end)
        assert wallet.asked[before:] == asked
        return told

    assert ends(Wallet()) == []
    wallet = Wallet()
    wallet.find_routes(MultiRoute((ROUTE,)))
    assert ends(wallet) == []
    wallet = Wallet()
    wallet.send()
    assert ends(wallet) == [m.PaymentDone(PAYMENT, wallet.status)]
    assert isinstance(wallet.status, Failed)
    wallet = Wallet()
    wallet.commit()
    assert ends(wallet) == [m.PaymentDone(PAYMENT, wallet.status)]
    assert isinstance(wallet.status, Succeeded if status == SUCCESS else Failed)
    assert ends(wallet) == []


def _state(status: Any) -> CompactState:
    return CompactState({}, {PAYMENT: OpenPayment(INVOICE, FST, SELLER, 20, TEXT, 0, status)}, 1)


@pytest.mark.parametrize("status", [SearchingRoute(U[0]), FOUND, Sending(3, frozenset(U[:1]))])
def test_a_restart_before_the_commit(status):
    """The payment failed; the report of the opening says so already (D98), and no other follows."""
    wallet = Wallet(_state(status))
    assert isinstance(wallet.status, Failed)
    assert wallet.told == [m.PaymentDone(PAYMENT, wallet.status)]
    assert wallet.node.report.open_payments[PAYMENT].status == wallet.status
    assert wallet.asked == ([RequestClosePayment(PAYMENT)] if isinstance(status, Sending) else [])


@pytest.mark.parametrize("status", [Committed(COMMIT, 3), Succeeded(RECEIPT, 3, U[0]), Failed(U[0])])
def test_a_restart_afterwards(status):
    """Everything is said again; a commit is asked for its end."""
    wallet = Wallet(_state(status))
    assert wallet.status == status
    is_committed = isinstance(status, Committed)
    expected = m.PaymentCommit(PAYMENT, COMMIT) if is_committed else m.PaymentDone(PAYMENT, status)
    assert wallet.told == [expected]
    assert wallet.asked == ([RequestClosePayment(PAYMENT)] if is_committed else [])


ADD = m.AddInvoice(INVOICE, FST, 20, TEXT)


def test_an_invoice():
    """Spec 10 §7.3, seller: it is listed until the node has acknowledged its commit (D102)."""
    wallet = Wallet()
    assert wallet.user(ADD) == []
    assert wallet.asked == [app.AddInvoice(INVOICE, FST, 20)]
    assert wallet.acknowledged() == [U[9]]
    assert wallet.user(ADD) == [U[9]]
    assert wallet.user(m.CommitInvoice(INVOICE)) == [U[9]]  # not verified yet
    told = wallet.user(m.RequestVerifyCommit(U[0], COMMIT))
    assert told == [U[9], m.ResponseVerifyCommit(U[0], True)]
    assert wallet.log[-4:] == ["AckUser", "ResponseVerifyCommit", "Save", "CompactReport"]
    assert wallet.user(m.CommitInvoice(INVOICE)) == []
    assert wallet.asked[-1] == app.CommitInvoice(COMMIT)
    assert wallet.stored.open_invoices[INVOICE].opt_commit == COMMIT
    assert wallet.acknowledged() == [U[9]]
    assert wallet.stored == CompactState(generation=1)
    assert wallet.log[-3:] == ["Save", "CompactReport", "AckUser"]
    assert wallet.user(m.CommitInvoice(INVOICE)) == [U[9]]


def test_bad_commits_are_not_kept():
    """D101: unknown invoice, another amount or currency, a bad signature; then the good one, and again."""
    wallet = Wallet()
    assert wallet.user(m.RequestVerifyCommit(U[0], COMMIT)) == [U[9], m.ResponseVerifyCommit(U[0], False)]
    wallet.user(ADD)
    stranger = Identity(PrivateKey(b"\x77" * 32))
    for bad in (_commit(19), _commit(currency=Currency("EUR")), _commit(signer=stranger)):
        assert wallet.user(m.RequestVerifyCommit(U[0], bad)) == [U[9], m.ResponseVerifyCommit(U[0], False)]
        assert wallet.stored.open_invoices[INVOICE].opt_commit is None
    for _ in range(2):
        assert wallet.user(m.RequestVerifyCommit(U[0], COMMIT)) == [U[9], m.ResponseVerifyCommit(U[0], True)]


def test_cancelling_an_invoice():
    """The node first, then the list; what is not listed gets an ack."""
    wallet = Wallet()
    wallet.user(ADD)
    wallet.acknowledged()
    assert wallet.user(m.CancelInvoice(INVOICE)) == []
    assert wallet.log[-3:] == ["AppToAppServer", "Save", "CompactReport"]
    assert wallet.asked[-1] == app.CancelInvoice(INVOICE)
    assert wallet.acknowledged() == [U[9]]
    assert wallet.user(m.CancelInvoice(INVOICE)) == [U[9]]


def test_invoices_are_sent_again_after_a_restart():
    """D99: the node may have ended before it heard of them; those with a commit it knows."""
    assert [type(asked) for asked in Wallet(CompactState(STATE.open_invoices)).asked] == [app.AddInvoice]
    only_buyer = AppPermissions(routes=True, buyer=True, seller=False, config=False)
    assert Wallet(CompactState(STATE.open_invoices), only_buyer).asked == []


def test_configuration_is_handed_on():
    """With the user's id; the report that it changed comes before the ack; other apps' ids mean nothing."""
    wallet = Wallet()
    assert wallet.user(app.AddRelay(NAMED_RELAY)) == []
    assert (wallet.asked, wallet.ids) == ([app.AddRelay(NAMED_RELAY)], [U[9]])
    assert wallet.acknowledged(U[1]) == []
    added = (FunderMutationReport(AddRelayReport(NAMED_RELAY)),)
    assert wallet.hears(ReportMutations(U[9], added)) == [U[9]]
    assert wallet.log[-2:] == ["CompactReport", "AckUser"]
    assert wallet.node.report.relays == (NAMED_RELAY,)
    assert wallet.acknowledged() == []


def test_a_request_id_that_is_used_twice():
    """D94: each request has its ack."""
    wallet = Wallet()
    wallet.user(app.RemoveRelay(SELLER))
    wallet.user(app.RemoveRelay(MEDIATOR))
    assert wallet.acknowledged() == [U[9]]
    assert wallet.acknowledged() == [U[9]]
    assert wallet.acknowledged() == []


@pytest.mark.parametrize(
    ("request_", "missing"),
    [
        (m.InitPayment(PAYMENT, INVOICE, FST, SELLER, 20, TEXT), "buyer"),
        (m.InitPayment(PAYMENT, INVOICE, FST, SELLER, 20, TEXT), "routes"),
        (m.ConfirmPaymentFees(PAYMENT, U[0]), "buyer"),
        (m.CancelPayment(PAYMENT), "buyer"),
        (m.AckPaymentDone(PAYMENT, U[0]), "buyer"),
        (ADD, "seller"),
        (m.CancelInvoice(INVOICE), "seller"),
        (m.CommitInvoice(INVOICE), "seller"),
        (app.RemoveRelay(SELLER), "config"),
    ],
)
def test_permissions(request_, missing):
    """D100 among them; without the permission the compact node ends, and nothing was asked."""
    flags = {name: name != missing for name in ("routes", "buyer", "seller", "config")}
    wallet = Wallet(permissions=AppPermissions(**flags))
    wallet.user(request_)
    assert wallet.ended == f"no permission {missing} for {type(request_).__name__}"
    assert wallet.asked == []
    assert Wallet(permissions=AppPermissions(False, False, False, False)).user(m.RequestVerifyCommit(U[0], COMMIT)) == [
        U[9],
        m.ResponseVerifyCommit(U[0], False),
    ]


def test_a_report_that_diverges_ends_the_node():
    """Connected anew, there is a fresh one."""
    wallet = Wallet()
    wallet.hears(ReportMutations(None, (FunderMutationReport(RemoveFriendReport(SELLER)),)))
    assert wallet.ended is not None
    assert "FriendDoesNotExist" in wallet.ended
