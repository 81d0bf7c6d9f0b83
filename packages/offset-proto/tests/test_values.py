"""Types, texts, rates, frames, canonical bytes."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offset_proto import canonical
from offset_proto.errors import InvalidInput
from offset_proto.frames import FrameReader, FrameTooLarge, encode_frame
from offset_proto.messages.payment import Rate
from offset_proto.messages.report import BalanceInfo, CountersInfo, CurrencyBalanceInfo, McInfo, TokenInfo
from offset_proto.rate import calc_fee, max_payable, sum_rates
from offset_proto.text import format_b64, parse_b64, parse_integer, parse_socket_address, split_host_port
from offset_proto.types import (
    I128_MIN,
    U128_MAX,
    Currency,
    Integer,
    NetAddress,
    PlainLock,
    PrivateKey,
    PublicKey,
    Uid,
    is_part_valid,
    is_route_valid,
)

U128 = Integer(128)
I128 = Integer(128, signed=True)


def _keys(*numbers: int) -> tuple[PublicKey, ...]:
    return tuple(PublicKey(bytes([number]) * 32) for number in numbers)


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_byte_types_check_their_length(size):
    """A Uid has 16 bytes."""
    with pytest.raises(InvalidInput, match="Uid has 16 bytes"):
        Uid(bytes(size))


def test_secrets_do_not_show():
    """Private keys and plain locks stay out of logs."""
    assert repr(PrivateKey(b"\x01" * 32)) == "PrivateKey(...)"
    assert str(PlainLock(b"\x01" * 32)) == "PlainLock(...)"


def test_texts_are_limited_in_bytes_not_characters():
    """Spec 01 §1.1: 16 bytes of currency, 256 of address, UTF-8."""
    assert Currency("é" * 8) == "é" * 8
    with pytest.raises(InvalidInput, match="CurrencyNameTooLong"):
        Currency("é" * 8 + "x")
    assert NetAddress("") == ""
    with pytest.raises(InvalidInput, match="AddressTooLong"):
        NetAddress("x" * 257)
    with pytest.raises(InvalidInput):
        Currency("\ud800")


@pytest.mark.parametrize(
    ("numbers", "whole", "part"),
    [
        ((), False, True),
        ((1,), False, True),
        ((1, 1), False, False),
        ((1, 2, 3, 4), True, True),
        ((1, 2, 1), True, False),
        ((1, 2, 3, 4, 1), True, False),
        ((1, 2, 3, 2, 4), False, False),
        (tuple(range(31)), True, True),
        (tuple(range(32)), True, False),
        (tuple(range(33)), False, False),
    ],
)
def test_routes(numbers, whole, part):
    """Spec 04 §4.5."""
    assert whole == is_route_valid(_keys(*numbers))
    assert part == is_part_valid(_keys(*numbers))


@pytest.mark.parametrize(
    ("payment", "mul", "add", "fee"),
    [
        (20, 429496730, 1, 3),
        (20, 429496729, 1, 2),
        (10, 0x80000000, 0, 5),
        (2**32, 1, 7, 8),
        (1, 0xFFFFFFFF, 0, 0),
        (0, 5, 9, 9),
        (2**128 - 1, 0x80000000, 0, 2**127 - 1),
        (2**128 - 1, 0xFFFFFFFF, 0, 340282366841710300949110269838224261119),
    ],
)
def test_fee_rounds_the_product_down_before_adding(payment, mul, add, fee):
    """fee = floor(payment * mul / 2**32) + add, at both sides of the rounding edge (spec 04 §13)."""
    assert fee == calc_fee(Rate(mul, add), payment)


@pytest.mark.parametrize(
    ("capacity", "mul", "add", "most"),
    [
        (100, 0x12345678, 1, 92),
        (200, 0x00100000, 5, 194),
        (300, 0x20000000, 20, 248),
        (25, 429496730, 3, 19),
        (100, 429496730, 3, 88),
        (2, 0, 3, 0),
    ],
)
def test_max_payable(capacity, mul, add, most):
    """Spec 04 §13."""
    assert most == max_payable(Rate(mul, add), capacity)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, U128_MAX))
def test_what_is_payable_fits_with_its_fee(mul, add, capacity):
    """Spec 04 §5: x + fee(x) <= capacity whenever capacity >= add."""
    rate = Rate(mul, add)
    most = max_payable(rate, capacity)
    if capacity >= add:
        assert most + calc_fee(rate, most) <= capacity


def test_rates_that_do_not_fit_have_no_sum():
    """D64: a sum beyond 32 bits is no rate."""
    assert Rate(3, 7) == sum_rates([Rate(1, 2), Rate(2, 5)])
    assert sum_rates([Rate(2**32 - 1, 0), Rate(1, 0)]) is None


@pytest.mark.parametrize("text", ["A" * 43 + "=", "A" * 42 + "A"])
def test_base64_with_padding_is_read(text):
    """Spec 01 §12.1."""
    assert parse_b64(PublicKey, text) == bytes(32)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("A" * 42, "Length mismatch"),
        ("A" * 44, "Length mismatch"),
        ("A" * 41, "6-bit remainder"),
        ("A" * 42 + "+", "Invalid byte 43, offset 42"),
        ("A" * 42 + "\n", "Invalid byte 10"),
        ("A" * 42 + "B", "Invalid last symbol 66"),
        ("A" * 43 + "==", "6-bit remainder"),
        ("=" * 4, "Invalid byte 61"),
    ],
)
def test_base64_is_strict_about_the_rest(text, reason):
    """Spec 01 §12.1; longer texts are refused, not cut (D12)."""
    with pytest.raises(InvalidInput, match=reason.replace("(", "\\(")):
        parse_b64(PublicKey, text)


@given(st.binary(min_size=32, max_size=32))
def test_base64_round_trip(data):
    """43 characters, no padding."""
    text = format_b64(data)
    assert len(text) == 43
    assert data == parse_b64(PublicKey, text)


@pytest.mark.parametrize("text", ["", "+", "-", " 5", "5 ", "1_000", "5.0", "1e3", "0x10", "\u0665", "-5", str(2**128)])
def test_numbers_that_are_none(text):
    """Spec 09 §1.1; digits of other scripts are none either."""
    with pytest.raises(InvalidInput):
        parse_integer(U128, text)


def test_numbers_of_great_length_are_refused_at_once():
    """Leading zeros are accepted, a hundred thousand digits are not converted."""
    assert parse_integer(U128, "0" * 100_000 + "7") == 7
    with pytest.raises(InvalidInput, match="too large"):
        parse_integer(U128, "9" * 100_000)
    assert parse_integer(I128, str(I128_MIN)) == I128_MIN
    with pytest.raises(InvalidInput, match="too small"):
        parse_integer(I128, str(I128_MIN - 1))


@pytest.mark.parametrize("text", ["localhost:1", "1.2.3.4", "256.0.0.1:3", "1.2.3.4:65536", "::1:5", "[1.2.3.4]:5", ""])
def test_socket_addresses_are_numeric(text):
    """Spec 09 §1.1."""
    with pytest.raises(InvalidInput, match="invalid socket address syntax"):
        parse_socket_address(text)


def test_addresses():
    """Spec 02 §3.1: names, IPv4, IPv6 in brackets."""
    assert parse_socket_address("[::1]:1337") == ("::1", 1337)
    assert split_host_port("example.com:5") == ("example.com", 5)
    for text in ("example.com", "example.com:", ":5", "::1:5"):
        with pytest.raises(InvalidInput):
            split_host_port(text)


def test_frames_in_pieces_of_any_size():
    """Spec 02 §3.2: whole, byte by byte, random pieces; an empty frame is a frame."""
    frames = [b"", b"x", b"hello" * 100, b"", b"end"]
    stream = b"".join(map(encode_frame, frames))
    source = random.Random(3)
    for cut in (len(stream), 1, 0):
        reader = FrameReader()
        found, position = [], 0
        while position < len(stream):
            size = cut or source.randrange(1, 40)
            reader.receive_data(stream[position : position + size])
            position += size
            while (frame := reader.next_frame()) is not None:
                found.append(frame)
        assert frames == found


def test_announced_frames_beyond_the_limit_are_refused_at_once():
    """D2: nothing is buffered for a frame of 2**63 bytes."""
    reader = FrameReader(frame_bytes_max=100)
    reader.receive_data((2**63).to_bytes(8, "big"))
    with pytest.raises(FrameTooLarge):
        reader.next_frame()


amounts = st.integers(0, U128_MAX)
balances = st.builds(BalanceInfo, st.integers(I128_MIN + 1, -I128_MIN - 1), amounts, amounts)
infos = st.builds(
    TokenInfo,
    st.builds(
        McInfo,
        st.binary(min_size=32, max_size=32).map(PublicKey),
        st.binary(min_size=32, max_size=32).map(PublicKey),
        st.lists(st.builds(CurrencyBalanceInfo, st.sampled_from(["A", "AA", "é"]).map(Currency), balances)).map(tuple),
    ),
    st.builds(CountersInfo, st.integers(0, 2**64 - 1), amounts),
)


@given(infos)
def test_flipping_twice_is_the_identity(info):
    """Spec 01 §10.3; the length is 96 + 48 and the name for each currency."""
    assert info == canonical.flip(canonical.flip(info))
    names = sum(len(balance.currency.encode()) for balance in info.mc.balances)
    assert len(canonical.token_info(info)) == 96 + 48 * len(info.mc.balances) + names


def test_the_least_balance_has_no_counterpart():
    """D14: -2**127 is invalid, not a crash."""
    with pytest.raises(InvalidInput):
        canonical.flip_balance(BalanceInfo(I128_MIN, 0, 0))


def test_neighbouring_texts_can_be_shifted_into_each_other():
    """Spec 01 §10.1 [QUIRK]: texts have no length."""
    first = canonical.currencies((Currency("ab"), Currency("c")))
    assert first == canonical.currencies((Currency("a"), Currency("bc")))
