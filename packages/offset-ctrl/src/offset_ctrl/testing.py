"""
For tests of apps: a node that says what the test wants, on loopback, and proofs as a seller makes them::

    bob = build_friend("bob", build_ledger(Currency("FST"), balance=30))
    node = ScriptedNode(identity, build_report(identity.public_key, {key: bob}))
    node.results = lambda asked: Complete(build_commit(invoice, seller))
    async with node.serve(ticker) as ticket, connect(ticket, app, ticker=ticker) as connected:
        ...
    assert node.asked(CreateTransaction)
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from offset_crypto.aio import Connection, Ticker, serve
from offset_crypto.hashing import hash_lock
from offset_crypto.identity import Identity
from offset_crypto.signed import commit_buffer, receipt_buffer
from offset_proto import wire
from offset_proto.files import Invoice
from offset_proto.messages.app import (
    AppPermissions,
    AppRequest,
    CancelInvoice,
    ClientResponseRoutes,
    CommitInvoice,
    CreateTransaction,
    PaymentStatus,
    ReportMutations,
    RequestClosePayment,
    RequestResult,
    ResponseClosePayment,
    RoutesFailure,
    RoutesFound,
    TransactionResult,
)
from offset_proto.messages.extensions import (
    AppGreeting,
    Extension,
    FollowInvoices,
    FollowPayments,
    FollowUnheard,
    GiveUpPayment,
    OpenInvoiceReport,
    OpenInvoices,
    OpenPaymentReport,
    OpenPayments,
    UnheardFriends,
)
from offset_proto.messages.history import FollowHistory, HistoryEnd, HistoryEntry, HistoryPage, ReadHistory
from offset_proto.messages.index import MultiRoute, RequestRoutes
from offset_proto.messages.payment import Commit, NamedIndexServerAddress, NamedRelayAddress, Receipt, RelayAddress
from offset_proto.messages.report import (
    ChannelConsistentReport,
    CurrencyReport,
    FriendLivenessReport,
    FriendReport,
    FriendStatusReport,
    FunderReport,
    IndexClientReport,
    McBalanceReport,
    NodeReport,
    PkFriendReport,
    PkFriendReportList,
)
from offset_proto.permissions import ExtendedPermissions
from offset_proto.types import (
    I128,
    U128,
    Currency,
    HashResult,
    InvoiceId,
    NetAddress,
    PaymentId,
    PlainLock,
    PublicKey,
    Signature,
    Uid,
)

__all__ = ["ScriptedNode", "build_commit", "build_friend", "build_ledger", "build_receipt", "build_report"]

LOCK, DEST_LOCK = PlainLock(b"\x08" * PlainLock.SIZE), PlainLock(b"\x09" * PlainLock.SIZE)

R = TypeVar("R")


def build_ledger(currency: Currency, balance: I128 = 0, *, out: U128 = 0, back: U128 = 0) -> CurrencyReport:
    """
    What stands with a friend in a currency, in credits.

    Args:
        currency: That both have opened.
        balance: What the friend owes; below zero, what it is owed.
        out, back: Frozen for what we have sent, and for what the friend has sent.
    """
    return CurrencyReport(currency, McBalanceReport(balance, out, back))


def build_friend(name: str, /, *ledgers: CurrencyReport, **changes: Any) -> FriendReport:
    """
    A friend that is online and enabled, on a channel that works.

    Args:
        name: That its node is called by here.
        ledgers: Of the currencies that are open.
        changes: Fields of `FriendReport` that are to be otherwise.
    """
    usual: dict[str, Any] = {
        "name": name,
        "remote_relays": (),
        "currency_configs": (),
        "opt_last_incoming_move_token": None,
        "liveness": FriendLivenessReport.ONLINE,
        "channel_status": ChannelConsistentReport(ledgers),
        "status": FriendStatusReport.ENABLED,
    }
    return FriendReport(**usual | changes)


def build_report(
    local: PublicKey,
    friends: Mapping[PublicKey, FriendReport] | None = None,
    *,
    relays: tuple[NamedRelayAddress, ...] = (),
    index_servers: tuple[NamedIndexServerAddress, ...] = (),
    connected: PublicKey | None = None,
) -> NodeReport:
    """
    What a node tells an app that connects.

    Args:
        local: The key of the node.
        friends: By their keys; None: it has none.
        relays, index_servers: That it uses.
        connected: The index server that takes what it declares; None: none does.
    """
    listed = PkFriendReportList(tuple(PkFriendReport(key, friend) for key, friend in (friends or {}).items()))
    return NodeReport(FunderReport(local, relays, listed), IndexClientReport(index_servers, connected))


def build_receipt(invoice: Invoice, seller: Identity) -> Receipt:
    """What the buyer of *invoice* gets in the end."""

    def build(signature: Signature) -> Receipt:
        amounts = (invoice.dest_payment, invoice.dest_payment)
        locks = (LOCK, DEST_LOCK)
        return Receipt(HashResult(bytes(32)), invoice.invoice_id, invoice.currency, *locks, True, *amounts, signature)

    return build(seller.sign(receipt_buffer(build(Signature(bytes(Signature.SIZE))))))


def build_commit(invoice: Invoice, seller: Identity) -> Commit:
    """What the buyer of *invoice* hands to the seller."""

    def build(signature: Signature) -> Commit:
        amounts = (invoice.dest_payment, invoice.dest_payment)
        ids = (invoice.invoice_id, invoice.currency)
        return Commit(HashResult(bytes(32)), LOCK, hash_lock(DEST_LOCK), *amounts, *ids, signature)

    return build(seller.sign(commit_buffer(build(Signature(bytes(Signature.SIZE))))))


class ScriptedNode:
    """
    A node that answers apps as one test has set it up.

    Args:
        identity: The node's.
        report: What an app gets to see when it connects.

    Attributes:
        permissions: Of every app.
        extensions: What it announces; by default nothing, like an original.
        accepts: Whether apps may connect.
        requests: All that was asked of it, in order.
        routes: What an index server answers; None: there is none.
        results: What becomes of a transaction; None: nothing, for now.
        status: How a payment ended; None: it has not.
        mutations: What a request changes in the report.
        payments: The snapshot of an app that follows the payments; None: there is no answer.
        invoices: The same for invoices.
        collected: Of the same snapshot.
        collects: Whether a commit collects its invoice; False: that has ended just before; None: nothing changes.
        unheard: The friends that have to speak first.
        cancels: Whether a cancellation finds its invoice; otherwise nothing changes.
        archived: Up to this number, what was in its history is in an archive.
        shows_whole_history: Whether a page says that no plugin leaves anything out.
        history: Its history, from the first entry on; pages have three entries at most. Of filters, it knows those by
            friend and currency.
        before: Called first with each request; False: it is not answered.
    """

    def __init__(self, identity: Identity, report: NodeReport) -> None:
        self.permissions: AppPermissions = AppPermissions(routes=True, buyer=True, seller=True, config=True)
        self.extensions = Extension(0)
        self.accepts = True
        self.requests: list[AppRequest] = []
        self.routes: Callable[[RequestRoutes], tuple[MultiRoute, ...] | None] = lambda asked: ()
        self.results: Callable[[CreateTransaction], RequestResult | None] = lambda asked: None
        self.status: Callable[[PaymentId], PaymentStatus | None] = lambda asked: None
        self.mutations: Callable[[AppRequest], tuple[Any, ...]] = lambda asked: ()
        self.payments: Callable[[], tuple[OpenPaymentReport, ...] | None] = lambda: ()
        self.invoices: Callable[[], tuple[OpenInvoiceReport, ...] | None] = lambda: ()
        self.collected: Callable[[], tuple[InvoiceId, ...]] = lambda: ()
        self.collects: Callable[[Commit], bool | None] = lambda commit: True
        self.unheard: tuple[PublicKey, ...] = ()
        self.cancels: Callable[[InvoiceId], bool] = lambda invoice_id: True
        self.history: list[HistoryEntry] = []
        self.archived = 0
        self.timeline = 0
        self.shows_whole_history = True
        self.before: Callable[[Connection, AppRequest], bool] = lambda connection, asked: True
        self._identity = identity
        self._report = report
        self._connections: list[Connection] = []

    @asynccontextmanager
    async def serve(self, ticker: Ticker) -> AsyncIterator[RelayAddress]:
        """Listen on loopback for the length of a ``with`` block; the node's ticket."""
        async with serve("127.0.0.1", 0, self._identity, ticker, self.accept, handshakes_max=4) as port:
            yield RelayAddress(self._identity.public_key, NetAddress(f"127.0.0.1:{port}"))

    def accept(self, connection: Connection) -> None:
        """An app has proved its key."""
        if not self.accepts:
            connection.close("the test wants it")
            return
        self._connections.append(connection)
        may = self.permissions
        greeting = AppGreeting(
            may.routes, may.buyer, may.seller, may.config, int(self.extensions), isinstance(may, ExtendedPermissions)
        )
        connection.send(wire.APP_GREETING.encode(greeting))
        connection.send(wire.NODE_REPORT.encode(self._report))
        connection.attach(_Receiver(self, connection))

    def tell(self, *messages: Any) -> None:
        """Say something to the app that connected last."""
        for message in messages:
            self._connections[-1].send(wire.APP_SERVER_TO_APP.encode(message))

    def drop(self) -> None:
        """Close the connection of the app that connected last."""
        self._connections[-1].close("the test wants it")

    def asked(self, kind: type[R]) -> list[R]:
        """The requests of one kind that apps have made so far, in their order."""
        return [request for request in self.requests if isinstance(request, kind)]

    def receive(self, connection: Connection, app_request_id: Uid, request: AppRequest) -> None:
        """Remember a request of an app and answer it, as the test has set it up."""
        self.requests.append(request)
        if not self.before(connection, request):
            return

        def tell(message: Any) -> None:
            connection.send(wire.APP_SERVER_TO_APP.encode(message))

        if isinstance(request, ReadHistory):
            tell(self._page(request))
            return
        tell(ReportMutations(app_request_id, self.mutations(request)))
        match request:
            case RequestRoutes():
                found = self.routes(request)
                answer = RoutesFailure() if found is None else RoutesFound(found)
                tell(ClientResponseRoutes(request.request_id, answer))
            case CreateTransaction():
                result = self.results(request)
                if result is not None:
                    tell(TransactionResult(request.request_id, result))
            case RequestClosePayment(payment_id) | GiveUpPayment(payment_id):
                status = self.status(payment_id)
                if status is not None:
                    tell(ResponseClosePayment(payment_id, status))
            case FollowPayments():
                payments = self.payments()
                if payments is not None:
                    tell(OpenPayments(True, payments, ()))
            case FollowInvoices():
                invoices = self.invoices()
                if invoices is not None:
                    tell(OpenInvoices(True, invoices, (), self.collected()))
            case CommitInvoice(commit) if Extension.COLLECTED in self.extensions:
                is_collected = self.collects(commit)
                if is_collected is not None:
                    ended = (commit.invoice_id,)
                    tell(OpenInvoices(False, (), ended, ended if is_collected else ()))
            case CancelInvoice(invoice_id) if Extension.COLLECTED in self.extensions and self.cancels(invoice_id):
                tell(OpenInvoices(False, (), (invoice_id,), ()))
            case FollowHistory():
                tell(HistoryEnd(len(self.history), self.timeline))
            case FollowUnheard():
                tell(UnheardFriends(True, self.unheard, ()))
            case _:
                pass

    def _page(self, asked: ReadHistory) -> HistoryPage:
        friend, currency = asked.filter.opt_friend, asked.filter.opt_currency
        found = [
            entry
            for entry in self.history
            if asked.after < entry.number < (asked.before or 2**64)
            and friend in (None, entry.friend)
            and currency in (None, entry.currency)
        ]
        page = (found[::-1] if asked.newest_first else found)[: min(3, asked.limit)]
        end = self.history[-1].number if self.history else 0
        nothing_left = asked.after + 1 if asked.newest_first else end
        through = page[-1].number if len(page) < len(found) else nothing_left
        numbers = (through, end, self.archived)
        return HistoryPage(asked.request_id, tuple(page), *numbers, self.shows_whole_history, self.timeline)


class _Receiver:
    def __init__(self, node: ScriptedNode, connection: Connection) -> None:
        self._node = node
        self._connection = connection

    def message_received(self, message: bytes) -> None:
        received = wire.APP_TO_APP_SERVER.decode(message)
        self._node.receive(self._connection, received.app_request_id, received.app_request)

    def connection_closed(self) -> None:
        """The test sees the end of a connection on the app's side; nothing is to be done here."""
