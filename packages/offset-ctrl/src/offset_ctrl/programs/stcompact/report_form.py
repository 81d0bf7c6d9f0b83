"""The report of a compact node, and its JSON. Spec 10 §4 [WIRE]."""

from dataclasses import dataclass
from typing import Any

from offset_ctrl.programs.stcompact.state import (
    Committed,
    CompactState,
    Failed,
    FoundRoute,
    OpenPayment,
    PaymentStatus,
    SearchingRoute,
    Sending,
    Succeeded,
)
from offset_proto.errors import InvalidInput
from offset_proto.json_forms import (
    BOOL,
    CURRENCY,
    TEXT,
    Form,
    b64,
    camel,
    decimal,
    items,
    mapping,
    optional,
    record,
    renamed,
    row,
    variants,
    wrapped,
)
from offset_proto.messages.friend import CurrencyBalance
from offset_proto.messages.payment import Commit, NamedIndexServerAddress, NamedRelayAddress, Rate, Receipt
from offset_proto.messages.report import (
    BalanceInfo,
    ChannelConsistentReport,
    ChannelInconsistentReport,
    CountersInfo,
    CurrencyBalanceInfo,
    CurrencyConfigReport,
    CurrencyReport,
    FriendLivenessReport,
    FriendReport,
    FriendStatusReport,
    McBalanceReport,
    McInfo,
    MoveTokenHashedReport,
    ResetTermsReport,
    TokenInfo,
)
from offset_proto.report_view import ReportView
from offset_proto.types import (
    U64,
    U128,
    Currency,
    HashResult,
    Integer,
    InvoiceId,
    PaymentId,
    PublicKey,
    RandValue,
    Signature,
    Uid,
)

__all__ = [
    "COMPACT_REPORT",
    "SUCCESS",
    "CompactReport",
    "FoundRouteReport",
    "InvoiceReport",
    "PaymentReport",
    "SendingReport",
    "build_report",
]


@dataclass(frozen=True, slots=True)
class InvoiceReport:
    """What the user sees of an open invoice; the commit itself is not part of it."""

    currency: Currency
    total_dest_payment: U128
    description: str
    is_committed: bool
    generation: U64


@dataclass(frozen=True, slots=True)
class FoundRouteReport:
    """The fees wait for the user's confirmation."""

    confirm_id: Uid
    fees: U128


@dataclass(frozen=True, slots=True)
class SendingReport:
    """Transactions are under way, for *fees* credits on top of the amount."""

    fees: U128


StatusReport = SearchingRoute | FoundRouteReport | SendingReport | Committed | Succeeded | Failed


@dataclass(frozen=True, slots=True)
class PaymentReport:
    """What the user sees of a payment that it has not acknowledged."""

    invoice_id: InvoiceId
    currency: Currency
    dest_public_key: PublicKey
    dest_payment: U128
    description: str
    generation: U64
    status: StatusReport


@dataclass(frozen=True, slots=True)
class CompactReport:
    """All that a user sees of a node; the relays of friends are not part of it."""

    local_public_key: PublicKey
    index_servers: tuple[NamedIndexServerAddress, ...]
    opt_connected_index_server: PublicKey | None
    relays: tuple[NamedRelayAddress, ...]
    friends: dict[PublicKey, FriendReport]
    open_invoices: dict[InvoiceId, InvoiceReport]
    open_payments: dict[PaymentId, PaymentReport]


def build_report(report: ReportView, state: CompactState) -> CompactReport:
    """The report of a node with a compact node's invoices and payments."""
    return CompactReport(
        report.local_public_key,
        tuple(report.index_servers),
        report.connected_server,
        tuple(report.relays),
        dict(report.friends),
        {
            key: InvoiceReport(
                invoice.currency,
                invoice.total_dest_payment,
                invoice.description,
                invoice.opt_commit is not None,
                invoice.generation,
            )
            for key, invoice in state.open_invoices.items()
        },
        {key: _payment_report(payment) for key, payment in state.open_payments.items()},
    )


def _payment_report(payment: OpenPayment) -> PaymentReport:
    return PaymentReport(
        payment.invoice_id,
        payment.currency,
        payment.dest_public_key,
        payment.dest_payment,
        payment.description,
        payment.generation,
        _status_report(payment.status),
    )


def _status_report(status: PaymentStatus) -> StatusReport:
    match status:
        case FoundRoute(confirm_id, _, _, fees):
            return FoundRouteReport(confirm_id, fees)
        case Sending(fees, _):
            return SendingReport(fees)
        case _:
            return status


_KEY, _UID, _SIGNATURE = b64(PublicKey), b64(Uid), b64(Signature)
_U128, _I128, _U64 = decimal(Integer(128)), decimal(Integer(128, signed=True)), decimal(Integer(64))


def _by_currency(cls: Any, attribute: str, form: Form[Any]) -> Form[Any]:
    """A tuple of (currency, value) as an object; read in the order of the currencies."""
    members = mapping(CURRENCY, form)

    def write(entries: Any) -> Any:
        return members.write({entry.currency: getattr(entry, attribute) for entry in entries})

    def read(value: Any) -> Any:
        found = members.read(value)
        return tuple(cls(currency, found[currency]) for currency in sorted(found, key=lambda name: name.encode()))

    return Form(write, read)


