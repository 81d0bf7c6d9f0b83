"""
Which hops of routes that have failed are suspected. Pure.

Nobody says at which hop a part of a payment was refused. What can be inferred is this: a part crosses a chain of hops,
and one of them did not let it pass. Each failed part so gives a set of suspects, and two facts make the sets smaller.

1. A hop that a part crossed which the seller has accepted lets amounts up to that part pass, so it is no suspect of a
   failed part that was not larger. Where that leaves no suspect at all, the credit that the accepted part holds frozen
   is missing now, and every hop is a suspect again.
2. The only suspect of a failed part is *certain*: it refused.

The likeliest suspects are those that all failed parts share: one refusal explains them all. The hops to keep away from
at once are these and the certain ones. The order in which to leave hops out begins with them; the others follow, those
of more failed parts first, then those of later ones; in one part the hops of mediators come before our own, since our
node does not send what its friend's credit can not carry.

It is a guess and no proof. So whoever goes by it takes a route over suspects where there is no other, and forgets the
guess after a while, as credit comes back.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from offset_proto.messages.index import Edge
from offset_proto.types import U128, PublicKey

__all__ = ["Sent", "Suspicion", "hops_of", "suspect"]


@dataclass(frozen=True, slots=True)
class Sent:
    """A part that was sent: its route, the keys of buyer, mediators and seller; and the credits for the seller."""

    public_keys: tuple[PublicKey, ...]
    dest_payment: U128


@dataclass(frozen=True, slots=True)
class Suspicion:
    """
    Who is suspected.

    Attributes:
        avoided: Hops to keep away from at once: those that all failed parts share, and the certain ones.
        order: Hops to leave out, the likeliest first; none twice.
    """

    avoided: frozenset[Edge]
    order: tuple[Edge, ...]


def hops_of(public_keys: tuple[PublicKey, ...]) -> list[Edge]:
    """The hops of a route, in their order."""
    return [Edge(one, other) for one, other in itertools.pairwise(public_keys)]


def suspect(failed: Iterable[Sent], accepted: Iterable[Sent]) -> Suspicion:
    """
    Whom to suspect.

    Args:
        failed: The parts that have failed, in their order.
        accepted: The parts of the same payment that the seller has accepted.
    """
    passed: dict[Edge, int] = {}
    for part in accepted:
        for hop in hops_of(part.public_keys):
            passed[hop] = max(passed.get(hop, 0), part.dest_payment)
    sets = [_suspects(part, passed) for part in failed]
    if not sets:
        return Suspicion(frozenset(), ())
    shared = set(sets[0]).intersection(*sets)
    certain = {suspects[0] for suspects in sets if len(suspects) == 1}
    avoided = frozenset(shared | certain)
    counts: dict[Edge, int] = {}
    for suspects in reversed(sets):  # a dict keeps the order: hops of later parts come first
        for hop in (*suspects[1:], *suspects[:1]):
            counts[hop] = counts.get(hop, 0) + 1
    order = sorted(counts, key=lambda hop: (hop not in avoided, -counts[hop]))  # stable
    return Suspicion(avoided, tuple(order))


def _suspects(part: Sent, passed: dict[Edge, int]) -> list[Edge]:
    hops = hops_of(part.public_keys)
    return [hop for hop in hops if passed.get(hop, -1) < part.dest_payment] or hops
