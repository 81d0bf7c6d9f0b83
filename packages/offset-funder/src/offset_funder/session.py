"""
The workbench of one event: the state in the making, and what is to come of it.

Handlers take a `Session`, check, mutate, and ask for effects. Nothing of it is seen outside until the
event is through; an event that fails leaves the funder as it was.
"""

from dataclasses import dataclass

from offset_crypto.identity import Identity
from offset_crypto.secure_channel import RandomBytes
from offset_funder.effects import ChannelerEffect, Occurrence, SendFriendMessage, UpdateFriend
from offset_funder.mutations import FriendMutation, FriendPart, Mutation, PushBackPendingBackwardsOp, apply
from offset_funder.open_requests import OpenRequests, Origin
from offset_funder.relay_lists import relays_of
from offset_funder.state import BackwardsOp, Consistent, Friend, FunderState
from offset_proto.errors import RefusedError
from offset_proto.messages.app import ResponseClosePayment, TransactionResult
from offset_proto.messages.friend import FriendMessage, RequestSendFundsOp
from offset_proto.types import Currency, InvoiceId, PublicKey, Uid

__all__ = ["ControlError", "FriendDoesNotExist", "ResponseDraft", "SendFlags", "Session"]


class ControlError(RefusedError):
    """A request that this state forbids; its message is the specification's name for the reason."""


class FriendDoesNotExist(ControlError):
    """No friend has this key."""


@dataclass(slots=True)
class SendFlags:
    """What the sender is to do for a friend at the end of the event. Spec 05 §4."""

    resend_outgoing: bool = False
    remote_wants_token: bool = False
    resend_relays: bool = False


@dataclass(frozen=True, slots=True)
class ResponseDraft:
    """A request that ends here and is accepted: its response is signed after the handler. Spec 05 §8.3."""

    friend: PublicKey
    currency: Currency
    request: RequestSendFundsOp
    invoice_id: InvoiceId
    is_complete: bool


class Session:
    """State, index and outputs of one event."""

    def __init__(
        self,
        state: FunderState,
        open_requests: OpenRequests,
        online: frozenset[PublicKey],
        identity: Identity,
        random_bytes: RandomBytes,
        *,
        returns_tokens: bool = False,
    ) -> None:
        self.returns_tokens = returns_tokens
        self.state = state
        self.open_requests = open_requests
        self.online = online
        self.identity = identity
        self.random_bytes = random_bytes
        self.mutations: list[Mutation] = []
        self.flags: dict[PublicKey, SendFlags] = {}
        self.channeler: list[ChannelerEffect] = []
        self.friend_messages: list[SendFriendMessage] = []
        self.results: list[TransactionResult | ResponseClosePayment] = []
        self.responses: list[ResponseDraft] = []
        self.reply_origins: dict[tuple[Currency, Uid], Origin] = {}
        """Origins of the replies in the token at hand, looked up before the ledgers forgot them."""
        self.refused: frozenset[tuple[Currency, Uid]] = frozenset()
        """Requests in the token at hand that the owner's policy does not let us forward."""
        self.occurrences: list[Occurrence] = []
        self.notes: list[str] = []

    def mutate(self, mutation: Mutation) -> None:
        """Change the state."""
        open_requests = self.open_requests.after(self.state, mutation)
        self.state = apply(self.state, mutation)
        self.open_requests = open_requests
        self.mutations.append(mutation)

    def mutate_friend(self, public_key: PublicKey, part: FriendPart) -> None:
        """Change one friend."""
        self.mutate(FriendMutation(public_key, part))

    def friend(self, public_key: PublicKey) -> Friend:
        """
        The friend of this key.

        Raises:
            FriendDoesNotExist: There is none.
        """
        try:
            return self.state.friends[public_key]
        except KeyError:
            raise FriendDoesNotExist("FriendDoesNotExist") from None

    def consistent(self, public_key: PublicKey) -> Consistent | None:
        """The friend's channel, if the friend exists and the channel is consistent."""
        friend = self.state.friends.get(public_key)
        return friend.channel if friend is not None and isinstance(friend.channel, Consistent) else None

    def try_send(self, public_key: PublicKey) -> SendFlags:
        """Let the sender look after this friend; returns its flags, to set more."""
        return self.flags.setdefault(public_key, SendFlags())

    def send(self, public_key: PublicKey, message: FriendMessage) -> None:
        """Send a message to a friend once the event is durable."""
        self.friend_messages.append(SendFriendMessage(public_key, message))

    def pass_back(self, friend: PublicKey, currency: Currency, op: BackwardsOp) -> None:
        """Queue a reply for *friend*; dropped where its channel is gone. Spec 05 §9.1."""
        channel = self.consistent(friend)
        if channel is None or currency not in channel.token_channel.ledgers:
            self.note(f"dropped a reply for {op.request_id!r}: the channel is gone")
            return
        self.mutate_friend(friend, PushBackPendingBackwardsOp(currency, op))
        self.try_send(friend)

    def configure(self, effect: ChannelerEffect) -> None:
        """Tell the channeler."""
        self.channeler.append(effect)

    def update_channeler(self, public_key: PublicKey) -> None:
        """Tell the channeler where an enabled friend is, and where it may look for us. Spec 05 §11."""
        friend = self.state.friends[public_key]
        if friend.is_enabled:
            local_relays = tuple(relay.without_name() for relay in relays_of(friend.sent_local_relays))
            self.configure(UpdateFriend(public_key, friend.remote_relays, local_relays))

    def note(self, text: str) -> None:
        """Something for the log, without secrets."""
        self.notes.append(text)
