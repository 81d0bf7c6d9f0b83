"""A run: from a plan and a seed, through faults and payments, to a summary in which every payment has ended."""

from collections import Counter
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from offset_crypto.identity import Identity
from offset_funder.state import Consistent, Inconsistent
from offset_node.simulation.malice import MaliciousNode
from offset_node.simulation.monitor import Monitor
from offset_node.simulation.nodes import Backup, SimulatedNode
from offset_node.simulation.plan import TOPOLOGIES, Edge, Faults, Plan, Summary
from offset_node.simulation.servers import SimulatedIndexServer, SimulatedRelay
from offset_node.simulation.wallets import Outcome, SimulatedPayment, Wallets
from offset_node.simulation.world import Chance, World
from offset_proto.errors import InvariantBroken, invariant
from offset_proto.messages.app import (
    AddFriend,
    AddIndexServer,
    AddRelay,
    CancelInvoice,
    EnableFriend,
    OpenFriendCurrency,
    RemoveIndexServer,
    ResetFriendChannel,
    SetFriendCurrencyMaxDebt,
    SetFriendCurrencyRate,
)
from offset_proto.messages.payment import NamedIndexServerAddress, NamedRelayAddress, Rate, RelayAddress
from offset_proto.types import Currency, NetAddress, PrivateKey, PublicKey

__all__ = ["Scenario", "run"]

FST: Final = Currency("FST")
LIMIT: Final = 1_000_000
RELAYS: Final = 4
INDEX_SERVERS: Final = 3
SETTLE_TICKS_MAX: Final = 2000
BACKUPS_KEPT: Final = 8
BACKUP_CHANCE: Final = 0.1
"""Of a node in a tick, where nodes are restored."""

REACH: Final = 8
"""Hops between buyer and seller at most, in a line or a ring; a route has at most 32 keys."""

_IN_A_ROW = ("line", "ring")


class _Disk:
    """Crashes around the batches of one network."""

    def __init__(self, faults: Faults, chance: Chance) -> None:
        self.is_faulty = False
        self.crashes = 0
        self._faults = faults
        self._chance = chance

    def crashes_before_storing(self) -> bool:
        """Whether the batch is lost with the process."""
        return self._crashes(self._faults.crash_before_storing)

    def crashes_after_storing(self) -> bool:
        """Whether the batch is kept, and its effects are lost."""
        return self._crashes(self._faults.crash_after_storing)

    def _crashes(self, chance: float) -> bool:
        crashes = self.is_faulty and self._chance.random() < chance
        self.crashes += crashes
        return crashes


