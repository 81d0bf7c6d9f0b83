"""What an event costs does not depend on what is stored: counted in executed instructions, not in time."""

import sys
from random import Random

from offset_funder.engine import Funder
from offset_funder.testing import SimulatedNetwork
from offset_proto.messages.app import AddFriend, EnableFriend
from offset_proto.types import PublicKey

PAYMENTS = 10


class _Counter:
    """Counts the bytecode instructions that funders execute."""

    def __init__(self, monkeypatch):
        self.count = 0
        handle = Funder.handle

        def counted(*args, **options):
            before = sys.gettrace()
            sys.settrace(self._trace)
            try:
                return handle(*args, **options)
            finally:
                sys.settrace(before)

        monkeypatch.setattr(Funder, "handle", counted)

    def _trace(self, frame, event, arg):
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        self.count += event == "opcode"
        return self._trace


def test_payments_cost_the_same_beside_many_others(monkeypatch):
    """Friends, open invoices and payments of others are not walked through by any event of a payment."""
    network = SimulatedNetwork("ABC", Random(5))
    network.befriend("A", "B", limit=10**6)
    network.befriend("B", "C", limit=10**6)
    counter = _Counter(monkeypatch)

    def cost() -> int:
        start = counter.count
        for _ in range(PAYMENTS):
            network.pay(["A", "B", "C"], 5, fees=1)
        return counter.count - start

    alone = cost()
    with monkeypatch.context() as uncounted:
        uncounted.setattr("offset_funder.testing.check_state", lambda state: None)
        for name in network.nodes:
            for number in range(200):
                friend = PublicKey(network.draws.randbytes(32))
                network.request(name, AddFriend(friend, (), f"friend {number}"))
                network.request(name, EnableFriend(friend))
            for _ in range(1000):
                invoice = network.invoice(name, 7)
                network.payment(name, name, invoice, 7)

    assert cost() < 1.1 * alone
