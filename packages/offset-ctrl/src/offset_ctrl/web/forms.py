"""
What the API says and hears, as classes. The OpenAPI document describes the same classes.

Amounts are decimal strings, since they have up to 128 bits; keys, ids and signatures are base64url without padding;
times are seconds since 1970-01-01 UTC. Invoices, commits, receipts and tickets have the members of their files, so a
file can be sent as it is. What a client sends is read strictly: unknown members are errors.
"""

from typing import Annotated, Literal

from msgspec import Meta

from offset_ctrl.web.form_parts import (
    Address,
    Amount,
    Balance,
    CommitForm,
    Currency,
    Delivered,
    Delivery,
    Failure,
    FriendTicketForm,
    Heard,
    Id,
    InvoiceForm,
    Key,
    Limit,
    Long,
    Moment,
    Name,
    Number,
    Problem,
    RateForm,
    ReceiptForm,
    RelayForm,
    Route,
    Said,
    Seconds,
    Timeline,
    U32Number,
)
from offset_proto.uri import TEXT_CHARACTERS_MAX

__all__ = [
    "Address",
    "Amount",
    "Balance",
    "CapacityReport",
    "CommitForm",
    "Currency",
    "CurrencyLedger",
    "CurrencySettings",
    "Delivered",
    "Delivery",
    "Entry",
    "Failure",
    "Friend",
    "FriendCapacity",
    "FriendChanges",
    "FriendTicketForm",
    "HistoryEntries",
    "Id",
    "InvoiceForm",
    "Key",
    "Limit",
    "Long",
    "Moment",
    "Name",
    "NewFriend",
    "NewPayment",
    "NewServer",
    "NodeSummary",
    "Number",
    "OpenPayment",
    "PaidInvoice",
    "PaymentList",
    "PaymentPart",
    "PaymentReport",
    "Plan",
    "PlannedPart",
    "Problem",
    "RateForm",
    "ReceiptForm",
    "RelayForm",
    "Report",
    "ReportChange",
    "Route",
    "Seconds",
    "Server",
    "Timeline",
    "U32Number",
]

# The node.


class NodeSummary(Said, frozen=True):
    """A node of this server: its name here, and what the server may ask of it."""

    name: str
    public_key: Key
    is_connected: bool
    may_routes: bool
    may_buy: bool
    may_sell: bool
    may_configure: bool
    extensions: list[str]


class CurrencyLedger(Said, frozen=True):
    """One currency with one friend. What is not there: there is no balance yet, or nothing is configured."""

    currency: str
    balance: Balance | None
    sending: Amount | None
    receiving: Amount | None
    max_debt: Amount | None
    rate: RateForm | None
    is_open: bool


class Friend(Said, frozen=True):
    """A friend, and its ledgers; *reset_terms* are what an inconsistent channel waits for, in our sign."""

    name: str
    public_key: Key
    is_enabled: bool
    is_online: bool
    is_consistent: bool
    currencies: list[CurrencyLedger]
    our_reset_terms: dict[str, Balance] | None
    reset_terms: dict[str, Balance] | None
    relays: list[RelayForm]


class Server(Said, frozen=True):
    """A relay or an index server of the node; *is_connected* of relays is not known."""

    name: str
    public_key: Key
    address: str
    is_connected: bool | None = None


class Report(Said, frozen=True):
    """All that the node reports."""

    public_key: Key
    friends: list[Friend]
    relays: list[Server]
    index_servers: list[Server]


class ReportChange(Said, frozen=True):
    """What has changed in a report: friends as they are now, friends that are gone, and all servers."""

    friends: list[Friend]
    removed: list[Key]
    relays: list[Server]
    index_servers: list[Server]


# Configuration.


class NewServer(Heard, frozen=True, rename="camel"):
    """A relay or an index server that the node is to use: its ticket, and a name for it."""

    public_key: Key
    address: Address
    name: Name


class NewFriend(Heard, frozen=True):
    """Somebody who is to become a friend; it is enabled at once unless *is_enabled* says otherwise."""

    name: Name
    ticket: FriendTicketForm
    is_enabled: bool = True


class FriendChanges(Heard, frozen=True):
    """What is to change about a friend; what is left out stays."""

    name: Name | None = None
    relays: Annotated[list[RelayForm], Meta(max_length=100)] | None = None
    is_enabled: bool | None = None


