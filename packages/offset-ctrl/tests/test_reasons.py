"""Why a payment can not be made: what is asked, and what is said. The node is one that says what the test wants."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from offset_crypto.aio import Ticker
from offset_crypto.identity import Identity
from offset_ctrl import (
    AlreadyPaid,
    AmountTooLarge,
    FriendNotReady,
    InvoiceNotOpen,
    MediatorRefused,
    Node,
    NoFriendOnline,
    NoIndexServer,
    NoRoute,
    NotEnoughCredit,
    PartsRefused,
    PaymentFailed,
    PayOptions,
    SellerRefused,
    SellerUnknown,
    connect,
)
from offset_ctrl.rules.routes import direct_route
from offset_ctrl.sdk.reasons import FRIENDS_ASKED_MAX, ROUTE_QUESTIONS_MAX, largest_payable
from offset_ctrl.testing import ScriptedNode, build_commit, build_friend, build_ledger, build_receipt, build_report
from offset_proto.files import Invoice
from offset_proto.messages.app import (
    Canceled,
    CommitInvoice,
    Complete,
    CreateTransaction,
    Failure,
    PaymentStatusSuccess,
    RequestResult,
    Success,
)
from offset_proto.messages.extensions import Extension, OpenInvoiceReport
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import MultiRoute, RequestRoutes, RouteCapacityRate
from offset_proto.messages.payment import Commit, Rate
from offset_proto.messages.report import (
    FriendLivenessReport,
)
from offset_proto.types import Currency, InvoiceId, PrivateKey, PublicKey, Uid

NODE, APP, SELLER = (Identity(PrivateKey(bytes([n]) * 32)) for n in (1, 2, 3))
FST = Currency("FST")
BOB, EVE, DAN = (PublicKey(bytes([n]) * 32) for n in (5, 6, 7))
BILL = Invoice(InvoiceId(b"\x07" * 32), FST, SELLER.public_key, 100)
QUICK = PayOptions(timeout=5.0, route_seconds=0.0)


def _node(*online: PublicKey, offline: tuple[PublicKey, ...] = ()) -> ScriptedNode:
    there = build_friend("friend", build_ledger(FST))
    away = replace(there, liveness=FriendLivenessReport.OFFLINE)
    friends = dict.fromkeys(online, there) | dict.fromkeys(offline, away)
    node = ScriptedNode(NODE, build_report(NODE.public_key, friends))
    node.status = lambda asked: Canceled(Uid(bytes(16)))
    return node


def _routes(*known: tuple[tuple[PublicKey, ...], int]) -> Callable[[RequestRoutes], tuple[MultiRoute, ...]]:
    """An index server with these routes: it answers with the first one that leads there and carries so much."""

    def answer(asked: RequestRoutes) -> tuple[MultiRoute, ...]:
        for keys, capacity in known:
            if keys[-1] == asked.destination and capacity >= asked.capacity:
                route = FriendsRoute((NODE.public_key, *keys))
                return (MultiRoute((RouteCapacityRate(route, capacity, Rate(0, 0)),)),)
        return ()

    return answer


def _run(fake: ScriptedNode, body: Callable[[Node], Awaitable[None]], journal: Path | None = None) -> None:
    async def main() -> None:
        ticker = Ticker(0.03)
        async with (
            asyncio.timeout(20),
            fake.serve(ticker) as ticket,
            connect(ticket, APP, journal=journal, ticker=ticker) as node,
        ):
            await body(node)

    asyncio.run(main())


async def _hand_over(commit: Commit) -> None:
    """Deliver a commit to a seller who takes it."""


def _failure(fake: ScriptedNode, options: PayOptions = QUICK, bill: Invoice = BILL) -> PaymentFailed:
    """What paying the bill raises."""
    raised: list[PaymentFailed] = []

    async def body(node: Node) -> None:
        with pytest.raises(PaymentFailed) as caught:
            await node.pay(bill, _hand_over, options)
        raised.append(caught.value)

    _run(fake, body)
    return raised[0]


# No route.


def test_no_friend_online() -> None:
    """The index server is not asked for more: it could only say the same."""
    fake = _node(offline=(BOB,))
    assert isinstance(_failure(fake), NoFriendOnline)
    assert len(fake.asked(RequestRoutes)) == 1


def test_a_currency_that_no_friend_has() -> None:
    """Nor is it looked for; a friend who is away may have it."""
    fake = _node(BOB)
    failure = _failure(fake, bill=replace(BILL, currency=Currency("EUR")))
    assert str(failure).endswith(": no friend of yours has EUR")
    assert len(fake.asked(RequestRoutes)) == 1


def test_ones_own_invoice() -> None:
    """Nobody is to blame."""
    failure = _failure(_node(BOB), bill=replace(BILL, dest_public_key=NODE.public_key))
    assert str(failure).endswith(": this invoice is your own")


def test_not_enough_credit() -> None:
    """How much there is with all friends together; a friend that is away does not count."""
    fake = _node(BOB, EVE, offline=(DAN,))
    seller = SELLER.public_key
    fake.routes = _routes(((BOB,), 30), ((EVE,), 40), ((BOB, seller), 30), ((EVE, seller), 35))
    failure = _failure(fake)
    assert isinstance(failure, NotEnoughCredit)
    assert failure.available == 70
    assert "70 FST at most" in str(failure)


def test_credit_that_suffices_together() -> None:
    """A payment can be split over two friends of which neither carries it, so it fails further on."""
    fake = _node(BOB, EVE)
    fake.routes = _routes(((BOB,), 60), ((EVE,), 40), ((BOB, SELLER.public_key), 50))
    failure = _failure(fake)
    assert isinstance(failure, AmountTooLarge)
    assert failure.largest == 50


def test_no_credit_at_all() -> None:
    """The index server knows nothing of our friends."""
    failure = _failure(_node(BOB))
    assert isinstance(failure, NotEnoughCredit)
    assert failure.available == 0


def test_a_seller_that_nobody_knows() -> None:
    """There is credit, and it leads nowhere."""
    fake = _node(BOB)
    fake.routes = _routes(((BOB,), 1000))
    assert isinstance(_failure(fake), SellerUnknown)


def test_an_amount_that_nothing_carries() -> None:
    """The largest one that could be paid, though the first answer is a smaller one."""
    fake = _node(BOB)
    seller = SELLER.public_key
    fake.routes = _routes(((BOB,), 1000), ((BOB, seller), 20), ((BOB, EVE, seller), 60), ((BOB, DAN, seller), 90))
    failure = _failure(fake)
    assert isinstance(failure, AmountTooLarge)
    assert failure.largest == 90
    assert [asked.capacity for asked in fake.asked(RequestRoutes)] == [100, 1, 21, 61, 91, 1]


def test_no_more_than_a_handful_of_questions() -> None:
    """However many routes and friends there are; the largest amount then is one that could be paid."""
    fake = _node(*(PublicKey(bytes([n]) * 32) for n in range(20, 40)))
    seller = SELLER.public_key
    fake.routes = _routes(*(((BOB, seller), capacity) for capacity in range(1, 99)))
    failure = _failure(fake)
    assert isinstance(failure, AmountTooLarge)
    assert failure.largest == ROUTE_QUESTIONS_MAX
    assert len(fake.asked(RequestRoutes)) == 1 + ROUTE_QUESTIONS_MAX + FRIENDS_ASKED_MAX


def test_no_index_server() -> None:
    """At first, and while the reason is looked for."""
    fake = _node(BOB)
    fake.routes = lambda asked: None
    assert isinstance(_failure(fake), NoIndexServer)
    fake.routes = lambda asked: () if asked.capacity == 100 else None
    assert type(_failure(fake)) is NoRoute


def test_routes_that_the_app_knows_are_not_enough() -> None:
    """Nobody is asked."""
    fake = _node(BOB)
    route = RouteCapacityRate(FriendsRoute((NODE.public_key, BOB, SELLER.public_key)), 50, Rate(0, 5))
    failure = _failure(fake, PayOptions(routes=(MultiRoute((route,)),)))
    assert isinstance(failure, AmountTooLarge)
    assert failure.largest == 45
    assert type(_failure(fake, PayOptions(routes=()))) is NoRoute
    assert fake.asked(RequestRoutes) == []


def test_what_several_routes_carry_together() -> None:
    """The parts of one answer add up; answers do not."""
    route = RouteCapacityRate(FriendsRoute((NODE.public_key, SELLER.public_key)), 50, Rate(0, 5))
    assert largest_payable(()) == 0
    assert largest_payable((MultiRoute((route, route)), MultiRoute((route,)))) == 90


# Transactions that fail.


def test_a_seller_that_refuses() -> None:
    """Nobody else is on the route."""
    fake = _node(SELLER.public_key)
    fake.routes, fake.results = _routes(((SELLER.public_key,), 1000)), lambda asked: Failure()
    failure = _failure(fake)
    assert isinstance(failure, SellerRefused)
    assert failure.number == 1


STRAIGHT = PayOptions(timeout=5.0, route_seconds=0.0, routes=direct_route(NODE.public_key, SELLER.public_key))


def _refusing(fake: ScriptedNode) -> ScriptedNode:
    """Every transaction fails."""
    fake.results = lambda asked: Failure()
    return fake


def test_a_friend_who_is_offline_has_refused_nothing() -> None:
    """It is our own node that does not send; nobody is asked why."""
    fake = _refusing(_node(offline=(SELLER.public_key,)))
    failure = _failure(fake, STRAIGHT)
    assert isinstance(failure, FriendNotReady)
    assert str(failure) == "no route that can carry the payment: friend is offline; nothing was sent"
    assert fake.asked(RequestRoutes) == []


def test_too_little_credit_with_the_friend_who_sells() -> None:
    """The friend's node refuses, and the seller has never heard of the payment."""
    fake = _refusing(_node(SELLER.public_key))
    fake.routes = _routes(((SELLER.public_key,), 30))
    failure = _failure(fake, STRAIGHT)
    assert isinstance(failure, NotEnoughCredit)
    assert failure.available == 30
    assert str(failure).endswith("not enough credit with friend, 30 FST at most; nothing was paid")


