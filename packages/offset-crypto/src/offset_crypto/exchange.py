"""Ephemeral X25519 keys, and the two symmetric keys derived from an exchange. Spec 01 §6."""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA512_256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from offset_proto.errors import PeerError
from offset_proto.types import DhPublicKey, Salt, SymmetricKey

__all__ = ["EphemeralKey", "SessionKeys", "WeakKey"]


class WeakKey(PeerError):
    """The peer's ephemeral key gives a secret that everybody knows (D4)."""


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """Keys of the two directions, each from the salt of its sender."""

    send: SymmetricKey
    receive: SymmetricKey


class EphemeralKey:
    """
    A key of one handshake or rekey.

    Args:
        random: 32 random bytes.
    """

    __slots__ = ("_private", "public_key")

    def __init__(self, random: bytes) -> None:
        self._private = X25519PrivateKey.from_private_bytes(random)
        self.public_key = DhPublicKey(self._private.public_key().public_bytes_raw())

    def derive(self, remote: DhPublicKey, *, local_salt: Salt, remote_salt: Salt) -> SessionKeys:
        """
        The keys shared with the owner of *remote*.

        Raises:
            WeakKey: The shared secret is all zero; no honest peer causes that.

        Spec: 01 §6 [WIRE].
        """
        try:
            shared = self._private.exchange(X25519PublicKey.from_public_bytes(remote))
        except ValueError:
            raise WeakKey("the peer's ephemeral key is of low order") from None
        return SessionKeys(send=_expand(shared, local_salt), receive=_expand(shared, remote_salt))


def _expand(shared: bytes, salt: Salt) -> SymmetricKey:
    return SymmetricKey(HKDF(algorithm=SHA512_256(), length=32, salt=salt, info=b"").derive(shared))
