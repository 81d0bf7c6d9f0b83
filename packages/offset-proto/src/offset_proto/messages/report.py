"""What an application sees of a node. Spec 07 §2.2 (report.capnp)."""

import enum
from typing import Annotated

from offset_proto.layout import Optional, declare_enum, declare_union, member, struct
from offset_proto.messages.friend import CurrencyBalance
from offset_proto.messages.payment import NamedIndexServerAddress, NamedRelayAddress, Rate, RelayAddress
from offset_proto.types import I128, U64, U128, Currency, HashResult, PublicKey, RandValue, Signature

__all__ = [
    "AddFriendReport",
    "AddIndexServerReport",
    "AddRelayReport",
    "BalanceInfo",
    "ChannelConsistentReport",
    "ChannelInconsistentReport",
    "ChannelStatusReport",
    "CountersInfo",
    "CurrencyBalanceInfo",
    "CurrencyConfigReport",
    "CurrencyReport",
    "FriendLivenessReport",
    "FriendReport",
    "FriendReportMutation",
    "FriendStatusReport",
    "FunderMutationReport",
    "FunderReport",
    "FunderReportMutation",
    "IndexClientMutationReport",
    "IndexClientReport",
    "IndexClientReportMutation",
    "McBalanceReport",
    "McInfo",
    "MoveTokenHashedReport",
    "NodeReport",
    "NodeReportMutation",
    "PkFriendReport",
    "PkFriendReportList",
    "PkFriendReportMutation",
    "RemoveCurrencyConfig",
    "RemoveFriendReport",
    "RemoveIndexServerReport",
    "RemoveRelayReport",
    "ResetTermsReport",
    "SetChannelStatus",
    "SetConnectedServer",
    "SetLiveness",
    "SetName",
    "SetOptLastIncomingMoveToken",
    "SetRemoteRelays",
    "SetStatus",
    "TokenInfo",
    "UpdateCurrencyConfig",
]


@struct("report")
class CountersInfo:
    """How often the channel was reset, and the number of move tokens since."""

    inconsistency_counter: U64
    move_token_counter: U128


@struct("report")
class BalanceInfo:
    """One ledger in credits, as seen by the signer of the token."""

    balance: I128
    local_pending_debt: U128
    remote_pending_debt: U128


@struct("report")
class CurrencyBalanceInfo:
    """The ledger of one currency, as a move token covers it."""

    currency: Currency
    balance_info: BalanceInfo


@struct("report")
class McInfo:
    """All ledgers of a channel, sorted by currency; local is the signer."""

    local_public_key: PublicKey
    remote_public_key: PublicKey
    balances: tuple[CurrencyBalanceInfo, ...]


@struct("report")
class TokenInfo:
    """What a move token says of the channel after it, by its hash. Spec 01 §10.3."""

    mc: McInfo
    counters: CountersInfo


@struct("report")
class MoveTokenHashedReport:
    """A received move token, reduced to what proves the balances in it. Spec 01 §11.3."""

    prefix_hash: HashResult
    token_info: TokenInfo
    rand_nonce: RandValue
    new_token: Signature


class FriendStatusReport(enum.Enum):
    """Whether the owner of the node wants the friendship to be used."""

    DISABLED = "disabled"
    ENABLED = "enabled"


class FriendLivenessReport(enum.Enum):
    """Whether there is a link to the friend."""

    OFFLINE = "offline"
    ONLINE = "online"


declare_enum("report", FriendStatusReport)
declare_enum("report", FriendLivenessReport)


@struct("report")
class McBalanceReport:
    """One ledger in credits: balance > 0, the friend owes us; the debts are frozen by us and by the friend."""

    balance: I128
    local_pending_debt: U128
    remote_pending_debt: U128


@struct("report")
class CurrencyReport:
    """The ledger of one currency, as the node sees it."""

    currency: Currency
    balance: McBalanceReport


@struct("report")
class ResetTermsReport:
    """What the friend asks for, in the friend's sign."""

    reset_token: Signature
    balance_for_reset: tuple[CurrencyBalance, ...]


@struct("report")
class ChannelInconsistentReport:
    """The channel waits for one side to accept the other's terms."""

    local_reset_terms: tuple[CurrencyBalance, ...]
    opt_remote_reset_terms: Annotated[ResetTermsReport | None, Optional("remoteResetTerms")]


@struct("report")
class ChannelConsistentReport:
    """The channel works, and has these ledgers."""

    currency_reports: tuple[CurrencyReport, ...]


ChannelStatusReport = ChannelInconsistentReport | ChannelConsistentReport
declare_union(
    "report",
    "ChannelStatusReport",
    {"inconsistent": ChannelInconsistentReport, "consistent": ChannelConsistentReport},
)

OptLastIncomingMoveToken = Annotated[MoveTokenHashedReport | None, Optional("moveTokenHashed")]


@struct("report")
class CurrencyConfigReport:
    """What the owner configured for a friend and currency; *rate* is charged to this friend."""

    currency: Currency
    rate: Rate
    remote_max_debt: U128
    is_open: bool


@struct("report")
class FriendReport:
    """All that apps see of a friend."""

    name: str
    remote_relays: tuple[RelayAddress, ...]
    currency_configs: tuple[CurrencyConfigReport, ...]
    opt_last_incoming_move_token: OptLastIncomingMoveToken
    liveness: FriendLivenessReport
    channel_status: ChannelStatusReport
    status: FriendStatusReport


