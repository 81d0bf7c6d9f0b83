"""
The book of a node: entries that add up to the balances.

`SimulatedNetwork` adds the entries up after each event of each test of this package, and compares them with the
balances. Here it is shown what they say, and that this also holds where channels break and friends go.
"""

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offset_funder.bookkeeping import Book, Entry, balances
from offset_funder.events import FriendMessageReceived
from offset_funder.state import Consistent, Inconsistent
from offset_funder.testing import FST, SimulatedNetwork
from offset_proto.messages.app import (
    AddFriend,
    CancelInvoice,
    CloseFriendCurrency,
    CommitInvoice,
    Complete,
    EnableFriend,
    OpenFriendCurrency,
    RemoveFriend,
    RemoveFriendCurrency,
    RequestClosePayment,
    ResetFriendChannel,
    SetFriendCurrencyMaxDebt,
)
from offset_proto.messages.friend import MoveToken, MoveTokenRequest
from offset_proto.messages.history import EntryKind
from offset_proto.messages.payment import Rate
from offset_proto.types import Currency, HashResult, RandValue, Signature

MOVING = {EntryKind.PAID, EntryKind.RECEIVED, EntryKind.FORWARDED}
"""What a payment makes."""


@pytest.fixture
def row():
    """A - B - C, where B charges A two credits."""
    network = SimulatedNetwork("ABC", Random(5))
    network.befriend("A", "B")
    network.befriend("B", "C")
    network.set_rate("B", "A", Rate(0, 2))
    for node in network.nodes.values():
        node.entries.clear()
    return network


def _told(network: SimulatedNetwork, name: str) -> list[tuple]:
    """What the book of a node says, with the names of the nodes."""
    names = {node.key: known for known, node in network.nodes.items()}
    return [
        (names[entry.friend], entry.kind, entry.before, entry.balance, entry.amount, entry.fee, names.get(entry.party))
        for entry in network.nodes[name].entries
    ]


def test_a_payment_as_each_of_its_nodes_books_it(row):
    """The buyer pays amount and fees, the mediator earns its fee, the seller gets what mediators left as well."""
    row.pay(["A", "B", "C"], 50, fees=5)
    assert _told(row, "A") == [("B", EntryKind.PAID, 0, -55, 50, 5, "C")]
    assert _told(row, "B") == [
        ("C", EntryKind.FORWARDED, 0, -53, 50, 2, "A"),
        ("A", EntryKind.FORWARDED, 0, 55, 50, 0, "C"),
    ]
    assert _told(row, "C") == [("B", EntryKind.RECEIVED, 0, 53, 50, 3, None)]


def test_the_ids_lead_from_one_book_to_the_other(row):
    """Request and invoice are the same for all who know them; the payment is the buyer's own matter."""
    invoice = row.invoice("C", 7)
    payment = row.payment("A", "C", invoice, 7)
    request = row.transact(["A", "B", "C"], payment, 7, 2)
    row.settle()
    result = row.result("A", request)
    assert isinstance(result, Complete)
    row.request("C", CommitInvoice(result.commit))
    row.settle()
    (paid,), (received,) = row.nodes["A"].entries, row.nodes["C"].entries
    assert (paid.invoice_id, paid.payment_id, paid.request_id) == (invoice, payment, request)
    assert (received.invoice_id, received.payment_id, received.request_id) == (invoice, None, request)
    assert [(entry.invoice_id, entry.request_id) for entry in row.nodes["B"].entries] == [(None, request)] * 2


def test_what_is_cancelled_is_not_booked(row):
    """Nor what is only frozen."""
    invoice = row.invoice("C", 7)
    row.transact(["A", "B", "C"], row.payment("A", "C", invoice, 7), 7, 2)
    row.settle()
    row.request("C", CancelInvoice(invoice))
    row.settle()
    assert all(not node.entries for node in row.nodes.values())


def test_a_payment_in_a_circle_is_both(row):
    """The same node pays and receives; its own balances move and sum up to the fees."""
    row.befriend("C", "A")
    for node in row.nodes.values():
        node.entries.clear()
    row.pay(["A", "B", "C", "A"], 10, fees=2)
    assert _told(row, "A") == [
        ("C", EntryKind.RECEIVED, 0, 10, 10, 0, None),
        ("B", EntryKind.PAID, 0, -12, 10, 2, "A"),
    ]


