"""
The part of a node's report, and of its history, that an app of limited scope gets to see. This module is pure.

Snapshot and mutations go through the same filter, so what such an app keeps up to date is at any time the filtered
report of the node.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from offset_node.state import HistoryScope
from offset_proto.message import replace
from offset_proto.messages.extensions import OpenInvoices, OpenPaymentReport, OpenPayments, UnheardFriends
from offset_proto.messages.history import EntryKind, HistoryEnd, HistoryEntry, HistoryPage
from offset_proto.messages.report import (
    AddFriendReport,
    ChannelConsistentReport,
    ChannelInconsistentReport,
    ChannelStatusReport,
    FriendReport,
    FriendReportMutation,
    FunderMutationReport,
    FunderReport,
    FunderReportMutation,
    IndexClientMutationReport,
    IndexClientReport,
    NodeReport,
    NodeReportMutation,
    PkFriendReport,
    PkFriendReportList,
    PkFriendReportMutation,
    RemoveCurrencyConfig,
    RemoveFriendReport,
    SetChannelStatus,
    SetOptLastIncomingMoveToken,
    UpdateCurrencyConfig,
)
from offset_proto.types import Currency, InvoiceId, PublicKey

__all__ = ["EVERYTHING", "NOTHING", "Followed", "ReportScope"]

S = TypeVar("S")

Followed = OpenPayments | OpenInvoices | HistoryEnd | UnheardFriends
"""What an app may follow besides the report."""


@dataclass(frozen=True, slots=True)
class ReportScope:
    """
    What an app gets to see; the node's own key is always part of it.

    Attributes:
        friends: These only; None: all.
        currencies: These only, also of what is open; None: all. Move tokens are left out then: they cover the
            balances of all currencies.
        servers: Whether relays and index servers are part of it.
    """

    friends: frozenset[PublicKey] | None = None
    currencies: frozenset[Currency] | None = None
    servers: bool = True

    def __and__(self, other: "ReportScope") -> "ReportScope":
        """The scope of what both scopes let an app see, such as those of two plugins."""
        return ReportScope(
            _intersection(self.friends, other.friends),
            _intersection(self.currencies, other.currencies),
            self.servers and other.servers,
        )

    def filter_report(self, report: NodeReport) -> NodeReport:
        """The snapshot that such an app gets."""
        if self == EVERYTHING:
            return report
        funder, index = report.funder_report, report.index_client_report
        friends = tuple(
            PkFriendReport(friend.friend_public_key, self._friend(friend.friend_report))
            for friend in funder.friends.list
            if self._sees(friend.friend_public_key)
        )
        relays = funder.relays if self.servers else ()
        return NodeReport(
            FunderReport(funder.local_public_key, relays, PkFriendReportList(friends)),
            index if self.servers else IndexClientReport((), None),
        )

    def filter_mutations(self, mutations: Iterable[NodeReportMutation]) -> tuple[NodeReportMutation, ...]:
        """What such an app gets of a batch."""
        seen: list[NodeReportMutation] = []
        for mutation in mutations:
            match mutation:
                case FunderMutationReport(inner):
                    part = self._funder_mutation(inner)
                    if part is not None:
                        seen.append(FunderMutationReport(part))
                case IndexClientMutationReport():
                    if self.servers:
                        seen.append(mutation)
        return tuple(seen)

    @property
    def history(self) -> HistoryScope:
        """The entries that a page for such an app is made of: the scope is a part of what is searched for."""
        return HistoryScope(self.friends, self.currencies)

    def filter_page(self, page: HistoryPage) -> HistoryPage:
        """
        What such an app gets of a page of the history that was read with `history`.

        Numbers stay as they are, so that the app knows how many entries it does not see, and nothing else of them. Of
        those that it sees, a friend out of sight is left out. The page says that it is not whole, also where nothing
        of it was left out: the app is to draw no conclusion from what it does not find.
        """
        if self.friends is None and self.currencies is None:
            return page
        entries = tuple(
            replace(entry, opt_party=self._party(entry))
            for entry in page.entries
            if self._sees(entry.friend) and self._counts(entry.currency)
        )
        return replace(page, entries=entries, is_whole=False)

    def filter_followed(
        self, message: OpenInvoices | HistoryEnd | UnheardFriends, currencies: Mapping[InvoiceId, Currency]
    ) -> Followed | None:
        """
        What such an app is told of what it follows; *currencies* are as in `filter_invoices`. None: nothing.

        Of payments it depends on what the app has been told of them before: `offset_node.apps.payments_seen`.
        """
        match message:
            case UnheardFriends():
                return self.filter_unheard(message)
            case OpenInvoices():
                return self.filter_invoices(message, currencies)
            case _:
                return message

    def filter_unheard(self, message: UnheardFriends) -> UnheardFriends | None:
        """
        What such an app is told of the friends that have to speak first; None: nothing.

        A change that is not its business is not told as an empty one, whose moment would say something. A snapshot is
        always told, since the app waits for it.
        """
        if self.friends is None:
            return message
        friends, heard = (tuple(filter(self._sees, keys)) for keys in (message.friends, message.heard))
        if not (message.is_snapshot or friends or heard):
            return None
        return UnheardFriends(message.is_snapshot, friends, heard)

    def filter_invoices(self, message: OpenInvoices, currencies: Mapping[InvoiceId, Currency]) -> OpenInvoices | None:
        """
        What such an app is told of the open invoices: those of its currencies. None: nothing, as with friends.

        Args:
            message: As an app is told that sees everything.
            currencies: Of the invoices that it names as ended or collected.
        """
        if self.currencies is None:
            return message

        def is_seen(invoice_id: InvoiceId) -> bool:
            return invoice_id in currencies and self._counts(currencies[invoice_id])

        invoices = tuple(report for report in message.invoices if self._counts(report.currency))
        ended, collected = (tuple(filter(is_seen, ids)) for ids in (message.ended, message.collected))
        if not (message.is_snapshot or invoices or ended):
            return None
        return OpenInvoices(message.is_snapshot, invoices, ended, collected)

    def allows_payment(self, payment: OpenPaymentReport) -> bool:
        """Whether nothing that is said of a payment is out of scope: its currency, the first friend of each part."""
        is_counted = payment.opt_target is None or self._counts(payment.opt_target.currency)
        return is_counted and all(self._sees(part.route.public_keys[1]) for part in payment.parts)

    def _party(self, entry: HistoryEntry) -> PublicKey | None:
        """The other friend of what was forwarded is one of those who may be out of sight; a seller is no friend."""
        hidden = entry.kind is EntryKind.FORWARDED and entry.opt_party is not None and not self._sees(entry.opt_party)
        return None if hidden else entry.opt_party

    def _sees(self, friend: PublicKey) -> bool:
        return self.friends is None or friend in self.friends

    def _counts(self, currency: Currency) -> bool:
        return self.currencies is None or currency in self.currencies

    def _friend(self, friend: FriendReport) -> FriendReport:
        if self.currencies is None:
            return friend
        return replace(
            friend,
            currency_configs=tuple(config for config in friend.currency_configs if self._counts(config.currency)),
            opt_last_incoming_move_token=None,
            channel_status=self._channel(friend.channel_status),
        )

    def _channel(self, status: ChannelStatusReport) -> ChannelStatusReport:
        if self.currencies is None:
            return status
        match status:
            case ChannelConsistentReport(reports):
                return ChannelConsistentReport(tuple(report for report in reports if self._counts(report.currency)))
            case ChannelInconsistentReport(local, remote):
                if remote is not None:
                    kept = tuple(balance for balance in remote.balance_for_reset if self._counts(balance.currency))
                    remote = replace(remote, balance_for_reset=kept)
                return ChannelInconsistentReport(
                    tuple(balance for balance in local if self._counts(balance.currency)), remote
                )

    def _funder_mutation(self, mutation: FunderReportMutation) -> FunderReportMutation | None:
        match mutation:
            case AddFriendReport():
                if not self._sees(mutation.friend_public_key):
                    return None
                if self.currencies is None:
                    return mutation
                return replace(
                    mutation,
                    opt_last_incoming_move_token=None,
                    channel_status=self._channel(mutation.channel_status),
                )
            case RemoveFriendReport(key):
                return mutation if self._sees(key) else None
            case PkFriendReportMutation(key, inner):
                part = self._friend_mutation(inner) if self._sees(key) else None
                return None if part is None else PkFriendReportMutation(key, part)
            case _:  # relays
                return mutation if self.servers else None

    def _friend_mutation(self, mutation: FriendReportMutation) -> FriendReportMutation | None:
        match mutation:
            case UpdateCurrencyConfig(config):
                return mutation if self._counts(config.currency) else None
            case RemoveCurrencyConfig(currency):
                return mutation if self._counts(currency) else None
            case SetChannelStatus(status):
                return SetChannelStatus(self._channel(status))
            case SetOptLastIncomingMoveToken():
                return mutation if self.currencies is None else None
            case _:
                return mutation


EVERYTHING = ReportScope()
NOTHING = ReportScope(frozenset(), frozenset(), servers=False)


def _intersection(one: frozenset[S] | None, other: frozenset[S] | None) -> frozenset[S] | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other
