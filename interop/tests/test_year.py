"""A small community over some weeks: those who clear alone make nothing worse for anybody, whatever the lines are."""

import pytest

from bench.clearing import Life, Year, measure_clearing
from bench.community import Hop

WEEKS = 8

SMALL = {
    "ample lines": Life(members=20, trades_each_day=10),
    "full lines": Life(members=20, trades_each_day=10, line=15),
    "fees": Life(members=20, trades_each_day=10, mul_max=2**27),
}


def _check_clearing(before: dict[Hop, int], year: Year, member: int, fees: int) -> None:
    community = year.community
    for (creditor, debtor), owed in community.owed.items():
        assert owed == -community.owed[debtor, creditor]
        assert owed <= community.lines[creditor, debtor]
        if creditor == member:  # each of its balances is nearer to 0, on the same side, but for fees that come back
            assert min(before[creditor, debtor], 0) <= owed <= max(before[creditor, debtor], fees)
    gained = {
        one: sum(community.owed[one, other] - before[one, other] for other in friends)
        for one, friends in community.friends.items()
    }
    cost = -gained.pop(member)
    assert 0 <= cost <= fees  # what mediators do not take of what was offered comes back
    assert min(gained.values()) >= 0
    assert sum(gained.values()) == cost


@pytest.mark.parametrize("name", SMALL)
def test_what_is_cleared_alone(name: str) -> None:
    """
    Nobody else's position changes but by fees, no line is passed, and no own debt grows or turns round.

    All together clear at least 85 % of what the planner of the community would on the same days.
    """
    year = Year(SMALL[name], 7)
    circles = fees_of_all = refused = cleared = planned = 0
    for _ in range(WEEKS):
        wanted, paid = year.trade()
        refused += wanted - paid
        planned += year.planned()
        cleared += year.community.total
        for member in year.sunday():
            before = dict(year.community.owed)
            ended = [one.circle for one in year.clear(member) if one.failure is None]
            fees = sum(circle.fees for circle in ended)
            _check_clearing(before, year, member, fees)
            circles, fees_of_all = circles + len(ended), fees_of_all + fees
        cleared -= year.community.total
    assert cleared >= 0.85 * planned
    assert circles > WEEKS  # otherwise there was nothing to see
    assert (refused > WEEKS) == (name == "full lines")
    assert (fees_of_all > 0) == (name == "fees")


def test_the_measured_year() -> None:
    """Debts are fewer with clearing than without, and a seed says everything."""
    figures = measure_clearing(SMALL["ample lines"], 7, 2)
    assert figures["debts at the end, each alone"] < figures["debts at the end, nobody clears"]
    assert figures["debts at the end, by the planner"] < figures["debts at the end, nobody clears"]
    assert measure_clearing(SMALL["ample lines"], 7, 2) == figures
