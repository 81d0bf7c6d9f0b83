"""Every message there is, with any content, survives its bytes; canonical bytes tell different contents apart."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offset_proto import canonical, wire
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
    named_layout,
)
from offset_proto.messages.friend import CurrencyOperations, RequestSendFundsOp
from offset_proto.messages.report import TokenInfo
from offset_proto.types import Currency, NetAddress

CODECS = [
    ("dh", "ExchangeRandNonce"),
    ("dh", "ExchangeDh"),
    ("dh", "ChannelMessage"),
    ("keepalive", "KaMessage"),
    ("relay", "InitConnection"),
    ("relay", "RejectConnection"),
    ("relay", "IncomingConnection"),
    ("funder", "FriendMessage"),
    ("index", "IndexClientToServer"),
    ("index", "IndexServerToClient"),
    ("index", "IndexServerToServer"),
    ("app_server", "AppPermissions"),
    ("report", "NodeReport"),
    ("app_server", "AppToAppServer"),
    ("app_server", "AppServerToApp"),
]

# Cap'n Proto ends a text with NUL and counts it in, so any other text passes.
_CHARACTERS = st.characters(codec="utf-8")
_LIMITS = {Currency: 16, NetAddress: 256}


def _text(cls: type) -> Any:
    most = _LIMITS.get(cls, 64)
    return st.text(_CHARACTERS, max_size=most).filter(lambda text: len(text.encode()) <= most).map(cls)


def _messages(layout: Layout) -> Any:
    """All values of a layout."""
    match layout:
        case BytesLayout(cls):
            return st.binary(min_size=cls.SIZE, max_size=cls.SIZE).map(cls)
        case DataLayout():
            return st.binary(max_size=200)
        case IntegerLayout(integer):
            low = -(2 ** (integer.bits - 1)) if integer.signed else 0
            return st.integers(low, low + 2**integer.bits - 1)
        case BoolLayout():
            return st.booleans()
        case TextLayout(cls):
            return _text(cls)
        case ListLayout(item):
            return st.lists(_messages(item), max_size=3).map(tuple)
        case OptionalLayout(item, _):
            return st.none() | _messages(item)
        case EnumLayout(cls):
            return st.sampled_from(cls)
        case StructLayout(cls, fields):
            return st.tuples(*[_messages(item) for _, _, item in fields]).map(lambda values: cls(*values))
        case UnionLayout(members):
            return st.one_of([_member(member) for member in members])


def _member(member: UnionMember) -> Any:
    if member.payload is None:
        return st.just(member.cls())
    payloads = _messages(member.payload)
    return payloads if member.field is None else payloads.map(member.cls)


@pytest.mark.parametrize(("schema", "name"), CODECS, ids=[name for _, name in CODECS])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_any_message_survives(schema, name, data):
    """Encoded and decoded, it is the same; so it is with anything after its bytes."""
    message = data.draw(_messages(named_layout(schema, name)))
    own = wire.codec(schema, name)
    packed = own.encode(message)
    assert own.decode(packed) == message
    assert own.decode(packed + b"\x00\xff") == message


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(infos=st.tuples(*[_messages(layout_of(TokenInfo))] * 2))
def test_canonical_states_differ_where_states_do(infos):
    """What is hashed of a channel's state: the order of balances does not matter, anything else does."""
    first, second = infos

    def ordered(info):
        return sorted(info.mc.balances, key=lambda entry: entry.currency.encode())

    same = (first.mc.local_public_key, first.mc.remote_public_key, first.counters, ordered(first)) == (
        second.mc.local_public_key,
        second.mc.remote_public_key,
        second.counters,
        ordered(second),
    )
    assert (canonical.token_info(first) == canonical.token_info(second)) == same


@settings(max_examples=100, deadline=None)
@given(blocks=st.tuples(*[_messages(layout_of(CurrencyOperations))] * 2))
def test_canonical_operations_differ_where_operations_do(blocks):
    """What is hashed of a token's operations is their list, in order."""
    first, second = blocks
    assert (canonical.currency_operations(first) == canonical.currency_operations(second)) == (first == second)


@settings(max_examples=100, deadline=None)
@given(op=_messages(layout_of(RequestSendFundsOp)), payment=st.integers(0, 2**128 - 1))
def test_every_amount_is_hashed(op, payment):
    """Another amount is another hash."""
    other = replace(op, dest_payment=payment)
    block, changed = (CurrencyOperations(Currency("FST"), (each,)) for each in (op, other))
    same = canonical.currency_operations(block) == canonical.currency_operations(changed)
    assert same == (op.dest_payment == payment)