def test_settings_are_booked_with_the_balance_as_it_stays(row):
    """Each setting that is another one; the same once more is nothing."""
    row.pay(["A", "B"], 9)
    key, eur = row.nodes["A"].key, Currency("EUR")
    row.nodes["B"].entries.clear()
    for _ in range(2):
        row.request("B", SetFriendCurrencyMaxDebt(key, FST, 77))
        row.request("B", CloseFriendCurrency(key, FST))
    row.request("B", OpenFriendCurrency(key, FST))
    row.set_rate("B", "A", Rate(3, 4))
    row.set_limit("B", "A", 5, eur)
    row.request("B", RemoveFriendCurrency(key, eur))
    assert [entry[1:6] for entry in _told(row, "B")] == [
        (EntryKind.LIMIT, 9, 9, 77, 0),
        (EntryKind.CLOSED, 9, 9, 0, 0),
        (EntryKind.OPENED, 9, 9, 0, 0),
        (EntryKind.RATE, 9, 9, 3, 4),
        (EntryKind.LIMIT, 0, 0, 5, 0),
        (EntryKind.WITHDRAWN, 0, 0, 0, 0),
    ]


def test_a_friend_that_is_removed_is_forgiven(row):
    """And begins at nothing when it comes back."""
    row.pay(["A", "B"], 9)
    row.nodes["B"].entries.clear()
    row.request("B", RemoveFriend(row.nodes["A"].key))
    assert _told(row, "B") == [("A", EntryKind.FORGIVEN, 9, 0, 0, 0, None)]


def _break(network: SimulatedNetwork, name: str, friend: str) -> None:
    """A token that does not fit reaches *name*."""
    token = MoveToken(
        (Signature(b"\x07" * 64)), (), None, None, HashResult(bytes(32)), RandValue(bytes(16)), Signature(b"\x08" * 64)
    )
    network.handle(name, FriendMessageReceived(network.nodes[friend].key, MoveTokenRequest(token, False)))


def _accept_terms(network: SimulatedNetwork, name: str, friend: str) -> bool:
    """The owner of *name* takes the terms of *friend*, if there are any."""
    known = network.nodes[name].stored.friends.get(network.nodes[friend].key)
    if known is None or not isinstance(known.channel, Inconsistent) or known.channel.opt_remote_reset_terms is None:
        return False
    network.request(
        name, ResetFriendChannel(network.nodes[friend].key, known.channel.opt_remote_reset_terms.reset_token)
    )
    return True


def test_a_reset_is_booked_as_the_jump_that_it_is(row):
    """What the friend had frozen counts as ours in our terms; the terms that are accepted say otherwise."""
    row.pay(["A", "B"], 9)
    row.transact(["A", "B"], row.payment("A", "B", row.invoice("B", 4), 4), 4)
    row.settle()
    for name in "AB":
        row.nodes[name].entries.clear()
    _break(row, "A", "B")
    _break(row, "B", "A")
    row.settle()
    assert _told(row, "B") == [("A", EntryKind.BROKEN, 9, 13, 0, 0, None)]
    assert _told(row, "A") == [("B", EntryKind.BROKEN, -9, -9, 0, 0, None)]
    assert _accept_terms(row, "B", "A")
    row.settle()
    assert _told(row, "B")[1:] == [("A", EntryKind.RESET, 13, 9, 0, 0, None)]
    assert _told(row, "A")[1:] == [("B", EntryKind.RESET, -9, -9, 0, 0, None)]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "pay",
                "pay",
                "pay",
                "begin",
                "end",
                "steps",
                "settle",
                "relink",
                "crash",
                "break",
                "reset",
                "remove",
                "limit",
            ]
        ),
        st.integers(0, 10**6),
    ),
    max_size=40,
)


