"""What a token may do, as a person enters it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offset_ctrl.web.grants import Grants, Scope, parse_grants
from offset_proto.errors import InvalidInput
from offset_proto.types import U128_MAX, Currency


def test_scopes_and_limits():
    """A limit is of one currency, and without one nothing can be paid."""
    grants = parse_grants(["read", "pay:100:FST/day", "pay:7:a:b/c/day"])
    assert grants.has(Scope.READ)
    assert grants.has(Scope.PAY)
    assert not grants.has(Scope.ASK)
    assert not grants.has(Scope.CONFIGURE)
    assert (grants.limit("FST"), grants.limit("a:b/c"), grants.limit("USD")) == (100, 7, 0)
    assert not parse_grants(["read", "ask", "configure"]).has(Scope.PAY)


@given(
    st.sets(st.sampled_from([Scope.READ, Scope.ASK, Scope.CONFIGURE])),
    st.dictionaries(
        st.text("ab:/ ", min_size=1).filter(lambda text: text.strip() and len(text) < 9), st.integers(1, U128_MAX)
    ),
)
def test_what_is_written_is_read(scopes, daily):
    """Whatever the currency is called."""
    grants = Grants(frozenset(scopes), tuple(sorted((Currency(name), amount) for name, amount in daily.items())))
    if scopes or daily:
        assert parse_grants(grants.texts()) == grants


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ([], "allowed to do something"),
        (["pay"], "pay:100:FST/day"),
        (["write"], "'write' is nothing"),
        (["pay:100:FST"], "no /day"),
        (["pay:100"], "no currency"),
        (["pay:x:FST/day"], "invalid digit"),
        (["pay:-1:FST/day"], "invalid digit"),
        ([f"pay:{U128_MAX + 1}:FST/day"], "too large"),
        (["pay:0:FST/day"], "allows nothing"),
        (["pay:1:/day"], "empty"),
        (["pay:1:12345678901234567/day"], "16"),
        (["pay:1:FST/day", "pay:2:FST/day"], "two limits of FST"),
    ],
)
def test_what_is_nothing(texts, says):
    """An error says what is wrong, and what to write."""
    with pytest.raises(InvalidInput, match=says):
        parse_grants(texts)
