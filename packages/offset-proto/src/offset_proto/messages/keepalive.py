"""The keepalive layer. Spec 02 §7 (keepalive.capnp)."""

from offset_proto.layout import declare_union, member

__all__ = ["KaMessage", "KeepAlive", "Message"]


@member
class KeepAlive:
    """A sign of life; never answered."""


@member
class Message:
    """One message of the layer above; may be empty."""

    data: bytes


KaMessage = KeepAlive | Message
declare_union("keepalive", "KaMessage", {"keepAlive": KeepAlive, "message": Message})
