"""Circles of one person: which are wanted, how they are asked for, and what is paid."""

import asyncio
import contextlib
import itertools
import os
import pty
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offset_crypto.aio import Ticker
from offset_crypto.identity import Identity
from offset_ctrl import AmountTooLarge, FeesTooHigh, Node, NoRoute, NotAnnounced, PartsRefused, connect
from offset_ctrl.connection.session import open_session
from offset_ctrl.programs.stctrl import circles as commands
from offset_ctrl.programs.stctrl import waiting
from offset_ctrl.programs.stctrl.session import CommandError
from offset_ctrl.rules.capacity import FriendCredit
from offset_ctrl.rules.circles import Transfer, close_circles, limit, transfers
from offset_ctrl.sdk.circles import ClearedCircle
from offset_ctrl.testing import ScriptedNode, build_commit, build_friend, build_ledger, build_receipt, build_report
from offset_proto.errors import InvalidInput
from offset_proto.files import Invoice
from offset_proto.limits import ROUTE_KEYS_MAX
from offset_proto.messages.app import (
    AddInvoice,
    Canceled,
    CancelInvoice,
    CommitInvoice,
    Complete,
    CreatePayment,
    CreateTransaction,
    Failure,
    PaymentStatusSuccess,
)
from offset_proto.messages.extensions import AddExpiringInvoice, Extension
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import Edge, MultiRoute, RequestRoutes, RouteCapacityRate
from offset_proto.messages.payment import Rate
from offset_proto.messages.report import (
    CurrencyConfigReport,
    FriendReport,
)
from offset_proto.types import Currency, PrivateKey, PublicKey, Uid

NODE, APP = (Identity(PrivateKey(bytes([n]) * 32)) for n in (1, 2))
FST = Currency("FST")
US, BOB, CAROL, DAN, EVE = NODE.public_key, *(PublicKey(bytes([n]) * 32) for n in (5, 6, 7, 8))
NAMES = {BOB: "bob", CAROL: "carol", DAN: "dan"}

Way = tuple[PublicKey, ...]


class _Node(ScriptedNode):
    """
    Bob owes 60 and Carol is owed 50. Whoever asks for a route gets those of *ways* that fit, the first one first.

    What is paid to the node itself is paid, unless *refuses*.
    """

    def __init__(self, ways: dict[Way, tuple[int, Rate]], **balances: int) -> None:
        balances = {"bob": 60, "carol": -50, **balances}
        friends = {key: _friend(name, balances[name]) for key, name in NAMES.items() if name in balances}
        super().__init__(NODE, build_report(US, friends))
        self.extensions = Extension.EXPIRING_INVOICES
        self.ways = ways
        self.routes = self._answer
        self.results = lambda asked: Complete(build_commit(self.invoice(), NODE))
        self.status = lambda asked: PaymentStatusSuccess(build_receipt(self.invoice(), NODE), Uid(b"\x01" * 16))

    def _answer(self, asked: RequestRoutes) -> tuple[MultiRoute, ...]:
        excluded = asked.opt_exclude
        return tuple(
            MultiRoute((RouteCapacityRate(FriendsRoute(way), capacity, rate),))
            for way, (capacity, rate) in self.ways.items()
            if (way[0], way[-1]) == (asked.source, asked.destination)
            and capacity >= asked.capacity
            and (excluded is None or excluded not in [Edge(*hop) for hop in itertools.pairwise(way)])
        )

    def invoice(self) -> Invoice:
        """The one that was made last."""
        made = [request for request in self.requests if isinstance(request, AddInvoice | AddExpiringInvoice)][-1]
        return Invoice(made.invoice_id, made.currency, US, made.total_dest_payment)

    def run(self, body: Callable[[Node], Awaitable[None]], journal: Path | None = None) -> None:
        """Let an app that connects anew do this."""

        async def main() -> None:
            ticker = Ticker(0.03)
            async with (
                asyncio.timeout(20),
                self.serve(ticker) as ticket,
                connect(ticket, APP, journal=journal, ticker=ticker) as node,
            ):
                await body(node)

        asyncio.run(main())


def _friend(name: str, balance: int) -> FriendReport:
    config = CurrencyConfigReport(FST, Rate(0, 0), 100, True)
    return build_friend(name, build_ledger(FST, balance), currency_configs=(config,))


AROUND = {(US, BOB, CAROL): (80, Rate(0, 1)), (BOB, CAROL, US): (1000, Rate(0, 2))}
"""A triangle: Bob takes 1 of what comes from us, Carol 2 of what comes from Bob."""


