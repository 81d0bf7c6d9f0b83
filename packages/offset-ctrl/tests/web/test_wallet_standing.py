"""Who owes whom, as the pages show it."""

import pytest

from offset_ctrl.testing import build_friend, build_ledger
from offset_ctrl.web.wallet.standing import BAR_HALF, Terms, build_friendship, sum_up
from offset_proto.messages.friend import CurrencyBalance
from offset_proto.messages.payment import Rate
from offset_proto.messages.report import (
    ChannelConsistentReport,
    ChannelInconsistentReport,
    CurrencyConfigReport,
    CurrencyReport,
    FriendLivenessReport,
    FriendStatusReport,
    McBalanceReport,
    ResetTermsReport,
)
from offset_proto.types import Currency, PublicKey, Signature

KEY = PublicKey(bytes(32))
FST, EUR = Currency("FST"), Currency("EUR")
ONLINE, ENABLED = FriendLivenessReport.ONLINE, FriendStatusReport.ENABLED


def _friend(status, configs=(), liveness=ONLINE, wanted=ENABLED):
    settings = {"currency_configs": configs, "liveness": liveness, "channel_status": status, "status": wanted}
    return build_friendship(KEY, build_friend("bob", **settings))


def _with(balance, limit, currency=FST):
    return _friend(
        ChannelConsistentReport((build_ledger(currency, balance),)),
        (CurrencyConfigReport(currency, Rate(0, 0), limit, is_open=True),),
    )


@pytest.mark.parametrize(
    ("balance", "limit", "start", "width", "end"),
    [
        (0, 100, 500, 0, 1000),
        (50, 100, 500, 250, 1000),
        (100, 100, 500, 500, 1000),
        (-30, 0, 0, 500, 500),
        (-30, 60, 250, 250, 1000),
        (200, 50, 500, 500, 625),  # the limit was lowered afterwards
        (1, 10**9, 500, 6, 1000),  # too little to be seen would look like nothing
        (-1, 10**9, 494, 6, 1000),
        (7, 2**128 - 1, 500, 250, None),
        (0, 0, 500, 0, 500),
        (2**127 - 1, 0, 500, 500, 500),
    ],
)
def test_bars(balance, limit, start, width, end):
    """Zero is in the middle; the longer of balance and limit reaches to its side's end."""
    [ledger] = _with(balance, limit).ledgers
    assert (ledger.bar.start, ledger.bar.width, ledger.bar.end) == (start, width, end)
    assert 0 <= ledger.bar.start <= ledger.bar.start + ledger.bar.width <= 2 * BAR_HALF


def test_what_is_not_agreed_yet():
    """A currency that only we have opened has no balance, and one that only the friend has has no limit."""
    configs = (CurrencyConfigReport(EUR, Rate(0, 0), 5, is_open=False),)
    agreed = ChannelConsistentReport((CurrencyReport(FST, McBalanceReport(3, 1, 2)),))
    eur, fst = _friend(agreed, configs).ledgers
    assert (eur.currency, eur.balance, eur.limit, eur.is_open) == ("EUR", None, 5, False)
    assert (fst.currency, fst.balance, fst.limit, fst.out, fst.back) == ("FST", 3, None, 1, 2)


def test_states():
    """Paused by us, or connected, or not."""
    empty = ChannelConsistentReport(())
    assert _friend(empty).state == "online"
    assert _friend(empty, liveness=FriendLivenessReport.OFFLINE).state == "offline"
    assert _friend(empty, wanted=FriendStatusReport.DISABLED).state == "paused"


def test_totals():
    """Debts in both directions are shown, and not only what is left of them."""
    friends = [_with(30, 100), _with(-10, 0), _with(5, 10), _with(-7, 0, EUR), _with(0, 1, Currency("ZZZ"))]
    totals = {
        total.currency: (total.owed, total.owing, total.net, total.debtors, total.creditors)
        for total in sum_up(friends)
    }
    assert totals == {"FST": (35, 10, 25, 2, 1), "EUR": (0, 7, -7, 0, 1), "ZZZ": (0, 0, 0, 0, 0)}
    assert sum_up([]) == []


def test_a_disagreement():
    """Both sides' terms are in our sign; what one of them does not name is not made up."""
    theirs = ResetTermsReport(Signature(bytes(64)), (CurrencyBalance(FST, -20), CurrencyBalance(EUR, 4)))
    broken = _friend(ChannelInconsistentReport((CurrencyBalance(FST, 30),), theirs))
    assert broken.terms == (Terms("EUR", None, -4), Terms("FST", 30, 20))
    assert broken.has_terms
    assert [(total.currency, total.net) for total in sum_up([broken])] == [("EUR", 0), ("FST", 30)]
    waiting = _friend(ChannelInconsistentReport((CurrencyBalance(FST, 30),), None))
    assert waiting.terms == (Terms("FST", 30, None),)
    assert not waiting.has_terms
