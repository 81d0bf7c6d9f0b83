"""From facts about a node to what its owner is told."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from offset_ctrl.rules.diagnosis import DatabaseFacts, Facts, Manners, NodeFacts, ServerFacts, diagnose
from offset_ctrl.rules.findings import Finding, Severity, worst
from offset_ctrl.rules.friendships import Frozen
from offset_ctrl.testing import build_friend, build_ledger, build_report
from offset_proto.messages.extensions import Extension
from offset_proto.messages.friend import CurrencyBalance
from offset_proto.messages.payment import NamedIndexServerAddress, NamedRelayAddress, Rate, RelayAddress
from offset_proto.messages.report import (
    ChannelConsistentReport,
    ChannelInconsistentReport,
    CurrencyConfigReport,
    FriendLivenessReport,
    FriendReport,
    FriendStatusReport,
    ResetTermsReport,
)
from offset_proto.report_view import ReportView
from offset_proto.text import format_b64
from offset_proto.types import Currency, NetAddress, PublicKey, Signature

ME, BOB, RELAY, INDEX, FAR = (PublicKey(bytes([number] * 32)) for number in (1, 2, 3, 4, 5))
FST, EUR = Currency("FST"), Currency("EUR")
HOUR = 3600
NOW = 1_000_000

FINE, ATTENTION, BROKEN = Severity.FINE, Severity.ATTENTION, Severity.BROKEN


def _ledgers(*currencies: Currency, balance: int = 0, local: int = 0, remote: int = 0) -> ChannelConsistentReport:
    return ChannelConsistentReport(tuple(build_ledger(each, balance, out=local, back=remote) for each in currencies))


BOB_ONLINE = build_friend(
    "bob",
    build_ledger(FST),
    remote_relays=(RelayAddress(FAR, NetAddress("far.example:1")),),
    currency_configs=(CurrencyConfigReport(FST, Rate(0, 0), 100, True),),
)
OFFLINE = replace(BOB_ONLINE, liveness=FriendLivenessReport.OFFLINE)
TERMS = (CurrencyBalance(FST, 5),)
TOLD = ResetTermsReport(Signature(bytes(64)), (CurrencyBalance(FST, -3),))

RELAY_ANSWERS = ServerFacts(RELAY, NetAddress("relay.example:1"), None)
INDEX_ANSWERS = ServerFacts(INDEX, NetAddress("index.example:1"), None)
WHOLE = DatabaseFacts("node.db", None, True, 1000, 2**40, backup_age=2 * HOUR, entries=7, frozen=())


def _report(
    friend: FriendReport | None = BOB_ONLINE, relays: int = 1, connected: PublicKey | None = INDEX
) -> ReportView:
    names = [(RELAY, "relay")] + [(PublicKey(bytes([100 + n] * 32)), f"relay{n}") for n in range(1, relays)]
    used = tuple(NamedRelayAddress(key, NetAddress(f"{name}.example:1"), name) for key, name in names[:relays])
    indexes = (NamedIndexServerAddress(INDEX, NetAddress("index.example:1"), "index"),)
    friends = {} if friend is None else {BOB: friend}
    return ReportView(build_report(ME, friends, relays=used, index_servers=indexes, connected=connected))


def _node(friend: FriendReport | None = BOB_ONLINE, **changed: Any) -> NodeFacts:
    return NodeFacts(_report(friend), is_live=True, extensions=Extension.OPEN_PAYMENTS, frozen=(), **changed)


WELL = Facts(
    NOW, _node(), None, (RELAY_ANSWERS, INDEX_ANSWERS), WHOLE, is_clock_set=True, stctrl=("stctrl", "-C", "me")
)


def _bad(facts: Facts) -> list[Finding]:
    return [finding for finding in diagnose(facts) if finding.severity is not FINE]


def _words(findings: Iterable[Finding]) -> str:
    return "\n".join(finding.words for finding in findings)


def test_a_node_that_is_well() -> None:
    """Each part is named, and there is nothing to do."""
    findings = diagnose(WELL)
    assert worst(findings) is FINE
    assert [finding.about for finding in findings] == [
        "node",
        "friends",
        "frozen credits",
        "relays",
        "index servers",
        "clock",
        "database",
        "backup",
        "disk",
    ]
    assert {finding.remedy for finding in findings} == {""}


def test_no_key_is_shown_whole() -> None:
    """The page may be sent to somebody."""
    stranger = Frozen(FAR, FST, 1, 0, False)
    facts = replace(WELL, servers=(replace(RELAY_ANSWERS, problem="no"),), database=replace(WHOLE, frozen=(stranger,)))
    text = _words(diagnose(facts))
    for key in (ME, RELAY, FAR):
        assert format_b64(key)[:8] in text
        assert format_b64(key)[:12] not in text


ONE_FRIEND = [
    (None, ATTENTION, "there are no friends", "friend invite"),
    (
        replace(BOB_ONLINE, name="b ob", channel_status=ChannelInconsistentReport(TERMS, TOLD)),
        BROKEN,
        "the channel with b ob is broken; by our terms it owes us 5 FST, by its terms it owes us 3 FST",
        "stctrl -C me config reset-friend -n 'b ob'",
    ),
    (
        replace(BOB_ONLINE, channel_status=ChannelInconsistentReport((), None)),
        BROKEN,
        "by our terms it owes us nothing, and its terms are not known yet",
        "online",
    ),
    (OFFLINE, ATTENTION, "bob is offline; since when", "stctrl doctor"),
    (
        replace(OFFLINE, remote_relays=()),
        ATTENTION,
        "no relay is known",
        "stctrl -C me config set-friend-relays -n bob",
    ),
    (replace(BOB_ONLINE, channel_status=_ledgers()), ATTENTION, "bob is online, and has not opened FST", "open it"),
    (
        replace(BOB_ONLINE, channel_status=_ledgers(), currency_configs=()),
        ATTENTION,
        "no currency is open with it",
        "stctrl -C me config open-currency -n bob",
    ),
    (
        replace(BOB_ONLINE, channel_status=_ledgers(FST, balance=80, remote=10)),
        ATTENTION,
        "bob owes us 90 of at most 100 FST",
        "stctrl -C me config set-currency-max-debt -n bob -c FST",
    ),
]


@pytest.mark.parametrize(("friend", "severity", "words", "remedy"), ONE_FRIEND)
def test_a_friend(friend: FriendReport | None, severity: Severity, words: str, remedy: str) -> None:
    """One thing is said of each, and what to do about it."""
    (finding,) = _bad(replace(WELL, node=_node(friend)))
    assert finding.severity is severity
    assert words in finding.words
    assert remedy in finding.remedy


def test_what_the_owner_wanted_is_fine() -> None:
    """A friend that is disabled is not said to be offline; one below its limit and a closed currency are shown."""
    disabled = replace(WELL, node=_node(replace(OFFLINE, status=FriendStatusReport.DISABLED)))
    assert _bad(disabled) == []
    assert "bob is disabled" in _words(diagnose(disabled))
    config = CurrencyConfigReport(FST, Rate(0, 0), 100, False)
    closed = replace(BOB_ONLINE, currency_configs=(config,), channel_status=_ledgers(FST, balance=89))
    assert _bad(replace(WELL, node=_node(closed))) == []
    assert "bob is online: FST (closed by you)" in _words(diagnose(replace(WELL, node=_node(closed))))
    nothing_allowed = replace(closed, currency_configs=(replace(config, remote_max_debt=0),))
    assert _bad(replace(WELL, node=_node(nothing_allowed))) == []


def test_a_friend_whose_relay_is_gone() -> None:
    """It is said only where none of its relays answers."""
    gone = ServerFacts(FAR, NetAddress("far.example:1"), "timed out")
    facts = replace(WELL, node=_node(OFFLINE), servers=(*WELL.servers, gone))
    assert "none of its relays is reached from here: far.example:1 (timed out)" in _bad(facts)[0].words
    second = RelayAddress(RELAY, NetAddress("relay.example:1"))
    two = replace(OFFLINE, remote_relays=(*OFFLINE.remote_relays, second))
    assert "since when, the node does not tell" in _bad(replace(facts, node=_node(two)))[0].words


def test_a_friend_that_has_to_speak_first() -> None:
    """Whether it is online or not: it is what the owner waits for."""
    facts = replace(WELL, node=_node(OFFLINE), database=replace(WHOLE, unheard=frozenset({BOB})))
    (finding,) = _bad(facts)
    assert "bob has to speak first" in finding.words
    (finding,) = _bad(replace(WELL, node=_node(OFFLINE, unheard=frozenset({BOB}))))
    assert "bob has to speak first" in finding.words
    heard_since = replace(facts, node=_node(OFFLINE, unheard=frozenset()))
    assert "speak first" not in _bad(heard_since)[0].words


def _frozen(age: int, amount: int = 20, *, is_own: bool = True, currency: Currency = FST) -> Frozen:
    return Frozen(BOB, currency, amount, NOW - age, is_own)


def test_what_has_been_frozen_for_an_hour() -> None:
    """All behind one friend is one finding; what is younger is left out."""
    frozen = (
        _frozen(HOUR),
        _frozen(3 * HOUR, 7, is_own=False),
        _frozen(2 * HOUR, currency=EUR),
        _frozen(HOUR - 1, 1000),
    )
    (finding,) = _bad(replace(WELL, database=replace(WHOLE, frozen=frozen)))
    assert finding.severity is ATTENTION
    assert (
        "20 EUR, 27 FST wait behind bob, the oldest for 3 h (2 of payments of this node, 1 forwarded" in finding.words
    )
    assert _bad(replace(WELL, database=replace(WHOLE, frozen=(_frozen(HOUR - 1),)))) == []


def test_what_a_node_without_its_database_tells() -> None:
    """Its own payments and since when; of what else is frozen, how much, and that the time is not known."""
    friend = replace(BOB_ONLINE, channel_status=_ledgers(FST, local=50))
    facts = replace(WELL, node=replace(_node(friend), frozen=(_frozen(HOUR),)), database=None)
    (finding,) = _bad(facts)
    assert "20 FST wait behind bob" in finding.words
    assert "since when this node does not tell: 30 FST behind bob" in _words(diagnose(facts))
    all_known = replace(facts, node=replace(_node(friend), frozen=(_frozen(HOUR, 50),)))
    assert "does not tell" not in _words(diagnose(all_known))


def test_what_a_node_of_the_original_tells() -> None:
    """Nothing of single payments: that nothing is frozen is said only where nothing is."""
    frozen = replace(BOB_ONLINE, channel_status=_ledgers(FST, local=50))
    node = NodeFacts(_report(frozen), is_live=True)
    text = _words(diagnose(replace(WELL, node=node, database=None)))
    assert "it is one of the original" in text
    assert "does not tell: 50 FST behind bob" in text
    text = _words(diagnose(replace(WELL, node=replace(node, report=_report()), database=None)))
    assert "nothing has been frozen" in text


def test_a_server_that_does_not_answer() -> None:
    """The last one of its kind is worse than one of two; it is said what that means."""
    silent = replace(RELAY_ANSWERS, problem="timed out")
    (finding,) = _bad(replace(WELL, servers=(silent, INDEX_ANSWERS)))
    assert finding.severity is BROKEN
    assert "relay relay at relay.example:1" in finding.words
    assert "is not reached: timed out; friends can not reach this node" in finding.words
    assert "stctrl -C me config remove-relay -n relay" in finding.remedy
    two = replace(_node(), report=_report(relays=2))
    other = ServerFacts(PublicKey(bytes([101] * 32)), NetAddress("relay1.example:1"), None)
    (finding,) = _bad(replace(WELL, node=two, servers=(silent, other, INDEX_ANSWERS)))
    assert finding.severity is ATTENTION
    (finding,) = _bad(replace(WELL, servers=(RELAY_ANSWERS, replace(INDEX_ANSWERS, problem="another key"))))
    assert finding.severity is BROKEN
    assert "stctrl -C me config remove-index -n index" in finding.remedy


def test_a_server_of_the_other_kind() -> None:
    """A ticket that was given in the wrong place: nothing is unreachable, and the node would wait for ever."""
    swapped = replace(RELAY_ANSWERS, manners=Manners.INDEX_SERVER)
    (finding,) = _bad(replace(WELL, servers=(swapped, INDEX_ANSWERS)))
    assert (finding.about, finding.severity) == ("relays", BROKEN)
    assert "is no relay: it answers as an index server does" in finding.words
    replaces = "stctrl -C me config remove-relay -n relay, then stctrl -C me config add-relay -r TICKET -n relay"
    assert finding.remedy.endswith(replaces)
    (finding,) = _bad(replace(WELL, servers=(RELAY_ANSWERS, replace(INDEX_ANSWERS, manners=Manners.RELAY))))
    assert (finding.about, finding.severity) == ("index servers", BROKEN)
    assert "is no index server: it answers as a relay does" in finding.words
    assert "here one of an index server: stctrl -C me config remove-index" in finding.remedy
    (finding,) = _bad(replace(WELL, servers=(RELAY_ANSWERS, replace(INDEX_ANSWERS, manners=Manners.CLOSED))))
    assert "it closes the link at once" in finding.words
    both = (replace(RELAY_ANSWERS, manners=Manners.RELAY), replace(INDEX_ANSWERS, manners=Manners.INDEX_SERVER))
    assert _bad(replace(WELL, servers=both)) == []


def test_a_relay_and_an_index_server_of_one_key() -> None:
    """What answers at one address says nothing of the other one."""
    relays = (NamedRelayAddress(RELAY, NetAddress("relay.example:1"), "relay"),)
    indexes = (NamedIndexServerAddress(RELAY, NetAddress("index.example:1"), "index"),)
    report = ReportView(build_report(ME, {BOB: BOB_ONLINE}, relays=relays, index_servers=indexes, connected=RELAY))
    silent = ServerFacts(RELAY, NetAddress("index.example:1"), "timed out")
    for servers in ((RELAY_ANSWERS, silent), (silent, RELAY_ANSWERS)):
        (finding,) = _bad(replace(WELL, node=replace(_node(), report=report), servers=servers))
        assert finding.about == "index servers"


def test_a_relay_of_a_friend_that_is_none() -> None:
    """It is as good as one that is not reached."""
    other = ServerFacts(FAR, NetAddress("far.example:1"), None, manners=Manners.INDEX_SERVER)
    facts = replace(WELL, node=_node(OFFLINE), servers=(*WELL.servers, other))
    assert "far.example:1 (it answers as an index server does)" in _bad(facts)[0].words


def test_servers_that_are_not_there_or_not_tried() -> None:
    """No relay at all needs attention; what nobody tried is not called silent."""
    onion = replace(RELAY_ANSWERS, problem="through Tor only", is_tried=False)
    facts = replace(WELL, servers=(onion, INDEX_ANSWERS))
    assert _bad(facts) == []
    assert "was not tried: through Tor only" in _words(diagnose(facts))
    (finding,) = _bad(replace(WELL, node=replace(_node(), report=_report(relays=0))))
    assert "there is no relay, so friends can not reach this node" in finding.words
    (finding,) = _bad(replace(WELL, node=replace(_node(), report=_report(connected=None))))
    assert "connected to no index server" in finding.words


def test_a_node_that_can_not_be_asked() -> None:
    """It is broken; friends and servers are those of the database, and nobody is said to be offline."""
    stored = NodeFacts(_report(OFFLINE, connected=None), is_live=False)
    facts = replace(WELL, node=stored, node_problem="ConnectionError(refused)")
    (finding,) = _bad(facts)
    assert (finding.about, finding.severity) == ("node", BROKEN)
    assert "ConnectionError(refused)" in finding.words
    text = _words(diagnose(facts))
    assert "bob has a channel that works: FST" in text
    assert "relay relay" in text
    nothing = replace(facts, node=None, servers=())
    assert [finding.about for finding in diagnose(nothing)] == ["node", "clock", "database", "backup", "disk"]


def test_clocks() -> None:
    """Ours, where the system says something; the node's, where it tells a moment that is still to come."""
    (finding,) = _bad(replace(WELL, is_clock_set=False))
    assert "not synchronised" in finding.words
    assert "clock" not in [finding.about for finding in diagnose(replace(WELL, is_clock_set=None))]
    (finding,) = _bad(replace(WELL, node=replace(_node(), latest=NOW + 61)))
    assert "61 s ahead" in finding.words
    assert _bad(replace(WELL, node=replace(_node(), latest=NOW + 60))) == []


