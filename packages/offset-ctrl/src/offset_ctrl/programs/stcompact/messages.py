"""What stcompact and its user say to each other, one line of JSON each. Spec 10 §2-§4 [WIRE]."""

from dataclasses import dataclass
from typing import Any

from offset_ctrl.programs.stcompact.report_form import COMPACT_REPORT, SUCCESS, CompactReport
from offset_ctrl.programs.stcompact.state import Failed, Succeeded
from offset_proto.errors import InvalidInput
from offset_proto.json_forms import (
    BOOL,
    CURRENCY,
    TEXT,
    Form,
    b64,
    camel,
    decimal,
    mapping,
    record,
    renamed,
    row,
    variants,
    wrapped,
)
from offset_proto.message_json import format_json_line, parse_json
from offset_proto.messages import app
from offset_proto.messages.app import AppPermissions
from offset_proto.messages.payment import Commit, NamedIndexServerAddress, NamedRelayAddress
from offset_proto.types import U128, Currency, Integer, InvoiceId, NetAddress, PaymentId, PrivateKey, PublicKey, Uid

__all__ = [
    "Ack",
    "AckPaymentDone",
    "AddInvoice",
    "CancelInvoice",
    "CancelPayment",
    "CommitInvoice",
    "CompactToUser",
    "ConfigRequest",
    "ConfirmPaymentFees",
    "CreateNodeLocal",
    "CreateNodeRemote",
    "DisableNode",
    "EnableNode",
    "Fees",
    "FromNode",
    "InitPayment",
    "LocalInfo",
    "NodeOpened",
    "NodeStatus",
    "NodesStatus",
    "PaymentCommit",
    "PaymentDone",
    "PaymentFees",
    "RemoteInfo",
    "RemoveNode",
    "RequestVerifyCommit",
    "ResponseVerifyCommit",
    "ServerMessage",
    "ToNode",
    "Unreachable",
    "UserMessage",
    "UserToCompact",
    "format_server_message",
    "format_user_message",
    "parse_server_message",
    "parse_user_message",
]

# User to server.


@dataclass(frozen=True, slots=True)
class CreateNodeLocal:
    """Make a node that runs in this process; it is not enabled yet."""

    node_name: str


@dataclass(frozen=True, slots=True)
class CreateNodeRemote:
    """Take in a node elsewhere that trusts an app of this key; it is not enabled yet."""

    node_name: str
    app_private_key: PrivateKey
    node_public_key: PublicKey
    node_address: NetAddress


@dataclass(frozen=True, slots=True)
class RemoveNode:
    """Forget a node that is not enabled."""

    node_name: str


@dataclass(frozen=True, slots=True)
class EnableNode:
    """Open a node, now and at each start."""

    node_name: str


@dataclass(frozen=True, slots=True)
class DisableNode:
    """Close a node, and do not open it at the next start."""

    node_name: str


@dataclass(frozen=True, slots=True)
class InitPayment:
    """Begin a payment: search for routes, and say what it would cost."""

    payment_id: PaymentId
    invoice_id: InvoiceId
    currency: Currency
    dest_public_key: PublicKey
    dest_payment: U128
    description: str


@dataclass(frozen=True, slots=True)
class ConfirmPaymentFees:
    """Pay for the fees that were told under *confirm_id*."""

    payment_id: PaymentId
    confirm_id: Uid


@dataclass(frozen=True, slots=True)
class CancelPayment:
    """Do not pay, if there is no commit yet."""

    payment_id: PaymentId


@dataclass(frozen=True, slots=True)
class AckPaymentDone:
    """The user knows how the payment ended."""

    payment_id: PaymentId
    ack_uid: Uid


@dataclass(frozen=True, slots=True)
class AddInvoice:
    """Expect a payment of *total_dest_payment* credits for an invoice."""

    invoice_id: InvoiceId
    currency: Currency
    total_dest_payment: U128
    description: str


@dataclass(frozen=True, slots=True)
class CancelInvoice:
    """Expect the payment of an invoice no more, and forget the invoice."""

    invoice_id: InvoiceId


@dataclass(frozen=True, slots=True)
class RequestVerifyCommit:
    """Ask whether the buyer's commit pays its invoice, and keep the commit if it does."""

    request_id: Uid
    commit: Commit