class Scenario:
    """
    A network that runs a plan.

    Args:
        plan: What to run.
        chance: Source of all that is not determined.
        on_progress: Told after each tick how many payments have ended.
    """

    def __init__(self, plan: Plan, chance: Chance, on_progress: Callable[[int], object] = lambda ended: None) -> None:
        self.plan = plan
        self.world = World(chance)
        self.wallets = Wallets(self.world, plan.invoice_ticks)
        self.monitor = Monitor()
        self._on_progress = on_progress
        self._disk = _Disk(plan.faults, chance)
        self._crashes = self._resets = self._index_changes = self._restores = 0
        self._relays = [SimulatedRelay(self.world, self._identity(), self._address("relay", i)) for i in range(RELAYS)]
        self._indexes = [
            SimulatedIndexServer(self.world, self._identity(), self._address("index", i)) for i in range(INDEX_SERVERS)
        ]
        for server in self._indexes:
            for other in self._indexes:
                if other is not server:
                    server.trust(other)
        self._nodes = [self._add_node(number) for number in range(plan.nodes)]
        self._backups: dict[PublicKey, list[Backup]] = {node.public_key: [] for node in self._nodes}
        self._numbers = {node.public_key: number for number, node in enumerate(self._nodes)}
        self._edges = list(TOPOLOGIES[plan.topology](plan.nodes, self.world.chance))
        self._rates = {edge: self.world.chance.randrange(4) for edge in self._edges}

    def run(self) -> Summary:
        """
        Run to the end.

        Raises:
            InvariantBroken: An invariant does not hold, or a payment does not end.
        """
        self._befriend()
        self._pay()
        self._heal()
        self._check_end()
        outcomes = Counter(payment.outcome.value for payment in self.wallets.done if payment.outcome is not None)
        return Summary(
            dict(outcomes),
            self.world.now,
            self.world.steps,
            self.monitor.tokens,
            self.monitor.checked,
            self._crashes + self._disk.crashes,
            self._resets,
            self._index_changes,
            self._restores,
            self.fingerprint(),
        )

    def fingerprint(self) -> str:
        """A hash of what all nodes have stored, and of the time."""
        digest = blake2b(f"{self.world.now} {self.world.steps}".encode(), digest_size=8)
        for node in self._nodes:
            digest.update(repr(node.stored).encode())
        return digest.hexdigest()

    # Set-up.

    def _identity(self) -> Identity:
        return Identity(PrivateKey(self.world.chance.randbytes(32)))

    def _address(self, kind: str, number: int) -> NetAddress:
        return NetAddress(f"{kind}{number}:1")

    def _add_node(self, number: int) -> SimulatedNode:
        faults, chance = self.plan.faults, self.world.chance
        cls = MaliciousNode if chance.random() < faults.malicious else SimulatedNode
        node = cls(self.world, self._identity(), self.monitor, self._disk, self.wallets.receive)
        if chance.random() < faults.slow:
            node.slowness = 50.0
        self.monitor.nodes[node.public_key] = node
        relay = self._relays[number % RELAYS]
        index = self._indexes[number % INDEX_SERVERS]
        configure = self.wallets.configure
        configure(node, AddRelay(NamedRelayAddress(relay.public_key, relay.address, "relay")))
        configure(node, AddIndexServer(NamedIndexServerAddress(index.public_key, index.address, "index")))
        return node

    def _befriend(self) -> None:
        for edge in self._edges:
            for one, other in (edge, edge[::-1]):
                node, friend = self._nodes[one], self._nodes[other].public_key
                relay = self._relays[other % RELAYS]
                for request in (
                    AddFriend(friend, (RelayAddress(relay.public_key, relay.address),), f"node {other}"),
                    EnableFriend(friend),
                    SetFriendCurrencyRate(friend, FST, Rate(0, self._rates[edge])),
                    SetFriendCurrencyMaxDebt(friend, FST, LIMIT),
                    OpenFriendCurrency(friend, FST),
                ):
                    self.wallets.configure(node, request)
        for _ in range(SETTLE_TICKS_MAX):
            self._tick()
            if all(self._trades(edge) for edge in self._edges):
                break
        else:
            raise InvariantBroken("not all friends trade in the end")
        for _ in range(5):
            self._tick()  # for the index servers to tell each other

    def _trades(self, edge: Edge) -> bool:
        return all(self._ledger_is_there(one, other) for one, other in (edge, edge[::-1]))

    def _ledger_is_there(self, one: int, other: int) -> bool:
        friend = self._nodes[one].stored.funder.friends.get(self._nodes[other].public_key)
        return (
            friend is not None
            and isinstance(friend.channel, Consistent)
            and FST in friend.channel.token_channel.ledgers
        )

    # Payments and faults.

    def _tick(self) -> None:
        self.world.run(self.world.now + 1)
        self._on_progress(len(self.wallets.done))

    def _pay(self) -> None:
        begun, owed = 0, 0.0
        self._disk.is_faulty = True
        for node in self._nodes:
            if isinstance(node, MaliciousNode):
                node.is_malicious = True
        while begun < self.plan.payments:
            owed += self.plan.per_tick
            while owed >= 1 and begun < self.plan.payments:
                owed -= 1
                begun += 1
                self.wallets.pay(*self._choose_pair(), FST, self.world.chance.randrange(1, 1000))
            self._do_harm()
            self._tick()
            if self._restores:
                self._reset_broken()

    def _choose_pair(self) -> tuple[SimulatedNode, SimulatedNode]:
        chance, count = self.world.chance, self.plan.nodes
        one = chance.randrange(count)
        if self.plan.topology in _IN_A_ROW:
            distance = chance.choice([-1, 1]) * chance.randrange(1, REACH)
            other = (one + distance) % count if self.plan.topology == "ring" else min(count - 1, max(0, one + distance))
            other = other if other != one else (one + 1) % count if one == 0 else one - 1
        else:
            other = chance.randrange(count - 1)
            other += other >= one
        return self._nodes[one], self._nodes[other]

    def _do_harm(self) -> None:
        faults, chance = self.plan.faults, self.world.chance
        for node in self._nodes:
            if node.is_up and chance.random() < faults.crash:
                self._crashes += 1
                node.crash(chance.uniform(0.5, 10))
            if chance.random() < faults.index_change:
                self._replace_index_server(node)
            if faults.asleep and chance.random() < faults.asleep:
                node.sleep(chance.uniform(5, 300))
            if faults.restore:
                self._back_up_or_restore(node)
        servers: list[SimulatedRelay | SimulatedIndexServer] = [*self._relays, *self._indexes]
        for server in servers:
            if server.is_up and chance.random() < faults.server_crash:
                self._crashes += 1
                server.crash(chance.uniform(0.5, 10))
        for end in list(self.world.links):
            if chance.random() < faults.loss:
                end.cut()
            elif chance.random() < faults.silence:
                end.fall_silent()

    def _back_up_or_restore(self, node: SimulatedNode) -> None:
        """Each node has some backups, of all ages, and now and then loses what it has stored."""
        chance, backups = self.world.chance, self._backups[node.public_key]
        if not backups or chance.random() < BACKUP_CHANCE:
            backups.append(node.back_up())
        if len(backups) > BACKUPS_KEPT:
            backups.pop(chance.randrange(1, len(backups)))  # the first one stays
        if chance.random() < self.plan.faults.restore:
            self._restores += 1
            node.restore(chance.choice(backups), chance.uniform(0.5, 10))

    def _replace_index_server(self, node: SimulatedNode) -> None:
        """Add another one, then remove those that were there; either request may be lost in a crash."""
        known = {server.public_key for server in node.stored.index_servers}
        others = [index for index in self._indexes if index.public_key not in known]
        if not others or not node.is_up:
            return
        self._index_changes += 1
        added = self.world.chance.choice(others)
        self.wallets.configure(
            node, AddIndexServer(NamedIndexServerAddress(added.public_key, added.address, "another index"))
        )
        for server in node.stored.index_servers:
            self.wallets.configure(node, RemoveIndexServer(server.public_key))

    def _heal(self) -> None:
        """End all faults, reset broken channels to the terms of the other side, and wait until all payments end."""
        self._disk.is_faulty = False
        for node in self._nodes:
            node.slowness = 1.0
            if isinstance(node, MaliciousNode):
                node.is_malicious = False
                if node.is_up:
                    node.crash(1)
        for _ in range(SETTLE_TICKS_MAX):
            self._tick()
            self._reset_broken()
            if self._restores:
                self._cancel_forgotten()
            if not self.wallets.open and not self._is_anything_broken():
                return
        stuck = Counter(payment.step.value for payment in self.wallets.open.values())
        raise InvariantBroken(f"payments that do not end: {dict(stuck)}")

    def _reset_broken(self) -> None:
        for node in self._nodes:
            for key, friend in node.stored.funder.friends.items():
                channel = friend.channel
                if not isinstance(channel, Inconsistent) or channel.opt_remote_reset_terms is None:
                    continue
                if node.public_key < key and self.world.now % 8 < 1:
                    self._resets += 1
                    token = channel.opt_remote_reset_terms.reset_token
                    self.wallets.configure(node, ResetFriendChannel(key, token))

    def _cancel_forgotten(self) -> None:
        """Sellers cancel what their node, since it was restored, takes for open and nobody will pay."""
        awaited = {payment.invoice_id for payment in self.wallets.open.values()}
        for node in self._nodes:
            for invoice_id in node.stored.funder.open_invoices:
                if invoice_id not in awaited:
                    self.wallets.configure(node, CancelInvoice(invoice_id))

    def _is_anything_broken(self) -> bool:
        return any(
            isinstance(friend.channel, Inconsistent) or not friend.is_heard
            for node in self._nodes
            for friend in node.stored.funder.friends.values()
        )

    # The end.

    def _check_end(self) -> None:
        """Check that nothing is frozen, that both sides of each friendship agree, and that the payments add up."""
        for _ in range(60):
            self._tick()
        income = _income_of(self.wallets.done, self._rate_of)
        total = 0
        for node in self._nodes:
            invariant(len(node.stored.index_servers) > 0, "no owner is left without an index server")
            invariant(not node.stored.funder.open_invoices, "no invoice is left open")
            invariant(not node.stored.pending_since, "no time is kept of what is pending no more")
            net = 0
            for friend in node.stored.funder.friends.values():
                invariant(isinstance(friend.channel, Consistent), "every channel works again")
                if isinstance(friend.channel, Consistent):
                    for ledger in friend.channel.token_channel.ledgers.values():
                        net += ledger.balance
                        invariant(
                            not ledger.pending_local and not ledger.pending_remote, "nothing is frozen in the end"
                        )
            total += net
            if not self._resets:
                earned = income.get(node.public_key, 0)
                invariant(net == earned, f"a node has what it was paid: {net}, not {earned}")
        invariant(total == 0, "the credits of all add up to nothing")

    def _rate_of(self, node: PublicKey, previous: PublicKey) -> int:
        one, other = self._numbers[node], self._numbers[previous]
        return self._rates[(one, other)] if (one, other) in self._rates else self._rates[(other, one)]


def _income_of(
    payments: list[SimulatedPayment], rate_of: Callable[[PublicKey, PublicKey], int]
) -> dict[PublicKey, int]:
    """What each node must have gained: sellers the amount, mediators their rate, buyers minus both."""
    income: Counter[PublicKey] = Counter()
    for payment in payments:
        if payment.outcome is not Outcome.PAID:
            continue
        left = payment.fees
        for previous, mediator in zip(payment.route, payment.route[1:-1], strict=False):
            fee = rate_of(mediator, previous)
            income[mediator] += fee
            left -= fee
        income[payment.buyer.public_key] -= payment.amount + payment.fees
        income[payment.seller.public_key] += payment.amount + left
    return dict(income)


def run(plan: Plan, chance: Chance, on_progress: Callable[[int], object] = lambda ended: None) -> Summary:
    """
    Run a plan; see `Scenario`.

    Raises:
        InvariantBroken: An invariant does not hold, or a payment does not end.
    """
    return Scenario(plan, chance, on_progress).run()
