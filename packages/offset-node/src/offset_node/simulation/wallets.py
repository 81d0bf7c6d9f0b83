"""
Payments, driven by the apps of buyer and seller.

Every step is a request that may be lost with its node or its answer, so it is asked again, under the ids chosen
once, until the answer is there:

    invoice -> create -> routes -> transact -> commit (or cancel) -> close -> acknowledge -> paid or cancelled

Where invoices have an end, the buyer gives up in place of the seller's cancelling, and the end does the rest. A seller
whose node refuses the commit, because a part of the payment has gone with a channel or a friend has to speak first,
asks again a few times, and cancels then.

A step is what the apps of both sides wait for. Where the payment stands for its buyer is a state of
`offset_crypto.payment`, whose table decides what a result or the end of the payment changes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from offset_crypto.payment import PaymentEffect, PaymentEvent, PaymentState, advance
from offset_node.simulation.nodes import SimulatedNode
from offset_node.simulation.world import World
from offset_proto.messages.app import (
    AckClosePayment,
    AddInvoice,
    AppRequest,
    AppServerToApp,
    AppToAppServer,
    Canceled,
    CancelInvoice,
    ClientResponseRoutes,
    CommitInvoice,
    Complete,
    CreatePayment,
    CreateTransaction,
    PaymentNotFound,
    PaymentStatusSuccess,
    ReportMutations,
    RequestClosePayment,
    ResponseClosePayment,
    RoutesFound,
    TransactionResult,
)
from offset_proto.messages.extensions import AddExpiringInvoice, GiveUpPayment
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import MultiRoute, RequestRoutes
from offset_proto.messages.payment import Commit
from offset_proto.rate import calc_fee
from offset_proto.types import Currency, InvoiceId, PaymentId, PublicKey, Uid

__all__ = ["Outcome", "SimulatedPayment", "Wallets"]

PATIENCE_TICKS = 8
"""How long a wallet waits for an answer before it asks again."""

ROUTE_TRIES_MAX = 12
"""Requests for routes before a buyer gives up."""


COMMIT_TRIES_MAX = 4
"""Commits that a seller's node may refuse before the invoice is cancelled."""


class Outcome(Enum):
    """How a payment ended, as far as the buyer's app can tell."""

    PAID = "paid"
    CANCELLED = "cancelled"
    FORGOTTEN = "forgotten"
    NO_ROUTE = "no route"


class Step(Enum):
    """What a payment waits for."""

    INVOICE = "invoice"
    CREATE = "create"
    ROUTES = "routes"
    TRANSACT = "transact"
    COMMIT = "commit"
    CANCEL = "cancel"
    GIVE_UP = "give up"
    CLOSE = "close"
    ACKNOWLEDGE = "acknowledge"
    DONE = "done"


