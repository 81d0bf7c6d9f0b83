"""What the SDK knows, in the forms of the API, and back. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

import msgspec

from offset_ctrl.rules.payment import PaymentState
from offset_ctrl.rules.routes import Part
from offset_ctrl.sdk.capacity import Capacity
from offset_ctrl.sdk.planning import PaymentPlan
from offset_ctrl.web import forms, invoice_forms
from offset_ctrl.web.deliveries import DeliveryRow
from offset_ctrl.web.invoice_book import InvoiceRow
from offset_ctrl.web.payment_book import PaymentRow
from offset_ctrl.web.problems import describe_failure
from offset_proto.errors import InvalidInput
from offset_proto.files import COMMIT, FRIEND_TICKET, INVOICE, RECEIPT, TICKET, FileKind, FriendTicket, Invoice
from offset_proto.message_json import parse_json
from offset_proto.messages.extensions import Extension, OpenInvoiceReport, OpenPaymentReport, PartReport
from offset_proto.messages.history import HistoryEntry
from offset_proto.messages.index import MultiRoute
from offset_proto.messages.payment import Commit, NamedIndexServerAddress, NamedRelayAddress, Receipt, RelayAddress
from offset_proto.messages.report import (
    ChannelConsistentReport,
    ChannelInconsistentReport,
    FriendLivenessReport,
    FriendReport,
    FriendStatusReport,
)
from offset_proto.report_view import ReportView
from offset_proto.text import format_b64, parse_integer
from offset_proto.types import Integer, PublicKey
from offset_proto.uri import PaymentRequest, format_uri, parse_uri_of

__all__ = [
    "capacity_form",
    "delivery_form",
    "entry_form",
    "extension_names",
    "friend_form",
    "friend_ticket_form",
    "index_server_form",
    "invoice_form",
    "invoice_report",
    "open_invoice_form",
    "open_payment_form",
    "part_form",
    "payment_report",
    "plan_form",
    "read_amount",
    "read_asked",
    "read_commit",
    "read_friend_ticket",
    "read_invoice",
    "read_relay",
    "receipt_form",
    "relay_form",
    "report_change",
    "report_form",
    "route_forms",
]

_U128: Final = Integer(128)
T = TypeVar("T")


def _as_form(kind: FileKind[Any], form: type[T], value: Any) -> T:
    return msgspec.convert(parse_json(kind.format(value)), form)


def _from_form(kind: FileKind[T], form: msgspec.Struct) -> T:
    return kind.parse(msgspec.json.encode(form).decode())


def read_amount(text: str) -> int:
    """Credits. Raises InvalidInput where there are more than 128 bits of them."""
    return parse_integer(_U128, text)


def read_invoice(form: forms.InvoiceForm) -> Invoice:
    """An invoice that a client has sent. Raises InvalidInput where it is none."""
    return _from_form(INVOICE, form)


def read_asked(form: forms.NewPayment) -> PaymentRequest:
    """
    What a client wants to pay; the delivery address is the one to which its commit goes by itself.

    Raises:
        InvalidInput: There is no invoice and no text, or both; or one of them is none.
    """
    if (form.invoice is None) == (form.text is None):
        raise InvalidInput("what is to be paid is said by 'invoice' or by 'text', and not by both")
    if form.invoice is not None:
        return PaymentRequest(read_invoice(form.invoice))
    assert form.text is not None
    request = parse_uri_of(PaymentRequest, form.text)
    return request if form.deliver else replace(request, delivery=None)


def read_commit(form: forms.CommitForm) -> Commit:
    """A commit that a client has sent. Raises InvalidInput where it is none."""
    return _from_form(COMMIT, form)


def read_friend_ticket(form: forms.FriendTicketForm) -> FriendTicket:
    """A friend's ticket that a client has sent. Raises InvalidInput where it is none."""
    return _from_form(FRIEND_TICKET, form)


def read_relay(form: forms.RelayForm) -> RelayAddress:
    """The ticket of a server that a client has sent. Raises InvalidInput where it is none."""
    return _from_form(TICKET, form)


def invoice_form(invoice: Invoice) -> forms.InvoiceForm:
    """An invoice."""
    return _as_form(INVOICE, forms.InvoiceForm, invoice)


def friend_ticket_form(ticket: FriendTicket) -> forms.FriendTicketForm:
    """A friend's ticket."""
    return _as_form(FRIEND_TICKET, forms.FriendTicketForm, ticket)


def extension_names(extensions: Extension) -> list[str]:
    """What a node can do beyond the original, by the names of the SDK."""
    return [each.name for each in Extension if each in extensions and each.name is not None]


