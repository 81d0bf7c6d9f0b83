"""
Payments of nearly all that the network can carry, through twelve real nodes: each is split, and paid at the first try.

Credit lines and balances are random. What can be carried is a maximum flow, which networkx computes from the balances
that the nodes report.
"""

import asyncio
import functools
import itertools
import random
from contextlib import AsyncExitStack
from pathlib import Path

import networkx

from interop.network import Cast, Network, NodeSpec
from interop.ready import OURS_READY
from offset_ctrl import Node, PayOptions, connect
from offset_ctrl.rules.capacity import direct_capacity, friend_credits
from offset_proto.files import COMMIT, INVOICE, TICKET
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import MultiRoute, RouteCapacityRate
from offset_proto.rate import FREE
from offset_proto.report_view import ReportView
from offset_proto.types import Currency

FST = Currency("FST")

NAMES = "ABCDEFGHIJKL"

PERCENT = 95
"""Of the maximum flow."""

PAYMENTS = 4

Hop = tuple[str, str]


class _Twelve:
    """
    Apps of all nodes, in one process: they make friends, and know what each hop can carry.

    Args:
        network: Its nodes run, and have nothing configured.
        nodes: The app of each.
    """

    def __init__(self, network: Network, nodes: dict[str, Node]) -> None:
        self._network = network
        self.nodes = nodes
        self._keys = {name: node.public_key for name, node in nodes.items()}

    async def make_friends(self, lines: dict[Hop, int], debts: dict[Hop, int]) -> None:
        """Give credit *lines*, of the first to the second, and let the first come to owe the second its debt."""
        relay, index = (TICKET.load(self._network.path(f"{name}.ticket")) for name in ("relay", "index"))
        for node in self.nodes.values():
            await node.add_relay(relay, "relay")
            await node.add_index_server(index, "index")
        tickets = {name: node.friend_ticket() for name, node in self.nodes.items()}
        for name, friend in lines:
            await self.nodes[name].add_friend(tickets[friend], friend)
            await self.nodes[name].enable_friend(friend)
            await self.nodes[name].set_rate(friend, FST)
        for (name, friend), line in lines.items():
            await self._wait_for_credit(name, friend, is_usable=False)
            await self.nodes[name].open_currency(friend, FST)
            await self.nodes[name].set_max_debt(friend, FST, line)
        for hop in lines:
            await self._wait_for_credit(*hop, is_usable=True)
        await asyncio.gather(*(self._owe(*hop, amount) for hop, amount in debts.items()))

    async def _wait_for_credit(self, name: str, friend: str, *, is_usable: bool) -> None:
        def is_there(report: ReportView) -> bool:
            found = [credit for credit in friend_credits(report.friends, FST) if credit.name == friend]
            return bool(found) and (found[0].is_usable or not is_usable)

        await self.nodes[name].wait_until(is_there)

    async def _owe(self, debtor: str, creditor: str, amount: int) -> None:
        buyer, seller = self.nodes[debtor], self.nodes[creditor]
        route = RouteCapacityRate(FriendsRoute((buyer.public_key, seller.public_key)), amount, FREE)
        invoice = await seller.create_invoice(FST, amount)
        collect = functools.partial(seller.accept_commit, invoice)
        await buyer.pay(invoice, collect, PayOptions(routes=(MultiRoute((route,)),)))

    def capacities(self) -> dict[Hop, int]:
        """Credits that each hop can carry, as its receiver says; nothing is frozen."""
        found = {}
        for receiver, node in self.nodes.items():
            for credit in friend_credits(node.report.friends, FST):
                assert (credit.sending, credit.receiving) == (0, 0)
                found[credit.name, receiver] = credit.receive
        return found

    async def wait_for_index(self) -> None:
        """Until the index server knows what each hop can carry."""
        for _ in range(300):
            if await self._is_known():
                return
            await asyncio.sleep(0.1)
        raise TimeoutError("the index server does not know what the hops can carry")

    async def _is_known(self) -> bool:
        for (sender, receiver), capacity in self.capacities().items():
            answer = await self.nodes[sender].find_routes(FST, 1, self._keys[receiver])
            if direct_capacity(answer) != capacity:
                return False
        return True

    async def pay(self, buyer: str, seller: str, amount: int) -> int:
        """One command pays, the seller collects, and each hop has carried what was planned; returns the parts."""
        payee, label = self.nodes[seller], f"{buyer}{seller}"
        invoice = await payee.create_invoice(FST, amount)
        plan = await self.nodes[buyer].plan_payment(invoice)
        assert plan.failure is None
        assert plan.total == amount
        expected = self.capacities()
        names = {key: name for name, key in self._keys.items()}
        for part in plan.parts:
            for sender, receiver in itertools.pairwise(names[key] for key in part.public_keys):
                expected[sender, receiver] -= part.dest_payment
                expected[receiver, sender] += part.dest_payment
        bill, payment, commit, receipt = (
            self._network.path(f"{label}.{kind}") for kind in ("invoice", "payment", "commit", "receipt")
        )
        INVOICE.save(bill, invoice)
        command = ("buyer", "pay-invoice", "-i", bill, "-p", payment, "-c", commit)
        await asyncio.to_thread(self._network.stctrl, buyer, *command)
        await payee.accept_commit(invoice, COMMIT.load(commit))
        await asyncio.to_thread(self._network.wait_for_receipt, buyer, payment, receipt)
        for node in self.nodes.values():
            await node.wait_until(_is_still)
        assert self.capacities() == expected
        return len(plan.parts)