class _Run:
    """A row of three nodes through whatever happens. The network checks the book of each node after each event."""

    PAIRS = (("A", "B"), ("B", "C"))

    def __init__(self, seed: int) -> None:
        self.network = SimulatedNetwork("ABC", Random(seed))
        self.open: list = []
        for pair in self.PAIRS:
            self.network.befriend(*pair)
        self.network.set_rate("B", "A", Rate(2**30, 1))
        self.network.set_rate("B", "C", Rate(0, 1))

    def step(self, kind: str, number: int) -> None:
        """Let something happen; *number* decides where."""
        network = self.network
        one, other = self.PAIRS[number % 2][:: 1 if number % 3 else -1]
        route = ["ABC", "CBA", "AB", "BA", "BC", "CB"][number % 6]
        match kind:
            case "begin":
                invoice = network.invoice(route[-1], number % 50)
                payment = network.payment(route[0], route[-1], invoice, number % 50)
                request = network.transact(list(route), payment, number % 50, number % 20)
                self.open.append((route, invoice, payment, request))
            case "pay":
                self.step("begin", number)
                self.step("settle", number)
                self.step("end", -1)
            case "end" if self.open:
                self.end(*self.open.pop(number % len(self.open)), commit=bool(number % 4))
            case "steps":
                for _ in range(number % 6):
                    network.step()
            case "settle":
                network.settle()
            case "relink":
                network.disconnect(one, other)
                self.link(one, other)
            case "crash":
                network.crash(one)
                for pair in self.PAIRS:
                    if one in pair:
                        self.link(*pair)
            case "break":
                if network.nodes[other].key in network.nodes[one].stored.friends:
                    _break(network, one, other)
            case "reset":
                _accept_terms(network, one, other)
            case "remove":
                network.disconnect(one, other)
                if network.nodes[other].key in network.nodes[one].stored.friends:
                    network.request(one, RemoveFriend(network.nodes[other].key))
                network.request(one, AddFriend(network.nodes[other].key, (), other))
                network.request(one, EnableFriend(network.nodes[other].key))
                self.link(one, other)
                network.set_limit(one, other, 1000)
                network.request(one, OpenFriendCurrency(network.nodes[other].key, FST))
            case "limit":
                network.set_limit(one, other, number % 2000)

    def link(self, one: str, other: str) -> None:
        if (one, other) not in self.network._links:
            self.network.connect(one, other)

    def end(self, route: str, invoice, payment, request, *, commit: bool) -> None:
        """The seller collects, or cancels; the buyer closes."""
        result = self.network.result(route[0], request)
        if commit and isinstance(result, Complete):
            self.network.request(route[-1], CommitInvoice(result.commit))
        else:
            self.network.request(route[-1], CancelInvoice(invoice))
        self.network.request(route[0], RequestClosePayment(payment))


def _changes(entries: list[Entry], friend) -> list[tuple]:
    """What payments changed since the channel with a friend last began, by request."""
    found: list[tuple] = []
    for entry in entries:
        if entry.friend == friend and entry.kind in MOVING:
            found.append((entry.request_id, entry.balance - entry.before))
        elif entry.friend == friend and entry.kind in (EntryKind.RESET, EntryKind.FORGIVEN, EntryKind.BROKEN):
            found.clear()
    return sorted(found)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10**6), steps=STEPS)
def test_the_book_holds_whatever_happens(seed, steps):
    """After each event the entries of each node add up to its balances; at rest, two friends tell the same story."""
    run = _Run(seed)
    for kind, number in steps:
        run.step(kind, number)
    run.network.settle()
    for one, other in _Run.PAIRS:
        first, second = run.network.nodes[one], run.network.nodes[other]
        sides = first.stored.friends[second.key].channel, second.stored.friends[first.key].channel
        if all(isinstance(side, Consistent) for side in sides):
            told = _changes(first.entries, second.key)
            assert told == [(uid, -change) for uid, change in _changes(second.entries, first.key)]
            ours, theirs = balances(first.stored), balances(second.stored)
            assert ours.get((second.key, FST), 0) == -theirs.get((first.key, FST), 0)


def test_a_book_goes_on_from_the_opening_entries_of_another_one(row):
    """They come to its balances, and the entries after them fit; numbers go on as well."""
    row.pay("ABC", 10)
    entries = row.nodes["B"].entries
    for split in range(1, len(entries)):
        first = Book()
        for number, entry in enumerate(entries[:split], 1):
            first.add(number, entry.friend, entry.currency, entry.before, entry.balance)
        openings = first.openings()
        assert {entry.kind for entry in openings} == {EntryKind.OPENING}
        second = Book(first.end - len(openings))
        for number, entry in enumerate([*openings, *entries[split:]], second.end + 1):
            second.add(number, entry.friend, entry.currency, entry.before, entry.balance)
        second.check(row.nodes["B"].stored)
        assert (second.end, second.count) == (len(entries), len(openings) + len(entries) - split)
