"""How an app configures a node: relays, index servers, friends and their currencies. Spec 09 §7."""

from collections.abc import Iterable
from typing import Protocol

from offset_ctrl.rules import changes
from offset_ctrl.rules.changes import Change
from offset_ctrl.rules.refusals import known_currencies, known_names, why_refused
from offset_ctrl.sdk.errors import RequestRefused, UnknownName
from offset_ctrl.sdk.view import FriendName, NodeView
from offset_proto.files import FriendTicket
from offset_proto.messages.payment import Rate, RelayAddress
from offset_proto.messages.report import ChannelInconsistentReport
from offset_proto.types import U32, U128, Currency, PublicKey

__all__ = ["NodeConfiguration"]


class NodeConfiguration(NodeView):
    """
    The verbs of `offset_ctrl.Node` that need the permission *config*.

    Each asks for a change and looks whether the report shows it, and raises:

    * NotPermitted: the app has no such permission;
    * RequestRefused: the node did not make the change;
    * UnknownName: there is no friend, relay or index server of this name;
    * InvalidInput: a name, address or currency that nobody could use (spec 09 §1.5).
    """

    async def add_relay(self, ticket: RelayAddress, name: str) -> None:
        """Use one more relay, under a local name; friends reach the node through it."""
        await self._enter(changes.add_relay(ticket, name))

    async def remove_relay(self, name: str | PublicKey) -> None:
        """Stop using a relay: friends do not reach the node through it any more."""
        await self._change(changes.remove_relay(_key_of("relay", name, self.report.relays)))

    async def add_index_server(self, ticket: RelayAddress, name: str) -> None:
        """Use one more index server, under a local name; routes are asked for there."""
        await self._enter(changes.add_index_server(ticket, name))

    async def remove_index_server(self, name: str | PublicKey) -> None:
        """Stop using an index server: no routes are asked for there, and nothing is declared to it."""
        await self._change(changes.remove_index_server(_key_of("index server", name, self.report.index_servers)))

    async def add_friend(self, ticket: FriendTicket, name: str) -> None:
        """Add a friend by its ticket, under a local name; `enable_friend` connects to it."""
        await self._enter(changes.add_friend(ticket, name))

    async def rename_friend(self, friend: FriendName, name: str) -> None:
        """Give a friend another local name."""
        await self._enter(changes.set_friend_name(self._friend_key(friend), name))

    async def set_friend_relays(self, friend: FriendName, relays: tuple[RelayAddress, ...]) -> None:
        """Say through which relays a friend is reached from now on."""
        await self._change(changes.set_friend_relays(self._friend_key(friend), relays))

    async def enable_friend(self, friend: FriendName) -> None:
        """Connect to a friend, and keep connected until `disable_friend`."""
        await self._change(changes.enable_friend(self._friend_key(friend)))

    async def disable_friend(self, friend: FriendName) -> None:
        """Close the connection to a friend, and open none until `enable_friend`."""
        await self._change(changes.disable_friend(self._friend_key(friend)))

    async def remove_friend(self, friend: FriendName) -> None:
        """Forget a friend, its balances, and all that is open with it."""
        await self._change(changes.remove_friend(self._friend_key(friend)))

    async def open_currency(self, friend: FriendName, currency: str) -> None:
        """Forward requests of and to a friend in a currency."""
        await self._enter(changes.open_currency(self._friend_key(friend), Currency(currency)))

    async def close_currency(self, friend: FriendName, currency: str) -> None:
        """Forward no new requests of or to a friend in a currency; what is under way is finished."""
        await self._change(changes.close_currency(self._friend_key(friend), Currency(currency)))

    async def remove_currency(self, friend: FriendName, currency: str) -> None:
        """
        Withdraw a currency that the friend has not agreed to.

        Raises:
            UnknownName: It is not set up with the friend.
        """
        key = self._friend_key(friend)
        known = self.report.friends[key]
        if all(config.currency != currency for config in known.currency_configs):
            raise UnknownName(f"there is no {currency!r} with {known.name!r}; {known_currencies(known)}")
        await self._change(changes.remove_currency(key, Currency(currency)))

    async def set_max_debt(self, friend: FriendName, currency: str, max_debt: U128) -> None:
        """Set how many credits a friend may owe us."""
        await self._enter(changes.set_max_debt(self._friend_key(friend), Currency(currency), max_debt))

    async def set_rate(self, friend: FriendName, currency: str, mul: U32 = 0, add: U32 = 0) -> None:
        """Charge a friend floor(amount * mul / 2**32) + add credits for forwarding."""
        await self._enter(changes.set_rate(self._friend_key(friend), Currency(currency), Rate(mul, add)))

    async def reset_channel(self, friend: FriendName) -> None:
        """
        Accept a friend's terms for a channel that is inconsistent.

        Raises:
            RequestRefused: It is consistent, or the friend has not said its terms.
        """
        key = self._friend_key(friend)
        status = self.report.friends[key].channel_status
        if not isinstance(status, ChannelInconsistentReport) or status.opt_remote_reset_terms is None:
            raise RequestRefused(f"there are no terms of {friend!r} to accept")
        await self._change(changes.reset_channel(key, status.opt_remote_reset_terms.reset_token))

    # Inside.

    async def _enter(self, change: Change) -> None:
        await self._change(changes.as_entered(change))

    async def _change(self, change: Change) -> None:
        self._check("config")
        await self._session.request(change.request)
        report = self._session.report
        if not change.holds(report):
            why = why_refused(change.request, report)
            raise RequestRefused(
                f"the node did not carry out {type(change.request).__name__}" + (f": {why}" if why else "")
            )


class _Named(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def public_key(self) -> PublicKey: ...


def _key_of(kind: str, name: str | PublicKey, known: Iterable[_Named]) -> PublicKey:
    entries = tuple(known)
    for entry in entries:
        if name in (entry.name, entry.public_key):
            return entry.public_key
    raise UnknownName(f"there is no {kind} {name!r}; {known_names(entry.name for entry in entries)}")
