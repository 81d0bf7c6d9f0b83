"""
The values that messages are made of: fixed byte strings, bounded texts, and 128-bit numbers.

Byte strings are subclasses of ``bytes`` whose length is checked once, when they are made, so a
function that takes a `PublicKey` needs no check of its own. Numbers are plain ``int``; the aliases
`U128` and so on only say how they travel. Spec 01 §1.
"""

import base64
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Self

from offset_proto.errors import InvalidInput
from offset_proto.limits import CURRENCY_BYTES_MAX, NET_ADDRESS_BYTES_MAX, ROUTE_KEYS_MAX

__all__ = [
    "I128",
    "I128_MAX",
    "I128_MIN",
    "U32",
    "U32_MAX",
    "U64",
    "U64_MAX",
    "U128",
    "U128_MAX",
    "Currency",
    "DhPublicKey",
    "FixedBytes",
    "HashResult",
    "HashedLock",
    "Integer",
    "InvoiceId",
    "NetAddress",
    "PaymentId",
    "PlainLock",
    "PrivateKey",
    "PublicKey",
    "RandValue",
    "Salt",
    "SealedKey",
    "SealedPrivateKey",
    "Signature",
    "SymmetricKey",
    "Uid",
    "is_part_valid",
    "is_route_valid",
]

U32_MAX: Final = 2**32 - 1
U64_MAX: Final = 2**64 - 1
U128_MAX: Final = 2**128 - 1
I128_MAX: Final = 2**127 - 1
I128_MIN: Final = -(2**127)


@dataclass(frozen=True, slots=True)
class Integer:
    """How an ``int`` travels: its width in bits, and whether it has a sign."""

    bits: int
    signed: bool = False

    @property
    def least(self) -> int:
        """The smallest value in range."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def greatest(self) -> int:
        """The greatest value in range."""
        return (1 << (self.bits - self.signed)) - 1


U32 = Annotated[int, Integer(32)]
U64 = Annotated[int, Integer(64)]
U128 = Annotated[int, Integer(128)]
I128 = Annotated[int, Integer(128, signed=True)]


class FixedBytes(bytes):
    """
    A byte string of exactly ``SIZE`` bytes.

    Raises:
        InvalidInput: The bytes given have another length.
    """

    SIZE: ClassVar[int] = 0
    SECRET: ClassVar[bool] = False
    __slots__ = ()

    def __new__(cls, value: bytes) -> Self:
        if len(value) != cls.SIZE:
            raise InvalidInput(f"{cls.__name__} has {cls.SIZE} bytes, not {len(value)}")
        return super().__new__(cls, value)

    @classmethod
    def zero(cls) -> Self:
        """The default value: all bytes zero."""
        return cls(bytes(cls.SIZE))

    def __repr__(self) -> str:
        if self.SECRET:
            return f"{type(self).__name__}(...)"
        return f"{type(self).__name__}({base64.urlsafe_b64encode(self).rstrip(b'=').decode()})"

    __str__ = __repr__


class HashResult(FixedBytes):
    """Output of SHA-512/256, 32 bytes. Spec 01 §3."""

    SIZE = 32
    __slots__ = ()


class Salt(FixedBytes):
    """HKDF salt of a secure channel, 32 bytes. Spec 01 §6."""

    SIZE = 32
    __slots__ = ()


class DhPublicKey(FixedBytes):
    """X25519 public key, RFC 7748, 32 bytes."""

    SIZE = 32
    __slots__ = ()


class PlainLock(FixedBytes):
    """Random preimage of a hash lock, 32 bytes; secret until it is revealed. Spec 01 §4."""

    SIZE = 32
    SECRET = True
    __slots__ = ()


class HashedLock(FixedBytes):
    """Hash of a `PlainLock`, 32 bytes. Spec 01 §4."""

    SIZE = 32
    __slots__ = ()


class PublicKey(FixedBytes):
    """Ed25519 public key, RFC 8032 point, 32 bytes: the name of a node, relay, server or app."""

    SIZE = 32
    __slots__ = ()


class PrivateKey(FixedBytes):
    """Ed25519 seed, RFC 8032, 32 bytes. Never on the wire. Spec 01 §5.1."""

    SIZE = 32
    SECRET = True
    __slots__ = ()


class SealedPrivateKey(FixedBytes):
    """A private key under a passphrase, ChaCha20-Poly1305: ciphertext and tag, 48 bytes. Spec 08 §2.7."""

    SIZE = 48
    __slots__ = ()


class SealedKey(FixedBytes):
    """A symmetric key under a passphrase, ChaCha20-Poly1305: ciphertext and tag, 48 bytes. Spec 08 §6.6."""

    SIZE = 48
    __slots__ = ()


class SymmetricKey(FixedBytes):
    """ChaCha20-Poly1305 key, 32 bytes. Never on the wire. Spec 01 §7."""

    SIZE = 32
    SECRET = True
    __slots__ = ()


class Signature(FixedBytes):
    """Ed25519 signature, or an opaque token of the same size, 64 bytes. Spec 01 §1."""

    SIZE = 64
    __slots__ = ()


class InvoiceId(FixedBytes):
    """Random name of an invoice, chosen by the seller, 32 bytes."""

    SIZE = 32
    __slots__ = ()


class PaymentId(FixedBytes):
    """Random name of a payment, chosen by the buyer, 16 bytes."""

    SIZE = 16
    __slots__ = ()


class RandValue(FixedBytes):
    """Random nonce that makes a handshake, token, response or update unlike any other, 16 bytes."""

    SIZE = 16
    __slots__ = ()


class Uid(FixedBytes):
    """Random identifier of a request, session or acknowledgement, 16 bytes."""

    SIZE = 16
    __slots__ = ()


class _BoundedText(str):
    """A text of at most ``BYTES_MAX`` bytes of UTF-8."""

    BYTES_MAX: ClassVar[int]
    TOO_LONG: ClassVar[str]
    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            raise InvalidInput(f"{cls.__name__} is not valid Unicode: {value!r}") from None
        if size > cls.BYTES_MAX:
            raise InvalidInput(f"{cls.TOO_LONG}: {size} bytes, at most {cls.BYTES_MAX}")
        return super().__new__(cls, value)


class Currency(_BoundedText):
    """Name of a currency: at most 16 bytes of UTF-8, may be empty. Spec 01 §1.1."""

    BYTES_MAX = CURRENCY_BYTES_MAX
    TOO_LONG = "CurrencyNameTooLong"
    __slots__ = ()


class NetAddress(_BoundedText):
    """Text of a network address, ``host:port``: at most 256 bytes of UTF-8, may be empty. Spec 01 §1.1."""

    BYTES_MAX = NET_ADDRESS_BYTES_MAX
    TOO_LONG = "AddressTooLong"
    __slots__ = ()


def is_route_valid(keys: tuple[PublicKey, ...]) -> bool:
    """
    Tell whether *keys* may begin a transaction, from the buyer's node to the destination.

    2 to 32 keys, none twice, except that the last may equal the first of three or more. Spec 04 §4.5.
    """
    if not 2 <= len(keys) <= ROUTE_KEYS_MAX:
        return False
    if keys[0] == keys[-1]:
        return len(keys) > 2 and len(set(keys)) == len(keys) - 1
    return len(set(keys)) == len(keys)


def is_part_valid(keys: tuple[PublicKey, ...]) -> bool:
    """Tell whether *keys* may be the rest of a route inside a request: below 32, none twice. Spec 04 §4.5."""
    return len(keys) < ROUTE_KEYS_MAX and len(set(keys)) == len(keys)
