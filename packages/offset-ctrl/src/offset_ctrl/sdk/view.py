"""What a node says, as an app sees it: its report, its history, and what it can do."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime

from offset_crypto.aio import Proxy
from offset_ctrl.connection.history import HistoryPlace
from offset_ctrl.connection.session import NodeSession
from offset_ctrl.rules.refusals import known_names
from offset_ctrl.sdk.errors import NotPermitted, UnknownName
from offset_ctrl.sdk.history import build_filter, note_request, read_entries
from offset_proto.files import FriendTicket, Invoice
from offset_proto.messages.app import AppPermissions
from offset_proto.messages.extensions import Extension
from offset_proto.messages.history import EntryKind, HistoryEntry
from offset_proto.messages.payment import RelayAddress
from offset_proto.messages.report import ChannelConsistentReport, FriendReport, McBalanceReport
from offset_proto.report_view import ReportView
from offset_proto.types import I128, InvoiceId, PaymentId, PublicKey

__all__ = ["FriendName", "NodeView"]

FriendName = str | PublicKey
"""A friend by its local name or by its key."""


class NodeView:
    """The verbs of `offset_ctrl.Node` that change nothing but notes."""

    def __init__(self, session: NodeSession) -> None:
        self._session = session

    @property
    def public_key(self) -> PublicKey:
        """The key by which friends and buyers know the node."""
        return self._session.report.local_public_key

    @property
    def permissions(self) -> AppPermissions:
        """What this app may ask for."""
        return self._session.permissions

    @property
    def proxy(self) -> Proxy | None:
        """Through which the node is reached; commits can be delivered the same way (`deliver_to`)."""
        return self._session.proxy

    @property
    def extensions(self) -> Extension:
        """What the node can do beyond the original's protocol; nothing, where it is an original's."""
        return self._session.extensions

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now; a lost one is made again by itself."""
        return self._session.is_connected

    @property
    def report(self) -> ReportView:
        """The node's report at the moment; use it before the next await, or go by `reports`."""
        return self._session.report

    async def reports(self) -> AsyncIterator[ReportView]:
        """
        The report now, and again after it has changed; a slow reader gets the latest and misses those between.

        Each is a copy that does not change any more.
        """
        seen = 0
        while True:
            seen = await self._session.changed(seen)
            yield ReportView(self._session.report.snapshot())

    async def wait_until(self, is_so: Callable[[ReportView], bool], timeout: float = 60.0) -> None:
        """
        Wait until it is so of the report.

        Raises:
            TimeoutError: It is not, for *timeout* seconds.
        """
        try:
            async with asyncio.timeout(timeout):
                while True:
                    seen = self._session.version
                    if is_so(self._session.report):
                        return
                    await self._session.changed(seen)
        except TimeoutError:
            raise TimeoutError(f"the report has not come to say so within {timeout:g} seconds") from None

    def friend(self, name: FriendName) -> FriendReport:
        """
        What the report says of a friend.

        Raises:
            UnknownName: There is none.
        """
        return self.report.friends[self._friend_key(name)]

    def balance(self, friend: FriendName, currency: str) -> I128:
        """
        Credits that a friend owes us; negative where we owe.

        Raises:
            UnknownName: No such friend, or no balance of this currency.
        """
        return self.ledger(friend, currency).balance

    def ledger(self, friend: FriendName, currency: str) -> McBalanceReport:
        """
        Balance and frozen credits with a friend.

        Raises:
            UnknownName: No such friend, or no balance of this currency.
        """
        status = self.friend(friend).channel_status
        reports = status.currency_reports if isinstance(status, ChannelConsistentReport) else ()
        for report in reports:
            if report.currency == currency:
                return report.balance
        raise UnknownName(f"there is no balance of {currency} with {friend!r}")

    async def unheard(self) -> frozenset[PublicKey]:
        """
        The friends that have to speak first, since the node was restored or goes on without its database.

        Nothing is said to them before they have told where they are, and a balance with them is as old as the backup.
        Having asked once, `reports` and `wait_until` look again when it changes.

        Raises:
            NotAnnounced: The node does not tell: an original never waits, and an older one of ours may.
        """
        await self._session.follow_unheard()
        return frozenset(self._session.unheard)

    def friend_ticket(self) -> FriendTicket:
        """What to hand to somebody who is to become a friend."""
        relays = tuple(RelayAddress(relay.public_key, relay.address) for relay in self.report.relays)
        return FriendTicket(self.public_key, relays)

    async def history(
        self,
        since: int | HistoryPlace = 0,
        *,
        follow: bool = False,
        friend: FriendName | None = None,
        currency: str | None = None,
        kinds: Iterable[EntryKind] = (),
        not_before: datetime | None = None,
        before: datetime | None = None,
    ) -> AsyncIterator[HistoryEntry]:
        """
        What changed the balances with friends, and why: in order, nothing twice, nothing left out.

        Args:
            since: The number of the last entry that the app has dealt with. An app that writes it down together with
                what it made of the entry goes on exactly there, whatever ends meanwhile. With the timeline of the
                history as well (`history_place`), it is told where the numbers have become those of other entries.
            follow: Go on with what comes, for ever.
            friend, currency, kinds: Of these only. A friend that was removed is named by its key.
            not_before, before: Bounds of the time; without a zone, local time.

        Raises:
            NotAnnounced: The node keeps no history.
            EntriesArchived: Entries after *since*, which is not 0, were moved to an archive by the owner of the node.
            HistoryReplaced: The node was restored, or moved here from elsewhere, since the app wrote *since* down.
            InvalidInput: The history does not reach to *since*: it is that of another database.
        """
        self._check("history")
        key = friend if friend is None or isinstance(friend, PublicKey) else self._friend_key(friend)
        wanted = build_filter(key, currency, kinds, not_before, before)
        async for entry in read_entries(self._session, since, wanted, follow=follow):
            yield entry

    async def history_place(self) -> HistoryPlace:
        """
        How far the history goes, and its timeline, which an app writes down beside the numbers of entries.

        Raises:
            NotAnnounced: The node keeps no history.
        """
        self._check("history")
        return await self._session.last_entry()

    async def set_note(self, subject: Invoice | InvoiceId | PaymentId | int, note: str) -> None:
        """
        Keep a note in the node's database, where all apps that read the history find it; nobody else gets it.

        Args:
            subject: An invoice of ours, the id of a payment of ours, or the number of an entry of the history. A
                payment or an invoice may be noted to before there is an entry of it. A number without an entry has no
                effect.
            note: One line, 500 letters at most, instead of what was noted before; empty: nothing any more.

        Raises:
            NotAnnounced: The node keeps no history.
            InvalidInput: It is too long, or has letters that can not be shown.
        """
        about = subject.invoice_id if isinstance(subject, Invoice) else subject
        permission = "seller" if isinstance(about, InvoiceId) else "buyer" if isinstance(about, PaymentId) else "config"
        self._check(permission)
        await self._session.request(note_request(about, note))

    # Inside.

    def _check(self, permission: str) -> None:
        if not self.permissions.allows(permission):
            raise NotPermitted(f"the ticket of this app has no permission {permission!r}")

    def _friend_key(self, name: FriendName) -> PublicKey:
        friends = self.report.friends
        if isinstance(name, PublicKey):
            if name in friends:
                return name
        else:
            keys = [key for key, friend in friends.items() if friend.name == name]
            if keys:
                return min(keys)
        names = known_names(friend.name for friend in friends.values())
        raise UnknownName(f"there is no friend {name!r}; {names}")