@dataclass(eq=False)
class SimulatedPayment:
    """
    One payment, from its invoice until its end is acknowledged.

    Attributes:
        step: What the apps of buyer and seller wait for.
        state: Where the payment stands for its buyer.
        route: The way of the payment; empty until one was chosen.
        fees: Credits for all mediators of *route* together.
        has_no_route: Whether it was given up because no route was found.
        is_forgotten: Whether the buyer's node does not know it any more, as after a restore.
    """

    wallets: "Wallets"
    buyer: SimulatedNode
    seller: SimulatedNode
    currency: Currency
    amount: int
    invoice_id: InvoiceId
    payment_id: PaymentId
    request_id: Uid
    step: Step = Step.INVOICE
    state: PaymentState = PaymentState.SENDING
    route: tuple[PublicKey, ...] = ()
    fees: int = 0
    commit: Commit | None = None
    ack_uid: Uid | None = None
    has_no_route: bool = False
    is_forgotten: bool = False
    route_tries: int = 0
    refusals: int = 0
    asked: int = 0

    @property
    def outcome(self) -> Outcome | None:
        """How the payment ended; None before its end."""
        if self.is_forgotten:
            return Outcome.FORGOTTEN
        match self.state:
            case PaymentState.PAID:
                return Outcome.PAID
            case PaymentState.FAILED:
                return Outcome.NO_ROUTE if self.has_no_route else Outcome.CANCELLED
            case _:
                return None

    def ask(self) -> None:
        """Carry out the present step, and again after a while if nothing came of it."""
        if self.step is Step.DONE:
            return
        self.asked += 1
        asked = self.asked
        self.wallets.after(PATIENCE_TICKS, lambda: self.ask() if self.asked == asked else None)
        self._request()

    def proceed(self, step: Step) -> None:
        """Leave the present step, which is done, for *step*, and carry that out."""
        self.step = step
        self.ask()

    def _request(self) -> None:
        wallets = self.wallets
        match self.step:
            case Step.INVOICE:
                wallets.request(self, self.seller, self._invoice())
            case Step.CREATE:
                created = CreatePayment(
                    self.payment_id, self.invoice_id, self.currency, self.amount, self.seller.public_key
                )
                wallets.request(self, self.buyer, created)
            case Step.ROUTES:
                self._ask_for_routes()
            case Step.TRANSACT:
                route = FriendsRoute(self.route)
                transaction = CreateTransaction(self.payment_id, self.request_id, route, self.amount, self.fees)
                wallets.request(self, self.buyer, transaction)
            case Step.COMMIT if self.commit is not None:
                wallets.request(self, self.seller, CommitInvoice(self.commit))
            case Step.GIVE_UP:
                wallets.request(self, self.buyer, GiveUpPayment(self.payment_id))
            case Step.CANCEL:
                wallets.request(self, self.seller, CancelInvoice(self.invoice_id))
            case Step.CLOSE:
                wallets.request(self, self.buyer, RequestClosePayment(self.payment_id))
            case Step.ACKNOWLEDGE if self.ack_uid is not None:
                wallets.request(self, self.buyer, AckClosePayment(self.payment_id, self.ack_uid))
            case _:
                raise AssertionError(self.step)

    def _invoice(self) -> AddInvoice | AddExpiringInvoice:
        seconds = self.wallets.invoice_ticks
        if seconds:
            return AddExpiringInvoice(self.invoice_id, self.currency, self.amount, seconds)
        return AddInvoice(self.invoice_id, self.currency, self.amount)

    def _ask_for_routes(self) -> None:
        self.route_tries += 1
        if self.route_tries > ROUTE_TRIES_MAX:
            self.has_no_route = True
            self._give_up()
            return
        request_id = self.wallets.uid()
        self.wallets.searches[request_id] = self
        keys = self.buyer.public_key, self.seller.public_key
        request = RequestRoutes(request_id, self.currency, self.amount, *keys, None)
        self.wallets.request(self, self.buyer, request)

    def acknowledged(self, request: AppRequest) -> None:
        """A node acknowledged a request of this payment."""
        match self.step, request:
            case Step.INVOICE, AddInvoice() | AddExpiringInvoice():
                self.proceed(Step.CREATE)
            case Step.CREATE, CreatePayment():
                self.proceed(Step.ROUTES)
            case Step.COMMIT, CommitInvoice():
                self._committed()
            case (Step.CANCEL, CancelInvoice()) | (Step.GIVE_UP, GiveUpPayment()):
                self.proceed(Step.CLOSE)
            case Step.ACKNOWLEDGE, AckClosePayment():
                self.step = Step.DONE
                self.wallets.ended(self)
            case _:
                pass

    def _committed(self) -> None:
        """The seller's node has looked at the commit: it has collected, or the invoice is open still."""
        if self.invoice_id not in self.seller.stored.funder.open_invoices:
            self.proceed(Step.CLOSE)
            return
        self.refusals += 1
        if self.refusals >= COMMIT_TRIES_MAX:
            self.proceed(Step.CANCEL)

    def found(self, multi_routes: tuple[MultiRoute, ...]) -> None:
        """Routes came; take the first that carries the amount and its fee."""
        if self.step is not Step.ROUTES:
            return
        for multi_route in multi_routes:
            for candidate in multi_route.routes:
                fees = calc_fee(candidate.rate, self.amount)
                if candidate.capacity >= self.amount + fees:
                    self.route, self.fees = candidate.route.public_keys, fees
                    self.proceed(Step.TRANSACT)
                    return

    def transacted(self, result: object) -> None:
        """The transaction has its response, or has failed."""
        if not isinstance(result, Complete):
            self._give_up()
            return
        # A transaction that was asked for again is answered again: the table has effects for the first answer only.
        self.state, effects = advance(self.state, PaymentEvent.COMMIT)
        if PaymentEffect.WRITE_COMMIT in effects:
            self.commit = result.commit
        if PaymentEffect.HAND_OUT_COMMIT in effects:
            self.proceed(Step.COMMIT)

    def _give_up(self) -> None:
        """Let the seller cancel the invoice, or wait for its end, unless there is a commit already."""
        self.state, effects = advance(self.state, PaymentEvent.GIVE_UP)
        if PaymentEffect.TELL_FAILED in effects:
            self.proceed(Step.GIVE_UP if self.wallets.invoice_ticks else Step.CANCEL)

    def closed(self, response: ResponseClosePayment) -> None:
        """The buyer's node says how the payment ended; once it has been asked for that, the end is acknowledged."""
        if self.step is not Step.CLOSE:
            return
        match response.status:
            case PaymentStatusSuccess(_, ack_uid):
                self.ack_uid, event = ack_uid, PaymentEvent.RECEIPT
            case Canceled(ack_uid):
                self.ack_uid, event = ack_uid, PaymentEvent.CANCELLED
            case PaymentNotFound():
                if not self.buyer.stored.funder.has_forgotten:
                    raise AssertionError("a node forgot a payment that was not acknowledged")
                self.is_forgotten, self.step = True, Step.DONE
                self.wallets.ended(self)
                return
        self.state, _ = advance(self.state, event)
        self.proceed(Step.ACKNOWLEDGE)


