"""
Ed25519 identities: sign with a seed, verify with a public key. Spec 01 §5, RFC 8032.

Verification that fails raises; there is no flag that could be ignored.
"""

from cryptography.exceptions import InvalidSignature as _BackendInvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from offset_proto.errors import PeerError
from offset_proto.types import PrivateKey, PublicKey, Signature

__all__ = ["Identity", "InvalidSignature", "is_signature_valid", "verify"]


class InvalidSignature(PeerError):
    """A signature does not match its message and key."""


class Identity:
    """
    A private key that signs.

    Args:
        private_key: The seed, 32 bytes; any value is valid.
    """

    __slots__ = ("_signer", "public_key")

    def __init__(self, private_key: PrivateKey) -> None:
        self._signer = Ed25519PrivateKey.from_private_bytes(private_key)
        self.public_key = PublicKey(self._signer.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> Signature:
        """Deterministic signature of *message*, 64 bytes."""
        return Signature(self._signer.sign(message))

    def __repr__(self) -> str:
        return f"Identity({self.public_key!r})"


def verify(message: bytes, public_key: PublicKey, signature: Signature) -> None:
    """
    Check a signature.

    Raises:
        InvalidSignature: It does not match; also where *public_key* is no point of the curve.

    Spec: 01 §5.3 [WIRE].
    """
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (_BackendInvalidSignature, ValueError):
        raise InvalidSignature("invalid signature") from None


def is_signature_valid(message: bytes, public_key: PublicKey, signature: Signature) -> bool:
    """Tell whether a signature matches, where both answers are ordinary."""
    try:
        verify(message, public_key, signature)
    except InvalidSignature:
        return False
    return True