def _enumeration(enumeration: Any) -> Form[Any]:
    def read(value: Any) -> Any:
        for member in enumeration:
            if member.value == value:
                return member
        raise InvalidInput("unknown variant, expected one of " + ", ".join(member.value for member in enumeration))

    return Form(lambda member: member.value, read)


_BALANCES = _by_currency(CurrencyBalance, "balance", _I128)


def _debts(cls: Any) -> Form[Any]:
    return record(
        cls,
        balance=_I128,
        local_pending_debt=renamed("localPendingDebt", _U128),
        remote_pending_debt=renamed("remotePendingDebt", _U128),
    )


_TOKEN = record(
    MoveTokenHashedReport,
    prefix_hash=renamed("prefixHash", b64(HashResult)),
    token_info=renamed(
        "tokenInfo",
        record(
            TokenInfo,
            mc=record(
                McInfo,
                local_public_key=renamed("localPublicKey", _KEY),
                remote_public_key=renamed("remotePublicKey", _KEY),
                balances=_by_currency(CurrencyBalanceInfo, "balance_info", _debts(BalanceInfo)),
            ),
            counters=record(
                CountersInfo,
                inconsistency_counter=renamed("inconsistencyCounter", _U64),
                move_token_counter=renamed("moveTokenCounter", _U128),
            ),
        ),
    ),
    rand_nonce=renamed("randNonce", b64(RandValue)),
    new_token=renamed("newToken", _SIGNATURE),
)

_CHANNEL = variants(
    consistent=(
        ChannelConsistentReport,
        record(
            ChannelConsistentReport,
            currency_reports=renamed(
                "currencyReports", _by_currency(CurrencyReport, "balance", _debts(McBalanceReport))
            ),
        ),
    ),
    inconsistent=(
        ChannelInconsistentReport,
        record(
            ChannelInconsistentReport,
            local_reset_terms=renamed("localResetTerms", _BALANCES),
            opt_remote_reset_terms=renamed(
                "optRemoteResetTerms",
                optional(
                    record(
                        ResetTermsReport,
                        reset_token=renamed("resetToken", _SIGNATURE),
                        balance_for_reset=renamed("balanceForReset", _BALANCES),
                    )
                ),
            ),
        ),
    ),
)

_CONFIG_VALUE: Form[Any] = record(
    dict,
    rate=camel(Rate),
    remote_max_debt=renamed("remoteMaxDebt", _U128),
    is_open=renamed("isOpen", BOOL),
)


def _write_configs(configs: tuple[CurrencyConfigReport, ...]) -> Any:
    return {str(config.currency): _CONFIG_VALUE.write(config) for config in configs}


def _read_configs(value: Any) -> tuple[CurrencyConfigReport, ...]:
    found = mapping(CURRENCY, _CONFIG_VALUE).read(value)
    ordered = sorted(found, key=lambda name: name.encode())
    return tuple(CurrencyConfigReport(currency=currency, **found[currency]) for currency in ordered)


_FRIEND = record(
    lambda **members: FriendReport(remote_relays=(), **members),
    name=TEXT,
    currency_configs=renamed("currencyConfigs", Form(_write_configs, _read_configs)),
    opt_last_incoming_move_token=renamed("optLastIncomingMoveToken", optional(_TOKEN)),
    liveness=_enumeration(FriendLivenessReport),
    channel_status=renamed("channelStatus", _CHANNEL),
    status=_enumeration(FriendStatusReport),
)

SUCCESS = row(Succeeded, receipt=camel(Receipt), fees=_U128, ack_uid=_UID)

_STATUS = variants(
    searchingRoute=(SearchingRoute, wrapped(SearchingRoute, "request_routes_id", _UID)),
    foundRoute=(FoundRouteReport, row(FoundRouteReport, confirm_id=_UID, fees=_U128)),
    sending=(SendingReport, wrapped(SendingReport, "fees", _U128)),
    commit=(Committed, row(Committed, commit=camel(Commit), fees=_U128)),
    success=(Succeeded, SUCCESS),
    failure=(Failed, wrapped(Failed, "ack_uid", _UID)),
)

COMPACT_REPORT = record(
    CompactReport,
    local_public_key=renamed("localPublicKey", _KEY),
    index_servers=renamed("indexServers", items(camel(NamedIndexServerAddress))),
    opt_connected_index_server=renamed("optConnectedIndexServer", optional(_KEY)),
    relays=items(camel(NamedRelayAddress)),
    friends=mapping(_KEY, _FRIEND),
    open_invoices=renamed(
        "openInvoices",
        mapping(
            b64(InvoiceId),
            record(
                InvoiceReport,
                currency=CURRENCY,
                total_dest_payment=renamed("totalDestPayment", _U128),
                description=TEXT,
                is_committed=renamed("isCommitted", BOOL),
                generation=_U64,
            ),
        ),
    ),
    open_payments=renamed(
        "openPayments",
        mapping(
            b64(PaymentId),
            record(
                PaymentReport,
                invoice_id=renamed("invoiceId", b64(InvoiceId)),
                currency=CURRENCY,
                dest_public_key=renamed("destPublicKey", _KEY),
                dest_payment=renamed("destPayment", _U128),
                description=TEXT,
                generation=_U64,
                status=_STATUS,
            ),
        ),
    ),
)
