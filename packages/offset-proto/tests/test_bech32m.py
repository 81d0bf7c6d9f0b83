"""Bech32m: the vectors of BIP-350, and what its checksum finds."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offset_proto import bech32m
from offset_proto.errors import InvalidInput

LETTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"

# "The following strings are valid Bech32m", with their symbols as `LETTERS` has them.
VALID = [
    "A1LQFN3A",
    "a1lqfn3a",
    "an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11sg7hg6",
    "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx",
    "11llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllludsr8",
    "split1checkupstagehandshakeupstreamerranterredcaperredlc445v",
    "?1v759aa",
]

# "The following string are not valid Bech32m", but for the one of 91 characters: texts of ours may be longer.
INVALID = [
    ("\x201xj0phk", "character 1 is ' '"),
    ("\x7f1g6xzxy", r"character 1 is '\\x7f'"),
    ("\x801vctc34", r"character 1 is '\\x80'"),
    ("qyrz8wqd2c9m", "there is no 1"),
    ("1qyrz8wqd2c9m", "nothing stands before the 1"),
    ("y1b0jsk6g", "character 3 is 'b'"),
    ("lt1igcx5c0", "character 4 is 'i'"),
    ("in1muywd", "after the 1 stand 5 characters"),
    ("mm1crxm3i", "character 9 is 'i'"),
    ("au1s5cgom", "character 8 is 'o'"),
    ("M1VUXWEZ", "the checksum does not match"),
    ("16plkw9", "nothing stands before the 1"),
    ("1p2gdwpf", "nothing stands before the 1"),
    (
        "tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq47Zagq",
        "letters of both cases are mixed, from .* 59 on",
    ),
]


@pytest.mark.parametrize("text", VALID)
def test_valid_vectors(text):
    """BIP-350: each is read, and written back to the letter."""
    prefix, symbols = bech32m.decode(text)
    assert "".join(LETTERS[symbol] for symbol in symbols) == text.lower()[len(prefix) + 1 : -6]
    assert text.lower() == bech32m.encode(prefix, symbols)


@pytest.mark.parametrize(("text", "reason"), INVALID)
def test_invalid_vectors(text, reason):
    """BIP-350: each is refused, and what is wrong is said."""
    with pytest.raises(InvalidInput, match=reason):
        bech32m.decode(text)


# Segwit addresses of BIP-350: behind the version stands a hash.
@pytest.mark.parametrize(
    ("text", "version", "program"),
    [
        ("BC1SW50QGDZ25J", 16, "751e"),
        ("bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs", 2, "751e76e8199196d454941c45d1b3a323"),
        (
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
            1,
            "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
        ),
    ],
)
def test_bytes_of_vectors(text, version, program):
    """BIP-350: how symbols become bytes, and bytes symbols."""
    prefix, symbols = bech32m.decode(text)
    assert (prefix, symbols[0], bech32m.bytes_of(symbols[1:]).hex()) == ("bc", version, program)
    assert symbols[1:] == bech32m.symbols_of(bytes.fromhex(program))


@pytest.mark.parametrize(
    "text",
    [
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v07qwwzcrf",  # zero padding of more than 4 bits
        "tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vpggkg4j",  # non-zero padding
    ],
)
def test_padding_vectors(text):
    """BIP-350: bytes have one form."""
    _, symbols = bech32m.decode(text)
    with pytest.raises(InvalidInput, match="more than the end of the last byte"):
        bech32m.bytes_of(symbols[1:])


@given(st.binary(max_size=300))
def test_any_bytes(data):
    """Bytes survive their symbols, of which there are as few as hold them."""
    symbols = bech32m.symbols_of(data)
    assert data == bech32m.bytes_of(symbols)
    assert len(symbols) == (len(data) * 8 + 4) // 5
    assert bech32m.decode(bech32m.encode("x", symbols).upper()) == ("x", symbols)


@given(st.lists(st.integers(0, 31), max_size=1000), st.data())
def test_one_wrong_symbol_is_found_at_its_place(symbols, data):
    """As far as a text has 1023 symbols with its checksum, the message says which character is wrong."""
    text = bech32m.encode("friend", symbols)
    position = data.draw(st.integers(7, len(text) - 1))
    wrong = data.draw(st.sampled_from(LETTERS.replace(text[position], "")))
    with pytest.raises(InvalidInput, match=rf"character {position + 1} is probably wrong"):
        bech32m.decode(text[:position] + wrong + text[position + 1 :])


@given(st.lists(st.integers(0, 31), min_size=20, max_size=1000), st.integers(2, 3), st.randoms(use_true_random=False))
def test_two_or_three_wrong_symbols_are_found(symbols, wrong, chance):
    """So the distance of the code is 4; and of two wrong symbols no place is told that is none."""
    text = list(bech32m.encode("friend", symbols))
    for position in chance.sample(range(7, len(text)), wrong):
        text[position] = chance.choice(LETTERS.replace(text[position], ""))
    with pytest.raises(InvalidInput, match="checksum") as refusal:
        bech32m.decode("".join(text))
    assert wrong == 3 or "probably" not in str(refusal.value)


def test_where_two_places_could_be_meant_none_is_told():
    """Beyond 1023 symbols one wrong symbol is found, and two places would leave what it leaves."""
    chance = random.Random(5)
    text = bech32m.encode("friend", [chance.randrange(32) for _ in range(2000)])
    for position in (10, 1500):
        wrong = text[:position] + ("q" if text[position] != "q" else "p") + text[position + 1 :]
        with pytest.raises(InvalidInput, match="characters are wrong, missing or too many"):
            bech32m.decode(wrong)
