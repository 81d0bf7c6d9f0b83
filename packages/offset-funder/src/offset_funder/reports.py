"""
What apps are told: reports of the state, and mutations of the report. Spec 05 §14.

Of all changes to one channel within an event only the last matters to anybody, so only that is
reported (D50).
"""

from collections.abc import Iterable

from offset_funder import mutations as m
from offset_funder.mutations import FriendMutation, FriendPart, Mutation
from offset_funder.state import Consistent, CurrencyConfig, Friend, FunderState, Inconsistent, fresh_friend
from offset_proto.messages.payment import NamedIndexServerAddress
from offset_proto.messages.report import (
    AddFriendReport,
    AddRelayReport,
    ChannelConsistentReport,
    ChannelInconsistentReport,
    ChannelStatusReport,
    CurrencyConfigReport,
    CurrencyReport,
    FriendLivenessReport,
    FriendReport,
    FriendReportMutation,
    FriendStatusReport,
    FunderMutationReport,
    FunderReport,
    FunderReportMutation,
    IndexClientReport,
    McBalanceReport,
    MoveTokenHashedReport,
    NodeReport,
    NodeReportMutation,
    PkFriendReport,
    PkFriendReportList,
    PkFriendReportMutation,
    RemoveCurrencyConfig,
    RemoveFriendReport,
    RemoveRelayReport,
    ResetTermsReport,
    SetChannelStatus,
    SetLiveness,
    SetName,
    SetOptLastIncomingMoveToken,
    SetRemoteRelays,
    SetStatus,
    UpdateCurrencyConfig,
)
from offset_proto.types import Currency, PublicKey

__all__ = ["derive_report_mutations", "initial_report"]


def initial_report(state: FunderState, index_servers: tuple[NamedIndexServerAddress, ...]) -> NodeReport:
    """The report of a node that just started: everybody offline. Spec 07 §4.1."""
    friends = tuple(PkFriendReport(key, _friend_report(friend)) for key, friend in state.friends.items())
    funder = FunderReport(state.local_public_key, state.relays, PkFriendReportList(friends))
    return NodeReport(funder, IndexClientReport(index_servers, None))


def _friend_report(friend: Friend) -> FriendReport:
    configs = tuple(_config_report(currency, config) for currency, config in sorted(friend.currency_configs.items()))
    return FriendReport(
        name=friend.name,
        remote_relays=friend.remote_relays,
        currency_configs=configs,
        opt_last_incoming_move_token=_last_incoming(friend),
        liveness=FriendLivenessReport.OFFLINE,
        channel_status=_channel_status(friend),
        status=_status(friend.is_enabled),
    )


def _status(is_enabled: bool) -> FriendStatusReport:
    return FriendStatusReport.ENABLED if is_enabled else FriendStatusReport.DISABLED


def _config_report(currency: Currency, config: CurrencyConfig) -> CurrencyConfigReport:
    return CurrencyConfigReport(currency, config.rate, config.remote_max_debt, config.is_open)


def _last_incoming(friend: Friend) -> MoveTokenHashedReport | None:
    match friend.channel:
        case Consistent(token_channel):
            return token_channel.last_incoming
        case Inconsistent(last, _, _):
            return last


def _channel_status(friend: Friend) -> ChannelStatusReport:
    match friend.channel:
        case Consistent(token_channel):
            return ChannelConsistentReport(
                tuple(
                    CurrencyReport(
                        currency,
                        McBalanceReport(ledger.balance, ledger.local_pending_debt, ledger.remote_pending_debt),
                    )
                    for currency, ledger in sorted(token_channel.ledgers.items())
                )
            )
        case Inconsistent(_, local, remote):
            remote_report = None
            if remote is not None:
                remote_report = ResetTermsReport(remote.reset_token, remote.balance_for_reset)
            return ChannelInconsistentReport(local.balance_for_reset, remote_report)


def derive_report_mutations(
    mutations: Iterable[Mutation],
    after: FunderState,
    liveness: Iterable[tuple[PublicKey, FriendLivenessReport]],
) -> tuple[NodeReportMutation, ...]:
    """
    The report mutations of one event.

    Args:
        mutations: Of the event, in order.
        after: The state after it.
        liveness: Who came online or went offline.
    """
    reported: list[FunderReportMutation] = []
    channels: dict[PublicKey, int] = {}
    for mutation in mutations:
        match mutation:
            case FriendMutation(public_key, part) if isinstance(part, _CHANNEL_PARTS):
                # Filled in below; the place of the last one in the order counts.
                channels[public_key] = len(reported)
            case _:
                reported += _report(mutation, after)
    out: list[FunderReportMutation] = []
    for position in range(len(reported) + 1):
        for public_key, place in channels.items():
            if place == position and public_key in after.friends:
                out += _channel_pair(public_key, after.friends[public_key])
        out += reported[position : position + 1]
    for public_key, live in liveness:
        if public_key in after.friends:
            out.append(PkFriendReportMutation(public_key, SetLiveness(live)))
    return tuple(FunderMutationReport(mutation) for mutation in out)


_CHANNEL_PARTS = (
    m.ChangeLedger,
    m.AddLedger,
    m.SetLocalActiveCurrencies,
    m.SetRemoteActiveCurrencies,
    m.SetDirection,
    m.SetInconsistent,
    m.SetConsistent,
)


def _channel_pair(public_key: PublicKey, friend: Friend) -> list[FunderReportMutation]:
    return [
        PkFriendReportMutation(public_key, SetChannelStatus(_channel_status(friend))),
        PkFriendReportMutation(public_key, SetOptLastIncomingMoveToken(_last_incoming(friend))),
    ]


def _report(mutation: Mutation, after: FunderState) -> list[FunderReportMutation]:
    match mutation:
        case FriendMutation(public_key, part):
            reported = _report_part(part)
            return [] if reported is None else [PkFriendReportMutation(public_key, reported)]
        case m.AddRelay(relay):
            return [AddRelayReport(relay)]
        case m.RemoveRelay(public_key):
            return [RemoveRelayReport(public_key)]
        case m.AddFriend(public_key, relays, name):
            fresh = fresh_friend(after.local_public_key, public_key, relays, name)
            added = AddFriendReport(public_key, name, relays, _last_incoming(fresh), _channel_status(fresh))
            return [added]
        case m.RemoveFriend(public_key):
            return [RemoveFriendReport(public_key)]
        case _:
            return []


def _report_part(part: FriendPart) -> FriendReportMutation | None:
    match part:
        case m.SetRemoteRelays(relays):
            return SetRemoteRelays(relays)
        case m.SetName(name):
            return SetName(name)
        case m.SetStatus(is_enabled):
            return SetStatus(_status(is_enabled))
        case m.UpdateCurrencyConfig(currency, config):
            return UpdateCurrencyConfig(_config_report(currency, config))
        case m.RemoveCurrencyConfig(currency):
            return RemoveCurrencyConfig(currency)
        case _:
            return None