def _is_still(report: ReportView) -> bool:
    return not any(credit.sending or credit.receiving for credit in friend_credits(report.friends, FST))


def _draw(chance: random.Random) -> tuple[dict[Hop, int], dict[Hop, int]]:
    """Credit lines of a ring with as many chords, and a debt within the line of each friendship."""
    ring = {tuple(sorted((name, NAMES[number - 1]))) for number, name in enumerate(NAMES)}
    chords = [pair for pair in itertools.combinations(NAMES, 2) if pair not in ring]
    lines: dict[Hop, int] = {}
    debts: dict[Hop, int] = {}
    for one, other in sorted(ring) + sorted(chance.sample(chords, len(NAMES))):
        lines |= {(one, other): chance.randrange(50, 300), (other, one): chance.randrange(50, 300)}
        debtor, creditor = chance.choice([(one, other), (other, one)])
        debts[debtor, creditor] = chance.randrange(1, lines[creditor, debtor] + 1)
    return lines, debts


def test_nearly_all_that_the_network_carries(tmp_path: Path) -> None:
    """Payments of 95 % of the maximum flow, one after another, between nodes that are no friends; all are split."""
    chance = random.Random(16)
    lines, debts = _draw(chance)

    async def scenario(network: Network) -> None:
        async with AsyncExitStack() as stack:
            nodes = {
                name: await stack.enter_async_context(
                    connect(network.path(f"{name}.ticket"), network.path(f"{name}-app.ident"))
                )
                for name in NAMES
            }
            twelve = _Twelve(network, nodes)
            await twelve.make_friends(lines, debts)
            parts = []
            strangers = [pair for pair in itertools.permutations(NAMES, 2) if pair not in lines]
            for buyer, seller in chance.sample(strangers, PAYMENTS):
                await twelve.wait_for_index()
                graph = networkx.DiGraph()
                graph.add_weighted_edges_from(((*hop, most) for hop, most in twelve.capacities().items()), "capacity")
                most = networkx.maximum_flow_value(graph, buyer, seller)
                parts.append(await twelve.pay(buyer, seller, most * PERCENT // 100))
            assert max(parts) > 2
            assert min(parts) > 1

    with Network(tmp_path, Cast(OURS_READY)) as network:
        network.add_relay("relay")
        network.add_index_servers(["index"])
        for name in NAMES:
            network.start_node(NodeSpec(name, "relay", "index"))
        asyncio.run(scenario(network))
