"""
Every message there is, with any content, survives its bytes; canonical bytes tell different contents apart.

What is tested is found: all codecs of `wire` and all forms of `canonical`, each with values of the type that it takes.
"""

import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from inspect import isfunction, signature
from types import ModuleType
from typing import Any, assert_never, get_type_hints

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from offset_proto import canonical, messages, wire
from offset_proto.errors import InvalidInput
from offset_proto.layout import (
    BoolLayout,
    BytesLayout,
    DataLayout,
    EnumLayout,
    IntegerLayout,
    Layout,
    ListLayout,
    OptionalLayout,
    StructLayout,
    TextLayout,
    UnionLayout,
    UnionMember,
    layout_of,
)
from offset_proto.message import Message
from offset_proto.messages.index import UpdateFriendCurrency
from offset_proto.messages.report import BalanceInfo, TokenInfo
from offset_proto.types import I128_MIN, Currency, NetAddress

# What is found.

NO_FORMS = {"flip", "flip_balance", "list_of", "option"}
"""Functions of `canonical` that take or give something else; each has a test of its own below."""


def codecs_of(module: ModuleType) -> dict[str, wire.Codec[Any]]:
    """The codecs that a module makes, by name."""
    return {name: value for name, value in vars(module).items() if isinstance(value, wire.Codec)}


def _first_type(function: Callable[..., Any]) -> Any:
    return get_type_hints(function, include_extras=True)[next(iter(signature(function).parameters))]


def forms_of(module: ModuleType) -> dict[str, Layout]:
    """The functions of a module that make canonical bytes of one value, by name, with the layout of what they take."""
    own = [value for value in vars(module).values() if isfunction(value) and value.__module__ == module.__name__]
    return {
        function.__name__: layout_of(_first_type(function))
        for function in own
        if not function.__name__.startswith("_") and function.__name__ not in NO_FORMS
    }


CODECS = codecs_of(wire)
FORMS = forms_of(canonical)


def _classes(layout: Layout, known: set[type]) -> None:
    """Add to *known* the message classes that a layout leads to."""
    match layout:
        case ListLayout(item) | OptionalLayout(item, _):
            _classes(item, known)
        case StructLayout(cls, fields):
            known.add(cls)
            for _, _, item in fields:
                _classes(item, known)
        case UnionLayout(members):
            for member in members:
                known.add(member.cls)
                if member.payload is not None:
                    _classes(member.payload, known)


def _declared() -> Iterator[type]:
    """All message classes."""
    for info in pkgutil.iter_modules(messages.__path__):
        module = import_module(f"{messages.__name__}.{info.name}")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Message) and value.__module__ == module.__name__:
                yield value


def test_every_codec_and_every_message_is_tested():
    """A codec that is not public, or a message class that no codec leads to, would be forgotten."""
    assert set(CODECS) == {name for name in wire.__all__ if name.isupper()}
    reached: set[type] = set()
    for codec in CODECS.values():
        _classes(codec.layout, reached)
    assert set(_declared()) - reached == set()


def test_a_codec_that_nobody_tests_is_found():
    """Whoever adds one to the module need not think of this file."""
    module = ModuleType("new")
    module.NEW = wire.Codec("report", "CountersInfo")
    assert codecs_of(module) == {"NEW": module.NEW}


def test_a_form_that_nobody_tests_is_found():
    """A function of the module that takes something else than a message is an error here, and can not slip through."""

    def first(value: TokenInfo) -> bytes:
        return b""

    def second(value: object) -> bytes:
        return b""

    module = ModuleType(__name__)
    module.first = first
    assert forms_of(module) == {"first": layout_of(TokenInfo)}
    module.second = second
    with pytest.raises(TypeError):
        forms_of(module)


# Values of any layout.

# Cap'n Proto ends a text with NUL and counts it in, so any other text passes.
_CHARACTERS = st.characters(codec="utf-8")
_LIMITS = {Currency: 16, NetAddress: 256}


Texts = Callable[[type], Any]
"""Makes the strategy for the texts of a class."""


def _any_text(cls: type) -> Any:
    most = _LIMITS.get(cls, 64)
    return st.text(_CHARACTERS, max_size=most).filter(lambda text: len(text.encode()) <= most).map(cls)


def _short_word(cls: type) -> Any:
    """Texts of one length: canonical bytes hold no lengths, so others can be shifted into each other [QUIRK]."""
    return st.text("ABC", min_size=2, max_size=2).map(cls)


