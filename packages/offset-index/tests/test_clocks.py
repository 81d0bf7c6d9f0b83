"""Hash clocks and ratchets. Spec 06 §4, §11 cases 2-5, 31-33, 35."""

from itertools import count

import pytest

from offset_crypto.hashing import sha512_256
from offset_crypto.signed import time_hash
from offset_index.hash_clock import HashClock, verify_chain
from offset_index.ratchet import Ratchets
from offset_proto.messages.index import TimeProofLink
from offset_proto.types import HashResult, PublicKey, RandValue, Uid

KEYS = [PublicKey(bytes([number]) * 32) for number in range(4)]
X, Y = (Uid(bytes([value]) * 16) for value in (1, 2))
_leaves = count()


def _leaf() -> RandValue:
    return RandValue(next(_leaves).to_bytes(16, "big"))


def _tick_all(clocks: list[HashClock], rounds: int) -> HashResult:
    """Each clock ticks in order and tells the others; returns the last hash of clock 1."""
    last = HashResult(bytes(32))
    for _ in range(rounds):
        for number, clock in enumerate(clocks):
            made = clock.tick(_leaf())
            last = made if number == 1 else last
            for other in clocks:
                if other is not clock:
                    other.set_neighbour(KEYS[number], made)
    return last


def test_chain_around_four_clocks():
    """The hash of one clock is proved through the others, until it is too old (spec 06 §11 case 2)."""
    clocks = [HashClock(4) for _ in range(4)]
    origin = _tick_all(clocks, 8)
    chain: tuple[TimeProofLink, ...] = ()
    for number in (1, 2, 3, 0):
        link = clocks[number].verify(origin, chain)
        assert link is not None
        before, chain = chain, (*chain, link)
    assert len(before) == 3
    for _ in range(4):
        clocks[0].tick(_leaf())
    assert clocks[0].verify(origin, before) is None


def test_memory_is_sixty_ticks():
    """The 60th newest hash is fresh, the 61st is not (spec 06 §11 case 31)."""
    clock = HashClock()
    first = clock.tick(_leaf())
    for _ in range(59):
        clock.tick(_leaf())
    assert clock.verify(first, ()) is not None
    clock.tick(_leaf())
    assert clock.verify(first, ()) is None


def test_hash_mixes_leaf_and_neighbours():
    """Spec 06 §4.2: the hashed leaf first, then the neighbours' last hashes; one that left does not count."""
    clock = HashClock()
    ours, theirs = _leaf(), HashResult(b"\x07" * 32)
    clock.set_neighbour(KEYS[0], theirs)
    made = clock.tick(ours)
    assert clock.expansion(made) == (sha512_256(ours), theirs)
    assert made == time_hash((sha512_256(ours), theirs))
    clock.remove_neighbour(KEYS[0])
    assert clock.expansion(clock.tick(ours)) == (sha512_256(ours),)


def _link(*hashes: HashResult) -> TimeProofLink:
    return TimeProofLink(hashes)


@pytest.mark.parametrize("position", [0, 1, 2])
def test_position_in_a_link_does_not_matter(position):
    """A link proves what any of its hashes proves (spec 06 §11 case 35)."""
    local = HashResult(b"\x0a" * 32)
    hashes = [HashResult(bytes([value]) * 32) for value in (1, 2, 3)]
    hashes[position] = local
    link = _link(*hashes)
    assert verify_chain(time_hash(link.hashes), (link,), {local}) == local


def test_broken_chains():
    """An empty link, an unrelated link between, and a chain that does not start at the origin (spec 06 §11 case 35)."""
    local = HashResult(b"\x0a" * 32)
    link = _link(local)
    origin = time_hash(link.hashes)
    unrelated = _link(HashResult(b"\x0b" * 32))
    assert verify_chain(origin, (link,), {local}) == local
    assert verify_chain(origin, (unrelated, link), {local}) is None
    assert verify_chain(origin, (link, unrelated), {local}) is None
    assert verify_chain(origin, (_link(),), {local}) is None
    assert verify_chain(time_hash(()), (_link(),), {local}) is None
    assert verify_chain(local, (unrelated,), {local}) is None
    assert verify_chain(local, (), {local}) == local


def test_counters_grow_in_a_session():
    """A counter counts once; each session of each node counts by itself (spec 06 §11 cases 3 and 32)."""
    ratchets = Ratchets(8)
    assert all(ratchets.accept(KEYS[0], X, counter) for counter in range(16))
    assert not any(ratchets.accept(KEYS[0], X, counter) for counter in range(16))
    assert ratchets.accept(KEYS[0], Y, 1)
    assert not ratchets.accept(KEYS[0], Y, 1)
    assert ratchets.accept(KEYS[1], X, 2**64 - 1)
    assert not ratchets.accept(KEYS[1], X, 2**64 - 1)
    assert ratchets.accept(KEYS[1], Y, 0)


def test_a_retired_session_is_refused_while_it_could_be_fresh():
    """Two alternating sessions do not go around for ever (spec 06 §11 case 33, D63)."""
    ratchets = Ratchets(8)
    assert ratchets.accept(KEYS[0], X, 0)
    assert ratchets.accept(KEYS[0], Y, 0)
    assert not ratchets.accept(KEYS[0], X, 1)
    for counter in range(1, 9):
        ratchets.tick()
        ratchets.accept(KEYS[0], Y, counter)
    assert ratchets.accept(KEYS[0], X, 1)


def test_silent_nodes_are_forgotten():
    """At exactly the 8th tick after the last accepted update (spec 06 §11 cases 4 and 5)."""
    ratchets = Ratchets(8)
    ratchets.accept(KEYS[0], X, 100)
    ratchets.accept(KEYS[1], X, 100)
    for _ in range(4):
        assert ratchets.tick() == []
    assert ratchets.accept(KEYS[0], X, 101)
    assert not ratchets.accept(KEYS[1], X, 100)
    assert [ratchets.tick() for _ in range(4)] == [[], [], [], [KEYS[1]]]
    assert ratchets.accept(KEYS[1], X, 0)
    assert not ratchets.accept(KEYS[0], X, 101)
    assert [ratchets.tick() for _ in range(4)] == [[], [], [], [KEYS[0]]]
