"""Which routes to pay over. Spec 06 §8.1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offset_ctrl.rules.routes import RouteChoice, choose_routes
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import MultiRoute, RouteCapacityRate
from offset_proto.messages.payment import Rate
from offset_proto.rate import FREE, max_payable
from offset_proto.types import PublicKey

ROUTE = FriendsRoute((PublicKey(bytes(32)), PublicKey(b"\x01" * 32)))
VECTORS = [(100, Rate(0x12345678, 1)), (200, Rate(0x00100000, 5)), (300, Rate(0x20000000, 20))]


def _multi_route(*parts: tuple[int, Rate]) -> MultiRoute:
    return MultiRoute(tuple(RouteCapacityRate(ROUTE, capacity, rate) for capacity, rate in parts))


def _shares(choice: RouteChoice | None) -> list[tuple[int, int]] | None:
    return None if choice is None else [(part.route_index, part.dest_payment) for part in choice.parts]


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (300, [(0, 14), (1, 116), (2, 170)]),
        (534, [(0, 92), (1, 194), (2, 248)]),
        (535, None),
        (601, None),
        (249, [(1, 97), (2, 152)]),
        (100, [(1, 23), (2, 77)]),
        (57, [(1, 1), (2, 56)]),
        (1, [(2, 1)]),
        (0, [(2, 0)]),
    ],
)
def test_recorded_splits(amount, expected):
    """The amounts are split as the values in the specification say."""
    assert _shares(choose_routes((_multi_route(*VECTORS),), amount)) == expected


def test_parts_of_nothing_are_dropped():
    """D77: the original makes transactions of zero credits."""
    assert _shares(choose_routes((_multi_route((7, FREE), (3, FREE)),), 5)) == [(0, 5)]
    assert _shares(choose_routes((_multi_route((5, FREE), (5, FREE)),), 1)) == [(0, 1)]


def test_extra_fees():
    """Offered on every route with a mediator, within its capacity; a friend is paid directly without."""
    through = FriendsRoute((PublicKey(bytes(32)), PublicKey(b"\x01" * 32), PublicKey(b"\x02" * 32)))
    mediated = MultiRoute(tuple(RouteCapacityRate(through, 50, Rate(0, 1)) for _ in range(2)))
    choice = choose_routes((mediated,), 40, 5)
    assert choice is not None
    assert [(part.dest_payment, part.fees) for part in choice.parts] == [(20, 6), (20, 6)]
    choice = choose_routes((mediated,), 80, 5)
    assert choice is not None
    assert [(part.dest_payment, part.fees) for part in choice.parts] == [(40, 6), (40, 6)]
    assert choose_routes((mediated,), 89, 5) is None
    assert choose_routes((mediated,), 89) is not None
    direct = choose_routes((_multi_route((50, FREE)),), 50, 5)
    assert direct is not None
    assert direct.total_fees == 0


def test_first_multi_route_that_carries_the_amount():
    """Empty ones and too small ones are passed by; none is none."""
    small, large = _multi_route((5, FREE)), _multi_route((50, Rate(0, 1)))
    choice = choose_routes((_multi_route(), small, large), 10)
    assert choice is not None
    assert (choice.multi_route_index, choice.total_fees) == (2, 1)
    assert choose_routes((), 0) is None
    assert choose_routes((_multi_route(), small), 6) is None


_parts = st.lists(
    st.tuples(st.integers(0, 2**40), st.builds(Rate, st.integers(0, 2**32 - 1), st.integers(0, 2**20))), max_size=6
)


@given(parts=_parts, amount=st.integers(0, 2**42))
def test_a_split_pays_exactly_and_fits(parts, amount):
    """Whatever the server offers: the sum is the amount, and each part with its fees fits its route."""
    choice = choose_routes((_multi_route(*parts),), amount)
    most = [max_payable(rate, capacity) for capacity, rate in parts]
    assert (choice is None) == (amount > sum(most) or not parts)
    if choice is not None:
        assert sum(part.dest_payment for part in choice.parts) == amount
        for part in choice.parts:
            assert part.dest_payment <= most[part.route_index]
            assert part.dest_payment == 0 or part.dest_payment + part.fees <= parts[part.route_index][0]
