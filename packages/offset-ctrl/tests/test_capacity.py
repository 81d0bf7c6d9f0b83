"""How much can be paid and received now: the rules, the SDK and stctrl info capacity."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offset_crypto.aio import Ticker
from offset_crypto.identity import Identity
from offset_ctrl import Node, RoutesUnavailable, UnknownName, connect
from offset_ctrl.connection.client import NodeConnection, open_node
from offset_ctrl.programs.stctrl.capacity import capacity
from offset_ctrl.programs.stctrl.session import CommandError
from offset_ctrl.rules.capacity import QUESTIONS_MAX, Largest, LargestSearch, friend_credits
from offset_ctrl.sdk.capacity import FRIENDS_ASKED_MAX
from offset_ctrl.testing import ScriptedNode, build_friend, build_report
from offset_proto.messages.app import AppPermissions
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import MultiRoute, RequestRoutes, RouteCapacityRate
from offset_proto.messages.payment import Rate
from offset_proto.messages.report import (
    CurrencyConfigReport,
    CurrencyReport,
    FriendLivenessReport,
    FriendReport,
    FriendStatusReport,
    McBalanceReport,
)
from offset_proto.text import format_b64
from offset_proto.types import U128_MAX, Currency, PrivateKey, PublicKey

NODE, APP = (Identity(PrivateKey(bytes([n]) * 32)) for n in (1, 2))
FST = Currency("FST")
US, BOB, CAROL, SELLER = NODE.public_key, *(PublicKey(bytes([n]) * 32) for n in (5, 6, 7))


def _friend(
    name: str, max_debt: int, balance: McBalanceReport, *, is_open: bool = True, **changes: Any
) -> FriendReport:
    config = CurrencyConfigReport(FST, Rate(0, 0), max_debt, is_open)
    return build_friend(name, CurrencyReport(FST, balance), currency_configs=(config,), **changes)


FRIENDS = {
    BOB: _friend("bob", 200, McBalanceReport(50, 10, 30)),
    CAROL: _friend("carol", 100, McBalanceReport(-40, 0, 0)),
}


def _node(friends: dict[PublicKey, FriendReport]) -> ScriptedNode:
    return ScriptedNode(NODE, build_report(US, friends))


def _answers(capacities: dict[tuple[PublicKey, ...], int]) -> Callable[[RequestRoutes], tuple[MultiRoute, ...]]:
    """An index server with single routes: that of the smallest capacity that suffices."""

    def answer(asked: RequestRoutes) -> tuple[MultiRoute, ...]:
        fit = [
            (amount, keys)
            for keys, amount in capacities.items()
            if keys[-1] == asked.destination and amount >= asked.capacity
        ]
        return tuple(
            MultiRoute((RouteCapacityRate(FriendsRoute((US, *keys)), amount, Rate(0, 0)),))
            for amount, keys in sorted(fit)[:1]
        )

    return answer


def _run(fake: ScriptedNode, body: Callable[[Node], Awaitable[None]]) -> None:
    async def main() -> None:
        ticker = Ticker(0.03)
        async with asyncio.timeout(20), fake.serve(ticker) as ticket, connect(ticket, APP, ticker=ticker) as node:
            await body(node)

    asyncio.run(main())


def _command(fake: ScriptedNode, to: str | None, *, as_json: bool = False) -> None:
    async def main() -> None:
        ticker = Ticker(0.03)
        async with (
            asyncio.timeout(20),
            fake.serve(ticker) as ticket,
            open_node(ticket.address, ticket.public_key, APP, ticker) as node,
        ):
            assert isinstance(node, NodeConnection)
            await capacity(node, "FST", to, as_json=as_json)

    asyncio.run(main())


# What can be received.


def test_what_can_be_received() -> None:
    """The values of the specification's example; what we owe a friend can come in beyond its limit."""
    bob, carol = friend_credits(FRIENDS, FST)
    assert (bob.receive, carol.receive) == (120, 140)
    assert (bob.balance, bob.sending, bob.receiving) == (50, 10, 30)
    assert friend_credits(FRIENDS, Currency("USD")) == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"is_open": False},
        {"liveness": FriendLivenessReport.OFFLINE},
        {"status": FriendStatusReport.DISABLED},
    ],
)
def test_a_friend_that_carries_nothing_now(changes: dict[str, Any]) -> None:
    """It is listed with its balance, as the credit is there; nothing can pass."""
    (bob,) = friend_credits({BOB: _friend("bob", 200, McBalanceReport(50, 0, 0), **changes)}, FST)
    assert (bob.is_usable, bob.receive, bob.balance) == (False, 0, 50)


def test_a_limit_that_was_lowered() -> None:
    """The friend owes more than it may: nothing can be received, and not less than nothing."""
    (bob,) = friend_credits({BOB: _friend("bob", 10, McBalanceReport(50, 0, 0))}, FST)
    assert bob.receive == 0


# The search for the largest amount.


def _find(carries: Callable[[int], tuple[MultiRoute, ...]], most: int | None) -> tuple[Largest, int]:
    search, asked = LargestSearch(most), 0
    while (amount := search.question()) is not None:
        asked += 1
        search.answered(amount, carries(amount))
    return search.largest, asked


edges = st.dictionaries(
    st.tuples(st.integers(0, 5), st.integers(0, 5)).filter(lambda pair: pair[0] != pair[1]),
    st.integers(1, 200),
    max_size=20,
)


