"""Engines of nodes without sockets and databases, for the tests of this package."""

from random import Random

import pytest

from offset_crypto.identity import Identity
from offset_funder.effects import SendFriendMessage
from offset_funder.events import FriendMessageReceived
from offset_funder.state import FunderState
from offset_node.apps.outputs import SendToApp
from offset_node.engine import NodeEngine
from offset_node.links.channeler import ReportOnline
from offset_node.plugins.ticket import ALL_PERMISSIONS
from offset_node.plugins.values import Grant
from offset_node.state import AddEntry, AddPluginEvent, NodeState, SetAsker, apply
from offset_proto.messages.app import (
    AckClosePayment,
    AddFriend,
    AddInvoice,
    AppToAppServer,
    CommitInvoice,
    Complete,
    CreatePayment,
    CreateTransaction,
    EnableFriend,
    OpenFriendCurrency,
    RequestClosePayment,
    ResponseClosePayment,
    SetFriendCurrencyMaxDebt,
    TransactionResult,
)
from offset_proto.messages.friend import FriendsRoute
from offset_proto.types import Currency, InvoiceId, PaymentId, PrivateKey, Uid

FST = Currency("FST")


def _uid(number: int) -> Uid:
    return Uid(number.to_bytes(16, "big"))


class EngineNode:
    """An engine with one app, and what it stored."""

    def __init__(self, seed: int, record=lambda occurrences: (), **options) -> None:
        draws = Random(seed)
        self.identity = Identity(PrivateKey(draws.randbytes(32)))
        self.stored = NodeState(FunderState(self.identity.public_key))
        self.history = []
        self.askers = []
        self.engine = NodeEngine(self.stored, self.identity, draws.randbytes, record, **options)
        self.key = self.identity.public_key
        self.app, _ = self.engine.apps.open_app(ALL_PERMISSIONS)
        self.last_id = 0

    def ask(self, request) -> None:
        """A request of the app; ids count from 1."""
        self.last_id += 1
        outputs = self.engine.apps.receive(self.app, AppToAppServer(_uid(self.last_id), request), Grant())
        assert self.engine.follow(outputs) == []  # it waits in the inbox

    def work(self):
        """Handle and store all that waits; the effects, in order."""
        effects = []
        while self.engine.waiting:
            batch = self.engine.next_batch()
            for mutation in batch.mutations:
                if isinstance(mutation, AddEntry):
                    self.history.append(mutation)
                elif isinstance(mutation, SetAsker):
                    self.askers.append(mutation)
                elif not isinstance(mutation, AddPluginEvent):
                    self.stored = apply(self.stored, mutation)
            assert self.stored.funder == self.engine.funder_state
            effects += self.engine.stored(batch)
        return effects


class EnginePair:
    """Two friends that trade, on a link that loses nothing."""

    def __init__(self, records=(lambda occurrences: (), lambda occurrences: ())) -> None:
        self.nodes = [EngineNode(seed, record) for seed, record in zip((11, 12), records, strict=True)]
        self.effects = [], []
        one, other = self.nodes
        for node, friend in ((one, other), (other, one)):
            node.ask(AddFriend(friend.key, (), "friend"))
            node.ask(EnableFriend(friend.key))
            node.engine.follow([ReportOnline(friend.key)])
            node.ask(SetFriendCurrencyMaxDebt(friend.key, FST, 1000))
            node.ask(OpenFriendCurrency(friend.key, FST))
        self.settle()

    def settle(self) -> None:
        """Deliver until both are idle."""
        while any(node.engine.waiting for node in self.nodes):
            for node, friend, told in zip(self.nodes, self.nodes[::-1], self.effects, strict=True):
                effects = node.work()
                told.extend(effects)
                for effect in effects:
                    if isinstance(effect, SendFriendMessage):
                        friend.engine.put(FriendMessageReceived(node.key, effect.message))

    def pay(self, number: int = 1) -> None:
        """A payment from the first to the second, to its acknowledged end."""
        buyer, seller = self.nodes
        invoice, payment, request = (
            InvoiceId(bytes([number]) * 32),
            PaymentId(bytes([number]) * 16),
            _uid(1000 + number),
        )
        seller.ask(AddInvoice(invoice, FST, 30))
        buyer.ask(CreatePayment(payment, invoice, FST, 30, seller.key))
        buyer.ask(CreateTransaction(payment, request, FriendsRoute((buyer.key, seller.key)), 30, 0))
        buyer.ask(RequestClosePayment(payment))
        self.settle()
        (result,) = self.answers(TransactionResult)[-1:]
        assert isinstance(result.result, Complete)
        seller.ask(CommitInvoice(result.result.commit))
        self.settle()
        (closed,) = self.answers(ResponseClosePayment)[-1:]
        buyer.ask(AckClosePayment(payment, closed.status.ack_uid))
        self.settle()

    def answers(self, kind) -> list:
        """What the buyer's app was told of a kind."""
        told = [effect.message for effect in self.effects[0] if isinstance(effect, SendToApp)]
        return [message for message in told if isinstance(message, kind)]


@pytest.fixture
def new_node() -> type[EngineNode]:
    """Makes an engine with one app."""
    return EngineNode


@pytest.fixture
def new_pair() -> type[EnginePair]:
    """Makes two friends that trade."""
    return EnginePair