@dataclass(frozen=True, slots=True)
class CommitInvoice:
    """Collect the payment of an invoice with the commit that was verified."""

    invoice_id: InvoiceId


ConfigRequest = (
    app.AddRelay
    | app.RemoveRelay
    | app.AddIndexServer
    | app.RemoveIndexServer
    | app.AddFriend
    | app.SetFriendRelays
    | app.SetFriendName
    | app.RemoveFriend
    | app.EnableFriend
    | app.DisableFriend
    | app.OpenFriendCurrency
    | app.CloseFriendCurrency
    | app.RemoveFriendCurrency
    | app.SetFriendCurrencyMaxDebt
    | app.SetFriendCurrencyRate
    | app.ResetFriendChannel
)
"""Handed on to the node as they are."""

UserToCompact = (
    ConfigRequest
    | InitPayment
    | ConfirmPaymentFees
    | CancelPayment
    | AckPaymentDone
    | AddInvoice
    | CancelInvoice
    | RequestVerifyCommit
    | CommitInvoice
)


@dataclass(frozen=True, slots=True)
class ToNode:
    """Ask something of an open node, by the id that it was opened under."""

    node_id: int
    request: UserToCompact


UserToServer = CreateNodeLocal | CreateNodeRemote | RemoveNode | EnableNode | DisableNode | ToNode


@dataclass(frozen=True, slots=True)
class UserMessage:
    """What one line of the user says; its acknowledgement carries the same *request_id*."""

    request_id: Uid
    inner: UserToServer


# Server to user.


@dataclass(frozen=True, slots=True)
class Unreachable:
    """There is no route that can carry the payment, and the payment has failed."""


@dataclass(frozen=True, slots=True)
class Fees:
    """There are routes; the payment is made when the user confirms *fees* with *confirm_id*."""

    fees: U128
    confirm_id: Uid


@dataclass(frozen=True, slots=True)
class PaymentFees:
    """What a payment would cost, or that it can not be made."""

    payment_id: PaymentId
    response: Unreachable | Fees


@dataclass(frozen=True, slots=True)
class PaymentCommit:
    """The commit of a payment, which the user is to hand to the seller."""

    payment_id: PaymentId
    commit: Commit


@dataclass(frozen=True, slots=True)
class PaymentDone:
    """How a payment ended; to be acknowledged."""

    payment_id: PaymentId
    status: Failed | Succeeded


@dataclass(frozen=True, slots=True)
class ResponseVerifyCommit:
    """Whether the commit of the request *request_id* pays its invoice."""

    request_id: Uid
    is_success: bool


CompactToUser = PaymentFees | PaymentCommit | PaymentDone | CompactReport | ResponseVerifyCommit


@dataclass(frozen=True, slots=True)
class Ack:
    """A request was processed, whatever came of it."""

    request_id: Uid


@dataclass(frozen=True, slots=True)
class NodeOpened:
    """A node is open from now on, under *node_id*; its report so far comes with it."""

    node_name: str
    node_id: int
    app_permissions: AppPermissions
    compact_report: CompactReport


@dataclass(frozen=True, slots=True)
class LocalInfo:
    """Where a node is: in this process."""

    node_public_key: PublicKey


@dataclass(frozen=True, slots=True)
class RemoteInfo:
    """Where a node is, and as which app it is reached: elsewhere, at *node_address*."""

    app_public_key: PublicKey
    node_public_key: PublicKey
    node_address: NetAddress


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """What the wallet knows of a node; *node_id* is None while the node is not open."""

    node_id: int | None
    is_enabled: bool
    info: LocalInfo | RemoteInfo


@dataclass(frozen=True, slots=True)
class NodesStatus:
    """The status of every node of the wallet, by the names of the nodes."""

    nodes: dict[str, NodeStatus]


@dataclass(frozen=True, slots=True)
class FromNode:
    """What an open node has to say to the user."""

    node_id: int
    message: CompactToUser


ServerMessage = Ack | NodeOpened | NodesStatus | FromNode

# Their JSON.

