"""
Bech32m: bytes as letters and digits with a checksum that finds typing errors. BIP-350, and BIP-173 which it amends.

A text is a prefix that people can read, the digit 1, and symbols of 5 bits each: 32 letters and digits, without those
that look like others (1, b, i, o). It is all in lower case or all in upper case. The last six symbols are a checksum.

The checksum is the rest of a division by a polynomial over the field of 32 elements. It finds every three wrong
symbols among 1023, and lets one of 2^30 texts pass that are wrong in other ways. Where one symbol alone is wrong, the
rest tells which: a wrong value at a place leaves a rest that no other value at no other place leaves. The place is
told, and what should be there is not: BIP-173 advises against it, since a text that was put right by a guess may be
another good one.

BIP-173 allows 90 characters, up to which even four wrong symbols are found. A text here may be longer: beyond 1023
symbols any wrong symbol is still found, and any two that are not a multiple of 1023 apart.

There is no library for it: the reference code of BIP-173 on the registry has neither Bech32m nor positions.
"""

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import xor
from typing import Final

from offset_proto.errors import InvalidInput

__all__ = ["bytes_of", "characters_of", "decode", "encode", "split", "symbols_of"]

_ALPHABET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES: Final = {character: value for value, character in enumerate(_ALPHABET)}
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32M: Final = 0x2BC830A3
_CHECKSUM_SYMBOLS: Final = 6

_MULTIPLES: Final = [
    reduce(xor, (generator for bit, generator in enumerate(_GENERATOR) if top >> bit & 1), 0) for top in range(32)
]
"""What the symbol that is shifted out, by its value, leaves in the rest."""
_TOPS: Final = {multiple & 31: top for top, multiple in enumerate(_MULTIPLES)}


def encode(prefix: str, symbols: Sequence[int]) -> str:
    """The text of *symbols*, each below 32, in lower case; *prefix* is in lower case and of printable ASCII."""
    rest = _divide((*_expand(prefix), *symbols, *[0] * _CHECKSUM_SYMBOLS)) ^ _BECH32M
    checksum = [rest >> 5 * (_CHECKSUM_SYMBOLS - 1 - position) & 31 for position in range(_CHECKSUM_SYMBOLS)]
    return f"{prefix}1" + "".join(_ALPHABET[symbol] for symbol in (*symbols, *checksum))


def characters_of(prefix: str, symbols: int) -> int:
    """How many characters the text of so many symbols has."""
    return len(prefix) + 1 + symbols + _CHECKSUM_SYMBOLS


def split(text: str, first: int = 1) -> tuple[str, str]:
    """
    What stands before the last 1, and what stands after it, both in lower case. No checksum is looked at.

    Errors count the characters so that the first one of *text* has the number *first*.

    Raises:
        InvalidInput: Letters of both cases, a character that no text has, no 1, or too little on one side of it.
    """
    for position, character in enumerate(text, first):
        if not "!" <= character <= "~":
            raise InvalidInput(f"character {position} is {character!r}, which no such text has")
    if text not in (text.lower(), text.upper()):
        is_upper = next(character for character in text if character.isalpha()).isupper()
        position = next(n for n, c in enumerate(text, first) if c.isalpha() and c.isupper() != is_upper)
        raise InvalidInput(f"letters of both cases are mixed, from character {position} on")
    prefix, one, rest = text.lower().rpartition("1")
    if not one:
        raise InvalidInput("there is no 1 after the kind of the text, so its beginning is missing")
    if not prefix:
        raise InvalidInput("nothing stands before the 1 that ends the kind of the text")
    if len(rest) < _CHECKSUM_SYMBOLS:
        raise InvalidInput(f"after the 1 stand {len(rest)} characters, and the checksum alone has {_CHECKSUM_SYMBOLS}")
    return prefix, rest


def decode(text: str, first: int = 1) -> tuple[str, list[int]]:
    """
    The prefix, in lower case, and the symbols before the checksum.

    Raises:
        InvalidInput: As `split`; or a character that stands for no symbol, or a checksum that does not match. Says at
            which character, where that can be told.
    """
    prefix, rest = split(text, first)
    start = first + len(prefix) + 1
    symbols = []
    for position, character in enumerate(rest, start=start):
        if character not in _VALUES:
            raise InvalidInput(f"character {position} is {character!r}, which no such text has after its kind")
        symbols.append(_VALUES[character])
    difference = _divide((*_expand(prefix), *symbols)) ^ _BECH32M
    if difference:
        places = _places(difference, len(symbols))
        where = "characters are wrong, missing or too many"
        if len(places) == 1:
            where = f"character {start + places[0]} is probably wrong"
        raise InvalidInput(f"the checksum does not match: {where}; compare the text with where it comes from")
    return prefix, symbols[:-_CHECKSUM_SYMBOLS]


def symbols_of(data: bytes) -> list[int]:
    """*data* in groups of 5 bits; the last group is filled up with zeros."""
    count = -(-len(data) * 8 // 5)
    bits = "".join(f"{byte:08b}" for byte in data).ljust(count * 5, "0")
    return [int(bits[start : start + 5], 2) for start in range(0, len(bits), 5)]


def bytes_of(symbols: Sequence[int]) -> bytes:
    """
    The bytes that *symbols* stand for.

    Raises:
        InvalidInput: A symbol too many, or bits that are not zero behind the last byte.
    """
    bits = "".join(f"{symbol:05b}" for symbol in symbols)
    unused = len(bits) % 8
    if unused > 4 or "1" in bits[len(bits) - unused :]:
        raise InvalidInput("the last character before the checksum holds more than the end of the last byte")
    return bytes(int(bits[start : start + 8], 2) for start in range(0, len(bits) - unused, 8))


def _expand(prefix: str) -> list[int]:
    """How a prefix goes into the checksum. BIP-173: the high bits of all characters, 0, the low bits."""
    codes = prefix.encode("ascii")
    return [code >> 5 for code in codes] + [0] + [code & 31 for code in codes]


def _divide(values: Iterable[int]) -> int:
    rest = 1
    for value in values:
        rest = _shift(rest) ^ value
    return rest


def _shift(rest: int) -> int:
    """*rest* with a zero appended, divided."""
    return (rest & 0x1FFFFFF) << 5 ^ _MULTIPLES[rest >> 25]


def _shift_back(rest: int) -> int:
    """What `_shift` makes *rest* of."""
    top = _TOPS[rest & 31]
    return (rest ^ _MULTIPLES[top]) >> 5 | top << 25


def _places(difference: int, count: int) -> list[int]:
    """
    Where, among *count* symbols, one wrong symbol leaves *difference*; from 0.

    A wrong value of the last symbol leaves just that value, and each place further from the end is one shift.
    """
    found = []
    for place in range(count - 1, -1, -1):
        if difference < 32:
            found.append(place)
        difference = _shift_back(difference)
    return found
