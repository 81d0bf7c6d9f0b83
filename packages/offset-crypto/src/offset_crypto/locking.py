"""
What a passphrase locks: identities, and backups. Spec 08 §2.7, RFC 9106.

A lock is a passphrase made into a key by Argon2id, which is slow and takes memory on purpose, so that guessing is dear.
The key seals one thing only, with ChaCha20-Poly1305: its salt is drawn anew for every lock, so the nonce can be zero.
The seal covers a purpose, which has the version of the form in it: a sealed backup is not taken for an identity, nor
one version for another. Whoever alters the salt or the cost gets another key, so the seal covers them as well.

The cost is written into the file, so that it can be raised later, and whoever hands us the file may have written it.
Reading therefore has limits: 256 MiB of memory, and some ten seconds of one processor.

A wrong passphrase and a damaged file look the same, as with any such seal.
"""

import unicodedata
from typing import Final

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from offset_proto.errors import InvalidInput, OffsetError
from offset_proto.files import LockedIdentityFile, PassphraseLock
from offset_proto.types import PrivateKey, Salt, SealedPrivateKey, SymmetricKey

__all__ = [
    "PASSPHRASE_BYTES_MAX",
    "LockingUnavailable",
    "WrongPassphrase",
    "lock_identity",
    "new_lock",
    "seal",
    "unlock_identity",
    "unseal",
]

PASSPHRASE_BYTES_MAX: Final = 1024

# The second recommendation of RFC 9106 §4, for machines where 2 GiB of memory are not at hand.
_MEMORY_KIB: Final = 64 * 1024
_ITERATIONS: Final = 3
_LANES: Final = 4

MEMORY_KIB_MAX: Final = 256 * 1024
LANES_MAX: Final = 16
WORK_KIB_MAX: Final = 4 * 1024 * 1024
"""Memory in KiB times passes over it."""

IDENTITY_VERSION: Final = 1
_IDENTITY_PURPOSE: Final = b"Offset locked identity, version 1"
_NONCE: Final = bytes(12)


class WrongPassphrase(InvalidInput):
    """The passphrase does not open this; or it was altered since it was locked."""

    def __init__(self) -> None:
        super().__init__("wrong passphrase, or the file is damaged")


class LockingUnavailable(OffsetError):
    """The OpenSSL that cryptography was built with has no Argon2id; one from 3.2 on has."""

    def __init__(self) -> None:
        super().__init__("this build of cryptography has no Argon2id: install its wheel, or build it with OpenSSL 3.2")


def new_lock(salt: Salt) -> PassphraseLock:
    """A lock of the present cost; *salt* is random, and of this lock alone."""
    return PassphraseLock(_MEMORY_KIB, _ITERATIONS, _LANES, salt)


def _check_cost(lock: PassphraseLock) -> None:
    if not 1 <= lock.lanes <= LANES_MAX:
        raise InvalidInput(f"lanes: {lock.lanes} is not between 1 and {LANES_MAX}")
    if not 8 * lock.lanes <= lock.memory_kib <= MEMORY_KIB_MAX:
        raise InvalidInput(f"memoryKib: {lock.memory_kib} is not between {8 * lock.lanes} and {MEMORY_KIB_MAX}")
    if not 1 <= lock.iterations <= WORK_KIB_MAX // lock.memory_kib:
        raise InvalidInput(f"iterations: {lock.iterations} is not between 1 and {WORK_KIB_MAX // lock.memory_kib}")


def _passphrase_bytes(passphrase: str) -> bytes:
    """UTF-8 in composed form (NFC): the same passphrase, whichever keyboard it was typed on."""
    try:
        encoded = unicodedata.normalize("NFC", passphrase).encode()
    except UnicodeEncodeError:
        raise InvalidInput("the passphrase is not UTF-8") from None
    if not 1 <= len(encoded) <= PASSPHRASE_BYTES_MAX:
        raise InvalidInput(f"a passphrase has 1 to {PASSPHRASE_BYTES_MAX} bytes, this one has {len(encoded)}")
    return encoded


def _key(lock: PassphraseLock, passphrase: str) -> SymmetricKey:
    _check_cost(lock)
    secret = _passphrase_bytes(passphrase)
    try:
        kdf = Argon2id(
            salt=lock.salt,
            length=SymmetricKey.SIZE,
            iterations=lock.iterations,
            lanes=lock.lanes,
            memory_cost=lock.memory_kib,
        )
        return SymmetricKey(kdf.derive(secret))
    except UnsupportedAlgorithm:
        raise LockingUnavailable from None


def seal(plain: bytes, lock: PassphraseLock, passphrase: str, purpose: bytes) -> bytes:
    """
    *plain* under a passphrase: 16 bytes longer.

    Args:
        plain: At most 2 GiB - 1.
        lock: New, and used for nothing else.
        passphrase: 1 to 1024 bytes of UTF-8.
        purpose: What this is, and the version of its form.

    Raises:
        InvalidInput: The passphrase is empty, too long or no UTF-8.
        LockingUnavailable: No Argon2id here.
    """
    return ChaCha20Poly1305(_key(lock, passphrase)).encrypt(_NONCE, plain, purpose)


def unseal(sealed: bytes, lock: PassphraseLock, passphrase: str, purpose: bytes) -> bytes:
    """
    What `seal` was given, with the same lock, passphrase and purpose.

    Raises:
        WrongPassphrase: It is not that.
        InvalidInput: The lock costs more than we spend on anybody's file, or the passphrase can be none.
        LockingUnavailable: No Argon2id here.
    """
    try:
        return ChaCha20Poly1305(_key(lock, passphrase)).decrypt(_NONCE, sealed, purpose)
    except InvalidTag:
        raise WrongPassphrase from None


def lock_identity(private_key: PrivateKey, passphrase: str, salt: Salt) -> LockedIdentityFile:
    """An identity under a passphrase, with a fresh random *salt*. Raises as `seal`."""
    lock = new_lock(salt)
    sealed = SealedPrivateKey(seal(private_key, lock, passphrase, _IDENTITY_PURPOSE))
    return LockedIdentityFile(IDENTITY_VERSION, lock, sealed)


def unlock_identity(locked: LockedIdentityFile, passphrase: str) -> PrivateKey:
    """
    The private key of a locked identity.

    Raises:
        WrongPassphrase, InvalidInput, LockingUnavailable: As `unseal`; InvalidInput for a version that is not known.
    """
    if locked.locked_identity != IDENTITY_VERSION:
        raise InvalidInput(f"lockedIdentity: version {locked.locked_identity}, this program knows {IDENTITY_VERSION}")
    return PrivateKey(unseal(locked.sealed_private_key, locked.lock, passphrase, _IDENTITY_PURPOSE))
