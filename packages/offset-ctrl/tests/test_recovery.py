"""Friends again from a contact list: what is asked for, where each friend stands, what terms agree. Spec 09 §7."""

from dataclasses import replace

import pytest

from offset_ctrl.rules.recovery import Standing, contacts_of, proven_balances, standings, steps
from offset_ctrl.testing import build_friend, build_ledger, build_report
from offset_proto.contacts import CONTACTS
from offset_proto.files import StringSerdeError
from offset_proto.messages.app import AddFriend, AddIndexServer, AddRelay, EnableFriend, OpenFriendCurrency
from offset_proto.messages.friend import CurrencyBalance
from offset_proto.messages.payment import NamedIndexServerAddress, NamedRelayAddress, Rate, RelayAddress
from offset_proto.messages.report import (
    BalanceInfo,
    ChannelConsistentReport,
    ChannelInconsistentReport,
    CountersInfo,
    CurrencyBalanceInfo,
    CurrencyConfigReport,
    FriendLivenessReport,
    FriendReport,
    McInfo,
    MoveTokenHashedReport,
    ResetTermsReport,
    TokenInfo,
)
from offset_proto.report_view import ReportView
from offset_proto.types import Currency, HashResult, NetAddress, PublicKey, RandValue, Signature

NODE, BOB, RELAY = (PublicKey(bytes([n]) * 32) for n in (1, 2, 3))
FST, EUR = Currency("FST"), Currency("EUR")
TOKEN = Signature(b"\x09" * 64)
BOB_RELAYS = (RelayAddress(RELAY, NetAddress("127.0.0.1:1")),)
CONFIG = CurrencyConfigReport(FST, Rate(0, 3), 100, True)
PROPOSED = CurrencyConfigReport(EUR, Rate(0, 0), 5, False)


def consistent(**balances: int) -> ChannelConsistentReport:
    """A channel with these balances, seen from the node."""
    return ChannelConsistentReport(tuple(build_ledger(Currency(name), balance) for name, balance in balances.items()))


def broken(**terms: int) -> ChannelInconsistentReport:
    """A channel for which Bob asks for these balances, seen from him."""
    remote = tuple(CurrencyBalance(Currency(name), balance) for name, balance in terms.items())
    return ChannelInconsistentReport((), ResetTermsReport(TOKEN, remote))


def bob(channel, *configs: CurrencyConfigReport) -> FriendReport:
    """Bob, enabled and offline."""
    settings = {"remote_relays": BOB_RELAYS, "currency_configs": configs, "channel_status": channel}
    return build_friend("bob", liveness=FriendLivenessReport.OFFLINE, **settings)


def report(*friends: FriendReport, relays=(), servers=()) -> ReportView:
    """The report of a node with at most one friend."""
    return ReportView(build_report(NODE, dict(zip([BOB], friends, strict=False)), relays=relays, index_servers=servers))


@pytest.fixture
def contacts():
    """Of a node that Bob owes 10 FST, and to which it has proposed EUR in vain."""
    relays = (NamedRelayAddress(RELAY, NetAddress("127.0.0.1:1"), "relay"),)
    servers = (NamedIndexServerAddress(RELAY, NetAddress("127.0.0.1:2"), "index"),)
    return contacts_of(report(bob(consistent(FST=10), CONFIG, PROPOSED), relays=relays, servers=servers))


def asked(contacts, view):
    """The requests of the steps, by their kind."""
    return [type(change.request) for change in steps(contacts, view)]


def test_a_list_survives_its_file(contacts, tmp_path):
    """Names, keys and settings are in it, and no secret is there to be in it; an existing file stays."""
    CONTACTS.save(tmp_path / "contacts", contacts)
    assert CONTACTS.load(tmp_path / "contacts") == contacts
    assert (tmp_path / "contacts").stat().st_mode & 0o777 == 0o600
    (bob_again,) = contacts.friends
    assert [(entry.currency, entry.balance, entry.is_active) for entry in bob_again.currencies] == [
        (EUR, 0, False),
        (FST, 10, True),
    ]
    (tmp_path / "cut").write_text((tmp_path / "contacts").read_text()[:-3])
    with pytest.raises(StringSerdeError):
        CONTACTS.load(tmp_path / "cut")