@dataclass
class Wallets:
    """
    All apps of a network.

    Attributes:
        world: Where they live.
        invoice_ticks: Life of an invoice; 0: it has no end.
        open: Payments that have not ended.
        done: Payments that have.
    """

    world: World
    invoice_ticks: int = 0
    open: dict[PaymentId, SimulatedPayment] = field(default_factory=dict)
    done: list[SimulatedPayment] = field(default_factory=list)
    searches: dict[Uid, SimulatedPayment] = field(default_factory=dict)
    _requests: dict[Uid, tuple[SimulatedPayment, AppRequest]] = field(default_factory=dict)
    _transactions: dict[Uid, SimulatedPayment] = field(default_factory=dict)

    def uid(self) -> Uid:
        """A new random id, of a request to a node or of a search for routes."""
        return Uid(self.world.chance.randbytes(16))

    def after(self, ticks: float, action: Callable[[], object]) -> None:
        """Let *action* happen after so many ticks of virtual time."""
        self.world.after(ticks, action)

    def configure(self, node: SimulatedNode, request: AppRequest) -> None:
        """A request of the owner that belongs to no payment."""
        node.request(AppToAppServer(self.uid(), request))

    def pay(self, buyer: SimulatedNode, seller: SimulatedNode, currency: Currency, amount: int) -> SimulatedPayment:
        """Begin a payment of *amount* credits; its first step is to ask the seller for an invoice."""
        randbytes = self.world.chance.randbytes
        ids = InvoiceId(randbytes(32)), PaymentId(randbytes(16)), Uid(randbytes(16))
        payment = SimulatedPayment(self, buyer, seller, currency, amount, *ids)
        self.open[payment.payment_id] = payment
        self._transactions[payment.request_id] = payment
        payment.ask()
        return payment

    def request(self, payment: SimulatedPayment, node: SimulatedNode, request: AppRequest) -> None:
        """A request of a payment; lost where the node is down."""
        if node.is_up:
            app_request_id = self.uid()
            self._requests[app_request_id] = (payment, request)
            node.request(AppToAppServer(app_request_id, request))

    def receive(self, node: SimulatedNode, message: AppServerToApp) -> None:
        """A message of a node for its app."""
        match message:
            case ReportMutations(app_request_id, _) if app_request_id is not None:
                payment, request = self._requests.pop(app_request_id, (None, None))
                if payment is not None and request is not None:
                    payment.acknowledged(request)
            case TransactionResult(request_id, result):
                if request_id in self._transactions:
                    self._transactions[request_id].transacted(result)
            case ResponseClosePayment(payment_id, _):
                if payment_id in self.open:
                    self.open[payment_id].closed(message)
            case ClientResponseRoutes(request_id, result):
                searching = self.searches.pop(request_id, None)
                if searching is not None and isinstance(result, RoutesFound):
                    searching.found(result.multi_routes)
            case _:
                pass

    def ended(self, payment: SimulatedPayment) -> None:
        """The buyer and the seller are through with a payment; no step of it follows."""
        del self.open[payment.payment_id]
        del self._transactions[payment.request_id]
        self.done.append(payment)
