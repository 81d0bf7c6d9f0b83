"""Whom to suspect when parts of a payment have failed: what holds for any parts, and single cases."""

from hypothesis import given
from hypothesis import strategies as st

from offset_ctrl.rules.suspicion import Sent, hops_of, suspect
from offset_proto.messages.index import Edge
from offset_proto.types import PublicKey

US, BOB, CAROL, DAN, SELLER = (PublicKey(bytes([n]) * 32) for n in range(1, 6))


def _sent(amount: int, *mediators: PublicKey) -> Sent:
    return Sent((US, *mediators, SELLER), amount)


def test_one_failure() -> None:
    """Any hop may have refused; those of mediators come before our own."""
    found = suspect([_sent(10, BOB, CAROL)], [])
    assert found.order == (Edge(BOB, CAROL), Edge(CAROL, SELLER), Edge(US, BOB))
    assert found.avoided == set(found.order)


def test_what_all_failed_parts_share() -> None:
    """One refusal explains both, so that hop comes first, and it alone is avoided."""
    found = suspect([_sent(10, BOB, DAN), _sent(10, CAROL, DAN)], [])
    assert found.avoided == {Edge(DAN, SELLER)}
    assert found.order[0] == Edge(DAN, SELLER)
    assert len(found.order) == 5


def test_a_hop_that_an_accepted_part_has_crossed() -> None:
    """It is no suspect of a part that is not larger; of a larger one it is."""
    accepted = [_sent(10, BOB, DAN)]
    assert suspect([_sent(10, CAROL, DAN)], accepted).avoided == {Edge(US, CAROL), Edge(CAROL, DAN)}
    assert Edge(DAN, SELLER) in suspect([_sent(11, CAROL, DAN)], accepted).avoided


def test_the_only_suspect_is_certain() -> None:
    """Two parts with nothing in common are explained by a refusal each."""
    accepted = [_sent(50, BOB, DAN), Sent((US, CAROL), 50), Sent((CAROL, DAN), 50)]
    failed = [_sent(10, CAROL), _sent(10, BOB, CAROL, DAN)]
    found = suspect(failed, accepted)
    assert found.avoided == {Edge(CAROL, SELLER), Edge(BOB, CAROL)}
    assert set(found.order[:2]) == found.avoided


def test_where_nobody_would_be_left() -> None:
    """All hops have let as much pass: what they hold frozen now is missing, and each is a suspect again."""
    route = _sent(10, BOB)
    assert set(suspect([route], [route]).order) == set(hops_of(route.public_keys))


def test_nothing_has_failed() -> None:
    """Nobody is suspected."""
    found = suspect([], [_sent(10, BOB)])
    assert (found.avoided, found.order) == (frozenset(), ())


parts = st.builds(
    lambda amount, mediators: _sent(amount, *mediators),
    st.integers(0, 20),
    st.permutations([BOB, CAROL, DAN]).flatmap(lambda keys: st.integers(0, 3).map(lambda number: keys[:number])),
)


@given(st.lists(parts, min_size=1, max_size=6), st.lists(parts, max_size=3))
def test_for_any_parts(failed: list[Sent], accepted: list[Sent]) -> None:
    """Each failed part is explained, what is avoided comes first, and no hop that nobody has failed over is named."""
    found = suspect(failed, accepted)
    hops = [set(hops_of(part.public_keys)) for part in failed]
    assert all(crossed & set(found.order) for crossed in hops)
    assert set(found.order) <= set().union(*hops)
    assert len(set(found.order)) == len(found.order)
    assert set(found.order[: len(found.avoided)]) == found.avoided


@given(st.lists(parts, min_size=1, max_size=6), st.sampled_from([BOB, CAROL, DAN]))
def test_one_hop_that_refuses_everything(sent: list[Sent], culprit: PublicKey) -> None:
    """Where one hop is to blame for all that failed, and carries nothing, it is among the hops that are avoided."""
    hop = Edge(culprit, SELLER)
    failed = [part for part in sent if hop in hops_of(part.public_keys)]
    accepted = [part for part in sent if hop not in hops_of(part.public_keys)]
    assert not failed or hop in suspect(failed, accepted).avoided