_KEY, _UID = b64(PublicKey), b64(Uid)
_PAYMENT_ID, _INVOICE_ID = b64(PaymentId), b64(InvoiceId)
_U128, _NODE_ID = decimal(Integer(128)), decimal(Integer(64))
_ADDRESS: Form[NetAddress] = Form(str.__str__, lambda value: NetAddress(TEXT.read(value)))


def _key_of(cls: Any) -> tuple[type, Form[Any]]:
    return cls, wrapped(cls, "public_key", _KEY)


def _camel(cls: type) -> tuple[type, Form[Any]]:
    return cls, camel(cls)


_USER_TO_COMPACT = variants(
    addRelay=(app.AddRelay, wrapped(app.AddRelay, "relay", camel(NamedRelayAddress))),
    removeRelay=_key_of(app.RemoveRelay),
    addIndexServer=(app.AddIndexServer, wrapped(app.AddIndexServer, "server", camel(NamedIndexServerAddress))),
    removeIndexServer=_key_of(app.RemoveIndexServer),
    addFriend=_camel(app.AddFriend),
    setFriendRelays=_camel(app.SetFriendRelays),
    setFriendName=_camel(app.SetFriendName),
    removeFriend=_key_of(app.RemoveFriend),
    enableFriend=_key_of(app.EnableFriend),
    disableFriend=_key_of(app.DisableFriend),
    openFriendCurrency=_camel(app.OpenFriendCurrency),
    closeFriendCurrency=_camel(app.CloseFriendCurrency),
    removeFriendCurrency=_camel(app.RemoveFriendCurrency),
    setFriendCurrencyMaxDebt=_camel(app.SetFriendCurrencyMaxDebt),
    setFriendCurrencyRate=_camel(app.SetFriendCurrencyRate),
    resetFriendChannel=_camel(app.ResetFriendChannel),
    initPayment=(
        InitPayment,
        record(
            InitPayment,
            payment_id=renamed("paymentId", _PAYMENT_ID),
            invoice_id=renamed("invoiceId", _INVOICE_ID),
            currency=CURRENCY,
            dest_public_key=renamed("destPublicKey", _KEY),
            dest_payment=renamed("destPayment", _U128),
            description=TEXT,
        ),
    ),
    confirmPaymentFees=(
        ConfirmPaymentFees,
        record(
            ConfirmPaymentFees,
            payment_id=renamed("paymentId", _PAYMENT_ID),
            confirm_id=renamed("confirmId", _UID),
        ),
    ),
    cancelPayment=(CancelPayment, wrapped(CancelPayment, "payment_id", _PAYMENT_ID)),
    ackPaymentDone=(AckPaymentDone, row(AckPaymentDone, payment_id=_PAYMENT_ID, ack_uid=_UID)),
    addInvoice=(
        AddInvoice,
        record(
            AddInvoice,
            invoice_id=renamed("invoiceId", _INVOICE_ID),
            currency=CURRENCY,
            total_dest_payment=renamed("totalDestPayment", _U128),
            description=TEXT,
        ),
    ),
    cancelInvoice=(CancelInvoice, wrapped(CancelInvoice, "invoice_id", _INVOICE_ID)),
    requestVerifyCommit=(
        RequestVerifyCommit,
        record(RequestVerifyCommit, request_id=renamed("requestId", _UID), commit=camel(Commit)),
    ),
    commitInvoice=(CommitInvoice, wrapped(CommitInvoice, "invoice_id", _INVOICE_ID)),
)

_CREATE_NODE = variants(
    createNodeLocal=(CreateNodeLocal, record(CreateNodeLocal, node_name=renamed("nodeName", TEXT))),
    createNodeRemote=(
        CreateNodeRemote,
        record(
            CreateNodeRemote,
            node_name=renamed("nodeName", TEXT),
            app_private_key=renamed("appPrivateKey", b64(PrivateKey)),
            node_public_key=renamed("nodePublicKey", _KEY),
            node_address=renamed("nodeAddress", _ADDRESS),
        ),
    ),
)

_USER_TO_SERVER = variants(
    createNode=((CreateNodeLocal, CreateNodeRemote), _CREATE_NODE),
    removeNode=(RemoveNode, wrapped(RemoveNode, "node_name", TEXT)),
    enableNode=(EnableNode, wrapped(EnableNode, "node_name", TEXT)),
    disableNode=(DisableNode, wrapped(DisableNode, "node_name", TEXT)),
    node=(ToNode, row(ToNode, node_id=_NODE_ID, request=_USER_TO_COMPACT)),
)
_USER_MESSAGE = record(UserMessage, request_id=renamed("requestId", _UID), inner=_USER_TO_SERVER)