def _values(layout: Layout, texts: Texts = _any_text) -> Any:
    """All values of a layout."""
    match layout:
        case BytesLayout(cls):
            return st.binary(min_size=cls.SIZE, max_size=cls.SIZE).map(cls)
        case DataLayout():
            return st.binary(max_size=200)
        case IntegerLayout(integer):
            return st.integers(integer.least, integer.greatest)
        case BoolLayout():
            return st.booleans()
        case TextLayout(cls):
            return texts(cls)
        case ListLayout(item):
            return st.lists(_values(item, texts), max_size=3).map(tuple)
        case OptionalLayout(item, _):
            return st.none() | _values(item, texts)
        case EnumLayout(cls):
            return st.sampled_from(cls)
        case StructLayout(cls, fields):
            return st.tuples(*[_values(item, texts) for _, _, item in fields]).map(lambda values: cls(*values))
        case UnionLayout(members):
            return st.one_of([_member(member, texts) for member in members])
        case _:
            assert_never(layout)


def _member(member: UnionMember, texts: Texts) -> Any:
    if member.payload is None:
        return st.just(member.cls())
    payloads = _values(member.payload, texts)
    return payloads if member.field is None else payloads.map(member.cls)


def _neighbours(layout: Layout, value: Any) -> list[Any]:
    """For each part of a value, however deep, the values that differ from it in nothing else."""
    another = [_values(layout, _short_word)]
    match layout:
        case StructLayout(_, fields):
            return [
                part.map(lambda changed, name=name: replace(value, **{name: changed}))
                for name, _, item in fields
                for part in _neighbours(item, getattr(value, name))
            ]
        case ListLayout(item):
            return another + [
                part.map(lambda changed, i=i: (*value[:i], changed, *value[i + 1 :]))
                for i in range(len(value))
                for part in _neighbours(item, value[i])
            ]
        case OptionalLayout(item, _) if value is not None:
            return [*_neighbours(item, value), st.none()]
        case UnionLayout(members):
            (member,) = [member for member in members if member.cls is type(value)]
            if member.payload is None:
                return another
            if member.field is None:
                return another + _neighbours(member.payload, value)
            payloads = _neighbours(member.payload, getattr(value, member.field))
            return another + [payload.map(member.cls) for payload in payloads]
    return another


# The tests of each.


@pytest.mark.parametrize("name", CODECS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_any_message_survives(name, data):
    """Encoded and decoded, it is the same; so it is with anything after its bytes."""
    codec = CODECS[name]
    message = data.draw(_values(codec.layout))
    packed = codec.encode(message)
    assert codec.decode(packed) == message
    assert codec.decode(packed + b"\x00\xff") == message


def _covered(name: str, value: Any) -> Any:
    """What the canonical bytes of a value say; two forms leave parts of it out."""
    match name, value:
        case "index_mutation", UpdateFriendCurrency(public_key, currency, recv_capacity, _):  # [QUIRK]
            return public_key, currency, recv_capacity
        case "receipt", _:
            return value.response_hash, value.invoice_id, value.dest_payment, value.signature
        case _:
            return value


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_canonical_bytes_differ_where_values_do(name, data):
    """Every part of a value is hashed, in its place."""
    form, layout = getattr(canonical, name), FORMS[name]
    value = data.draw(_values(layout, _short_word))
    for neighbours in _neighbours(layout, value):
        other = data.draw(neighbours)
        assert (form(value) == form(other)) == (_covered(name, value) == _covered(name, other))


@given(one=st.lists(st.binary(min_size=4, max_size=4)), other=st.lists(st.binary(min_size=4, max_size=4)))
def test_a_list_says_how_long_it_is(one, other):
    """The number of items stands first, so what follows a list can not be taken for a part of it."""
    assert (canonical.list_of(one) == canonical.list_of(other)) == (one == other)
    assert canonical.list_of(one)[:8] == canonical.u64(len(one))


@given(value=st.binary())
def test_an_option_says_whether_it_is_there(value):
    """No value and an empty value have different bytes."""
    assert canonical.option(value, bytes) == b"\x01" + value
    assert canonical.option(None, bytes) == b"\x00"


@settings(deadline=None)
@given(info=_values(layout_of(TokenInfo)))
def test_a_state_flipped_twice_is_the_same(info):
    """Both sides see the same channel: keys and debts change places, and balances change their sign."""
    if any(balance.balance_info.balance == I128_MIN for balance in info.mc.balances):
        with pytest.raises(InvalidInput):
            canonical.flip(info)
        return
    flipped = canonical.flip(info)
    assert flipped.mc.local_public_key == info.mc.remote_public_key
    assert canonical.flip(flipped) == info


@settings(deadline=None)
@example(info=BalanceInfo(I128_MIN, 0, 0))
@given(info=_values(layout_of(BalanceInfo)))
def test_a_balance_has_its_counterpart(info):
    """Every balance has a counterpart, except -2**127 (D14)."""
    if info.balance == I128_MIN:
        with pytest.raises(InvalidInput):
            canonical.flip_balance(info)
        return
    flipped = canonical.flip_balance(info)
    assert flipped == BalanceInfo(-info.balance, info.remote_pending_debt, info.local_pending_debt)
