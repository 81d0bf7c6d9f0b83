"""All outputs of a funder, to be performed once its mutations are durable. Spec 05 §1.2."""

from dataclasses import dataclass

from offset_proto.messages.app import ReportMutations, ResponseClosePayment, TransactionResult
from offset_proto.messages.friend import FriendMessage
from offset_proto.messages.payment import RelayAddress
from offset_proto.types import PublicKey

__all__ = [
    "ChannelerEffect",
    "Effect",
    "ForgetFriend",
    "SendFriendMessage",
    "SendToApps",
    "SetRelays",
    "UpdateFriend",
]


@dataclass(frozen=True, slots=True)
class SetRelays:
    """Listen at these relays for all friends."""

    relays: tuple[RelayAddress, ...]


@dataclass(frozen=True, slots=True)
class UpdateFriend:
    """Keep up a link to a friend: where it is reached, and where it may look for us."""

    public_key: PublicKey
    friend_relays: tuple[RelayAddress, ...]
    local_relays: tuple[RelayAddress, ...]


@dataclass(frozen=True, slots=True)
class ForgetFriend:
    """Keep up no link any more."""

    public_key: PublicKey


@dataclass(frozen=True, slots=True)
class SendFriendMessage:
    """A complete statement of our side; a later one replaces it."""

    public_key: PublicKey
    message: FriendMessage


@dataclass(frozen=True, slots=True)
class SendToApps:
    """A report for all apps, or the result of a request for the one that waits for it."""

    message: ReportMutations | TransactionResult | ResponseClosePayment


ChannelerEffect = SetRelays | UpdateFriend | ForgetFriend
Effect = ChannelerEffect | SendFriendMessage | SendToApps
