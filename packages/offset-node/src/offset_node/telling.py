"""
What a node tells in its log: changes of its friends, relays, index servers and apps, each once. Pure.

The shells call this where a change happens. It adds names and how long things lasted, leaves out what is no change,
and writes an event of `offset_proto.log_events`.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from offset_funder.friend_mutations import SetConsistent, SetInconsistent
from offset_funder.mutations import FriendMutation
from offset_funder.state import Inconsistent
from offset_proto import log_events as events
from offset_proto.entered import parse_address
from offset_proto.errors import InvalidInput
from offset_proto.log_events import Field, LogEvent, tell
from offset_proto.messages.app import AppPermissions, CreateTransaction
from offset_proto.messages.payment import NamedIndexServerAddress, RelayAddress
from offset_proto.presence import Presence
from offset_proto.text import format_b64, format_host_port
from offset_proto.types import PublicKey

__all__ = ["NodeLog"]

log = logging.getLogger("offset.node")

SLOW_COMMIT_SECONDS: Final = 1.0

BRIEF_SECONDS: Final = 8.0
"""
A link to a relay that lasts less is *brief*. What stands for a relay may be no relay at all: it takes each link, and
closes it at once. So the end of a brief link is told with its reason, and of those after it nothing, until one lasts.
"""

ADDRESSES_TOLD_MAX: Final = 256
"""Addresses that were told to be unusable. Friends choose some of them, so there is an end."""

_OF_CHANNELS: Final = (SetInconsistent, SetConsistent)

_PERMISSIONS: Final = ("routes", "buyer", "seller", "config", "history")


class NodeLog:
    """
    The log of one node.

    Args:
        name_of: The owner's name of a friend; None where there is no such friend.
        clock: In seconds; never goes back.
    """

    def __init__(self, name_of: Callable[[PublicKey], str | None], clock: Callable[[], float]) -> None:
        self._name_of = name_of
        self._clock = clock
        self._friends = Presence[PublicKey](clock())
        self._relays = Presence[RelayAddress](clock())
        self._index_servers = Presence[PublicKey](clock())
        self._apps: dict[int, float] = {}
        self._terms: dict[PublicKey, tuple[Mapping[str, int], Mapping[str, int] | None]] = {}
        self._unusable: set[str] = set()
        self._brief: dict[RelayAddress, float] = {}
        self._has_ended = False

    def _tell(self, event: LogEvent, **fields: Field) -> None:
        if not self._has_ended:
            tell(log, event, **fields)

    # The node.

    def started(self, version: str, key: PublicKey, loaded: Mapping[str, int]) -> None:
        """The node runs; *loaded* is how many of what it began with."""
        self._tell(events.STARTED, program="offset-node", version=version, key=format_b64(key), loaded=loaded)

    def listening(self, host: str, port: int) -> None:
        """Apps can connect."""
        self._tell(events.LISTENING, address=format_host_port(host, port), what="apps")

    def end(self) -> None:
        """Tell nothing more: what is closed from now on was closed by the node, which has said that it ends."""
        self._has_ended = True

    def limit_reached(self, limit: str, what: str) -> None:
        """Something goes beyond a limit, and *what* becomes of it."""
        self._tell(events.LIMIT_REACHED, limit=limit, what=what)

    def stored(self, mutations: Sequence[object], seconds: float) -> None:
        """A batch is durable, after so many seconds."""
        for mutation in mutations:  # a payment has dozens, of which none is worth a line: what is cheap comes first
            if isinstance(mutation, FriendMutation) and isinstance(mutation.part, _OF_CHANNELS):
                self._channel_changed(mutation)
        if seconds > SLOW_COMMIT_SECONDS:
            self._tell(events.SLOW_COMMIT, seconds=seconds, mutations=len(mutations))

    def _channel_changed(self, change: FriendMutation) -> None:
        match change:
            case FriendMutation(key, SetInconsistent(channel)):
                self._inconsistent(key, channel)
            case FriendMutation(key, SetConsistent()) if self._terms.pop(key, None) is not None:
                self._tell(events.CHANNEL_CONSISTENT, **self._friend(key))

    # Friends.

    def friend_online(self, key: PublicKey) -> None:
        """There is a link to a friend."""
        away = self._friends.came(key, self._clock())
        self._tell(events.FRIEND_ONLINE, **self._friend(key), away=away)

    def friend_offline(self, key: PublicKey, reason: str) -> None:
        """The link to a friend has ended."""
        online = self._friends.went(key, self._clock())
        if online is not None:
            self._tell(events.FRIEND_OFFLINE, **self._friend(key), online=online, reason=reason)

    def friend_not_reached(self, key: PublicKey, relay: RelayAddress, reason: str) -> None:
        """An attempt to reach a friend has failed."""
        friend = self._friend(key)
        if not self._is_unusable(relay.address, f"relay of friend {friend['friend']}") and self._friends.is_news(key):
            self._tell(events.FRIEND_NOT_REACHED, **friend, relay=relay.address, reason=_without(relay.address, reason))

    def friend_message_refused(self, key: PublicKey, reason: str) -> None:
        """What a friend said counts for nothing."""
        self._tell(events.FRIEND_MESSAGE_REFUSED, **self._friend(key), reason=reason)

    def inconsistent_from_before(self, channels: Iterable[tuple[PublicKey, Inconsistent]]) -> None:
        """The node begins with channels on which it and a friend do not agree."""
        for key, channel in channels:
            self._inconsistent(key, channel)

    def _inconsistent(self, key: PublicKey, channel: Inconsistent) -> None:
        remote = channel.opt_remote_reset_terms
        ours = {str(term.currency): term.balance for term in channel.local_reset_terms.balance_for_reset}
        theirs = None if remote is None else {str(term.currency): -term.balance for term in remote.balance_for_reset}
        if self._terms.get(key) != (ours, theirs):
            self._terms[key] = (ours, theirs)
            self._tell(events.CHANNEL_INCONSISTENT, **self._friend(key), ours=ours, theirs=theirs)

    def _friend(self, key: PublicKey) -> dict[str, str]:
        text = format_b64(key)
        return {"friend": self._name_of(key) or text, "key": text}

    # Relays and index servers.

    def relay_connected(self, relay: RelayAddress) -> None:
        """The node listens at a relay."""
        away = self._relays.came(relay, self._clock())
        if relay not in self._brief:
            self._tell(events.RELAY_CONNECTED, relay=relay.address, away=away)

    def relay_lost(self, relay: RelayAddress, reason: str, next_ticks: int | None) -> None:
        """It does not listen there any more, or could not begin to."""
        lasted = self._relays.went(relay, self._clock())
        if relay in self._brief:
            return  # told already, with the reason
        if lasted is not None:
            if lasted < BRIEF_SECONDS:
                self._brief[relay] = self._clock()
                reason = f"{reason}, {lasted:.1f} s after it was connected (is it a relay?)"
            self._tell(events.RELAY_LOST, relay=relay.address, reason=reason, next=next_ticks)
        elif not self._is_unusable(relay.address, "relay of this node") and self._relays.is_news(relay):
            reason = _without(relay.address, reason)
            self._tell(events.RELAY_NOT_REACHED, relay=relay.address, reason=reason, next=next_ticks)

    def relay_left(self, relay: RelayAddress) -> None:
        """The node does not want to listen there any more."""
        self._relays.went(relay, self._clock())
        self._brief.pop(relay, None)

    def tick(self) -> None:
        """On each tick: a link to a relay whose links were brief is told when it is not brief itself."""
        now = self._clock()
        for relay, lost in list(self._brief.items()):
            since = self._relays.since(relay)
            if since is not None and now - since >= BRIEF_SECONDS:
                del self._brief[relay]
                self._tell(events.RELAY_CONNECTED, relay=relay.address, away=since - lost)

    def index_connected(self, server: NamedIndexServerAddress) -> None:
        """An index server takes what the node declares."""
        self._index_servers.forget_misses()
        away = self._index_servers.came(server.public_key, self._clock())
        self._tell(events.INDEX_CONNECTED, server=server.name, address=server.address, away=away)

    def index_lost(self, server: NamedIndexServerAddress, reason: str, next_ticks: int) -> None:
        """The link to an index server has ended, or did not come about."""
        fields = {"server": server.name, "address": server.address, "reason": _without(server.address, reason)}
        if self._index_servers.went(server.public_key, self._clock()) is not None:
            self._tell(events.INDEX_LOST, **fields, next=next_ticks)
        elif not self._is_unusable(server.address, f"index server {server.name}") and self._index_servers.is_news(
            server.public_key
        ):
            self._tell(events.INDEX_NOT_REACHED, **fields, next=next_ticks)

    def _is_unusable(self, address: str, what: str) -> bool:
        """Whether nobody can be reached at an address, whatever happens; told once."""
        try:
            parse_address(address)
        except InvalidInput as error:
            if address not in self._unusable and len(self._unusable) < ADDRESSES_TOLD_MAX:
                self._unusable.add(address)
                self._tell(events.ADDRESS_UNUSABLE, address=address, what=what, reason=str(error))
            return True
        return False

    # Apps.

    def app_connected(self, app_id: int, key: PublicKey, permissions: AppPermissions) -> None:
        """An app was let in."""
        self._apps[app_id] = self._clock()
        may = [name for name in _PERMISSIONS if permissions.allows(name)]
        self._tell(events.APP_CONNECTED, app=format_b64(key), may=may)

    def app_disconnected(self, app_id: int, key: PublicKey, reason: str) -> None:
        """An app has left, or was cut off."""
        connected = self._clock() - self._apps.pop(app_id)
        self._tell(events.APP_DISCONNECTED, app=format_b64(key), connected=connected, reason=reason)

    def app_refused(self, key: PublicKey, reason: str) -> None:
        """An app was not let in."""
        self._tell(events.APP_REFUSED, app=format_b64(key), reason=reason)

    def request_refused(self, request: object, key: PublicKey | None, by: str, reason: str) -> None:
        """What an app asked for was not done: for want of rights, or plugins or the state of the node forbid it."""
        app = None if key is None else format_b64(key)
        self._tell(events.REQUEST_REFUSED, request=type(request).__name__, app=app, by=by, reason=reason)

    def transaction_refused(self, request: CreateTransaction, key: PublicKey | None, reason: str) -> None:
        """A part of a payment was not sent: the payment or the friend is not such that it could be."""
        route = request.route.public_keys
        friend = self._friend(route[1]) if len(route) > 1 else {"friend": None, "key": None}
        app = None if key is None else format_b64(key)
        self._tell(events.TRANSACTION_REFUSED, **friend, app=app, by="node", reason=reason)


def _without(address: str, reason: str) -> str:
    """A reason for which no link came about begins with the address, which is a field already."""
    return reason.removeprefix(f"{address}: ")