# Which circles are wanted.


def _credit(key: PublicKey, balance: int, receive: int = 1000, *, is_usable: bool = True) -> FriendCredit:
    return FriendCredit(key, NAMES.get(key, ""), is_usable, 1000, balance, 0, 0, receive)


def test_what_is_wanted() -> None:
    """Out through those that owe more than they should, back through those that owe less; the largest first."""
    friends = (_credit(BOB, 60), _credit(CAROL, -50), _credit(DAN, -10))
    assert transfers(friends, {}) == (Transfer(BOB, CAROL, 50), Transfer(BOB, DAN, 10))
    assert transfers(friends, {BOB: 45}) == (Transfer(BOB, CAROL, 15), Transfer(BOB, DAN, 10))
    assert transfers(friends, {BOB: 60}) == ()
    assert transfers((_credit(BOB, 60, is_usable=False), _credit(CAROL, -50)), {}) == ()
    assert transfers((_credit(BOB, 60), _credit(CAROL, -50, receive=0)), {}) == ()


@given(st.dictionaries(st.sampled_from([BOB, CAROL, DAN, EVE]), st.tuples(st.integers(-99, 99), st.integers(-99, 99))))
def test_no_balance_gets_beyond_its_target(wanted: dict[PublicKey, tuple[int, int]]) -> None:
    """Each transfer brings both balances nearer to where they are wanted."""
    friends = tuple(_credit(key, balance) for key, (balance, _) in wanted.items())
    for transfer in transfers(friends, {key: target for key, (_, target) in wanted.items()}):
        balance, target = wanted[transfer.out]
        assert balance - transfer.amount >= target
        balance, target = wanted[transfer.back]
        assert balance + transfer.amount <= target
        assert transfer.amount > 0


def _answer(*ways: Way, capacity: int = 10) -> tuple[MultiRoute, ...]:
    return tuple(MultiRoute((RouteCapacityRate(FriendsRoute(way), capacity, Rate(0, 0)),)) for way in ways)


def test_which_routes_become_circles() -> None:
    """Through the wanted friend, past us at the ends only, and no longer than a payment can be."""
    long = tuple(PublicKey(bytes([n]) * 32) for n in range(20, 20 + ROUTE_KEYS_MAX))
    found = close_circles(
        _answer((US, BOB, CAROL), (US, DAN, CAROL), (BOB, US, CAROL), (BOB, EVE, CAROL), (US, CAROL), (US, BOB, *long)),
        US,
        BOB,
    )
    assert [multi.routes[0].route.public_keys for multi in found] == [
        (US, BOB, CAROL, US),
        (US, BOB, EVE, CAROL, US),
    ]
    fitting = (US, BOB, *long[: ROUTE_KEYS_MAX - 3])
    assert len(close_circles(_answer(fitting), US, BOB)) == 1
    assert close_circles(_answer((*fitting, EVE)), US, BOB) == ()


def test_routes_that_share_the_first_hop() -> None:
    """Together they carry no more than it does."""
    (one,), (other,) = (multi.routes for multi in _answer((US, BOB, CAROL, US), (US, BOB, EVE, CAROL, US)))
    (both,) = limit((MultiRoute((one, other)),), 20)
    assert both.routes == (one, other)
    (single,) = limit((MultiRoute((one, other)),), 19)
    assert [route.capacity for route in single.routes] == [10]


# One circle.


def test_a_circle_is_planned() -> None:
    """The direct hop is left out of the question; Carol's fee, which no answer has, is found out; nothing is sent."""
    fake = _Node(AROUND)

    async def body(node: Node) -> None:
        circle = await node.plan_rebalance("FST", 40, "bob", "carol")
        (part,) = circle.parts
        assert part.public_keys == (US, BOB, CAROL, US)
        assert (circle.amount, circle.fees, circle.are_fees_known) == (40, 3, True)

    fake.run(body)
    assert fake.asked(RequestRoutes)[0].opt_exclude == Edge(US, CAROL)
    assert all(isinstance(request, RequestRoutes) for request in fake.requests)


