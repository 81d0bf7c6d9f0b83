"""Between a node and a relay. Spec 03 §3 (relay.capnp)."""

from offset_proto.layout import declare_union, member, struct
from offset_proto.types import PublicKey

__all__ = ["Accept", "Connect", "IncomingConnection", "InitConnection", "Listen", "RejectConnection"]


@member
class Listen:
    """Tell me about those who want a tunnel to me."""


@member
class Accept:
    """Join me with the waiting connector that has this key."""

    public_key: PublicKey


@member
class Connect:
    """I want a tunnel to the listener with this key."""

    public_key: PublicKey


InitConnection = Listen | Accept | Connect
declare_union("relay", "InitConnection", {"listen": Listen, "accept": Accept, "connect": Connect})


@struct("relay")
class RejectConnection:
    """Listener to relay: drop the waiting connector with this key."""

    public_key: PublicKey


@struct("relay")
class IncomingConnection:
    """Relay to listener: this key wants a tunnel."""

    public_key: PublicKey
