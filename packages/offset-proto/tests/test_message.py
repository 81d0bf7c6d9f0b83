"""Frozen values, and copies of them with some fields changed."""

from dataclasses import dataclass, field

import pytest

from offset_proto.message import frozen, replace
from offset_proto.messages.payment import Rate


@dataclass(frozen=True, slots=True)
class _Kept:
    first: int
    second: tuple[int, ...] = ()
    third: str = field(default="", kw_only=True)


@frozen
class _One:
    only: int


@frozen
class _Defaults:
    first: int
    second: tuple[int, ...] = ()


@frozen
class _More(_Defaults):
    third: str = "3"


@frozen
class _None:
    """Without a field."""


def test_a_copy_has_the_changes_and_the_rest():
    """Of dataclasses and messages alike; the value itself stays as it is."""
    kept = _Kept(1, (2,), third="3")
    assert replace(kept, second=()) == _Kept(1, (), third="3")
    assert replace(kept, first=4, third="5") == _Kept(4, (2,), third="5")
    assert kept == _Kept(1, (2,), third="3")
    assert replace(Rate(1, 2), add=3) == Rate(1, 3)
    assert replace(_One(1), only=2) == _One(2)


def test_a_copy_without_changes_is_equal():
    """With as many fields as the class has, one and none among them."""
    for value in (_Kept(1), Rate(1, 2), _One(1), _None()):
        assert replace(value) == value
        assert type(replace(value)) is type(value)


@pytest.mark.parametrize("value", [_Kept(1), Rate(1, 2), _None()])
def test_there_is_no_other_field(value):
    """A name that no field has is an error, not a new attribute."""
    with pytest.raises(TypeError):
        replace(value, other=1)


def test_fields_may_have_defaults():
    """As those of a dataclass, also in a class that is derived from another one; they are attributes of no class."""
    assert _Defaults(1) == _Defaults(1, ()) == _Defaults(first=1, second=())
    assert _More(1) == _More(1, (), "3")
    assert replace(_More(1), second=(2,)) == _More(1, (2,))
    assert repr(_More(1)) == "_More(first=1, second=(), third='3')"
    with pytest.raises(TypeError, match="first"):
        _Defaults()
    match _More(1):
        case _More(first, second, third):
            assert (first, second, third) == (1, (), "3")
