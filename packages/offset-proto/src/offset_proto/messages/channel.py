"""The secure channel: handshake, content, rekey. Spec 02 §5.1 (dh.capnp)."""

from typing import Annotated

from offset_proto.layout import Optional, declare_union, member, struct
from offset_proto.types import DhPublicKey, PublicKey, RandValue, Salt, Signature

__all__ = ["ChannelContent", "ChannelMessage", "ExchangeDh", "ExchangeRandNonce", "Rekey", "User"]


@struct("dh")
class ExchangeRandNonce:
    """First message of a handshake: a fresh nonce, who I am, and whom I expect."""

    rand_nonce: RandValue
    src_public_key: PublicKey
    opt_dest_public_key: Annotated[PublicKey | None, Optional("publicKey")]


@struct("dh")
class ExchangeDh:
    """Second message of a handshake. *rand_nonce* is the one that the peer sent."""

    dh_public_key: DhPublicKey
    rand_nonce: RandValue
    key_salt: Salt
    signature: Signature


@struct("dh")
class Rekey:
    """New ephemeral key and salt, sent inside the channel."""

    dh_public_key: DhPublicKey
    key_salt: Salt


@member
class User:
    """One message of the layer above."""

    data: bytes


ChannelContent = Rekey | User
declare_union("dh", "ChannelContent", {"rekey": Rekey, "user": User})


@struct("dh")
class ChannelMessage:
    """What is encrypted. *rand_padding* is ignored by the receiver."""

    rand_padding: bytes
    content: ChannelContent
