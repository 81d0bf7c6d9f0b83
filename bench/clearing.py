"""
A year of a community: its members trade at random, and each clears once a week on its own, by circles.

From Monday to Saturday members buy from each other, over routes that an index server finds; on Sunday they clear, one
after another, in an order that chance draws, with what ``stctrl buyer clear`` runs. The planner of a community
(`offset_ctrl.clearing`) says on the same Sunday, before anybody clears, how much of the debts a set-off would take off.

The same year passes three times: nobody clears, everybody clears alone, and the community pays the planner's circles.
Whether a trade finds a route depends on what was cleared before; who would buy what from whom does not.
"""

import asyncio
import random
from dataclasses import dataclass
from typing import Final

from bench.community import CURRENCY, Community, Hop, Member
from bench.measured import Figures
from offset_ctrl.clearing.plan import make_plan
from offset_ctrl.rules.routes import Part
from offset_ctrl.sdk.circles import ClearedCircle
from offset_proto.messages.payment import Rate

__all__ = ["LIVES", "Life", "Year", "measure_clearing"]

TRADING_DAYS: Final = 6

FEES_MAX: Final = 2**64
"""Of the planner's circles; those who clear alone pay what index servers say, too."""


@dataclass(frozen=True)
class Life:
    """
    What a community is like. Members are friends of the three next ones on either side, a tenth of them of anybody.

    Attributes:
        members: How many there are.
        trades_each_day: In the whole community; amounts are log-normal, with a median of 20 credits.
        with_friends: Members buy from friends only, not from anybody.
        line: Median of the credit lines, in credits; log-normal, with a standard deviation of 1.
        mul_max: Mediators charge up to this part of what they forward, in 2**-32; 0: nothing.
    """

    members: int = 200
    trades_each_day: int = 60
    with_friends: bool = False
    line: int = 148
    mul_max: int = 0


LIVES: Final = {
    "trade with anybody": Life(),
    "trade with friends": Life(with_friends=True),
    "short credit lines": Life(line=40),
    "fees up to 1/64": Life(mul_max=2**26),
}


class Year:
    """
    A community as it is at some moment of its year.

    Args:
        life: What it is like.
        seed: Of everything that chance draws.
    """

    def __init__(self, life: Life, seed: int) -> None:
        self._life = life
        self._trades, self._order = random.Random(f"{seed} trades"), random.Random(f"{seed} order")
        chance = random.Random(seed)
        lines: dict[Hop, int] = {}
        rates: dict[Hop, Rate] = {}
        for one, other in sorted(_pairs(life.members, chance)):
            for hop in ((one, other), (other, one)):
                lines[hop] = int(life.line * chance.lognormvariate(0, 1))
                rates[hop] = Rate(chance.randrange(life.mul_max + 1), 0)
        self.community = Community(lines, rates)

    def trade(self) -> tuple[int, int]:
        """The trades of a week: how many there were, and how many were paid."""
        chance, friends = self._trades, self.community.friends
        wanted = TRADING_DAYS * self._life.trades_each_day
        paid = 0
        for _ in range(wanted):
            buyer, other = chance.sample(range(self._life.members), 2)
            seller = friends[buyer][other % len(friends[buyer])] if self._life.with_friends else other
            paid += self.community.trade(buyer, seller, max(1, int(20 * chance.lognormvariate(0, 0.7))))
        return wanted, paid

    def sunday(self) -> list[int]:
        """The members, in the order in which they clear."""
        return self._order.sample(range(self._life.members), self._life.members)

    def clear(self, member: int) -> tuple[ClearedCircle, ...]:
        """Let *member* clear whatever it can clear on its own."""
        return asyncio.run(Member(self.community, member).clear())

    def planned(self) -> int:
        """Credits of all debts that the planner would clear now."""
        plan = make_plan(self.community.exported(), CURRENCY, fees_max=FEES_MAX)
        return plan.total_before - plan.total_after

    def pay_plan(self) -> None:
        """Pay the planner's circles."""
        for number, circle in enumerate(make_plan(self.community.exported(), CURRENCY, fees_max=FEES_MAX).payments):
            assert self.community.pay((Part(0, circle.route, circle.amount, circle.fees),)), f"circle {number}"


def _pairs(members: int, chance: random.Random) -> set[Hop]:
    pairs = set()
    for member in range(members):
        for step in (1, 2, 3):
            other = (member + step) % members
            if chance.random() < 0.1:
                other = chance.choice([one for one in range(members) if one != member])
            pairs.add((min(member, other), max(member, other)))
    return pairs


def measure_clearing(life: Life, seed: int, weeks: int) -> Figures:
    """What everybody clears alone, of what the planner would; and what becomes of debts and trades."""
    alone, together, without = (Year(life, seed) for _ in range(3))
    paid = dict.fromkeys((alone, together, without), 0)
    trades = cleared = planned = circles = refused = 0
    for _ in range(weeks):
        for year in paid:
            wanted, done = year.trade()
            paid[year] += done
        trades += wanted
        planned += alone.planned()
        before = alone.community.total
        for member in alone.sunday():
            ended = alone.clear(member)
            circles += len(ended)
            refused += sum(circle.failure is not None for circle in ended)
        cleared += before - alone.community.total
        together.pay_plan()
    return {
        "cleared, of what the planner clears": cleared / planned,
        "circles for a member and week": (circles - refused) / life.members / weeks,
        "circles refused": refused / max(1, circles),
        "debts at the end, nobody clears": without.community.total,
        "debts at the end, each alone": alone.community.total,
        "debts at the end, by the planner": together.community.total,
        "trades paid, nobody clears": paid[without] / trades,
        "trades paid, each alone": paid[alone] / trades,
        "trades paid, by the planner": paid[together] / trades,
    }