def test_the_way_on_from_the_first_friend() -> None:
    """Where no answer begins with Bob, the rest of the circle is asked for; Bob's fee is found out, too."""
    fake = _Node(
        {
            (US, DAN, CAROL): (500, Rate(0, 0)),
            (US, BOB): (70, Rate(0, 0)),
            (BOB, EVE, CAROL): (90, Rate(0, 4)),
            (EVE, CAROL, US): (90, Rate(0, 2)),
            (US, BOB, EVE): (70, Rate(0, 1)),
        }
    )

    async def body(node: Node) -> None:
        circle = await node.plan_rebalance("FST", 40, "bob", "carol")
        assert [part.public_keys for part in circle.parts] == [(US, BOB, EVE, CAROL, US)]
        assert (circle.fees, circle.are_fees_known) == (7, True)
        with pytest.raises(AmountTooLarge) as raised:  # Bob lets us send 70, and 7 are fees
            await node.plan_rebalance("FST", 64, "bob", "carol")
        assert raised.value.largest == 63

    fake.run(body)


def test_what_can_not_be_planned() -> None:
    """No circle, less than is wanted, more fees than are allowed, and what makes no sense."""
    fake = _Node(AROUND)

    async def body(node: Node) -> None:
        with pytest.raises(AmountTooLarge) as raised:
            await node.plan_rebalance("FST", 78, "bob", "carol")
        assert raised.value.largest == 77
        with pytest.raises(AmountTooLarge) as raised:  # Carol may owe us 100, and we owe her 50
            await node.plan_rebalance("FST", 151, "bob", "carol")
        assert raised.value.largest == 150
        with pytest.raises(FeesTooHigh):
            await node.plan_rebalance("FST", 40, "bob", "carol", fees_max=2)
        with pytest.raises(NoRoute):
            await node.plan_rebalance("FST", 40, "carol", "bob")
        for amount, back in ((0, "carol"), (5, "bob")):
            with pytest.raises(InvalidInput):
                await node.plan_rebalance("FST", amount, "bob", back)

    fake.run(body)


def test_a_circle_is_paid() -> None:
    """An invoice of our own that ends by itself, one transaction along the circle, and the commit."""
    fake = _Node(AROUND)

    async def body(node: Node) -> None:
        circle = await node.rebalance("FST", 40, "bob", "carol", timeout=10.0)
        assert (circle.amount, circle.fees) == (40, 3)

    fake.run(body)
    (invoice,) = fake.asked(AddExpiringInvoice)
    assert 10 < invoice.seconds <= 100
    (sent,) = fake.asked(CreateTransaction)
    assert (sent.route.public_keys, sent.dest_payment, sent.fees) == ((US, BOB, CAROL, US), 40, 3)
    assert [asked.commit.invoice_id for asked in fake.asked(CommitInvoice)] == [invoice.invoice_id]
    assert fake.asked(CancelInvoice) == []


def test_what_is_refused_for_the_known_fees() -> None:
    """All that is allowed is offered then, since servers of the original name wrong rates; no more than that."""
    fake = _Node(AROUND)
    works = fake.results
    fake.results = lambda asked: works(asked) if asked.fees > 3 else Failure()

    async def body(node: Node) -> None:
        fake.status = lambda asked: (
            Canceled(Uid(b"\x01" * 16)) if len(fake.asked(AddExpiringInvoice)) == 1 else paid(asked)
        )
        circle = await node.rebalance("FST", 40, "bob", "carol", fees_max=9)
        assert circle.fees == 9

    paid = fake.status
    fake.run(body)
    assert [asked.fees for asked in fake.asked(CreateTransaction)] == [3, 9]
    first, second = fake.asked(AddExpiringInvoice)
    assert [asked.invoice_id for asked in fake.asked(CancelInvoice)] == [first.invoice_id]
    assert first.invoice_id != second.invoice_id


def test_a_rate_that_nobody_names() -> None:
    """It counts as 0 in the plan, which says so, and all that is allowed is offered at once."""
    fake = _Node({(US, BOB, CAROL): AROUND[US, BOB, CAROL]})

    async def body(node: Node) -> None:
        plan = await node.plan_rebalance("FST", 40, "bob", "carol", fees_max=5)
        assert (plan.fees, plan.are_fees_known) == (1, False)
        assert (await node.rebalance("FST", 40, "bob", "carol", fees_max=5)).fees == 5

    fake.run(body)
    assert [asked.fees for asked in fake.asked(CreateTransaction)] == [5]


def test_a_circle_that_fails_leaves_nothing_open() -> None:
    """The invoice is taken back."""
    fake = _Node(AROUND)
    fake.results, fake.status = lambda asked: Failure(), lambda asked: Canceled(Uid(b"\x01" * 16))

    async def body(node: Node) -> None:
        with pytest.raises(PartsRefused):
            await node.rebalance("FST", 40, "bob", "carol")

    fake.run(body)
    assert [asked.invoice_id for asked in fake.asked(CancelInvoice)] == [fake.invoice().invoice_id]


