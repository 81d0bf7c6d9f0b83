"""
Authenticated encryption of one direction: ChaCha20-Poly1305 with a counter as nonce. Spec 01 §7.

A sealed message is nonce (12 bytes, little-endian counter from 0), ciphertext, tag (16 bytes). The
receiver accepts exactly the next counter; what it refuses does not advance it.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from offset_proto.errors import PeerError
from offset_proto.types import SymmetricKey

__all__ = ["NONCE_BYTES", "OVERHEAD_BYTES", "DecryptionFailed", "Opener", "Sealer"]

NONCE_BYTES = 12
OVERHEAD_BYTES = NONCE_BYTES + 16


class DecryptionFailed(PeerError):
    """A message is not the next one sealed with this key: too short, altered, repeated or skipped."""


class Sealer:
    """Seals the messages of one direction."""

    __slots__ = ("_cipher", "_count")

    def __init__(self, key: SymmetricKey) -> None:
        self._cipher = ChaCha20Poly1305(key)
        self._count = 0

    def seal(self, plain: bytes) -> bytes:
        """The next sealed message: 28 bytes longer than *plain*."""
        nonce = self._count.to_bytes(NONCE_BYTES, "little")
        self._count += 1
        return nonce + self._cipher.encrypt(nonce, plain, None)


class Opener:
    """Opens the messages of one direction."""

    __slots__ = ("_cipher", "_count")

    def __init__(self, key: SymmetricKey) -> None:
        self._cipher = ChaCha20Poly1305(key)
        self._count = 0

    def open(self, sealed: bytes) -> bytes:
        """
        The plain text of the next message.

        Raises:
            DecryptionFailed: It is not; the counter stays (D1).
        """
        nonce = self._count.to_bytes(NONCE_BYTES, "little")
        if len(sealed) < OVERHEAD_BYTES or sealed[:NONCE_BYTES] != nonce:
            raise DecryptionFailed("not the next message of this channel")
        try:
            plain = self._cipher.decrypt(nonce, sealed[NONCE_BYTES:], None)
        except InvalidTag:
            raise DecryptionFailed("a message of this channel was altered") from None
        self._count += 1
        return plain
