"""What a payment would do: the SDK, and stctrl buyer pay-invoice --dry-run. Nothing but routes is asked for."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from offset_crypto.aio import Ticker
from offset_crypto.identity import Identity
from offset_ctrl import AmountTooLarge, FeesTooHigh, NoIndexServer, PayOptions, connect
from offset_ctrl.connection.session import NodeSession
from offset_ctrl.programs.stctrl.buyer import pay_invoice
from offset_ctrl.programs.stctrl.session import CommandError
from offset_ctrl.rules.capacity import Largest
from offset_ctrl.sdk.planning import PaymentPlan
from offset_ctrl.testing import ScriptedNode, build_friend, build_ledger, build_report
from offset_proto.files import INVOICE, Invoice
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import MultiRoute, RequestRoutes, RouteCapacityRate
from offset_proto.messages.payment import Rate
from offset_proto.messages.report import (
    CurrencyConfigReport,
    FriendReport,
)
from offset_proto.text import format_b64
from offset_proto.types import Currency, InvoiceId, PrivateKey, PublicKey

NODE, APP = (Identity(PrivateKey(bytes([n]) * 32)) for n in (1, 2))
FST = Currency("FST")
ANY = PayOptions()
US, BOB, CAROL, SELLER = NODE.public_key, *(PublicKey(bytes([n]) * 32) for n in (5, 6, 7))
THROUGH_BOB = RouteCapacityRate(FriendsRoute((US, BOB, SELLER)), 40, Rate(0, 1))
THROUGH_CAROL = RouteCapacityRate(FriendsRoute((US, CAROL, SELLER)), 50, Rate(0, 2))


def _bill(amount: int) -> Invoice:
    return Invoice(InvoiceId(b"\x07" * 32), FST, SELLER, amount)


def _friend(name: str) -> FriendReport:
    config = CurrencyConfigReport(FST, Rate(0, 0), 100, True)
    return build_friend(name, build_ledger(FST), currency_configs=(config,))


def _node() -> ScriptedNode:
    """Bob takes 1 and Carol 2; the index server puts both together where one is not enough."""
    node = ScriptedNode(NODE, build_report(US, {BOB: _friend("bob"), CAROL: _friend("carol")}))

    def routes(asked: RequestRoutes) -> tuple[MultiRoute, ...]:
        if asked.destination != SELLER:
            return (MultiRoute((RouteCapacityRate(FriendsRoute((US, asked.destination)), 60, Rate(0, 0)),)),)
        for together in ((THROUGH_BOB,), (THROUGH_CAROL,), (THROUGH_BOB, THROUGH_CAROL)):
            if sum(route.capacity - route.rate.add for route in together) >= asked.capacity:
                return (MultiRoute(together),)
        return ()

    node.routes = routes
    return node


def _plan(fake: ScriptedNode, amount: int, options: PayOptions = ANY) -> PaymentPlan:
    async def main() -> PaymentPlan:
        ticker = Ticker(0.03)
        async with asyncio.timeout(20), fake.serve(ticker) as ticket, connect(ticket, APP, ticker=ticker) as node:
            return await node.plan_payment(_bill(amount), options)

    plan = asyncio.run(main())
    assert [request for request in fake.requests if not isinstance(request, RequestRoutes)] == []
    return plan


def _dry_run(run_session: Callable[..., None], fake: ScriptedNode, folder: Path, amount: int) -> None:
    path = folder / "bill.invoice"
    INVOICE.save(path, _bill(amount))

    async def body(session: NodeSession) -> None:
        await pay_invoice(session, path, None, None, extra_fees=0, timeout=10, dry_run=True)

    try:
        run_session(fake, body)
    finally:
        assert list(folder.iterdir()) == [path]
        assert [request for request in fake.requests if not isinstance(request, RequestRoutes)] == []


def test_a_plan() -> None:
    """Both routes together: what goes over each, what it costs, and the most that could be paid."""
    plan = _plan(_node(), 60)
    assert {part.public_keys[1]: part.fees for part in plan.parts} == {BOB: 1, CAROL: 2}
    assert sum(part.dest_payment for part in plan.parts) == 60
    assert (plan.fees, plan.total) == (3, 63)
    assert plan.largest == Largest(39 + 48, is_exact=True)
    assert plan.failure is None


def test_an_amount_that_is_too_large() -> None:
    """There are no parts; why, and the most that could be paid."""
    plan = _plan(_node(), 88)
    assert (plan.parts, plan.fees) == ((), 0)
    assert isinstance(plan.failure, AmountTooLarge)
    assert plan.largest == Largest(87, is_exact=True)


def test_fees_that_are_not_allowed() -> None:
    """The plan keeps to the limits of the payment."""
    plan = _plan(_node(), 60, PayOptions(fees_max=2))
    assert isinstance(plan.failure, FeesTooHigh)
    assert _plan(_node(), 60, PayOptions(fees_max=3)).failure is None


def test_routes_that_the_app_knows() -> None:
    """Nobody is asked."""
    fake = _node()
    plan = _plan(fake, 30, PayOptions(routes=(MultiRoute((THROUGH_CAROL,)),)))
    assert [part.public_keys for part in plan.parts] == [(US, CAROL, SELLER)]
    assert plan.largest == Largest(48, is_exact=True)
    assert fake.requests == []


def test_nobody_to_ask() -> None:
    """The failure says so, and nothing is made up."""
    fake = _node()
    fake.routes = lambda asked: None
    plan = _plan(fake, 30)
    assert isinstance(plan.failure, NoIndexServer)
    assert plan.largest is None


def test_the_command(run_session: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names of first friends, hops, amounts, fees, keys; then the sums."""
    _dry_run(run_session, _node(), tmp_path, 60)
    out = capsys.readouterr().out
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in out.splitlines() if line.startswith("|")]
    rows = {row[0]: row[1:] for row in cells[1:] if row[0]}
    assert {name: (row[0], row[2], row[3]) for name, row in rows.items()} == {
        "bob": ("2", "1", format_b64(BOB)),
        "carol": ("2", "2", format_b64(CAROL)),
    }
    assert sum(int(row[1]) for row in rows.values()) == 60
    assert out.splitlines()[-5:] == [
        "Amount: 60 FST",
        "Total fees: 3",
        "Total: 63",
        "Largest amount that could be paid now: 87 FST",
        "Nothing was paid.",
    ]


def test_the_command_where_it_can_not_be_paid(
    run_session: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error is the one that paying would have, after the most that could be paid."""
    with pytest.raises(CommandError, match=r"^BuyerError\(NoSuitableRoute\): .* 87 FST could be paid"):
        _dry_run(run_session, _node(), tmp_path, 88)
    assert capsys.readouterr().out == "Largest amount that could be paid now: 87 FST\n"
