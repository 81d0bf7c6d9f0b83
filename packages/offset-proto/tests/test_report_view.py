"""A report and its mutations. Spec 07 §4.2."""

import pytest

from offset_proto.messages.payment import NamedRelayAddress, Rate
from offset_proto.messages.report import (
    AddFriendReport,
    AddRelayReport,
    ChannelConsistentReport,
    CurrencyConfigReport,
    FriendLivenessReport,
    FriendStatusReport,
    FunderMutationReport,
    FunderReport,
    IndexClientReport,
    NodeReport,
    PkFriendReportList,
    PkFriendReportMutation,
    RemoveFriendReport,
    SetLiveness,
    UpdateCurrencyConfig,
)
from offset_proto.report_view import FriendAlreadyExists, FriendDoesNotExist, ReportView
from offset_proto.types import Currency, NetAddress, PublicKey

LOCAL, FRIEND = PublicKey(b"\x01" * 32), PublicKey(b"\x02" * 32)
EMPTY = NodeReport(FunderReport(LOCAL, (), PkFriendReportList(())), IndexClientReport((), None))
ADDED = FunderMutationReport(AddFriendReport(FRIEND, "bob", (), None, ChannelConsistentReport(())))


def _config(name: str, debt: int = 0) -> FunderMutationReport:
    config = CurrencyConfigReport(Currency(name), Rate(0, 0), debt, False)
    return FunderMutationReport(PkFriendReportMutation(FRIEND, UpdateCurrencyConfig(config)))


def test_a_relay_of_a_known_key_moves_to_the_end():
    """addRelay drops the old entry and appends."""
    view = ReportView(EMPTY)
    one, two, new = (NamedRelayAddress(key, NetAddress(a), a) for key, a in ((LOCAL, "1"), (FRIEND, "2"), (LOCAL, "3")))
    view.apply(FunderMutationReport(AddRelayReport(relay)) for relay in (one, two, new))
    assert [two, new] == view.relays


def test_a_new_friend_is_disabled_and_offline():
    """addFriend gives the fresh state; a second one is a divergence."""
    view = ReportView(EMPTY)
    view.apply([ADDED])
    assert view.friends[FRIEND].status is FriendStatusReport.DISABLED
    assert view.friends[FRIEND].liveness is FriendLivenessReport.OFFLINE
    with pytest.raises(FriendAlreadyExists):
        view.apply([ADDED])


def test_unknown_friends_are_a_divergence():
    """Node and app have different reports: connect anew."""
    view = ReportView(EMPTY)
    for mutation in (
        RemoveFriendReport(FRIEND),
        PkFriendReportMutation(FRIEND, SetLiveness(FriendLivenessReport.ONLINE)),
    ):
        with pytest.raises(FriendDoesNotExist):
            view.apply([FunderMutationReport(mutation)])


def test_currency_configs_stay_sorted_and_in_place():
    """A new currency is sorted in by bytes; a known one keeps its place."""
    view = ReportView(EMPTY)
    view.apply([ADDED, _config("b"), _config("a"), _config("B"), _config("é"), _config("b", 7)])
    configs = view.friends[FRIEND].currency_configs
    assert [config.currency for config in configs] == ["B", "a", "b", "é"]
    assert configs[2].remote_max_debt == 7


def test_snapshot_and_view_agree():
    """A view made of a snapshot is the same view."""
    view = ReportView(EMPTY)
    view.apply([ADDED, _config("a")])
    assert ReportView(view.snapshot()).snapshot() == view.snapshot()
