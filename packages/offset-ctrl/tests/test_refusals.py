"""Why a node has not carried a request out, by its report alone."""

from dataclasses import replace

import pytest

from offset_ctrl.rules import changes
from offset_ctrl.rules.changes import Change
from offset_ctrl.rules.refusals import known_names, why_refused
from offset_ctrl.testing import build_friend, build_ledger, build_report
from offset_proto.files import FriendTicket
from offset_proto.messages.payment import NamedRelayAddress, Rate, RelayAddress
from offset_proto.messages.report import (
    ChannelInconsistentReport,
    CurrencyConfigReport,
    FriendReport,
    ResetTermsReport,
)
from offset_proto.report_view import ReportView
from offset_proto.types import Currency, NetAddress, PublicKey, Signature

ME, BOB, EVE, RELAY = (PublicKey(bytes([number] * 32)) for number in (1, 2, 3, 4))
FST, EUR, XYZ = Currency("FST"), Currency("EUR"), Currency("XYZ")
CONFIGS = tuple(CurrencyConfigReport(each, Rate(0, 0), 100, True) for each in (FST, EUR))
BOB_REPORT = build_friend("bob", build_ledger(FST), currency_configs=CONFIGS)
TOLD = ResetTermsReport(Signature(bytes(64)), ())
BROKEN = replace(BOB_REPORT, channel_status=ChannelInconsistentReport((), TOLD))


def _report(friend: FriendReport = BOB_REPORT, relays: int = 1) -> ReportView:
    used = tuple(
        NamedRelayAddress(PublicKey(bytes([9] * 31 + [n])), NetAddress("relay.example:1"), f"relay{n}")
        for n in range(relays)
    )
    return ReportView(build_report(ME, {BOB: friend}, relays=used))


def _ticket(key: PublicKey) -> FriendTicket:
    return FriendTicket(key, ())


PLACE = RelayAddress(RELAY, NetAddress("relay.example:1"))


@pytest.mark.parametrize(
    ("change", "report", "why"),
    [
        (changes.add_friend(_ticket(ME), "me"), _report(), "this ticket is that of the node itself"),
        (changes.add_friend(_ticket(BOB), "robert"), _report(), "this friend is there already, as bob"),
        (changes.add_relay(PLACE, "new"), _report(relays=16), "it has 16 relays, and no node has more"),
        (changes.remove_currency(BOB, FST), _report(), "bob has agreed to FST, so it stays"),
        (changes.remove_currency(BOB, XYZ), _report(), "there is no XYZ with bob; there are EUR, FST"),
        (changes.remove_currency(BOB, EUR), _report(BROKEN), "the channel with bob is broken"),
        (changes.reset_channel(BOB, Signature(bytes(64))), _report(), "the channel with bob is consistent"),
        (changes.reset_channel(BOB, Signature(b"\x01" * 64)), _report(BROKEN), "are others by now"),
        (changes.set_max_debt(EVE, FST, 5), _report(), "the node has no such friend any more"),
        (changes.enable_friend(EVE), _report(), "the node has no such friend any more"),
    ],
)
def test_what_the_report_shows(change: Change, report: ReportView, why: str) -> None:
    """These requests no node carries out, and this is why."""
    assert why in str(why_refused(change.request, report))


def test_what_the_report_does_not_show() -> None:
    """Nothing is invented: these a node carries out."""
    for change in (
        changes.add_relay(PLACE, "new"),
        changes.add_friend(_ticket(EVE), "eve"),
        changes.set_max_debt(BOB, XYZ, 5),
        changes.enable_friend(BOB),
        changes.remove_relay(RELAY),
    ):
        assert why_refused(change.request, _report()) is None


def test_names_that_are_there() -> None:
    """In order, and of many only some."""
    assert known_names(()) == "there is none"
    assert known_names(["b"]) == "there is b"
    assert known_names(["b", "a"]) == "there are a, b"
    assert known_names(map(str, range(10, 24))) == (
        "there are 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, and 2 more"
    )