def test_an_empty_node_is_asked_for_everything(contacts):
    """Servers first, then the friend before its settings."""
    wanted = asked(contacts, report())
    assert wanted[:4] == [AddRelay, AddIndexServer, AddFriend, EnableFriend]
    assert wanted.count(OpenFriendCurrency) == 1  # EUR was closed


def test_names_that_nobody_could_enter_today_hold_nothing_up(contacts):
    """The original took any: a friend without a name, a relay without a port, a currency that ends a line."""
    (friend,) = contacts.friends
    odd = replace(friend, name="", currencies=(replace(friend.currencies[0], currency=Currency("FST\n")),))
    relays = (replace(contacts.relays[0], address=NetAddress("localhost")),)
    expected = asked(replace(contacts, friends=(replace(friend, currencies=friend.currencies[:1]),)), report())
    assert asked(replace(contacts, friends=(odd,), relays=relays), report()) == expected


def test_a_node_that_has_everything_is_asked_for_nothing(contacts):
    """So the command can be run again at any time."""
    relays = tuple(contacts.relays)
    view = report(bob(consistent(FST=10), CONFIG, PROPOSED), relays=relays, servers=tuple(contacts.index_servers))
    assert asked(contacts, view) == []
    changed = replace(CONFIG, is_open=False)
    view = report(bob(consistent(FST=10), changed, PROPOSED), relays=relays, servers=tuple(contacts.index_servers))
    assert asked(contacts, view) == [OpenFriendCurrency]


def test_a_broken_channel_is_left_alone(contacts):
    """Its settings wait until terms were accepted."""
    assert asked(contacts, report(bob(broken(FST=-10)))) == [AddRelay, AddIndexServer]


@pytest.mark.parametrize(
    ("channel", "standing", "agrees"),
    [
        (consistent(), Standing.WAITING, False),
        (consistent(EUR=0), Standing.WAITING, False),
        (consistent(FST=10), Standing.WORKS, True),
        (consistent(FST=0), Standing.WORKS, False),
        (ChannelInconsistentReport((), None), Standing.WAITING, False),
        (broken(FST=-10), Standing.TERMS, True),
        (broken(FST=-10, EUR=0), Standing.TERMS, True),
        (broken(FST=10), Standing.TERMS, False),
        (broken(FST=-10, EUR=1), Standing.TERMS, False),
        (broken(), Standing.TERMS, False),
    ],
)
def test_where_a_friend_stands(contacts, channel, standing, agrees):
    """Terms say what Bob is owed, the list what the node is owed; a currency without a balance is 0."""
    (found,) = standings(contacts, report(bob(channel)))
    assert (found.standing, found.agrees) == (standing, agrees)
    assert found.reset_token == (TOKEN if standing is Standing.TERMS else None)


def test_a_friend_that_is_not_added_yet(contacts):
    """It is waited for."""
    (found,) = standings(contacts, report())
    assert found.standing is Standing.WAITING


def token(friend, local, counters, balance):
    """A token of *friend* for *local*, in which *friend* is owed *balance*."""
    mc = McInfo(friend, local, (CurrencyBalanceInfo(FST, BalanceInfo(balance, 0, 0)),))
    info = TokenInfo(mc, CountersInfo(*counters))
    return MoveTokenHashedReport(HashResult(bytes(32)), info, RandValue(bytes(16)), Signature(bytes(64)))


def test_the_newest_token_counts():
    """A reset counts more than any number of tokens before it; tokens for others do not count."""
    tokens = [token(BOB, NODE, (1, 0), -7), token(BOB, NODE, (0, 99), -5), token(BOB, RELAY, (9, 9), -1)]
    for order in (tokens, tokens[::-1]):
        assert proven_balances(NODE, order) == {(BOB, FST): 7}