def test_a_node_that_can_not_end_an_invoice(tmp_path: Path) -> None:
    """Without a journal nothing is sent. With one, the next run sees through what was stopped."""
    fake = _Node(AROUND)
    fake.extensions = Extension(0)

    async def without(node: Node) -> None:
        with pytest.raises(NotAnnounced):
            await node.rebalance("FST", 40, "bob", "carol")

    async def stopped(node: Node) -> None:
        paying = asyncio.ensure_future(node.rebalance("FST", 40, "bob", "carol"))
        await sent.wait()
        node._circles._node = None  # type: ignore[assignment]  # as a kill: the invoice is not taken back
        paying.cancel()
        await asyncio.gather(paying, return_exceptions=True)

    async def again(node: Node) -> None:
        await node.rebalance("FST", 40, "bob", "carol")

    fake.run(without)
    assert fake.requests == []
    works, sent = fake.results, asyncio.Event()
    fake.results, fake.status = lambda asked: sent.set(), lambda asked: None
    fake.run(stopped, tmp_path)
    first = fake.invoice()
    assert fake.asked(CancelInvoice) == []
    fake.results = works
    fake.status = lambda asked: (
        PaymentStatusSuccess(build_receipt(fake.invoice(), NODE), Uid(b"\x01" * 16))
        if asked == fake.asked(CreatePayment)[-1].payment_id and len(fake.asked(CreatePayment)) == 2
        else Canceled(Uid(b"\x01" * 16))
    )
    fake.run(again, tmp_path)
    assert [asked.invoice_id for asked in fake.asked(CancelInvoice)] == [first.invoice_id]
    assert [asked.commit.invoice_id for asked in fake.asked(CommitInvoice)] == [fake.invoice().invoice_id]


# All circles.


def test_all_that_can_be_cleared() -> None:
    """Bob owes 60: 50 go back through Carol for 3, which leaves 7; of those 1 is what the way to Dan costs."""
    ways = AROUND | {(US, BOB, DAN): (80, Rate(0, 1)), (BOB, DAN, US): (80, Rate(0, 0))}
    fake = _Node(ways, dan=-10)

    async def body(node: Node) -> None:
        plan = await node.plan_clear("FST")
        assert [(circle.back, circle.amount, circle.fees) for circle in plan] == [(CAROL, 50, 3), (DAN, 6, 1)]
        plan = await node.plan_clear("FST", fees_max=3)
        assert [(circle.back, circle.amount) for circle in plan] == [(CAROL, 50)]
        plan = await node.plan_clear("FST", towards=0, keep={"carol": -50, "bob": 57})
        assert [(circle.back, circle.amount) for circle in plan] == [(DAN, 2)]
        assert await node.plan_clear("FST", keep={"bob": 60}) == ()

    fake.run(body)
    assert all(isinstance(request, RequestRoutes) for request in fake.requests)


def test_short_circles_first() -> None:
    """A triangle for less comes before a longer circle for all; one of seven hops is left to `rebalance`."""
    strangers = tuple(PublicKey(bytes([n]) * 32) for n in range(20, 24))
    long, free = (US, BOB, *strangers[:3], CAROL), Rate(0, 0)
    longer = (US, BOB, *strangers, CAROL)
    fake = _Node({long: (500, free), (US, BOB, CAROL): (20, free)})

    async def triangle_first(node: Node) -> None:
        (circle,) = await node.plan_clear("FST")
        assert [len(part.public_keys) for part in circle.parts] == [4]
        assert circle.amount == 20

    async def only_long(node: Node) -> None:
        fake.ways = {long: (500, free)}
        (circle,) = await node.plan_clear("FST")
        assert circle.parts[0].public_keys == (*long, US)
        fake.ways = {longer: (500, free)}
        assert await node.plan_clear("FST") == ()
        assert (await node.plan_rebalance("FST", 50, "bob", "carol")).parts[0].public_keys == (*longer, US)

    fake.run(triangle_first)
    fake.run(only_long)


def test_clearing_goes_on_after_a_circle_that_fails() -> None:
    """Who is told, in which order; where nothing more is paid, it ends."""
    ways = AROUND | {(US, BOB, DAN): (80, Rate(0, 1)), (BOB, DAN, US): (80, Rate(0, 0))}
    fake = _Node(ways, dan=-10)
    told = list[ClearedCircle]()
    fake.results = lambda asked: Failure()
    fake.status = lambda asked: Canceled(Uid(b"\x01" * 16))

    async def body(node: Node) -> None:
        done = await node.clear("FST", tell=told.append)
        assert list(done) == told
        assert [(ended.circle.back, ended.failure is None) for ended in done] == [(CAROL, False), (DAN, False)]

    fake.run(body)
    assert len(fake.asked(CancelInvoice)) == len(fake.asked(AddExpiringInvoice)) == 2