class CurrencySettings(Heard, frozen=True):
    """What is to hold for a friend in a currency; what is left out stays."""

    max_debt: Amount | None = None
    rate: RateForm | None = None
    is_open: bool | None = None


# Buying.


class NewPayment(Heard, frozen=True):
    """
    What is to be paid: an *invoice*, or the *text* of a payment request.

    Where the text names an address for the commit, it is delivered there, unless *deliver* is false. *fees_max* is what
    mediators may take at most; it counts against the limit of the token until the payment has ended. *timeout* is in
    seconds, until there is a commit.
    """

    invoice: InvoiceForm | None = None
    text: Annotated[str, Meta(min_length=1, max_length=2 * TEXT_CHARACTERS_MAX)] | None = None
    deliver: bool = True
    fees_max: Amount = "0"
    timeout: Annotated[float, Meta(gt=0, le=3600)] = 60.0


class PaymentPart(Said, frozen=True):
    """A part of a payment that has no end: its route from buyer to seller, and where it is."""

    route: list[Key]
    amount: Amount
    fees: Amount
    state: Literal["queued", "frozen", "answered", "collected", "cancelled"]
    since: Seconds


class PaymentReport(Said, frozen=True):
    """
    A payment that was made through this server.

    *state* is sending, committed (hand *commit* to the seller), closing, paid (there is a *receipt*), failed (nothing
    was paid), or unknown (it may be paid: do not pay again without asking the seller). *commit* is shown to the token
    that pays, and to nobody else.
    """

    payment_id: Id
    invoice: InvoiceForm
    node: str
    owner: str
    state: Literal["sending", "committed", "closing", "paid", "failed", "unknown"]
    fees_max: Amount
    fees: Amount | None
    parts: list[PaymentPart]
    commit: CommitForm | None
    receipt: ReceiptForm | None
    delivery: Delivery | None
    failure: Failure | None
    created: Seconds
    changed: Seconds
    sequence: Number


class PaidInvoice(Said, frozen=True):
    """An invoice that was paid, and what proves it."""

    invoice: InvoiceForm
    receipt: ReceiptForm


class PaymentList(Said, frozen=True):
    """Payments in the order of their changes; ask for those after *next* to go on."""

    payments: list[PaymentReport]
    next: Number


class OpenPayment(Said, frozen=True):
    """A payment that the node knows, of any app."""

    payment_id: Id
    stage: Literal["sending", "closing", "paid", "cancelled", "acknowledged"]
    invoice: InvoiceForm | None
    parts: list[PaymentPart]


class Plan(Said, frozen=True):
    """
    What a payment would do now.

    *largest* is the most that could be paid to this seller, *failure* says why the invoice could not be paid.
    """

    parts: list["PlannedPart"]
    fees: Amount
    total: Amount
    largest: Amount | None
    failure: Failure | None


class PlannedPart(Said, frozen=True):
    """One transaction that would be sent."""

    route: list[Key]
    amount: Amount
    fees: Amount


class CapacityReport(Said, frozen=True):
    """How much can be paid and received now, by friend; what is not known is null."""

    pay: Amount | None
    receive: Amount
    friends: list["FriendCapacity"]
    largest: Amount | None
    is_exact: bool | None


class FriendCapacity(Said, frozen=True):
    """The same for one friend."""

    name: str
    public_key: Key
    pay: Amount | None
    receive: Amount


# History.


class Entry(Said, frozen=True):
    """An entry of the node's history; the reference of the SDK says what each kind means."""

    number: Number
    time: Seconds
    friend: Key
    currency: str
    kind: str
    before: Balance
    balance: Balance
    amount: Amount
    fee: Amount
    party: Key | None
    invoice_id: Key | None
    payment_id: Id | None
    request_id: Id | None
    note: str
    app: Key | None


class HistoryEntries(Said, frozen=True):
    """
    Entries in order; ask for those after *next* to go on. *end* is the number of the last entry of all.

    Numbers are given again after a node was restored, or moved here from elsewhere: then *timeline* is another one.
    """

    entries: list[Entry]
    next: Number
    end: Number
    timeline: Timeline
