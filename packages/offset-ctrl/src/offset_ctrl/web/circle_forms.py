"""What the API says of circles and hears of them."""

from typing import Annotated, Literal

from msgspec import Meta, field

from offset_ctrl.rules.circles import Circle
from offset_ctrl.web.form_parts import Amount, Balance, Currency, Failure, Heard, Id, Key, Name, Said, Seconds
from offset_ctrl.web.forms import PlannedPart
from offset_proto.text import format_b64

__all__ = ["CircleForm", "CirclePlan", "CircleRun", "NewClearing", "NewRebalancing", "circle_form"]


class NewRebalancing(Heard, frozen=True):
    """
    *amount* credits that are to go out through one friend and to come back through another.

    *fees_max* is what mediators may take. Where it is missing, a plan has no limit, and what is paid must cost nothing.
    *timeout* is in seconds.
    """

    currency: Currency
    amount: Amount
    out: Name
    back: Name
    fees_max: Amount | None = None
    timeout: Annotated[float, Meta(gt=0, le=3600)] = 60.0


class NewClearing(Heard, frozen=True):
    """
    Balances that are to come nearer to where they are wanted: *towards*, and *keep* for single friends.

    *fees_max* is what mediators of all circles together may take, as for one circle. *timeout* is in seconds, for each.
    """

    currency: Currency
    towards: Balance = "0"
    keep: Annotated[dict[Name, Balance], Meta(max_length=1000)] = field(default_factory=dict)
    fees_max: Amount | None = None
    timeout: Annotated[float, Meta(gt=0, le=3600)] = 60.0


class CircleForm(Said, frozen=True):
    """A circle: the friends at its ends, and its parts. *failure* says why it was not paid, where it was not."""

    out: Key
    back: Key
    amount: Amount
    fees: Amount
    are_fees_known: bool
    parts: list[PlannedPart]
    failure: Failure | None = None


class CirclePlan(Said, frozen=True):
    """The circles that would be paid now; each could be, if it were the only one."""

    circles: list[CircleForm]
    fees: Amount


class CircleRun(Said, frozen=True):
    """
    Circles that are paid, or were.

    *state* is running, done, failed (nothing was paid, and *failure* says why), or unknown: the server ended meanwhile,
    or lost its node, so one more circle than the *circles* here may be paid. *fees* is what counts against the limit.
    """

    run_id: Id
    node: str
    owner: str
    kind: Literal["rebalance", "clear"]
    currency: str
    state: Literal["running", "done", "failed", "unknown"]
    fees_max: Amount
    fees: Amount
    circles: list[CircleForm]
    failure: Failure | None
    created: Seconds
    changed: Seconds


def circle_form(circle: Circle, failure: Failure | None = None) -> CircleForm:
    """A circle."""
    return CircleForm(
        out=format_b64(circle.out),
        back=format_b64(circle.back),
        amount=str(circle.amount),
        fees=str(circle.fees),
        are_fees_known=circle.are_fees_known,
        parts=[
            PlannedPart(
                route=[format_b64(key) for key in part.public_keys],
                amount=str(part.dest_payment),
                fees=str(part.fees),
            )
            for part in circle.parts
        ],
        failure=failure,
    )
