"""
A network of funders without sockets, disks or clocks, for tests.

All draws are handed in, for keys, nonces, and which message is delivered next, so a seeded source replays a run.
After each event the stored mutations are replayed and compared with the state, the entries are added up and compared
with the balances, and the invariants of every node are checked; `settle` checks both sides of every friendship. Of all
tokens that arrive, no two of one sender may follow the same one. Test verbs: `befriend`, `connect`, `disconnect`,
`pay`, `crash`, `back_up`, `restore`, `balance`.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from offset_crypto.identity import Identity
from offset_funder.bookkeeping import Book, Entry
from offset_funder.effects import Occurrence, SendFriendMessage, SendToApps
from offset_funder.engine import Funder, Outcome
from offset_funder.events import (
    AppRequested,
    Event,
    FriendMessageReceived,
    FriendWentOffline,
    FriendWentOnline,
    FunderRequest,
    Started,
)
from offset_funder.invariants import SeenTokens, check_pair, check_state
from offset_funder.mutations import RemoveFriend, apply
from offset_funder.state import Consistent, FunderState, Ledger
from offset_funder.statements import Statements
from offset_funder.unheard import forgotten
from offset_proto.errors import invariant
from offset_proto.messages.app import (
    AddFriend,
    AddInvoice,
    AddRelay,
    CommitInvoice,
    Complete,
    CreatePayment,
    CreateTransaction,
    EnableFriend,
    OpenFriendCurrency,
    RequestClosePayment,
    ResponseClosePayment,
    SetFriendCurrencyMaxDebt,
    SetFriendCurrencyRate,
    TransactionResult,
)
from offset_proto.messages.friend import FriendMessage, FriendsRoute
from offset_proto.messages.payment import NamedRelayAddress, Rate
from offset_proto.types import Currency, InvoiceId, NetAddress, PaymentId, PrivateKey, PublicKey, Uid

__all__ = ["FST", "Backup", "Draws", "SimulatedNetwork", "SimulatedNode"]

T = TypeVar("T")

FST = Currency("FST")


class Draws(Protocol):
    """Where random values come from; `random.Random` is one."""

    def randbytes(self, n: int, /) -> bytes:
        """Draw *n* bytes; a source with a seed draws the same ones in every run."""

    def choice(self, seq: Sequence[T], /) -> T:
        """One of several, none of which is preferred."""


@dataclass(frozen=True)
class Backup:
    """What a node had stored at some time, and the entries of its book."""

    stored: FunderState
    entries: tuple[Entry, ...]


@dataclass
class SimulatedNode:
    """A funder, what its database and its book hold, what apps and watchers were told, what its owner refuses."""

    identity: Identity
    funder: Funder
    stored: FunderState
    results: list[TransactionResult] = field(default_factory=list)
    closes: list[ResponseClosePayment] = field(default_factory=list)
    occurrences: list[Occurrence] = field(default_factory=list)
    refused: set[tuple[Currency, Uid]] = field(default_factory=set)
    entries: list[Entry] = field(default_factory=list)
    book: Book = field(default_factory=Book)

    @property
    def key(self) -> PublicKey:
        """The public key by which the other nodes know this one."""
        return self.identity.public_key

    def note(self, entry: Entry) -> None:
        """Write an entry into the book."""
        self.entries.append(entry)
        self.book.add(self.book.end + 1, entry.friend, entry.currency, entry.before, entry.balance)


class SimulatedNetwork:
    """
    Funders joined by queues.

    Args:
        names: Of the nodes.
        draws: Random values of the whole network.
        returns_tokens: As of `Funder`, for all nodes.
    """

    def __init__(self, names: Iterable[str], draws: Draws, *, returns_tokens: bool = False) -> None:
        self.draws = draws
        self._returns_tokens = returns_tokens
        self.nodes: dict[str, SimulatedNode] = {}
        self._names: dict[PublicKey, str] = {}
        self._links: dict[tuple[str, str], deque[FriendMessage]] = {}
        self._said: dict[tuple[str, str], Statements] = {}
        self.delivered = 0
        self.seen = SeenTokens()
        for name in names:
            self._add_node(name)

    def _add_node(self, name: str) -> None:
        identity = Identity(PrivateKey(self.draws.randbytes(32)))
        state = FunderState(identity.public_key)
        funder = self._funder(state, identity)
        self.nodes[name] = SimulatedNode(identity, funder, state)
        self._names[identity.public_key] = name
        self.handle(name, Started())
        relay = NamedRelayAddress(PublicKey(self.draws.randbytes(32)), NetAddress(f"{name}:1"), name)
        self.request(name, AddRelay(relay))

    def _funder(self, state: FunderState, identity: Identity) -> Funder:
        return Funder(state, identity, self.draws.randbytes, returns_tokens=self._returns_tokens)

    # Events.

    def handle(self, name: str, event: Event, *, lose_effects: bool = False) -> Outcome:
        """
        Let a node handle an event: store, check, then perform.

        Args:
            name: The node.
            event: What reaches it.
            lose_effects: The node crashes after storing and before sending.
        """
        node = self.nodes[name]
        outcome = node.funder.handle(event)
        for mutation in outcome.mutations:
            node.stored = apply(node.stored, mutation)
            if isinstance(mutation, RemoveFriend):
                self.seen.forget(node.key, mutation.public_key)
        invariant(node.stored == node.funder.state, "the mutations of an event lead to its state")
        check_state(node.stored)
        for entry in outcome.entries:
            node.note(entry)
        node.book.check(node.stored)
        if lose_effects:
            return outcome
        node.occurrences += outcome.occurrences
        for effect in outcome.effects:
            match effect:
                case SendFriendMessage(public_key, message):
                    direction = (name, self._names[public_key])
                    if direction in self._links and self._said[direction].is_news(message):
                        self._links[direction].append(message)
                case SendToApps(TransactionResult() as result):
                    node.results.append(result)
                case SendToApps(ResponseClosePayment() as response):
                    node.closes.append(response)
                case _:
                    pass
        return outcome

    def request(self, name: str, request: FunderRequest) -> Outcome:
        """Let an app of the node *name* ask for something; returns all that comes of it."""
        return self.handle(name, AppRequested(Uid(self.draws.randbytes(16)), request))

    def step(self) -> bool:
        """Deliver one message, of a link drawn at random; False where none is under way."""
        busy = [link for link, messages in self._links.items() if messages]
        if not busy:
            return False
        sender, receiver = self.draws.choice(busy)
        message = self._links[sender, receiver].popleft()
        self.delivered += 1
        self.seen.see(self.nodes[sender].key, self.nodes[receiver].key, message)
        refused = frozenset(self.nodes[receiver].refused)
        self.handle(receiver, FriendMessageReceived(self.nodes[sender].key, message, refused))
        return True

    def settle(self, steps_max: int = 100_000) -> None:
        """Deliver until nothing is under way, and check both sides of every friendship that is online."""
        for _ in range(steps_max):
            if not self.step():
                break
        else:
            raise AssertionError(f"still messages under way after {steps_max}")
        for first, second in self._links:
            ours, theirs = self._channel(first, second), self._channel(second, first)
            if ours is not None and theirs is not None:
                check_pair(ours.token_channel, theirs.token_channel)

    def _channel(self, name: str, friend: str) -> Consistent | None:
        known = self.nodes[name].funder.state.friends.get(self.nodes[friend].key)
        return known.channel if known is not None and isinstance(known.channel, Consistent) else None

    # Links.

    def connect(self, first: str, second: str) -> None:
        """A link between two nodes comes up, with nothing under way on it, and both are told."""
        for name, other in ((first, second), (second, first)):
            self._links[name, other] = deque()
            self._said[name, other] = Statements()
        for name, other in ((first, second), (second, first)):
            self.handle(name, FriendWentOnline(self.nodes[other].key))

    def disconnect(self, first: str, second: str) -> None:
        """A link is lost, with all that is under way on it."""
        for name, other in ((first, second), (second, first)):
            if self._links.pop((name, other), None) is not None:
                self.handle(name, FriendWentOffline(self.nodes[other].key))

    def crash(self, name: str) -> None:
        """The node ends and starts again from what it stored; its links are lost."""
        self._lose_links(name)
        self._start(name)

    def back_up(self, name: str) -> Backup:
        """What the node has stored now."""
        node = self.nodes[name]
        return Backup(node.stored, tuple(node.entries))

    def restore(self, name: str, backup: Backup) -> None:
        """The node ends, all that it stored is lost, and it starts again from a backup; its links are lost."""
        self._lose_links(name)
        node = self.nodes[name]
        node.stored, node.entries, node.book = backup.stored, [], Book()
        for mutation in forgotten(backup.stored, self.draws.randbytes):
            node.stored = apply(node.stored, mutation)
        for entry in backup.entries:
            node.note(entry)
        self._start(name)

    def _lose_links(self, name: str) -> None:
        for other in [other for one, other in self._links if one == name]:
            del self._links[name, other]
            del self._links[other, name]
            self.handle(other, FriendWentOffline(self.nodes[name].key))

    def _start(self, name: str) -> None:
        node = self.nodes[name]
        node.funder = self._funder(node.stored, node.identity)
        self.handle(name, Started())

    # Verbs.

    def befriend(self, first: str, second: str, *, limit: int = 1000, currency: Currency = FST) -> None:
        """Make two nodes friends that trade a currency, online and open."""
        for name, other in ((first, second), (second, first)):
            key = self.nodes[other].key
            if key not in self.nodes[name].funder.state.friends:
                self.request(name, AddFriend(key, (), other))
                self.request(name, EnableFriend(key))
        if (first, second) not in self._links:
            self.connect(first, second)
        for name, other in ((first, second), (second, first)):
            self.set_limit(name, other, limit, currency)
            self.request(name, OpenFriendCurrency(self.nodes[other].key, currency))
        self.settle()

    def set_limit(self, name: str, friend: str, limit: int, currency: Currency = FST) -> None:
        """Let *friend* owe *name* so many credits at most."""
        self.request(name, SetFriendCurrencyMaxDebt(self.nodes[friend].key, currency, limit))

    def set_rate(self, name: str, friend: str, rate: Rate, currency: Currency = FST) -> None:
        """Let *name* charge *friend* this rate for every request of it that is forwarded."""
        self.request(name, SetFriendCurrencyRate(self.nodes[friend].key, currency, rate))

    def ledger(self, name: str, friend: str, currency: Currency = FST) -> Ledger:
        """The ledger of a node with a friend."""
        channel = self._channel(name, friend)
        if channel is None:
            raise AssertionError(f"{name} and {friend} have no consistent channel")
        return channel.token_channel.ledgers[currency]

    def balance(self, name: str, friend: str, currency: Currency = FST) -> tuple[int, int, int]:
        """(balance, local pending debt, remote pending debt)."""
        ledger = self.ledger(name, friend, currency)
        return ledger.balance, ledger.local_pending_debt, ledger.remote_pending_debt

    def invoice(self, seller: str, amount: int, currency: Currency = FST) -> InvoiceId:
        """Let *seller* expect a payment of *amount* credits; returns the id of the invoice."""
        invoice_id = InvoiceId(self.draws.randbytes(32))
        self.request(seller, AddInvoice(invoice_id, currency, amount))
        return invoice_id

    def payment(
        self, buyer: str, seller: str, invoice_id: InvoiceId, amount: int, currency: Currency = FST
    ) -> PaymentId:
        """Let *buyer* open a payment of *amount* credits for an invoice; returns its id."""
        payment_id = PaymentId(self.draws.randbytes(16))
        key = self.nodes[seller].key
        self.request(buyer, CreatePayment(payment_id, invoice_id, currency, amount, key))
        return payment_id

    def transact(self, route: list[str], payment_id: PaymentId, amount: int, fees: int = 0) -> Uid:
        """A transaction along *route*, the buyer first."""
        request_id = Uid(self.draws.randbytes(16))
        keys = FriendsRoute(tuple(self.nodes[name].key for name in route))
        self.request(route[0], CreateTransaction(payment_id, request_id, keys, amount, fees))
        return request_id

    def result(self, buyer: str, request_id: Uid) -> object:
        """The last result of a transaction, or None."""
        found = [result.result for result in self.nodes[buyer].results if result.request_id == request_id]
        return found[-1] if found else None

    def pay(self, route: list[str], amount: int, fees: int = 0, currency: Currency = FST) -> ResponseClosePayment:
        """A payment over one route, from invoice to close; returns how it ended."""
        invoice_id = self.invoice(route[-1], amount, currency)
        payment_id = self.payment(route[0], route[-1], invoice_id, amount, currency)
        request_id = self.transact(route, payment_id, amount, fees)
        self.settle()
        result = self.result(route[0], request_id)
        if isinstance(result, Complete):
            self.request(route[-1], CommitInvoice(result.commit))
        self.request(route[0], RequestClosePayment(payment_id))
        self.settle()
        return self.nodes[route[0]].closes[-1]