_RESPONSE = variants(
    unreachable=(Unreachable, None),
    fees=(Fees, row(Fees, fees=_U128, confirm_id=_UID)),
)


def _read_is_success(value: Any) -> bool:
    if value not in ("success", "failure"):
        raise InvalidInput("unknown variant, expected one of success, failure")
    return bool(value == "success")


_COMPACT_TO_USER = variants(
    paymentFees=(
        PaymentFees,
        record(PaymentFees, payment_id=renamed("paymentId", _PAYMENT_ID), response=_RESPONSE),
    ),
    paymentCommit=(
        PaymentCommit,
        record(PaymentCommit, payment_id=renamed("paymentId", _PAYMENT_ID), commit=camel(Commit)),
    ),
    paymentDone=(
        PaymentDone,
        record(
            PaymentDone,
            payment_id=renamed("paymentId", _PAYMENT_ID),
            status=variants(failure=(Failed, wrapped(Failed, "ack_uid", _UID)), success=(Succeeded, SUCCESS)),
        ),
    ),
    report=(CompactReport, COMPACT_REPORT),
    responseVerifyCommit=(
        ResponseVerifyCommit,
        record(
            ResponseVerifyCommit,
            request_id=renamed("requestId", _UID),
            is_success=renamed("status", Form(lambda success: "success" if success else "failure", _read_is_success)),
        ),
    ),
)


def _read_open(**fields: int) -> int:
    return fields["open"]


_MODE: Form[int | None] = Form(
    lambda node_id: "closed" if node_id is None else {"open": str(node_id)},
    lambda value: None if value == "closed" else record(_read_open, open=_NODE_ID).read(value),
)
_NODE_STATUS = record(
    NodeStatus,
    node_id=renamed("mode", _MODE),
    is_enabled=renamed("isEnabled", BOOL),
    info=variants(
        local=(LocalInfo, record(LocalInfo, node_public_key=renamed("nodePublicKey", _KEY))),
        remote=(
            RemoteInfo,
            record(
                RemoteInfo,
                app_public_key=renamed("appPublicKey", _KEY),
                node_public_key=renamed("nodePublicKey", _KEY),
                node_address=renamed("nodeAddress", _ADDRESS),
            ),
        ),
    ),
)
_SERVER_TO_USER = variants(
    nodeOpened=(
        NodeOpened,
        record(
            NodeOpened,
            node_name=renamed("nodeName", TEXT),
            node_id=renamed("nodeId", _NODE_ID),
            app_permissions=renamed("appPermissions", camel(AppPermissions)),
            compact_report=renamed("compactReport", COMPACT_REPORT),
        ),
    ),
    nodesStatus=(NodesStatus, wrapped(NodesStatus, "nodes", mapping(TEXT, _NODE_STATUS))),
    node=(FromNode, row(FromNode, node_id=_NODE_ID, message=_COMPACT_TO_USER)),
)
_SERVER_MESSAGE = variants(
    ack=(Ack, wrapped(Ack, "request_id", _UID)),
    serverToUser=((NodeOpened, NodesStatus, FromNode), _SERVER_TO_USER),
)


def parse_user_message(line: str) -> UserMessage:
    """
    What a line of the user says.

    Raises:
        InvalidInput: Not such a line; says which member is wrong.
    """
    return _USER_MESSAGE.read(parse_json(line))


def format_user_message(message: UserMessage) -> str:
    """The line that says *message* to the server, without the end of the line."""
    return format_json_line(_USER_MESSAGE.write(message))


def format_server_message(message: ServerMessage) -> str:
    """The line that says *message* to the user, without the end of the line."""
    return format_json_line(_SERVER_MESSAGE.write(message))


def parse_server_message(line: str) -> ServerMessage:
    """
    What a line of the server says.

    Raises:
        InvalidInput: Not such a line; says which member is wrong.
    """
    message: ServerMessage = _SERVER_MESSAGE.read(parse_json(line))
    return message
