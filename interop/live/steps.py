"""The steps of the matrix: who has a part in each, what it stands on, and where the original fails in it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from interop.live.castings import CASTINGS, Casting

__all__ = ["EXPECTATIONS", "STEPS", "Expectation", "Step", "expectation_of", "has_part"]

SERVERS: Final = frozenset({"relay0", "relay1", "index0", "index1"})
NODES: Final = frozenset({"A", "B", "C", "D"})
PAYING: Final = frozenset({"A.stctrl", "D.stctrl", "stverify"})
SET_UP: Final = "set up"
PAYMENT: Final = "3 hops"


@dataclass(frozen=True)
class Step:
    """
    A column of the matrix.

    Attributes:
        name: As it is printed.
        part: Who has a part in it: names of servers, "A.stctrl", "stmgr", "stverify".
        stands_on: Steps without which it shows nothing: where one of them has failed in a casting, this one is skipped.
    """

    name: str
    part: frozenset[str]
    stands_on: tuple[str, ...] = (SET_UP, PAYMENT)


def _steps() -> Iterable[Step]:
    chain = SERVERS | NODES
    yield Step(SET_UP, chain | PAYING | {"stmgr", "B.stctrl", "C.stctrl"}, ())
    yield Step("1 hop", chain | PAYING, (SET_UP,))
    yield Step("2 hops", chain | PAYING, (SET_UP,))
    yield Step(PAYMENT, chain | PAYING | {"stmgr"}, (SET_UP,))
    yield Step("back", chain | PAYING)
    yield Step("too little credit", NODES | {"relay0", "relay1"})
    yield Step("second currency", SERVERS | {"A", "B", "A.stctrl"})
    yield Step("closed and opened", SERVERS | NODES)
    yield Step("last token", frozenset({"C", "D", "D.stctrl", "stverify"}))
    yield Step("many payments", chain)
    yield Step("changed relays", SERVERS | {"A", "B", "C"})
    for victim in "ABCD":
        yield Step(f"kill {victim}", chain)
    yield Step("disabled and enabled", frozenset({"relay0", "relay1", "B", "C"}))
    yield Step("parted friends", SERVERS | {"C", "D", "D.stctrl"})
    for breaks, resets in ("BB", "BC", "CB", "CC"):
        yield Step(f"broken by {breaks}, reset by {resets}", SERVERS | {"B", "C"})


STEPS: Final = {step.name: step for step in _steps()}
"""In the order in which they are done: what needs a working chain first, what may leave it broken last."""


def has_part(casting: Casting, step: Step) -> bool:
    """Whether the step shows anything in a casting: where nobody differs, all is as in the network of one kind."""
    return not casting.roles or not step.part.isdisjoint(casting.roles)


@dataclass(frozen=True)
class Expectation:
    """
    A step that fails because of the original.

    Attributes:
        steps: Names of the steps.
        castings: Names of the castings.
        reason: The number of its defect, and what happens.
        sign: What a program of the original then has in its log; a failure without it is not the expected one.
        is_certain: It fails each time, so that a pass is worth telling; where not, it fails at times.
        is_tried: It is done all the same, in a short time; where not, the outcome is that only ours can do it.
    """

    steps: tuple[str, ...]
    castings: tuple[str, ...]
    reason: str
    sign: str = ""
    is_certain: bool = True
    is_tried: bool = True


def _where_original(name: str, step: str) -> tuple[str, ...]:
    return tuple(one.name for one in CASTINGS if one.is_original(name) and has_part(one, STEPS[step]))


EXPECTATIONS: Final[list[Expectation]] = [
    Expectation(
        ("many payments",),
        _where_original("A", "many payments"),
        "D54, D7: with 20 payments at once the buyer's node of the original stops for good, at times",
        sign="timer_loop(): try_send() error",
        is_certain=False,
    )
]
"""What is known to fail, and why."""


def expectation_of(casting: str, step: str) -> Expectation | None:
    """Why a step is expected to fail in a casting, if it is."""
    return next((one for one in EXPECTATIONS if casting in one.castings and step in one.steps), None)