# The commands.


def _command(
    fake: _Node, command: Callable[..., Awaitable[int | None]], *arguments: object, **options: object
) -> int | None:
    settings = {"fees_max": None, "dry_run": False, "journal": None, "timeout": 10.0, **options}

    async def main() -> int | None:
        ticker = Ticker(0.03)
        async with (
            asyncio.timeout(20),
            fake.serve(ticker) as ticket,
            open_session(ticket.address, ticket.public_key, APP, ticker) as session,
        ):
            return await command(session, *arguments, **settings)

    return asyncio.run(main())


def test_rebalance_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    """The circle and its fees; a dry run says that nothing was paid."""
    fake = _Node(AROUND)
    _command(fake, commands.rebalance, "bob", "carol", "FST", 40, dry_run=True)
    out = capsys.readouterr().out
    assert "Total fees: 3\nNothing was paid.\n" in out
    assert fake.asked(CreateTransaction) == []
    _command(fake, commands.rebalance, "bob", "carol", "FST", 40)
    assert "Total fees: 3\n" in capsys.readouterr().out
    assert len(fake.asked(CreateTransaction)) == 1


@pytest.mark.parametrize(
    ("changes", "arguments", "reason"),
    [
        ({}, ("bob", "carol", "FST", 78), r"NoSuitableRoute\): .* 77 FST"),
        ({}, ("bob", "eve", "FST", 40), "FriendNameNotFound"),
        ({"routes": lambda asked: None}, ("bob", "carol", "FST", 40), "AppRoutesError"),
        ({"extensions": Extension(0)}, ("bob", "carol", "FST", 40), "NotAnnounced.*--journal"),
    ],
)
def test_a_rebalance_that_can_not_be(changes: dict[str, object], arguments: tuple[object, ...], reason: str) -> None:
    """The names of errors are those of the other commands."""
    fake = _Node(AROUND)
    for name, value in changes.items():
        setattr(fake, name, value)
    with pytest.raises(CommandError, match=reason):
        _command(fake, commands.rebalance, *arguments)
    assert fake.asked(CreateTransaction) == []


def test_clear_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    """The plan before; what was not paid, and the sums, after. Its status says whether something was not paid."""
    fake = _Node(AROUND)
    assert _command(fake, commands.clear, "FST", towards=0, keep=("bob=60",)) is None
    assert capsys.readouterr().out == "Nothing can be cleared now.\n"
    assert _command(fake, commands.clear, "FST", towards=0, keep=(), dry_run=True) is None
    out = capsys.readouterr().out
    assert "| bob         | carol        | 50            | 3    |" in out
    assert out.endswith("Nothing was paid.\n")
    fake.results, fake.status = lambda asked: Failure(), lambda asked: Canceled(Uid(b"\x01" * 16))
    assert _command(fake, commands.clear, "FST", towards=0, keep=()) == 1
    out, err = capsys.readouterr()
    assert out.endswith("Circles: 0 paid, 1 not paid\nCleared: 0\n")
    assert err.startswith("not paid: 50 from bob to carol: ")
    with pytest.raises(CommandError, match="InvalidAmount"):
        _command(fake, commands.clear, "FST", towards=0, keep=("bob=much",))


def test_clear_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal a bar of what is cleared of what was planned, in one line, which is gone at the end."""
    shown = bytearray()
    terminal, end = pty.openpty()

    def read() -> None:
        with contextlib.suppress(OSError):  # which is how a terminal says that nobody writes to it any more
            while part := os.read(terminal, 4096):
                shown.extend(part)

    reader = threading.Thread(target=read)
    reader.start()
    fake = _Node(AROUND)
    monkeypatch.setattr(waiting, "SHOWN_SECONDS", 0.005)
    with os.fdopen(end, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        _command(fake, commands.clear, "FST", towards=0, keep=())
        monkeypatch.undo()
    reader.join()
    os.close(terminal)
    lines = [line.partition(" (")[0] for line in shown.decode().split("\r\x1b[K")]
    assert lines[1] == "[....................] 0 of 50 FST cleared"
    assert "[####################] 50 of 50 FST cleared" in lines
    assert lines[-1] == ""