def test_nobody_says_how_much_credit_the_friend_gives() -> None:
    """Then it can not be told from the seller's own no, and neither is blamed alone."""
    fake = _refusing(_node(SELLER.public_key))
    fake.routes = lambda asked: None
    failure = _failure(fake, STRAIGHT)
    assert type(failure) is PartsRefused
    assert "your node or the seller refused: there is not enough credit with friend, or" in str(failure)


def test_who_refused_can_not_be_told() -> None:
    """It may be the seller or Bob; nothing is made up."""
    fake = _node(BOB)
    fake.routes, fake.results = _routes(((BOB, SELLER.public_key), 1000)), lambda asked: Failure()
    assert type(_failure(fake)) is PartsRefused


@pytest.mark.parametrize(("mediators", "told"), [((EVE,), True), ((EVE, DAN), False)])
def test_a_mediator_that_refuses(mediators: tuple[PublicKey, ...], told: bool) -> None:
    """The seller takes part, as it has accepted Bob's part; with two mediators it can be either."""
    fake = _node(BOB, EVE)
    routes = [((BOB, SELLER.public_key), 40), ((*mediators, SELLER.public_key), 60)]  # the smaller one is sent first
    parts = tuple(
        RouteCapacityRate(FriendsRoute((NODE.public_key, *keys)), capacity, Rate(0, 0)) for keys, capacity in routes
    )

    def results(asked: CreateTransaction) -> RequestResult:
        return Success() if BOB in asked.route.public_keys else Failure()

    fake.routes = lambda asked: (MultiRoute(parts),) if asked.capacity == 100 else ()
    fake.results = results
    failure = _failure(fake)
    assert isinstance(failure, PartsRefused)
    assert isinstance(failure, MediatorRefused) == told
    assert getattr(failure, "position", None) == (1 if told else None)