@pytest.mark.parametrize(
    ("changed", "about", "severity", "words"),
    [
        ({"problem": "LoadDbError(damaged)"}, "database", BROKEN, "not whole: LoadDbError(damaged)"),
        ({"backup_age": None}, "backup", ATTENTION, "no backup of the database is known"),
        ({"backup_age": 8 * 24 * HOUR}, "backup", ATTENTION, "8 days old"),
        ({"disk_free": 2**30 - 1}, "disk", ATTENTION, "1023 MiB"),
        ({"size": 2**29 + 2**20, "disk_free": 2**30 + 2**20}, "disk", ATTENTION, "1025 MiB"),
        ({"disk_free": 2**26 - 1}, "disk", BROKEN, "63 MiB"),
        ({"pending": ((BOB, 3687),)}, "limits", ATTENTION, "3687 requests are open with bob, of at most 4096"),
    ],
)
def test_a_database(changed: dict[str, Any], about: str, severity: Severity, words: str) -> None:
    """What is wrong with it, with its backups, its disk and its limits."""
    (finding,) = _bad(replace(WELL, database=replace(WHOLE, **changed)))
    assert (finding.about, finding.severity) == (about, severity)
    assert words in finding.words


def test_a_database_that_is_not_looked_into() -> None:
    """That is said, and nothing else of it."""
    facts = replace(WELL, database=replace(WHOLE, is_checked=False, problem="it is one of the original"))
    assert _bad(facts) == []
    assert "node.db was not checked: it is one of the original" in _words(diagnose(facts))


def test_limits_of_the_node() -> None:
    """From nine tenths on; just below, nothing is said."""
    servers = tuple(
        ServerFacts(PublicKey(bytes([100 + n] * 32)), NetAddress(f"relay{n}.example:1"), None) for n in range(1, 16)
    )
    facts = replace(WELL, servers=(*WELL.servers, *servers))
    (finding,) = _bad(replace(facts, node=replace(_node(), report=_report(relays=15))))
    assert "15 relays of at most 16" in finding.words
    assert _bad(replace(facts, node=replace(_node(), report=_report(relays=14)))) == []
    (finding,) = _bad(replace(WELL, node=replace(_node(), queued=((BOB, 29),))))
    assert "29 requests of your payments wait to be sent to bob, of at most 32" in finding.words
    assert _bad(replace(WELL, node=replace(_node(), queued=((BOB, 28),)))) == []
