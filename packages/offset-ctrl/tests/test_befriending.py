"""What a new friend still needs."""

from dataclasses import replace

import pytest

from offset_ctrl.rules.befriending import FriendWish, WishRefused, awaited, missing
from offset_ctrl.testing import build_friend, build_ledger, build_report
from offset_proto.errors import InvalidInput
from offset_proto.files import FriendTicket
from offset_proto.messages.app import (
    AddFriend,
    EnableFriend,
    OpenFriendCurrency,
    SetFriendCurrencyMaxDebt,
    SetFriendCurrencyRate,
)
from offset_proto.messages.payment import Rate
from offset_proto.messages.report import (
    ChannelConsistentReport,
    ChannelInconsistentReport,
    CurrencyConfigReport,
    FriendLivenessReport,
    FriendReport,
    FriendStatusReport,
)
from offset_proto.report_view import ReportView
from offset_proto.types import Currency, PublicKey

ME, BOB, CAROL = (PublicKey(bytes([number] * 32)) for number in (1, 2, 3))
FST, EUR = Currency("FST"), Currency("EUR")
FREE = Rate(0, 0)
WISH = FriendWish(FriendTicket(BOB, ()), "bob", (FST, EUR), 100, None)

ADDED = build_friend("bob", liveness=FriendLivenessReport.OFFLINE, status=FriendStatusReport.DISABLED)


def _report(friend: FriendReport | None, key: PublicKey = BOB) -> ReportView:
    return ReportView(build_report(ME, {} if friend is None else {key: friend}))


def _requests(report: ReportView, wish: FriendWish = WISH) -> list[object]:
    return [change.request for change in missing(report, wish)]


def _ledgers(*currencies: Currency) -> ChannelConsistentReport:
    return ChannelConsistentReport(tuple(map(build_ledger, currencies)))


def test_everything_is_missing_at_first() -> None:
    """A currency gets its rate and limit before it is opened."""
    assert _requests(_report(None)) == [
        AddFriend(BOB, (), "bob"),
        EnableFriend(BOB),
        SetFriendCurrencyRate(BOB, FST, FREE),
        SetFriendCurrencyMaxDebt(BOB, FST, 100),
        OpenFriendCurrency(BOB, FST),
        SetFriendCurrencyRate(BOB, EUR, FREE),
        SetFriendCurrencyMaxDebt(BOB, EUR, 100),
        OpenFriendCurrency(BOB, EUR),
    ]


def test_only_what_is_missing_is_asked_for() -> None:
    """What is there stays: a rate that was not wished for, and a limit where none was."""
    there = replace(
        ADDED,
        status=FriendStatusReport.ENABLED,
        currency_configs=(CurrencyConfigReport(FST, Rate(7, 7), 100, True), CurrencyConfigReport(EUR, FREE, 5, False)),
    )
    limited = [SetFriendCurrencyMaxDebt(BOB, EUR, 100), OpenFriendCurrency(BOB, EUR)]
    assert _requests(_report(there)) == limited
    assert _requests(_report(there), replace(WISH, max_debt=None)) == [OpenFriendCurrency(BOB, EUR)]
    assert _requests(_report(there), replace(WISH, rate=Rate(7, 7))) == [
        SetFriendCurrencyRate(BOB, EUR, Rate(7, 7)),
        *limited,
    ]


def test_names_that_stand_in_the_way() -> None:
    """Nothing is asked for then, nor where a name or currency can not be typed."""
    with pytest.raises(WishRefused, match=r"FriendNameAlreadyExists\(bob\)"):
        missing(_report(ADDED, CAROL), WISH)
    with pytest.raises(WishRefused, match=r"FriendNameMismatch\(bobby\).* as bob"):
        missing(_report(ADDED), replace(WISH, name="bobby"))
    with pytest.raises(InvalidInput, match="is empty"):
        missing(_report(None), replace(WISH, name=""))
    with pytest.raises(InvalidInput, match="control character"):
        missing(_report(None), replace(WISH, currencies=(Currency("F\n"),)))


def test_what_is_waited_for() -> None:
    """First that there is a link, then that the channel works, then the ledgers; in the end nothing."""
    online = replace(ADDED, liveness=FriendLivenessReport.ONLINE)
    assert "bob to be online" in str(awaited(_report(None), WISH))
    assert "bob to be online" in str(awaited(_report(ADDED), WISH))
    inconsistent = replace(online, channel_status=ChannelInconsistentReport((), None))
    assert "to be consistent" in str(awaited(_report(inconsistent), WISH))
    assert awaited(_report(online), WISH) == "bob to open FST, EUR"
    assert awaited(_report(replace(online, channel_status=_ledgers(FST))), WISH) == "bob to open EUR"
    assert awaited(_report(replace(online, channel_status=_ledgers(FST, EUR))), WISH) is None
    assert awaited(_report(online), replace(WISH, currencies=())) is None
