"""Payments of a node to itself, which make what friends owe each other smaller."""

from msgspec import Struct

from offset_ctrl.sdk.circles import ClearedCircle
from offset_ctrl.sdk.node import Node
from offset_ctrl.sdk.view import FriendName
from offset_ctrl.web import views
from offset_ctrl.web.api.names import friend_key
from offset_ctrl.web.api.waiting import WaitSeconds, wait_until
from offset_ctrl.web.circle_forms import CirclePlan, CircleRun, NewClearing, NewRebalancing, circle_form
from offset_ctrl.web.circle_runs import CircleRunRow, Tell
from offset_ctrl.web.grants import Scope
from offset_ctrl.web.operations import Call, Section
from offset_ctrl.web.problems import rejection
from offset_proto.entered import parse_currency

__all__ = ["section"]

section = Section("circles", "Payments of the node to itself, so that debts on both sides shrink.")


class RunQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """How long to wait for the end of a run."""

    wait: WaitSeconds = 0


@section.post("/nodes/{node}/circles/rebalance/plan", may=(Scope.READ, Scope.PAY))
async def plan_rebalancing(call: Call, body: NewRebalancing) -> CirclePlan:
    """The circle that would be paid now. Only routes are asked for."""
    node, ends = call.node.node, _ends(call.node.node, body)
    amount, fees_max = views.read_amount(body.amount), _fees_max(body)
    circle = await node.plan_rebalance(body.currency, amount, *ends, fees_max=fees_max)
    return CirclePlan(circles=[circle_form(circle)], fees=str(circle.fees))


@section.post("/nodes/{node}/circles/clear/plan", may=(Scope.READ, Scope.PAY))
async def plan_clearing(call: Call, body: NewClearing) -> CirclePlan:
    """The circles with which clearing would begin now. Only routes are asked for."""
    towards, keep = _targets(call.node.node, body)
    node, fees_max = call.node.node, _fees_max(body)
    circles = await node.plan_clear(body.currency, towards=towards, keep=keep, fees_max=fees_max)
    forms = [circle_form(circle) for circle in circles]
    return CirclePlan(circles=forms, fees=str(sum(circle.fees for circle in circles)))


@section.post("/nodes/{node}/circles/rebalance", may=(Scope.PAY,), status=201, takes_key=True)
async def rebalance(call: Call, query: RunQuery, body: NewRebalancing) -> tuple[CircleRun, bool]:
    """
    Pay one circle; what the one friend owes and what is owed to the other one shrink.

    Its fees count against the limit of the token, and nothing else, as the amount comes back. The same key gives the
    same run, and never pays again.
    """
    node, ends = call.node.node, _ends(call.node.node, body)
    currency, amount, fees_max = parse_currency(body.currency), views.read_amount(body.amount), _fees_max(body) or 0

    async def pay(tell: Tell) -> None:
        circle = await node.rebalance(currency, amount, *ends, fees_max=fees_max, timeout=body.timeout)
        tell(ClearedCircle(circle, None))

    begun = call.desk.circle_runs.start(
        call.visitor, call.node.key, call.key, "rebalance", currency, fees_max=fees_max, pay=pay
    )
    return await _ended(call, query, begun[0].run_id), begun[1]


@section.post("/nodes/{node}/circles/clear", may=(Scope.PAY,), status=201, takes_key=True)
async def clear(call: Call, query: RunQuery, body: NewClearing) -> tuple[CircleRun, bool]:
    """Pay all circles that bring balances nearer to where they are wanted; fees count as for one circle."""
    node, (towards, keep) = call.node.node, _targets(call.node.node, body)
    currency, fees_max = parse_currency(body.currency), _fees_max(body) or 0

    async def pay(tell: Tell) -> None:
        await node.clear(currency, towards=towards, keep=keep, fees_max=fees_max, timeout=body.timeout, tell=tell)

    begun = call.desk.circle_runs.start(
        call.visitor, call.node.key, call.key, "clear", currency, fees_max=fees_max, pay=pay
    )
    return await _ended(call, query, begun[0].run_id), begun[1]


@section.get("/nodes/{node}/circles/{run_id}", may=(Scope.READ, Scope.PAY))
async def read_circles(call: Call, query: RunQuery) -> CircleRun:
    """Circles that are paid, or were; with *wait*, as soon as none is under way any more."""
    return await _ended(call, query, call.path["run_id"])


def _fees_max(body: NewRebalancing | NewClearing) -> int | None:
    return None if body.fees_max is None else views.read_amount(body.fees_max)


def _ends(node: Node, body: NewRebalancing) -> tuple[FriendName, FriendName]:
    return friend_key(node, body.out), friend_key(node, body.back)


def _targets(node: Node, body: NewClearing) -> tuple[int, dict[FriendName, int]]:
    return int(body.towards), {friend_key(node, name): int(balance) for name, balance in body.keep.items()}


def _find(call: Call, run_id: str) -> CircleRunRow:
    row = call.desk.circle_runs.find(run_id)
    if row is None or row.node != call.node.key or call.owner not in (None, row.owner):
        raise rejection(404, "UnknownRun", "no such circles were paid here with this token")
    return row


async def _ended(call: Call, query: RunQuery, run_id: str) -> CircleRun:
    _find(call, run_id)
    await wait_until(call.desk, query.wait, lambda: _find(call, run_id).state != "running")
    row = _find(call, run_id)
    return CircleRun(
        run_id=row.run_id,
        node=call.node.name,
        owner=row.owner,
        kind=row.kind,
        currency=row.currency,
        state=row.state,
        fees_max=str(row.fees_max),
        fees=str(row.counted),
        circles=row.circles,
        failure=row.failure,
        created=row.created,
        changed=row.changed,
    )
