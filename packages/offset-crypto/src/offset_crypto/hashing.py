"""SHA-512/256, hash locks, and the order of public keys. Spec 01 §3, §4."""

import hashlib

from offset_proto.types import HashedLock, HashResult, PlainLock, PublicKey, RandValue, Uid

__all__ = ["hash_lock", "is_lower", "response_hash", "sha512_256"]

_EMPTY = hashlib.new("sha512_256")


def sha512_256(data: bytes) -> HashResult:
    """SHA-512/256 (FIPS 180-4, its own initial values) of *data*."""
    state = _EMPTY.copy()
    state.update(data)
    return HashResult(state.digest())


def hash_lock(plain_lock: PlainLock) -> HashedLock:
    """The lock that *plain_lock* opens: one pass of the hash. Spec 01 §4."""
    return HashedLock(sha512_256(plain_lock))


def is_lower(first: PublicKey, second: PublicKey) -> bool:
    """
    Tell whether *first* is the lower key: H(first) < H(second), never the raw bytes.

    The lower side listens at its relays, and counts as sender of the initial token. Spec 01 §3.2 [WIRE].
    """
    return sha512_256(first) < sha512_256(second)


def response_hash(request_id: Uid, rand_nonce: RandValue) -> HashResult:
    """What a response, a commit and a receipt name their transaction by. Spec 01 §3.2."""
    return sha512_256(request_id + rand_nonce)
