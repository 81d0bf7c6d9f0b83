"""The plan as JSON, written by the treasurer and read by who pays. Amounts are decimal strings: they have 128 bits."""

from typing import Any

from offset_ctrl.clearing.exports import Member
from offset_ctrl.clearing.plan import Plan
from offset_proto.errors import InvalidInput
from offset_proto.message import frozen
from offset_proto.message_json import SNAKE_CASE, JsonForm, parse_json
from offset_proto.text import format_b64
from offset_proto.types import U32, U32_MAX, U128, Currency, PublicKey, is_route_valid

__all__ = ["INCONSISTENT", "PlannedCircle", "circles_of", "plan_as_json"]

INCONSISTENT = (
    "their channel is inconsistent, so that no balance is agreed; stctrl config reset-friend -n FRIEND mends it"
)
"""Why nothing counts between two friends, and what they can do about it."""


def plan_as_json(plan: Plan) -> dict[str, Any]:
    """
    The whole plan: totals, members with the circles that each has to pay, and what could not be counted or planned.

    A circle's number is its place in the order of payments, from 1.
    """
    names = {member.public_key: member.name for member in plan.members}
    return {
        "currency": str(plan.currency),
        "debts": {"before": str(plan.total_before), "after": str(plan.total_after), "clearable": str(plan.most)},
        "members": _members(plan, names),
        "disagreements": [
            {
                "between": [entry.first.name, entry.second.name],
                "balances": [None if b is None else str(b) for b in (entry.first_balance, entry.second_balance)],
            }
            for entry in plan.comparison.disagreements
        ],
        "hindrances": [
            *(
                {"between": [names[debt.debtor], names[debt.creditor]], "reason": debt.hindrance.value}
                for debt in plan.comparison.debts
                if debt.hindrance is not None
            ),
            *(
                {"between": [first.name, second.name], "reason": INCONSISTENT}
                for first, second in plan.comparison.inconsistent
            ),
        ],
        "left_out": [
            {
                "members": [names[key] for key in entry.circle.members],
                "amount": str(entry.amount),
                "reason": entry.reason.value,
            }
            for entry in plan.left_out
        ],
    }


def _members(plan: Plan, names: dict[PublicKey, str]) -> list[dict[str, Any]]:
    circles: dict[PublicKey, list[dict[str, Any]]] = {key: [] for key in names}
    for number, payment in enumerate(plan.payments, start=1):
        circles[payment.payer].append(
            {
                "number": number,
                "amount": str(payment.amount),
                "fees": str(payment.fees),
                "route": [format_b64(key) for key in payment.route],
                "names": [names[key] for key in payment.route],
            }
        )
    positions = plan.positions()
    return [
        {
            "name": member.name,
            "public_key": format_b64(member.public_key),
            "owes": {when: str(at.owes) for when, at in _moments(positions[member.public_key])},
            "is_owed": {when: str(at.is_owed) for when, at in _moments(positions[member.public_key])},
            "friends_without_export": _friends_outside(member, names),
            "circles": circles[member.public_key],
        }
        for member in plan.members
    ]


def _moments(positions: tuple[Any, Any]) -> list[tuple[str, Any]]:
    return list(zip(("before", "after"), positions, strict=True))


def _friends_outside(member: Member, names: dict[PublicKey, str]) -> int:
    """With how many friends *member* has a balance that does not count, since they exported nothing."""
    return sum(1 for key, side in member.sides.items() if key not in names and side.balance)


@frozen
class PlannedCircle:
    """One circle of a plan as its payer reads it; *names* are those of the *route*, amounts in credits."""

    number: U32
    amount: U128
    fees: U128
    route: tuple[PublicKey, ...]
    names: tuple[str, ...]

    @property
    def way(self) -> str:
        """The names from the payer around to the payer."""
        return " > ".join(self.names)


@frozen
class _PlannedMember:
    public_key: PublicKey
    circles: tuple[PlannedCircle, ...]


@frozen
class _PlanFile:
    currency: Currency
    members: tuple[_PlannedMember, ...]


_PLAN_FILE = JsonForm(_PlanFile, camel_case=SNAKE_CASE)


def circles_of(text: str, payer: PublicKey) -> tuple[Currency, tuple[PlannedCircle, ...]]:
    """
    What *payer* has to pay, in this order, by a plan that `plan_as_json` made.

    Raises:
        InvalidInput: *text* is no plan, *payer* is not in it, or a circle of *payer* can not be paid.
    """
    plan = _PLAN_FILE.from_value(parse_json(text))
    part = next((member for member in plan.members if member.public_key == payer), None)
    if part is None:
        raise InvalidInput(f"the node {format_b64(payer)} is not among the members")
    if len({circle.number for circle in part.circles}) < len(part.circles):
        raise InvalidInput("two circles of one member have one number")
    for circle in part.circles:
        if not is_route_valid(circle.route) or {circle.route[0], circle.route[-1]} != {payer}:
            raise InvalidInput(f"circle {circle.number}: the route does not lead from {format_b64(payer)} back to it")
        if len(circle.names) != len(circle.route):
            raise InvalidInput(f"circle {circle.number}: names and route are not of one length")
        if circle.fees > U32_MAX:
            raise InvalidInput(f"circle {circle.number}: fees are at most {U32_MAX}")
    return plan.currency, part.circles