def friend_form(key: PublicKey, friend: FriendReport) -> forms.Friend:
    """A friend."""
    status = friend.channel_status
    balances = (
        {each.currency: each.balance for each in status.currency_reports}
        if isinstance(status, ChannelConsistentReport)
        else {}
    )
    configs = {each.currency: each for each in friend.currency_configs}
    ledgers = []
    for currency in sorted({*balances, *configs}):
        balance, config = balances.get(currency), configs.get(currency)
        ledgers.append(
            forms.CurrencyLedger(
                currency=currency,
                balance=None if balance is None else str(balance.balance),
                sending=None if balance is None else str(balance.local_pending_debt),
                receiving=None if balance is None else str(balance.remote_pending_debt),
                max_debt=None if config is None else str(config.remote_max_debt),
                rate=None if config is None else forms.RateForm(mul=config.rate.mul, add=config.rate.add),
                is_open=config is not None and config.is_open,
            )
        )
    ours, theirs = _reset_terms(status)
    return forms.Friend(
        name=friend.name,
        public_key=format_b64(key),
        is_enabled=friend.status is FriendStatusReport.ENABLED,
        is_online=friend.liveness is FriendLivenessReport.ONLINE,
        is_consistent=isinstance(status, ChannelConsistentReport),
        currencies=ledgers,
        our_reset_terms=ours,
        reset_terms=theirs,
        relays=[
            forms.RelayForm(public_key=format_b64(each.public_key), address=each.address)
            for each in friend.remote_relays
        ],
    )


def _reset_terms(
    status: ChannelConsistentReport | ChannelInconsistentReport,
) -> tuple[dict[str, str] | None, dict[str, str] | None]:
    """What we ask for, and what the friend asks for, both as balances that the friend owes us."""
    if isinstance(status, ChannelConsistentReport):
        return None, None
    ours: dict[str, str] = {str(each.currency): str(each.balance) for each in status.local_reset_terms}
    terms = status.opt_remote_reset_terms
    return ours, None if terms is None else {str(each.currency): str(-each.balance) for each in terms.balance_for_reset}


def relay_form(relay: NamedRelayAddress) -> forms.Server:
    """A relay of the node."""
    return forms.Server(name=relay.name, public_key=format_b64(relay.public_key), address=relay.address)


def index_server_form(server: NamedIndexServerAddress, connected: PublicKey | None) -> forms.Server:
    """An index server of the node."""
    key = format_b64(server.public_key)
    is_connected = server.public_key == connected
    return forms.Server(name=server.name, public_key=key, address=server.address, is_connected=is_connected)


def report_form(report: ReportView) -> forms.Report:
    """All that a node reports."""
    return forms.Report(
        public_key=format_b64(report.local_public_key),
        friends=[friend_form(key, friend) for key, friend in report.friends.items()],
        relays=[relay_form(each) for each in report.relays],
        index_servers=[index_server_form(each, report.connected_server) for each in report.index_servers],
    )


def report_change(known: Mapping[PublicKey, FriendReport], report: ReportView) -> forms.ReportChange:
    """What has changed since the friends were *known*. A friend that has not changed is the same object."""
    changed = [(key, friend) for key, friend in report.friends.items() if known.get(key) is not friend]
    return forms.ReportChange(
        friends=[friend_form(key, friend) for key, friend in changed],
        removed=[format_b64(key) for key in known if key not in report.friends],
        relays=[relay_form(each) for each in report.relays],
        index_servers=[index_server_form(each, report.connected_server) for each in report.index_servers],
    )


def invoice_report(
    row: InvoiceRow, node: str, arrived: int | None, request: PaymentRequest, checkout: str | None
) -> invoice_forms.InvoiceReport:
    """An invoice of the book; *node* is the name of its node here, *checkout* the address of its page for the buyer."""
    return invoice_forms.InvoiceReport(
        invoice=invoice_form(row.invoice),
        text=format_uri(request),
        checkout=checkout,
        node=node,
        owner=row.owner,
        state=row.state.value,
        arrived=None if arrived is None else str(arrived),
        expires=row.expires,
        created=row.created,
        changed=row.changed,
        sequence=row.sequence,
    )


def open_invoice_form(report: OpenInvoiceReport) -> invoice_forms.OpenInvoice:
    """An invoice that the node knows."""
    return invoice_forms.OpenInvoice(
        invoice_id=format_b64(report.invoice_id),
        currency=report.currency,
        amount=str(report.total_dest_payment),
        arrived=str(report.arrived),
        since=report.since or None,
        expires=report.opt_end,
    )