@given(edges, st.booleans())
def test_it_finds_the_maximum_flow(graph: dict[tuple[int, int], int], is_bounded: bool) -> None:
    """Against a server that puts routes together, on any network: never more than the flow, and all of it if exact."""
    network = nx.DiGraph()
    network.add_nodes_from(range(6))
    network.add_weighted_edges_from(((*pair, amount) for pair, amount in graph.items()), weight="capacity")
    flow = nx.maximum_flow_value(network, 0, 5)

    def carries(amount: int) -> tuple[MultiRoute, ...]:
        if amount > flow:
            return ()
        return (MultiRoute((RouteCapacityRate(FriendsRoute((US, SELLER)), amount, Rate(0, 0)),)),)

    most = sum(amount for (tail, _), amount in graph.items() if tail == 0) if is_bounded else None
    largest, asked = _find(carries, most)
    assert asked <= QUESTIONS_MAX
    assert largest.amount <= flow
    if is_bounded:  # 12 questions tell 1000 amounts apart
        assert largest == Largest(flow, is_exact=True)
    if largest.is_exact:
        assert largest.amount == flow


def test_fees_are_paid_out_of_the_capacity() -> None:
    """A route for 100 with a fee of 1 brings 99, and a question for 100 is refused however it is answered."""
    route = (MultiRoute((RouteCapacityRate(FriendsRoute((US, BOB, SELLER)), 100, Rate(0, 1)),)),)
    largest, asked = _find(lambda amount: route if amount <= 100 else (), 100)
    assert largest == Largest(99, is_exact=True)
    assert asked == 1


def test_an_amount_without_end() -> None:
    """A server that carries whatever is asked for: the search ends, and says that there may be more."""

    def anything(amount: int) -> tuple[MultiRoute, ...]:
        return (MultiRoute((RouteCapacityRate(FriendsRoute((US, SELLER)), amount, Rate(0, 0)),)),)

    largest, asked = _find(anything, None)
    assert largest == Largest(2 ** (QUESTIONS_MAX - 1), is_exact=False)
    assert asked == QUESTIONS_MAX
    assert _find(anything, U128_MAX) == (Largest(U128_MAX, is_exact=True), 1)


# The SDK.


def test_the_verb() -> None:
    """By friend, all together, and to somebody who is further away."""
    fake = _node(FRIENDS)
    fake.routes = _answers({(BOB,): 70, (CAROL,): 25, (BOB, SELLER): 60, (CAROL, SELLER): 20})

    async def body(node: Node) -> None:
        found = await node.capacity("FST", SELLER)
        assert found.pay == {BOB: 70, CAROL: 25}
        assert (found.total_pay, found.total_receive) == (95, 260)
        assert found.largest == Largest(60, is_exact=True)
        assert (await node.capacity("FST")).largest is None
        assert (await node.capacity("FST", "bob")).largest == Largest(70, is_exact=True)
        with pytest.raises(UnknownName):
            await node.capacity("FST", "eve")

    _run(fake, body)


def test_without_an_index_server() -> None:
    """What the report says is there; what only a server knows is not, and asking for it is an error."""
    fake = _node(FRIENDS)
    fake.routes = lambda asked: None

    async def body(node: Node) -> None:
        found = await node.capacity("FST")
        assert (found.pay, found.total_pay, found.total_receive) == ({}, None, 260)
        with pytest.raises(RoutesUnavailable):
            await node.capacity("FST", SELLER)

    _run(fake, body)


def test_many_friends() -> None:
    """However many there are, the number of questions has a limit; then the sum is not known."""
    keys = [PublicKey(bytes([n]) * 32) for n in range(10, 10 + FRIENDS_ASKED_MAX + 5)]
    fake = _node({key: _friend(f"{key[0]}", 100, McBalanceReport(0, 0, 0)) for key in keys})
    fake.routes = _answers({(key,): 10 for key in keys})

    async def body(node: Node) -> None:
        found = await node.capacity("FST")
        assert len(found.pay) == len(fake.asked(RequestRoutes)) == FRIENDS_ASKED_MAX
        assert found.total_pay is None

    _run(fake, body)


# The command.


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    """A row for each friend, a sum, and what can arrive at the destination."""
    fake = _node(FRIENDS)
    fake.routes = _answers({(BOB,): 70, (CAROL,): 25, (BOB, SELLER): 60})
    _command(fake, format_b64(SELLER))
    out, err = capsys.readouterr()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in out.splitlines() if line.startswith("|")]
    assert cells[1:] == [
        ["bob", "70", "120", "50", "200", "10 out, 30 in"],
        ["carol", "25", "140", "-40", "100", "0 out, 0 in"],
        ["all", "95", "260", "", "", ""],
    ]
    assert out.endswith(f"To {format_b64(SELLER)} can be paid now: 60 FST\n")
    assert err == ""


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Amounts are decimal strings, and what is not known is null."""
    fake = _node(FRIENDS)
    fake.permissions = AppPermissions(routes=False, buyer=False, seller=False, config=False)
    _command(fake, None, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert [friend["pay"] for friend in found["friends"]] == [None, None]
    assert (found["pay"], found["receive"], found["largest"]) == (None, "260", None)
    assert fake.asked(RequestRoutes) == []


@pytest.mark.parametrize(
    ("to", "may_ask", "reason"),
    [("eve", True, "FriendNameNotFound"), ("bob", False, "permission 'routes'"), ("bob", True, "AppRoutesError")],
)
def test_what_can_not_be_told(to: str, may_ask: bool, reason: str) -> None:
    """No such friend or key, no permission, no index server."""
    fake = _node(FRIENDS)
    fake.permissions = AppPermissions(routes=may_ask, buyer=True, seller=True, config=True)
    fake.routes = lambda asked: None
    with pytest.raises(CommandError, match=reason):
        _command(fake, to)
