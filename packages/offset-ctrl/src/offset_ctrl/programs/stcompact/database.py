"""
The text of ``compact.db``, as the original writes it. Spec 08 §7.1, 10 §5.

snake_case members and PascalCase variants, but a camelCase receipt; the amounts of a route choice are bare numbers of
up to 39 digits (D104), ids of open transactions arrays of 16 numbers.
"""

from typing import Any

from offset_ctrl.programs.stcompact.state import (
    Committed,
    CompactState,
    Failed,
    FoundRoute,
    OpenInvoice,
    OpenPayment,
    SearchingRoute,
    Sending,
    Succeeded,
)
from offset_proto.json_forms import (
    CURRENCY,
    TEXT,
    Form,
    b64,
    camel,
    decimal,
    items,
    mapping,
    number,
    optional,
    pair,
    record,
    row,
    variants,
    wrapped,
)
from offset_proto.message_json import SNAKE_CASE, JsonForm, format_json, parse_json
from offset_proto.messages.index import MultiRoute
from offset_proto.messages.payment import Commit, Receipt
from offset_proto.types import Integer, InvoiceId, PaymentId, PublicKey, Uid

__all__ = ["format_compact", "parse_compact"]

_U128, _U64 = decimal(Integer(128)), decimal(Integer(64))
_UID = b64(Uid)


def _snake(cls: Any) -> Form[Any]:
    form: JsonForm[Any] = JsonForm(cls, camel_case=SNAKE_CASE)
    return Form(form.to_value, form.from_value)


_RAW_UID: Form[Any] = Form(list, lambda value: Uid(bytes(items(number(Integer(8))).read(value))))


_STATUS = variants(
    SearchingRoute=(SearchingRoute, wrapped(SearchingRoute, "request_routes_id", _UID)),
    FoundRoute=(
        FoundRoute,
        record(
            FoundRoute,
            confirm_id=_UID,
            multi_route=_snake(MultiRoute),
            multi_route_choice=items(pair(number(Integer(64)), number(Integer(128)))),
            fees=_U128,
        ),
    ),
    Sending=(
        Sending,
        record(
            Sending,
            fees=_U128,
            open_transactions=Form(
                lambda uids: [list(uid) for uid in sorted(uids)], lambda value: frozenset(items(_RAW_UID).read(value))
            ),
        ),
    ),
    Commit=(Committed, row(Committed, commit=_snake(Commit), fees=_U128)),
    Success=(Succeeded, row(Succeeded, receipt=camel(Receipt), fees=_U128, ack_uid=_UID)),
    Failure=(Failed, wrapped(Failed, "ack_uid", _UID)),
)

_STATE = record(
    CompactState,
    open_invoices=mapping(
        b64(InvoiceId),
        record(
            OpenInvoice,
            currency=CURRENCY,
            total_dest_payment=_U128,
            description=TEXT,
            opt_commit=optional(_snake(Commit)),
            generation=_U64,
        ),
    ),
    open_payments=mapping(
        b64(PaymentId),
        record(
            OpenPayment,
            invoice_id=b64(InvoiceId),
            currency=CURRENCY,
            dest_public_key=b64(PublicKey),
            dest_payment=_U128,
            description=TEXT,
            generation=_U64,
            status=_STATUS,
        ),
    ),
    generation=_U64,
)


def format_compact(state: CompactState) -> str:
    """The exact text of the file; maps in the order of their keys."""
    return format_json(_STATE.write(state))


def parse_compact(text: str) -> CompactState:
    """
    The state in a ``compact.db``.

    Raises:
        InvalidInput: With the path of the first member that does not check.
    """
    return _STATE.read(parse_json(text))