def part_form(part: PartReport) -> forms.PaymentPart:
    """A part of a payment."""
    return forms.PaymentPart(
        route=[format_b64(key) for key in part.route.public_keys],
        amount=str(part.dest_payment),
        fees=str(part.fees),
        state=part.state.value,
        since=part.since,
    )


def open_payment_form(report: OpenPaymentReport) -> forms.OpenPayment:
    """A payment that the node knows."""
    target = report.opt_target
    invoice = None
    if target is not None:
        invoice = invoice_form(
            Invoice(target.invoice_id, target.currency, target.dest_public_key, target.total_dest_payment)
        )
    return forms.OpenPayment(
        payment_id=format_b64(report.payment_id),
        stage=report.stage.value,
        invoice=invoice,
        parts=[part_form(part) for part in report.parts],
    )


def payment_report(
    row: PaymentRow,
    node: str,
    parts: tuple[PartReport, ...],
    commit: Commit | None,
    receipt: Receipt | None,
    delivery: DeliveryRow | None,
) -> forms.PaymentReport:
    """A payment of the book; *node* is the name of its node here."""
    is_paid = row.state is PaymentState.PAID  # also where it was given up, and the seller had the commit from elsewhere
    return forms.PaymentReport(
        payment_id=row.payment_id,
        invoice=invoice_form(row.invoice),
        node=node,
        owner=row.owner,
        state=row.state.value,
        fees_max=str(row.fees_max),
        fees=None if row.fees is None else str(row.fees),
        parts=[part_form(part) for part in parts],
        commit=None if commit is None else _as_form(COMMIT, forms.CommitForm, commit),
        receipt=None if receipt is None else receipt_form(receipt),
        delivery=None if delivery is None else delivery_form(delivery),
        failure=msgspec.convert(row.failure, forms.Failure) if row.failure is not None and not is_paid else None,
        created=row.created,
        changed=row.changed,
        sequence=row.sequence,
    )


def delivery_form(delivery: DeliveryRow) -> forms.Delivery:
    """How the delivery of a commit stands."""
    return forms.Delivery(address=delivery.address, state=delivery.state.value, detail=delivery.detail)


def receipt_form(receipt: Receipt) -> forms.ReceiptForm:
    """A receipt."""
    return _as_form(RECEIPT, forms.ReceiptForm, receipt)


def plan_form(plan: PaymentPlan) -> forms.Plan:
    """What a payment would do."""

    def planned(part: Part) -> forms.PlannedPart:
        route = [format_b64(key) for key in part.public_keys]
        return forms.PlannedPart(route=route, amount=str(part.dest_payment), fees=str(part.fees))

    return forms.Plan(
        parts=[planned(part) for part in plan.parts],
        fees=str(plan.fees),
        total=str(plan.total),
        largest=None if plan.largest is None else str(plan.largest.amount),
        failure=None if plan.failure is None else describe_failure(plan.failure),
    )


def route_forms(found: MultiRoute) -> list[forms.Route]:
    """Routes that can be used together."""
    return [
        forms.Route(
            keys=[format_b64(key) for key in each.route.public_keys],
            capacity=str(each.capacity),
            rate=forms.RateForm(mul=each.rate.mul, add=each.rate.add),
        )
        for each in found.routes
    ]


def capacity_form(capacity: Capacity) -> forms.CapacityReport:
    """How much can be paid and received."""

    def pay(key: PublicKey) -> str | None:
        return str(capacity.pay[key]) if key in capacity.pay else None

    total, largest = capacity.total_pay, capacity.largest
    return forms.CapacityReport(
        pay=None if total is None else str(total),
        receive=str(capacity.total_receive),
        friends=[
            forms.FriendCapacity(
                name=each.name,
                public_key=format_b64(each.public_key),
                pay=pay(each.public_key),
                receive=str(each.receive),
            )
            for each in capacity.friends
        ],
        largest=None if largest is None else str(largest.amount),
        is_exact=None if largest is None else largest.is_exact,
    )


def entry_form(entry: HistoryEntry) -> forms.Entry:
    """An entry of the history."""

    def b64(value: bytes | None) -> str | None:
        return None if value is None else format_b64(value)

    return forms.Entry(
        number=entry.number,
        time=entry.time,
        friend=format_b64(entry.friend),
        currency=entry.currency,
        kind=entry.kind.value,
        before=str(entry.before),
        balance=str(entry.balance),
        amount=str(entry.amount),
        fee=str(entry.fee),
        party=b64(entry.opt_party),
        invoice_id=b64(entry.opt_invoice_id),
        payment_id=b64(entry.opt_payment_id),
        request_id=b64(entry.opt_request_id),
        note=entry.note,
        app=b64(entry.opt_app),
    )