# What is paid already.


def test_an_invoice_is_not_paid_twice(tmp_path: Path) -> None:
    """While its commit waits to be handed over, and once its receipt is in the journal, also in a later run."""
    fake = _node(BOB)
    fake.routes = _routes(((BOB, SELLER.public_key), 1000))
    fake.results = lambda asked: Complete(build_commit(BILL, SELLER))
    fake.status = lambda asked: None

    async def first(node: Node) -> None:
        await node.start_payment(BILL, QUICK).commit(10)
        with pytest.raises(AlreadyPaid, match="has its commit"):
            node.start_payment(BILL, QUICK)

    async def second(node: Node) -> None:
        (payment,) = node.payments
        receipt = await payment.receipt(10)
        with pytest.raises(AlreadyPaid, match="in the journal") as raised:
            await node.pay(BILL, _hand_over, QUICK)
        assert raised.value.receipt == receipt

    async def third(node: Node) -> None:
        with pytest.raises(AlreadyPaid, match="in the journal"):
            node.start_payment(BILL, QUICK)

    _run(fake, first, tmp_path)
    fake.status = lambda asked: PaymentStatusSuccess(build_receipt(BILL, SELLER), Uid(bytes(16)))
    _run(fake, second, tmp_path)
    _run(fake, third, tmp_path)
    assert len(fake.asked(CreateTransaction)) == 1


def test_a_commit_collects_once() -> None:
    """The second time the node would acknowledge it in silence."""
    fake = _node()
    fake.extensions = Extension.OPEN_PAYMENTS
    report = OpenInvoiceReport(BILL.invoice_id, FST, 100, 100, 1, 1000, None)
    fake.invoices = lambda: () if fake.asked(CommitInvoice) else (report,)
    commit = build_commit(BILL, SELLER)

    async def body(node: Node) -> None:
        await node.accept_commit(BILL, commit)
        with pytest.raises(InvoiceNotOpen):
            await node.accept_commit(BILL, commit)

    _run(fake, body)
    assert len(fake.asked(CommitInvoice)) == 1