@struct("report")
class PkFriendReport:
    """A friend with its key."""

    friend_public_key: PublicKey
    friend_report: FriendReport


@struct("report")
class PkFriendReportList:
    """The friends, in no particular order."""

    list: tuple[PkFriendReport, ...]


@struct("report")
class FunderReport:
    """All that apps see of the ledger side of a node."""

    local_public_key: PublicKey
    relays: tuple[NamedRelayAddress, ...]
    friends: PkFriendReportList


@struct("report")
class AddFriendReport:
    """A new friend: disabled, offline, nothing configured."""

    friend_public_key: PublicKey
    name: str
    relays: tuple[RelayAddress, ...]
    opt_last_incoming_move_token: OptLastIncomingMoveToken
    channel_status: ChannelStatusReport


@member
class SetRemoteRelays:
    """The relays where the friend is reached."""

    relays: tuple[RelayAddress, ...]


@member
class SetName:
    """The owner calls the friend by another name."""

    name: str


@member
class UpdateCurrencyConfig:
    """The owner's settings for a currency are new or have changed."""

    config: CurrencyConfigReport


@member
class RemoveCurrencyConfig:
    """The owner has withdrawn a currency that the friend had not agreed to."""

    currency: Currency


@member
class SetChannelStatus:
    """Ledgers changed, or the channel broke or started anew: this is the whole new status."""

    channel_status: ChannelStatusReport


@member
class SetStatus:
    """The friend was enabled or disabled."""

    status: FriendStatusReport


@member
class SetOptLastIncomingMoveToken:
    """This is the friend's last move token now; None while it has sent none."""

    opt_last_incoming_move_token: OptLastIncomingMoveToken


@member
class SetLiveness:
    """The friend came online or went offline."""

    liveness: FriendLivenessReport


FriendReportMutation = (
    SetRemoteRelays
    | SetName
    | UpdateCurrencyConfig
    | RemoveCurrencyConfig
    | SetChannelStatus
    | SetStatus
    | SetOptLastIncomingMoveToken
    | SetLiveness
)
declare_union(
    "report",
    "FriendReportMutation",
    {
        "setRemoteRelays": SetRemoteRelays,
        "setName": SetName,
        "updateCurrencyConfig": UpdateCurrencyConfig,
        "removeCurrencyConfig": RemoveCurrencyConfig,
        "setChannelStatus": SetChannelStatus,
        "setStatus": SetStatus,
        "setOptLastIncomingMoveToken": SetOptLastIncomingMoveToken,
        "setLiveness": SetLiveness,
    },
)


@struct("report")
class PkFriendReportMutation:
    """Something changed about one friend."""

    friend_public_key: PublicKey
    friend_report_mutation: FriendReportMutation


@member
class AddRelayReport:
    """A relay of ours is new; one of the same key is replaced."""

    relay: NamedRelayAddress


@member
class RemoveRelayReport:
    """A relay of ours is gone."""

    public_key: PublicKey


@member
class RemoveFriendReport:
    """The owner removed a friend; nothing of it is left in the report."""

    public_key: PublicKey


FunderReportMutation = (
    AddRelayReport | RemoveRelayReport | AddFriendReport | RemoveFriendReport | PkFriendReportMutation
)
declare_union(
    "report",
    "FunderReportMutation",
    {
        "addRelay": AddRelayReport,
        "removeRelay": RemoveRelayReport,
        "addFriend": AddFriendReport,
        "removeFriend": RemoveFriendReport,
        "pkFriendReportMutation": PkFriendReportMutation,
    },
)


@struct("report")
class IndexClientReport:
    """The index servers of a node, and which one it is connected to."""

    index_servers: tuple[NamedIndexServerAddress, ...]
    opt_connected_server: Annotated[PublicKey | None, Optional("publicKey")]


@member
class AddIndexServerReport:
    """An index server is new; one of the same key is replaced."""

    server: NamedIndexServerAddress


@member
class RemoveIndexServerReport:
    """An index server is gone."""

    public_key: PublicKey


@member
class SetConnectedServer:
    """The node is connected to this index server, or to none."""

    public_key: Annotated[PublicKey | None, Optional("publicKey")]


IndexClientReportMutation = AddIndexServerReport | RemoveIndexServerReport | SetConnectedServer
declare_union(
    "report",
    "IndexClientReportMutation",
    {
        "addIndexServer": AddIndexServerReport,
        "removeIndexServer": RemoveIndexServerReport,
        "setConnectedServer": SetConnectedServer,
    },
)


@struct("report")
class NodeReport:
    """All that apps see of a node."""

    funder_report: FunderReport
    index_client_report: IndexClientReport


@member
class FunderMutationReport:
    """Something changed on the side of friends and ledgers."""

    mutation: FunderReportMutation


@member
class IndexClientMutationReport:
    """Something changed on the side of index servers."""

    mutation: IndexClientReportMutation


NodeReportMutation = FunderMutationReport | IndexClientMutationReport
declare_union(
    "report",
    "NodeReportMutation",
    {"funder": FunderMutationReport, "indexClient": IndexClientMutationReport},
)
