"""
The workbench of one event: the state in the making, and what is to come of it.

Handlers take a `Session`, check, mutate, and ask for effects. Nothing of it is seen outside until the
event is through; an event that fails leaves the funder as it was.
"""

from dataclasses import dataclass, field

from offset_crypto.identity import Identity
from offset_crypto.secure_channel import RandomBytes
from offset_funder.bookkeeping import Entry, entries_of
from offset_funder.effects import ChannelerEffect, Occurrence, SendFriendMessage, UpdateFriend
from offset_funder.mutations import FriendMutation, FriendPart, Mutation, PushBackPendingBackwardsOp, apply
from offset_funder.open_requests import OpenRequests, Origin
from offset_funder.relay_lists import relays_of
from offset_funder.state import BackwardsOp, Consistent, Friend, FunderState
from offset_proto.errors import RefusedError
from offset_proto.messages.app import ResponseClosePayment, TransactionResult
from offset_proto.messages.friend import FriendMessage, RequestSendFundsOp
from offset_proto.types import Currency, InvoiceId, PublicKey, Uid

__all__ = [
    "ControlError",
    "FriendDoesNotExist",
    "Outputs",
    "ResponseDraft",
    "SendFlags",
    "Session",
    "Surroundings",
    "TokenAtHand",
]


class ControlError(RefusedError):
    """A request that this state forbids; its message is the specification's name for the reason."""


class FriendDoesNotExist(ControlError):
    """No friend of this node has the key."""


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


@dataclass(frozen=True, slots=True)
class TokenAtHand:
    """
    What is known of the friend's token that an event brings, beyond the token itself.

    An event brings one token at most, so this lives as long as the session; there is nothing to clear.

    Attributes:
        refused: Requests in it that the owner's policy does not let us forward.
        reply_origins: Where the requests came from that its replies answer. They are looked up before the mutations of
            the token are applied, because the ledgers forget a request when it is answered for good.
    """

    refused: frozenset[tuple[Currency, Uid]] = frozenset()
    reply_origins: dict[tuple[Currency, Uid], Origin] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """
    What a session finds and does not change. It lives as long as the funder.

    Attributes:
        identity: Signs.
        random_bytes: Source of nonces, locks and ids.
        returns_tokens: Return the token to a friend as soon as it has answered a request.
    """

    identity: Identity
    random_bytes: RandomBytes
    returns_tokens: bool


@dataclass(slots=True)
class Outputs:
    """
    What an event comes to, besides the new state: seen outside when the event is through, and in this order there.

    Attributes:
        mutations: Changes of the state, to be stored before anything below is performed.
        channeler: For the channeler.
        friend_messages: For friends.
        results: For apps.
        occurrences: What happened, for those who watch.
        entries: What changed the balances with friends, and why.
        notes: For the log; without secrets.
    """

    mutations: list[Mutation] = field(default_factory=list)
    channeler: list[ChannelerEffect] = field(default_factory=list)
    friend_messages: list[SendFriendMessage] = field(default_factory=list)
    results: list[TransactionResult | ResponseClosePayment] = field(default_factory=list)
    occurrences: list[Occurrence] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Session:
    """
    State, index and outputs of one event.

    Its attributes have four lifetimes:

    ====================================  ==============================================================
    `surroundings`                        as long as the funder; never changed
    `state`, `open_requests`, `online`    as the last event left them; kept when this event is through
    `flags`, `responses`, `token`         this event; what is to be done at its end, and what it brought
    `outputs`                             this event; handed out when it is through
    ====================================  ==============================================================

    Only `mutate` changes the state, and the index with it; `forget_request_to` says the one exception. A handler
    checks everything before its first mutation, so an error leaves nothing half done.
    """

    def __init__(
        self,
        state: FunderState,
        open_requests: OpenRequests,
        online: frozenset[PublicKey],
        surroundings: Surroundings,
    ) -> None:
        self.surroundings = surroundings
        self.state = state
        self.open_requests = open_requests
        self.online = online
        self.flags: dict[PublicKey, SendFlags] = {}
        self.responses: list[ResponseDraft] = []
        self.token = TokenAtHand()
        self.outputs = Outputs()

    def mutate(self, mutation: Mutation) -> None:
        """Carry out a mutation on the state, the index and the book, and note it down to be stored."""
        self.outputs.entries += entries_of(self.state, self.open_requests, mutation)
        open_requests = self.open_requests.after(self.state, mutation)
        self.state = apply(self.state, mutation)
        self.open_requests = open_requests
        self.outputs.mutations.append(mutation)

    def forget_request_to(self, friend: PublicKey, currency: Currency, request_id: Uid) -> Origin:
        """
        Take a request that the ledger has refused out of the index of open requests; returns where it came from.

        This is the one change of the index that no mutation makes. The mutation that took the request out of its queue
        left it in the index, since a request normally goes from the queue into the ledger and stays open there.
        """
        origin = self.open_requests.origin(friend, currency, request_id)
        self.open_requests = self.open_requests.without_request_to(friend, currency, request_id)
        return origin

    def mutate_friend(self, public_key: PublicKey, part: FriendPart) -> None:
        """Carry out a mutation of one friend, which must exist, as `mutate` does."""
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
            raise FriendDoesNotExist from None

    def consistent(self, public_key: PublicKey) -> Consistent | None:
        """The friend's channel, if the friend exists and the channel is consistent."""
        friend = self.state.friends.get(public_key)
        return friend.channel if friend is not None and isinstance(friend.channel, Consistent) else None

    def try_send(self, public_key: PublicKey) -> SendFlags:
        """Let the sender look after this friend; returns its flags, to set more."""
        return self.flags.setdefault(public_key, SendFlags())

    def send(self, public_key: PublicKey, message: FriendMessage) -> None:
        """Send a message to a friend once the event is durable."""
        self.outputs.friend_messages.append(SendFriendMessage(public_key, message))

    def pass_back(self, friend: PublicKey, currency: Currency, op: BackwardsOp) -> None:
        """Queue a reply for *friend*; dropped where its channel is gone. Spec 05 §9.1."""
        channel = self.consistent(friend)
        if channel is None or currency not in channel.token_channel.ledgers:
            self.note(f"dropped a reply for {op.request_id!r}: the channel is gone")
            return
        self.mutate_friend(friend, PushBackPendingBackwardsOp(currency, op))
        self.try_send(friend)

    def configure(self, effect: ChannelerEffect) -> None:
        """Ask the channeler for something; it hears of it once the event is durable, and before any message is sent."""
        self.outputs.channeler.append(effect)

    def update_channeler(self, public_key: PublicKey) -> None:
        """
        Tell the channeler where an enabled friend is, and where it may look for us. Spec 05 §11.

        It is told once for an event: each update says everything, so that the last one replaces those before it.
        """
        friend = self.state.friends[public_key]
        if not friend.is_enabled:
            return
        local_relays = tuple(relay.without_name() for relay in relays_of(friend.sent_local_relays))
        update = UpdateFriend(public_key, friend.remote_relays, local_relays)
        self.outputs.channeler = [
            effect
            for effect in self.outputs.channeler
            if not (isinstance(effect, UpdateFriend) and effect.public_key == public_key)
        ]
        self.configure(update)

    def note(self, text: str) -> None:
        """Write something into the log once the event is through; there must be no secrets in it."""
        self.outputs.notes.append(text)
