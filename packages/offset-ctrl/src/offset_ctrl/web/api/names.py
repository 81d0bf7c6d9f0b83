"""How paths and queries name friends and servers: by local names, or by keys."""

from offset_ctrl.sdk.node import Node
from offset_proto.errors import InvalidInput
from offset_proto.text import parse_b64
from offset_proto.types import PublicKey

__all__ = ["friend_key", "name_or_key"]


def friend_key(node: Node, text: str) -> PublicKey:
    """
    The key of the friend whose local name is *text*, or whose key it stands for.

    Raises:
        UnknownName: There is none.
    """
    friends = node.report.friends
    keys = [key for key, friend in friends.items() if friend.name == text]
    if keys:
        return min(keys)
    name = name_or_key(text)
    node.friend(name)
    assert isinstance(name, PublicKey)
    return name


def name_or_key(text: str) -> str | PublicKey:
    """The key that *text* stands for, or else a local name."""
    try:
        return parse_b64(PublicKey, text)
    except InvalidInput:
        return text
