"""Two friends as a state machine: whatever happens in whatever order, both sides agree. Spec 04 §11."""

from random import Random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from offset_funder.state import Consistent
from offset_funder.testing import FST, SimulatedNetwork
from offset_proto.messages.app import (
    CancelInvoice,
    CloseFriendCurrency,
    CommitInvoice,
    Complete,
    OpenFriendCurrency,
    RequestClosePayment,
)
from offset_proto.types import Currency, InvoiceId, PaymentId, Uid

NAMES = st.sampled_from(["A", "B"])
AMOUNTS = st.one_of(st.integers(0, 300), st.sampled_from([2**127 - 1, 2**127, 2**128 - 1]))
CURRENCIES = st.sampled_from([FST, Currency("EUR")])


def _other(name: str) -> str:
    return "B" if name == "A" else "A"


class Friendship(RuleBasedStateMachine):
    """
    Payments, cancellations, limits, lost links, crashes and single deliveries in any order.

    `SimulatedNetwork` checks after each event that the mutations lead to the state and that every ledger is whole.
    """

    @initialize(seed=st.integers(0, 1000), returns_tokens=st.booleans())
    def meet(self, seed, returns_tokens):
        """Two friends that trade two currencies."""
        self.network = SimulatedNetwork(["A", "B"], Random(seed), returns_tokens=returns_tokens)
        for currency in (FST, Currency("EUR")):
            self.network.befriend("A", "B", limit=100, currency=currency)
        self.open: list[tuple[str, InvoiceId, PaymentId, Uid]] = []

    @rule(buyer=NAMES, amount=AMOUNTS, fees=st.integers(0, 3), currency=CURRENCIES)
    def begin_payment(self, buyer, amount, fees, currency):
        """The buyer asks for an amount, far beyond the credit now and then."""
        seller = _other(buyer)
        invoice = self.network.invoice(seller, amount, currency)
        payment = self.network.payment(buyer, seller, invoice, amount, currency)
        self.open.append((buyer, invoice, payment, self.network.transact([buyer, seller], payment, amount, fees)))

    @precondition(lambda self: self.open)
    @rule(index=st.integers(0, 100), commit=st.booleans())
    def end_payment(self, index, commit):
        """The seller commits, or does not want it any more; the buyer closes."""
        buyer, invoice, payment, request = self.open.pop(index % len(self.open))
        result = self.network.result(buyer, request)
        if commit and isinstance(result, Complete):
            self.network.request(_other(buyer), CommitInvoice(result.commit))
        else:
            self.network.request(_other(buyer), CancelInvoice(invoice))
        self.network.request(buyer, RequestClosePayment(payment))

    @rule(name=NAMES, limit=AMOUNTS, currency=CURRENCIES)
    def change_limit(self, name, limit, currency):
        """A friend is trusted more, or less than it owes already."""
        self.network.set_limit(name, _other(name), limit, currency)

    @rule(name=NAMES, currency=CURRENCIES, is_open=st.booleans())
    def open_or_close(self, name, currency, is_open):
        """A currency is closed, or opened."""
        key = self.network.nodes[_other(name)].key
        request = OpenFriendCurrency if is_open else CloseFriendCurrency
        self.network.request(name, request(key, currency))

    @rule(steps=st.integers(1, 5))
    def deliver(self, steps):
        """Some messages arrive."""
        for _ in range(steps):
            self.network.step()

    @rule()
    def lose_the_link(self):
        """With all that is under way on it; it comes back at once."""
        self.network.disconnect("A", "B")
        self.network.connect("A", "B")

    @rule(name=NAMES)
    def crash(self, name):
        """A node goes on from what it stored."""
        self.network.crash(name)
        self.network.connect("A", "B")

    @rule()
    def settle(self):
        """Everything arrives; `SimulatedNetwork` then compares both sides."""
        self.network.settle()

    @invariant()
    def no_channel_breaks(self):
        """Honest friends have no cause for an inconsistency, whatever happens."""
        if hasattr(self, "network"):
            for name in ("A", "B"):
                friend = self.network.nodes[name].stored.friends[self.network.nodes[_other(name)].key]
                assert isinstance(friend.channel, Consistent)

    def teardown(self):
        """In the end all payments can be ended, and nothing stays frozen."""
        if not hasattr(self, "network"):
            return
        self.network.settle()
        while self.open:
            self.end_payment(0, commit=True)
        self.network.settle()
        for currency in (FST, Currency("EUR")):
            ours, theirs = (self.network.balance(name, _other(name), currency) for name in ("A", "B"))
            assert ours[1:] == theirs[1:] == (0, 0)
            assert ours[0] == -theirs[0]


TestFriendship = Friendship.TestCase
TestFriendship.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
