"""Identity files in a given order of their keys, which decides who holds the first token and who dials."""

import os

from interop.network import Network
from offset_crypto.hashing import is_lower
from offset_crypto.identity import Identity
from offset_proto.files import IDENTITY, IdentityFile
from offset_proto.types import PrivateKey

__all__ = ["make_identities"]


def make_identities(network: Network, lower: str, higher: str) -> None:
    """Make the identities *lower* and *higher*, so that their keys are in this order (spec 04 §6.2)."""
    first, second = IdentityFile(PrivateKey(os.urandom(32))), IdentityFile(PrivateKey(os.urandom(32)))
    if not is_lower(Identity(first.private_key).public_key, Identity(second.private_key).public_key):
        first, second = second, first
    IDENTITY.save(network.path(f"{lower}.ident"), first)
    IDENTITY.save(network.path(f"{higher}.ident"), second)
