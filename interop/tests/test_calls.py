"""What a payment costs a node, in calls and not in time: what was won is not lost again unseen."""

from typing import Final

import pytest

from bench.calls import KINDS, NODES, count_calls

PAYMENTS: Final = 100

ROOM: Final = 1.03
"""Python's versions do not make quite the same calls."""

COSTS: Final = """
in flight  node      calls encoded decoded hashes signatures checks sealed opened statements syncs
        1  buyer      3293      37      22     16          2      3     13      8         18     5
        1  mediator   4005      32      20     26          4      6     12      8         21     4
        1  seller     2631      22      16     17          3      4      8      6         14     4
       50  buyer      1840    24.6    15.1   8.15       0.43   1.43   8.48   5.27       14.1  1.06
       50  mediator   1640    9.95    7.25   10.5       0.85   2.85   3.74    2.9       14.9  0.85
       50  seller     1333    11.6     9.1    9.3       1.43   2.43    4.1   3.25       11.8  1.06
"""
"""For one payment. A change that takes less writes its own numbers down here; one that takes more has to say why."""


def _costs(in_flight: int) -> dict[str, dict[str, float]]:
    _, *rows = COSTS.strip().splitlines()
    cells = [row.split() for row in rows]
    return {
        name: dict(zip(KINDS, map(float, costs), strict=True))
        for number, name, *costs in cells
        if int(number) == in_flight
    }


@pytest.mark.parametrize("in_flight", [1, 50])
def test_a_payment_costs_no_more_than_it_did(in_flight: int) -> None:
    """Calls of functions, messages, hashes, signatures, statements and syncs, as buyer, mediator and seller."""
    most = _costs(in_flight)
    counted = count_calls(PAYMENTS, in_flight)
    assert set(counted) == set(most) == set(NODES)
    grown = {
        f"{name}: {kind}": (counts[kind], most[name][kind])
        for name, counts in counted.items()
        for kind in KINDS
        if counts[kind] > ROOM * most[name][kind]
    }
    assert not grown


def test_what_a_payment_can_not_do_without_is_counted() -> None:
    """So that nothing looks cheap because it is not seen."""
    counted = count_calls(10, 1)
    assert counted["seller"]["signatures"] >= 2  # of the response, and of tokens
    assert all(counts["checks"] >= 2 for counts in counted.values())  # of tokens and of the response
    assert all(counts[kind] > 0 for counts in counted.values() for kind in KINDS)
    assert counted["mediator"]["checks"] > counted["buyer"]["checks"]  # it has two friends
