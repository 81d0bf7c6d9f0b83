"""What is missing for an invoice to be paid by anybody: the rule, and the hint of stctrl."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from offset_crypto.aio import Ticker
from offset_crypto.identity import Identity
from offset_ctrl.connection.client import open_node
from offset_ctrl.programs.stctrl.seller import create_invoice
from offset_ctrl.rules.shortfall import describe_shortfall
from offset_ctrl.testing import ScriptedNode, build_friend, build_ledger, build_report
from offset_proto.messages.app import AddInvoice
from offset_proto.messages.payment import Rate
from offset_proto.messages.report import (
    ChannelConsistentReport,
    CurrencyConfigReport,
    FriendLivenessReport,
    FriendReport,
    NodeReport,
)
from offset_proto.report_view import ReportView
from offset_proto.types import Currency, PrivateKey, PublicKey

NODE, APP = (Identity(PrivateKey(bytes([n]) * 32)) for n in (1, 2))
FST = Currency("FST")
STCTRL = ("stctrl", "-C", "a node")
MOST = 2**128 - 1


def _friend(name: str, max_debt: int, balance: int | None, frozen: int = 0, **changes: Any) -> FriendReport:
    """A friend that owes so much; None: it has not opened the currency."""
    ledgers = () if balance is None else (build_ledger(FST, balance, back=frozen),)
    configs = (CurrencyConfigReport(FST, Rate(0, 0), max_debt, True),)
    return build_friend(name, *ledgers, **{"currency_configs": configs} | changes)


def _report(*friends: FriendReport) -> NodeReport:
    return build_report(NODE.public_key, {PublicKey(bytes([n]) * 32): friend for n, friend in enumerate(friends, 5)})


BOB, CAROL = _friend("bob", 100, 30), _friend("carol", 50, 0)
AWAY = {"liveness": FriendLivenessReport.OFFLINE}


@pytest.mark.parametrize(
    ("friends", "amount", "said"),
    [
        ((BOB,), 70, None),
        ((BOB, CAROL), 120, None),
        (
            (),
            30,
            (
                "no friend trades FST with you yet, so nobody can pay this; stctrl -C 'a node' friend add THEIR.friend"
                " --name NAME --open FST --limit 30 adds a friend"
            ),
        ),
        (
            (replace(BOB, currency_configs=(), channel_status=ChannelConsistentReport(())),),
            30,
            (
                "no friend trades FST with you yet, so nobody can pay this; open it with a friend who opens it, too:"
                " stctrl -C 'a node' config open-currency -n NAME -c FST, then stctrl -C 'a node' config"
                " set-currency-max-debt -n NAME -c FST -m 30"
            ),
        ),
        (
            (_friend("bob", 100, None),),
            30,
            (
                "no friend trades FST with you yet, so nobody can pay this; wait until bob has opened it, too, and the"
                " channel works"
            ),
        ),
        (
            (replace(BOB, **AWAY), CAROL),
            90,
            (
                "friends can bring 50 of 90 FST now; it can be paid when bob can be paid over: online, enabled, and"
                " FST open"
            ),
        ),
        (
            (replace(BOB, **AWAY), replace(CAROL, **AWAY)),
            90,
            (
                "no friend can bring FST now; it can be paid when bob and carol can be paid over: online, enabled, and"
                " FST open"
            ),
        ),
        (
            (BOB, replace(CAROL, **AWAY)),
            121,
            (
                "friends can bring 70 of 121 FST now, and 120 if all are online; let one owe you more: stctrl -C"
                " 'a node' config set-currency-max-debt -n bob -c FST -m 101"
            ),
        ),
        (
            (_friend("bob", 100, 30, frozen=60),),
            20,
            (
                "friends can bring 10 of 20 FST now, and 10 if all are online; let one owe you more: stctrl -C"
                " 'a node' config set-currency-max-debt -n bob -c FST -m 110"
            ),
        ),
        (
            (_friend("bob", 50, 80),),
            30,
            (
                "no friend can bring FST now, and 0 if all are online; let one owe you more: stctrl -C 'a node' config"
                " set-currency-max-debt -n bob -c FST -m 110"
            ),
        ),
        (
            (_friend("bob", 50, 80), _friend("carol", 10, 60), _friend("dave", 20, 10)),
            30,
            (
                "friends can bring 10 of 30 FST now, and 10 if all are online; let one owe you more: stctrl -C"
                " 'a node' config set-currency-max-debt -n dave -c FST -m 40"
            ),
        ),
        (
            (_friend("bob", 50, 80), _friend("carol", 10, 60)),
            30,
            (
                "no friend can bring FST now, and 0 if all are online; let one owe you more: stctrl -C 'a node' config"
                " set-currency-max-debt -n bob -c FST -m 110"
            ),
        ),
        (
            (_friend("bob", MOST, 30),),
            MOST,
            (
                f"friends can bring {MOST - 30} of {MOST} FST now, and {MOST - 30} if all are online; no limit of a"
                " single friend is high enough: ask for less, or let several owe you more"
            ),
        ),
        (
            (_friend("bob", MOST - 5, 30), _friend("carol", 0, 10)),
            MOST,
            (
                f"friends can bring {MOST - 35} of {MOST} FST now, and {MOST - 35} if all are online; let one owe you"
                " more: stctrl -C 'a node' config set-currency-max-debt -n carol -c FST -m 45"
            ),
        ),
        (
            tuple(replace(_friend(f"f{n}", 10, 0), **AWAY) for n in range(4)),
            5,
            (
                "no friend can bring FST now; it can be paid when one of 4 friends, such as f0, can be paid over:"
                " online, enabled, and FST open"
            ),
        ),
    ],
)
def test_what_is_missing(friends: tuple[FriendReport, ...], amount: int, said: str | None) -> None:
    """What friends could bring now and at best, and the command that would help."""
    report = ReportView(_report(*friends))
    assert describe_shortfall(report, FST, amount, STCTRL) == said
    plain = describe_shortfall(report, FST, amount)
    assert (plain is None) == (said is None)
    assert "stctrl" not in str(plain)


@pytest.mark.parametrize(
    ("friends", "amount"),
    [
        ((_friend("bob", 50, 80),), 30),
        ((_friend("bob", 50, 80), _friend("carol", 10, 60), _friend("dave", 20, 10, frozen=5)), 30),
        ((_friend("bob", 50, -80, frozen=130), _friend("carol", 10, 3)), MOST - 200),
        ((_friend("bob", MOST - 5, 30), _friend("carol", 0, 10)), MOST),
    ],
)
def test_with_the_limit_that_is_proposed_the_amount_can_be_brought(
    friends: tuple[FriendReport, ...], amount: int
) -> None:
    """And with one that is a credit lower it can not, also where somebody owes more than the limit as it is."""
    said = describe_shortfall(ReportView(_report(*friends)), FST, amount, STCTRL)
    assert said is not None
    words = said.split()
    name, limit = words[words.index("-n") + 1], int(words[words.index("-m") + 1])
    for max_debt, is_enough in ((limit, True), (limit - 1, False)):
        configs = (CurrencyConfigReport(FST, Rate(0, 0), max_debt, True),)
        raised = (replace(each, currency_configs=configs) if each.name == name else each for each in friends)
        assert (describe_shortfall(ReportView(_report(*raised)), FST, amount) is None) is is_enough


@pytest.mark.parametrize(
    ("limits", "amount", "who", "names"),
    [
        ((70, 50), 100, "a", "a"),
        ((70, 50), 90, "a or b", "a b"),
        ((70, 50), 130, "a and b", "ab"),
        ((50, 70, 30), 140, "a and b", "ab"),
        ((40, 40, 0, 40), 130, "a, b and d", "abd"),
        ((40, 40, 0, 40), 70, "a, b or d", "a b d"),
        ((30, 0, 30, 30, 30, 10), 140, "enough of 5 friends", ""),
        ((30, 0, 30, 30, 30, 10), 60, "one of 4 friends, such as a,", "a c d e"),
    ],
)
def test_whom_to_wait_for(limits: tuple[int, ...], amount: int, who: str, names: str) -> None:
    """With 40 from a friend who is there: whoever can bring the rest alone, else as few as bring it together."""
    away = {name: replace(_friend(name, limit, 0), **AWAY) for name, limit in zip("abcdef", limits, strict=False)}
    here = _friend("here", 40, 0)

    def said(back: str) -> str | None:
        friends = (
            replace(each, liveness=FriendLivenessReport.ONLINE) if name in back else each for name, each in away.items()
        )
        return describe_shortfall(ReportView(_report(here, *friends)), FST, amount)

    assert f" 40 of {amount} FST now; it can be paid when {who} can be paid over: " in str(said(""))
    for back in names.split():
        assert said(back) is None
        assert all(said(back.replace(name, "")) is not None for name in back)


@pytest.mark.parametrize(("amount", "is_hinted"), [(70, False), (71, True)])
def test_stctrl_says_so_and_makes_the_invoice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], amount: int, *, is_hinted: bool
) -> None:
    """One line on stderr."""
    fake = ScriptedNode(NODE, _report(BOB))

    async def main() -> None:
        ticker = Ticker(0.03)
        async with (
            asyncio.timeout(20),
            fake.serve(ticker) as ticket,
            open_node(ticket.address, ticket.public_key, APP, ticker) as node,
        ):
            await create_invoice(node, "FST", amount, tmp_path / "x.invoice")

    asyncio.run(main())
    assert len(fake.asked(AddInvoice)) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == is_hinted * [
        (
            "hint: friends can bring 70 of 71 FST now, and 70 if all are online; let one owe you more: stctrl config"
            " set-currency-max-debt -n bob -c FST -m 101"
        )
    ]
