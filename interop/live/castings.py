"""Who plays which role in the matrix: one role ours among originals, one the original's among ours, and mixtures."""

from dataclasses import dataclass
from typing import Final

from interop.network import Cast
from interop.programs import Implementation
from interop.ready import OURS_READY

__all__ = ["CASTINGS", "Casting"]

ROLES: Final = {
    "relay": ["relay0", "relay1"],
    "index server": ["index0"],
    "buyer's node": ["A"],
    "mediator's node": ["B"],
    "seller's node": ["D"],
    "buyer's stctrl": ["A.stctrl"],
    "seller's stctrl": ["D.stctrl"],
    "stmgr": ["stmgr"],
    "stverify": ["stverify"],
}
"""A role of the matrix, and who plays it in the chain A - B - C - D."""

MIXED: Final = ["relay1", "index1", "B", "D", "A.stctrl", "C.stctrl", "stverify"]
"""Played by the original in the mixed network, so that every link has one of each at its ends."""


@dataclass(frozen=True)
class Casting:
    """
    One row of the matrix.

    Attributes:
        name: As it is printed.
        roles: Who differs from the rest.
        of_the_original: Whether these are the original's, among ours; or ours, among originals.
    """

    name: str
    roles: tuple[str, ...]
    of_the_original: bool

    def is_original(self, name: str) -> bool:
        """Whether the original plays a role."""
        return (name in self.roles) == self.of_the_original

    def cast(self, original: Implementation) -> Cast:
        """The cast of a network."""
        one, rest = (original, OURS_READY) if self.of_the_original else (OURS_READY, original)
        return Cast(rest, dict.fromkeys(self.roles, one))


def _castings() -> list[Casting]:
    rows = [Casting("all original", (), False), Casting("mixed", tuple(MIXED), True)]
    for role, names in ROLES.items():
        rows.append(Casting(f"{role}: original among ours", tuple(names), True))
        rows.append(Casting(f"{role}: ours among originals", tuple(names), False))
    return rows


CASTINGS: Final = _castings()
