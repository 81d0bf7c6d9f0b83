"""
Proofs of freshness without clocks. Spec 06 §4.

Each server makes a time hash per tick, mixed from a random leaf and the last hashes of its neighbours.
A declaration is signed over a recent time hash of the node's server; every server that passes it
on appends the preimage in which it recognised one of its own hashes.

The state of a clock is the last hash of each connected server, and the preimages of its own last `INDEX_NODE_TICKS`
hashes (§4.3). A hash is proved fresh if it is one of these, or if a chain of preimages leads from it to one of
these: each link must hash to a member of the link before it (§4.4). A hash that is older than all of these proves
nothing, so a declaration can not be repeated later than that.

The server gives each tick a fresh random value. No one can know a hash that contains it before the tick, and that is
why no clocks need to agree. The number of links and of hashes in a link is limited by the caller, not here.
"""

from collections.abc import Container

from offset_crypto.hashing import sha512_256
from offset_crypto.signed import time_hash
from offset_proto.limits import INDEX_NODE_TICKS
from offset_proto.messages.index import TimeProofLink
from offset_proto.types import HashResult, PublicKey, RandValue

__all__ = ["HashClock", "verify_chain"]


class HashClock:
    """
    The time hashes of one server.

    Args:
        ticks_max: How many own hashes are remembered.
    """

    def __init__(self, ticks_max: int = INDEX_NODE_TICKS) -> None:
        self._ticks_max = ticks_max
        self._neighbours: dict[PublicKey, HashResult] = {}
        self._ticks: dict[HashResult, tuple[HashResult, ...]] = {}

    def tick(self, rand_value: RandValue) -> HashResult:
        """The hash of a new tick, from a fresh random value; the oldest of too many is forgotten. Spec 06 §4.2."""
        expansion = (sha512_256(rand_value), *self._neighbours.values())
        hash_of_tick = time_hash(expansion)
        self._ticks[hash_of_tick] = expansion
        if len(self._ticks) > self._ticks_max:
            del self._ticks[next(iter(self._ticks))]
        return hash_of_tick

    def set_neighbour(self, server: PublicKey, last_hash: HashResult) -> None:
        """A connected server sent its hash of the present tick, which goes into our next one."""
        self._neighbours[server] = last_hash

    def remove_neighbour(self, server: PublicKey) -> None:
        """The connection to a server ended, so its hash goes into ours no more."""
        self._neighbours.pop(server, None)

    def expansion(self, hash_of_tick: HashResult) -> tuple[HashResult, ...] | None:
        """What one of our own recent hashes was made of, in the order hashed."""
        return self._ticks.get(hash_of_tick)

    def verify(self, origin: HashResult, chain: tuple[TimeProofLink, ...]) -> TimeProofLink | None:
        """The link to append to a chain that proves one of our own recent ticks; None where it does not."""
        found = verify_chain(origin, chain, self._ticks)
        return None if found is None else TimeProofLink(self._ticks[found])


def verify_chain(
    origin: HashResult, chain: tuple[TimeProofLink, ...], local: Container[HashResult]
) -> HashResult | None:
    """
    The hash of *local* that *chain* leads to from *origin*, or None.

    Each link must hash to a member of the one before it; the origin stands before the first. Spec 06 §4.4.
    """
    before: tuple[HashResult, ...] = (origin,)
    for link in chain:
        if time_hash(link.hashes) not in before:
            return None
        before = link.hashes
    return next((hash_of_tick for hash_of_tick in before if hash_of_tick in local), None)
