"""
A node's report kept up to date: the snapshot, and the mutations that follow it. Spec 07 §4.2.

`ReportView` holds what `NodeReport` holds, with the friends in a map. Both ends of an app connection
keep one, and they stay equal because both apply the same mutations in the same order.
"""

from collections.abc import Iterable

from offset_proto.errors import PeerError
from offset_proto.message import replace
from offset_proto.messages.payment import NamedIndexServerAddress, NamedRelayAddress
from offset_proto.messages.report import (
    AddFriendReport,
    AddIndexServerReport,
    AddRelayReport,
    CurrencyConfigReport,
    FriendLivenessReport,
    FriendReport,
    FriendReportMutation,
    FriendStatusReport,
    FunderMutationReport,
    FunderReport,
    FunderReportMutation,
    IndexClientMutationReport,
    IndexClientReport,
    IndexClientReportMutation,
    NodeReport,
    NodeReportMutation,
    PkFriendReport,
    PkFriendReportList,
    PkFriendReportMutation,
    RemoveCurrencyConfig,
    RemoveFriendReport,
    RemoveIndexServerReport,
    RemoveRelayReport,
    SetChannelStatus,
    SetConnectedServer,
    SetLiveness,
    SetName,
    SetOptLastIncomingMoveToken,
    SetRemoteRelays,
    SetStatus,
    UpdateCurrencyConfig,
)
from offset_proto.types import PublicKey

__all__ = ["FriendAlreadyExists", "FriendDoesNotExist", "ReportDiverged", "ReportView"]


class ReportDiverged(PeerError):
    """A mutation does not fit the report: node and app have different ones. Connect anew."""


class FriendAlreadyExists(ReportDiverged):
    """addFriend for a friend that is there."""


class FriendDoesNotExist(ReportDiverged):
    """A mutation of a friend that is not there."""


class ReportView:
    """The present report of a node."""

    def __init__(self, report: NodeReport) -> None:
        funder, index = report.funder_report, report.index_client_report
        self.local_public_key: PublicKey = funder.local_public_key
        self.relays: list[NamedRelayAddress] = list(funder.relays)
        self.friends: dict[PublicKey, FriendReport] = {
            friend.friend_public_key: friend.friend_report for friend in funder.friends.list
        }
        self.index_servers: list[NamedIndexServerAddress] = list(index.index_servers)
        self.connected_server: PublicKey | None = index.opt_connected_server

    def snapshot(self) -> NodeReport:
        """The report as a message."""
        friends = tuple(PkFriendReport(key, friend) for key, friend in self.friends.items())
        return NodeReport(
            FunderReport(self.local_public_key, tuple(self.relays), PkFriendReportList(friends)),
            IndexClientReport(tuple(self.index_servers), self.connected_server),
        )

    def apply(self, mutations: Iterable[NodeReportMutation]) -> None:
        """
        Apply *mutations* in order.

        Raises:
            ReportDiverged: One does not fit; those before it are applied.
        """
        for mutation in mutations:
            match mutation:
                case FunderMutationReport(funder_mutation):
                    self._apply_funder(funder_mutation)
                case IndexClientMutationReport(index_mutation):
                    self._apply_index_client(index_mutation)

    def _apply_funder(self, mutation: FunderReportMutation) -> None:
        match mutation:
            case AddRelayReport(relay):
                self.relays = [*(r for r in self.relays if r.public_key != relay.public_key), relay]
            case RemoveRelayReport(public_key):
                self.relays = [r for r in self.relays if r.public_key != public_key]
            case AddFriendReport():
                self._add_friend(mutation)
            case RemoveFriendReport(public_key):
                self._friend(public_key)
                del self.friends[public_key]
            case PkFriendReportMutation(public_key, friend_mutation):
                self.friends[public_key] = mutate_friend(self._friend(public_key), friend_mutation)

    def _friend(self, public_key: PublicKey) -> FriendReport:
        try:
            return self.friends[public_key]
        except KeyError:
            raise FriendDoesNotExist(f"FriendDoesNotExist({public_key!r})") from None

    def _add_friend(self, added: AddFriendReport) -> None:
        if added.friend_public_key in self.friends:
            raise FriendAlreadyExists(f"FriendAlreadyExists({added.friend_public_key!r})")
        self.friends[added.friend_public_key] = FriendReport(
            name=added.name,
            remote_relays=added.relays,
            currency_configs=(),
            opt_last_incoming_move_token=added.opt_last_incoming_move_token,
            liveness=FriendLivenessReport.OFFLINE,
            channel_status=added.channel_status,
            status=FriendStatusReport.DISABLED,
        )

    def _apply_index_client(self, mutation: IndexClientReportMutation) -> None:
        match mutation:
            case AddIndexServerReport(server):
                others = (s for s in self.index_servers if s.public_key != server.public_key)
                self.index_servers = [*others, server]
            case RemoveIndexServerReport(public_key):
                self.index_servers = [s for s in self.index_servers if s.public_key != public_key]
            case SetConnectedServer(connected):
                self.connected_server = connected


def mutate_friend(friend: FriendReport, mutation: FriendReportMutation) -> FriendReport:
    """The report of a friend after one mutation. Spec 05 §14.3."""
    match mutation:
        case SetRemoteRelays(relays):
            return replace(friend, remote_relays=relays)
        case SetName(name):
            return replace(friend, name=name)
        case UpdateCurrencyConfig(config):
            return replace(friend, currency_configs=_with_config(friend.currency_configs, config))
        case RemoveCurrencyConfig(currency):
            kept = tuple(config for config in friend.currency_configs if config.currency != currency)
            return replace(friend, currency_configs=kept)
        case SetChannelStatus(channel_status):
            return replace(friend, channel_status=channel_status)
        case SetStatus(status):
            return replace(friend, status=status)
        case SetOptLastIncomingMoveToken(token):
            return replace(friend, opt_last_incoming_move_token=token)
        case SetLiveness(liveness):
            return replace(friend, liveness=liveness)


def _with_config(
    configs: tuple[CurrencyConfigReport, ...], config: CurrencyConfigReport
) -> tuple[CurrencyConfigReport, ...]:
    if any(known.currency == config.currency for known in configs):
        return tuple(config if known.currency == config.currency else known for known in configs)
    return tuple(sorted((*configs, config), key=lambda known: known.currency.encode()))
